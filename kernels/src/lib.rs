//! The recurrences that aaren's policies are built from, and the few dense ops between them.
//!
//! [`attention_scan`] is the heart: softmax attention of one learned query over every prefix of a sequence, in linear time, with
//! episode borders inside the scan. [`causal_attention`] is the Transformer's, for comparison. [`linear`], [`layer_norm`] and
//! [`dropout_add`] are what stands between them in a block, fused for the CPU because there the passes over memory cost as much as
//! the arithmetic.
//!
//! | file | what |
//! |---|---|
//! | `backend.rs` | [`KernelBackend`]: the one extension trait over Burn's backends, and its dispatch |
//! | `scan/`, `recurrence/`, `log_sum_exp/`, `selective_scan/`, `convolution/`, `attention/`, `linear/`, `layer_norm/`, `dropout/` | an op each: `mod` (the checked public function), `reference` (plain tensor ops), `cpu` (forward and backward), `autodiff` (the graph node) |
//! | `cube/` of `scan/`, `attention/`, `recurrence/`, `log_sum_exp/` and `selective_scan/`, `layer_norm/cube.rs`, `dropout/cube.rs` | the kernels for graphics cards, one source for Vulkan and CUDA |
//! | `cube/` | [`KernelBackend`] for graphics cards: launching kernels, trying them before they are trusted |
//! | `device.rs` | finding Vulkan and CUDA devices |
//! | `optimizer/` | [`adamw`] and [`sum_of_squares`]: the optimizer's step, with its own reference and kernels |
//! | `cache.rs` | [`write_tokens`]: appending to a KV cache in place |
//! | `reference_gradients.rs` | gradients of the references, derived by Burn |
//!
//! Features `vulkan` and `cuda` add the backends of graphics cards (`device.rs`); without them nothing of CubeCL is built.
//!
//! Layouts are batch-major: `[batch, heads, time, head_dim]`. The CPU implementations compute in `f32` or `f64`, whichever the
//! tensor holds; sums never depend on the number of threads.

mod attention;
mod backend;
mod cache;
mod convolution;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cube")]
pub mod device;
mod dropout;
mod layer_norm;
mod linear;
mod linear_attention;
mod log_sum_exp;
mod monarch;
mod optimizer;
mod recurrence;
mod reference_gradients;
mod scan;
mod selective_scan;
#[cfg(test)]
mod testing;

pub use attention::{AttentionGradients, AttentionInputs, AttentionOutputs, causal_attention};
pub use backend::{Derived, KernelBackend};
pub use cache::write_tokens;
pub use convolution::{ConvolutionGradients, ConvolutionInputs, causal_convolution};
pub use dropout::{Dropout, dropout_add};
pub use layer_norm::{LayerNormGradients, layer_norm};
pub use linear::{LinearGradients, LinearSaved, Rectifier, linear};
pub use linear_attention::{FeatureMap, linear_attention};
pub use log_sum_exp::{LogSumGradients, LogSumInputs, running_log_sum_exp};
pub use monarch::{MonarchTransform, monarch_product};
pub use optimizer::{AdamWInputs, AdamWStep, adamw, sum_of_squares};
pub use recurrence::{RecurrenceGradients, RecurrenceInputs, gated_recurrence};
pub use scan::forms::{attention_fold, attention_in_blocks, join_spans};
pub use scan::{ScanCarry, ScanGradients, ScanInputs, ScanOutputs, attention_scan};
pub use selective_scan::{SelectiveGradients, SelectiveInputs, SelectiveScan, selective_scan};
