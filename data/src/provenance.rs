//! What a dataset says of the task that it was made in, beside the task's name, and how another task differs from that.
//!
//! ```
//! use aaren_data::{scripted, task_differences};
//!
//! let made = |corridor: u64| serde_json::json!({"corridor": corridor}).as_object().unwrap().clone();
//! let config = serde_json::json!({"env": "TMaze-v0", "options": made(9), "episodes": 1, "seed": 1});
//! let dataset = scripted::collect(&serde_json::from_value(config)?)?;
//! let differences = |corridor| -> Result<Vec<String>, aaren_envs::EnvError> {
//!     Ok(task_differences(&dataset, aaren_envs::make("TMaze-v0", &made(corridor))?.spec(), &made(corridor)))
//! };
//! assert_eq!(differences(9)?, Vec::<String>::new());
//! assert!(differences(5)?[0].contains("corridor = 9"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::minari::{self, metadata};
use crate::statistics::ENV_OPTIONS;
use crate::trajectory::Dataset;
use aaren_envs::{GYMNASIUM_OPTIONS, OptionDefault, Space, Spec, gymnasium_name, gymnasium_spec};
use serde_json::{Map, Value};

/// Options that change a picture of a task, or nothing.
const SHOWN_ONLY: [&str; 9] = [
    "render_mode",
    "width",
    "height",
    "camera_id",
    "camera_name",
    "default_camera_config",
    "max_geom",
    "visual_options",
    "renderer",
];

/// Wrappers that change nothing that is recorded.
const WATCHING: [&str; 7] = [
    "DataCollector",
    "DataCollectorV0",
    "OrderEnforcing",
    "PassiveEnvChecker",
    "RecordEpisodeStatistics",
    "RecordVideo",
    "TimeLimit", // read as a time limit
];

/// How far bounds may be apart and mean the same: rounding to single precision, with room.
const BOUND_TOLERANCE: f64 = 1e-5;

impl Dataset {
    /// The options of the task that the data were made in, from aaren's own metadata or the `kwargs` of Minari's `env_spec`; `None` where nothing is said. Options that are left out have the task's defaults.
    pub fn env_options(&self) -> Option<Map<String, Value>> {
        let collection = self.metadata.get("collection");
        let options = |value: &Value| value.as_object().cloned();
        let kwargs = self.env_spec().and_then(|spec| options(&spec["kwargs"]));
        let collected = collection.and_then(|made| options(&made["options"]).or_else(|| options(&made["job"]["env"]["options"])));
        let stated = self.metadata.get(ENV_OPTIONS).and_then(options);
        let is_in_python = collection.and_then(|made| gymnasium_name(made["job"]["env"]["id"].as_str()?)).is_some();
        let of_task = |options: Map<String, Value>| if is_in_python { in_python(&options) } else { options };
        let (collected, stated) = (collected.map(of_task), stated.map(of_task));
        let said: Vec<_> = [kwargs, collected, stated].into_iter().flatten().collect();
        (!said.is_empty()).then(|| said.into_iter().flatten().filter(|(key, _)| !SHOWN_ONLY.contains(&key.as_str())).collect())
    }

    /// Wrappers around the task that change what was recorded, by name, from Minari's `env_spec`.
    pub fn wrappers(&self) -> Vec<String> {
        names_of_wrappers(&self.env_spec().unwrap_or_default()["additional_wrappers"])
    }

    /// The task with all that is said of it, in words: `Hopper-v5 with variant=d4rl`.
    pub fn task(&self) -> Option<String> {
        let options: Vec<String> =
            self.env_options().into_iter().flatten().map(|(key, value)| format!("{key}={}", bare(&value))).collect();
        let with = if options.is_empty() { String::new() } else { format!(" with {}", options.join(", ")) };
        let wrappers = self.wrappers();
        let through = if wrappers.is_empty() { String::new() } else { format!(" through {}", wrappers.join(", ")) };
        self.env_id.as_ref().map(|id| format!("{id}{with}{through}"))
    }

    /// The space that observations or actions were recorded in, in words, where they were flattened or joined to one choice.
    ///
    /// - `key`: `observation_space` or `action_space`
    pub fn recorded_space(&self, key: &str) -> Option<String> {
        minari::describe_recorded(self.metadata.get(&format!("{}{key}", metadata::RECORDED))?.as_str()?)
    }

    /// Minari's description of the task.
    fn env_spec(&self) -> Option<Value> {
        metadata::parse(self.metadata.get("env_spec")?.as_str()?).ok()
    }
}

/// In what a dataset's task differs from another task, a clause each that names both values and what can be done: options, wrappers,
/// time limit, bounds. What the data do not say is taken to be alike.
///
/// - `options`: those that the other task was made with
pub fn task_differences(dataset: &Dataset, spec: &Spec, options: &Map<String, Value>) -> Vec<String> {
    let (data, task) = (format!("the data {}", dataset.id), format!("the task {}", spec.id));
    let said = dataset.env_options();
    let mut found = said.map_or(Vec::new(), |said| option_differences(&data, &said, spec, options));
    let given =
        names_of_wrappers(gymnasium_spec(&spec.id, options).as_ref().map_or(&Value::Null, |spec| &spec["additional_wrappers"]));
    let wrappers: Vec<String> = dataset.wrappers().into_iter().filter(|name| !given.contains(name)).collect();
    let of_options = !found.is_empty();
    if !wrappers.is_empty() {
        found.push(format!("{data} were made through wrappers that {task} has not: {}", wrappers.join(", ")));
    }
    match (dataset.max_episode_steps, spec.max_episode_steps) {
        (Some(limit), of_task) if of_task != Some(limit) => {
            let of_task = of_task.map_or("none".into(), |limit| format!("one of {limit} steps"));
            // A limit may follow from an option, such as the size of a maze.
            let advice = format!("; --set env.options.max_episode_steps={limit} sets it");
            let advice = if of_options { "" } else { &advice };
            found.push(format!("{data} have a time limit of {limit} steps, {task} has {of_task}{advice}"));
        }
        (None, Some(limit)) => found.extend(crate::verify::too_long(dataset, limit).map(|(_, text)| text)),
        _ => {}
    }
    if let Some((of_data, of_task)) = bound_difference(&dataset.observation_space, &spec.observation_space, false) {
        found.push(format!("{data} have observations in {of_data}, {task} in {of_task}"));
    }
    if let Some((of_data, of_task)) = bound_difference(&dataset.action_space, &spec.action_space, true) {
        let have = if dataset.env_id.is_some() { "have" } else { "are taken to have" };
        found.push(format!(
            "{data} {have} actions in {of_data}, {task} in {of_task}; --set data.actions=rescale maps them, \
             --set data.actions=keep takes them as they are"
        ));
    }
    found
}

/// In what a dataset's task differs from any that this build can make: what no options of it can mend.
pub(crate) fn own_task_differences(dataset: &Dataset) -> Vec<String> {
    let id = dataset.env_id.as_deref().unwrap_or_default();
    let Some(task) = aaren_envs::tasks().into_iter().find(|task| task.id == id) else { return Vec::new() };
    let mut options = dataset.env_options().unwrap_or_default();
    options.retain(|key, _| key == "reward_delay" || task.options.iter().any(|option| option.key == key));
    if let Some(limit) = dataset.max_episode_steps {
        options.insert("max_episode_steps".into(), limit.into());
    }
    aaren_envs::make(id, &options).map_or(Vec::new(), |env| task_differences(dataset, env.spec(), &options))
}

/// The wrappers of Gymnasium's description of a task that change what is recorded.
fn names_of_wrappers(wrappers: &Value) -> Vec<String> {
    let names = wrappers.as_array().into_iter().flatten().filter_map(|wrapper| wrapper["name"].as_str());
    names.filter(|name| !WATCHING.contains(name)).map(String::from).collect()
}

/// What the options of an environment in Python say of the task: its arguments, for how it is run is beside the point.
fn in_python(options: &Map<String, Value>) -> Map<String, Value> {
    let is_of_task = |key: &str| GYMNASIUM_OPTIONS.iter().all(|option| option.key != key);
    let kwargs = options.get("kwargs").and_then(Value::as_object);
    let own = options.iter().filter(|(key, _)| is_of_task(key));
    own.chain(kwargs.into_iter().flatten()).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn option_differences(data: &str, said: &Map<String, Value>, spec: &Spec, options: &Map<String, Value>) -> Vec<String> {
    let is_in_python = gymnasium_name(&spec.id).is_some();
    // Beside what the job says, what it is registered with.
    let registered = gymnasium_spec(&spec.id, options).and_then(|spec| spec["kwargs"].as_object().cloned()).unwrap_or_default();
    let mut options = if is_in_python { in_python(options) } else { options.clone() };
    options.extend(registered.into_iter().filter(|(key, _)| !SHOWN_ONLY.contains(&key.as_str())));
    let options = &options;
    let path = |key: &str| if is_in_python && key != "reward_delay" { format!("kwargs.{key}") } else { key.to_string() };
    let table = aaren_envs::tasks().into_iter().find(|task| task.id == spec.id).map_or(&[][..], |task| task.options);
    let default = |key: &str| table.iter().find(|option| option.key == key).map_or(Value::Null, |option| plain(&option.default));
    let value = |of: &Map<String, Value>, key: &str| of.get(key).cloned().unwrap_or_else(|| default(key));
    let mut keys: Vec<&String> = said.keys().chain(options.keys().filter(|key| !said.contains_key(*key))).collect();
    keys.retain(|key| *key != "max_episode_steps"); // a time limit, which is compared as such
    let differing = keys.into_iter().filter(|key| !same(&value(said, key), &value(options, key)));
    let describe = |key: &String| {
        let (made, asked) = (value(said, key), value(options, key));
        let shown = |value: &Value| if value.is_null() { format!("no {key}") } else { format!("{key} = {}", bare(value)) };
        let is_known = table.iter().any(|option| option.key == key) || table.is_empty() || key == "reward_delay";
        let advice = match (is_known, &made) {
            (true, Value::Null) => format!("; leave env.options.{} out to have none", path(key)),
            (true, Value::Array(_)) => format!(
                "; --set 'env.options.{}={}' sets it",
                path(key),
                bare(&made).replace("\"Infinity\"", "null").replace("\"-Infinity\"", "null")
            ),
            (true, made) => format!("; --set env.options.{}={} sets it", path(key), bare(made)),
            (false, _) => ", which is no option of it".into(),
        };
        format!("{data} were made with {}, the task {} has {}{advice}", shown(&made), spec.id, shown(&asked))
    };
    differing.map(describe).collect()
}

/// A default as its value would be written.
fn plain(default: &OptionDefault) -> Value {
    match *default {
        OptionDefault::Bool(value) => value.into(),
        OptionDefault::Count(value, ..) => value.into(),
        OptionDefault::Number(value, ..) => value.into(),
        // Infinity has no number in JSON and becomes null, as it is given.
        OptionDefault::Interval(low, high) => vec![Value::from(low), Value::from(high)].into(),
        OptionDefault::Choice(names) => names[0].into(),
        OptionDefault::Text(value) => value.into(),
        OptionDefault::Json(value) => serde_json::from_str(value).unwrap_or_default(),
    }
}

/// Whether two values of an option mean the same: 10 and 10.0, an infinite bound and null.
fn same(a: &Value, b: &Value) -> bool {
    let infinite = |value: &Value| value.is_null() || matches!(value.as_str(), Some("Infinity" | "-Infinity"));
    match (a.as_array(), b.as_array()) {
        (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        _ => a == b || (infinite(a) && infinite(b)) || a.as_f64().is_some_and(|a| Some(a) == b.as_f64()),
    }
}

/// A value as it is written after an equals sign.
fn bare(value: &Value) -> String {
    match (value.as_str(), value.as_f64()) {
        (Some(text), _) => text.into(),
        (None, Some(number)) => number.to_string(),
        (None, None) => value.to_string(),
    }
}

/// The first bounds of one component that differ, if any do. `all`: infinite ones count too; else only what both spaces bound.
fn bound_difference(data: &Space, task: &Space, all: bool) -> Option<(String, String)> {
    let (Space::Box { low, high, .. }, Space::Box { low: task_low, high: task_high, .. }) = (data, task) else { return None };
    let is_bound = |bound: f64| bound.abs() < 1e30; // the largest float means none
    let differ = |a: f64, b: f64| match is_bound(a) && is_bound(b) {
        true => (a - b).abs() > BOUND_TOLERANCE * (1.0 + b.abs()),
        false => all && is_bound(a) != is_bound(b),
    };
    let pairs = low.iter().zip(high).zip(task_low.iter().zip(task_high));
    let mut pairs = pairs.into_iter();
    let index =
        pairs.position(|((&low, &high), (&other_low, &other_high))| differ(low, other_low) || differ(high, other_high))?;
    let shown = |low: &[f64], high: &[f64]| {
        let at = if low.len() > 1 { format!(" (component {index})") } else { String::new() };
        format!("[{}, {}]{at}", low[index], high[index])
    };
    Some((shown(low, high), shown(task_low, task_high)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted;
    use aaren_envs::Dtype;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn made(env: &str, options: Value) -> Dataset {
        let config = json!({"env": env, "options": options, "collector": "random", "episodes": 1, "seed": 1});
        scripted::collect(&serde_json::from_value(config).unwrap()).unwrap()
    }

    fn in_task(dataset: &Dataset, env: &str, options: Value) -> Vec<String> {
        let options = map(options);
        task_differences(dataset, aaren_envs::make(env, &options).unwrap().spec(), &options)
    }

    #[test]
    fn options_are_compared_with_their_defaults() {
        let dataset = made("PointMaze-v0", json!({"layout": "large", "reward": "sparse"}));
        assert_eq!(in_task(&dataset, "PointMaze-v0", json!({"layout": "large"})), Vec::<String>::new());
        let found = in_task(&dataset, "PointMaze-v0", json!({"reward_delay": 5}));
        assert_eq!(
            found,
            [
                "the data scripted/PointMaze-v0 were made with layout = large, the task PointMaze-v0 has layout = umaze; \
                 --set env.options.layout=large sets it",
                "the data scripted/PointMaze-v0 were made with no reward_delay, the task PointMaze-v0 has reward_delay = 5; \
                 leave env.options.reward_delay out to have none",
                "the data scripted/PointMaze-v0 have a time limit of 800 steps, the task PointMaze-v0 has one of 300 steps",
            ]
        );
    }

    #[test]
    fn what_minari_says_of_its_task_is_compared() {
        let mut dataset = made("Pendulum-v1", json!({}));
        dataset.metadata.clear();
        assert_eq!(dataset.env_options(), None, "nothing is said");
        assert!(in_task(&dataset, "Pendulum-v1", json!({"g": 3})).is_empty());
        let spec = r#"{"id": "Pendulum-v1", "kwargs": {"g": 9.81, "render_mode": "rgb_array", "damping": [0.1, Infinity]},
                       "additional_wrappers": [{"name": "RecordVideo"}, {"name": "FrameStack"}]}"#;
        dataset.metadata.insert("env_spec".into(), spec.into());
        assert_eq!(dataset.task().unwrap(), "Pendulum-v1 with g=9.81, damping=[0.1,\"Infinity\"] through FrameStack");
        let found = in_task(&dataset, "Pendulum-v1", json!({}));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("g = 9.81, the task Pendulum-v1 has g = 10; --set env.options.g=9.81"), "{found:?}");
        assert!(found[1].contains("damping = [0.1,\"Infinity\"]") && found[1].ends_with("which is no option of it"), "{found:?}");
        assert!(found[2].ends_with("has not: FrameStack"), "{found:?}");
        // What no job can have is said without one.
        let own = own_task_differences(&dataset);
        assert_eq!(own.len(), 2, "{own:?}");
    }

    #[test]
    fn limits_lengths_and_bounds_are_compared() {
        let mut dataset = made("Pendulum-v1", json!({"max_episode_steps": 30}));
        let found = in_task(&dataset, "Pendulum-v1", json!({}));
        assert_eq!(found.len(), 1);
        assert!(
            found[0]
                .ends_with("30 steps, the task Pendulum-v1 has one of 200 steps; --set env.options.max_episode_steps=30 sets it")
        );
        dataset.max_episode_steps = None;
        let found = in_task(&dataset, "Pendulum-v1", json!({"max_episode_steps": 20}));
        assert!(found[0].contains("longer than the time limit of 20 steps, first episode 0 with 30"), "{found:?}");

        dataset.max_episode_steps = Some(200);
        dataset.action_space = Space::uniform_box(1, -1.0, 1.0, Dtype::Float32);
        let found = in_task(&dataset, "Pendulum-v1", json!({}));
        assert!(
            found[0].contains("actions in [-1, 1], the task Pendulum-v1 in [-2, 2]; --set data.actions=rescale"),
            "{found:?}"
        );
        dataset.action_space = Space::uniform_box(1, -2.0000001, 2.0, Dtype::Float64);
        assert!(in_task(&dataset, "Pendulum-v1", json!({})).is_empty(), "rounding");
        dataset.observation_space =
            Space::Box { low: vec![-1.0, -1.0, -8.0], high: vec![1.0, 1.0, 3.4e38], dtype: Dtype::Float32 };
        assert!(in_task(&dataset, "Pendulum-v1", json!({})).is_empty(), "no bound");
        dataset.observation_space = Space::Box { low: vec![-1.0, -1.0, -1.0], high: vec![1.0; 3], dtype: Dtype::Float32 };
        let found = in_task(&dataset, "Pendulum-v1", json!({}));
        assert!(found[0].contains("observations in [-1, 1] (component 2), the task Pendulum-v1 in [-8, 8]"), "{found:?}");
    }

    #[test]
    fn values_mean_the_same_however_they_are_written() {
        for (a, b, alike) in [
            (json!(10), json!(10.0), true),
            (json!([0.7, null]), json!([0.7, "Infinity"]), true),
            (json!([0.7, null]), json!([0.7, 2]), false),
            (json!("a"), json!("b"), false),
            (json!(true), json!(1), false),
        ] {
            assert_eq!(same(&a, &b), alike, "{a} and {b}");
        }
    }
}
