//! The gradient of a batch: in one pass, or added over its shards, wherever they are computed.

use aaren_kernels::Dropout;
use aaren_policy::PolicyState;
use anyhow::{Context, Result, ensure};
use burn::optim::GradientsParams;
use burn::tensor::{ElementConversion, Tensor};

use crate::device::{TrainBackend, Trains};
use crate::exchange::{Ranks, Shards, Tree};
use crate::offline::batch::DevicePart;
use crate::optim::flat::{flatten, unflatten};

/// What a backward pass gives.
pub(super) struct Backward<B: TrainBackend> {
    pub(super) loss: Loss<B>,
    pub(super) gradients: GradientsParams,
    /// After the rows of each part, cut from the graph.
    pub(super) states: Vec<PolicyState<B>>,
}

/// The mean loss of a batch.
pub(super) enum Loss<B: TrainBackend> {
    /// Read back, and finite.
    Read(f64),
    /// `[1]`, where reading it would make the device wait.
    OnDevice(Tensor<B::InnerBackend, 1>),
}

/// Whether a loss is a number that can be learned from.
fn check(loss: f64, step: u64) -> Result<f64> {
    ensure!(loss.is_finite(), "the loss is {loss} at step {step}; lower train.learning_rate or look at the data");
    Ok(loss)
}

/// Of a whole batch, in one pass.
///
/// # Errors
/// On the CPU, if the loss is not finite.
pub(super) fn whole<B: TrainBackend, N: Trains<B>>(
    network: &N,
    part: DevicePart<B, N>,
    state: PolicyState<B>,
    dropout: Dropout,
    step: u64,
) -> Result<Backward<B>> {
    let (loss, state) = network.loss(&part.batch, state, dropout);
    let measured = match B::IS_SYNCHRONOUS {
        true => Loss::Read(check(loss.clone().into_scalar().elem(), step)?),
        false => Loss::OnDevice(loss.clone().inner()),
    };
    let gradients = GradientsParams::from_grads(loss.backward(), network);
    Ok(Backward { loss: measured, gradients, states: vec![state.detach()] })
}

/// The mean over the shards of a batch, each with a pass of its own. Whoever works on them, the same bits.
///
/// - `dropout`: of a shard, by its number
///
/// # Errors
/// If the loss is not finite, on all ranks; or a rank that does not come.
pub(super) fn in_shards<B: TrainBackend, N: Trains<B>>(
    network: &N,
    parts: Vec<DevicePart<B, N>>,
    states: Vec<PolicyState<B>>,
    dropout: impl Fn(usize) -> Dropout,
    shards: &Shards,
    ranks: &Ranks,
    step: u64,
) -> Result<Backward<B>> {
    let (mut tree, mut losses, mut after) = (Tree::default(), Vec::new(), Vec::new());
    for ((shard, part), state) in shards.own.clone().zip(parts).zip(states) {
        let (loss, state) = network.loss(&part.batch, state, dropout(shard));
        losses.push(vec![loss.clone().into_scalar().elem::<f64>()]);
        let gradients = GradientsParams::from_grads(loss.backward(), network);
        tree.push(flatten::<B, _>(network, &gradients));
        after.push(state.detach());
    }
    let sum = ranks.mean(shards, tree, losses).with_context(|| format!("at step {step}"))?;
    let loss = check(sum.mean(0), step)?;
    Ok(Backward { loss: Loss::Read(loss), gradients: unflatten::<B, _>(network, &sum.vector), states: after })
}
