//! How log-sums join, and how much a token keeps of the past and takes of itself.

use crate::cube::EMPTY;
use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// `log(exp(a) + exp(b))`; [`EMPTY`] is its identity.
#[cube]
pub(crate) fn log_add_exp(a: f32, b: f32) -> f32 {
    let small = (-(a - b).abs()).exp();
    max(a, b) + small.log1p()
}

/// The log-sum of a span followed by another, which forgets the first if it holds a reset.
#[cube]
pub(crate) fn join_log_sums(before: f32, after: f32, after_has_reset: u32) -> f32 {
    let joined = log_add_exp(before, after);
    select(after_has_reset == 1u32, after, joined)
}

/// What a token keeps of the past and takes of itself.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Gate {
    pub keep: f32,
    pub take: f32,
}

/// The gates of a token. They sum to 1, unless it starts an episode or nothing has been seen at all.
#[cube]
pub(crate) fn gate(score: f32, past_before_reset: f32, reset: u32) -> Gate {
    let is_reset = reset == 1u32;
    let past = select(is_reset, EMPTY, past_before_reset);
    let difference = score - past;
    let small = (-difference.abs()).exp();
    let smaller = small / (1.0f32 + small);
    // Rounded to nearest, where a device's quotient may always err to one side and thousands of factors would show it.
    let larger = 1.0f32 - smaller;
    let ahead = difference >= 0.0f32;
    let mut keep = select(ahead, smaller, larger);
    let mut take = select(ahead, larger, smaller);
    if past <= EMPTY {
        keep = 0.0f32;
        take = 1.0f32;
    }
    if score <= EMPTY {
        // Nothing to take: the past stays, unless this token forgets it.
        keep = select(is_reset, 0.0f32, 1.0f32);
        take = 0.0f32;
    }
    Gate { keep, take }
}

/// `state * factor + addend`, where a factor of 0 forgets even what is not finite.
#[cube]
pub(crate) fn decayed<N: Size>(state: Vector<f32, N>, factor: f32, addend: Vector<f32, N>) -> Vector<f32, N> {
    let mut joined = addend;
    if factor != 0.0f32 {
        joined = state * Vector::new(factor) + addend;
    }
    joined
}

/// Scores at or below [`EMPTY`], minus infinity among them, as [`EMPTY`]; what is not a number stays.
#[cube]
pub(crate) fn finite_score(score: f32) -> f32 {
    select(score <= EMPTY, EMPTY, score)
}
