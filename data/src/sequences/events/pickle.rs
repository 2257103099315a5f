//! Pickles of plain numbers, texts, lists and dictionaries, as the Transformer Hawkes Process and EasyTPP have them.
//!
//! A pickle is a program for a stack of values. What would call Python is refused, so nothing of it is run here. Values lie in one table and
//! name each other by their places in it: however deep or often a pickle nests them, reading them takes no recursion and no copy.

use std::collections::HashMap;
use std::io::{Error as IoError, ErrorKind};
use std::path::Path;

use serde::de::value::{Error, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::{de::DeserializeSeed, forward_to_deserialize_any};

use super::super::error::SequenceError;
use super::super::lines::bytes;
use super::marked::{EventSplit, Events};
use super::numbers::Budget;
use super::records::Records;

/// The largest pickle that is read: values take more memory than their bytes.
const MOST_BYTES: usize = 1 << 28;

/// What to do about objects.
const CONVERT: &str = "write it as JSON where it is trusted: python3 -c \"import json, pickle, sys; json.dump(pickle.load(open(sys.argv[1], \
                       'rb'), encoding='latin1'), open(sys.argv[2], 'w'), default=lambda x: x.tolist())\" FILE.pkl FILE.json";

/// Reads a file.
pub(super) fn read(path: &Path, split: EventSplit) -> Result<Events, SequenceError> {
    let bytes = bytes(path)?;
    if bytes.len() > MOST_BYTES {
        let problem = format!("expected a pickle of at most {} MiB; {CONVERT}", MOST_BYTES >> 20);
        let source = IoError::new(ErrorKind::InvalidInput, problem);
        return Err(SequenceError::Io { path: path.into(), what: "cannot read it", source });
    }
    let wrong = |problem: String| SequenceError::Table { path: path.into(), problem };
    let mut machine = Machine { rest: &bytes, ..Machine::default() };
    let top = machine.run().map_err(|problem| wrong(format!("byte {}: {problem}", bytes.len() - machine.rest.len())))?;
    let budget = Budget::new(bytes.len());
    let mut all = Records::default();
    all.add(budget.deserialize(Value { nodes: &machine.nodes, at: top }).map_err(|error| wrong(error.to_string()))?);
    all.events(&budget, path, split)
}

/// A value, which names others by their places.
#[derive(Clone, Debug)]
enum Node {
    Nothing,
    Bool(bool),
    Whole(i64),
    Number(f64),
    Text(String),
    List(Vec<u32>),
    Dict(Vec<(u32, u32)>),
}

/// The machine whose program a pickle is.
#[derive(Default)]
struct Machine<'a> {
    rest: &'a [u8],
    nodes: Vec<Node>,
    /// Places of values.
    stack: Vec<u32>,
    /// Heights of the stack that are marked.
    marks: Vec<usize>,
    memo: HashMap<u32, u32>,
}

impl<'a> Machine<'a> {
    /// The value that the program leaves.
    fn run(&mut self) -> Result<u32, String> {
        loop {
            let [code] = self.take()?;
            match code {
                b'.' => return self.pop(),
                0x80 => _ = self.take::<1>()?,
                0x95 => _ = self.take::<8>()?,
                b'(' => self.marks.push(self.stack.len()),
                b'0' => _ = self.pop()?,
                b'1' => _ = self.above_mark()?,
                b'2' => {
                    let top = self.top()?;
                    self.stack.push(top);
                }
                b'N' => self.push(Node::Nothing),
                0x88 | 0x89 => self.push(Node::Bool(code == 0x88)),
                b'I' => {
                    let line = self.line()?;
                    let node = match line {
                        "00" | "01" => Node::Bool(line == "01"),
                        _ => Node::Whole(line.parse().map_err(|_| "no whole number of 64 bits")?),
                    };
                    self.push(node);
                }
                b'L' => {
                    let line = self.line()?.trim_end_matches('L');
                    let node = Node::Whole(line.parse().map_err(|_| "no whole number of 64 bits")?);
                    self.push(node);
                }
                b'K' => {
                    let [byte] = self.take()?;
                    self.push(Node::Whole(byte.into()));
                }
                b'M' => {
                    let number = u16::from_le_bytes(self.take()?);
                    self.push(Node::Whole(number.into()));
                }
                b'J' => {
                    let number = i32::from_le_bytes(self.take()?);
                    self.push(Node::Whole(number.into()));
                }
                0x8a | 0x8b => {
                    let length = self.length(if code == 0x8a { 1 } else { 4 })?;
                    let node = Node::Whole(whole(self.bytes(length)?)?);
                    self.push(node);
                }
                b'F' => {
                    let node = Node::Number(self.line()?.parse().map_err(|_| "no number")?);
                    self.push(node);
                }
                b'G' => {
                    let number = f64::from_be_bytes(self.take()?);
                    self.push(Node::Number(number));
                }
                b'S' | b'V' => {
                    let line = self.line()?;
                    let text = if code == b'S' { line.trim_matches(['\'', '"']) } else { line };
                    self.push(Node::Text(text.into()));
                }
                b'U' | b'C' | 0x8c => self.text(1)?,
                b'T' | b'B' | b'X' => self.text(4)?,
                0x8d | 0x8e => self.text(8)?,
                b']' | b')' => self.push(Node::List(Vec::new())),
                b'}' => self.push(Node::Dict(Vec::new())),
                b'l' | b't' => {
                    let items = self.above_mark()?;
                    self.push(Node::List(items));
                }
                0x85..=0x87 => {
                    let start = self.stack.len().checked_sub(usize::from(code) - 0x84).ok_or("too few values")?;
                    let items = self.stack.split_off(start.max(self.marks.last().copied().unwrap_or(0)));
                    self.push(Node::List(items));
                }
                b'd' => {
                    let items = self.above_mark()?;
                    let pairs = pairs(&items)?;
                    self.push(Node::Dict(pairs));
                }
                b'a' | b'e' => {
                    let items = if code == b'a' { vec![self.pop()?] } else { self.above_mark()? };
                    let at = self.top()? as usize;
                    let Node::List(list) = &mut self.nodes[at] else { return Err("items of what is no list".into()) };
                    list.extend(items);
                }
                b's' | b'u' => {
                    let items = match code {
                        b's' => {
                            let value = self.pop()?;
                            vec![self.pop()?, value]
                        }
                        _ => self.above_mark()?,
                    };
                    let (at, pairs) = (self.top()? as usize, pairs(&items)?);
                    let Node::Dict(dict) = &mut self.nodes[at] else { return Err("items of what is no dictionary".into()) };
                    dict.extend(pairs);
                }
                b'p' | b'q' | b'r' | 0x94 => {
                    let name = match code {
                        b'p' => self.line()?.parse().map_err(|_| "no number of the memo")?,
                        b'q' => self.length(1)? as u32,
                        b'r' => self.length(4)? as u32,
                        _ => self.memo.len() as u32,
                    };
                    let top = self.top()?;
                    self.memo.insert(name, top);
                }
                b'g' | b'h' | b'j' => {
                    let name = match code {
                        b'g' => self.line()?.parse().map_err(|_| "no number of the memo")?,
                        b'h' => self.length(1)? as u32,
                        _ => self.length(4)? as u32,
                    };
                    let at = *self.memo.get(&name).ok_or("a value that was not kept")?;
                    self.stack.push(at);
                }
                b'c' | b'i' => {
                    let [module, name] = [self.line()?, self.line()?];
                    return Err(refused(module, name));
                }
                0x93 => {
                    let names = [self.pop()?, self.pop()?].map(|at| match &self.nodes[at as usize] {
                        Node::Text(text) => text.as_str(),
                        _ => "?",
                    });
                    return Err(refused(names[1], names[0]));
                }
                // Calls, objects, what is named outside of the file.
                b'R' | b'b' | b'o' | b'P' | b'Q' | 0x81 | 0x82..=0x84 | 0x8f..=0x92 | 0x96..=0x98 => {
                    return Err(format!("an object of Python (opcode 0x{code:02x}); {CONVERT}"));
                }
                _ => return Err(format!("0x{code:02x} is no opcode of a pickle")),
            }
        }
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len() as u32);
        self.nodes.push(node);
    }

    /// The topmost value above the last mark.
    fn top(&self) -> Result<u32, String> {
        let base = self.marks.last().copied().unwrap_or(0);
        self.stack[base..].last().copied().ok_or_else(|| "too few values".into())
    }

    fn pop(&mut self) -> Result<u32, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn above_mark(&mut self) -> Result<Vec<u32>, String> {
        let mark = self.marks.pop().ok_or("no mark")?;
        Ok(self.stack.split_off(mark))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or("the file ends too early")?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or("the file ends too early")?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A length of so many bytes.
    fn length(&mut self, count: usize) -> Result<usize, String> {
        let length = self.bytes(count)?.iter().rev().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
        usize::try_from(length).map_err(|_| "a length beyond the file".into())
    }

    fn text(&mut self, count: usize) -> Result<(), String> {
        let length = self.length(count)?;
        let text = String::from_utf8_lossy(self.bytes(length)?).into_owned();
        self.push(Node::Text(text));
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or("the file ends too early")?;
        let line = self.bytes(end)?;
        self.bytes(1)?;
        let line = std::str::from_utf8(line).map_err(|_| "a line that is no text")?;
        Ok(line.trim_end_matches('\r'))
    }
}

fn pairs(items: &[u32]) -> Result<Vec<(u32, u32)>, String> {
    if !items.len().is_multiple_of(2) {
        return Err("a key without a value".into());
    }
    Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

/// A whole number in two's complement, the lowest byte first.
fn whole(bytes: &[u8]) -> Result<i64, String> {
    if bytes.len() > 8 {
        return Err("no whole number of 64 bits".into());
    }
    let is_negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut all = [if is_negative { 0xff } else { 0 }; 8];
    all[..bytes.len()].copy_from_slice(bytes);
    Ok(i64::from_le_bytes(all))
}

fn refused(module: &str, name: &str) -> String {
    let [module, name] =
        [module, name].map(|word| word.chars().filter(|letter| !letter.is_control()).take(60).collect::<String>());
    format!("an object of Python ({module}.{name}), which would run as code; {CONVERT}")
}

/// A value of the table.
#[derive(Clone, Copy)]
struct Value<'a> {
    nodes: &'a [Node],
    at: u32,
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let of = |at: &u32| Value { nodes: self.nodes, at: *at };
        match &self.nodes[self.at as usize] {
            Node::Nothing => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Whole(number) => visitor.visit_i64(*number),
            Node::Number(number) => visitor.visit_f64(*number),
            Node::Text(text) => visitor.visit_str(text),
            Node::List(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(of))),
            Node::Dict(pairs) => visitor.visit_map(MapDeserializer::new(pairs.iter().map(|(key, value)| (of(key), of(value))))),
        }
    }

    /// However much hangs from it.
    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct seq
        tuple tuple_struct map struct enum identifier
    }
}

impl IntoDeserializer<'_, Error> for Value<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
