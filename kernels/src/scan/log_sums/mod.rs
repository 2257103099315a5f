//! The running log-sum-exp of scores, the scan's second output, alone: what softmax attention over every prefix is normalized by.
//!
//! ```text
//! L_t = log(e^{L_{t-1}} + e^{s_t})        L_t = s_t where t begins an episode
//! ```
//!
//! Log-sums under `logaddexp` are associative, so this is a prefix scan; the empty carry is `L = -inf`. The gradient is a gated
//! recurrence from the last token to the first, of which the gates are the softmax weights of the past at every step.
//!
//! Source: Feng et al. 2024, arXiv:2405.13956, section 3; Blelloch 1990 for the scan.

pub(super) mod cpu;
#[cfg(feature = "cube")]
pub(super) mod cube;
#[cfg(test)]
mod tests;
