//! Times, gaps and marks of events as JSON and pickles write them, and how many of them may come.

use std::cell::Cell;
use std::fmt::{self, Formatter};

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use super::marked::MOST_MARKS;

/// How much may still come: a few bytes of a pickle can name one thing many times.
pub(super) struct Budget {
    left: Cell<usize>,
    /// Sequences that have begun.
    pub(super) sequence: Cell<usize>,
    /// The largest `dim_process` so far.
    pub(super) marks: Cell<Option<usize>>,
}

impl Budget {
    /// As many keys, sequences and numbers as a file has bytes, of which each has one at least, and some more for the ends of small files.
    pub(super) fn new(bytes: usize) -> Self {
        Self { left: Cell::new(bytes.saturating_add(64)), sequence: Cell::new(0), marks: Cell::new(None) }
    }

    pub(super) fn take<E: Error>(&self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| E::custom("it names more than it has bytes"))?;
        self.left.set(left);
        Ok(())
    }

    /// What is wrong, with the sequence that it is in.
    pub(super) fn wrong<E: Error>(&self, problem: impl fmt::Display) -> E {
        E::custom(format!("sequence {}: {problem}", self.sequence.get()))
    }
}

/// Whether a time is not before the one before it.
pub(super) fn check_time<E: Error>(last: Option<f64>, time: f64, number: usize, budget: &Budget) -> Result<(), E> {
    match last {
        Some(last) if last > time => {
            Err(budget.wrong(format!("the time {time} of event {number} is before the one before it, {last}")))
        }
        _ => Ok(()),
    }
}

/// Whether a gap is not below 0.
pub(super) fn check_gap<E: Error>(gap: f64, budget: &Budget) -> Result<(), E> {
    if gap < 0.0 { Err(budget.wrong(format!("found {gap} of time_since_last_event, which is below 0"))) } else { Ok(()) }
}

/// A mark that is written as a number.
pub(super) fn mark_of<E: Error>(number: f64, budget: &Budget) -> Result<u32, E> {
    let is_mark = number.fract() == 0.0 && (0.0..MOST_MARKS as f64).contains(&number);
    let problem = || budget.wrong(format!("found the mark {number}, expected a whole number from 0, below {MOST_MARKS}"));
    is_mark.then_some(number as u32).ok_or_else(problem)
}

/// Times, or gaps.
pub(super) struct Numbers<'a> {
    pub(super) budget: &'a Budget,
    pub(super) is_of_times: bool,
}

impl<'de> DeserializeSeed<'de> for Numbers<'_> {
    type Value = Vec<f64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<f64>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Numbers<'_> {
    type Value = Vec<f64>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<f64>, A::Error> {
        let mut all: Vec<f64> = Vec::new();
        while let Some(number) = list.next_element_seed(Number(self.budget))? {
            self.budget.take()?;
            match self.is_of_times {
                true => check_time(all.last().copied(), number, all.len() + 1, self.budget)?,
                false => check_gap(number, self.budget)?,
            }
            all.push(number);
        }
        Ok(all)
    }
}

/// Marks from 0.
pub(super) struct Kinds<'a>(pub(super) &'a Budget);

impl<'de> DeserializeSeed<'de> for Kinds<'_> {
    type Value = Vec<u32>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u32>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Kinds<'_> {
    type Value = Vec<u32>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a list of marks, which are whole numbers from 0")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u32>, A::Error> {
        let mut all = Vec::new();
        while let Some(number) = list.next_element_seed(Number(self.0))? {
            self.0.take()?;
            all.push(mark_of(number, self.0)?);
        }
        Ok(all)
    }
}

/// A finite number.
pub(super) struct Number<'a>(pub(super) &'a Budget);

impl<'de> DeserializeSeed<'de> for Number<'_> {
    type Value = f64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<f64, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Number<'_> {
    type Value = f64;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        let problem = || self.0.wrong(format!("found {number}, expected a finite number"));
        if number.is_finite() { Ok(number) } else { Err(problem()) }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }
}

/// How many marks there are, or nothing.
pub(super) struct Count;

impl<'de> DeserializeSeed<'de> for Count {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Count {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "how many marks there are (dim_process), 1 to {MOST_MARKS}")
    }

    fn visit_unit<E: Error>(self) -> Result<Option<usize>, E> {
        Ok(None)
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Option<usize>, E> {
        let is_count = (1..=MOST_MARKS as i64).contains(&count);
        let problem = || E::custom(format!("found dim_process {count}, expected 1 to {MOST_MARKS}"));
        is_count.then_some(Some(count as usize)).ok_or_else(problem)
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Option<usize>, E> {
        self.visit_i64(i64::try_from(count).unwrap_or(i64::MAX))
    }
}
