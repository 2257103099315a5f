//! Gymnasium's spaces as Minari describes them, and how their members become one row of numbers, or one choice.

use aaren_envs::{Dtype, Space};
use serde_json::Value;
use std::fmt;

/// Numbers in a flattened observation or action, at most: no vector is wider, and a damaged count stays a small allocation.
const MOST_NUMBERS: usize = 1 << 16;

/// Joint choices of a space of several choices, at most: a policy's head has an output for each.
const MOST_CHOICES: usize = 1 << 12;

/// Extents from which two dimensions of a box are those of an image.
const IMAGE_SIDE: usize = 32;

/// Spaces in spaces in spaces: no description goes deeper.
const MOST_DEPTH: usize = 32;

/// A space of Gymnasium.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Layout {
    /// Numbers, or flags (`is_flags`) where the type is boolean.
    Box {
        shape: Vec<usize>,
        low: Vec<f64>,
        high: Vec<f64>,
        dtype: Dtype,
        is_flags: bool,
    },
    Discrete {
        n: usize,
        start: i64,
    },
    MultiDiscrete {
        nvec: Vec<usize>,
        start: Vec<i64>,
    },
    MultiBinary {
        shape: Vec<usize>,
    },
    Dict(Vec<(String, Layout)>),
    Tuple(Vec<Layout>),
}

/// A part of a description that cannot be read.
#[derive(Debug, PartialEq)]
pub(crate) struct Wrong {
    /// Its key, below that of the space.
    pub(crate) part: String,
    pub(crate) found: Value,
    pub(crate) expected: String,
}

fn wrong(part: &str, value: &Value, expected: impl Into<String>) -> Wrong {
    Wrong { part: part.into(), found: value.clone(), expected: expected.into() }
}

impl Layout {
    /// Reads a space from its JSON.
    pub(crate) fn parse(value: &Value) -> Result<Self, Wrong> {
        let layout = Self::parse_at(value, 0)?;
        match layout.width() {
            1..=MOST_NUMBERS => Ok(layout),
            0 => Err(wrong("shape", value, "at least one number")),
            width => Err(wrong("shape", &width.into(), format!("at most {MOST_NUMBERS} numbers, choices counted one each"))),
        }
    }

    fn parse_at(value: &Value, depth: usize) -> Result<Self, Wrong> {
        let below = |key: &str, value: &Value| {
            Self::parse_at(value, depth + 1).map_err(|inner| Wrong { part: format!("{key}.{}", inner.part), ..inner })
        };
        if depth > MOST_DEPTH {
            return Err(wrong("subspaces", &Value::Null, format!("at most {MOST_DEPTH} spaces in each other")));
        }
        match value["type"].as_str() {
            Some("Box") => parse_box(value),
            Some("Discrete") => {
                let n = value["n"].as_u64().and_then(|n| usize::try_from(n).ok()).filter(|&n| n > 0);
                let n = n.ok_or_else(|| wrong("n", &value["n"], "a positive count"))?;
                let start = if value["start"].is_null() { Some(0) } else { value["start"].as_i64() };
                let start = start.ok_or_else(|| wrong("start", &value["start"], "an integer"))?;
                Ok(Layout::Discrete { n, start })
            }
            Some("MultiDiscrete") => {
                let counts = integers(&value["nvec"]).and_then(|counts| counts.into_iter().map(positive).collect::<Option<_>>());
                let nvec: Vec<usize> = counts.ok_or_else(|| wrong("nvec", &value["nvec"], "a list of positive counts"))?;
                let start = if value["start"].is_null() { Some(vec![0; nvec.len()]) } else { integers(&value["start"]) };
                let start = start.filter(|start| start.len() == nvec.len());
                let start = start.ok_or_else(|| wrong("start", &value["start"], "an integer for each count"))?;
                Ok(Layout::MultiDiscrete { nvec, start })
            }
            Some("MultiBinary") => {
                let shape = integers(&value["n"]).and_then(|shape| shape.into_iter().map(positive).collect::<Option<_>>());
                Ok(Layout::MultiBinary { shape: shape.ok_or_else(|| wrong("n", &value["n"], "a positive count, or a shape"))? })
            }
            Some("Dict") => {
                let subspaces = value["subspaces"].as_object();
                let subspaces = subspaces.ok_or_else(|| wrong("subspaces", &value["subspaces"], "spaces by name"))?;
                // In the order of the file, which is that of the environment's space; Gymnasium sorts a plain dict when it makes one.
                let named = subspaces.iter().map(|(key, value)| Ok((key.clone(), below(&format!("subspaces.{key}"), value)?)));
                Ok(Layout::Dict(named.collect::<Result<_, _>>()?))
            }
            Some("Tuple") => {
                let subspaces = value["subspaces"].as_array();
                let subspaces = subspaces.ok_or_else(|| wrong("subspaces", &value["subspaces"], "a list of spaces"))?;
                let all = subspaces.iter().enumerate().map(|(index, value)| below(&format!("subspaces.{index}"), value));
                Ok(Layout::Tuple(all.collect::<Result<_, _>>()?))
            }
            _ => Err(wrong(
                "type",
                &value["type"],
                "Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple, the supported spaces; record other ones through \
                 gymnasium.wrappers.FlattenObservation, or a wrapper that makes numbers of them",
            )),
        }
    }

    /// The spaces that hold numbers, each with its path, in the order in which Gymnasium flattens them.
    pub(crate) fn leaves(&self) -> Vec<(Vec<String>, &Layout)> {
        let mut leaves = Vec::new();
        self.push_leaves(&mut Vec::new(), &mut leaves);
        leaves
    }

    fn push_leaves<'a>(&'a self, path: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, &'a Layout)>) {
        let mut below = |key: String, layout: &'a Layout| {
            path.push(key);
            layout.push_leaves(path, leaves);
            path.pop();
        };
        match self {
            Layout::Dict(spaces) => spaces.iter().for_each(|(key, layout)| below(key.clone(), layout)),
            Layout::Tuple(spaces) => spaces.iter().enumerate().for_each(|(index, layout)| below(index.to_string(), layout)),
            _ => leaves.push((path.clone(), self)),
        }
    }

    /// Whether it is a vector of numbers, or one choice: what has always been stored, and needs no flattening.
    pub(crate) fn is_plain(&self) -> bool {
        match self {
            Layout::Box { shape, is_flags, .. } => shape.len() == 1 && !is_flags,
            Layout::Discrete { .. } => true,
            _ => false,
        }
    }

    /// Shape of what is stored of one member of a leaf; a single choice has none.
    pub(crate) fn stored_shape(&self) -> Vec<usize> {
        match self {
            Layout::Box { shape, .. } | Layout::MultiBinary { shape } => shape.clone(),
            Layout::MultiDiscrete { nvec, .. } => vec![nvec.len()],
            _ => Vec::new(),
        }
    }

    /// The names under which a leaf is stored, by its path: keys of dicts as they are, places in tuples as `of_index` names them.
    pub(crate) fn stored_names(&self, path: &[String], of_index: impl Fn(&str) -> String) -> Vec<String> {
        let mut space = self;
        let name = |key: &String| match space {
            Layout::Tuple(spaces) => {
                space = key.parse().ok().and_then(|index: usize| spaces.get(index)).unwrap_or(space);
                of_index(key)
            }
            Layout::Dict(spaces) => {
                space = spaces.iter().find(|(name, _)| name == key).map_or(space, |(_, space)| space);
                key.clone()
            }
            _ => key.clone(),
        };
        path.iter().map(name).collect()
    }

    /// Numbers that are stored of one member of a leaf.
    pub(crate) fn stored_width(&self) -> usize {
        match self {
            Layout::Box { low, .. } => low.len(),
            Layout::MultiDiscrete { nvec, .. } => nvec.len(),
            Layout::MultiBinary { shape } => product(shape),
            _ => 1,
        }
    }

    /// Numbers of a flattened member: those of boxes, and a flag for each choice.
    pub(crate) fn width(&self) -> usize {
        let sum = |widths: &mut dyn Iterator<Item = usize>| widths.fold(0, usize::saturating_add);
        match self {
            Layout::Box { low, .. } => low.len(),
            Layout::Discrete { n, .. } => *n,
            Layout::MultiDiscrete { nvec, .. } => sum(&mut nvec.iter().copied()),
            Layout::MultiBinary { shape } => product(shape),
            Layout::Dict(spaces) => sum(&mut spaces.iter().map(|(_, space)| space.width())),
            Layout::Tuple(spaces) => sum(&mut spaces.iter().map(Layout::width)),
        }
    }

    /// The box that the space flattens to.
    pub(crate) fn flat(&self) -> Space {
        let (mut low, mut high, mut dtype) = (Vec::new(), Vec::new(), None);
        for (_, leaf) in self.leaves() {
            let of_leaf = match leaf {
                Layout::Box { low: least, high: most, dtype, .. } => {
                    low.extend(least);
                    high.extend(most);
                    *dtype
                }
                other => {
                    low.resize(low.len() + other.width(), 0.0);
                    high.resize(high.len() + other.width(), 1.0);
                    Dtype::Int64
                }
            };
            // NumPy's promotion: integers beside single precision are double precision.
            dtype = Some(if dtype.is_none_or(|dtype| dtype == of_leaf) { of_leaf } else { Dtype::Float64 });
        }
        Space::Box { low, high, dtype: dtype.unwrap_or(Dtype::Float64) }
    }

    /// The choices that a member of a leaf is made of, each with its first value; none for numbers.
    fn choices(&self) -> Option<Vec<(usize, i64)>> {
        match self {
            Layout::Discrete { n, start } => Some(vec![(*n, *start)]),
            Layout::MultiDiscrete { nvec, start } => Some(nvec.iter().copied().zip(start.iter().copied()).collect()),
            Layout::MultiBinary { shape } => Some(vec![(2, 0); product(shape)]),
            Layout::Box { low, is_flags: true, .. } => Some(vec![(2, 0); low.len()]),
            _ => None,
        }
    }

    /// Appends flattened members of a leaf to rows of a matrix: numbers as they are, a one-hot for each choice.
    ///
    /// - `numbers`: `[rows, stored width]`
    /// - `rows`: `[rows, width]` of the whole space, where the leaf's columns begin at `column`
    ///
    /// # Errors
    /// The row of a choice that the space has not, and the number.
    pub(crate) fn place(&self, numbers: &[f64], rows: &mut [f64], width: usize, column: usize) -> Result<(), (usize, f64)> {
        let stored = self.stored_width();
        let one_hot = match self {
            Layout::Discrete { .. } | Layout::MultiDiscrete { .. } => self.choices(),
            _ => None,
        };
        for (row, (numbers, flat)) in numbers.chunks_exact(stored).zip(rows.chunks_exact_mut(width)).enumerate() {
            let Some(choices) = &one_hot else {
                flat[column..column + stored].copy_from_slice(numbers);
                continue;
            };
            let mut first = column;
            for (&number, &(n, start)) in numbers.iter().zip(choices) {
                let index = choice(number, n, start).ok_or((row, number))?;
                flat[first + index] = 1.0;
                first += n;
            }
        }
        Ok(())
    }
}

/// As Gymnasium names spaces, without bounds: `Dict(position: Box(3), gripper: Discrete(2))`.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
        let inner = match self {
            Layout::Box { shape, .. } => format!("Box({})", list(&mut shape.iter().map(usize::to_string))),
            Layout::Discrete { n, .. } => format!("Discrete({n})"),
            Layout::MultiDiscrete { nvec, .. } => format!("MultiDiscrete({})", list(&mut nvec.iter().map(usize::to_string))),
            Layout::MultiBinary { shape } => format!("MultiBinary({})", list(&mut shape.iter().map(usize::to_string))),
            Layout::Dict(spaces) => format!("Dict({})", list(&mut spaces.iter().map(|(key, space)| format!("{key}: {space}")))),
            Layout::Tuple(spaces) => format!("Tuple({})", list(&mut spaces.iter().map(Layout::to_string))),
        };
        f.write_str(&inner)
    }
}

/// How actions of a space are taken: numbers, or one choice among all joint ones.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ActionLayout {
    /// Numbers within bounds, those of all leaves in order.
    Numbers,
    /// One choice.
    Choice,
    /// Several choices at once, as one of their joint choices: the last one varies fastest, as in NumPy's `ravel_multi_index`.
    Joint(Vec<(usize, i64)>),
}

impl ActionLayout {
    /// How a policy can act in a space, and the space that it acts in.
    ///
    /// # Errors
    /// Why it cannot, and what to do.
    pub(crate) fn of(layout: &Layout) -> Result<(Self, Space), String> {
        if let Layout::Discrete { n, start } = *layout {
            return Ok((ActionLayout::Choice, Space::Discrete { n, start }));
        }
        let leaves = layout.leaves();
        let choices: Vec<Option<Vec<(usize, i64)>>> = leaves.iter().map(|(_, leaf)| leaf.choices()).collect();
        if choices.iter().all(Option::is_none) {
            return Ok((ActionLayout::Numbers, layout.flat()));
        }
        let choices: Option<Vec<_>> = choices.into_iter().collect();
        let choices = choices
            .ok_or(
                "has numbers and choices, and a policy acts in either; record with an action wrapper that makes one kind of them",
            )?
            .concat();
        let joint = choices.iter().try_fold(1usize, |joint, (n, _)| joint.checked_mul(*n)).filter(|&joint| joint <= MOST_CHOICES);
        let n = joint.ok_or_else(|| {
            let counts = choices.iter().map(|(n, _)| n.to_string()).collect::<Vec<_>>().join(" x ");
            format!(
                "has {counts} joint choices, and a policy chooses among {MOST_CHOICES} at most; record with an action wrapper that                  leaves fewer"
            )
        })?;
        Ok((ActionLayout::Joint(choices), Space::Discrete { n, start: 0 }))
    }
}

/// The joint choice that a row of choices is.
///
/// # Errors
/// The number that is none of its choices.
pub(crate) fn joint_choice(row: &[f64], choices: &[(usize, i64)]) -> Result<i64, f64> {
    let joint = row
        .iter()
        .zip(choices)
        .try_fold(0, |joint, (&number, &(n, start))| Ok(joint * n + choice(number, n, start).ok_or(number)?));
    joint.map(|joint| joint as i64)
}

/// The place of a number among `n` choices from `start` on.
fn choice(number: f64, n: usize, start: i64) -> Option<usize> {
    let index = number - start as f64;
    (index >= 0.0 && index < n as f64 && index.fract() == 0.0).then_some(index as usize)
}

fn product(shape: &[usize]) -> usize {
    shape.iter().fold(1, |product: usize, &extent| product.saturating_mul(extent))
}

fn positive(number: i64) -> Option<usize> {
    usize::try_from(number).ok().filter(|&number| number > 0)
}

/// Integers of a number or of lists of them, in order.
fn integers(value: &Value) -> Option<Vec<i64>> {
    flatten(value, MOST_DEPTH)?.into_iter().map(Value::as_i64).collect()
}

/// The values in lists of lists, in order.
fn flatten(value: &Value, depth: usize) -> Option<Vec<&Value>> {
    match value.as_array() {
        None => Some(vec![value]),
        Some(_) if depth == 0 => None,
        Some(items) => items.iter().try_fold(Vec::new(), |mut all, item| {
            all.append(&mut flatten(item, depth - 1)?);
            Some(all)
        }),
    }
}

fn parse_box(value: &Value) -> Result<Layout, Wrong> {
    let shape: Option<Vec<usize>> =
        value["shape"].as_array().and_then(|shape| shape.iter().map(|extent| positive(extent.as_i64()?)).collect());
    let shape = shape.ok_or_else(|| wrong("shape", &value["shape"], "positive dimensions"))?;
    let name = value["dtype"].as_str().unwrap_or_default();
    let sides = shape.iter().filter(|&&extent| extent >= IMAGE_SIDE).count();
    if sides >= 2 && (name == "uint8" || shape.len() > 2) {
        let found = Value::String(format!("{name} of shape {}", value["shape"]));
        let expected = "numbers: images are not supported; record what the task is told as numbers, such as its state";
        return Err(wrong("dtype", &found, expected));
    }
    let (dtype, is_flags) = match name {
        "float16" | "float32" => (Dtype::Float32, false),
        "float64" => (Dtype::Float64, false),
        "bool" => (Dtype::Int64, true),
        "int8" | "int16" | "int32" | "int64" | "uint8" | "uint16" | "uint32" | "uint64" => (Dtype::Int64, false),
        _ => return Err(wrong("dtype", &value["dtype"], "a type of floats, integers or booleans")),
    };
    let width = product(&shape);
    let bounds = |key: &str| {
        let bounds: Option<Vec<f64>> = flatten(&value[key], MOST_DEPTH)?.into_iter().map(bound).collect();
        bounds.filter(|bounds| bounds.len() == width)
    };
    let low = bounds("low").ok_or_else(|| wrong("low", &value["low"], "one bound for each component"))?;
    let high = bounds("high").ok_or_else(|| wrong("high", &value["high"], "one bound for each component"))?;
    Ok(Layout::Box { shape, low, high, dtype, is_flags })
}

/// A bound: a number, a flag, or an infinity by its name.
pub(crate) fn bound(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => value.as_f64().or_else(|| value.as_bool().map(f64::from)),
    }
}
