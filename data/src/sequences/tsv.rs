//! `.tsv` and `.txt` of the UCR archive: a case a line, the label first, then the values of one channel, between tabs, commas or blanks.
//! Shorter cases are filled with NaN at their end.

use std::path::Path;

use super::error::SequenceError;
use super::labelled::{Case, Labelled};
use super::lines::{bytes, lines, quoted};

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Labelled, SequenceError> {
    let bytes = bytes(path)?;
    let mut cases = Vec::new();
    for line in lines(path, &bytes).filter(|line| !line.is_blank()) {
        let text = line.text()?;
        let fields: Vec<&str> = match [b'\t', b','].into_iter().find(|separator| text.as_bytes().contains(separator)) {
            Some(separator) => text.split(char::from(separator)).collect(),
            None => text.split_whitespace().collect(),
        };
        let label = fields[0].trim();
        // The archive writes one class as 1, 1.0 and 1.0000000e+00.
        let number = label.parse::<f64>().ok().filter(|number| number.is_finite());
        let number = number
            .ok_or_else(|| line.wrong(fields[0], format!("found {}, expected a class, which is a number", quoted(label))))?;
        let mut values = fields[1..].iter().map(|field| line.value(field)).collect::<Result<Vec<_>, _>>()?;
        while values.last().is_some_and(|value| value.is_nan()) {
            values.pop();
        }
        if values.is_empty() {
            return Err(line.wrong(text, "a class without values".into()));
        }
        cases.push(Case { values, label: number.to_string(), line: line.number });
    }
    let ended = || SequenceError::Text { path: path.into(), line: 1, column: 1, problem: "the file has no case".into() };
    if cases.is_empty() { Err(ended()) } else { Ok(Labelled { path: path.into(), channels: 1, classes: None, cases }) }
}
