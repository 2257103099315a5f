//! What the CPU implementations share: number types, typed views of tensors, matrix products.

mod chunks;
mod matrix;
mod real;
mod view;

pub(crate) use chunks::{for_chunk_pairs, for_chunks};
pub(crate) use matrix::{Matrix, product};
pub(crate) use real::{Real, by_float, dot, serves, vectorize};
pub(crate) use view::{View, flags, indices, tensor, view, viewable, whole};
