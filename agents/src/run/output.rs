//! Looks whether an output can be written, before the work that it is for.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::de::IgnoredAny;

use super::files::{CHECKPOINTS, CONFIG};

/// Written to a file that has no name: less would fit on a disk that is full.
static PROBE: [u8; 1 << 16] = [0; 1 << 16];

/// Whether a file could be written here, as far as can be told without writing it.
///
/// # Errors
/// If it is a folder, it is there and belongs to a run, its folder is missing or cannot be written, or the disk is full.
pub fn check_file(path: &Path) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    if let Err(error) = fs::symlink_metadata(path)
        && error.kind() == ErrorKind::InvalidFilename
    {
        return Err(error).with_context(context);
    }
    if let Some(run) = run_of(path) {
        bail!(
            "{}: it is a file of the run {}, which needs it; choose a name that is not there, or another folder",
            context(),
            run.display()
        );
    }
    if path.is_dir() {
        bail!("{}: it is a folder, expected a file", context());
    }
    if path.exists() && !path.is_file() {
        return Ok(()); // a device or a pipe takes what it is given
    }
    if path.is_symlink() && path.exists() {
        // What it leads to is written, and stays where it is.
        return File::options().append(true).open(path).map(|_| ()).with_context(context);
    }
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        bail!("{}: there is no folder {}; make it, or choose another place", context(), folder.display());
    }
    probe(folder).with_context(context)
}

/// The run that a file belongs to which is there: whatever lies in its folder, at any depth, by this name or by that of what a link leads to.
fn run_of(path: &Path) -> Option<PathBuf> {
    let is_run = |folder: &&Path| folder.join(CONFIG).is_file() && folder.join(CHECKPOINTS).is_dir();
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let places = [path.canonicalize().ok().filter(|file| file.is_file())?, folder.canonicalize().ok()?.join(path.file_name()?)];
    places.iter().find_map(|place| place.ancestors().skip(1).find(is_run).map(Path::to_path_buf))
}

/// As [`check_file`], for JSON that is an object: a file that is there is replaced only if it is an object with these keys too, or empty, so
/// that no config or other work is lost to a slip.
///
/// # Errors
/// As there, and if something else is there.
pub fn check_json_file(path: &Path, keys: &[&str]) -> Result<()> {
    let has_keys = |file: File| {
        let object = serde_json::from_reader::<_, HashMap<String, IgnoredAny>>(BufReader::new(file));
        object.is_ok_and(|object| keys.iter().all(|key| object.contains_key(*key)))
    };
    check_file(path)?;
    check_kind(path, "an earlier report", has_keys)
}

/// As [`check_file`], for files that begin with a signature: a file that is there is replaced only if it does too, or is empty.
///
/// # Errors
/// As there, and if something else is there, which is not `what`.
pub(crate) fn check_signed_file(path: &Path, what: &str, signature: &[u8]) -> Result<()> {
    let is_signed = |file: File| {
        let mut head = Vec::new();
        file.take(signature.len() as u64).read_to_end(&mut head).is_ok() && head == signature
    };
    check_file(path)?;
    check_kind(path, what, is_signed)
}

fn check_kind(path: &Path, what: &str, is_that: impl FnOnce(File) -> bool) -> Result<()> {
    let is_other_work = path.is_file() && path.metadata().is_ok_and(|found| found.len() > 0);
    ensure!(
        !is_other_work || File::open(path).is_ok_and(is_that),
        "{} is there and is not {what}, so it is not replaced; choose another name, or remove it",
        path.display()
    );
    Ok(())
}

/// Whether a folder could be made here, or written into, as far as can be told without making it.
///
/// # Errors
/// If something that is no folder is in the way, the folder cannot be written, or the disk is full.
pub fn check_folder(path: &Path) -> Result<()> {
    let named = |folder| if folder == Path::new("") { Path::new(".") } else { folder };
    let context = || format!("cannot write to the folder {}", named(path).display());
    let above = path.ancestors().map(named);
    let there = above.into_iter().find(|folder| folder.exists()).unwrap_or(Path::new("."));
    if !there.is_dir() {
        bail!("{}: {} is a file; choose another place", context(), there.display());
    }
    probe(there).with_context(context)
}

/// Nothing is left of it, not even where the process is killed.
fn probe(folder: &Path) -> std::io::Result<()> {
    tempfile::tempfile_in(folder)?.write_all(&PROBE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_of_the_same_kind_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, content: &str| {
            fs::write(folder.path().join(name), content).unwrap();
            folder.path().join(name)
        };
        let keys = ["format", "run"];
        for (name, content, is_free) in [
            ("report.json", r#"{"format": 1, "run": "a", "targets": [1]}"#, true),
            ("empty.json", "", true),
            ("job.json", r#"{"seed": 1}"#, false),
            ("list.json", "[1]", false),
            ("job.toml", "seed = 1", false),
        ] {
            assert_eq!(check_json_file(&at(name, content), &keys).is_ok(), is_free, "{name}");
        }
        check_json_file(&folder.path().join("new.json"), &keys).unwrap();
        check_signed_file(&at("a.gif", "GIF89a..."), "a GIF", b"GIF8").unwrap();
        let refused = check_signed_file(&at("b.gif", "GI"), "a GIF", b"GIF8").unwrap_err().to_string();
        assert!(refused.contains("b.gif is there and is not a GIF"), "{refused}");
    }

    #[test]
    fn no_file_of_a_run_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        fs::create_dir_all(run.join("checkpoints/step-00000001")).unwrap();
        for name in ["config.json", "best", "checkpoints/step-00000001/policy.json"] {
            fs::write(run.join(name), "{}").unwrap();
            let refused = check_file(&run.join(name)).unwrap_err().to_string();
            assert!(refused.contains(name) && refused.contains("it is a file of the run"), "{refused}");
        }
        check_file(&run.join("mine.json")).unwrap();
        check_file(&run.join("checkpoints/mine.json")).unwrap();
        #[cfg(unix)]
        {
            let link = |to: &Path, name: &str| {
                std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
                folder.path().join(name)
            };
            assert!(check_file(&link(&run.join("best"), "link")).is_err());
            assert!(check_file(&link(&run, "folder").join("best")).is_err());
        }
        fs::remove_file(run.join("config.json")).unwrap();
        check_file(&run.join("best")).unwrap();
        let long = check_file(&folder.path().join("x".repeat(300))).unwrap_err();
        assert!(format!("{long:#}").contains("name too long"), "{long:#}");
    }

    #[test]
    fn what_can_be_written_leaves_nothing_and_what_cannot_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "kept").unwrap();
        check_file(&at("new.json")).unwrap();
        check_file(&at("file")).unwrap();
        check_folder(&at("a/b/c")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
        assert_eq!(fs::read(at("file")).unwrap(), b"kept");
        let error = |checked: Result<()>| format!("{:#}", checked.unwrap_err());
        assert!(error(check_file(&at("no/x.json"))).contains("there is no folder"));
        assert!(error(check_file(folder.path())).contains("it is a folder"));
        assert!(error(check_folder(&at("file/run"))).contains("file is a file"));
        #[cfg(target_os = "linux")]
        {
            assert!(error(check_file(Path::new("/proc/x.json"))).starts_with("cannot write /proc/x.json"));
            check_file(Path::new("/dev/null")).unwrap();
        }
    }
}
