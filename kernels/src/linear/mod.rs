//! A dense layer with its bias and activation in one op.
//!
//! A policy of width 128 spends nearly all of its time here, and the separate passes for bias, activation and their gradients cost
//! as much as a matrix product of that width. Acting has a few rows only, where packing a matrix kernel's operands costs more than
//! the product: that case has its own loop.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::{Activation, linear};
//!
//! let device = Default::default();
//! let x = Tensor::<Flex, 2>::from_floats([[1.0, 2.0]], &device);
//! let weight = Tensor::from_floats([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]], &device);
//! let y = linear(x, weight, Tensor::from_floats([0.5, 0.5, 0.5], &device), Activation::Relu);
//! assert_eq!(y.into_data().to_vec::<f32>().unwrap(), [1.5, 2.5, 0.0]);
//! ```

mod autodiff;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(all(test, any(feature = "cuda", feature = "vulkan")))]
mod cube_tests;
mod inputs;
mod ops;
mod reference;
#[cfg(test)]
mod tests;

pub(crate) use cpu::{FEW_ROWS, add_product, bias_gradient, weight_gradient};
pub use inputs::{Activation, LinearGradients, LinearSaved};
pub use ops::{LinearOps, linear};
