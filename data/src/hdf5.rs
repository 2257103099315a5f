//! HDF5 files as the formats need them: named arrays with checked types, and errors in place of panics.

use crate::error::DatasetError;
use hdf5_pure::{AttrValue, DType, Dataset, Datatype, EnumTypeBuilder, Error, File, FileBuilder, Group, make_i8_type};
use std::cell::Cell;
use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;

const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";

/// Files up to this size (bytes) are read at once, which is faster; larger ones on demand.
const IN_MEMORY: u64 = 1 << 29;

/// No deflate stream expands by more than 1032; a file that declares more than this many times its own size is damaged, and
/// reading it would only exhaust the memory.
const LARGEST_EXPANSION: u64 = 1100;

/// What all arrays that are read of a file may be in memory: so many bytes, and so many times the file. Recordings compress to a
/// third; a file of which more is asked would only exhaust the memory.
pub(crate) const ROOM: u64 = 1 << 26;
pub(crate) const ROOM_PER_BYTE: u64 = 64;

/// Longest side of a chunk that is written. The HDF5 writer stores a longer one in four bytes where three would do, and HDF5
/// 2.0 refuses to read that.
pub(crate) const LONGEST_CHUNK: u64 = u16::MAX as u64;

/// Where a file may begin, behind a block that is the user's: at 0 or a power of two from 512 on. HDF5 file format, section II.
const LARGEST_USER_BLOCK: u64 = 1 << 20;

/// The arrays that a format has a use for, by their names in a group.
const ARRAYS: [&str; 10] = [
    "observations",
    "next_observations",
    "actions",
    "rewards",
    "terminals",
    "timeouts",
    "terminations",
    "truncations",
    "algorithm",
    "iteration",
];

/// The groups that a format has a use for, but for a Minari dataset's episodes.
const GROUPS: [&str; 4] = ["metadata", "virtual", "observations", "actions"];

/// How many numbers are decoded at a time where an array is not wanted whole.
const WINDOW: u64 = 1 << 20;

/// The first bytes of an HDF5 file from its signature on; none if the file has no signature.
fn superblock(reader: &mut std::fs::File, len: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut start = 0;
    while !head.starts_with(&SIGNATURE) {
        if start >= len.min(LARGEST_USER_BLOCK) {
            return Ok(None);
        }
        head.clear();
        reader.seek(SeekFrom::Start(start))?;
        reader.by_ref().take(64).read_to_end(&mut head)?;
        start = (2 * start).max(512);
    }
    Ok(Some(head))
}

/// Whether a file has the signature of HDF5, be it whole or not.
pub(crate) fn is_hdf5(path: &Path) -> bool {
    let head = || superblock(&mut std::fs::File::open(path).ok()?, path.metadata().ok()?.len()).ok()?;
    path.is_file() && head().is_some()
}

/// An open HDF5 file.
pub(crate) struct Hdf5 {
    path: PathBuf,
    file: File,
    len: u64,
    /// Bytes of the arrays that were taken out.
    taken: Cell<u64>,
}

impl Hdf5 {
    /// Opens a file, after checking its signature and that nothing is cut off.
    pub(crate) fn open(path: &Path) -> Result<Self, DatasetError> {
        let io = |source| DatasetError::io(path, "cannot be read", source);
        let mut reader = std::fs::File::open(path).map_err(io)?;
        let len = reader.metadata().map_err(io)?.len();
        let head = superblock(&mut reader, len).map_err(io)?;
        let head = head.ok_or_else(|| DatasetError::invalid(path, "not an HDF5 file (bad signature)"))?;
        drop(reader);
        // A file whose superblock is cut must have at least a whole one.
        let expected = end_of_file(&head).unwrap_or(96);
        if expected > len || end_of_file(&head).is_none() {
            return Err(DatasetError::Truncated { path: path.into(), expected, found: len });
        }
        let open = || {
            if len <= IN_MEMORY { File::open(path) } else { File::open_streaming(path) }
        };
        let file = guard(path, "the HDF5 superblock", open)?;
        Ok(Self { path: path.into(), file, len, taken: Cell::new(0) })
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The group everything is in.
    pub(crate) fn root(&self) -> Result<Node<'_>, DatasetError> {
        let group = guard(&self.path, "the root group", || Ok(self.file.root()))?;
        Ok(Node { hdf5: self, group, place: String::new() })
    }

    /// Checks that arrays have equally many rows.
    pub(crate) fn expect_same_rows(&self, arrays: &[&Array]) -> Result<(), DatasetError> {
        if arrays.windows(2).all(|pair| pair[0].rows() == pair[1].rows()) {
            return Ok(());
        }
        let lengths: Vec<String> = arrays.iter().map(|array| format!("{} {}", array.name, array.rows())).collect();
        Err(DatasetError::invalid(&self.path, format!("lengths differ: {}", lengths.join(", "))))
    }

    fn guard<T>(&self, what: &str, read: impl FnOnce() -> Result<T, Error>) -> Result<T, DatasetError> {
        guard(&self.path, what, read)
    }
}

/// A group, with its path inside the file.
pub(crate) struct Node<'a> {
    hdf5: &'a Hdf5,
    group: Group,
    place: String,
}

impl<'a> Node<'a> {
    fn place(&self) -> &str {
        if self.place.is_empty() { "the root group" } else { &self.place }
    }

    /// The groups inside, in the file's order, which is alphabetical.
    pub(crate) fn groups(&self) -> Result<Vec<(String, Node<'a>)>, DatasetError> {
        let names = GROUPS.iter().map(|name| name.to_string()).chain((0..).map(|episode| format!("episode_{episode}")));
        let groups = self.members(|| Ok(self.group.iter_groups()?.collect()), names, |name| self.group.group(name))?;
        let node = |(name, group): (String, Group)| {
            let place = join(&self.place, &name);
            (name, Node { hdf5: self.hdf5, group, place })
        };
        Ok(groups.into_iter().map(node).collect())
    }

    /// The group inside of a name.
    pub(crate) fn group(&self, name: &str) -> Result<Node<'a>, DatasetError> {
        let place = join(&self.place, name);
        match self.hdf5.guard(&place, || self.group.group(name)) {
            Ok(group) => Ok(Node { hdf5: self.hdf5, group, place }),
            Err(_) => {
                let problem = "is missing, or no group".into();
                Err(DatasetError::Array { path: self.hdf5.path.clone(), array: place, problem })
            }
        }
    }

    /// The arrays inside, in the file's order.
    pub(crate) fn arrays(&self) -> Result<Arrays<'a>, DatasetError> {
        let names = ARRAYS.iter().map(|name| name.to_string());
        let arrays = self.members(|| Ok(self.group.iter_datasets()?.collect()), names, |name| self.group.dataset(name))?;
        let found = arrays.iter().map(|(name, _)| name.clone()).collect();
        Ok(Arrays { hdf5: self.hdf5, place: self.place.clone(), arrays, found })
    }

    /// What is inside, of one kind. The reader cannot list a group of HDF5's older form with a soft link in it; there, what is known
    /// by name is looked up. `names`: first those that may be absent, then (`episode_0`, ...) those that are there up to some number.
    fn members<T>(
        &self,
        all: impl FnOnce() -> Result<Vec<(String, T)>, Error>,
        names: impl Iterator<Item = String>,
        one: impl Fn(&str) -> Result<T, Error>,
    ) -> Result<Vec<(String, T)>, DatasetError> {
        let error = match self.hdf5.guard(self.place(), all) {
            Ok(members) => return Ok(members),
            Err(error) => error,
        };
        let found = names.map(|name| (self.hdf5.guard(&name, || one(&name)).ok(), name));
        let found = found.take_while(|(member, name)| member.is_some() || !name.starts_with("episode_"));
        let members: Vec<_> = found.filter_map(|(member, name)| Some((name, member?))).collect();
        // A file with groups alone has no arrays to find, and the other way round.
        if members.is_empty() && !self.has_a_known_member() { Err(error) } else { Ok(members) }
    }

    fn has_a_known_member(&self) -> bool {
        let look = || Ok(ARRAYS.iter().any(|name| self.group.dataset(name).is_ok()) || self.group.group("episode_0").is_ok());
        self.hdf5.guard(self.place(), look).unwrap_or(false)
    }

    /// The attributes. One that cannot be decoded is left out: nothing depends on it.
    pub(crate) fn attributes(&self) -> HashMap<String, AttrValue> {
        self.hdf5.guard("attributes", || self.group.attrs()).unwrap_or_default()
    }
}

/// The arrays of one group.
pub(crate) struct Arrays<'a> {
    hdf5: &'a Hdf5,
    place: String,
    arrays: Vec<(String, Dataset)>,
    /// What the group held at first, for messages.
    pub(crate) found: Vec<String>,
}

impl<'a> Arrays<'a> {
    /// Takes out an array that may be absent.
    pub(crate) fn take_optional(&mut self, name: &str) -> Result<Option<Array<'a>>, DatasetError> {
        let Some(index) = self.arrays.iter().position(|(found, _)| found == name) else {
            return Ok(None);
        };
        let (_, dataset) = self.arrays.remove(index);
        Array::new(self.hdf5, dataset, join(&self.place, name)).map(Some)
    }

    /// Takes out an array that must be there.
    pub(crate) fn take(&mut self, name: &str) -> Result<Array<'a>, DatasetError> {
        self.take_optional(name)?.ok_or_else(|| {
            let all = self.found.join(", ");
            let found = if all.is_empty() { "there is nothing in its place".into() } else { format!("found {all}") };
            let array = join(&self.place, name);
            let problem = format!("is missing, or a link, which is not followed; {found}");
            DatasetError::Array { path: self.hdf5.path.clone(), array, problem }
        })
    }
}

/// One array: its shape and type are known, its numbers not yet read.
pub(crate) struct Array<'a> {
    hdf5: &'a Hdf5,
    dataset: Dataset,
    /// Path inside the file.
    pub(crate) name: String,
    /// Dimensions.
    pub(crate) shape: Vec<u64>,
    dtype: DType,
}

impl<'a> Array<'a> {
    fn new(hdf5: &'a Hdf5, dataset: Dataset, name: String) -> Result<Self, DatasetError> {
        let (shape, dtype, element, filtered) = hdf5
            .guard(&name, || Ok((dataset.shape()?, dataset.dtype()?, dataset.element_size()?, !dataset.filters().is_empty())))?;
        // Before anything is allocated from numbers that the file made up.
        let bytes = shape.iter().try_fold(element.max(1), |product, &n| product.checked_mul(n));
        let room = hdf5.len.saturating_mul(if filtered { LARGEST_EXPANSION } else { 1 });
        if bytes.is_none_or(|bytes| bytes > room) {
            let problem = format!("shape {shape:?} of {element}-byte elements does not fit into {} bytes of file", hdf5.len);
            return Err(DatasetError::Damaged { path: hdf5.path.clone(), what: name, problem });
        }
        let taken = hdf5.taken.get().saturating_add(bytes.unwrap_or(u64::MAX));
        if taken > ROOM.saturating_add(hdf5.len.saturating_mul(ROOM_PER_BYTE)) {
            let problem = format!(
                "the arrays up to this one are {taken} bytes, more than {ROOM_PER_BYTE} times the {} bytes of file; store them \
                 with less compression if they are meant",
                hdf5.len
            );
            return Err(DatasetError::Damaged { path: hdf5.path.clone(), what: name, problem });
        }
        hdf5.taken.set(taken);
        Ok(Self { hdf5, dataset, name, shape, dtype })
    }

    /// First dimension; 0 for a scalar.
    pub(crate) fn rows(&self) -> u64 {
        self.shape.first().copied().unwrap_or(0)
    }

    /// A complaint about the shape.
    pub(crate) fn shape_error(&self, expected: impl Into<String>) -> DatasetError {
        self.error(format!("has shape {:?}, expected {}", self.shape, expected.into()))
    }

    fn error(&self, problem: String) -> DatasetError {
        DatasetError::Array { path: self.hdf5.path.clone(), array: self.name.clone(), problem }
    }

    /// Checks for `[rows, width]`.
    pub(crate) fn expect_matrix(&self, width: usize, who: &str) -> Result<(), DatasetError> {
        match self.shape[..] {
            [_, found] if found == width as u64 => Ok(()),
            _ => Err(self.shape_error(format!("[rows, {width}] ({who})"))),
        }
    }

    /// Checks for `[rows]` or `[rows, 1]`.
    pub(crate) fn expect_column(&self) -> Result<(), DatasetError> {
        match self.shape[..] {
            [_] | [_, 1] => Ok(()),
            _ => Err(self.shape_error("[rows] or [rows, 1]")),
        }
    }

    fn expect_type(&self, fits: bool, expected: &str) -> Result<(), DatasetError> {
        if fits { Ok(()) } else { Err(self.error(format!("has type {}, expected {expected}", self.dtype))) }
    }

    fn expect_numbers(&self) -> Result<(), DatasetError> {
        let float = matches!(self.dtype, DType::F32 | DType::F64);
        self.expect_type(float || self.is_integer(), "float or integer numbers")
    }

    /// Whether the numbers are stored in double precision.
    pub(crate) fn is_double(&self) -> bool {
        self.dtype == DType::F64
    }

    /// Whether it holds values of an enum, as booleans are written.
    pub(crate) fn is_enum(&self) -> bool {
        matches!(self.dtype, DType::Enum(_))
    }

    fn is_integer(&self) -> bool {
        use DType::{I8, I16, I32, I64, U8, U16, U32, U64};
        matches!(self.dtype, I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64)
    }

    /// Everything, as double precision. Row-major.
    pub(crate) fn f64s(&self) -> Result<Vec<f64>, DatasetError> {
        self.expect_numbers()?;
        self.counted(self.hdf5.guard(&self.name, || self.dataset.read_f64())?)
    }

    /// Everything, as single precision: exact for what was stored so, rounded for double. Row-major.
    pub(crate) fn f32s(&self) -> Result<Vec<f32>, DatasetError> {
        self.expect_numbers()?;
        self.counted(self.hdf5.guard(&self.name, || self.dataset.read_f32())?)
    }

    /// Everything, as indices.
    pub(crate) fn i64s(&self) -> Result<Vec<i64>, DatasetError> {
        self.expect_type(self.is_integer(), "integer numbers")?;
        self.counted(self.hdf5.guard(&self.name, || self.dataset.read_i64())?)
    }

    /// Everything, as flags: an HDF5 enum (how booleans are written), or numbers that are 0 or 1.
    pub(crate) fn flags(&self) -> Result<Vec<bool>, DatasetError> {
        if !self.is_enum() {
            self.expect_numbers()?;
        }
        let mut flags = Vec::with_capacity(self.rows() as usize);
        let mut wrong = None;
        self.visit(|first, numbers| {
            if let Some(row) = numbers.iter().position(|&number| number != 0.0 && number != 1.0) {
                wrong.get_or_insert((first + row, numbers[row]));
            }
            flags.extend(numbers.iter().map(|&number| number == 1.0));
        })?;
        if let Some((row, number)) = wrong {
            return Err(self.error(format!("holds {number} at row {row}, expected false, true, 0 or 1")));
        }
        Ok(flags)
    }

    /// Hands over the rows of a matrix in order, some at a time: `visit(first row, numbers)`, row-major.
    pub(crate) fn visit_rows(&self, visit: impl FnMut(usize, &[f64])) -> Result<(), DatasetError> {
        self.expect_numbers()?;
        self.visit(visit)
    }

    fn visit(&self, mut visit: impl FnMut(usize, &[f64])) -> Result<(), DatasetError> {
        let width = self.shape.get(1).copied().unwrap_or(1).max(1);
        // Windows end where chunks end, or the chunks at the border would be decompressed twice.
        let chunk = self.hdf5.guard(&self.name, || self.dataset.chunk_shape())?;
        let chunk_rows = chunk.and_then(|chunk| chunk.first().copied()).unwrap_or(1).max(1);
        let rows = (WINDOW / width / chunk_rows).max(1).saturating_mul(chunk_rows);
        let mut start = 0;
        while start < self.rows() {
            let count = rows.min(self.rows() - start);
            let numbers = self.hdf5.guard(&self.name, || self.dataset.read_f64_rows(start, count))?;
            self.expect_count(numbers.len(), count * width)?;
            visit(start as usize, &numbers);
            start += count;
        }
        Ok(())
    }

    /// Text of a scalar string array.
    pub(crate) fn text(&self) -> Option<String> {
        if !matches!(self.dtype, DType::String | DType::VariableLengthString) {
            return None;
        }
        self.hdf5.guard(&self.name, || self.dataset.read_string()).ok()?.into_iter().next()
    }

    fn counted<T>(&self, numbers: Vec<T>) -> Result<Vec<T>, DatasetError> {
        self.expect_count(numbers.len(), self.shape.iter().product())?;
        Ok(numbers)
    }

    fn expect_count(&self, found: usize, expected: u64) -> Result<(), DatasetError> {
        if found as u64 == expected {
            return Ok(());
        }
        let problem = format!("{found} numbers could be read, expected {expected}");
        Err(DatasetError::Damaged { path: self.hdf5.path.clone(), what: self.name.clone(), problem })
    }
}

/// The path of a member of a group, which is empty for the root.
fn join(place: &str, name: &str) -> String {
    if place.is_empty() { name.into() } else { format!("{place}/{name}") }
}

/// Where the file ends according to its superblock; `None` if the superblock itself is cut. HDF5 file format, section II.A.
fn end_of_file(head: &[u8]) -> Option<u64> {
    let version = *head.get(8)?;
    let (offset_size, base, end) = match version {
        0 => (*head.get(13)?, 24, 40),
        1 => (*head.get(13)?, 28, 44),
        _ => (*head.get(9)?, 12, 28),
    };
    if offset_size != 8 {
        return Some(0); // an unusual file: the HDF5 reader decides
    }
    let number = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
    // Both are relative to the start of the file where the base is 0, as it is in a file that starts with its signature.
    number(base)?;
    number(end)
}

/// Runs one call into the HDF5 reader. A damaged file may make it panic: that is an error about the file.
fn guard<T>(path: &Path, what: &str, read: impl FnOnce() -> Result<T, Error>) -> Result<T, DatasetError> {
    match contain(read) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => {
            Err(DatasetError::Hdf5 { path: path.into(), what: format!("cannot read {what}"), source: Box::new(source) })
        }
        Err(problem) => Err(DatasetError::Damaged { path: path.into(), what: what.into(), problem }),
    }
}

/// Turns a panic into its message, and keeps it off the terminal.
pub(crate) fn contain<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    thread_local!(static CONTAINED: Cell<bool> = const { Cell::new(false) });
    static HOOK: Once = Once::new();
    // The hook belongs to the whole process, so it is wrapped once and looks at a flag of its own thread.
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !CONTAINED.with(Cell::get) {
                previous(info);
            }
        }));
    });
    CONTAINED.with(|flag| flag.set(true));
    let outcome = catch_unwind(AssertUnwindSafe(run));
    CONTAINED.with(|flag| flag.set(false));
    outcome.map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| text.to_string());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "the HDF5 reader gave up".into())
    })
}

/// Writes the file and makes sure that it is on disk. `target` is the path in messages: the file has a temporary name.
pub(crate) fn finish(builder: FileBuilder, file: &Path, target: &Path) -> Result<(), DatasetError> {
    let io = |source| DatasetError::io(target, "cannot be written", source);
    let out = std::fs::File::create(file).map_err(io)?;
    let written = contain(|| builder.finish_to(&out)).map_err(|problem| DatasetError::Damaged {
        path: target.into(),
        what: "writing".into(),
        problem,
    })?;
    match written {
        Ok(()) => out.sync_all().map_err(io),
        Err(Error::Io(source)) => Err(io(source)),
        Err(source) => Err(writing(target, source)),
    }
}

/// The type of flags, as Python's h5py writes booleans.
pub(crate) fn boolean(target: &Path) -> Result<Datatype, DatasetError> {
    let boolean = EnumTypeBuilder::with_base(make_i8_type()).value("FALSE", 0).value("TRUE", 1).build();
    boolean.map_err(|source| writing(target, source.into()))
}

/// The HDF5 writer's complaint.
pub(crate) fn writing(target: &Path, source: Error) -> DatasetError {
    DatasetError::Hdf5 { path: target.into(), what: "cannot be written as HDF5".into(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_reader_becomes_an_error() {
        let error = guard(Path::new("a.hdf5"), "rewards", || -> Result<(), Error> { panic!("index {}", 7) }).unwrap_err();
        assert_eq!(error.to_string(), "a.hdf5: damaged file: rewards: index 7");
    }

    #[test]
    fn the_end_of_the_file_is_read_from_every_superblock() {
        let head = |version: u8, at: usize| {
            let mut head = vec![0; 64];
            (head[8], head[9], head[13]) = (version, 8, 8);
            head[at..at + 8].copy_from_slice(&1234u64.to_le_bytes());
            head
        };
        for (version, at) in [(0, 40), (1, 44), (2, 28), (3, 28)] {
            assert_eq!(end_of_file(&head(version, at)), Some(1234), "version {version}");
            assert_eq!(end_of_file(&head(version, at)[..at + 7]), None, "cut in version {version}");
        }
    }
}
