//! Sequences from files: such that each belong to a class, from the UEA and UCR archives' files ([`read`]), tables of numbers over time, of
//! which the next are to be forecast ([`Table::read`]), and events, of which the next is to be said when and what it is ([`Events::read`]).
//!
//! ```
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("two.ts");
//! std::fs::write(&path, "@problemName Two\n@univariate false\n@classLabel true up down\n@data\n1,2,3:0,0,?:up\n2,1:5,5:down\n")?;
//! let labelled = aaren_data::sequences::read(&path)?;
//! assert_eq!((labelled.channels, labelled.cases.len(), labelled.cases[1].len(2)), (2, 2, 2));
//! assert_eq!(labelled.cases[1].values, [2.0, 5.0, 1.0, 5.0]); // a step after the other
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod events;
mod fields;
mod labelled;
mod lines;
mod naive;
mod rows;
mod split;
mod summary;
mod table;
mod time;
mod ts;
mod tsv;

use std::path::Path;

pub use error::SequenceError;
pub use events::{Event, EventFormat, EventReader, EventSequence, EventSplit, Events, Marks};
pub use labelled::{Case, Labelled};
pub use naive::{Errors, Naive};
pub use rows::{Row, RowReader, TableOptions};
pub use split::{TableSplit, origins};
pub use summary::{ChannelSummary, EventsSummary, LabelledSummary, TableSummary};
pub use table::Table;
pub use time::Time;

/// Reads a file: `.ts` as the UEA and UCR archives and aeon write it, or `.tsv` and `.txt` as the UCR archive did, a label and then the
/// values of one channel. A missing number is `?` or `NaN`.
///
/// # Errors
/// What is wrong, with its line and column.
pub fn read(path: &Path) -> Result<Labelled, SequenceError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("ts") => ts::read(path),
        Some("tsv" | "txt") => tsv::read(path),
        _ => Err(SequenceError::Format { path: path.into(), expected: ".ts, .tsv or .txt" }),
    }
}

/// The classes of a dataset: those of the header of the file that is trained on or, where it has none, those that its sequences have, as
/// numbers where they all are numbers. Classes of the header that no sequence has are classes too.
pub fn classes(train: &Labelled) -> Vec<String> {
    let found = || {
        let mut labels: Vec<String> = train.cases.iter().map(|case| case.label.clone()).collect();
        labels.sort();
        labels.dedup();
        let numbers: Option<Vec<f64>> = labels.iter().map(|label| label.parse().ok()).collect();
        if let Some(numbers) = numbers {
            let mut order: Vec<usize> = (0..labels.len()).collect();
            order.sort_by(|&a, &b| numbers[a].total_cmp(&numbers[b]));
            labels = order.into_iter().map(|at| labels[at].clone()).collect();
        }
        labels
    };
    train.classes.clone().unwrap_or_else(found)
}

/// The class of every sequence, by its place among the classes.
///
/// # Errors
/// Names the first sequence whose class is none of them.
pub fn class_numbers(labelled: &Labelled, classes: &[String]) -> Result<Vec<usize>, SequenceError> {
    let number = |case: &Case| {
        classes.iter().position(|class| *class == case.label).ok_or_else(|| SequenceError::Class {
            path: labelled.path.clone(),
            line: case.line,
            label: case.label.clone(),
            known: classes.join(", "),
        })
    };
    labelled.cases.iter().map(number).collect()
}
