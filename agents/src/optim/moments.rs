//! The moments of an optimizer as a file holds them: looked at before a tensor is made of them.

use aaren_kernels::KernelBackend;
use anyhow::{Context, Result, bail, ensure};
use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::record::AdaptorRecord;
use burn::optim::{AdamW as BurnAdamW, AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{DType, Tensor, TensorData};
use serde::Deserialize;
use std::collections::HashMap;
use std::{fs, path::Path};

/// Moments by parameter, in the form in which Burn's own AdamW stores them: what an optimizer has to find again.
pub(crate) type Moments<B, M> = <OptimizerAdaptor<BurnAdamW, M, B> as Optimizer<M, B>>::Record;

/// More steps than any training makes.
const MOST_STEPS: usize = 1 << 48;

/// Burn's record of an optimizer, named MessagePack, as far as AdamW's goes.
#[derive(Deserialize)]
struct Stored {
    item: HashMap<String, Version>,
}

#[derive(Deserialize)]
enum Version {
    V1(Rank),
}

/// Burn names a parameter's number of axes.
#[derive(Deserialize)]
enum Rank {
    Rank1(Momentum),
    Rank2(Momentum),
    Rank3(Momentum),
    Rank4(Momentum),
}

#[derive(Deserialize)]
struct Momentum {
    momentum: Parts,
}

#[derive(Deserialize)]
struct Parts {
    time: usize,
    moment_1: TensorData,
    moment_2: TensorData,
}

/// Reads the moments of a module's parameters.
///
/// # Errors
/// If the file cannot be read, or holds anything else.
pub(super) fn stored_moments<B, M>(path: &Path, module: &M) -> Result<Moments<B, M>>
where
    B: AutodiffBackend<InnerBackend: KernelBackend>,
    M: AutodiffModule<B>,
{
    let name = path.display();
    let bytes = fs::read(path).with_context(|| format!("cannot read {name}"))?;
    let stored: Stored = rmp_serde::from_slice(&bytes).with_context(|| format!("{name}: not an optimizer's moments"))?;
    let mut taken: Taken<B, M> = Taken { stored: stored.item, moments: Moments::<B, M>::default(), problem: None };
    module.visit(&mut taken);
    if let Some(problem) = taken.problem {
        bail!("{name}: {problem}");
    }
    let left = taken.stored.len();
    ensure!(left == 0, "{name}: holds moments of {left} parameters that the policy does not have");
    Ok(taken.moments)
}

/// Takes the moments of every parameter out of what is stored.
struct Taken<B: AutodiffBackend, M: AutodiffModule<B>> {
    stored: HashMap<String, Version>,
    moments: Moments<B, M>,
    problem: Option<String>,
}

impl<B, M> ModuleVisitor<B> for Taken<B, M>
where
    B: AutodiffBackend<InnerBackend: KernelBackend>,
    M: AutodiffModule<B>,
{
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let key = param.id.serialize();
        // A parameter that has had no gradient has none.
        let Some(Version::V1(rank)) = self.stored.remove(&key) else { return };
        let (axes, parts) = match rank {
            Rank::Rank1(moments) => (1, moments.momentum),
            Rank::Rank2(moments) => (2, moments.momentum),
            Rank::Rank3(moments) => (3, moments.momentum),
            Rank::Rank4(moments) => (4, moments.momentum),
        };
        let (shape, device) = (param.lazy_shape(), param.lazy_device());
        let fits =
            |data: &TensorData| data.dtype == DType::F32 && data.shape == shape && data.bytes.len() == 4 * shape.num_elements();
        if axes != D || parts.time > MOST_STEPS || !fits(&parts.moment_1) || !fits(&parts.moment_2) {
            self.problem.get_or_insert(format!("the moments of parameter {key} are not those of numbers of shape {shape:?}"));
            return;
        }
        let tensor = |data: TensorData| Tensor::<B::InnerBackend, D>::from_data(data, &device);
        let state = AdaptiveMomentumState::new(parts.time, tensor(parts.moment_1), tensor(parts.moment_2));
        self.moments.insert(param.id, AdaptorRecord::from_state(AdamWState::new(state)));
    }
}

/// Steps and bytes of the moments in a file, by parameter: Burn writes them in any order.
#[cfg(test)]
pub(crate) fn moments_in(path: &Path) -> std::collections::BTreeMap<String, (usize, Vec<u8>, Vec<u8>)> {
    let stored: Stored = rmp_serde::from_slice(&fs::read(path).unwrap()).unwrap();
    let of = |Version::V1(rank)| {
        let (Rank::Rank1(moments) | Rank::Rank2(moments) | Rank::Rank3(moments) | Rank::Rank4(moments)) = rank;
        let Parts { time, moment_1, moment_2 } = moments.momentum;
        (time, moment_1.as_bytes().to_vec(), moment_2.as_bytes().to_vec())
    };
    stored.item.into_iter().map(|(name, version)| (name, of(version))).collect()
}
