//! Attention from one learned query, for every prefix at once: the recurrence at the heart of Aaren.
//!
//! With scores `s` and values `v`, the gated form carries one scalar and one vector a head:
//!
//! ```text
//! L_t = logaddexp(L_{t-1}, s_t)        take_t = sigmoid(s_t - L_{t-1})      keep_t = 1 - take_t
//! o_t = keep_t o_{t-1} + take_t v_t    = softmax attention over the tokens 1..t
//! ```
//!
//! A reset at `t` sets `keep_t = 0`: what came before is forgotten inside the scan. A score of `-inf` leaves the carry as it
//! is, and the empty carry is `L = -inf, o = 0`.
//!
//! Source: Feng et al. 2024, arXiv:2405.13956, section 3; the gated form is ours and equivalent.
//!
//! # Three ways to compute it
//!
//! Two neighbouring spans of tokens join to one: log-sums add up, outputs are averaged with weights from them. The operator is associative, and an
//! empty span changes nothing. So the last output alone is a fold (many-to-one), all of them are a scan (many-to-many, which is
//! [`attention_scan`]), and a block of tokens can be scanned from nothing and joined to what came before.
//!
//! ```
//! use burn::{backend::Flex, tensor::{Bool, Int, Tensor}};
//! use aaren_kernels::{ScanCarry, attention_scan};
//!
//! type Span = ScanCarry<Flex>;
//!
//! fn join(earlier: Span, later: Span) -> Span {
//!     let largest = earlier.log_sum.clone().max_pair(later.log_sum.clone());
//!     // Two empty spans: -inf minus -inf is no number, so shift by a finite one instead.
//!     let shift = largest.clone().mask_fill(largest.lower_equal_elem(f32::MIN), 0.0);
//!     let [a, b] = [&earlier, &later].map(|span| (span.log_sum.clone() - shift.clone()).exp());
//!     let sum = a.clone() + b.clone();
//!     let divisor = sum.clone().mask_fill(sum.clone().equal_elem(0.0), 1.0);
//!     let share = |weight: Tensor<Flex, 2>| (weight / divisor.clone()).unsqueeze_dim::<3>(2);
//!     ScanCarry { log_sum: sum.log() + shift, output: earlier.output * share(a) + later.output * share(b) }
//! }
//!
//! fn assert_near<const D: usize>(found: Tensor<Flex, D>, expected: Tensor<Flex, D>) {
//!     assert!((found - expected).abs().max().into_scalar() < 1e-5);
//! }
//!
//! let (batch, heads, time, head_dim) = (1, 2, 6, 3);
//! let device = Default::default();
//! let numbers = |count: usize| Tensor::<Flex, 1, Int>::arange(1..count as i64 + 1, &device).float().sin();
//! let scores = numbers(heads * time).reshape([batch, heads, time]) * 4.0;
//! let values = numbers(heads * time * head_dim).reshape([batch, heads, time, head_dim]);
//! let begins = 4; // the token that begins the second episode
//! let reset = Tensor::<Flex, 2, Bool>::from_data([[false, false, false, false, true, false]], &device);
//! let scan = |tokens: std::ops::Range<usize>| {
//!     let scores = scores.clone().slice([0..batch, 0..heads, tokens.clone()]);
//!     let values = values.clone().slice([0..batch, 0..heads, tokens.clone()]);
//!     attention_scan(scores, values, reset.clone().slice([0..batch, tokens]), Span::empty(batch, heads, head_dim, &device))
//! };
//!
//! // Many-to-many.
//! let (outputs, last) = scan(0..time);
//!
//! // Many-to-one, over the last episode: a token is a span of which score and value are the log-sum and the output.
//! let token = |t: usize| scan(t..t + 1).1;
//! let folded = (begins..time).map(token).reduce(join).unwrap();
//! assert_near(folded.log_sum, last.log_sum);
//! assert_near(folded.output, last.output);
//!
//! // Block by block: each prefix of a block is joined to the past, unless an episode began in between.
//! let mut past = Span::empty(batch, heads, head_dim, &device);
//! for block in [0..3, 3..6] {
//!     for end in block.clone() {
//!         let (_, prefix) = scan(block.start..end + 1);
//!         let has_begun = (block.start..=end).contains(&begins);
//!         let joined = if has_begun { prefix } else { join(past.clone(), prefix) };
//!         let expected = outputs.clone().slice([0..batch, 0..heads, end..end + 1]);
//!         assert_near(joined.output.clone(), expected.reshape([batch, heads, head_dim]));
//!         if end + 1 == block.end {
//!             past = joined;
//!         }
//!     }
//! }
//!
//! // The operator is associative, and an empty span changes nothing.
//! let [a, b, c] = [0, 1, 2].map(token);
//! let left = join(join(a.clone(), b.clone()), c.clone());
//! let right = join(a.clone(), join(b, c));
//! assert_near(left.log_sum, right.log_sum);
//! assert_near(left.output, right.output);
//! let empty = || Span::empty(batch, heads, head_dim, &device);
//! for joined in [join(empty(), a.clone()), join(a.clone(), empty())] {
//!     assert_near(joined.log_sum, a.log_sum.clone());
//!     assert_near(joined.output, a.output.clone());
//! }
//! let nothing = join(empty(), empty());
//! assert_eq!(nothing.log_sum.into_data(), empty().log_sum.into_data());
//! assert_eq!(nothing.output.into_data(), empty().output.into_data());
//! ```

mod autodiff;
mod cpu;
#[cfg(feature = "cube")]
pub(crate) mod cube;
mod gate;
mod inputs;
mod log_sums;
mod ops;
mod reference;
#[cfg(test)]
mod tests;

pub use inputs::{LogSumGradients, LogSumInputs, ScanCarry, ScanGradients, ScanInputs, ScanOutputs};
pub use ops::{ScanOps, attention_scan, running_log_sum_exp};
