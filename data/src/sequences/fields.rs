//! Fields of a line of a table. They are slices of the line, so that an error can say the column, which the `csv` crate cannot.

use serde::{Deserialize, Serialize};

use super::error::SequenceError;
use super::lines::{Line, quoted};

/// What is between fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Separator {
    /// A comma, a semicolon or a tab.
    Character(char),
    /// Any number of blanks.
    Blanks,
}

/// Whether a line that was read before has a row: it is not blank and, where it is the first, no header.
pub(super) fn is_row(line: Line<'_>, separator: Option<Separator>, is_header: impl Fn(&[&str]) -> bool) -> bool {
    let fields = line.text().ok().and_then(|text| separator?.split(line, text).ok());
    !(line.is_blank() || line.number == 1 && fields.is_some_and(|fields| is_header(&fields)))
}

impl Separator {
    /// That of a table, told by its first line.
    pub(super) fn of(text: &str) -> Self {
        ['\t', ';', ','].into_iter().find(|mark| text.contains(*mark)).map_or(Separator::Blanks, Separator::Character)
    }

    /// The fields of a line, without blanks and quotes around them.
    pub(super) fn split<'a>(self, line: Line<'_>, text: &'a str) -> Result<Vec<&'a str>, SequenceError> {
        let Separator::Character(mark) = self else { return Ok(text.split_whitespace().collect()) };
        let (mut fields, mut rest) = (Vec::new(), text);
        loop {
            let begin = rest.trim_start_matches(' ');
            let (field, after) = match begin.strip_prefix('"') {
                None => rest.find(mark).map_or((rest, None), |at| (&rest[..at], Some(&rest[at + mark.len_utf8()..]))),
                Some(inner) => {
                    let unclosed = || line.wrong(begin, "a quote that is not closed on its line".into());
                    let end = inner.find('"').ok_or_else(unclosed)?;
                    let after = inner[end + 1..].trim_start_matches(' ');
                    if !after.is_empty() && !after.starts_with(mark) {
                        return Err(line.wrong(after, format!("found {} after a quote, expected {mark:?}", quoted(after))));
                    }
                    (&inner[..end], after.strip_prefix(mark))
                }
            };
            fields.push(if field.trim().is_empty() { field } else { field.trim() });
            match after {
                Some(after) => rest = after,
                None => return Ok(fields),
            }
        }
    }
}
