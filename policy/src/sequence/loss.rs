//! What outputs are, and how far they are from what was due.

use aaren_kernels::KernelBackend;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};
use serde::{Deserialize, Serialize};

/// What outputs are, and how far they are from what was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// Logits of so many classes, judged by their cross-entropy in nats.
    Classes(usize),
}

impl Loss {
    /// Numbers of an output.
    pub fn width(self) -> usize {
        match self {
            Loss::Classes(classes) => classes,
        }
    }

    /// The mean over what is due, by weight.
    ///
    /// # Shapes
    /// - `outputs`: `[due, width]`
    /// - `classes`: `[due]`
    /// - `weights`: `[due]`, which sum to 1; none where all are alike
    /// - returns: `[1]`
    pub(super) fn of<B: KernelBackend>(
        self,
        outputs: Tensor<B, 2>,
        classes: Tensor<B, 1, Int>,
        weights: Option<Tensor<B, 1>>,
    ) -> Tensor<B, 1> {
        let Loss::Classes(_) = self;
        let right = log_softmax(outputs, 1).gather(1, classes.unsqueeze_dim(1)); // [due, 1]
        match weights {
            None => right.mean().neg(),
            Some(weights) => (right * weights.unsqueeze_dim(1)).sum().neg(),
        }
    }
}
