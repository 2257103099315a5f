//! The columnar storages: a folder an episode, in it tables of Arrow's IPC format or of Parquet, with a row a timestep.
//!
//! A table has as many rows as there are observations; in the last one actions, rewards and flags are padding.

mod arrow;
mod parquet;

use super::layout::Layout;
use super::metadata::{self, Spaces, Storage, Totals};
use super::stored::{Episodes, Rows, Stored};
use crate::error::DatasetError;
use crate::hdf5::{ROOM, ROOM_PER_BYTE, contain};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch, StructArray, types};
use arrow_schema::DataType;
use std::fs;
use std::path::{Path, PathBuf};

/// The columns that are read. Others, such as infos, need not be readable.
const COLUMNS: [&str; 5] = ["observations", "actions", "rewards", "terminations", "truncations"];

/// Reads all episodes.
pub(super) fn read(
    data: &Path,
    storage: Storage,
    totals: &Totals,
    spaces: &Spaces,
    episodes: &mut Episodes<'_>,
) -> Result<(), DatasetError> {
    let io = |source| DatasetError::io(data, "cannot be read", source);
    let mut folders = Vec::new();
    for entry in fs::read_dir(data).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok());
        folders.extend(number.filter(|_| path.is_dir()).map(|number| (number, path)));
    }
    folders.sort();
    if folders.is_empty() {
        return Err(DatasetError::invalid(data, "no episodes: nothing can be trained on"));
    }
    let count = folders.len() as u64;
    if let Some(missing) = (0..count).find(|&k| folders[k as usize].0 != k) {
        let of = totals.episodes;
        let problem =
            format!("the folder {missing} is missing: there are {count} of {of} episodes, numbered from 0 without gaps");
        episodes.push::<Column>(missing, Err(episodes.incomplete(missing, problem)))?;
    }
    for (episode, folder) in &folders {
        let stored = read_episode(*episode, folder, storage, spaces, episodes);
        episodes.push(*episode, stored)?;
    }
    Ok(())
}

fn read_episode(
    episode: u64,
    folder: &Path,
    storage: Storage,
    spaces: &Spaces,
    episodes: &Episodes<'_>,
) -> Result<Stored<Column>, DatasetError> {
    let (extension, ending) = if storage == Storage::Arrow { ("arrow", &b"ARROW1"[..]) } else { ("parquet", &b"PAR1"[..]) };
    let files = parts(folder, extension)?;
    if files.is_empty() {
        return Err(episodes.incomplete(episode, format!("{} has no file part-0.{extension}", folder.display())));
    }
    let mut tables = Vec::new();
    for path in files {
        let bytes = fs::read(&path).map_err(|source| DatasetError::io(&path, "cannot be read", source))?;
        if !bytes.ends_with(ending) {
            return Err(episodes.incomplete(episode, format!("{} is cut off, or no {extension} file", path.display())));
        }
        let damaged =
            |problem| DatasetError::Damaged { path: path.clone(), what: format!("cannot read its {extension} table"), problem };
        let batches = contain(|| match storage {
            Storage::Arrow => arrow::batches(bytes, &COLUMNS),
            _ => parquet::batches(bytes, &COLUMNS),
        });
        // A damaged file may make a reader panic.
        tables.extend(batches.and_then(|batches| batches).map_err(damaged)?);
    }
    let path = folder.to_path_buf();
    let mut room =
        ROOM.saturating_add(tables.iter().map(|table| table.get_array_memory_size() as u64).sum::<u64>() * ROOM_PER_BYTE);
    let mut column = |name: &str, names: &[String]| -> Result<Column, DatasetError> {
        let mut column =
            Column { path: path.clone(), name: [&[name.to_string()], names].concat().join("."), width: 0, numbers: None };
        for table in &tables {
            let problem = contain(|| column.append(table, name, names, &mut room));
            problem.and_then(|done| done).map_err(|problem| match table.column_by_name(name) {
                Some(_) => column.error(problem),
                None => episodes.incomplete(episode, format!("{name} is missing from the table")),
            })?;
        }
        Ok(column)
    };
    let mut all = |name: &str, space: &Layout| -> Result<Vec<Column>, DatasetError> {
        let leaves = space.leaves();
        leaves.iter().map(|(path, _)| column(name, &space.stored_names(path, str::to_string))).collect()
    };
    let (observations, mut actions) = (all(COLUMNS[0], &spaces.observations)?, all(COLUMNS[1], &spaces.actions)?);
    let [mut rewards, mut terminations, mut truncations] =
        [column(COLUMNS[2], &[])?, column(COLUMNS[3], &[])?, column(COLUMNS[4], &[])?];
    let about = about(folder)?;
    let rows = rewards.rows();
    if let Some(steps) = about["total_steps"].as_u64().filter(|steps| steps.saturating_add(1) != rows) {
        let problem = format!("it has {rows} observations and {steps} actions, expected one observation more than actions");
        return Err(episodes.incomplete(episode, problem));
    }
    actions.iter_mut().chain([&mut rewards, &mut terminations, &mut truncations]).for_each(Column::drop_last);
    Ok(Stored { observations, actions, rewards, terminations, truncations, seed: about["seed"].as_u64() })
}

/// What is said of an episode; null where nothing is.
fn about(folder: &Path) -> Result<serde_json::Value, DatasetError> {
    let path = folder.join("metadata.json");
    match fs::read_to_string(&path) {
        Ok(text) => metadata::parse(&text).map_err(|source| DatasetError::Json { path, key: "metadata.json".into(), source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(serde_json::Value::Null),
        Err(source) => Err(DatasetError::io(&path, "cannot be read", source)),
    }
}

/// The files of an episode in the order of their numbers.
fn parts(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, DatasetError> {
    let io = |source| DatasetError::io(folder, "cannot be read", source);
    let mut parts = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let Some(name) = path.file_stem().and_then(|name| name.to_str()) else { continue };
        if !name.starts_with(['.', '_']) && path.extension().is_some_and(|found| found == extension) {
            let number = name.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
            parts.push((number, path));
        }
    }
    parts.sort();
    Ok(parts.into_iter().map(|(_, path)| path).collect())
}

/// A column of an episode, or a leaf of one.
struct Column {
    path: PathBuf,
    name: String,
    /// Numbers a row.
    width: usize,
    /// None until there is a table.
    numbers: Option<Numbers>,
}

enum Numbers {
    Floats(Vec<f64>),
    Integers(Vec<i64>),
    Flags(Vec<bool>),
}

impl Column {
    fn error(&self, problem: String) -> DatasetError {
        DatasetError::Array { path: self.path.clone(), array: self.name.clone(), problem }
    }

    /// Appends the rows of a table.
    fn append(&mut self, table: &RecordBatch, name: &str, names: &[String], room: &mut u64) -> Result<(), String> {
        let mut array = table.column_by_name(name).ok_or("is missing")?;
        for name in names {
            no_nulls(array)?;
            let group: &StructArray =
                array.as_struct_opt().ok_or_else(|| format!("is {}, expected a struct", array.data_type()))?;
            array = group.column_by_name(name).ok_or_else(|| format!("is missing; found {}", group.column_names().join(", ")))?;
        }
        no_nulls(array)?;
        let rows = array.len();
        let (values, width) = match array.data_type() {
            DataType::FixedSizeList(_, width) => {
                let list = array.as_fixed_size_list_opt().ok_or("is no list")?;
                (list.values().clone(), usize::try_from(*width).map_err(|_| format!("has rows of {width} numbers"))?)
            }
            DataType::List(_) => of_lists(array.as_list_opt::<i32>().ok_or("is no list")?)?,
            DataType::LargeList(_) => of_lists(array.as_list_opt::<i64>().ok_or("is no list")?)?,
            _ => (array.clone(), 1),
        };
        if rows == 0 {
            return Ok(());
        }
        if self.numbers.is_some() && width != self.width || width == 0 {
            return Err(format!("has rows of {width} numbers"));
        }
        if rows.checked_mul(width) != Some(values.len()) {
            return Err(format!("has {} numbers in {rows} rows of {width}", values.len()));
        }
        no_nulls(&values)?;
        *room = room.checked_sub(8 * values.len() as u64).ok_or("has more numbers than the file can hold")?;
        self.width = width;
        self.append_values(&values)
    }

    fn append_values(&mut self, values: &ArrayRef) -> Result<(), String> {
        macro_rules! append {
            ($kind:ident of $number:ty, $type:ty) => {{
                let values = values.as_primitive_opt::<$type>().ok_or("is of a type that it does not say")?.values();
                match self.numbers.get_or_insert_with(|| Numbers::$kind(Vec::new())) {
                    Numbers::$kind(numbers) => numbers.extend(values.iter().map(|&value| value as $number)),
                    _ => return Err("is of several types".into()),
                }
            }};
        }
        match values.data_type() {
            DataType::Float64 => append!(Floats of f64, types::Float64Type),
            DataType::Float32 => append!(Floats of f64, types::Float32Type),
            DataType::Int64 => append!(Integers of i64, types::Int64Type),
            DataType::Int32 => append!(Integers of i64, types::Int32Type),
            DataType::Int16 => append!(Integers of i64, types::Int16Type),
            DataType::Int8 => append!(Integers of i64, types::Int8Type),
            DataType::UInt64 => append!(Integers of i64, types::UInt64Type),
            DataType::UInt32 => append!(Integers of i64, types::UInt32Type),
            DataType::UInt16 => append!(Integers of i64, types::UInt16Type),
            DataType::UInt8 => append!(Integers of i64, types::UInt8Type),
            DataType::Boolean => {
                let values = values.as_boolean_opt().ok_or("is of a type that it does not say")?.values();
                match self.numbers.get_or_insert_with(|| Numbers::Flags(Vec::new())) {
                    Numbers::Flags(flags) => flags.extend(values.iter()),
                    _ => return Err("is of several types".into()),
                }
            }
            other => return Err(format!("is of type {other}, expected numbers or flags")),
        }
        Ok(())
    }

    fn len(&self) -> usize {
        match &self.numbers {
            None => 0,
            Some(Numbers::Floats(numbers)) => numbers.len(),
            Some(Numbers::Integers(numbers)) => numbers.len(),
            Some(Numbers::Flags(flags)) => flags.len(),
        }
    }

    /// Leaves out the last row, which is padding.
    fn drop_last(&mut self) {
        let kept = self.len().saturating_sub(self.width);
        match &mut self.numbers {
            None => {}
            Some(Numbers::Floats(numbers)) => numbers.truncate(kept),
            Some(Numbers::Integers(numbers)) => numbers.truncate(kept),
            Some(Numbers::Flags(flags)) => flags.truncate(kept),
        }
    }
}

fn no_nulls(array: &ArrayRef) -> Result<(), String> {
    if array.null_count() == 0 { Ok(()) } else { Err(format!("has {} values that are null", array.null_count())) }
}

/// The values of lists of one length, and that length.
fn of_lists<O: arrow_array::OffsetSizeTrait>(lists: &arrow_array::GenericListArray<O>) -> Result<(ArrayRef, usize), String> {
    let offsets = lists.value_offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    let width = if lists.is_empty() { 0 } else { (last - first) / lists.len() };
    if offsets.windows(2).any(|pair| pair[1].as_usize() - pair[0].as_usize() != width) {
        return Err("has rows of several lengths".into());
    }
    Ok((lists.values().slice(first, last - first), width))
}

impl Rows for Column {
    fn name(&self) -> &str {
        &self.name
    }

    fn rows(&self) -> u64 {
        (self.len() / self.width.max(1)) as u64
    }

    fn expect_shape(&self, shape: &[usize], who: &str) -> Result<(), DatasetError> {
        // Rows are stored flat, whatever their shape.
        let expected: usize = shape.iter().product();
        if self.len() == 0 || self.width == expected {
            return Ok(());
        }
        Err(self.error(format!("has rows of {} numbers, expected {expected} ({who})", self.width)))
    }

    fn f64s(&self) -> Result<Vec<f64>, DatasetError> {
        Ok(match &self.numbers {
            None => Vec::new(),
            Some(Numbers::Floats(numbers)) => numbers.clone(),
            Some(Numbers::Integers(numbers)) => numbers.iter().map(|&number| number as f64).collect(),
            Some(Numbers::Flags(flags)) => flags.iter().copied().map(f64::from).collect(),
        })
    }

    fn f32s(&self) -> Result<Vec<f32>, DatasetError> {
        Ok(self.f64s()?.into_iter().map(|number| number as f32).collect())
    }

    fn i64s(&self) -> Result<Vec<i64>, DatasetError> {
        match &self.numbers {
            None => Ok(Vec::new()),
            Some(Numbers::Integers(numbers)) => Ok(numbers.clone()),
            Some(_) => Err(self.error("has other types than integer numbers".into())),
        }
    }

    fn flags(&self) -> Result<Vec<bool>, DatasetError> {
        if let Some(Numbers::Flags(flags)) = &self.numbers {
            return Ok(flags.clone());
        }
        let numbers = self.f64s()?;
        match numbers.iter().position(|&number| number != 0.0 && number != 1.0) {
            Some(row) => Err(self.error(format!("holds {} at row {row}, expected false, true, 0 or 1", numbers[row]))),
            None => Ok(numbers.into_iter().map(|number| number == 1.0).collect()),
        }
    }
}
