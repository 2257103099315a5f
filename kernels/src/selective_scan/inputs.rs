//! What a selective scan reads and returns.

use burn::tensor::{Tensor, backend::Backend, ops::FloatTensor};

/// The inputs of a selective scan as the backends see them.
#[derive(Clone, Debug)]
pub struct SelectiveInputs<B: Backend> {
    /// `u`: `[batch, time, channels]`
    pub inputs: FloatTensor<B>,
    /// `delta`, the step, positive: `[batch, time, channels]`
    pub steps: FloatTensor<B>,
    /// `A`, negative: `[states, channels]`
    pub decays: FloatTensor<B>,
    /// `B`: `[batch, time, states]`
    pub writes: FloatTensor<B>,
    /// `C`: `[batch, time, states]`
    pub reads: FloatTensor<B>,
    /// `h_0`: `[batch, states, channels]`
    pub carry: FloatTensor<B>,
    /// `[batch, time]`, true on the first token of an episode
    pub reset: B::BoolTensorPrimitive,
}

/// Gradients of a loss, in the order of the fields of [`SelectiveInputs`], without the flags.
#[derive(Clone, Debug)]
pub struct SelectiveGradients<B: Backend>(pub [FloatTensor<B>; 6]);

/// Everything that a selective scan is given, as tensors.
#[derive(Clone, Debug)]
pub struct SelectiveScan<B: Backend> {
    /// `u`: `[batch, time, channels]`
    pub inputs: Tensor<B, 3>,
    /// `delta`, the step, positive: `[batch, time, channels]`
    pub steps: Tensor<B, 3>,
    /// `A`, negative: `[states, channels]`
    pub decays: Tensor<B, 2>,
    /// `B`: `[batch, time, states]`
    pub writes: Tensor<B, 3>,
    /// `C`: `[batch, time, states]`
    pub reads: Tensor<B, 3>,
}
