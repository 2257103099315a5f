//! The optimizer: AdamW, the gradient's norm, and the average of weights.
//!
//! ```
//! use aaren_agents::device::CPU;
//! use aaren_agents::optim::AdamW;
//! use burn::backend::{Autodiff, Flex};
//! use burn::{nn::{Linear, LinearConfig}, optim::GradientsParams, tensor::Tensor};
//!
//! type Graph = Autodiff<Flex>;
//! let linear: Linear<Graph> = LinearConfig::new(1, 1).init(&CPU);
//! let weight = |linear: &Linear<Graph>| linear.weight.val().into_scalar();
//! let loss = linear.forward::<2>(Tensor::ones([1, 1], &CPU)).sum();
//! let gradients = GradientsParams::from_grads(loss.backward(), &linear);
//! let stepped = AdamW::new(1e-8, 0.0, vec![]).step(0.1, linear.clone(), gradients, Tensor::ones([1], &CPU));
//! // The first step is the learning rate, against the sign of the gradient.
//! assert!((weight(&linear) - weight(&stepped) - 0.1).abs() < 1e-5);
//! ```

mod adamw;
pub(crate) mod average;
pub(crate) mod flat;
pub(crate) mod gradient;
pub(crate) mod moments;

pub use adamw::AdamW;
