//! What one token does to one row of a gated cell, forward and backward: loops over the width that vectorize.

use crate::cpu::Real;

/// A vector of several parts of the same width.
#[inline(always)]
fn parts<const N: usize, R>(row: &[R], width: usize) -> [&[R]; N] {
    std::array::from_fn(|part| &row[part * width..(part + 1) * width])
}

/// The same, to be written.
#[inline(always)]
fn parts_mut<const N: usize, R>(row: &mut [R], width: usize) -> [&mut [R]; N] {
    let mut chunks = row.chunks_exact_mut(width);
    std::array::from_fn(|_| chunks.next().expect("a row has all its parts"))
}

#[inline(always)]
fn sigmoid<R: Real>(x: R) -> R {
    let half = R::from(0.5).expect("every float type has a half");
    (x * half).tanh_vectorized().mul_add(half, half)
}

/// Numbers of the trace a token and unit of width: the four gates and the cell.
pub(super) const LSTM_TRACE: usize = 5;

/// - `x`: what the input adds, of four parts; `z`: what the state adds
/// - `hidden`, `cell`: the state, replaced by the next
/// - `trace`: gates after their functions, and the next cell
#[inline(always)]
pub(super) fn lstm<R: Real>(x: &[R], z: &[R], hidden: &mut [R], cell: &mut [R], trace: &mut [R]) {
    let width = hidden.len();
    let ([xi, xf, xg, xo], [zi, zf, zg, zo]) = (parts::<4, R>(x, width), parts::<4, R>(z, width));
    let [input, forget, new, output, next] = parts_mut::<LSTM_TRACE, R>(trace, width);
    let cell = &mut cell[..width];
    for j in 0..width {
        let (i, f) = (sigmoid(xi[j] + zi[j]), sigmoid(xf[j] + zf[j]));
        let (g, o) = ((xg[j] + zg[j]).tanh_vectorized(), sigmoid(xo[j] + zo[j]));
        let c = f.mul_add(cell[j], i * g);
        (input[j], forget[j], new[j], output[j], next[j]) = (i, f, g, o, c);
        (cell[j], hidden[j]) = (c, o * c.tanh_vectorized());
    }
}

/// - `past`: the cell before the token
/// - `grad_hidden`: of the loss for the token's output; `grad_cell`: for its cell by what came later, replaced by that for the cell before
/// - `grad_gates`: of four parts, before their functions
#[inline(always)]
pub(super) fn lstm_backward<R: Real>(trace: &[R], past: &[R], grad_hidden: &[R], grad_cell: &mut [R], grad_gates: &mut [R]) {
    let (width, one) = (grad_hidden.len(), R::one());
    let [input, forget, new, output, next] = parts::<LSTM_TRACE, R>(trace, width);
    let [di, df, dg, d_o] = parts_mut::<4, R>(grad_gates, width);
    let (past, grad_cell) = (&past[..width], &mut grad_cell[..width]);
    for j in 0..width {
        let (i, f, g, o) = (input[j], forget[j], new[j], output[j]);
        let shown = next[j].tanh_vectorized();
        let dc = (grad_hidden[j] * o).mul_add(one - shown * shown, grad_cell[j]);
        di[j] = dc * g * i * (one - i);
        df[j] = dc * past[j] * f * (one - f);
        dg[j] = dc * i * (one - g * g);
        d_o[j] = grad_hidden[j] * shown * o * (one - o);
        grad_cell[j] = dc * f;
    }
}

/// Numbers of the trace a token and unit of width: the gates, and what the state adds to the last.
pub(super) const GRU_TRACE: usize = 4;

/// - `x`: what the input adds, of three parts; `z`: what the state adds
/// - `hidden`: the state, replaced by the next
/// - `trace`: gates after their functions, and the last part of `z`
#[inline(always)]
pub(super) fn gru<R: Real>(x: &[R], z: &[R], hidden: &mut [R], trace: &mut [R]) {
    let width = hidden.len();
    let ([xr, xu, xn], [zr, zu, zn]) = (parts::<3, R>(x, width), parts::<3, R>(z, width));
    let [reset, update, new, added] = parts_mut::<GRU_TRACE, R>(trace, width);
    for j in 0..width {
        let (r, u) = (sigmoid(xr[j] + zr[j]), sigmoid(xu[j] + zu[j]));
        let n = r.mul_add(zn[j], xn[j]).tanh_vectorized();
        (reset[j], update[j], new[j], added[j]) = (r, u, n, zn[j]);
        hidden[j] = u.mul_add(hidden[j] - n, n);
    }
}

/// - `past`: the state before the token
/// - `grad_hidden`: of the loss for the token's output, replaced by that for the state before but for what goes through the product
/// - `grad_inputs`, `grad_added`: for `x` and `z`, of three parts
#[inline(always)]
pub(super) fn gru_backward<R: Real>(trace: &[R], past: &[R], grad_hidden: &mut [R], grad_inputs: &mut [R], grad_added: &mut [R]) {
    let (width, one) = (grad_hidden.len(), R::one());
    let [reset, update, new, added] = parts::<GRU_TRACE, R>(trace, width);
    let [xr, xu, xn] = parts_mut::<3, R>(grad_inputs, width);
    let [zr, zu, zn] = parts_mut::<3, R>(grad_added, width);
    let past = &past[..width];
    for j in 0..width {
        let (r, u, n, dh) = (reset[j], update[j], new[j], grad_hidden[j]);
        let dn = dh * (one - u) * (one - n * n);
        let dr = dn * added[j] * r * (one - r);
        let du = dh * (past[j] - n) * u * (one - u);
        (xr[j], xu[j], xn[j]) = (dr, du, dn);
        (zr[j], zu[j], zn[j]) = (dr, du, dn * r);
        grad_hidden[j] = dh * u;
    }
}
