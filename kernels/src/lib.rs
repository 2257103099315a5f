//! The recurrences that aaren's policies are built from, and the few dense ops between them.
//!
//! [`attention_scan`] is the heart: softmax attention of one learned query over every prefix of a sequence, in linear time, with
//! episode borders inside the scan. [`causal_attention`] is the Transformer's, for comparison. [`linear`](linear()),
//! [`layer_norm`](layer_norm()) and [`dropout_add`] stand between them in a block, fused for the CPU because there the passes over
//! memory cost as much as the arithmetic.
//!
//! ```
//! use burn::{backend::{Autodiff, Flex}, tensor::{Bool, Tensor}};
//! use aaren_kernels::{ScanCarry, attention_scan};
//!
//! type B = Autodiff<Flex>; // the CPU, with gradients
//! let (batch, heads, time, head_dim) = (1, 2, 4, 3);
//! let device = Default::default();
//! let scores = Tensor::<B, 3>::zeros([batch, heads, time], &device).require_grad();
//! let values = Tensor::<B, 4>::ones([batch, heads, time, head_dim], &device);
//! // The third token begins an episode: it sees nothing of the first two.
//! let reset = Tensor::<B, 2, Bool>::from_data([[false, false, true, false]], &device);
//! let carry = ScanCarry::empty(batch, heads, head_dim, &device);
//!
//! let (outputs, carry) = attention_scan(scores.clone(), values, reset, carry);
//! assert_eq!(outputs.dims(), [batch, heads, time, head_dim]);
//! // Two tokens of score 0 have been seen in this episode: the log-sum is log 2, and goes into the next call with the outputs.
//! assert!((carry.log_sum.into_data().to_vec::<f32>().unwrap()[0] - 2f32.ln()).abs() < 1e-6);
//! assert!(scores.grad(&outputs.sum().backward()).is_some());
//! ```
//!
//! An op is one folder:
//!
//! | file | what |
//! |---|---|
//! | `inputs.rs` | what it reads and returns |
//! | `ops.rs` | its trait, which a backend implements, and the checked public function |
//! | `reference.rs` | plain tensor ops and their gradient, which a backend without an implementation of its own runs |
//! | `cpu.rs` | forward and backward on `Flex` |
//! | `autodiff.rs` | the node of `Autodiff`'s graph |
//! | `cube.rs` or `cube/` | the GPU's kernels, one source for Vulkan and CUDA, and the check before they are trusted |
//! | `tests.rs` | agreement of all of these |
//!
//! To add one, write its folder, declare it here, and name its trait in `backend.rs`.
//!
//! [`KernelBackend`] is all the traits together. Features `vulkan` and `cuda` add the backends of GPUs (`device.rs`); without them
//! nothing of CubeCL is built.
//!
//! Layouts are batch-major: `[batch, heads, time, head_dim]`. The CPU implementations compute in `f32` or `f64`, whichever the
//! tensor holds; sums never depend on the number of threads.

pub mod attention;
mod autodiff;
mod backend;
pub mod cache;
pub mod convolution;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cube")]
pub mod device;
pub mod dropout;
pub mod gated_cell;
mod inputs;
pub mod layer_norm;
pub mod linear;
pub mod linear_attention;
pub mod monarch;
pub mod optimizer;
pub mod precision;
mod primitive;
pub mod recurrence;
pub mod scan;
pub mod selective_scan;
pub mod slots;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use attention::causal_attention;
pub use backend::KernelBackend;
pub use cache::write_tokens;
pub use convolution::causal_convolution;
pub use dropout::{Dropout, dropout_add};
pub use gated_cell::{Cell, gated_cell};
pub use layer_norm::layer_norm;
pub use linear::{Activation, linear};
pub use linear_attention::{FeatureMap, linear_attention};
pub use monarch::{MonarchTransform, monarch_product};
pub use optimizer::{AdamWStep, Stepped, adamw, sum_of_squares};
pub use precision::Precision;
pub use recurrence::gated_recurrence;
pub use scan::{ScanCarry, attention_scan, running_log_sum_exp};
pub use selective_scan::{SelectiveScan, selective_scan};
pub use slots::slot_attention;
