//! The optimizer's step on a graph: the reference, for no training step differentiates through it.

use super::ops::OptimizerOps;
use burn::backend::autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};

impl<B: OptimizerOps, C: CheckpointStrategy> OptimizerOps for Autodiff<B, C> {}
