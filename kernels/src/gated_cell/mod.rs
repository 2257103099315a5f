//! Recurrent cells whose gates see the state: LSTM and GRU over whole sequences.
//!
//! ```text
//! LSTM: i, f, g, o = x_t + h_{t-1} W + b            GRU: r, z = sigmoid(x_t + h_{t-1} W + b), the first two parts
//!       c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)     n = tanh(x_t + r (h_{t-1} W + b)), the third
//!       h_t = sigmoid(o) tanh(c_t)                        h_t = n + z (h_{t-1} - n)
//! ```
//!
//! `x_t` is what the input adds to the gates: one product for all tokens, made outside. There is no parallel form of the rest, so the
//! order of the loops is all there is to win: a task takes a few rows of the batch through all tokens, with one small product a token,
//! and the gates are computed while they are in the cache. An episode begins from a state of its own, which may be learned.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::{Cell, gated_cell};
//!
//! let device = Default::default();
//! let x = Tensor::<Flex, 3>::from_floats([[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]], &device); // one row, two tokens, a GRU of width 1
//! let (weight, bias) = (Tensor::zeros([1, 3], &device), Tensor::zeros([3], &device));
//! let reset = Tensor::<Flex, 2>::from_floats([[0.0, 1.0]], &device).bool(); // the second token begins an episode
//! let (y, _) = gated_cell(Cell::Gru, x, weight, bias, Tensor::zeros([1, 1], &device), reset, Tensor::full([1, 1, 1], 4.0, &device));
//! let y = y.into_data().to_vec::<f32>().unwrap();
//! assert!((y[0] - (1f32.tanh() + 4.0) / 2.0).abs() < 1e-6 && (y[1] - 1f32.tanh() / 2.0).abs() < 1e-6);
//! ```
//!
//! Source: Hochreiter and Schmidhuber 1997; Cho et al. 2014, arXiv:1406.1078, in the form of cuDNN and PyTorch, where the reset gate comes
//! after the product.

mod autodiff;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod inputs;
mod ops;
pub(crate) mod reference;
mod row;
#[cfg(test)]
mod tests;

pub use inputs::{Cell, CellGradients, CellInputs, CellOutputs};
pub use ops::{GatedCellOps, gated_cell};
