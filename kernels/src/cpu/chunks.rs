//! Rows shared out to threads.

use super::real::Real;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use std::mem::MaybeUninit;

/// Numbers that `work` makes, a chunk at a time, each of which is zeros before. Zeros are written just before the chunk is worked on,
/// while it is in the cache: to clear large memory whole takes as long as the work on it. One thread works where waking another would
/// take longer; the bits are the same.
pub(crate) fn made_in_chunks<R: Real>(
    count: usize,
    length: usize,
    is_sequential: bool,
    work: impl Fn(usize, &mut [R]) + Sync,
) -> Vec<R> {
    in_begun_chunks(count, length, is_sequential, |index, chunk| work(index, zeroed(chunk)))
}

/// The same of chunks that begin as copies of one row, as many whole ones as there is place for.
///
/// # Panics
/// If a chunk is no whole number of rows.
pub(crate) fn made_on_rows<R: Real>(count: usize, length: usize, row: &[R], work: impl Fn(usize, &mut [R]) + Sync) -> Vec<R> {
    in_begun_chunks(count, length, false, |index, chunk| {
        let mut rows = chunk.chunks_exact_mut(row.len().max(1));
        rows.by_ref().for_each(|copy| {
            copy.write_copy_of_slice(row);
        });
        assert!(rows.into_remainder().is_empty(), "{} numbers are no whole number of rows of {}", chunk.len(), row.len());
        // SAFETY: rows have been copied to all of it: nothing remained.
        work(index, unsafe { chunk.assume_init_mut() });
    })
}

/// Numbers whose chunks `work` writes, every one whole.
fn in_begun_chunks<R: Real>(
    count: usize,
    length: usize,
    is_sequential: bool,
    work: impl Fn(usize, &mut [MaybeUninit<R>]) + Sync,
) -> Vec<R> {
    let mut made = Vec::with_capacity(count);
    let (chunks, length) = (&mut made.spare_capacity_mut()[..count], length.max(1));
    if is_sequential {
        chunks.chunks_mut(length).enumerate().for_each(|(index, chunk)| work(index, chunk));
    } else {
        chunks.par_chunks_mut(length).enumerate().for_each(|(index, chunk)| work(index, chunk));
    }
    // SAFETY: `count` elements fit the capacity, and both callers' work begins by writing its chunk whole.
    unsafe { made.set_len(count) };
    made
}

fn zeroed<R: Real>(chunk: &mut [MaybeUninit<R>]) -> &mut [R] {
    chunk.fill(MaybeUninit::new(R::zero()));
    // SAFETY: every element has just been written.
    unsafe { chunk.assume_init_mut() }
}

/// The same for two at a time: as many chunks of either.
pub(crate) fn made_in_pairs<R: Real>(
    counts: [usize; 2],
    lengths: [usize; 2],
    is_sequential: bool,
    work: impl Fn(usize, &mut [R], &mut [R]) + Sync,
) -> (Vec<R>, Vec<R>) {
    let lengths = lengths.map(|length| length.max(1));
    let [chunks, others] = [0, 1].map(|which| counts[which].div_ceil(lengths[which]));
    assert_eq!(chunks, others, "as many chunks of either");
    let [mut first, mut second] = counts.map(Vec::with_capacity);
    let work = |index: usize, first: &mut [MaybeUninit<R>], second: &mut [MaybeUninit<R>]| {
        work(index, zeroed(first), zeroed(second));
    };
    let halves = [&mut first.spare_capacity_mut()[..counts[0]], &mut second.spare_capacity_mut()[..counts[1]]];
    in_pairs(halves, lengths, is_sequential, work);
    // SAFETY: the elements fit the capacities, and as there are as many chunks of either, every one has been written.
    unsafe {
        first.set_len(counts[0]);
        second.set_len(counts[1]);
    }
    (first, second)
}

/// Runs `work` on pairs of chunks, on this thread alone where waking another would take longer. The bits are the same.
pub(crate) fn for_chunk_pairs<R: Real>(
    data: [&mut [R]; 2],
    lengths: [usize; 2],
    is_sequential: bool,
    work: impl Fn(usize, &mut [R], &mut [R]) + Sync,
) {
    let lengths = lengths.map(|length| length.max(1));
    in_pairs(data, lengths, is_sequential, work);
}

fn in_pairs<T: Send>(
    [first, second]: [&mut [T]; 2],
    lengths: [usize; 2],
    is_sequential: bool,
    work: impl Fn(usize, &mut [T], &mut [T]) + Sync,
) {
    if is_sequential {
        let pairs = first.chunks_mut(lengths[0]).zip(second.chunks_mut(lengths[1]));
        pairs.enumerate().for_each(|(index, (first, second))| work(index, first, second));
    } else {
        let pairs = first.par_chunks_mut(lengths[0]).zip(second.par_chunks_mut(lengths[1]));
        pairs.enumerate().for_each(|(index, (first, second))| work(index, first, second));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_is_zeros_and_then_what_is_made_of_it() {
        for is_sequential in [true, false] {
            for (count, length) in [(0, 3), (7, 3), (9, 3), (5, 0), (2, 100)] {
                let made = made_in_chunks(count, length, is_sequential, |index, chunk: &mut [f32]| {
                    assert!(chunk.iter().all(|&number| number == 0.0));
                    chunk.iter_mut().skip(1).for_each(|number| *number = index as f32 + 1.0);
                });
                let expected = |at: usize| if at.is_multiple_of(length.max(1)) { 0.0 } else { (at / length.max(1)) as f32 + 1.0 };
                assert_eq!(made, (0..count).map(expected).collect::<Vec<_>>());
            }
            let (first, second) = made_in_pairs([5, 3], [2, 1], is_sequential, |index, first: &mut [f32], second| {
                first.fill(index as f32);
                second[0] = first.len() as f32;
            });
            assert_eq!((first, second), (vec![0.0, 0.0, 1.0, 1.0, 2.0], vec![2.0, 2.0, 1.0]));
        }
    }

    #[test]
    #[should_panic(expected = "as many chunks of either")]
    fn pairs_have_partners() {
        made_in_pairs([5, 3], [1, 1], true, |_, _: &mut [f32], _| {});
    }
}
