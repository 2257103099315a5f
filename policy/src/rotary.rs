//! Rotary positions: queries and keys are turned by angles that grow with their position, so a score knows how far apart two tokens are
//! and not where they are.
//!
//! ```text
//! (x_i, x_{pairs + i})  turned at position p by  p 10000^(-i / pairs)        pairs = head_dim / 2, rounded down
//! ```
//!
//! The last number of a head of odd width stays as it is. Positions are whole numbers and their angles are products in double precision,
//! so that after 10^9 tokens an angle is off by 10^-7 at most; what is rounded to single precision is the sine and the cosine.
//!
//! Source: Su et al. 2021, arXiv:2104.09864, with the pairs of GPT-NeoX and of what Based and StripedHyena are published with.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use std::ops::Range;

/// The slowest pair turns once in about this many times `2 pi` tokens.
const BASE: f64 = 10_000.0;

/// Turns of tokens, for all heads alike.
#[derive(Clone, Debug)]
pub(crate) struct Turns<B: Backend> {
    /// `[rows, 1, time, pairs]`, where `rows` is 1 if all rows are turned alike.
    cosines: Tensor<B, 4>,
    /// As `cosines`.
    sines: Tensor<B, 4>,
}

impl<B: Backend> Turns<B> {
    /// The turns of positions `[rows, time]` for what is like `x`, `[rows, heads, time, head_dim]`.
    pub fn new(positions: &[usize], time: usize, x: &Tensor<B, 4>) -> Self {
        let is_one = positions.chunks_exact(time).all(|row| row == &positions[..time]);
        let positions = if is_one { &positions[..time] } else { positions };
        let (rows, pairs) = (positions.len() / time, x.dims()[3] / 2);
        let speeds: Vec<f64> = (0..pairs).map(|pair| BASE.powf(-(pair as f64) / pairs as f64)).collect();
        let angles = positions.iter().flat_map(|&position| speeds.iter().map(move |speed| position as f64 * speed));
        let (sines, cosines): (Vec<f64>, Vec<f64>) = angles.map(f64::sin_cos).unzip();
        let tensor = |numbers| Tensor::from_data(TensorData::new(numbers, [rows, 1, time, pairs]), (&x.device(), x.dtype()));
        Self { cosines: tensor(cosines), sines: tensor(sines) }
    }

    /// Tokens that are turned.
    pub fn time(&self) -> usize {
        self.cosines.dims()[2]
    }

    /// The turns of some of the tokens.
    pub fn part(&self, tokens: Range<usize>) -> Self {
        let part = |of: &Tensor<B, 4>| of.clone().slice_dim(2, tokens.clone());
        Self { cosines: part(&self.cosines), sines: part(&self.sines) }
    }

    /// `[rows, heads, time, head_dim]`, turned.
    pub fn of(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let (head_dim, pairs) = (x.dims()[3], self.cosines.dims()[3]);
        if pairs == 0 {
            return x;
        }
        let (first, second) = (x.clone().slice_dim(3, 0..pairs), x.clone().slice_dim(3, pairs..2 * pairs));
        let (cosines, sines) = (self.cosines.clone(), self.sines.clone());
        let mut turned = vec![first.clone() * cosines.clone() - second.clone() * sines.clone(), second * cosines + first * sines];
        if 2 * pairs < head_dim {
            turned.push(x.slice_dim(3, 2 * pairs..head_dim));
        }
        Tensor::cat(turned, 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    fn turned(positions: &[usize], head: &[f32]) -> Vec<f32> {
        let (time, numbers) = (positions.len(), head.repeat(positions.len()));
        let x = Tensor::<Flex, 1>::from_data(&numbers[..], &Default::default()).reshape([1, 1, time, head.len()]);
        Turns::new(positions, time, &x).of(x).into_data().to_vec().unwrap()
    }

    fn near(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{found:?} is not {expected:?}"));
    }

    #[test]
    fn a_pair_is_turned_by_its_position_in_radians() {
        // cos 1 = 0.540302306, sin 1 = 0.841470985; cos 2 = -0.416146837, sin 2 = 0.909297427
        near(&turned(&[0, 1], &[1.0, 0.0]), &[1.0, 0.0, 0.540_302_3, 0.841_471]);
        near(&turned(&[2], &[0.0, 1.0]), &[-0.909_297_4, -0.416_146_84]);
    }

    #[test]
    fn the_second_of_two_pairs_turns_a_hundred_times_as_slowly_and_an_odd_number_stays() {
        // Pairs are (1st, 3rd) and (2nd, 4th). cos 0.01 = 0.99995, sin 0.01 = 0.00999983
        let expected = [0.540_302_3, 0.999_95, 0.841_471, 0.009_999_83, 7.0];
        near(&turned(&[1], &[1.0, 1.0, 0.0, 0.0, 7.0]), &expected);
        near(&turned(&[5], &[3.0]), &[3.0]);
    }

    #[test]
    fn a_score_depends_on_how_far_apart_two_tokens_are_alone() {
        let (query, key) = ([0.3, -1.2, 0.8, 0.5, 1.1, -0.4], [1.0, 0.7, -0.6, 0.2, -0.9, 1.3]);
        let score = |at: usize, before: usize| {
            let (query, key) = (turned(&[at], &query), turned(&[before], &key));
            query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>()
        };
        let expected = score(7, 3);
        for shift in [1, 100, 1_000_000, 1_000_000_000] {
            let found = score(shift + 7, shift + 3);
            assert!((found - expected).abs() < 2e-6, "shifted by {shift}: {found} is not {expected}");
        }
        assert!((score(8, 3) - expected).abs() > 0.1);
    }

    #[test]
    fn rows_with_other_positions_are_turned_each_by_its_own() {
        let x = Tensor::<Flex, 1>::from_data([1.0, 0.0, 1.0, 0.0], &Default::default()).reshape([2, 1, 1, 2]);
        let found: Vec<f32> = Turns::new(&[1, 2], 1, &x).of(x).into_data().to_vec().unwrap();
        near(&found, &[0.540_302_3, 0.841_471, -0.416_146_84, 0.909_297_4]);
    }
}
