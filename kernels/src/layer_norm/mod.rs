//! Layer normalization with a backward pass of its own: Burn's is a chain of elementwise ops, each a pass over the activations.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::layer_norm;
//!
//! let device = Default::default();
//! let x = Tensor::<Flex, 2>::from_floats([[1.0, 3.0]], &device);
//! let y = layer_norm(x, Tensor::ones([2], &device), Tensor::zeros([2], &device));
//! assert!(y.into_data().to_vec::<f32>().unwrap().iter().zip([-1.0, 1.0]).all(|(y, expected)| (y - expected).abs() < 1e-4));
//! ```
//!
//! Source: Ba, Kiros, Hinton 2016, arXiv:1607.06450.

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

pub use inputs::LayerNormGradients;
pub use ops::{LayerNormOps, layer_norm};
