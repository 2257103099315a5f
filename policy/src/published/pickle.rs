//! The part of Python's pickles that torch needs for tensors: a machine that runs no code. What a pickle would call is looked up in a short
//! list, and anything else is refused by its name.
//!
//! Values live in one list and name each other by their places, so that no nesting, however deep, costs stack.

use std::collections::HashMap;

/// The place of a value.
pub(super) type Id = usize;

/// A value of a pickle.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Float,
    Text(String),
    Bytes(Vec<u8>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// `module name`
    Class(String),
    /// Numbers of a file of the archive.
    Storage {
        class: String,
        key: String,
        numbers: usize,
    },
    /// A view of a storage.
    Tensor {
        storage: Id,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    },
    /// A number type of NumPy: `f8`, and whether it is little-endian.
    Dtype {
        name: String,
        is_little: bool,
    },
    /// NumPy's array; none of it before its state has been read.
    Array(Option<Array>),
}

/// An array of NumPy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    pub(super) dtype: Id,
    pub(super) bytes: Vec<u8>,
}

/// What a pickle holds.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    /// The value itself.
    pub(super) top: Id,
}

impl Pickle {
    /// Reads a pickle.
    ///
    /// # Errors
    /// Says what is in it that is neither a tensor, nor an array, nor what holds such.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut machine =
            Machine { bytes, at: 0, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
        let top = machine.run()?;
        Ok(Self { values: machine.values, top })
    }

    /// A value.
    pub(super) fn get(&self, id: Id) -> &Value {
        &self.values[id]
    }

    /// The entries of a dictionary whose keys are texts.
    pub(super) fn entries(&self, id: Id) -> Option<Vec<(&str, Id)>> {
        let Value::Dict(entries) = self.get(id) else { return None };
        entries.iter().map(|&(key, value)| self.text(key).map(|key| (key, value))).collect()
    }

    fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Id, String> {
        loop {
            let code = self.take(1)?[0];
            match code {
                0x80 => drop(self.take(1)?), // PROTO
                0x95 => drop(self.take(8)?), // FRAME
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'N' => self.push(Value::None),
                0x88 | 0x89 => self.push(Value::Bool),
                b'J' => {
                    let number = i32::from_le_bytes(self.array()?);
                    self.push(Value::Int(number.into()));
                }
                b'K' | b'M' => {
                    let number = self.number(if code == b'K' { 1 } else { 2 })?;
                    self.push(Value::Int(number as i64));
                }
                0x8a => {
                    let length = self.number(1)?;
                    let bytes = self.take(length)?;
                    let number = little_endian(bytes).ok_or("a number of more than 64 bits")?;
                    self.push(Value::Int(number));
                }
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Float);
                }
                b'X' | 0x8c => {
                    let text = self.sized(if code == b'X' { 4 } else { 1 })?;
                    let text = std::str::from_utf8(text).map_err(|_| "a text that is not UTF-8")?.to_owned();
                    self.push(Value::Text(text));
                }
                b'B' | b'C' | b'T' | b'U' => {
                    let bytes = self.sized(if matches!(code, b'B' | b'T') { 4 } else { 1 })?.to_vec();
                    self.push(Value::Bytes(bytes));
                }
                b')' => self.push(Value::Tuple(Vec::new())),
                b'}' => self.push(Value::Dict(Vec::new())),
                b']' => self.push(Value::List(Vec::new())),
                b't' => {
                    let items = self.since_mark()?;
                    self.push(Value::Tuple(items));
                }
                0x85..=0x87 => {
                    let count = usize::from(code - 0x84);
                    let start = self.stack.len().checked_sub(count).ok_or(SHORT)?;
                    let items = self.stack.split_off(start);
                    self.push(Value::Tuple(items));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' => {
                    let items = self.since_mark()?;
                    self.append(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(vec![key, value])?;
                }
                b'u' => {
                    let items = self.since_mark()?;
                    self.set(items)?;
                }
                b'c' => {
                    let class = format!("{} {}", self.line()?, self.line()?);
                    self.push(Value::Class(class));
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Text(module), Value::Text(name)) = (&self.values[module], &self.values[name]) else {
                        return Err("a class without a name".into());
                    };
                    let class = format!("{module} {name}");
                    self.push(Value::Class(class));
                }
                b'q' | b'r' | 0x94 => {
                    let place = match code {
                        b'q' => self.number(1)?,
                        b'r' => self.number(4)?,
                        _ => self.memo.len(),
                    };
                    let top = *self.stack.last().ok_or(SHORT)?;
                    self.memo.insert(place, top);
                }
                b'h' | b'j' => {
                    let place = self.number(if code == b'h' { 1 } else { 4 })?;
                    let id = *self.memo.get(&place).ok_or("a value that was never stored")?;
                    self.stack.push(id);
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(storage);
                }
                b'R' | 0x81 => {
                    let (arguments, class) = (self.pop()?, self.pop()?);
                    let made = self.call(class, arguments)?;
                    self.stack.push(made);
                }
                b'b' => {
                    let (state, object) = (self.pop()?, *self.stack.last().ok_or(SHORT)?);
                    self.build(object, state)?;
                }
                other => {
                    return Err(format!("the pickle's instruction {other:#04x} at byte {}, which no tensor needs", self.at - 1));
                }
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len()).ok_or("a pickle that ends in the middle")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were taken"))
    }

    /// An unsigned number of a few bytes.
    fn number(&mut self, bytes: usize) -> Result<usize, String> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    /// Bytes after their number.
    fn sized(&mut self, bytes: usize) -> Result<&[u8], String> {
        let length = self.number(bytes)?;
        self.take(length)
    }

    fn line(&mut self) -> Result<String, String> {
        let length = self.bytes[self.at..].iter().position(|&byte| byte == b'\n').ok_or("a pickle that ends in the middle")?;
        let line = String::from_utf8_lossy(&self.bytes[self.at..self.at + length]).into_owned();
        self.at += length + 1;
        Ok(line)
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() > floor { Ok(self.stack.pop().expect("more than none")) } else { Err(SHORT.into()) }
    }

    fn since_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len()).ok_or(SHORT)?;
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, items: Vec<Id>) -> Result<(), String> {
        match self.stack.last().map(|&id| &mut self.values[id]) {
            Some(Value::List(list)) => list.extend(items),
            _ => return Err("items of what is no list".into()),
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<Id>) -> Result<(), String> {
        match self.stack.last().map(|&id| &mut self.values[id]) {
            Some(Value::Dict(entries)) => entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1]))),
            _ => return Err("entries of what is no dictionary".into()),
        }
        Ok(())
    }

    fn tuple(&self, id: Id) -> Result<&[Id], String> {
        match &self.values[id] {
            Value::Tuple(items) => Ok(items),
            other => Err(format!("{} where a tuple is expected", kind(other))),
        }
    }

    fn size(&self, id: Id) -> Result<usize, String> {
        match &self.values[id] {
            Value::Int(number) => usize::try_from(*number).map_err(|_| format!("a size of {number}")),
            other => Err(format!("{} where a size is expected", kind(other))),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, String> {
        self.tuple(id)?.iter().map(|&id| self.size(id)).collect()
    }

    /// What a persistent id stands for: `("storage", class, key, location, numbers)`.
    fn storage(&self, id: Id) -> Result<Value, String> {
        let parts: Vec<&Value> = self.tuple(id)?.iter().map(|&id| &self.values[id]).collect();
        match parts[..] {
            [Value::Text(word), Value::Class(class), Value::Text(key), _, Value::Int(numbers)] if word == "storage" => {
                let numbers = usize::try_from(*numbers).map_err(|_| format!("a storage of {numbers} numbers"))?;
                Ok(Value::Storage { class: class.clone(), key: key.clone(), numbers })
            }
            _ => Err("what is stored outside of the pickle and is no tensor's".into()),
        }
    }

    /// Calls one of the few functions that tensors and arrays are made with.
    fn call(&mut self, class: Id, arguments: Id) -> Result<Id, String> {
        let Value::Class(class) = &self.values[class] else { return Err("a call of what is no class".into()) };
        let items = self.tuple(arguments)?;
        let value = match (&**class, items) {
            ("collections OrderedDict", []) => Value::Dict(Vec::new()),
            ("torch._utils _rebuild_tensor_v2", &[storage, offset, shape, strides, ..]) => {
                if !matches!(self.values[storage], Value::Storage { .. }) {
                    return Err("a tensor without a storage".into());
                }
                Value::Tensor { storage, offset: self.size(offset)?, shape: self.sizes(shape)?, strides: self.sizes(strides)? }
            }
            ("torch._utils _rebuild_parameter", &[tensor, ..]) => return Ok(tensor),
            ("numpy.core.multiarray _reconstruct" | "numpy._core.multiarray _reconstruct", [..]) => Value::Array(None),
            ("numpy dtype", &[name, ..]) => match &self.values[name] {
                Value::Text(name) => Value::Dtype { name: name.clone(), is_little: true },
                other => return Err(format!("{} where a number type is expected", kind(other))),
            },
            // Bytes, as Python 2's pickles write them: each a character.
            ("_codecs encode", &[text, _]) => match &self.values[text] {
                Value::Text(text) => Value::Bytes(
                    text.chars().map(u8::try_from).collect::<Result<_, _>>().map_err(|_| "bytes that are none".to_string())?,
                ),
                other => return Err(format!("{} where a text is expected", kind(other))),
            },
            (class, _) => {
                let class = class.replace(' ', ".");
                return Err(format!(
                    "an object of {class}, and only tensors and arrays are read; open it with what wrote it and save the weights \
                     alone, torch.save(model.state_dict(), FILE)"
                ));
            }
        };
        self.values.push(value);
        Ok(self.values.len() - 1)
    }

    /// Gives an object its state.
    fn build(&mut self, object: Id, state: Id) -> Result<(), String> {
        let built = match &self.values[object] {
            Value::Dict(_) => return Ok(()), // torch keeps versions of modules beside the weights
            Value::Dtype { name, .. } => {
                let order = self.tuple(state)?.get(1).map(|&id| &self.values[id]);
                let is_little = matches!(order, Some(Value::Text(order)) if matches!(order.as_str(), "<" | "|" | "="));
                Value::Dtype { name: name.clone(), is_little }
            }
            Value::Array(None) => match *self.tuple(state)? {
                [_, shape, dtype, _, bytes] => match &self.values[bytes] {
                    Value::Bytes(bytes) => Value::Array(Some(Array { shape: self.sizes(shape)?, dtype, bytes: bytes.clone() })),
                    other => return Err(format!("an array of {}", kind(other))),
                },
                _ => return Err("an array without numbers".into()),
            },
            other => return Err(format!("{} with a state", kind(other))),
        };
        self.values[object] = built;
        Ok(())
    }
}

/// What is said where an instruction finds too little on the stack.
const SHORT: &str = "an instruction without what it needs";

/// A number of at most eight bytes with a sign.
fn little_endian(bytes: &[u8]) -> Option<i64> {
    let sign = if bytes.last().is_some_and(|last| last & 0x80 != 0) { 0xff } else { 0 };
    let mut all = [sign; 8];
    all.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(all))
}

/// What a value is called in errors.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::None => "nothing",
        Value::Bool => "a truth value",
        Value::Int(_) => "a whole number",
        Value::Float => "a number",
        Value::Text(_) => "a text",
        Value::Bytes(_) => "bytes",
        Value::Tuple(_) => "a tuple",
        Value::List(_) => "a list",
        Value::Dict(_) => "a dictionary",
        Value::Class(_) => "a class",
        Value::Storage { .. } => "a storage",
        Value::Tensor { .. } => "a tensor",
        Value::Dtype { .. } => "a number type",
        Value::Array(_) => "an array",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pickle_that_would_run_something_is_refused_by_name() {
        let wrong = Pickle::read(b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.").unwrap_err();
        assert!(wrong.contains("os.system"), "{wrong}");
    }

    #[test]
    fn cut_and_senseless_pickles_are_refused() {
        let whole = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00b(K\x02K\x03tu.";
        let pickle = Pickle::read(whole).unwrap();
        let names: Vec<&str> = pickle.entries(pickle.top).unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b"]);
        for length in 0..whole.len() {
            assert!(Pickle::read(&whole[..length]).is_err(), "{length} bytes");
        }
        for senseless in [&b"."[..], b"t.", b"\x85.", b"a.", b"u.", b"R.", b"b.", b"Q.", b"h\x00.", b"\xff.", b"(0.", b"K\x01(s."]
        {
            assert!(Pickle::read(senseless).is_err(), "{senseless:?}");
        }
    }

    #[test]
    fn nesting_costs_no_stack() {
        let deep = [&b"N"[..], &vec![0x85; 1 << 20], b"."].concat();
        assert!(Pickle::read(&deep).is_ok());
    }

    #[test]
    fn whole_numbers_have_a_sign() {
        assert_eq!([&[0xff][..], &[1, 2], &[], &[0; 9]].map(little_endian), [Some(-1), Some(513), Some(0), None]);
    }
}
