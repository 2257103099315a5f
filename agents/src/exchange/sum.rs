//! Adding gradients over all ranks, in the order of the shards.

use anyhow::{Context, Result, ensure};

use super::{Ranks, Shards, Tree};

/// Numbers of a vector that are exchanged at a time: MPI counts bytes in 32 bits.
const BLOCK: usize = 1 << 26;

/// What the shards of a batch give together.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sum {
    /// The mean over the shards.
    pub vector: Vec<f32>,
    /// Of every shard, in order: what it had to say beside its vector.
    pub numbers: Vec<Vec<f64>>,
}

impl Sum {
    /// The mean of one of the numbers over the shards, added in their order.
    pub(crate) fn mean(&self, index: usize) -> f64 {
        self.numbers.iter().map(|numbers| numbers[index]).sum::<f64>() / self.numbers.len() as f64
    }
}

impl Ranks {
    /// The shards that this process works on.
    ///
    /// # Errors
    /// If the processes cannot share them evenly; `key` is what says how many there are.
    pub(crate) fn shards(&self, count: usize, key: &str) -> Result<Shards> {
        let (rank, size) = (self.rank(), self.size());
        let more = if size.is_power_of_two() { format!(", or begin a run with --set {key}={size}") } else { String::new() };
        ensure!(
            count.is_multiple_of(size),
            "{key}: found {count} with {size} processes, which cannot share that many parts of a batch evenly; start a number of processes \
             that divides it{more}"
        );
        Ok(Shards { count, own: rank * count / size..(rank + 1) * count / size })
    }

    /// The mean of a vector over all shards, equally long for all, and what each shard says beside it. Whatever the number of ranks, the
    /// same bits.
    ///
    /// - `own`: of this process's shards: the vectors' sum
    /// - `numbers`: equally many of each of them
    ///
    /// # Errors
    /// If the others do not come in time.
    pub(crate) fn mean(&self, shards: &Shards, own: Tree, numbers: Vec<Vec<f64>>) -> Result<Sum> {
        let mut vector = own.sum();
        let numbers = match self.size() {
            1 => numbers,
            size => {
                let mut said = Vec::new();
                let own: Vec<f64> = numbers.into_iter().flatten().collect();
                for start in (0..vector.len()).step_by(BLOCK) {
                    let block = start..(start + BLOCK).min(vector.len());
                    let rest = if start == 0 { &own[..] } else { &[] };
                    said.extend(self.sum_block(size, &mut vector[block], rest)?);
                }
                let each = said.len() / shards.count;
                said.chunks_exact(each.max(1)).map(<[_]>::to_vec).collect()
            }
        };
        // A power of two: nothing is rounded.
        let share = 1.0 / shards.count as f32;
        vector.iter_mut().for_each(|number| *number *= share);
        Ok(Sum { vector, numbers })
    }

    /// Adds a block over all ranks in place; gives what all said beside it.
    fn sum_block(&self, size: usize, block: &mut [f32], rest: &[f64]) -> Result<Vec<f64>> {
        // Every rank adds the sums of all for one slice, and hands that to all.
        let slice = block.len().div_ceil(size);
        let mut sent = block.to_vec();
        sent.resize(slice * size, 0.0);
        let parts = self.carry(|exchange| exchange.all_to_all(bytemuck::cast_slice(&sent))).context("adding gradients")?;
        let mut tree = Tree::default();
        parts.chunks_exact(4 * slice).for_each(|part| tree.push(numbers_of(part)));
        let mut bytes: Vec<u8> = bytemuck::cast_slice(rest).to_vec();
        bytes.extend_from_slice(bytemuck::cast_slice(&tree.sum()));
        let gathered = self.gather_equal(&bytes).context("adding gradients")?;
        let mut said = Vec::new();
        for (bytes, sums) in gathered.iter().zip(block.chunks_mut(slice)) {
            let (numbers, slice) = bytes.split_at(8 * rest.len());
            said.extend(numbers_of::<f64>(numbers));
            sums.iter_mut().zip(numbers_of::<f32>(slice)).for_each(|(sum, found)| *sum = found);
        }
        // More ranks than numbers: the last have no slice, and something to say all the same.
        for bytes in gathered.iter().skip(block.len().div_ceil(slice.max(1))) {
            said.extend(numbers_of::<f64>(&bytes[..8 * rest.len()]));
        }
        Ok(said)
    }
}

/// Numbers of bytes, which need not lie where numbers may.
fn numbers_of<T: bytemuck::Pod>(bytes: &[u8]) -> Vec<T> {
    let mut numbers = vec![T::zeroed(); bytes.len() / size_of::<T>()];
    bytemuck::cast_slice_mut(&mut numbers).copy_from_slice(bytes);
    numbers
}
