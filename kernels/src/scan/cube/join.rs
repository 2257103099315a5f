//! Joining the summaries of segments: the second level of the scan, for rows too few to fill the device.
//!
//! Time is cut in segments. A first launch of the scan kernel leaves each segment's summary, these kernels turn the summaries into what
//! each segment starts from, and a second launch computes the segments. The values are read twice, so this is done only where
//! one cube a row would leave most of the device idle.
//!
//! **Who owns what.** A cube owns a row, a unit a vector of its `head_dim`; segments (tens, at most hundreds) in sequence.
//! **Bytes.** Summaries once in, starts once out.
//! **Accumulation.** f32, segments in order: the same bits every run.

use super::gate::{finite_score, gate, log_add_exp};
use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// What each segment starts from, given the row's carry and the segments' summaries.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn join_forward<N: Size>(
    carry_log_sums: &Array<f32>,
    carry_outputs: &Array<Vector<f32, N>>,
    summary_log_sums: &Array<f32>,
    summary_resets: &Array<u32>,
    summary_outputs: &Array<Vector<f32, N>>,
    start_log_sums: &mut Array<f32>,
    start_outputs: &mut Array<Vector<f32, N>>,
    rows: usize,
    segments: usize,
    #[comptime] lanes: usize,
) {
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= rows {
        terminate!();
    }
    let lane = UNIT_POS as usize;
    let mut log_sum = finite_score(carry_log_sums[row]);
    let mut output = carry_outputs[row * lanes + lane];
    for segment in 0..segments {
        let slot = row * segments + segment;
        if lane == 0 {
            start_log_sums[slot] = log_sum;
        }
        start_outputs[slot * lanes + lane] = output;
        let own = summary_log_sums[slot];
        let reset = summary_resets[slot];
        // A whole segment joins as a token does: its log-sum is the score, its output the value.
        let gate = gate(own, log_sum, reset);
        let value = summary_outputs[slot * lanes + lane];
        let mut joined = Vector::<f32, N>::new(0.0f32);
        if gate.take != 0.0f32 {
            joined = value * Vector::new(gate.take);
        }
        if gate.keep != 0.0f32 {
            joined += output * Vector::new(gate.keep);
        }
        output = joined;
        log_sum = select(reset == 1u32, own, log_add_exp(log_sum, own));
    }
}

/// What each segment is handed by the one after it: `R` and `D` at that one's first token.
#[cube(launch_unchecked, address_type = "dynamic")]
pub(crate) fn join_backward<N: Size>(
    summary_keeps: &Array<f32>,
    summaries: &Array<Vector<f32, N>>,
    later: &mut Array<Vector<f32, N>>,
    rows: usize,
    segments: usize,
    #[comptime] lanes: usize,
) {
    let row = CUBE_POS_Y as usize * CUBE_COUNT_X as usize + CUBE_POS_X as usize;
    if row >= rows {
        terminate!();
    }
    let lane = UNIT_POS as usize;
    let mut r = Vector::<f32, N>::new(0.0f32);
    let mut d = Vector::<f32, N>::new(0.0f32);
    for back in 0..segments {
        let slot = row * segments + segments - 1 - back;
        later[(2 * slot) * lanes + lane] = r;
        later[(2 * slot + 1) * lanes + lane] = d;
        let keep = summary_keeps[slot];
        let mut next_r = summaries[(2 * slot) * lanes + lane];
        let mut next_d = summaries[(2 * slot + 1) * lanes + lane];
        if keep != 0.0f32 {
            next_r += r * Vector::new(keep);
            next_d += d * Vector::new(keep);
        }
        r = next_r;
        d = next_d;
    }
}
