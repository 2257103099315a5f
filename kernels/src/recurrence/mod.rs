//! The gated linear recurrence, element by element: what state space models, decayed sums and modal filters are made of.
//!
//! ```text
//! h_t = a_t h_{t-1} + x_t            a_t = 0 where t begins an episode
//! ```
//!
//! Pairs `(a, x)` under `(a1, x1) + (a2, x2) = (a1 a2, a2 x1 + x2)` are associative, so the recurrence is a prefix scan; a reset
//! is a gate of 0 and needs no flag of its own in the scan. The reverse pass of the gradient is the same recurrence, backwards.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::gated_recurrence;
//!
//! let device = Default::default();
//! let tensor = |x: [f32; 3]| Tensor::<Flex, 1>::from_floats(x, &device).reshape([1, 3, 1]);
//! // The third token begins an episode.
//! let reset = Tensor::<Flex, 2>::from_floats([[0.0, 0.0, 1.0]], &device).bool();
//! let states = gated_recurrence(tensor([0.5, 0.5, 0.5]), tensor([1.0, 2.0, 3.0]), reset, Tensor::full([1, 1], 8.0, &device));
//! assert_eq!(states.into_data().to_vec::<f32>().unwrap(), [5.0, 4.5, 3.0]);
//! ```
//!
//! Source: Blelloch 1990, *Prefix sums and their applications*, section 1.4; Martin and Cundy 2018, arXiv:1709.04057.

mod autodiff;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod inputs;
mod ops;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

pub use inputs::{RecurrenceGradients, RecurrenceInputs};
pub use ops::{RecurrenceOps, gated_recurrence};
