//! Reading a job: JSON text and `--set` overrides to a checked [`JobConfig`], with errors that name the key.

use std::{fmt, fs, path::Path};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Deserializer, de};
use serde_json::{Map, Value};

use super::{DataConfig, EnvConfig, EvaluationConfig, JobConfig, ScriptedConfig};

/// The job that `aaren train` runs without a config.
pub(super) const QUICKSTART: &str = include_str!("../../../configs/quickstart.json");

/// Keys without a default.
const REQUIRED: [&str; 4] = ["env", "env.id", "data", "evaluation"];

/// Where a task's own options begin; their names are the task's business.
const OPTIONS: &str = "env.options";

impl JobConfig {
    /// Reads a config file, lays `overrides` over it, and checks the result.
    ///
    /// An override is `key.path=value`; the value is read as JSON, and as a string where it is not JSON.
    ///
    /// # Errors
    /// One line that names the file or the override, the key, and what to do about it.
    pub fn load(path: &Path, overrides: &[String]) -> Result<JobConfig> {
        let text = fs::read_to_string(path).map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::NotFound => "; `aaren train` without a config runs the quickstart",
                _ => "",
            };
            anyhow!(error).context(format!("cannot read the config {}{hint}", path.display()))
        })?;
        Self::from_text(&path.display().to_string(), &text, overrides, &policy::mixer::names())
    }

    /// The built-in job that needs no file and no download.
    ///
    /// # Errors
    /// As [`JobConfig::load`], for the overrides.
    pub fn quickstart(overrides: &[String]) -> Result<JobConfig> {
        Self::from_text("the built-in quickstart", QUICKSTART, overrides, &policy::mixer::names())
    }

    /// Reads a job from text; `name` stands for the file in messages.
    pub(super) fn from_text(name: &str, text: &str, overrides: &[String], mixers: &[&str]) -> Result<JobConfig> {
        let Unique(mut json) = serde_json::from_str(text).map_err(|error| syntax_error(name, &error))?;
        if !json.is_object() {
            bail!("{name}: expected a JSON object with the keys {}", keys_of(&all_keys()).join(", "));
        }
        unknown_key(&json, &all_keys(), "").with_context(|| name.to_string())?;
        for setting in overrides {
            set(&mut json, setting).with_context(|| format!("--set {setting}"))?;
        }
        for key in REQUIRED {
            if json.pointer(&pointer(key)).is_none() {
                bail!("{name}: {key} is missing, and it has no default");
            }
        }
        let job = serde_json::from_value::<JobConfig>(json.clone())
            .map_err(|error| wrong_type(&json).unwrap_or_else(|| anyhow!(error)))
            .with_context(|| name.to_string())?;
        job.check(mixers).with_context(|| name.to_string())?;
        Ok(job)
    }
}

/// A valid job in which every key is present: what keys there are, and a frame to try single values in.
pub(super) fn all_keys() -> Value {
    let job = JobConfig {
        seed: 1,
        device: super::Device::Cpu,
        env: EnvConfig { id: "TMaze-v0".into(), options: Map::new() },
        data: DataConfig { scripted: Some(ScriptedConfig::default()), ..Default::default() },
        policy: policy::PolicyConfig::default(),
        train: super::TrainConfig::default(),
        evaluation: EvaluationConfig::new(vec![1.0]),
    };
    serde_json::to_value(job).expect("a config is plain data")
}

fn keys_of(json: &Value) -> Vec<&str> {
    json.as_object().map(|object| object.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// Refuses the first key of `json`, at any depth, that `known` lacks.
fn unknown_key(json: &Value, known: &Value, prefix: &str) -> Result<()> {
    // A plain value where an object belongs is found later, as a wrong type.
    let Some(object) = json.as_object().filter(|_| prefix != OPTIONS) else { return Ok(()) };
    let Some(known) = known.as_object() else {
        bail!("{prefix} is a single value, it has no keys; found {json}");
    };
    for (key, value) in object {
        let path = join(prefix, key);
        let Some(below) = known.get(key) else {
            bail!("there is no key {path}{}", hint(key, known));
        };
        unknown_key(value, below, &path)?;
    }
    Ok(())
}

/// The nearest known key, or all of them if none is near.
fn hint(key: &str, known: &Map<String, Value>) -> String {
    match did_you_mean(key, known.keys().map(String::as_str)) {
        hint if hint.is_empty() => {
            format!("; the keys here are {}", known.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
        }
        hint => hint,
    }
}

/// `; did you mean "name"?` for the nearest of `names`, or nothing if none is near.
pub(super) fn did_you_mean<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| format!("; did you mean \"{name}\"?"))
        .unwrap_or_default()
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_string() } else { format!("{prefix}.{key}") }
}

/// The JSON pointer of a dotted key.
fn pointer(key: &str) -> String {
    key.split('.').map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Lays one `key.path=value` over the config.
fn set(json: &mut Value, setting: &str) -> Result<()> {
    let (path, text) = setting.split_once('=').context("expected key.path=value, for example train.steps=500")?;
    let value = match serde_json::from_str::<Unique>(text) {
        Ok(Unique(value)) => value,
        Err(_) => Value::String(text.to_string()),
    };
    // The override as a config of its own, so that one function finds every unknown key.
    let lone = path.rsplit('.').fold(value.clone(), |inner, key| Value::Object(Map::from_iter([(key.to_string(), inner)])));
    unknown_key(&lone, &all_keys(), "")?;

    let mut place = json;
    let mut above = String::new();
    for key in path.split('.') {
        if place.is_null() {
            *place = Value::Object(Map::new());
        }
        let Some(object) = place.as_object_mut() else {
            bail!("{above} is a single value, it has no key {key}");
        };
        place = object.entry(key).or_insert(Value::Null);
        above = join(&above, key);
    }
    *place = value;
    Ok(())
}

/// Finds the value that has the wrong type by trying each alone in a config that is otherwise right.
fn wrong_type(json: &Value) -> Option<anyhow::Error> {
    fn leaves(json: &Value, prefix: &str, found: &mut Vec<(String, Value)>) {
        match json.as_object().filter(|object| !object.is_empty() && prefix != OPTIONS) {
            Some(object) => object.iter().for_each(|(key, value)| leaves(value, &join(prefix, key), found)),
            None => found.push((prefix.to_string(), json.clone())),
        }
    }
    let mut found = Vec::new();
    leaves(json, "", &mut found);
    found.into_iter().find_map(|(path, value)| {
        let mut frame = all_keys();
        *frame.pointer_mut(&pointer(&path))? = value;
        serde_json::from_value::<JobConfig>(frame).err().map(|error| anyhow!("{path}: {}", in_words(&error)))
    })
}

/// An error about a value, without Rust's names for its type.
fn in_words(error: &serde_json::Error) -> String {
    [("u64", "a whole number"), ("usize", "a whole number"), ("f64", "a number"), ("a sequence", "a list")]
        .into_iter()
        .fold(error.to_string(), |text, (name, words)| text.replace(&format!("expected {name}"), &format!("expected {words}")))
}

fn syntax_error(name: &str, error: &serde_json::Error) -> anyhow::Error {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let what = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
    anyhow!("{name}, line {line}, column {column}: not valid JSON: {what}")
}

/// A JSON value in which no object names a key twice: the plain reader would silently keep the last.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Unique;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Unique, E> {
                Ok(Unique(Value::Null))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }
            fn visit_str<E>(self, value: &str) -> Result<Unique, E> {
                Ok(Unique(value.into()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
                let mut array = Vec::new();
                while let Some(Unique(item)) = items.next_element()? {
                    array.push(item);
                }
                Ok(Unique(array.into()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
                let mut object = Map::new();
                while let Some((key, Unique(value))) = entries.next_entry::<String, Unique>()? {
                    if object.contains_key(&key) {
                        return Err(de::Error::custom(format!("the key \"{key}\" is there twice")));
                    }
                    object.insert(key, value);
                }
                Ok(Unique(object.into()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ContextLength, Execution};

    fn load(text: &str, overrides: &[&str]) -> Result<JobConfig> {
        let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
        JobConfig::from_text("job.json", text, &overrides, &["aaren", "transformer"])
    }

    fn message(text: &str, overrides: &[&str]) -> String {
        format!("{:#}", load(text, overrides).expect_err("must be refused"))
    }

    const SMALLEST: &str = r#"{"env": {"id": "TMaze-v0"}, "data": {"source": "x"}, "evaluation": {"target_returns": [1]}}"#;

    #[test]
    fn every_file_in_configs_parses() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
        let mut files = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                JobConfig::load(&path, &[]).unwrap_or_else(|error| panic!("{error:#}"));
                files += 1;
            }
        }
        assert!(files >= 5, "found only {files} configs");
    }

    #[test]
    fn the_readme_of_configs_says_every_key() {
        let readme = include_str!("../../../configs/README.md");
        fn check(json: &Value, prefix: &str, readme: &str) {
            for key in keys_of(json) {
                let path = join(prefix, key);
                assert!(readme.contains(&format!("`{path}`")), "configs/README.md does not say {path}");
                check(&json[key], &path, readme);
            }
        }
        check(&all_keys(), "", readme);
    }

    #[test]
    fn a_resolved_config_reads_back_as_itself() {
        let job = load(SMALLEST, &[]).unwrap();
        let text = serde_json::to_string(&job).unwrap();
        assert_eq!(load(&text, &[]).unwrap(), job);
        assert_eq!(job.train.context_length, ContextLength::Timesteps(20));
        assert_eq!(job.evaluation.final_episodes(), 10);
        let joined = load(SMALLEST, &[r#"data.source=["x", "y"]"#]).unwrap();
        assert_eq!(load(&serde_json::to_string(&joined).unwrap(), &[]).unwrap(), joined);
        assert_eq!(joined.data.describe(), "x + y");
    }

    #[test]
    fn an_override_wins_over_the_file() {
        let job = load(
            SMALLEST,
            &[
                "train.context_length=episode",
                "env.options.corridor=7",
                "policy.mixer=transformer",
                "seed=9",
                r#"data={"scripted": {"episodes": 3}}"#,
                "evaluation.target_returns=[2, 3.5]",
            ],
        )
        .unwrap();
        assert_eq!(job.train.context_length, ContextLength::Episode);
        assert_eq!(job.env.options["corridor"], 7);
        assert_eq!(job.policy.mixer, "transformer");
        assert_eq!(job.seed, 9);
        assert_eq!(job.data.source, None);
        assert_eq!(job.data.scripted.unwrap().episodes, 3);
        assert_eq!(job.evaluation.target_returns, [2.0, 3.5]);
        assert_eq!(job.evaluation.execution, Execution::Streaming);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key() {
        let misspelt = SMALLEST.replacen('{', r#"{"train": {"leraning_rate": 1}, "#, 1);
        for (text, overrides, words) in [
            (&*misspelt, &[][..], &["job.json", "train.leraning_rate", "did you mean \"learning_rate\"?"][..]),
            (SMALLEST, &["train.leraning_rate=1"], &["--set train.leraning_rate=1", "did you mean \"learning_rate\"?"]),
            (SMALLEST, &[r#"train={"stepz": 1}"#], &["--set", "train.stepz", "did you mean \"steps\"?"]),
            (SMALLEST, &["zzz=1"], &["no key zzz", "the keys here are seed, device, env"]),
            (SMALLEST, &["train.steps"], &["--set train.steps", "key.path=value"]),
            (SMALLEST, &["seed.x=1"], &["seed is a single value", "\"x\""]),
            (SMALLEST, &["train.steps=many"], &["job.json", "train.steps", "\"many\"", "a whole number"]),
            (SMALLEST, &["train.steps=-1"], &["train.steps", "-1"]),
            (SMALLEST, &["train.steps=1.5"], &["train.steps", "1.5", "a whole number"]),
            (SMALLEST, &["train.context_length=epoch"], &["train.context_length", "epoch", "or \"episode\""]),
            (SMALLEST, &["evaluation.execution=fast"], &["evaluation.execution", "fast", "streaming"]),
            (SMALLEST, &["train=5"], &["train", "5"]),
            (SMALLEST, &["data.source=5"], &["data.source", "5", "or a list of them"]),
            (SMALLEST, &["evaluation={}"], &["evaluation.target_returns", "found none"]),
            (SMALLEST, &["env.options=5"], &["env.options", "5"]),
            ("{}", &[], &["job.json", "env is missing"]),
            (r#"{"env": {}}"#, &[], &["env.id is missing"]),
            ("[]", &[], &["job.json", "expected a JSON object"]),
            ("", &[], &["job.json, line 1", "not valid JSON"]),
            ("{\n\"seed\": 1,\n}", &[], &["job.json, line 3, column 1"]),
            ("{\"seed\": 1, \"seed\": 2}", &[], &["\"seed\" is there twice"]),
            ("{\"seed\": 1e999}", &[], &["job.json, line 1", "out of range"]),
        ] {
            let message = message(text, overrides);
            for word in words {
                assert!(message.contains(word), "{overrides:?}: {message:?} lacks {word:?}");
            }
            assert!(!message.contains('\n'), "{message}");
        }
    }

    #[test]
    fn a_missing_file_is_named_and_points_at_the_quickstart() {
        let message = format!("{:#}", JobConfig::load(Path::new("no/such.json"), &[]).unwrap_err());
        assert!(message.contains("no/such.json") && message.contains("quickstart"), "{message}");
    }
}
