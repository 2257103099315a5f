//! `metrics.csv`: what `metrics.jsonl` says as a table, a column a name.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::tensorboard::cannot_write;
use super::write_atomically;

/// The table of a log. A name that no line had before makes a new column, for which the file is made anew.
pub(super) struct CsvFile {
    path: PathBuf,
    columns: Vec<String>,
    file: File,
}

impl CsvFile {
    /// Makes the table of the lines in a folder's `metrics.jsonl`.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        let lines = folder.join("metrics.jsonl");
        let text = fs::read_to_string(&lines).with_context(|| format!("cannot read {}", lines.display()))?;
        let lines: Vec<Map<String, Value>> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let mut columns: Vec<String> = ["step", "wall_seconds"].map(String::from).to_vec();
        for name in lines.iter().flat_map(Map::keys) {
            if !columns.contains(name) {
                columns.push(name.clone());
            }
        }
        // Nothing needs quotes: names are paths of words and numbers.
        let table: String = lines.iter().map(|line| row(&columns, line)).collect();
        let path = folder.join("metrics.csv");
        write_atomically(&path, format!("{}\n{table}", columns.join(",")).as_bytes())?;
        let file = File::options().append(true).open(&path).with_context(|| cannot_write(&path))?;
        Ok(Self { path, columns, file })
    }

    /// Appends a line that is in `metrics.jsonl` already.
    pub(super) fn append(&mut self, line: &Map<String, Value>) -> Result<()> {
        if line.keys().all(|name| self.columns.contains(name)) {
            let row = row(&self.columns, line);
            return self.file.write_all(row.as_bytes()).with_context(|| cannot_write(&self.path));
        }
        *self = Self::create(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(())
    }
}

/// A line of the table; what the log does not say, or says to be no number, is empty.
fn row(columns: &[String], line: &Map<String, Value>) -> String {
    let cell = |name: &String| line.get(name).filter(|value| value.is_number()).map(Value::to_string).unwrap_or_default();
    columns.iter().map(cell).collect::<Vec<_>>().join(",") + "\n"
}
