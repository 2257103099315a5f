//! The HDF5 storage: a group an episode, arrays in it, and a group where a space has several.

use super::metadata::Spaces;
use super::stored::{Episodes, Rows, Stored};
use crate::error::DatasetError;
use crate::hdf5::{Array, Hdf5, Node};
use hdf5_pure::AttrValue;

impl Rows for Array<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn rows(&self) -> u64 {
        Array::rows(self)
    }

    fn expect_shape(&self, shape: &[usize], who: &str) -> Result<(), DatasetError> {
        let row = self.shape.get(1..).unwrap_or_default();
        let fits = !self.shape.is_empty() && row.iter().copied().eq(shape.iter().map(|&extent| extent as u64));
        match shape {
            _ if fits => Ok(()),
            [] => self.expect_column(),
            _ => {
                let extents: Vec<String> = shape.iter().map(usize::to_string).collect();
                Err(self.shape_error(format!("[rows, {}] ({who})", extents.join(", "))))
            }
        }
    }

    fn f64s(&self) -> Result<Vec<f64>, DatasetError> {
        match self.is_enum() {
            true => Ok(Array::flags(self)?.into_iter().map(f64::from).collect()),
            false => Array::f64s(self),
        }
    }

    fn f32s(&self) -> Result<Vec<f32>, DatasetError> {
        Array::f32s(self)
    }

    fn i64s(&self) -> Result<Vec<i64>, DatasetError> {
        Array::i64s(self)
    }

    fn flags(&self) -> Result<Vec<bool>, DatasetError> {
        Array::flags(self)
    }
}

/// Reads all episodes.
pub(super) fn read(hdf5: &Hdf5, spaces: &Spaces, episodes: &mut Episodes<'_>) -> Result<(), DatasetError> {
    // The file lists groups alphabetically, episode_10 before episode_2: order them by number.
    let number = |name: &str| name.strip_prefix("episode_").and_then(|digits| digits.parse::<u64>().ok());
    let groups = hdf5.root()?.groups()?;
    let mut found: Vec<(u64, Node)> = groups.into_iter().filter_map(|(name, node)| Some((number(&name)?, node))).collect();
    found.sort_by_key(|&(number, _)| number);
    if found.is_empty() {
        return Err(DatasetError::invalid(hdf5.path(), "no episodes: nothing can be trained on"));
    }
    let count = found.len() as u64;
    if let Some(missing) = (0..count).find(|&k| found[k as usize].0 != k) {
        let problem = format!("episode_{missing} is missing: the {count} episodes must be numbered from 0 without gaps");
        let missing = episodes.incomplete(missing, problem);
        episodes.push::<Array>(count, Err(missing))?;
    }
    for (episode, node) in &found {
        let stored = read_episode(*episode, node, spaces, episodes);
        episodes.push(*episode, stored)?;
    }
    Ok(())
}

fn read_episode<'a>(
    episode: u64,
    node: &Node<'a>,
    spaces: &Spaces,
    episodes: &Episodes<'_>,
) -> Result<Stored<Array<'a>>, DatasetError> {
    let incomplete = |error: DatasetError| match error {
        DatasetError::Array { array, problem, .. } => episodes.incomplete(episode, format!("{array} {problem}")),
        other => other,
    };
    let mut arrays = node.arrays()?;
    let mut take = |name: &str| arrays.take(name).map_err(incomplete);
    let mut take_all = |name: &str, space: &super::layout::Layout| -> Result<Vec<Array<'a>>, DatasetError> {
        let leaves = space.leaves();
        match &leaves[..] {
            [(path, _)] if path.is_empty() => Ok(vec![take(name)?]),
            // Names that only a tuple's members have.
            _ => leaves.iter().map(|(path, _)| take_leaf(node, name, space, path).map_err(incomplete)).collect(),
        }
    };
    let (observations, actions) = (take_all("observations", &spaces.observations)?, take_all("actions", &spaces.actions)?);
    let [rewards, terminations, truncations] = [take("rewards")?, take("terminations")?, take("truncations")?];
    let seed = match node.attributes().get("seed") {
        Some(&AttrValue::I64(seed)) => u64::try_from(seed).ok(),
        Some(&AttrValue::U64(seed)) => Some(seed),
        _ => None,
    };
    Ok(Stored { observations, actions, rewards, terminations, truncations, seed })
}

/// The array of a leaf: in a group for each space around it, by the key of a dict or `_index_N` of a tuple.
fn take_leaf<'a>(node: &Node<'a>, name: &str, space: &super::layout::Layout, path: &[String]) -> Result<Array<'a>, DatasetError> {
    let names = space.stored_names(path, |index| format!("_index_{index}"));
    let (last, groups) = names.split_last().expect("a leaf below a space has a name");
    let inner = std::iter::once(name).chain(groups.iter().map(String::as_str));
    let mut group = None;
    for name in inner {
        group = Some(group.as_ref().unwrap_or(node).group(name)?);
    }
    group.expect("at least one group").arrays()?.take(last)
}
