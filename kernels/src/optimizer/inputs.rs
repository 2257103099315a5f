//! What a step of the optimizer reads.

use burn::tensor::{backend::Backend, ops::FloatTensor};

/// The numbers of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// Decays of the two moments.
    pub betas: [f64; 2],
    /// Added to the square root of the second moment.
    pub epsilon: f64,
    /// Decay of the parameter itself, times the learning rate; 0 makes it Adam.
    pub weight_decay: f64,
    /// How many steps the parameter has made with this one: 1 at first.
    pub time: usize,
}

impl AdamWStep {
    /// What moments that began at 0 are divided by.
    pub(crate) fn corrections(&self) -> [f64; 2] {
        self.betas.map(|beta| 1.0 - beta.powi(i32::try_from(self.time).unwrap_or(i32::MAX)))
    }

    /// What is left of the parameter.
    pub(crate) fn kept(&self) -> f64 {
        1.0 - self.learning_rate * self.weight_decay
    }
}

/// A parameter, its gradient and its moments, `[elements]` each, and its step.
#[derive(Clone, Debug)]
pub struct AdamWInputs<B: Backend> {
    /// The parameter before the step.
    pub parameter: FloatTensor<B>,
    /// The gradient before clipping.
    pub gradient: FloatTensor<B>,
    /// Running means of the gradient and of its square.
    pub moments: [FloatTensor<B>; 2],
    /// The numbers of the step.
    pub step: AdamWStep,
}

/// A parameter and its moments after a step: `[elements]` each.
#[derive(Clone, Debug)]
pub struct AdamWOutputs<B: Backend> {
    /// The parameter.
    pub parameter: FloatTensor<B>,
    /// Running means of the gradient and of its square.
    pub moments: [FloatTensor<B>; 2],
}
