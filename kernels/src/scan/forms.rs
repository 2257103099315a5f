//! The other two ways that the paper computes attention of one query: many-to-one, and block by block. Both are made of the
//! associative operator that joins two neighbouring spans of tokens.
//!
//! | form | function | memory beside inputs and outputs | gives |
//! |---|---|---|---|
//! | many-to-one | [`attention_fold`] | one span | the last output |
//! | many-to-many | [`attention_scan`](crate::attention_scan) | none | every output, in one pass |
//! | block by block | [`attention_in_blocks`] | one block | every output, a block at a time |

use super::{ScanCarry, attention_scan};
use crate::backend::KernelBackend;
use burn::tensor::{Bool, Tensor, backend::Backend};

/// Joins the attention over two neighbouring spans of tokens: log-sums add up, outputs are weighed by them. Associative, and an empty
/// span changes nothing.
pub fn join_spans<B: Backend>(earlier: ScanCarry<B>, later: ScanCarry<B>) -> ScanCarry<B> {
    let largest = earlier.log_sum.clone().max_pair(later.log_sum.clone()).detach();
    // Two empty spans: -inf minus -inf is no number, so shift by a finite one instead.
    let shift = largest.clone().mask_fill(largest.lower_equal_elem(f32::MIN), 0.0);
    let weights = [&earlier, &later].map(|span| (span.log_sum.clone() - shift.clone()).exp());
    let sum = weights[0].clone() + weights[1].clone();
    let empty = sum.clone().equal_elem(0.0);
    let divisor = sum.clone().mask_fill(empty.clone(), 1.0);
    let shares = weights.map(|weight| (weight / divisor.clone()).unsqueeze_dim::<3>(2));
    let [of_earlier, of_later] = shares;
    ScanCarry {
        log_sum: (divisor.log() + shift).mask_fill(empty, f32::NEG_INFINITY),
        output: earlier.output * of_earlier + later.output * of_later,
    }
}

/// Many-to-one: the attention over all tokens from the last episode start on, without the outputs of the tokens before.
///
/// Shapes as for [`attention_scan`](crate::attention_scan); returns its last carry.
pub fn attention_fold<B: Backend>(
    scores: Tensor<B, 3>,
    values: Tensor<B, 4>,
    reset: Tensor<B, 2, Bool>,
    carry: ScanCarry<B>,
) -> ScanCarry<B> {
    let [batch, heads, time, _] = values.dims();
    let episodes = reset.int().cumsum(1); // the carry is of episode 0
    let last = episodes.clone().slice([0..batch, time - 1..time]);
    let ended = episodes.not_equal(last.clone().expand([batch, time])).unsqueeze_dim::<3>(1).expand([batch, heads, time]);
    let gone = last.greater_elem(0).expand([batch, heads]);
    let scores = scores.mask_fill(ended, f32::NEG_INFINITY);
    let largest = scores.clone().max_dim(2).detach(); // [batch, heads, 1]
    let shift = largest.clone().mask_fill(largest.lower_equal_elem(f32::MIN), 0.0);
    let weights = (scores - shift.clone()).exp();
    let sum = weights.clone().sum_dim(2);
    let empty = sum.clone().equal_elem(0.0);
    let divisor = sum.mask_fill(empty.clone(), 1.0);
    let output = (weights / divisor.clone()).unsqueeze_dim::<4>(2).matmul(values).squeeze_dim::<3>(2);
    let log_sum = (divisor.log() + shift).mask_fill(empty, f32::NEG_INFINITY).squeeze_dim::<2>(2);
    let carry = ScanCarry { log_sum: carry.log_sum.mask_fill(gone, f32::NEG_INFINITY), output: carry.output };
    join_spans(carry, ScanCarry { log_sum, output })
}

/// Block by block: every block is scanned from nothing, and each of its prefixes joined to what came before.
///
/// Shapes as for [`attention_scan`](crate::attention_scan).
/// # Panics
/// If `block` is 0.
pub fn attention_in_blocks<B: KernelBackend>(
    scores: Tensor<B, 3>,
    values: Tensor<B, 4>,
    reset: Tensor<B, 2, Bool>,
    mut carry: ScanCarry<B>,
    block: usize,
) -> (Tensor<B, 4>, ScanCarry<B>) {
    let [batch, heads, time, head_dim] = values.dims();
    let mut pieces = Vec::with_capacity(time.div_ceil(block));
    for start in (0..time).step_by(block) {
        let tokens = start..(start + block).min(time);
        let length = tokens.len();
        let flags = reset.clone().slice([0..batch, tokens.clone()]);
        let begun = flags.clone().int().cumsum(1).greater_elem(0).unsqueeze_dim::<3>(1).expand([batch, heads, length]);
        let scores = scores.clone().slice([0..batch, 0..heads, tokens.clone()]);
        let values = values.clone().slice([0..batch, 0..heads, tokens]);
        let mut span = ScanCarry::empty(batch, heads, head_dim, &values.device());
        for token in 0..length {
            let part = |tensor: &Tensor<B, 3>| tensor.clone().slice([0..batch, 0..heads, token..token + 1]);
            let value = values.clone().slice([0..batch, 0..heads, token..token + 1]);
            let (_, next) = attention_scan(part(&scores), value, flags.clone().slice([0..batch, token..token + 1]), span);
            span = next;
            let is_cut = begun.clone().slice([0..batch, 0..heads, token..token + 1]).reshape([batch, heads]);
            let past =
                ScanCarry { log_sum: carry.log_sum.clone().mask_fill(is_cut, f32::NEG_INFINITY), output: carry.output.clone() };
            pieces.push(join_spans(past, span.clone()));
        }
        carry = pieces.last().expect("a block has a token").clone();
    }
    let outputs = pieces.into_iter().map(|span| span.output.reshape([batch, heads, 1, head_dim])).collect();
    (Tensor::cat(outputs, 2), carry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, flags, random_tensor};
    use burn::backend::Flex;

    type Inputs = (Tensor<Flex, 3>, Tensor<Flex, 4>, Tensor<Flex, 2, Bool>, ScanCarry<Flex>);

    fn case(time: usize, is_empty: bool) -> Inputs {
        let mut rows = vec![vec![false; time]; 3];
        rows[1][0] = true;
        rows[2][time / 2] = true;
        let rows: Vec<&[bool]> = rows.iter().map(|row| &row[..]).collect();
        let carry = if is_empty {
            ScanCarry::empty(3, 5, 7, &Default::default())
        } else {
            ScanCarry { log_sum: random_tensor([3, 5], 3), output: random_tensor([3, 5, 7], 4) }
        };
        (random_tensor::<Flex, 3>([3, 5, time], 1) * 4.0, random_tensor([3, 5, time, 7], 2), flags(&rows), carry)
    }

    #[test]
    fn all_three_forms_agree() {
        for (time, is_empty) in [(1, true), (1, false), (13, true), (29, false)] {
            let (scores, values, reset, carry) = case(time, is_empty);
            let (outputs, last) = attention_scan(scores.clone(), values.clone(), reset.clone(), carry.clone());
            let folded = attention_fold(scores.clone(), values.clone(), reset.clone(), carry.clone());
            assert_close(folded.log_sum, last.log_sum.clone(), 3e-6);
            assert_close(folded.output, last.output.clone(), 3e-6);
            for block in [1, 4, 100] {
                let (found, next) = attention_in_blocks(scores.clone(), values.clone(), reset.clone(), carry.clone(), block);
                assert_close(found, outputs.clone(), 3e-6);
                assert_close(next.log_sum, last.log_sum.clone(), 3e-6);
            }
        }
    }

    #[test]
    fn joining_is_associative_and_empty_spans_change_nothing() {
        let span = |seed| ScanCarry::<Flex> {
            log_sum: random_tensor::<Flex, 2>([3, 5], seed) * 30.0,
            output: random_tensor([3, 5, 7], seed + 1),
        };
        let (a, b, c) = (span(1), span(3), span(5));
        let left = join_spans(join_spans(a.clone(), b.clone()), c.clone());
        let right = join_spans(a.clone(), join_spans(b, c));
        assert_close(left.log_sum, right.log_sum, 1e-6);
        assert_close(left.output, right.output, 1e-6);
        let empty = || ScanCarry::<Flex>::empty(3, 5, 7, &Default::default());
        for joined in [join_spans(empty(), a.clone()), join_spans(a.clone(), empty())] {
            assert_close(joined.log_sum, a.log_sum.clone(), 1e-6);
            assert_close(joined.output, a.output.clone(), 1e-6);
        }
        let nothing = join_spans(empty(), empty());
        assert_close(nothing.log_sum, empty().log_sum, 0.0);
        assert_close(nothing.output, empty().output, 0.0);
    }
}
