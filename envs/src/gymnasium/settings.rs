//! What a job says of an environment in Python.

use std::sync::OnceLock;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::delayed_reward::RewardDelay;
use crate::error::EnvError;
use crate::options::{OptionInfo, Options};

/// What names of Gymnasium's environments begin with here. What follows is for `gymnasium.make`, with `module:` in front or not.
pub(super) const PREFIX: &str = "gymnasium:";

/// The interpreter of a job that names none, where that is not the first `python3` of PATH.
static INTERPRETER: OnceLock<String> = OnceLock::new();

/// Says which interpreter runs the environments of jobs that name none: for a program that is itself in Python, its own. The first call
/// counts.
pub fn set_interpreter(path: &str) {
    INTERPRETER.get_or_init(|| path.into());
}

/// Options of every environment in Python.
pub(super) const OPTIONS: &[OptionInfo] = &[
    OptionInfo::text("python", "python3", "interpreter that has numpy and gymnasium, a name or a path"),
    OptionInfo::json("kwargs", "{}", "arguments of the environment by name, for gymnasium.make"),
    OptionInfo::json(
        "wrappers",
        "[]",
        "wrappers around it, the first innermost: each the name of one in gymnasium.wrappers or \"module:Class\", or {name, kwargs}",
    ),
    OptionInfo::json(
        "module",
        "[]",
        "module to import first, or several: those that register environments, such as ale_py, or a file my_env.py",
    ),
    OptionInfo::count(
        "seed_bits",
        64,
        1,
        64,
        "bits of the seeds of episodes; 32 or 31 for environments that take no larger ones",
    ),
];

/// Checked options. Serialized, they are what a worker is told.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Settings {
    /// For `gymnasium.make`.
    pub(super) id: String,
    pub(super) python: String,
    kwargs: Map<String, Value>,
    wrappers: Vec<Wrapper>,
    modules: Vec<String>,
    /// Where the job says one: a limit, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_episode_steps: Option<Option<usize>>,
    #[serde(skip)]
    pub(super) seed_bits: u32,
    #[serde(skip)]
    pub(super) reward_delay: Option<RewardDelay>,
}

#[derive(Clone, Debug, Serialize)]
struct Wrapper {
    name: String,
    kwargs: Map<String, Value>,
}

impl Settings {
    /// Checks the options of `gymnasium:ID`.
    ///
    /// # Errors
    /// [`EnvError::Option`] for an unknown key or a value that it cannot have.
    pub(super) fn new(id: &str, values: &Map<String, Value>) -> Result<Self, EnvError> {
        let options = Options::new(id, OPTIONS, values)?;
        let name = id.strip_prefix(PREFIX).unwrap_or(id);
        if name.trim().is_empty() {
            return Err(EnvError::Unknown {
                id: id.into(),
                hint: format!("an environment of Gymnasium follows, such as {PREFIX}CartPole-v1"),
            });
        }
        let kwargs = match options.json("kwargs") {
            None => Map::new(),
            Some(Value::Object(kwargs)) => kwargs.clone(),
            Some(other) => return Err(options.error("kwargs", format!("{other}, expected arguments by name"))),
        };
        if kwargs.contains_key("max_episode_steps") {
            let problem = "\"max_episode_steps\" is an option of its own, beside kwargs".into();
            return Err(options.error("kwargs", problem));
        }
        let wrappers = list(options.json("wrappers")).into_iter().map(|wrapper| Self::wrapper(&options, wrapper));
        let module = |module: &Value| match module {
            Value::String(name) => Ok(name.clone()),
            other => Err(options.error("module", format!("{other}, expected the name of a module, or a list of names"))),
        };
        let python = match INTERPRETER.get() {
            Some(ours) if !values.contains_key("python") => ours.clone(),
            _ => options.text("python")?,
        };
        if python.is_empty() {
            return Err(options.error("python", "\"\", expected an interpreter such as \"python3\"".into()));
        }
        let limit = values.contains_key("max_episode_steps").then(|| options.max_episode_steps(None)).transpose()?;
        Ok(Self {
            id: name.into(),
            python,
            kwargs,
            wrappers: wrappers.collect::<Result<_, _>>()?,
            modules: list(options.json("module")).into_iter().map(module).collect::<Result<_, _>>()?,
            max_episode_steps: limit,
            seed_bits: options.count("seed_bits")? as u32,
            reward_delay: options.reward_delay()?,
        })
    }

    fn wrapper(options: &Options, wrapper: &Value) -> Result<Wrapper, EnvError> {
        let (name, kwargs) = match wrapper {
            Value::String(name) => (Some(name), Map::new()),
            Value::Object(keys) if keys.keys().all(|key| key == "name" || key == "kwargs") => {
                let name = keys.get("name").and_then(|name| if let Value::String(name) = name { Some(name) } else { None });
                match keys.get("kwargs") {
                    None => (name, Map::new()),
                    Some(Value::Object(kwargs)) => (name, kwargs.clone()),
                    Some(_) => (None, Map::new()),
                }
            }
            _ => (None, Map::new()),
        };
        let expected = "expected the name of a wrapper, or {\"name\": ..., \"kwargs\": {...}}";
        let name = name.ok_or_else(|| options.error("wrappers", format!("{wrapper}, {expected}")))?;
        Ok(Wrapper { name: name.clone(), kwargs })
    }
}

/// One value, or a list of them.
fn list(value: Option<&Value>) -> Vec<&Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(values)) => values.iter().collect(),
        Some(one) => vec![one],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;
    use serde_json::json;

    fn settings(options: Value) -> Result<Settings, String> {
        Settings::new("gymnasium:Any-v0", &fixtures::options(options)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_worker_is_told_has_the_options_and_their_defaults() {
        let told = |options| serde_json::to_value(settings(options).unwrap()).unwrap();
        let nothing = json!({"id": "Any-v0", "python": "python3", "kwargs": {}, "wrappers": [], "modules": []});
        assert_eq!(told(json!({})), nothing);
        let options = json!({
            "python": "x/bin/python", "kwargs": {"gravity": -5}, "module": "one",
            "wrappers": ["FlattenObservation", {"name": "two:Three", "kwargs": {"k": 1}}], "max_episode_steps": null,
        });
        let expected = json!({
            "id": "Any-v0", "python": "x/bin/python", "kwargs": {"gravity": -5}, "modules": ["one"], "max_episode_steps": null,
            "wrappers": [{"name": "FlattenObservation", "kwargs": {}}, {"name": "two:Three", "kwargs": {"k": 1}}],
        });
        assert_eq!(told(options), expected);
        assert_eq!(told(json!({"max_episode_steps": 9}))["max_episode_steps"], 9);
    }

    #[test]
    fn options_that_mean_nothing_are_refused_with_their_key() {
        for (options, words) in [
            (json!({"pyhton": "x"}), "option \"pyhton\": unknown; did you mean \"python\"?"),
            (json!({"python": 3}), "option \"python\": 3, expected a text"),
            (json!({"python": ""}), "option \"python\": \"\""),
            (json!({"kwargs": [1]}), "option \"kwargs\": [1], expected arguments by name"),
            (json!({"kwargs": {"max_episode_steps": 3}}), "option of its own"),
            (json!({"wrappers": [3]}), "option \"wrappers\": 3, expected the name of a wrapper"),
            (json!({"wrappers": [{"name": "A", "arguments": {}}]}), "option \"wrappers\": {"),
            (json!({"module": [["a"]]}), "option \"module\": [\"a\"], expected the name of a module"),
            (json!({"seed_bits": 65}), "option \"seed_bits\": 65, expected an integer from 1 to 64"),
            (json!({"max_episode_steps": 0}), "option \"max_episode_steps\": 0"),
        ] {
            let error = settings(options.clone()).unwrap_err();
            assert!(error.contains(words), "{options}: {error}");
        }
        let nameless = Settings::new("gymnasium: ", &Map::new()).unwrap_err().to_string();
        assert!(nameless.ends_with("such as gymnasium:CartPole-v1"), "{nameless}");
    }
}
