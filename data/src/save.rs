//! Writing a dataset so that nothing is lost when writing fails.

use crate::episode::Episodes;
use crate::error::DatasetError;
use crate::format::{Format, JOURNAL};
use crate::hdf5::is_hdf5;
use crate::report::Strictness;
use crate::trajectory::Dataset;
use crate::verify::verify;
use crate::{d4rl, minari};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Writes a dataset: a file for [`Format::D4rl`], a directory (the one with `data/` inside) for [`Format::Minari`].
///
/// Everything is written under a temporary name beside the target and renamed when it is complete. An existing dataset is replaced
/// only if `overwrite` is set; anything that is not a dataset of this format is never replaced.
///
/// Limits of the formats: D4RL stores single precision, no discrete actions and no seeds; Minari keeps the number types of
/// the spaces and needs the observation after the last step of every trajectory. Infos are not part of a [`Dataset`]; see
/// [`save_episodes`]. A trajectory without an end flag is written as truncated to D4RL, which has no other way to end it.
///
/// # Errors
/// [`DatasetError::Content`] if the dataset does not pass [`verify`], [`DatasetError::Exists`], [`DatasetError::Taken`] if it
/// came to be there meanwhile, [`DatasetError::WrongKind`] if something else is there, [`DatasetError::Unsupported`] if the format cannot hold it, [`DatasetError::Io`].
pub fn save(dataset: &Dataset, path: &Path, format: Format, overwrite: bool) -> Result<(), DatasetError> {
    DatasetError::unless_ok(path, verify(dataset, Strictness::Normal))?;
    put(dataset, &dataset.trajectories.as_slice(), path, format, overwrite)
}

/// [`save`] for episodes that are not in memory together. `about` is the rest of the dataset; its trajectories are ignored.
///
/// D4RL files get the [`StepInfos`](crate::StepInfos) that every episode has, under `infos/`.
///
/// The memory that this takes is that of the file, before compression: the HDF5 writer holds it until it is finished.
///
/// # Errors
/// As [`save`], and those of the source.
pub fn save_episodes(
    about: &Dataset,
    episodes: &dyn Episodes,
    path: &Path,
    format: Format,
    overwrite: bool,
) -> Result<(), DatasetError> {
    let mut one = Dataset { trajectories: Vec::new(), ..about.clone() };
    let mut count = 0;
    episodes.visit(&mut |index, trajectory, _| {
        one.trajectories = vec![trajectory.clone()];
        let mut report = verify(&one, Strictness::Normal);
        report.errors.iter_mut().for_each(|finding| finding.text = format!("episode {index} of the source: {}", finding.text));
        count += 1;
        DatasetError::unless_ok(path, report).map(drop)
    })?;
    if count == 0 {
        // Without trajectories, which the checks refuse.
        DatasetError::unless_ok(path, verify(&one, Strictness::Normal))?;
    }
    put(about, episodes, path, format, overwrite)
}

/// Writes episodes that passed the checks.
fn put(about: &Dataset, episodes: &dyn Episodes, path: &Path, format: Format, overwrite: bool) -> Result<(), DatasetError> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|source| DatasetError::io(parent, "cannot be created", source))?;
    }
    check_place(path, format, overwrite)?;
    match format {
        Format::D4rl => save_file(about, episodes, path, overwrite),
        Format::Minari => save_directory(about, episodes, path),
    }
}

/// Whether a dataset may be written to a place: nothing is there, or what [`save`] would replace. Long work may look before it begins.
///
/// # Errors
/// [`DatasetError::Exists`] unless `overwrite` is set, [`DatasetError::WrongKind`] if what is there is not a dataset of this format: a
/// file without the signature of HDF5, a directory without the metadata of Minari.
pub fn check_place(path: &Path, format: Format, overwrite: bool) -> Result<(), DatasetError> {
    // A link that leads nowhere is something, too.
    if path.symlink_metadata().is_err() || format == Format::Minari && is_collecting(path) {
        return Ok(());
    }
    if !overwrite && !is_collecting(path) {
        return Err(DatasetError::Exists { path: path.into() });
    }
    let wrong = |found, expected| Err(DatasetError::wrong_kind(path, found, expected));
    match format {
        Format::D4rl if path.is_dir() => wrong("a directory", "a file to write D4RL into"),
        Format::D4rl if !is_hdf5(path) => wrong("a file that is not HDF5", "nothing, or an HDF5 file to overwrite"),
        Format::Minari if !path.join("data").join("metadata.json").is_file() => {
            wrong("something that is not a Minari dataset", "nothing, or a Minari dataset to overwrite")
        }
        _ => Ok(()),
    }
}

fn save_file(about: &Dataset, episodes: &dyn Episodes, path: &Path, overwrite: bool) -> Result<(), DatasetError> {
    let temporary = Temporary::beside(path)?;
    d4rl::write::write(about, episodes, &temporary.path, path)?;
    // A second name is not given over a file that is there, as `rename` would. Some file systems have no second names.
    match if overwrite { Err(ErrorKind::Unsupported.into()) } else { fs::hard_link(&temporary.path, path) } {
        Ok(()) => Ok(()),
        Err(source) if source.kind() == ErrorKind::AlreadyExists => Err(DatasetError::Taken { path: path.into() }),
        Err(_) => fs::rename(&temporary.path, path).map_err(|source| not_in_place(path, source)),
    }
}

/// Why a dataset that is whole did not get its name: mostly that somebody else was faster.
fn not_in_place(path: &Path, source: io::Error) -> DatasetError {
    match source.kind() {
        ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory => {
            DatasetError::Taken { path: path.into() }
        }
        _ => DatasetError::io(path, "cannot be put in place", source),
    }
}

fn save_directory(about: &Dataset, episodes: &dyn Episodes, path: &Path) -> Result<(), DatasetError> {
    let exists = path.exists() && !is_collecting(path);
    let temporary = Temporary::beside(path)?;
    let data = temporary.path.join("data");
    fs::create_dir_all(&data).map_err(|source| DatasetError::io(path, "cannot be written", source))?;
    minari::write::write(about, episodes, &data, path)?;
    if exists {
        // Only `data` is ours. A directory cannot be renamed over another: the old one steps aside, and back on failure.
        // It does so inside its own directory, where it is found again should the process die in between.
        let (current, old) = (path.join("data"), path.join(".data.old"));
        if old.exists() {
            remove(&old).map_err(|source| DatasetError::io(&old, "cannot be removed", source))?;
        }
        fs::rename(&current, &old).map_err(|source| match source.kind() {
            ErrorKind::NotFound => DatasetError::Taken { path: path.into() }, // somebody else is replacing it
            _ => not_in_place(path, source),
        })?;
        if let Err(source) = fs::rename(&data, &current) {
            let _ = fs::rename(&old, &current);
            return Err(not_in_place(path, source));
        }
        remove(&old).map_err(|source| DatasetError::io(&old, "cannot be removed", source))?;
    } else if path.exists() {
        fs::rename(&data, path.join("data")).map_err(|source| not_in_place(path, source))?;
    } else {
        fs::rename(&temporary.path, path).map_err(|source| not_in_place(path, source))?;
    }
    mark_namespaces(about, path)
}

/// Whether a folder is that of a collection without a dataset yet: it may be written into.
fn is_collecting(path: &Path) -> bool {
    path.join(JOURNAL).is_dir() && !path.join("data").exists()
}

/// Removes the temporary files of writers of this dataset that were killed.
///
/// # Errors
/// [`DatasetError::Io`].
pub fn remove_leftovers(path: &Path) -> Result<(), DatasetError> {
    let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else { return Ok(()) };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let Ok(entries) = fs::read_dir(parent) else { return Ok(()) };
    for entry in entries.flatten() {
        let found = entry.file_name().to_string_lossy().into_owned();
        let middle = found.strip_prefix(&format!(".{}.", name.to_string_lossy())).and_then(|rest| rest.strip_suffix(".tmp"));
        if middle.and_then(|process| process.parse().ok()).is_some_and(|process| !is_another_running(process)) {
            remove(&entry.path()).map_err(|source| DatasetError::io(&entry.path(), "cannot be removed", source))?;
        }
    }
    Ok(())
}

/// Whether a process runs that is not this one, as far as the system says.
fn is_another_running(process: u32) -> bool {
    process != std::process::id() && Path::new("/proc").join(process.to_string()).exists()
}

/// Writes the `namespace_metadata.json` that Minari expects in every level above, if the directory's path ends in the id.
fn mark_namespaces(dataset: &Dataset, path: &Path) -> Result<(), DatasetError> {
    if !path.ends_with(&dataset.id) {
        return Ok(());
    }
    let levels = dataset.id.split('/').count() - 1;
    for level in path.ancestors().skip(1).take(levels) {
        let file = level.join("namespace_metadata.json");
        if !file.exists() {
            fs::write(&file, "{}").map_err(|source| DatasetError::io(&file, "cannot be written", source))?;
        }
    }
    Ok(())
}

/// A name in the same directory that is removed again unless it was renamed away.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn beside(path: &Path) -> Result<Self, DatasetError> {
        let nameless = || DatasetError::wrong_kind(path, "a path without a name", "the name of a new dataset");
        let name = path.file_name().ok_or_else(nameless)?;
        // Names that begin with a dot are not taken for datasets by Minari.
        let temporary = format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id());
        let temporary = Self { path: path.with_file_name(temporary) };
        let _ = remove(&temporary.path);
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = remove(&self.path);
    }
}

/// Removes a file, or a folder and what is in it, if it is there; of a link the link. Another process may have been faster.
///
/// # Errors
/// What the system says.
pub fn remove(path: &Path) -> io::Result<()> {
    match if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) } {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
