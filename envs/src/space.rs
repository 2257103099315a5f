//! Observation and action spaces, with Gymnasium's meaning.

use serde::{Deserialize, Serialize};

use crate::rng::Generator;

/// The number type that a space declares, which datasets keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32-bit float.
    Float32,
    /// 64-bit float.
    Float64,
    /// 64-bit integer (discrete actions).
    Int64,
}

/// A set of vectors or of indices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Space {
    /// Vectors with inclusive bounds per component, which may be infinite.
    Box {
        /// Lower bounds, one a component.
        #[serde(with = "crate::space::bounds")]
        low: Vec<f64>,
        /// Upper bounds, one a component.
        #[serde(with = "crate::space::bounds")]
        high: Vec<f64>,
        /// Declared number type.
        dtype: Dtype,
    },
    /// The integers `start .. start + n`.
    Discrete {
        /// How many.
        n: usize,
        /// The first.
        start: i64,
    },
}

impl Space {
    /// A box with the same bounds on every component.
    pub fn uniform_box(width: usize, low: f64, high: f64, dtype: Dtype) -> Self {
        Space::Box { low: vec![low; width], high: vec![high; width], dtype }
    }

    /// How many numbers a member has: the components of a box, the choices of a discrete space (its one-hot width).
    pub fn width(&self) -> usize {
        match self {
            Space::Box { low, .. } => low.len(),
            Space::Discrete { n, .. } => *n,
        }
    }

    /// Draws a member of a box as Gymnasium's `sample` does, one component after the other, in double precision: uniform between
    /// bounds, normal where there are none. One bound alone gives a shifted exponential; only that one is not NumPy's stream.
    ///
    /// # Shapes
    /// - `out`: `[width]`
    /// # Panics
    /// On a discrete space, or on a buffer of another length: a mistake of the caller's, not of any input.
    pub fn sample(&self, generator: &mut Generator, out: &mut [f64]) {
        let Space::Box { low, high, .. } = self else { panic!("sample is for boxes; sample_index for discrete spaces") };
        assert_eq!(out.len(), low.len(), "sample: the buffer's length is not the box's width");
        for ((value, &low), &high) in out.iter_mut().zip(low).zip(high) {
            let mut exponential = || -(-generator.double()).ln_1p();
            *value = match (low.is_finite(), high.is_finite()) {
                (true, true) => generator.uniform(low, high),
                (true, false) => low + exponential(),
                (false, true) => high - exponential(),
                (false, false) => generator.normal(),
            };
        }
    }

    /// Draws an index of a discrete space, as Gymnasium's `sample` does.
    ///
    /// # Panics
    /// On a box: a mistake of the caller's, not of any input.
    pub fn sample_index(&self, generator: &mut Generator) -> i64 {
        let Space::Discrete { n, start } = *self else { panic!("sample_index is for discrete spaces; sample for boxes") };
        start + i64::from(generator.below(n as u32))
    }

    /// Whether members are indices.
    pub fn is_discrete(&self) -> bool {
        matches!(self, Space::Discrete { .. })
    }
}

/// Bounds as JSON numbers, with the strings `"inf"` and `"-inf"` for what JSON has no number for.
pub(crate) mod bounds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Bound {
        Finite(f64),
        Named(String),
    }

    pub fn serialize<S: Serializer>(bounds: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(bounds.iter().map(|&bound| match bound {
            f64::INFINITY => Bound::Named("inf".into()),
            f64::NEG_INFINITY => Bound::Named("-inf".into()),
            finite => Bound::Finite(finite),
        }))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        Vec::<Bound>::deserialize(deserializer)?
            .into_iter()
            .map(|bound| match bound {
                Bound::Finite(finite) => Ok(finite),
                Bound::Named(name) => match name.as_str() {
                    "inf" => Ok(f64::INFINITY),
                    "-inf" => Ok(f64::NEG_INFINITY),
                    other => Err(D::Error::custom(format!("bound \"{other}\": expected a number, \"inf\" or \"-inf\""))),
                },
            })
            .collect()
    }
}
