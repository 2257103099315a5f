//! Rows shared out to threads.

use super::real::Real;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// Runs `work` on every chunk of some data, on this thread alone where waking another would take longer. The bits are the same.
pub(crate) fn for_chunks<R: Real>(data: &mut [R], length: usize, is_sequential: bool, work: impl Fn(usize, &mut [R]) + Sync) {
    let length = length.max(1);
    if is_sequential {
        data.chunks_mut(length).enumerate().for_each(|(index, chunk)| work(index, chunk));
    } else {
        data.par_chunks_mut(length).enumerate().for_each(|(index, chunk)| work(index, chunk));
    }
}

/// The same for chunks of two.
pub(crate) fn for_chunk_pairs<R: Real>(
    [first, second]: [&mut [R]; 2],
    lengths: [usize; 2],
    is_sequential: bool,
    work: impl Fn(usize, &mut [R], &mut [R]) + Sync,
) {
    let lengths = lengths.map(|length| length.max(1));
    if is_sequential {
        let chunks = first.chunks_mut(lengths[0]).zip(second.chunks_mut(lengths[1]));
        chunks.enumerate().for_each(|(index, (first, second))| work(index, first, second));
    } else {
        let chunks = first.par_chunks_mut(lengths[0]).zip(second.par_chunks_mut(lengths[1]));
        chunks.enumerate().for_each(|(index, (first, second))| work(index, first, second));
    }
}
