//! Writing files so that a reader, a kill or a full disk never meets half of one.

use std::fs;
use std::fs::File;
use std::io;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

pub(crate) use aaren_data::remove;
use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::interrupt::Whole;
use super::words::short_name;

/// The job, in a run folder: a folder with it is a run.
pub(crate) const CONFIG: &str = "config.json";
/// Names the checkpoint that pruning must keep, in a run folder.
pub(super) const BEST: &str = "best";
/// Complete checkpoints, in a run folder, a folder each.
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// Begins the name of everything that is not finished.
pub(crate) const UNFINISHED: &str = ".unfinished-";

/// Writes a file under a temporary name beside it, syncs it, then gives it its name. A link of that name is replaced, not followed:
/// whoever made it, nothing outside of the folder is written.
///
/// # Errors
/// If it cannot be written; the file that was there is then untouched.
pub(crate) fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    let name = path.file_name().with_context(|| format!("{} is no file name", path.display()))?.to_string_lossy();
    // Two processes that write one file do not meet, and of each the whole file is seen.
    let name = short_name(&name, 200);
    let unfinished = |process: u32| path.with_file_name(format!("{UNFINISHED}{process}-{name}"));
    let write = || {
        let _whole = Whole::new();
        let mine = unfinished(std::process::id());
        remove(&mine)?;
        let mut file = File::create_new(&mine)?;
        let written = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&mine, path));
        written.inspect_err(|_| drop(remove(&mine)))?;
        remove_leftovers(path, &unfinished)?;
        sync_folder(folder_of(path))
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Removes what killed processes left of a file or folder.
///
/// - `unfinished`: what it is called while a process writes it
pub(crate) fn remove_leftovers(path: &Path, unfinished: &dyn Fn(u32) -> PathBuf) -> io::Result<()> {
    for entry in fs::read_dir(folder_of(path))? {
        let entry = entry?.file_name();
        let process = entry.to_str().and_then(|name| name.strip_prefix(UNFINISHED)?.split_once('-')?.0.parse().ok());
        let is_dead = |process: &u32| Path::new("/proc/self").exists() && !Path::new(&format!("/proc/{process}")).exists();
        if let Some(process) = process.filter(is_dead)
            && unfinished(process).file_name() == Some(&entry)
        {
            remove(&unfinished(process))?;
        }
    }
    Ok(())
}

/// Writes a value as indented JSON, as `write_atomically` does.
///
/// # Errors
/// If it cannot be written.
pub fn write_json_atomically(path: &Path, value: &impl Serialize) -> Result<()> {
    write_atomically(path, &pretty(value)?)
}

/// Writes a value as indented JSON where a user said: all at once, but into a device, a pipe or what a link points to, which are not
/// replaced.
///
/// # Errors
/// If it cannot be written.
pub fn write_json_output(path: &Path, value: &impl Serialize) -> Result<()> {
    write_output(path, &pretty(value)?)
}

fn pretty(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    Ok(text)
}

/// As [`write_json_output`], of any content.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_output(path: &Path, content: &[u8]) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let send = |mut output: Box<dyn Write>| output.write_all(content).and_then(|()| output.flush()).with_context(context);
    if path == Path::new("/dev/stdout") {
        // By the process's own handle, which knows how far a file was written that it was sent to.
        return send(Box::new(io::stdout()));
    }
    match fs::metadata(path) {
        Ok(found) if path.starts_with("/dev") || !found.is_file() => {
            send(Box::new(File::options().append(true).open(path).with_context(context)?))
        }
        Ok(_) if is_link(path) => write_atomically(&path.canonicalize().with_context(context)?, content),
        Err(_) if is_link(path) => send(Box::new(File::create(path).with_context(context)?)),
        _ => write_atomically(path, content),
    }
}

/// Writes a file of a folder that has no name yet.
///
/// # Errors
/// If it cannot be written, by its name.
pub(crate) fn write_new(path: &Path, content: &[u8]) -> Result<()> {
    let write = || File::create_new(path)?.write_all(content);
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// What was read of a file; none if it is not there.
///
/// # Errors
/// If it could not be read, by its name.
pub(crate) fn if_there(path: &Path, read: io::Result<String>) -> Result<Option<String>> {
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        text => text.map(Some).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Entries of a folder.
pub(super) fn entries(folder: &Path) -> Result<fs::ReadDir> {
    fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))
}

pub(super) fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

/// Puts a folder and what is in it on disk.
///
/// # Errors
/// Names what could not be.
pub(super) fn sync_tree(folder: &Path) -> Result<()> {
    for entry in entries(folder)? {
        let path = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            let synced = File::open(&path).and_then(|file| file.sync_all());
            synced.with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    sync_folder(folder).with_context(|| format!("cannot write {}", folder.display()))
}

/// A new name is on disk only when its folder is.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A run folder may come from anybody: a link in it must not lead what is written or removed to other places.
pub(super) fn refuse_link(path: &Path) -> Result<()> {
    ensure!(
        !is_link(path),
        "{} is a link, and what it points to would be changed; put the folder or file itself in its place",
        path.display()
    );
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_a_user_names_is_written_to_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "old").unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink(at("new"), at("dangling")).unwrap();
        for name in ["link", "dangling"] {
            write_output(&at(name), b"text").unwrap();
            assert!(is_link(&at(name)), "{name}");
        }
        assert_eq!((fs::read(at("file")).unwrap(), fs::read(at("new")).unwrap()), (b"text".to_vec(), b"text".to_vec()));
        write_output(Path::new("/dev/null"), b"text").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        assert!(format!("{:#}", write_output(&at("none/file"), b"").unwrap_err()).contains("none/file"));
        // As long as a name may be: the temporary one must not be longer.
        write_output(&at(&"x".repeat(255)), b"text").unwrap();
    }

    #[test]
    fn what_a_killed_process_left_of_a_file_goes_with_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let leftover = |process: u32, name: &str| folder.path().join(format!("{UNFINISHED}{process}-{name}"));
        // No process has so large a number, and the first is alive.
        for path in [leftover(u32::MAX, "a.json"), leftover(u32::MAX, "b.json"), leftover(1, "a.json")] {
            fs::write(path, "{").unwrap();
        }
        write_json_atomically(&folder.path().join("a.json"), &1).unwrap();
        assert!(leftover(u32::MAX, "b.json").exists() && leftover(1, "a.json").exists());
        assert!(!leftover(u32::MAX, "a.json").exists() || !Path::new("/proc/self").exists());
    }
}
