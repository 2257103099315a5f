//! The selective scan: the recurrence of a diagonal state space whose step and projections depend on the token.
//!
//! ```text
//! h_t[n, c] = exp(delta_t[c] A[n, c]) h_{t-1}[n, c] + delta_t[c] B_t[n] u_t[c]
//! y_t[c] = sum over n of C_t[n] h_t[n, c]
//! ```
//!
//! The decay is the exact zero-order hold, the write is Euler's, as published. It is a gated recurrence over `states * channels`
//! channels, fused so that those never lie in memory for all tokens at once.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::{SelectiveScan, selective_scan};
//!
//! let device = Default::default();
//! let scan = SelectiveScan {
//!     inputs: Tensor::<Flex, 3>::ones([1, 2, 1], &device),
//!     steps: Tensor::full([1, 2, 1], 2.0f32.ln(), &device),
//!     decays: Tensor::full([1, 1], -1.0, &device),
//!     writes: Tensor::zeros([1, 2, 1], &device),
//!     reads: Tensor::ones([1, 2, 1], &device),
//! };
//! let no_reset = Tensor::<Flex, 2>::zeros([1, 2], &device).bool();
//! // Nothing is written: the carry halves with every token.
//! let (outputs, carry) = selective_scan(scan, no_reset, Tensor::full([1, 1, 1], 8.0, &device));
//! let outputs = outputs.into_data().to_vec::<f32>().unwrap();
//! assert!((outputs[0] - 4.0).abs() < 1e-5 && (outputs[1] - 2.0).abs() < 1e-5);
//! assert_eq!(carry.dims(), [1, 1, 1]);
//! ```
//!
//! Source: Gu and Dao 2023, arXiv:2312.00752, section 3.

mod autodiff;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod inputs;
mod ops;
mod reference;
#[cfg(test)]
mod tests;

pub use inputs::{SelectiveGradients, SelectiveInputs, SelectiveScan};
pub use ops::{SelectiveScanOps, selective_scan};
