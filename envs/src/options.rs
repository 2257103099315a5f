//! Options of a task: one table a task with keys, defaults, ranges and help, and the values given, checked against it.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{delayed_reward::RewardDelay, error::EnvError};

/// One option of a task.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OptionInfo {
    /// Its key in the options object.
    pub key: &'static str,
    /// The value when the key is absent, and the values allowed.
    #[serde(serialize_with = "shown")]
    pub default: OptionDefault,
    /// One sentence: meaning and unit.
    pub help: &'static str,
}

impl OptionInfo {
    /// A boolean.
    pub const fn flag(key: &'static str, default: bool, help: &'static str) -> Self {
        Self { key, default: OptionDefault::Bool(default), help }
    }

    /// An integer from `low` to `high`.
    pub const fn count(key: &'static str, default: u64, low: u64, high: u64, help: &'static str) -> Self {
        Self { key, default: OptionDefault::Count(default, low, high), help }
    }

    /// A number from `low` to `high`.
    pub const fn number(key: &'static str, default: f64, low: f64, high: f64, help: &'static str) -> Self {
        Self { key, default: OptionDefault::Number(default, low, high), help }
    }

    /// A pair of bounds.
    pub const fn interval(key: &'static str, low: f64, high: f64, help: &'static str) -> Self {
        Self { key, default: OptionDefault::Interval(low, high), help }
    }

    /// A text.
    pub const fn text(key: &'static str, default: &'static str, help: &'static str) -> Self {
        Self { key, default: OptionDefault::Text(default), help }
    }

    /// Any value, which the task checks; `default` says in JSON what is taken where it is absent.
    pub const fn json(key: &'static str, default: &'static str, help: &'static str) -> Self {
        Self { key, default: OptionDefault::Json(default), help }
    }

    /// One of some names, the first by default.
    pub const fn choice(key: &'static str, names: &'static [&'static str], help: &'static str) -> Self {
        Self { key, default: OptionDefault::Choice(names), help }
    }
}

fn shown<S: Serializer>(default: &OptionDefault, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(default)
}

/// The default of an option, which also decides its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptionDefault {
    /// A boolean.
    Bool(bool),
    /// An integer, with the values allowed.
    Count(u64, u64, u64),
    /// A finite number, with the values allowed.
    Number(f64, f64, f64),
    /// A pair of bounds; in JSON a list of two numbers, where a null is minus or plus infinity.
    Interval(f64, f64),
    /// One of some names; the first is the default.
    Choice(&'static [&'static str]),
    /// A text.
    Text(&'static str),
    /// Any value, written as JSON.
    Json(&'static str),
}

impl fmt::Display for OptionDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Count(value, ..) => write!(f, "{value}"),
            Self::Number(value, ..) => write!(f, "{value}"),
            Self::Interval(low, high) => write!(f, "[{low}, {high}]"),
            Self::Choice(names) => write!(f, "{}", names[0]),
            Self::Text(value) | Self::Json(value) => write!(f, "{value}"),
        }
    }
}

/// The options given for a task, checked against its table.
///
/// ```
/// use aaren_envs::{OptionInfo, Options};
///
/// const OPTIONS: &[OptionInfo] = &[OptionInfo::number("wind", 0.5, 0.0, 9.0, "speed of the wind in m/s")];
/// let given = serde_json::json!({"wind": 3}).as_object().unwrap().clone();
/// assert_eq!(Options::new("my/Kite-v0", OPTIONS, &given)?.number("wind")?, 3.0);
///
/// let given = serde_json::json!({"wid": 3}).as_object().unwrap().clone();
/// let error = Options::new("my/Kite-v0", OPTIONS, &given).err().unwrap().to_string();
/// assert!(error.contains("did you mean \"wind\"?"));
/// # Ok::<(), aaren_envs::EnvError>(())
/// ```
///
/// # Panics
/// The methods that read an option panic if the table has no such key, or says that it has another type.
pub struct Options<'a> {
    env: &'a str,
    table: &'a [OptionInfo],
    values: &'a Map<String, Value>,
}

/// Keys that every task accepts, so no table lists them.
const MAX_EPISODE_STEPS: &str = "max_episode_steps";
const REWARD_DELAY: &str = "reward_delay";

impl<'a> Options<'a> {
    /// Options of the task `env`. `max_episode_steps` and `reward_delay` belong to every task;
    /// [`TimeLimit::boxed`](crate::TimeLimit::boxed) reads them.
    ///
    /// # Errors
    /// [`EnvError::Option`] for a key that is not in `table`; the message names the nearest one.
    pub fn new(env: &'a str, table: &'a [OptionInfo], values: &'a Map<String, Value>) -> Result<Self, EnvError> {
        let options = Self { env, table, values };
        let known = || table.iter().map(|option| option.key).chain([MAX_EPISODE_STEPS, REWARD_DELAY]);
        let Some(key) = values.keys().find(|&key| known().all(|known| known != key)) else { return Ok(options) };
        let all = known().collect::<Vec<_>>().join(", ");
        let problem = match nearest(key, known()) {
            Some(near) => format!("unknown; did you mean \"{near}\"? (options: {all})"),
            None => format!("unknown (options: {all})"),
        };
        Err(options.error(key, problem))
    }

    /// The task's name.
    pub fn env(&self) -> &'a str {
        self.env
    }

    /// The error of a value that has no sense for the task.
    pub fn error(&self, key: &str, problem: String) -> EnvError {
        EnvError::Option { env: self.env.into(), key: key.into(), problem }
    }

    fn default(&self, key: &str) -> OptionDefault {
        let info = self.table.iter().find(|option| option.key == key);
        info.unwrap_or_else(|| panic!("{}: option {key} is read but is not in the table", self.env)).default
    }

    fn mistyped(&self, key: &str) -> ! {
        panic!("{}: option {key} is read as another type than its table says", self.env)
    }

    /// The value given, or the default where there is none.
    fn read<T>(
        &self,
        key: &str,
        default: T,
        parse: impl Fn(&Value) -> Option<T>,
        expected: impl Fn() -> String,
    ) -> Result<T, EnvError> {
        let Some(value) = self.values.get(key) else { return Ok(default) };
        parse(value).ok_or_else(|| self.error(key, format!("{value}, expected {}", expected())))
    }

    /// Reads a boolean.
    ///
    /// # Errors
    /// [`EnvError::Option`] for a value of another type.
    pub fn bool(&self, key: &str) -> Result<bool, EnvError> {
        let OptionDefault::Bool(default) = self.default(key) else { self.mistyped(key) };
        self.read(key, default, Value::as_bool, || "true or false".into())
    }

    /// Reads an integer.
    ///
    /// # Errors
    /// [`EnvError::Option`] for a value of another type or out of range.
    pub fn count(&self, key: &str) -> Result<u64, EnvError> {
        let OptionDefault::Count(default, low, high) = self.default(key) else { self.mistyped(key) };
        let parse = |value: &Value| value.as_u64().filter(|count| (low..=high).contains(count));
        self.read(key, default, parse, || format!("an integer from {low} to {high}"))
    }

    /// Reads a finite number.
    ///
    /// # Errors
    /// [`EnvError::Option`] for a value of another type or out of range.
    pub fn number(&self, key: &str) -> Result<f64, EnvError> {
        let OptionDefault::Number(default, low, high) = self.default(key) else { self.mistyped(key) };
        let parse = |value: &Value| value.as_f64().filter(|number| (low..=high).contains(number));
        self.read(key, default, parse, || format!("a number from {low} to {high}"))
    }

    /// Reads a pair of bounds.
    ///
    /// # Errors
    /// [`EnvError::Option`] for a value of another type, or a lower bound that is not below the upper one.
    pub fn interval(&self, key: &str) -> Result<(f64, f64), EnvError> {
        let OptionDefault::Interval(low, high) = self.default(key) else { self.mistyped(key) };
        let bound = |value: &Value, infinite: f64| {
            if value.is_null() { Some(infinite) } else { value.as_f64() }
        };
        let parse = |value: &Value| match value.as_array()?.as_slice() {
            [low, high] => bound(low, f64::NEG_INFINITY).zip(bound(high, f64::INFINITY)).filter(|(low, high)| low < high),
            _ => None,
        };
        self.read(key, (low, high), parse, || format!("two rising numbers such as [{low}, {high}], null for no bound"))
    }

    /// Reads one of some names.
    ///
    /// # Errors
    /// [`EnvError::Option`] for another value.
    pub fn choice(&self, key: &str) -> Result<&'static str, EnvError> {
        let OptionDefault::Choice(names) = self.default(key) else { self.mistyped(key) };
        let parse = |value: &Value| names.iter().copied().find(|&name| value.as_str() == Some(name));
        self.read(key, names[0], parse, || {
            format!("one of {}", names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", "))
        })
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`EnvError::Option`] for a value of another type.
    pub fn text(&self, key: &str) -> Result<String, EnvError> {
        let OptionDefault::Text(default) = self.default(key) else { self.mistyped(key) };
        self.read(key, default.into(), |value| value.as_str().map(String::from), || "a text".into())
    }

    /// The value given, whatever it is; `None` where there is none.
    pub fn json(&self, key: &str) -> Option<&'a Value> {
        let OptionDefault::Json(_) = self.default(key) else { self.mistyped(key) };
        self.values.get(key)
    }

    /// The time limit to use where the task's own is `default`: a positive integer, or null for none.
    pub(crate) fn max_episode_steps(&self, default: Option<usize>) -> Result<Option<usize>, EnvError> {
        let parse = |value: &Value| if value.is_null() { Some(None) } else { steps(value).map(|steps| Some(steps as usize)) };
        self.read(MAX_EPISODE_STEPS, default, parse, || format!("an integer from 1 to {}", u32::MAX))
    }

    /// How rewards are delayed, if they are: a number of steps, or `"episode"`.
    pub(crate) fn reward_delay(&self) -> Result<Option<RewardDelay>, EnvError> {
        let parse = |value: &Value| match steps(value) {
            None => (value.as_str() == Some("episode")).then_some(Some(RewardDelay::Episode)),
            Some(steps) => Some(Some(RewardDelay::Steps(steps))),
        };
        self.read(REWARD_DELAY, None, parse, || format!("a number of steps from 1 to {}, or \"episode\"", u32::MAX))
    }
}

/// A positive number of steps.
fn steps(value: &Value) -> Option<u64> {
    value.as_u64().filter(|steps| (1..=u64::from(u32::MAX)).contains(steps))
}

/// The candidate nearest to `name` by edits, case aside; `None` if all are far.
pub(crate) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    candidates
        .map(|candidate| (strsim::osa_distance(&name, &candidate.to_lowercase()), candidate))
        .min_by_key(|&(distance, _)| distance)
        // Further than half of the name is no typing error.
        .filter(|&(distance, candidate)| 2 * distance <= candidate.chars().count())
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TABLE: &[OptionInfo] = &[
        OptionInfo::flag("flag", true, ""),
        OptionInfo::count("length", 7, 2, 9, ""),
        OptionInfo::number("weight", 0.5, 0.0, 3.0, ""),
        OptionInfo::interval("range", 0.7, f64::INFINITY, ""),
        OptionInfo::choice("shape", &["round", "square"], ""),
    ];

    fn with<R>(values: Value, read: impl Fn(&Options) -> Result<R, EnvError>) -> Result<R, String> {
        let Value::Object(values) = values else { unreachable!() };
        Options::new("Test-v0", TABLE, &values).and_then(|options| read(&options)).map_err(|error| error.to_string())
    }

    #[test]
    fn absent_keys_give_the_defaults_of_the_table() {
        assert_eq!(with(json!({}), |o| o.bool("flag")), Ok(true));
        assert_eq!(with(json!({}), |o| o.count("length")), Ok(7));
        assert_eq!(with(json!({}), |o| o.number("weight")), Ok(0.5));
        assert_eq!(with(json!({}), |o| o.interval("range")), Ok((0.7, f64::INFINITY)));
        assert_eq!(with(json!({}), |o| o.choice("shape")), Ok("round"));
        assert_eq!(with(json!({}), |o| o.max_episode_steps(Some(11))), Ok(Some(11)));
    }

    #[test]
    fn values_are_read_up_to_their_limits_and_refused_beyond() {
        assert_eq!(with(json!({"flag": false}), |o| o.bool("flag")), Ok(false));
        assert_eq!(with(json!({"length": 2}), |o| o.count("length")), Ok(2));
        assert_eq!(with(json!({"length": 9}), |o| o.count("length")), Ok(9));
        for wrong in [json!(1), json!(10), json!(-3), json!(2.5), json!("7"), json!(null)] {
            let error = with(json!({ "length": wrong }), |o| o.count("length")).unwrap_err();
            assert_eq!(error, format!("Test-v0: option \"length\": {wrong}, expected an integer from 2 to 9"));
        }
        assert_eq!(with(json!({"weight": 3}), |o| o.number("weight")), Ok(3.0));
        assert!(with(json!({"weight": 3.1}), |o| o.number("weight")).unwrap_err().contains("3.1, expected a number from 0 to 3"));
        assert_eq!(with(json!({"range": [null, 2]}), |o| o.interval("range")), Ok((f64::NEG_INFINITY, 2.0)));
        for wrong in [json!([2, 2]), json!([1]), json!(3), json!([1, "2"])] {
            assert!(with(json!({ "range": wrong }), |o| o.interval("range")).is_err(), "{wrong}");
        }
        assert_eq!(with(json!({"shape": "square"}), |o| o.choice("shape")), Ok("square"));
        assert!(with(json!({"shape": "oval"}), |o| o.choice("shape")).unwrap_err().ends_with("one of \"round\", \"square\""));
    }

    #[test]
    fn the_time_limit_is_positive_or_null() {
        assert_eq!(with(json!({"max_episode_steps": 3}), |o| o.max_episode_steps(Some(11))), Ok(Some(3)));
        assert_eq!(with(json!({"max_episode_steps": null}), |o| o.max_episode_steps(Some(11))), Ok(None));
        assert!(with(json!({"max_episode_steps": 0}), |o| o.max_episode_steps(None)).is_err());
    }

    #[test]
    fn an_unknown_key_names_the_nearest() {
        let error = with(json!({"lenght": 3}), |o| o.count("length")).unwrap_err();
        assert!(error.starts_with("Test-v0: option \"lenght\": unknown; did you mean \"length\"?"), "{error}");
        let error = with(json!({"colour": 3}), |o| o.count("length")).unwrap_err();
        assert!(
            error.contains("unknown (options: flag, length, weight, range, shape, max_episode_steps, reward_delay)"),
            "{error}"
        );
    }

    #[test]
    fn a_delay_of_rewards_is_steps_or_the_episode() {
        assert_eq!(with(json!({}), |o| o.reward_delay()), Ok(None));
        assert_eq!(with(json!({"reward_delay": 3}), |o| o.reward_delay()), Ok(Some(RewardDelay::Steps(3))));
        assert_eq!(with(json!({"reward_delay": "episode"}), |o| o.reward_delay()), Ok(Some(RewardDelay::Episode)));
        for wrong in [json!(0), json!(-1), json!(1.5), json!("end"), json!(null), json!(true)] {
            let error = with(json!({ "reward_delay": wrong }), |o| o.reward_delay()).unwrap_err();
            assert!(
                error.ends_with(&format!("{wrong}, expected a number of steps from 1 to 4294967295, or \"episode\"")),
                "{error}"
            );
        }
    }
}
