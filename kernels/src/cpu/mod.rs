//! What the CPU implementations share: number types, typed views of tensors, matrix products.

mod chunks;
mod matrix;
mod prefetch;
mod real;
mod view;

pub(crate) use chunks::{for_chunk_pairs, made_in_chunks, made_in_pairs, made_on_rows};
pub(crate) use matrix::{Matrix, product};
pub(crate) use prefetch::prefetch;
pub(crate) use real::{Real, by_float, dot, serves, vectorize};
pub(crate) use view::{View, flags, indices, tensor, view, viewable, whole};
