//! Causal convolution over time, a filter a channel, over packed sequences: short ones before a recurrence, long ones in its place.
//!
//! ```text
//! y_t = sum over n of h_n u_{t-n},     n = 0 .. taps - 1, as far back as t's episode goes
//! ```
//!
//! As in [`causal_attention`](crate::causal_attention), one number an output says how far back it sees, and a history carried over
//! from earlier calls is a longer run of inputs than of outputs.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::causal_convolution;
//!
//! let device = Default::default();
//! let inputs = Tensor::<Flex, 1>::from_floats([1.0, 2.0, 4.0, 8.0], &device).reshape([1, 4, 1]);
//! let taps = Tensor::from_floats([[1.0], [10.0]], &device);
//! // The third token begins an episode.
//! let y = causal_convolution(inputs, taps, Tensor::from_ints([[0, 0, 2, 2]], &device));
//! assert_eq!(y.into_data().to_vec::<f32>().unwrap(), [1.0, 12.0, 4.0, 48.0]);
//! ```

mod autodiff;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod inputs;
mod ops;
mod reference;
#[cfg(test)]
mod tests;

pub use inputs::{ConvolutionGradients, ConvolutionInputs};
pub use ops::{ConvolutionOps, causal_convolution};
