//! The output folder of a collection under way.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use aaren_data::{Format, JOURNAL};
use aaren_envs::read_text;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::policies::{FoundPolicy, versions};
use crate::config::{CollectJob, Formats, Part};
use crate::run::interrupt::Interrupted;
use crate::run::{differing_keys, write_json_atomically};

/// In the journal's folder: what the collection is of.
const BEGUN: &str = "begun.json";

/// Whether a format's dataset is in place.
pub(super) fn is_written(path: &Path, format: Format) -> bool {
    match format {
        Format::Minari => path.join("data").is_dir(),
        Format::D4rl => path.is_file(),
    }
}

/// What the journal is called while it is removed.
fn removed(output: &Path) -> PathBuf {
    output.join(format!(".{JOURNAL}.removed"))
}

/// Refuses an output folder in which something else is. The rest of a journal whose removal was killed is removed.
pub(super) fn check_output(job: &CollectJob, output: &Path) -> Result<()> {
    let advice = "choose another place with --output";
    ensure!(!output.exists() || output.is_dir(), "{} is a file, expected a folder for the dataset; {advice}", output.display());
    let journal = output.join(JOURNAL);
    if journal.join(BEGUN).is_file() || !output.is_dir() {
        return Ok(());
    }
    // A kill may have come between the last of the work and the last of the clearing up.
    let removed = removed(output);
    if removed.exists() {
        fs::remove_dir_all(&removed).with_context(|| format!("cannot remove {}", removed.display()))?;
    }
    for &format in Formats::Both.each() {
        let path = job.destination(output, format);
        ensure!(!is_written(&path, format), "{} already holds a dataset ({format}); {advice}", output.display());
    }
    // A kill may have come between making the folders and writing what they are of.
    let mut entries = fs::read_dir(output).with_context(|| format!("cannot read the folder {}", output.display()))?;
    let others = entries.find(|entry| entry.as_ref().is_ok_and(|entry| entry.file_name() != JOURNAL));
    if let Some(Ok(entry)) = others {
        let name = entry.file_name().to_string_lossy().into_owned();
        bail!("{} is not empty (there is {name}), and no collection was begun in it; {advice}", output.display());
    }
    Ok(())
}

/// The output folder of a collection under way.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) output: PathBuf,
    /// Journals, and what they are of.
    pub(super) journal: PathBuf,
    /// Held so that two processes cannot write the same collection.
    _lock: File,
}

impl Folder {
    pub(super) fn open(job: &CollectJob, output: &Path, found: &[(Part, FoundPolicy)]) -> Result<Folder> {
        let journal = output.join(JOURNAL);
        let context = || format!("cannot write to the folder {}", output.display());
        fs::create_dir_all(&journal).with_context(context)?;
        let lock = File::options().create(true).append(true).open(journal.join("lock")).with_context(context)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => bail!("another process is collecting in {}", output.display()),
            Err(fs::TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        let policies: Map<String, Value> =
            found.iter().map(|(part, found)| (part.name().to_string(), found.checksum.into())).collect();
        let mut asked = serde_json::to_value(job)?;
        // How many threads there are, and which formats are written, changes no episode.
        if let Some(collect) = asked["collect"].as_object_mut() {
            collect.retain(|key, _| key != "actors" && key != "format");
        }
        let begun = json!({ "job": asked, "versions": versions(), "checksums of policies": policies });
        let path = journal.join(BEGUN);
        if path.is_file() {
            let text = read_text(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let before: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            let changed = differing_keys(&before, &begun);
            let changed: Vec<&str> = changed.iter().map(|key| key.strip_prefix("job.").unwrap_or(key)).collect();
            ensure!(
                changed.is_empty(),
                "the collection in {} was begun with another {}; go on without that change, choose another place with --output, or \
                 remove the folder",
                output.display(),
                changed.join(" and ")
            );
        } else {
            write_json_atomically(&path, &begun)?;
        }
        Ok(Folder { output: output.into(), journal, _lock: lock })
    }

    /// An error after which the collection can go on.
    pub(super) fn kept(&self, error: anyhow::Error) -> anyhow::Error {
        if !error.is::<Interrupted>() {
            return error;
        }
        error.context(format!(
            "stopped; what was collected is kept in {}, run the same command again to go on",
            self.output.display()
        ))
    }

    /// Removes the journal of a dataset that is in place.
    pub(super) fn finish(self) -> Result<()> {
        let context = || format!("cannot remove {}", self.journal.display());
        // Under a name that is no collection's, so that a kill in the middle leaves nothing to go on with.
        let removed = removed(&self.output);
        if removed.exists() {
            fs::remove_dir_all(&removed).with_context(context)?;
        }
        fs::rename(&self.journal, &removed).with_context(context)?;
        fs::remove_dir_all(&removed).with_context(context)
    }
}
