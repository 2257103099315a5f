//! `.ts`: a header of `@key value`, then a case a line, channels between `:`, values between `,`, the class last.
//!
//! Source: the readers of aeon (`load_from_ts_file`), whose bundled files are read here to the same numbers. Unlike them, a class is
//! written as the header writes it, capitals included.

use std::path::Path;

use super::error::SequenceError;
use super::labelled::{Case, Labelled};
use super::lines::{Line, bytes, lines, quoted};

/// What a header says.
#[derive(Default)]
struct Header {
    classes: Option<Vec<String>>,
    channels: Option<usize>,
    length: Option<usize>,
    is_of_equal_lengths: bool,
}

/// Reads a file.
pub(super) fn read(path: &Path) -> Result<Labelled, SequenceError> {
    let bytes = bytes(path)?;
    let (mut header, mut is_data) = (Header::default(), false);
    let (mut cases, mut channels, mut last) = (Vec::<Case>::new(), None, 1);
    for line in lines(path, &bytes) {
        // Comments come before and between cases; those of older files begin with a percent sign.
        if line.is_blank() || line.begins_with(b"#%") {
            continue;
        }
        last = line.number;
        let text = line.text()?;
        if !is_data {
            is_data = header.take(line, text)?;
            continue;
        }
        let case = case(line, text, &header, channels)?;
        channels = Some(case.0);
        cases.push(case.1);
    }
    let ended = |problem: &str| SequenceError::Text { path: path.into(), line: last, column: 1, problem: problem.into() };
    match channels {
        _ if !is_data => Err(ended("the file ends without @data")),
        Some(channels) => Ok(Labelled { path: path.into(), channels, classes: header.classes, cases }),
        None => Err(ended("the file ends without a case after @data")),
    }
}

impl Header {
    /// Takes a line; says whether it is the last one.
    fn take(&mut self, line: Line<'_>, text: &str) -> Result<bool, SequenceError> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let wrong = |at: usize, problem: String| Err(line.wrong(words.get(at).copied().unwrap_or(text), problem));
        let Some(key) = words[0].strip_prefix('@') else {
            return wrong(
                0,
                format!("found {}, expected a line of the header, which begin with @ and end with @data", quoted(words[0])),
            );
        };
        let value = words.get(1).map(|word| word.to_ascii_lowercase());
        let is_true = match value.as_deref() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        let count = || value.as_ref().and_then(|value| value.parse::<usize>().ok()).filter(|&count| count > 0);
        match key.to_ascii_lowercase().as_str() {
            "timestamps" if is_true == Some(true) => {
                return wrong(1, "@timeStamps true: steps with times of their own are not read; write the values alone".into());
            }
            "targetlabel" if is_true == Some(true) => {
                return wrong(
                    1,
                    "@targetLabel true: this is a regression, whose targets are numbers; expected @classLabel true".into(),
                );
            }
            "classlabel" if is_true == Some(true) && words.len() > 2 => {
                let classes: Vec<String> = words[2..].iter().map(|class| class.to_string()).collect();
                if let Some(at) = (0..classes.len()).find(|&at| classes[..at].contains(&classes[at])) {
                    return wrong(at + 2, format!("the class {} is there twice", quoted(&classes[at])));
                }
                self.classes = Some(classes);
            }
            "classlabel" => return wrong(1, "expected @classLabel true and the classes".into()),
            "dimensions" | "dimension" => match count() {
                Some(channels) => self.channels = Some(channels),
                None => return wrong(1, "expected @dimensions and how many, at least 1".into()),
            },
            "univariate" if is_true == Some(true) => self.channels = Some(1),
            "equallength" => self.is_of_equal_lengths = is_true == Some(true),
            "serieslength" => match count() {
                Some(length) => self.length = Some(length),
                None => return wrong(1, "expected @seriesLength and how many steps, at least 1".into()),
            },
            "data" if self.classes.is_none() => return wrong(0, "@data before @classLabel true and the classes".into()),
            "data" => return Ok(true),
            _ => {}
        }
        Ok(false)
    }
}

/// A case and how many channels it has.
fn case(line: Line<'_>, text: &str, header: &Header, channels: Option<usize>) -> Result<(usize, Case), SequenceError> {
    if text.trim_start().starts_with('(') {
        return Err(line
            .wrong(text.trim_start(), "found steps with times of their own, which are not read; write the values alone".into()));
    }
    let Some((values, label)) = text.rsplit_once(':') else {
        return Err(line.wrong(text, "found no colon, expected values, a colon and the class".into()));
    };
    let (fields, label) = (values.split(':').collect::<Vec<_>>(), label.trim());
    let expected = header.channels.or(channels).unwrap_or(fields.len());
    if fields.len() != expected {
        let part = fields.get(expected).copied().unwrap_or(label);
        return Err(line.wrong(part, format!("found {} channels, expected {expected} and the class", fields.len())));
    }
    let mut columns: Vec<Vec<f64>> = Vec::new();
    for field in fields {
        let column = field.split(',').map(|value| line.value(value)).collect::<Result<Vec<_>, _>>()?;
        let of_header = header.length.filter(|_| header.is_of_equal_lengths);
        let (steps, whose) = match columns.first() {
            Some(first) => (first.len(), "the first channel has"),
            None => (of_header.unwrap_or(column.len()), "@seriesLength says"),
        };
        if column.len() != steps {
            return Err(line.wrong(field, format!("found a channel of {} steps, {whose} {steps}", column.len())));
        }
        columns.push(column);
    }
    let classes = header.classes.as_deref().unwrap_or_default();
    if !classes.iter().any(|class| class == label) {
        let part = if label.is_empty() { &text[text.len()..] } else { label };
        return Err(line.wrong(part, format!("the class {} is not one of the header's: {}", quoted(label), classes.join(", "))));
    }
    let values = (0..columns[0].len()).flat_map(|step| columns.iter().map(move |column| column[step])).collect();
    Ok((columns.len(), Case { values, label: label.into(), line: line.number }))
}
