//! The mean of a sequence's features so far, which a stream carries on as training has it.

use aaren_kernels::{KernelBackend, gated_recurrence};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::reset::Reset;
use crate::state::tensor_state;

/// Which features an output is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// Those of its token.
    #[default]
    Last,
    /// The mean of those of all tokens of the sequence so far.
    Mean,
}

tensor_state! {
    /// The mean so far.
    PoolState {
        /// `[batch, width]`
        mean: 2,
    }
}

impl<B: KernelBackend> PoolState<B> {
    /// Of sequences that have not begun.
    pub(super) fn initial(batch: usize, width: usize, device: &B::Device) -> Self {
        Self { mean: Tensor::zeros([batch, width], device) }
    }
}

/// `c_t = (1 - s_t) c_{t-1} + s_t h_t`, where `s_t` is one over the number of tokens of the sequence so far; and the state after the last token.
///
/// # Shapes
/// - `features`: `[batch * time, width]`
/// - `shares`: every `s_t`, `[batch * time, 1]`
pub(super) fn running_mean<B: KernelBackend>(
    features: Tensor<B, 2>,
    shares: Tensor<B, 2>,
    reset: &Reset<B>,
    state: PoolState<B>,
) -> (Tensor<B, 2>, PoolState<B>) {
    let (batch, time, width) = (reset.batch(), reset.time(), features.dims()[1]);
    let rows = |x: Tensor<B, 2>| x.reshape([batch, time, width]);
    let (kept, added) = ((shares.clone().neg() + 1.0).repeat_dim(1, width), features * shares);
    let means = gated_recurrence(rows(kept), rows(added), reset.tensor(), state.mean);
    let mean = means.clone().slice([0..batch, time - 1..time, 0..width]).reshape([batch, width]);
    (means.reshape([batch * time, width]), PoolState { mean })
}
