//! Numbers that JSON cannot hold: NaN and the infinities, which are written as null, and seeds of 64 bits, of which many readers keep
//! 53, so that they are written as text.

use serde::{Deserialize, Deserializer};

/// A number, or null for NaN.
pub(super) fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// A list of numbers, each of which may be null for NaN.
pub(super) fn nulls_are_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let numbers: Vec<Option<f64>> = Vec::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|number| number.unwrap_or(f64::NAN)).collect())
}

/// A seed as text; reports of older versions have a number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seed {
    Number(u64),
    Text(String),
}

impl Seed {
    fn value<E: serde::de::Error>(self) -> Result<u64, E> {
        match self {
            Seed::Number(seed) => Ok(seed),
            Seed::Text(text) => text.parse().map_err(|_| E::custom(format!("found {text:?}, expected a seed"))),
        }
    }
}

/// For `#[serde(with)]`: a seed.
pub(crate) mod seed {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(seed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(seed)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        super::Seed::deserialize(deserializer)?.value()
    }
}

/// For `#[serde(with)]`: a list of seeds.
pub(crate) mod seeds {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(seeds: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(seeds.iter().map(u64::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
        Vec::<super::Seed>::deserialize(deserializer)?.into_iter().map(super::Seed::value).collect()
    }
}
