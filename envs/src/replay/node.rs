//! A value in a JSON file with its file and its key, for errors that name both.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::EnvError;
use crate::text_file::read_text;

/// Reads a file as JSON.
pub(super) fn read(file: &Path) -> Result<Value, EnvError> {
    let failed = |problem: &str, source: Box<dyn std::error::Error + Send + Sync>| EnvError::Rollout {
        path: file.into(),
        problem: format!("{problem}: {source}"),
        source: Some(source),
    };
    let text = read_text(file).map_err(|error| failed("cannot be read", error.into()))?;
    serde_json::from_str(&text).map_err(|error| failed("is no JSON", error.into()))
}

/// One value and where it is.
pub(super) struct Node<'a> {
    file: &'a Path,
    /// From the file's root, for example `steps[3].reward`.
    key: String,
    value: &'a Value,
}

impl<'a> Node<'a> {
    pub(super) fn root(file: &'a Path, value: &'a Value) -> Self {
        Self { file, key: String::new(), value }
    }

    pub(super) fn file(&self) -> &'a Path {
        self.file
    }

    pub(super) fn error(&self, problem: String) -> EnvError {
        let problem = if self.key.is_empty() { problem } else { format!("{}: {problem}", self.key) };
        EnvError::Rollout { path: self.file.into(), problem, source: None }
    }

    fn expected(&self, what: &str) -> EnvError {
        let mut found = self.value.to_string();
        if let Some((cut, _)) = found.char_indices().nth(60) {
            found.replace_range(cut.., "...");
        }
        self.error(format!("found {found}, expected {what}"))
    }

    fn child(&self, key: &str) -> String {
        if self.key.is_empty() { key.into() } else { format!("{}.{key}", self.key) }
    }

    /// A member of an object.
    pub(super) fn get(&self, key: &str) -> Result<Self, EnvError> {
        let name = self.child(key);
        match self.object()?.get(key) {
            Some(value) => Ok(Self { file: self.file, key: name, value }),
            None => Err(EnvError::Rollout { path: self.file.into(), problem: format!("{name}: missing"), source: None }),
        }
    }

    /// A member of an object that may be absent or null.
    pub(super) fn optional(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self { file: self.file, key: self.child(key), value })
    }

    /// The members of a list.
    pub(super) fn items(&self) -> Result<Vec<Self>, EnvError> {
        let values = self.value.as_array().ok_or_else(|| self.expected("a list"))?;
        let item = |(i, value)| Self { file: self.file, key: format!("{}[{i}]", self.key), value };
        Ok(values.iter().enumerate().map(item).collect())
    }

    /// One member of a list.
    pub(super) fn index(&self, i: usize) -> Result<Self, EnvError> {
        let values = self.value.as_array().ok_or_else(|| self.expected("a list"))?;
        let value = values.get(i).ok_or_else(|| self.error(format!("has {} entries, number {i} is missing", values.len())))?;
        Ok(Self { file: self.file, key: format!("{}[{i}]", self.key), value })
    }

    pub(super) fn object(&self) -> Result<&'a Map<String, Value>, EnvError> {
        self.value.as_object().ok_or_else(|| self.expected("an object"))
    }

    pub(super) fn text(&self) -> Result<&'a str, EnvError> {
        self.value.as_str().ok_or_else(|| self.expected("a string"))
    }

    pub(super) fn number(&self) -> Result<f64, EnvError> {
        self.value.as_f64().ok_or_else(|| self.expected("a number"))
    }

    pub(super) fn integer(&self) -> Result<i64, EnvError> {
        self.value.as_i64().ok_or_else(|| self.expected("an integer"))
    }

    pub(super) fn count(&self) -> Result<usize, EnvError> {
        let count = self.value.as_u64().and_then(|count| usize::try_from(count).ok());
        count.ok_or_else(|| self.expected("a count"))
    }

    pub(super) fn flag(&self) -> Result<bool, EnvError> {
        self.value.as_bool().ok_or_else(|| self.expected("true or false"))
    }

    pub(super) fn numbers(&self) -> Result<Vec<f64>, EnvError> {
        self.items()?.iter().map(Node::number).collect()
    }

    /// Positions followed by velocities, the state of a MuJoCo task.
    pub(super) fn state(&self, qpos: &str, qvel: &str) -> Result<Vec<f64>, EnvError> {
        Ok([self.get(qpos)?.numbers()?, self.get(qvel)?.numbers()?].concat())
    }
}
