//! Attention with bounded memory: slots that tokens are written to by their scores, as a scan writes its one, and that every token reads.
//!
//! ```text
//! L_tm = logaddexp(L_{t-1,m}, s_tm)       keep = e^(L_{t-1,m} - L_tm)       take = e^(s_tm - L_tm)
//! [K; V]_tm = keep [K; V]_{t-1,m} + take [k_t; v_t]                         the write
//! o_t = sum_m softmax_m(q_t . K_tm / sqrt(head_dim)) V_tm                   the read
//! ```
//!
//! All slots of a head take in the same keys and values, and only the present slots are ever read. So nothing of the size of slots times
//! width times time is made, forward or backward: of a token stay its output, and while gradients are computed a few numbers a slot.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::{ScanCarry, slot_attention};
//!
//! type B = Flex;
//! let device = Default::default();
//! // One row and head, two slots: the first token is written to slot 0 alone, the second to slot 1.
//! let none = f32::NEG_INFINITY;
//! let scores = Tensor::<B, 4>::from_floats([[[[0.0, none], [none, 0.0], [none, none]]]], &device);
//! let keys = Tensor::<B, 4>::from_floats([[[[1.0], [-1.0], [0.0]]]], &device);
//! let values = Tensor::<B, 4>::from_floats([[[[5.0], [7.0], [0.0]]]], &device);
//! // The third token asks for the key of the first.
//! let queries = Tensor::<B, 4>::from_floats([[[[0.0], [0.0], [40.0]]]], &device);
//! let reset = Tensor::<B, 2>::zeros([1, 3], &device).bool();
//! let (y, _) = slot_attention(scores, queries, keys, values, reset, ScanCarry::empty(1, 2, 2, &device));
//! assert_eq!(y.into_data().to_vec::<f32>().unwrap()[2], 5.0);
//! ```
//!
//! Source: Peng et al. 2022, arXiv:2110.02488.

mod autodiff;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
mod inputs;
mod ops;
pub(crate) mod reference;
#[cfg(test)]
mod tests;

pub use inputs::{SlotGradients, SlotInputs};
pub use ops::{SlotOps, slot_attention};
