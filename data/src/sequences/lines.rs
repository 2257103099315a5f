//! Lines of a text file, numbers of a line, and what is wrong with them.

use std::fs;
use std::io::{Error, ErrorKind, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::error::SequenceError;

/// The largest file that is read.
const MOST_BYTES: u64 = 1 << 34;
/// The most that a packed file may hold: a few bytes can ask for very much memory.
const MOST_UNPACKED: u64 = 1 << 31;

/// The bytes of a file, which is no device or pipe.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>, SequenceError> {
    let io = |source| SequenceError::Io { path: path.into(), what: "cannot read it", source };
    let found = fs::metadata(path).map_err(io)?;
    if !found.is_file() || found.len() > MOST_BYTES {
        let problem = format!("expected a regular file of at most {} GiB", MOST_BYTES >> 30);
        return Err(io(Error::new(ErrorKind::InvalidInput, problem)));
    }
    fs::read(path).map_err(io)
}

/// The bytes of a file, unpacked where its name ends in `.gz`.
pub(super) fn unpacked(path: &Path) -> Result<Vec<u8>, SequenceError> {
    let packed = bytes(path)?;
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Ok(packed);
    }
    let io = |what, source| SequenceError::Io { path: path.into(), what, source };
    let mut bytes = Vec::new();
    let mut unpacking = MultiGzDecoder::new(&packed[..]).take(MOST_UNPACKED + 1);
    unpacking.read_to_end(&mut bytes).map_err(|source| io("cannot unpack it", source))?;
    if bytes.len() as u64 > MOST_UNPACKED {
        let problem = format!("it has more than {} GiB", MOST_UNPACKED >> 30);
        return Err(io("cannot unpack it", Error::new(ErrorKind::InvalidData, problem)));
    }
    Ok(bytes)
}

/// A line: its number, and its bytes without what ends it.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) path: &'a Path,
    pub(super) number: usize,
    pub(super) bytes: &'a [u8],
}

/// Bytes without a mark of the byte order before them, which is none of their characters.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// All lines of a file.
pub(super) fn lines<'a>(path: &'a Path, bytes: &'a [u8]) -> impl Iterator<Item = Line<'a>> {
    let bytes = without_mark(bytes);
    bytes.split(|&byte| byte == b'\n').zip(1..).map(move |(bytes, number)| Line { path, number, bytes })
}

impl<'a> Line<'a> {
    /// Whether nothing is on it.
    pub(super) fn is_blank(self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }

    /// Whether it begins so, blanks aside.
    pub(super) fn begins_with(self, marks: &[u8]) -> bool {
        self.bytes.trim_ascii_start().first().is_some_and(|first| marks.contains(first))
    }

    /// Its text. Comments may be in any encoding, and are not asked for theirs.
    pub(super) fn text(self) -> Result<&'a str, SequenceError> {
        let text = std::str::from_utf8(self.bytes).map_err(|error| {
            let before = String::from_utf8_lossy(&self.bytes[..error.valid_up_to()]);
            let column = before.chars().count() + 1;
            self.wrong_at(column, format!("a byte 0x{:02x} that is no UTF-8", self.bytes[error.valid_up_to()]))
        })?;
        Ok(text.trim_end_matches('\r'))
    }

    /// What is wrong at a part of its text.
    pub(super) fn wrong(self, part: &str, problem: String) -> SequenceError {
        self.wrong_at(self.column(part), problem)
    }

    /// Where a part of its text begins, which is a slice of the line.
    pub(super) fn column(self, part: &str) -> usize {
        let start = (part.as_ptr() as usize).saturating_sub(self.bytes.as_ptr() as usize).min(self.bytes.len());
        String::from_utf8_lossy(&self.bytes[..start]).chars().count() + 1
    }

    fn wrong_at(self, column: usize, problem: String) -> SequenceError {
        SequenceError::Text { path: self.path.into(), line: self.number, column, problem }
    }

    /// A number, or NaN where one is missing.
    pub(super) fn value(self, field: &str) -> Result<f64, SequenceError> {
        let word = field.trim();
        if word == "?" || word.eq_ignore_ascii_case("nan") {
            return Ok(f64::NAN);
        }
        let number = word.parse::<f64>().ok().filter(|number| number.is_finite());
        number.ok_or_else(|| {
            let place = if word.is_empty() { field } else { word };
            self.wrong(place, format!("found {}, expected a number, or ? where one is missing", quoted(word)))
        })
    }
}

/// Some text in quotes, without its end where it is long.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(30).collect();
    if shown.len() < text.len() { format!("{shown:?} and more") } else { format!("{shown:?}") }
}
