//! Options of a task: what there is, its default and its help in one table a task, read with checks.

use std::{fmt, ops::RangeInclusive};

use serde_json::{Map, Value};

use crate::{delayed_reward::RewardDelay, error::EnvError};

/// One option of a task.
#[derive(Clone, Copy, Debug)]
pub struct OptionInfo {
    /// Its key in the options object.
    pub key: &'static str,
    /// What holds when the key is absent.
    pub default: OptionDefault,
    /// One sentence: meaning and unit.
    pub help: &'static str,
}

/// The default of an option, which also says what kind of value it takes.
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
}

impl fmt::Display for OptionDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Count(value, ..) => write!(f, "{value}"),
            Self::Number(value, ..) => write!(f, "{value}"),
            Self::Interval(low, high) => write!(f, "[{low}, {high}]"),
            Self::Choice(names) => write!(f, "{}", names[0]),
        }
    }
}

/// The options given for one task, checked against its table.
pub(crate) struct Options<'a> {
    env: &'static str,
    table: &'static [OptionInfo],
    values: &'a Map<String, Value>,
}

/// Accepted for every task, so no task lists them.
pub(crate) const MAX_EPISODE_STEPS: &str = "max_episode_steps";
pub(crate) const REWARD_DELAY: &str = "reward_delay";

impl<'a> Options<'a> {
    /// Options of `env`, whose keys must be in `table` (or be those of every task).
    pub(crate) fn new(env: &'static str, table: &'static [OptionInfo], values: &'a Map<String, Value>) -> Result<Self, EnvError> {
        let options = Self { env, table, values };
        let known = || table.iter().map(|option| option.key).chain([MAX_EPISODE_STEPS, REWARD_DELAY]);
        match values.keys().find(|&key| known().all(|known| known != key)) {
            None => Ok(options),
            Some(key) => {
                let all = known().collect::<Vec<_>>().join(", ");
                let problem = match nearest(key, known()) {
                    Some(near) => format!("unknown; did you mean \"{near}\"? (options: {all})"),
                    None => format!("unknown (options: {all})"),
                };
                Err(options.error(key, problem))
            }
        }
    }

    pub(crate) fn error(&self, key: &str, problem: String) -> EnvError {
        EnvError::Option { env: self.env.into(), key: key.into(), problem }
    }

    fn wrong(&self, key: &str, found: &Value, expected: String) -> EnvError {
        self.error(key, format!("{found}, expected {expected}"))
    }

    /// The value given, if any, and the table's default.
    fn get(&self, key: &str) -> (Option<&'a Value>, OptionDefault) {
        let info = self.table.iter().find(|option| option.key == key);
        let default = info.unwrap_or_else(|| panic!("{}: option {key} is read but is not in the table", self.env)).default;
        (self.values.get(key), default)
    }

    fn mistyped(&self, key: &str) -> ! {
        panic!("{}: option {key} is read as another type than its table says", self.env)
    }

    pub(crate) fn bool(&self, key: &str) -> Result<bool, EnvError> {
        match self.get(key) {
            (None, OptionDefault::Bool(default)) => Ok(default),
            (Some(value), OptionDefault::Bool(_)) => {
                value.as_bool().ok_or_else(|| self.wrong(key, value, "true or false".into()))
            }
            _ => self.mistyped(key),
        }
    }

    pub(crate) fn count(&self, key: &str) -> Result<u64, EnvError> {
        match self.get(key) {
            (None, OptionDefault::Count(default, ..)) => Ok(default),
            (Some(value), OptionDefault::Count(_, low, high)) => self.integer(key, value, low..=high),
            _ => self.mistyped(key),
        }
    }

    fn integer(&self, key: &str, value: &Value, range: RangeInclusive<u64>) -> Result<u64, EnvError> {
        value
            .as_u64()
            .filter(|count| range.contains(count))
            .ok_or_else(|| self.wrong(key, value, format!("an integer from {} to {}", range.start(), range.end())))
    }

    pub(crate) fn number(&self, key: &str) -> Result<f64, EnvError> {
        match self.get(key) {
            (None, OptionDefault::Number(default, ..)) => Ok(default),
            (Some(value), OptionDefault::Number(_, low, high)) => value
                .as_f64()
                .filter(|number| (low..=high).contains(number))
                .ok_or_else(|| self.wrong(key, value, format!("a number from {low} to {high}"))),
            _ => self.mistyped(key),
        }
    }

    #[cfg_attr(not(feature = "mujoco"), allow(dead_code, reason = "only the MuJoCo tasks have such options"))]
    pub(crate) fn interval(&self, key: &str) -> Result<(f64, f64), EnvError> {
        let (value, default) = match self.get(key) {
            (None, OptionDefault::Interval(low, high)) => return Ok((low, high)),
            (Some(value), OptionDefault::Interval(low, high)) => (value, (low, high)),
            _ => self.mistyped(key),
        };
        let bound = |value: &Value, infinite: f64| {
            if value.is_null() { Some(infinite) } else { value.as_f64() }
        };
        let bounds = match value.as_array().map(Vec::as_slice) {
            Some([low, high]) => bound(low, f64::NEG_INFINITY).zip(bound(high, f64::INFINITY)),
            _ => None,
        };
        bounds.filter(|(low, high)| low < high).ok_or_else(|| {
            self.wrong(key, value, format!("two rising numbers such as [{}, {}], null for no bound", default.0, default.1))
        })
    }

    pub(crate) fn choice(&self, key: &str) -> Result<&'static str, EnvError> {
        match self.get(key) {
            (None, OptionDefault::Choice(names)) => Ok(names[0]),
            (Some(value), OptionDefault::Choice(names)) => {
                names.iter().copied().find(|&name| value.as_str() == Some(name)).ok_or_else(|| {
                    let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
                    self.wrong(key, value, format!("one of {}", names.join(", ")))
                })
            }
            _ => self.mistyped(key),
        }
    }

    /// The time limit to use where the task's own is `default`: a positive integer, or null for none.
    pub(crate) fn max_episode_steps(&self, default: Option<usize>) -> Result<Option<usize>, EnvError> {
        match self.values.get(MAX_EPISODE_STEPS) {
            None => Ok(default),
            Some(Value::Null) => Ok(None),
            Some(value) => self.integer(MAX_EPISODE_STEPS, value, 1..=u64::from(u32::MAX)).map(|steps| Some(steps as usize)),
        }
    }

    /// How rewards are delayed, if they are: a number of steps, or `"episode"`.
    pub(crate) fn reward_delay(&self) -> Result<Option<RewardDelay>, EnvError> {
        let Some(value) = self.values.get(REWARD_DELAY) else { return Ok(None) };
        let steps = value.as_u64().filter(|steps| (1..=u64::from(u32::MAX)).contains(steps));
        match (steps, value.as_str()) {
            (Some(steps), _) => Ok(Some(RewardDelay::Steps(steps))),
            (_, Some("episode")) => Ok(Some(RewardDelay::Episode)),
            _ => Err(self.wrong(REWARD_DELAY, value, format!("a number of steps from 1 to {}, or \"episode\"", u32::MAX))),
        }
    }
}

/// The candidate that `name` most likely meant: few edits away, case aside.
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
        OptionInfo { key: "flag", default: OptionDefault::Bool(true), help: "" },
        OptionInfo { key: "length", default: OptionDefault::Count(7, 2, 9), help: "" },
        OptionInfo { key: "weight", default: OptionDefault::Number(0.5, 0.0, 3.0), help: "" },
        OptionInfo { key: "range", default: OptionDefault::Interval(0.7, f64::INFINITY), help: "" },
        OptionInfo { key: "shape", default: OptionDefault::Choice(&["round", "square"]), help: "" },
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
