//! Reading a job: JSON text and `--set` overrides to a checked [`JobConfig`], with errors that name the key.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};
use serde_json::{Map, Value};

use super::{
    DataConfig, EnvConfig, EvaluationConfig, JobConfig, ScriptedConfig,
    job::{OFFLINE_EVALUATION, OFFLINE_POLICY},
};
use crate::config::PpoConfig;

/// The job that `aaren train` runs without a config.
pub(super) const QUICKSTART: &str = include_str!("quickstart.json");

/// Keys without a default.
const REQUIRED: [&str; 3] = ["env", "env.id", "evaluation"];

/// A key without a default in a job that learns from data.
const REQUIRED_OFFLINE: &[&str] = &["data"];

/// Names the config that a file's keys are laid over, by a path relative to the file.
const BASE: &str = "base";

/// Files in a row of which each is the base of the one before; more than this is no layering but a slip.
const MOST_FILES: usize = 8;

/// Where a task's own options begin; their names are the task's business.
const OPTIONS: &str = "env.options";

impl JobConfig {
    /// Reads a config file, lays it over the file that its key `base` names, if it has one, lays `overrides` over it, and checks the
    /// result.
    ///
    /// The path of a base is relative to the file that names it; a base may have a base. Objects are merged key by key; any other
    /// value, lists and null included, replaces what the base has. What comes out is complete and has no base.
    ///
    /// An override is `key.path=value`; the value is read as JSON, and as a string where it is not JSON.
    ///
    /// # Errors
    /// One line that names the file or the override, the key, and what to do about it.
    pub fn load(path: &Path, overrides: &[String]) -> Result<JobConfig> {
        let json = read_layers(path, &all_keys())?;
        Self::from_json(&path.display().to_string(), json, overrides, &aaren_policy::mixer::choices())
    }

    /// The built-in job that needs no file and no download.
    ///
    /// # Errors
    /// As [`JobConfig::load`], for the overrides.
    pub fn quickstart(overrides: &[String]) -> Result<JobConfig> {
        Self::from_text("the built-in quickstart", QUICKSTART, overrides, &aaren_policy::mixer::choices())
    }

    /// A job from the text of a config.
    ///
    /// # Errors
    /// As [`JobConfig::load`].
    pub fn parse(text: &str, overrides: &[String]) -> Result<JobConfig> {
        Self::from_text("the job", text, overrides, &aaren_policy::mixer::choices())
    }

    /// Reads a job from text; `name` stands for the file in messages.
    pub(super) fn from_text(name: &str, text: &str, overrides: &[String], mixers: &[&str]) -> Result<JobConfig> {
        let json = parse(name, text, &all_keys())?;
        unknown_key(&json, &all_keys(), "").with_context(|| name.to_string())?;
        Self::from_json(name, json, overrides, mixers)
    }

    /// A job from JSON whose keys are known.
    fn from_json(name: &str, mut json: Value, overrides: &[String], mixers: &[&str]) -> Result<JobConfig> {
        lay(&mut json, overrides, &all_keys())?;
        let is_online = !json["ppo"].is_null();
        let offline = if is_online { &[] } else { REQUIRED_OFFLINE };
        require(name, &json, REQUIRED.iter().chain(offline))?;
        if is_online {
            only_online(&json).with_context(|| name.to_string())?;
        }
        let mut job: JobConfig = typed(name, &json, &all_keys())?;
        if is_online {
            job.policy.dropout = 0.0;
        }
        job.check(mixers).with_context(|| name.to_string())?;
        Ok(job)
    }
}

fn parse(name: &str, text: &str, known: &Value) -> Result<Value> {
    let Unique(json) = serde_json::from_str(text).map_err(|error| syntax_error(name, &error))?;
    if !json.is_object() {
        bail!("{name}: expected a JSON object with the keys {}", keys_of(known).join(", "));
    }
    Ok(json)
}

/// A config file of any kind, laid over its bases: JSON without a key that is not known.
///
/// - `known`: a valid config in which every key is present
///
/// # Errors
/// One line that names the file, the key, and what to do about it.
pub(crate) fn read_layers(path: &Path, known: &Value) -> Result<Value> {
    read_over(path, known, &mut Vec::new())
}

/// [`read_layers`], where `above` holds the files that led here.
fn read_over(path: &Path, known: &Value, above: &mut Vec<PathBuf>) -> Result<Value> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|error| {
        let hint = match (above.last(), error.kind()) {
            (Some(file), _) => format!(", the base of {}", file.display()),
            (None, std::io::ErrorKind::NotFound) => "; `aaren train` without a config runs the quickstart".into(),
            (None, _) => String::new(),
        };
        anyhow!(error).context(format!("cannot read the config {name}{hint}"))
    })?;
    let mut json = parse(&name, &text, known)?;
    let base = json.as_object_mut().and_then(|object| object.shift_remove(BASE));
    unknown_key(&json, known, "").with_context(|| name.clone())?;
    let Some(base) = base else { return Ok(json) };
    let base = base.as_str().with_context(|| format!("{name}: base: found {base}, expected the path of another config"))?;
    let base = path.parent().unwrap_or(Path::new("")).join(base);

    above.push(path.to_path_buf());
    let same = |file: &PathBuf| match (file.canonicalize(), base.canonicalize()) {
        (Ok(file), Ok(base)) => file == base,
        _ => false, // a file that is not there is reported when it is read
    };
    if above.iter().any(same) {
        bail!("{name}: base: {} is laid over this file already; a config cannot be its own base", base.display());
    }
    if above.len() == MOST_FILES {
        bail!("{}: base: more than {MOST_FILES} files are laid over each other", above[0].display());
    }
    let mut merged = read_over(&base, known, above)?;
    merge(&mut merged, json);
    Ok(merged)
}

/// Lays `over` over `under`: objects key by key, anything else as a whole.
fn merge(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                merge(under.entry(key).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over,
    }
}

/// Refuses keys that a job with a `ppo` section would not read.
fn only_online(json: &Value) -> Result<()> {
    for key in ["data", "train"] {
        ensure!(json[key].is_null(), "{key}: not read by a job that learns online; leave it out, or leave out ppo");
    }
    let policy = json["policy"].as_object().filter(|policy| !policy.is_empty());
    ensure!(
        policy.is_none() || json["ppo"]["network"] == "recurrent",
        "policy: it says how a recurrent network is built, but ppo.network is \"mlp\"; set it to \"recurrent\", or leave policy out"
    );
    for (section, keys) in [("policy", &OFFLINE_POLICY[..]), ("evaluation", &OFFLINE_EVALUATION)] {
        for key in keys {
            let found = json[section].get(key).filter(|value| !value.is_null());
            ensure!(found.is_none(), "{section}.{key}: not read by a job that learns online; leave it out");
        }
    }
    Ok(())
}

/// Lays overrides, each `key.path=value`, over a config.
///
/// # Errors
/// Names the override and what is wrong with it.
pub(crate) fn lay(json: &mut Value, overrides: &[String], known: &Value) -> Result<()> {
    overrides.iter().try_for_each(|setting| set(json, setting, known).with_context(|| format!("--set {setting}")))
}

/// Refuses a config that lacks one of these dotted keys.
///
/// # Errors
/// Names the first that is missing.
pub(crate) fn require<'a>(name: &str, json: &Value, mut keys: impl Iterator<Item = &'a &'a str>) -> Result<()> {
    match keys.find(|key| json.pointer(&pointer(key)).is_none()) {
        Some(key) => bail!("{name}: {key} is missing, and it has no default"),
        None => Ok(()),
    }
}

/// JSON as a config; its ranges are still to be checked.
///
/// # Errors
/// Names the key whose value has the wrong type.
pub(crate) fn typed<T: DeserializeOwned>(name: &str, json: &Value, known: &Value) -> Result<T> {
    serde_json::from_value::<T>(json.clone())
        .map_err(|error| wrong_type::<T>(json, known).unwrap_or_else(|| anyhow!(error)))
        .with_context(|| name.to_string())
}

/// A valid job in which every key is present: what keys there are, and a frame to try single values in.
pub(super) fn all_keys() -> Value {
    let job = JobConfig {
        seed: 1,
        device: super::Device::Cpu,
        env: EnvConfig { id: "TMaze-v0".into(), options: Map::new() },
        data: DataConfig { scripted: Some(ScriptedConfig::default()), ..Default::default() },
        policy: aaren_policy::PolicyConfig::default(),
        train: super::TrainConfig::default(),
        evaluation: EvaluationConfig::new(vec![1.0]),
        ppo: None,
    };
    let mut keys = serde_json::to_value(job).expect("a config is plain data");
    keys["ppo"] = serde_json::to_value(PpoConfig::default()).expect("a config is plain data");
    keys
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
fn set(json: &mut Value, setting: &str, known: &Value) -> Result<()> {
    let (path, text) = setting.split_once('=').context("expected key.path=value, for example train.steps=500")?;
    let value = match serde_json::from_str::<Unique>(text) {
        Ok(Unique(value)) => value,
        Err(_) => Value::String(text.to_string()),
    };
    // The override as a config of its own, so that one function finds every unknown key.
    let lone = path.rsplit('.').fold(value.clone(), |inner, key| Value::Object(Map::from_iter([(key.to_string(), inner)])));
    unknown_key(&lone, known, "")?;

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
fn wrong_type<T: DeserializeOwned>(json: &Value, known: &Value) -> Option<anyhow::Error> {
    fn leaves(json: &Value, prefix: &str, found: &mut Vec<(String, Value)>) {
        match json.as_object().filter(|object| !object.is_empty() && prefix != OPTIONS) {
            Some(object) => object.iter().for_each(|(key, value)| leaves(value, &join(prefix, key), found)),
            None => found.push((prefix.to_string(), json.clone())),
        }
    }
    let mut found = Vec::new();
    leaves(json, "", &mut found);
    found.into_iter().find_map(|(path, value)| {
        let mut frame = known.clone();
        *frame.pointer_mut(&pointer(&path))? = value;
        serde_json::from_value::<T>(frame).err().map(|error| anyhow!("{path}: {}", in_words(&error)))
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
        let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs");
        let mut files = 0;
        for entry in fs::read_dir(configs).unwrap() {
            let path = entry.unwrap().path();
            // Collections have keys of their own.
            let is_collection = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("collect-"));
            if path.extension().is_some_and(|extension| extension == "json") && !is_collection {
                JobConfig::load(&path, &[]).unwrap_or_else(|error| panic!("{error:#}"));
                files += 1;
            }
        }
        assert!(files >= 5, "found only {files} configs");
    }

    /// Writes files into a folder and loads one of them.
    fn load_files(files: &[(&str, &str)], path: &str, overrides: &[&str]) -> Result<JobConfig> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
        JobConfig::load(&folder.path().join(path), &overrides)
    }

    #[test]
    fn a_config_is_laid_over_its_base_key_by_key() {
        let root = r#"{"env": {"id": "TMaze-v0", "options": {"corridor": 7}}, "train": {"steps": 30, "batch_size": 3},
                      "evaluation": {"target_returns": [1, 2]}}"#;
        let middle = r#"{"base": "../root.json", "train": {"steps": 20}, "policy": {"tokens": "merged", "mixer": "aaren"}}"#;
        let job = r#"{"base": "deep/middle.json", "data": {"source": "x"}, "policy": {"mixer": "transformer"},
                     "env": {"options": {"max_episode_steps": 90}}, "evaluation": {"target_returns": [3]}}"#;
        let files = [("root.json", root), ("deep/middle.json", middle), ("job.json", job)];
        let job = load_files(&files, "job.json", &["train.batch_size=9", "env.options.corridor=8"]).unwrap();
        assert_eq!((job.train.steps, job.train.batch_size), (20, 9));
        assert_eq!((&*job.policy.mixer, job.policy.tokens), ("transformer", aaren_policy::Tokens::Merged));
        assert_eq!(job.evaluation.target_returns, [3.0]);
        assert_eq!(Value::Object(job.env.options), serde_json::json!({"corridor": 8, "max_episode_steps": 90}));
    }

    #[test]
    fn what_is_wrong_with_a_base_names_the_file() {
        let own = r#"{"base": "./job.json"}"#;
        let left = r#"{"base": "right.json"}"#;
        let right = r#"{"base": "left.json"}"#;
        let mut deep: Vec<(String, String)> =
            (0..8).map(|file| (format!("{file}.json"), format!(r#"{{"base": "{}.json"}}"#, file + 1))).collect();
        deep.push(("8.json".into(), SMALLEST.into()));
        let deep: Vec<(&str, &str)> = deep.iter().map(|(name, text)| (&**name, &**text)).collect();
        assert!(load_files(&deep, "1.json", &[]).is_ok());
        for (files, path, words) in [
            (&[("job.json", own)][..], "job.json", &["job.json: base", "its own base"][..]),
            (&[("left.json", left), ("right.json", right)], "left.json", &["right.json: base", "left.json is laid over"]),
            (&deep, "0.json", &["0.json: base", "more than 8 files"]),
            (&[("job.json", r#"{"base": 5}"#)], "job.json", &["base: found 5", "path"]),
            (&[("job.json", r#"{"base": "no.json"}"#)], "job.json", &["no.json, the base of", "job.json"]),
            (&[("job.json", left), ("right.json", "[]")], "job.json", &["right.json: expected a JSON object"]),
            (&[("job.json", left), ("right.json", r#"{"sed": 1}"#)], "job.json", &["right.json", "no key sed", "\"seed\""]),
        ] {
            let message = format!("{:#}", load_files(files, path, &[]).expect_err("must be refused"));
            for word in words {
                assert!(message.contains(word), "{message:?} lacks {word:?}");
            }
        }
        assert!(message(SMALLEST, &["base=x"]).contains("no key base"));
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
