//! Where a table is cut into what is learnt from, what chooses a checkpoint, and what is reported.

use std::ops::Range;

use super::error::SequenceError;
use super::table::Table;

/// Seconds of a month of thirty days, as published splits of the ETT datasets count.
const MONTH: f64 = 30.0 * 24.0 * 3600.0;

/// How long the training, validation and test split are, one after another from the first row on; what is left is not used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TableSplit {
    /// In months of thirty days, which are whole numbers of rows.
    Months([usize; 3]),
    /// In parts of the table. The training and the test split are rounded down; where the parts sum to 1 nothing is left.
    Fractions([f64; 3]),
    /// In rows.
    Rows([usize; 3]),
}

impl TableSplit {
    /// The rows of each split.
    ///
    /// # Errors
    /// If a table is shorter than that, or has no times to count months by.
    pub fn ranges(self, table: &Table) -> Result<[Range<usize>; 3], SequenceError> {
        let rows = table.rows();
        let wrong = |problem: String| SequenceError::Table { path: table.path.clone(), problem };
        let lengths = match self {
            TableSplit::Rows(lengths) => lengths,
            TableSplit::Months(months) => {
                let why = if table.times.is_none() { "no column has times" } else { "rows are not equally far apart in time" };
                let hint = || wrong(format!("{why}, so months are no number of rows; split it by rows or fractions"));
                let step = table.step_seconds().ok_or_else(hint)?;
                let of_month = MONTH / step;
                if of_month < 1.0 || of_month.fract() != 0.0 {
                    return Err(wrong(format!(
                        "rows are {step} s apart, which does not divide a month of thirty days; split it by rows or fractions"
                    )));
                }
                months.map(|months| months.saturating_mul(of_month as usize))
            }
            TableSplit::Fractions(parts) => {
                let [train, validation, test] = parts;
                // A sum of fractions that means a whole number may be a little below it.
                let down = |part: f64| (part * rows as f64 + 1e-6).floor() as usize;
                let (all, train, test) = (down(train + validation + test), down(train), down(test));
                [train, all.saturating_sub(train + test), test]
            }
        };
        let [train, validation, test] = lengths;
        let ends = [train, train.saturating_add(validation), train.saturating_add(validation).saturating_add(test)];
        if ends[2] > rows {
            return Err(wrong(format!("the splits have {train}, {validation} and {test} rows, and there are {rows}")));
        }
        Ok([0..ends[0], ends[0]..ends[1], ends[1]..ends[2]])
    }
}

/// The first forecast row of every window of a split: forecast rows are all in the split, and those that are looked back on may be before it.
pub fn origins(split: &Range<usize>, look_back: usize, horizon: usize) -> Range<usize> {
    let first = split.start.max(look_back);
    first..(split.end + 1).saturating_sub(horizon).max(first)
}
