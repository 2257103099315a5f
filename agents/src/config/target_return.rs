//! Which return a policy is asked for.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which return a policy is asked for. In JSON a number, or `"best"` for the highest of the data, or a share of it such as `"0.9 best"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TargetReturn {
    /// This one, in units of reward.
    Return(f64),
    /// So much of the highest return in the data.
    OfBest(f64),
}

impl TargetReturn {
    /// The return itself, if it is known without the data.
    pub fn known(self) -> Option<f64> {
        match self {
            TargetReturn::Return(target) => Some(target),
            TargetReturn::OfBest(_) => None,
        }
    }

    /// The return where the highest one in the data is known. A share below 1 asks for less than the highest, also where that is
    /// negative: 0.9 of -200 is -220.
    pub(crate) fn of(self, best: f64) -> f64 {
        match self {
            TargetReturn::Return(target) => target,
            TargetReturn::OfBest(share) => best - (1.0 - share) * best.abs(),
        }
    }
}

impl From<f64> for TargetReturn {
    fn from(target: f64) -> Self {
        TargetReturn::Return(target)
    }
}

impl fmt::Display for TargetReturn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetReturn::Return(target) => write!(f, "{target}"),
            TargetReturn::OfBest(1.0) => f.write_str("best"),
            TargetReturn::OfBest(share) => write!(f, "{share} best"),
        }
    }
}

impl schemars::JsonSchema for TargetReturn {
    fn schema_name() -> Cow<'static, str> {
        "TargetReturn".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "type": "number" }, { "type": "string", "pattern": "^([0-9.]+ )?best$" }] })
    }
}

impl Serialize for TargetReturn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            TargetReturn::Return(target) => serializer.serialize_f64(*target),
            TargetReturn::OfBest(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for TargetReturn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = TargetReturn;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a return, \"best\" for the highest of the data, or a share of it above 0 and up to 1 such as \"0.9 best\"",
                )
            }
            fn visit_f64<E: de::Error>(self, target: f64) -> Result<TargetReturn, E> {
                Ok(TargetReturn::Return(target))
            }
            fn visit_u64<E: de::Error>(self, target: u64) -> Result<TargetReturn, E> {
                Ok(TargetReturn::Return(target as f64))
            }
            fn visit_i64<E: de::Error>(self, target: i64) -> Result<TargetReturn, E> {
                Ok(TargetReturn::Return(target as f64))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<TargetReturn, E> {
                let share = text.strip_suffix("best").and_then(|share| match share.trim_ascii() {
                    "" if share.is_empty() => Some(1.0),
                    number => number.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0),
                });
                share.map(TargetReturn::OfBest).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_target_is_read_as_it_is_written() {
        for (written, target) in [
            (json!(-200.5), TargetReturn::Return(-200.5)),
            (json!("best"), TargetReturn::OfBest(1.0)),
            (json!("0.9 best"), TargetReturn::OfBest(0.9)),
        ] {
            assert_eq!(serde_json::from_value::<TargetReturn>(written.clone()).unwrap(), target);
            assert_eq!(serde_json::to_value(target).unwrap(), written);
        }
        assert_eq!(serde_json::from_value::<TargetReturn>(json!(3)).unwrap(), TargetReturn::Return(3.0));
        for wrong in
            [json!("worst"), json!("1.1 best"), json!("0 best"), json!("x best"), json!(" best"), json!(true), json!(null)]
        {
            let error = serde_json::from_value::<TargetReturn>(wrong.clone()).unwrap_err().to_string();
            assert!(error.contains("\"0.9 best\""), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_share_of_the_best_is_less_than_the_best() {
        let near = |share, best, expected: f64| (TargetReturn::OfBest(share).of(best) - expected).abs() < 1e-9;
        assert!(near(1.0, -200.0, -200.0) && near(0.9, 3000.0, 2700.0) && near(0.9, -200.0, -220.0));
        assert_eq!(TargetReturn::Return(7.0).of(3.0), 7.0);
    }
}
