//! What scans read and return.

use crate::inputs::op_inputs;
use burn::tensor::{Tensor, backend::Backend, ops::FloatTensor};

/// What one scan hands to the next: the log-sum-exp of the scores so far, and the attention over them.
#[derive(Clone, Debug)]
pub struct ScanCarry<B: Backend> {
    /// `[batch, heads]`; `-inf` where nothing has been seen.
    pub log_sum: Tensor<B, 2>,
    /// `[batch, heads, head_dim]`; zero where nothing has been seen.
    pub output: Tensor<B, 3>,
}

impl<B: Backend> ScanCarry<B> {
    /// The carry of a sequence that has not begun.
    pub fn empty(batch: usize, heads: usize, head_dim: usize, device: &B::Device) -> Self {
        Self {
            log_sum: Tensor::full([batch, heads], f32::NEG_INFINITY, device),
            output: Tensor::zeros([batch, heads, head_dim], device),
        }
    }
}

op_inputs! {
    /// The inputs of a scan as the backends see them.
    ScanInputs {
        /// `[batch, heads, time]`
        scores: 3,
        /// `[batch, heads, time, head_dim]`
        values: 4,
        /// `[batch, heads]`
        carry_log_sum: 2,
        /// `[batch, heads, head_dim]`
        carry_output: 3,
    }
    others {
        /// `[batch, time]`, true on the first token of an episode
        reset: B::BoolTensorPrimitive,
    }
    /// Gradients of a loss for everything that a scan reads and that is differentiable.
    gradients ScanGradients
    views ScanViews
}

/// What a scan computes for every prefix.
#[derive(Clone, Debug)]
pub struct ScanOutputs<B: Backend> {
    /// `[batch, heads, time, head_dim]`
    pub outputs: FloatTensor<B>,
    /// Log-sum-exp of the scores of every prefix: `[batch, heads, time]`
    pub log_sums: FloatTensor<B>,
}

op_inputs! {
    /// The inputs of a running log-sum-exp as the backends see them.
    LogSumInputs {
        /// `[batch, heads, time]`
        scores: 3,
        /// `L_0`: `[batch, heads]`
        carry: 2,
    }
    others {
        /// `[batch, time]`, true on the first token of an episode
        reset: B::BoolTensorPrimitive,
    }
    /// Gradients of a loss for everything that a running log-sum-exp reads and that is differentiable.
    gradients LogSumGradients
    views LogSumViews
}
