//! A folder of rank 0 on all ranks, which need not see each other's disks.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::Ranks;

impl Ranks {
    /// Copies a folder of rank 0, with the folders in it, to a temporary place on each of the others, under the same name; None on
    /// rank 0, and everywhere if there is no folder.
    ///
    /// # Errors
    /// A file that cannot be read or written, or a rank that does not come.
    pub(super) fn copy_of_first(&self, folder: Option<&Path>) -> Result<Option<TempDir>> {
        let mut content = Vec::new();
        let name = folder.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let (name, files) = self.from_first(|| {
            let mut files: Vec<(String, u64)> = Vec::new();
            if let Some(folder) = folder {
                read(folder, "", &mut files, &mut content)?;
            }
            Ok((name, files))
        })?;
        let Some(name) = name else { return Ok(None) };
        let content = self.broadcast(content)?;
        if self.is_first() {
            return Ok(None);
        }
        let copy = tempfile::tempdir().context("cannot make a temporary folder for a copy of the checkpoint")?;
        let mut content = &content[..];
        for (file, len) in files {
            let path = copy.path().join(&name).join(file);
            let (bytes, rest) = content.split_at_checked(len as usize).context("rank 0 said less than it announced")?;
            content = rest;
            let write = || fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| fs::write(&path, bytes));
            write().with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Some(copy))
    }
}

/// Appends names, lengths and bytes of a folder's files, in order of their names.
fn read(folder: &Path, prefix: &str, files: &mut Vec<(String, u64)>, content: &mut Vec<u8>) -> Result<()> {
    let context = || format!("cannot read {}", folder.display());
    let mut entries = fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).with_context(context)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), format!("{prefix}{}", entry.file_name().to_string_lossy()));
        if path.is_dir() {
            read(&path, &format!("{name}/"), files, content)?;
        } else {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.push((name, bytes.len() as u64));
            content.extend_from_slice(&bytes);
        }
    }
    Ok(())
}
