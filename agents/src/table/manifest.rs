//! The manifest of a table: which rows, which agents, which seeds.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use aaren_envs::read_text;
use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::config::mistakes::Mistakes;
use crate::config::{Sources, keys, known, parse_seeds, text};

/// A table as its file describes it: a run for every row, agent and seed. Of the job of a run, the files of the table come first, then those
/// of its row and of its agent, each laid over those before it; then what the table, the row and the agent set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// Folder for the run folders, from the current folder. Default (null): `runs/` and the name of this file.
    pub runs: Option<PathBuf>,
    /// Jobs that all runs begin with, by their paths from this file; without any file at all, the built-in quickstart.
    pub files: Vec<PathBuf>,
    /// Keys of the job, nested or dotted, that all runs have.
    pub set: Map<String, Value>,
    /// Tasks, or whatever else makes a row: at least one, unless there is one row only.
    #[schemars(with = "Vec<PartOrWord>")]
    pub rows: Vec<Part>,
    /// Agents, whatever makes a column.
    #[schemars(with = "Vec<PartOrWord>")]
    pub agents: Vec<Part>,
    /// Seeds of every row and agent: a list, or words such as `"1..3"`, both ends included.
    #[schemars(with = "ListOrWords")]
    pub seeds: Vec<u64>,
}

impl Default for Manifest {
    fn default() -> Self {
        Self { runs: None, files: Vec::new(), set: Map::new(), rows: Vec::new(), agents: Vec::new(), seeds: vec![1] }
    }
}

/// A row or an agent: what it changes in the job.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Part {
    /// Its name, in the names of its runs. Default: the names of its files, its task, its data and its mixer, joined.
    pub name: String,
    /// Jobs, by their paths from this file.
    pub files: Vec<PathBuf>,
    /// Sets `policy.mixer`.
    pub mixer: Option<String>,
    /// Sets `env.id`; the options of another task go.
    pub env: Option<String>,
    /// Sets `data.source`, one or several.
    pub data: Sources,
    /// Keys of the job, nested or dotted.
    pub set: Map<String, Value>,
}

/// For editors: a word is the path of a job, or the mixer of an agent, or the task of a row.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it is made into a schema")]
enum PartOrWord {
    Word(String),
    Part(Part),
}

/// For editors.
#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it is made into a schema")]
enum ListOrWords {
    Words(String),
    List(Vec<u64>),
}

/// The JSON Schema of a manifest, for editors.
pub fn schema() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<Manifest>().to_value();
    schema["title"] = "A table of aaren: rows, agents, seeds".into();
    schema
}

/// What a word stands for that is no file.
#[derive(Clone, Copy)]
enum Word {
    Task,
    Mixer,
}

impl Manifest {
    /// Reads a manifest: TOML, or JSON if its name ends in `.json`.
    ///
    /// # Errors
    /// All that is wrong with it, each with the name of the file and the key.
    pub fn read(path: &Path) -> Result<Manifest> {
        let name = path.display().to_string();
        let text = read_text(path).with_context(|| format!("cannot read the manifest {name}"))?;
        Self::parse(
            &name,
            &text,
            path.extension().is_some_and(|extension| extension == "json"),
            path.parent().unwrap_or(Path::new("")),
        )
    }

    /// - `folder`: where the paths of jobs begin
    pub(super) fn parse(name: &str, text: &str, is_json: bool, folder: &Path) -> Result<Manifest> {
        let known_keys = json!(Manifest::default());
        let names = || keys::list(known_keys.as_object().expect("an object"));
        let mut json = text::parse(name, text, is_json, &names)?;
        let mut wrong = Vec::new();
        let mut manifest = read_keys(&mut json, &mut wrong);
        let mut named = BTreeSet::new();
        for (list, parts) in [("rows", &mut manifest.rows), ("agents", &mut manifest.agents)] {
            for (index, part) in parts.iter_mut().enumerate() {
                part.name = part.name();
                wrong.extend(part.wrong_name(list).map(|wrong| format!("{list}[{index}]: {wrong}")));
                if !part.name.is_empty() && !named.insert((list, part.name.clone())) {
                    wrong.push(format!(
                        "{list}[{index}]: the name \"{}\" is there twice; give one of them another (name)",
                        part.name
                    ));
                }
                part.files.iter_mut().for_each(|file| *file = folder.join(&*file));
            }
        }
        manifest.files.iter_mut().for_each(|file| *file = folder.join(&*file));
        if manifest.seeds.is_empty() {
            wrong.push("seeds: found none, expected at least one".into());
        }
        Mistakes::none_of(wrong.into_iter().map(|wrong| format!("{name}: {wrong}")).collect())?;
        Ok(manifest)
    }
}

/// A manifest of JSON, without the keys that are wrong.
fn read_keys(json: &mut Value, wrong: &mut Vec<String>) -> Manifest {
    let jobs = known();
    let (part, table) = (json!(Part::default()), json!(Manifest::default()));
    keys_of(json, &table, &jobs, wrong);
    if let Some(seeds) = json.get_mut("seeds") {
        match seeds {
            Value::String(words) => match parse_seeds(words) {
                Ok(list) => *seeds = list.into(),
                Err(error) => wrong.push(format!("seeds: found \"{words}\": {error}")),
            },
            Value::Number(_) => *seeds = Value::Array(vec![seeds.clone()]),
            _ => {}
        }
    }
    for (list, word) in [("rows", Word::Task), ("agents", Word::Mixer)] {
        for (index, entry) in json.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten().enumerate() {
            if let Value::String(text) = entry {
                *entry = word.stands_for(text);
            }
            let mut unknown = Vec::new();
            keys_of(entry, &part, &jobs, &mut unknown);
            wrong.extend(unknown.into_iter().map(|mistake| format!("{list}[{index}]: {mistake}")));
        }
    }
    // One key after another, so that every mistake is found.
    loop {
        match text::typed::<Manifest>(json.clone()) {
            Ok(manifest) => return manifest,
            Err(error) => {
                let mistake = format!("{error:#}");
                let key: String = mistake.chars().take_while(|c| c.is_ascii_alphabetic()).collect();
                let is_said = key == "seeds" && wrong.iter().any(|wrong| wrong.starts_with("seeds: "));
                if !is_said {
                    wrong.push(mistake);
                }
                if json.as_object_mut().is_none_or(|object| object.shift_remove(&key).is_none()) {
                    return Manifest::default();
                }
            }
        }
    }
}

/// Takes out keys that are not known, also those of no job in `set`, whose dotted keys become nested ones.
fn keys_of(json: &mut Value, known: &Value, jobs: &Value, wrong: &mut Vec<String>) {
    let Some(object) = json.as_object_mut() else { return };
    let set = object.get_mut("set").map(Value::take);
    // What the other keys hold is looked at where it is read.
    let mut names = known.clone();
    names.as_object_mut().into_iter().flat_map(Map::values_mut).for_each(|value| *value = Value::Null);
    keys::check_known(json, &names, wrong);
    let Some(set) = set else { return };
    let Value::Object(set) = set else {
        json["set"] = set; // a wrong type is found later
        return;
    };
    let mut nested = Value::Object(Map::new());
    for (key, value) in set {
        let value = key.rsplit('.').fold(value, |inner, key| Value::Object(Map::from_iter([(key.to_string(), inner)])));
        keys::merge(&mut nested, value);
    }
    let mut unknown = Vec::new();
    keys::check_known(&mut nested, jobs, &mut unknown);
    if nested.as_object_mut().is_some_and(|nested| nested.shift_remove("seed").is_some()) {
        unknown.push("seed: it would be the same in all runs; the key seeds of the manifest says which there are".into());
    }
    wrong.extend(unknown.into_iter().map(|mistake| format!("set: {mistake}")));
    json["set"] = nested;
}

impl Word {
    /// The part that a word is short for.
    fn stands_for(self, text: &str) -> Value {
        let is_file = [".toml", ".json"].iter().any(|ending| text.ends_with(ending));
        match self {
            _ if is_file => json!({ "files": [text] }),
            Word::Task => json!({ "env": text }),
            Word::Mixer => json!({ "mixer": text }),
        }
    }
}

impl Part {
    /// Its name, or what its parts are called.
    fn name(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let stem = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let files = self.files.iter().map(|file| stem(file));
        let data = self.data.0.iter().map(|source| source.trim_end_matches(".hdf5").to_owned());
        let parts = files.chain(self.env.clone()).chain(data).chain(self.mixer.clone());
        // A name is a part of a folder's.
        parts.collect::<Vec<_>>().join("-").replace(|c: char| !is_plain(c), "-")
    }

    fn wrong_name(&self, list: &str) -> Option<String> {
        match &*self.name {
            "" => Some(format!(
                "it has no name: give it one (name), or {}",
                if list == "rows" { "a file or a task" } else { "a file or a mixer" }
            )),
            name if name.len() > 100 || name.starts_with(['.', '-']) || !name.chars().all(is_plain) => Some(format!(
                "name: found \"{name}\", expected at most 100 letters, digits, \"_\", \".\", \"+\" and \"-\", with a letter, a digit or \"_\" first"
            )),
            _ => None,
        }
    }
}

/// Characters of names, which are parts of the names of folders and words of commands.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-')
}

/// Settings as `--set` has them, of keys of a job.
pub(super) fn settings(set: &Map<String, Value>) -> Vec<String> {
    fn visit(set: &Map<String, Value>, above: &str, found: &mut Vec<String>) {
        for (key, value) in set {
            let path = format!("{above}{key}");
            match value.as_object().filter(|below| !below.is_empty()) {
                Some(below) => visit(below, &format!("{path}."), found),
                None => found.push(format!("{path}={value}")),
            }
        }
    }
    let mut found = Vec::new();
    visit(set, "", &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifest> {
        Manifest::parse("table.toml", text, text.starts_with('{'), Path::new("configs"))
    }

    #[test]
    fn words_are_short_for_files_tasks_and_mixers() {
        let short = r#"
            files = ["job.toml"]
            set = { "train.steps" = 1e3, evaluation.actors = 1 }
            rows = ["hopper.toml", "CartPole-v1", { files = ["a.toml", "b.toml"], data = "x/medium-v0.hdf5" }, "gymnasium:LunarLander-v3"]
            agents = ["aaren", "bc.json", { name = "wide", set.policy.width = 64 }]
            seeds = "1..2,7"
        "#;
        let manifest = parse(short).unwrap();
        let names = |parts: &[Part]| parts.iter().map(|part| part.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&manifest.rows), ["hopper", "CartPole-v1", "a-b-x-medium-v0", "gymnasium-LunarLander-v3"]);
        assert_eq!(names(&manifest.agents), ["aaren", "bc", "wide"]);
        assert_eq!(manifest.rows[0].files, [Path::new("configs/hopper.toml")]);
        assert_eq!((manifest.rows[1].env.as_deref(), manifest.agents[0].mixer.as_deref()), (Some("CartPole-v1"), Some("aaren")));
        assert_eq!(manifest.agents[1].files, [Path::new("configs/bc.json")]);
        assert_eq!((manifest.seeds, &manifest.files[..]), (vec![1, 2, 7], &["configs/job.toml".into()][..]));
        assert_eq!(settings(&manifest.set), ["evaluation.actors=1", "train.steps=1000"]); // in TOML keys have no order
        assert_eq!(settings(&manifest.agents[2].set), ["policy.width=64"]);
        // JSON is read in the same way.
        let json = r#"{"seeds": 3, "agents": ["gru"], "set": {"env": {"options": {"corridor": 5}}, "data.scripted": null}}"#;
        let manifest = parse(json).unwrap();
        assert_eq!((manifest.seeds, manifest.rows.len()), (vec![3], 0));
        assert_eq!(settings(&manifest.set), ["env.options.corridor=5", "data.scripted=null"]);
    }

    #[test]
    fn all_mistakes_are_said_with_their_keys() {
        let text = r#"
            seed = 3
            seeds = "3..1"
            runs = 5
            set = { train.stepz = 1, seed = 2 }
            rows = [{ file = ["x.toml"], name = "a" }, { name = "a" }, { name = "../b" }, { set.train.steps = 3 }]
            agents = [{ mixer = 3 }]
        "#;
        let message = format!("{:#}", parse(text).unwrap_err());
        for words in [
            "table.toml: there is no key seed; did you mean \"seeds\"?",
            "table.toml: seeds: found \"3..1\": 3..1 has no seeds",
            "table.toml: runs: ",
            "table.toml: set: there is no key train.stepz; did you mean \"steps\"?",
            "table.toml: set: seed: it would be the same",
            "table.toml: rows[0]: there is no key file; did you mean \"files\"?",
            "table.toml: rows[1]: the name \"a\" is there twice",
            "table.toml: rows[2]: name: found \"../b\"",
            "table.toml: rows[3]: it has no name",
            "table.toml: agents[0].mixer: ",
        ] {
            assert!(message.contains(words), "{message}\nlacks {words}");
        }
        assert!(message.starts_with("10 mistakes:"), "{message}");
        let message = format!("{:#}", parse("seeds = [").unwrap_err());
        assert!(message.starts_with("table.toml, line 1, column "), "{message}");
    }
}
