//! The optimizer's step: the norm of the gradient over all parameters, and AdamW on the gradient that was clipped to it.
//!
//! Composed of tensor operations, a parameter costs a dozen passes over memory, and on a GPU as many launches. Here it costs one pass, and
//! one for its share of the norm; on a GPU a launch takes dozens of parameters.
//!
//! ```text
//! norm = sqrt(sum over all parameters of g^2)             c = min(1, largest / norm)
//! m' = b1 m + (1 - b1) c g                                v' = b2 v + (1 - b2) (c g)^2
//! p' = (1 - rate decay) p - rate (m' / (1 - b1^t)) / (sqrt(v' / (1 - b2^t)) + epsilon)
//! ```
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::{AdamWStep, Stepped, adamw, sum_of_squares};
//!
//! let tensor = |x: f32| Tensor::<Flex, 1>::from_floats([x, -x], &Default::default());
//! let norm = sum_of_squares(vec![tensor(3.0)]).sqrt();
//! let step = AdamWStep { learning_rate: 0.1, betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.0, time: 1 };
//! // Adam's first step has the size of the learning rate, whatever the gradient is.
//! let before = Stepped { parameter: tensor(1.0), moments: [tensor(0.0), tensor(0.0)] };
//! let after = adamw(vec![(before, tensor(3.0), step)], norm.recip()).remove(0);
//! assert!((after.parameter.into_data().to_vec::<f32>().unwrap()[0] - 0.9).abs() < 1e-6);
//! ```
//!
//! Source: Loshchilov and Hutter 2019, arXiv:1711.05101.

mod autodiff;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(all(test, any(feature = "cuda", feature = "vulkan")))]
mod cube_tests;
mod inputs;
mod ops;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

pub use inputs::{AdamWInputs, AdamWOutputs, AdamWStep};
pub use ops::{OptimizerOps, Stepped, adamw, sum_of_squares};
