//! What JSON and pickles say of events, whichever of their shapes it has: sequences as columns (`time_since_start`,
//! `time_since_last_event`, `type_event`), or as lists of events that have one number of each.
//!
//! Source: the files of EasyTPP, of its datasets on Hugging Face, and of the Transformer Hawkes Process.

use std::fmt::{self, Formatter};
use std::path::Path;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::error::SequenceError;
use super::super::lines::quoted;
use super::marked::{EventSequence, EventSplit, Events, Marks};
use super::numbers::{Budget, Count, Kinds, Number, Numbers, check_gap, check_time, mark_of};

/// What splits are called.
const SPLITS: [&str; 6] = ["train", "dev", "val", "valid", "validation", "test"];

/// What events have.
const KEYS: [&str; 3] = ["time_since_start", "time_since_last_event", "type_event"];

/// How far the two ways of writing gaps may be apart: that of times in f32.
const ROUNDING: f64 = 1e-6;

/// All that a file says.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Sequences under the name of a split, and such under none (`""`).
    splits: Vec<(String, Vec<Columns>)>,
    /// Keys that say nothing.
    others: Vec<String>,
}

/// A sequence as it is written.
#[derive(Debug, Default)]
struct Columns {
    times: Option<Vec<f64>>,
    gaps: Option<Vec<f64>>,
    marks: Option<Vec<u32>>,
}

impl Records {
    /// What another value of the file says.
    pub(super) fn add(&mut self, other: Self) {
        self.others.extend(other.others);
        for (name, sequences) in other.splits {
            self.split(&name).extend(sequences);
        }
    }

    fn split(&mut self, name: &str) -> &mut Vec<Columns> {
        let at = self.splits.iter().position(|(other, _)| other == name).unwrap_or_else(|| {
            self.splits.push((name.into(), Vec::new()));
            self.splits.len() - 1
        });
        &mut self.splits[at].1
    }

    /// The sequences of a split: those under its name, or else all if they are under one name.
    pub(super) fn events(self, budget: &Budget, path: &Path, split: EventSplit) -> Result<Events, SequenceError> {
        let wrong = |problem: String| SequenceError::Table { path: path.into(), problem };
        let mut splits: Vec<_> = self.splits.into_iter().filter(|(_, sequences)| !sequences.is_empty()).collect();
        let named = splits.iter().position(|(name, _)| split.names().contains(&&**name));
        let at = match (named, splits.len()) {
            (Some(at), _) => at,
            (None, 1) => 0,
            (None, 0) => {
                let others = if self.others.is_empty() { String::new() } else { format!(" under {}", self.others.join(", ")) };
                return Err(wrong(format!(
                    "found no events{others}; expected time_since_start and type_event, or splits of such sequences, such as train"
                )));
            }
            (None, _) => {
                let names: Vec<&str> = splits.iter().map(|(name, _)| &**name).collect();
                return Err(wrong(format!(
                    "found the splits {}, expected one named {}",
                    names.join(", "),
                    split.names().join(" or ")
                )));
            }
        };
        let chosen = splits.swap_remove(at).1;
        let is_marked = chosen.iter().any(|columns| columns.marks.is_some());
        let mut sequences = Vec::with_capacity(chosen.len());
        let mut most = 0;
        for (number, Columns { times, gaps, marks }) in chosen.into_iter().enumerate() {
            let times = times.or_else(|| gaps.map(summed)).unwrap_or_default();
            if marks.is_none() && is_marked && !times.is_empty() {
                return Err(wrong(format!("sequence {}: type_event is missing, and other sequences have it", number + 1)));
            }
            let marks = marks.unwrap_or_else(|| vec![0; times.len()]);
            most = marks.iter().map(|&mark| mark as usize + 1).max().unwrap_or(0).max(most);
            if let Some(count) = budget.marks.get().filter(|count| most > *count) {
                let problem =
                    format!("sequence {}: the mark {} is not one of {count} (dim_process) from 0", number + 1, most - 1);
                return Err(wrong(problem));
            }
            if !times.is_empty() {
                sequences.push(EventSequence { times, marks });
            }
        }
        let marks = match is_marked {
            true => Marks::Numbers { first: 0, count: budget.marks.get().unwrap_or(most) },
            false => Marks::None,
        };
        Ok(Events { path: path.into(), marks, is_dated: false, sequences })
    }
}

/// Times of gaps, of which the first is since the beginning.
fn summed(gaps: Vec<f64>) -> Vec<f64> {
    gaps.into_iter()
        .scan(0.0, |time, gap| {
            *time += gap;
            Some(*time)
        })
        .collect()
}

impl Columns {
    /// Whether a key is one of a sequence's, whose numbers are taken then.
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A, budget: &Budget) -> Result<bool, A::Error> {
        match key {
            "time_since_start" => self.times = Some(map.next_value_seed(Numbers { budget, is_of_times: true })?),
            "time_since_last_event" => self.gaps = Some(map.next_value_seed(Numbers { budget, is_of_times: false })?),
            "type_event" => self.marks = Some(map.next_value_seed(Kinds(budget))?),
            "dim_process" => budget.marks.set(budget.marks.get().max(map.next_value_seed(Count)?)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether the numbers are of one sequence.
    fn check<E: Error>(&self, budget: &Budget) -> Result<(), E> {
        let lengths = [self.times.as_ref().map(Vec::len), self.gaps.as_ref().map(Vec::len), self.marks.as_ref().map(Vec::len)];
        let count = lengths[0].or(lengths[1]).ok_or_else(|| budget.wrong("time_since_start is missing"))?;
        for (name, length) in KEYS.iter().zip(lengths) {
            if let Some(length) = length.filter(|length| *length != count) {
                return Err(budget.wrong(format!("found {length} numbers of {name} for {count} events")));
            }
        }
        if let (Some(times), Some(gaps)) = (&self.times, &self.gaps) {
            for (event, pair) in times.windows(2).enumerate() {
                let (found, gap) = (gaps[event + 1], pair[1] - pair[0]);
                if (found - gap).abs() > ROUNDING * pair[1].abs().max(1.0) + 1e-3 * gap {
                    return Err(budget.wrong(format!(
                        "event {} is {gap} after the one before it by time_since_start and {found} by time_since_last_event; leave out \
                         the wrong ones",
                        event + 2
                    )));
                }
            }
        }
        Ok(())
    }

    /// One more event.
    fn push<E: Error>(&mut self, event: Event, number: usize, budget: &Budget) -> Result<(), E> {
        fn add<T>(column: &mut Option<Vec<T>>, value: Option<T>, number: usize) -> bool {
            match value {
                Some(value) if column.is_some() || number == 1 => column.get_or_insert_default().push(value),
                None if column.is_none() => {}
                _ => return false,
            }
            true
        }
        if let (Some(last), Some(time)) = (self.times.as_ref().and_then(|times| times.last()), event.time) {
            check_time(Some(*last), time, number, budget)?;
        }
        let is_like = [
            ("time_since_start", add(&mut self.times, event.time, number)),
            ("time_since_last_event", add(&mut self.gaps, event.gap, number)),
            ("type_event", add(&mut self.marks, event.mark, number)),
        ];
        match is_like.iter().find(|(_, is_like)| !is_like) {
            Some((name, _)) => {
                Err(budget.wrong(format!("event {number} has {name} and others have it not, or the other way around")))
            }
            None => Ok(()),
        }
    }
}

/// The next key of a map. Each counts: a pickle can name one map, or one text, many times.
fn key_of<'de, A: MapAccess<'de>>(map: &mut A, budget: &Budget) -> Result<Option<String>, A::Error> {
    budget.take()?;
    Ok(map.next_key::<Key>()?.map(|key| key.0))
}

/// The beginning of a text, which is all that tells keys apart.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfText;

        impl Visitor<'_> for OfText {
            type Value = Key;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str("a text as the key")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Key, E> {
                Ok(Key(text.chars().take(40).collect()))
            }
        }
        deserializer.deserialize_str(OfText)
    }
}

/// A whole value of a file.
impl<'de> DeserializeSeed<'de> for &Budget {
    type Value = Records;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Records, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &Budget {
    type Value = Records;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a list of sequences, a sequence, or splits of them")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequences: A) -> Result<Records, A::Error> {
        let sequences = Sequences(self).visit_seq(sequences)?;
        Ok(Records { splits: vec![(String::new(), sequences)], ..Records::default() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Records, A::Error> {
        let (mut records, mut own, mut is_sequence) = (Records::default(), Columns::default(), false);
        while let Some(key) = key_of(&mut map, self)? {
            if key == "rows" || SPLITS.contains(&&*key) {
                let sequences = map.next_value_seed(Sequences(self))?;
                records.split(if key == "rows" { "" } else { &key }).extend(sequences);
                continue;
            }
            if !is_sequence && KEYS.contains(&&*key) {
                is_sequence = true;
                self.sequence.set(self.sequence.get() + 1);
            }
            if !own.take(&key, &mut map, self)? {
                map.next_value::<IgnoredAny>()?;
                records.others.push(quoted(&key));
                records.others.truncate(10);
            }
        }
        if is_sequence {
            own.check(self)?;
            records.split("").push(own);
        }
        Ok(records)
    }
}

/// A list of sequences.
struct Sequences<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Sequences<'_> {
    type Value = Vec<Columns>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Columns>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sequences<'_> {
    type Value = Vec<Columns>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a list of sequences")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Columns>, A::Error> {
        let mut all = Vec::new();
        self.0.sequence.set(1);
        while let Some(columns) = list.next_element_seed(Sequence(self.0, true))? {
            self.0.take()?;
            all.push(columns);
            self.0.sequence.set(all.len() + 1);
        }
        Ok(all)
    }
}

/// A sequence: columns, or a list of events; or, where that may be, a row of a server that has one.
struct Sequence<'a>(&'a Budget, bool);

impl<'de> DeserializeSeed<'de> for Sequence<'_> {
    type Value = Columns;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Columns, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sequence<'_> {
    type Value = Columns;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a sequence: a list of events, or time_since_start and type_event as lists")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Columns, A::Error> {
        let (mut columns, mut number) = (Columns { times: None, gaps: None, marks: None }, 0);
        while let Some(event) = list.next_element_seed(EventOf(self.0))? {
            number += 1;
            columns.push(event, number, self.0)?;
        }
        if number == 0 {
            columns.times = Some(Vec::new());
        }
        columns.check(self.0)?;
        Ok(columns)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
        let (mut columns, mut row) = (Columns::default(), None);
        while let Some(key) = key_of(&mut map, self.0)? {
            if key == "row" && self.1 {
                row = Some(map.next_value_seed(Sequence(self.0, false))?);
            } else if !columns.take(&key, &mut map, self.0)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if let Some(row) = row {
            return Ok(row);
        }
        columns.check(self.0)?;
        Ok(columns)
    }
}

/// An event that has its own numbers.
#[derive(Default)]
struct Event {
    time: Option<f64>,
    gap: Option<f64>,
    mark: Option<u32>,
}

struct EventOf<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for EventOf<'_> {
    type Value = Event;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Event, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EventOf<'_> {
    type Value = Event;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("an event: time_since_start and type_event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        self.0.take()?;
        let mut event = Event::default();
        while let Some(key) = key_of(&mut map, self.0)? {
            match &*key {
                "time_since_start" => event.time = Some(map.next_value_seed(Number(self.0))?),
                "time_since_last_event" => {
                    let gap = map.next_value_seed(Number(self.0))?;
                    check_gap(gap, self.0)?;
                    event.gap = Some(gap);
                }
                "type_event" => event.mark = Some(mark_of(map.next_value_seed(Number(self.0))?, self.0)?),
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(event)
    }
}
