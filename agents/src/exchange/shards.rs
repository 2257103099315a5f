//! The shards of a batch, and the tree that their gradients are added in.

use std::ops::Range;

/// The equal parts that a batch is cut into, and those of them that a process works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shards {
    /// All of them, a power of two.
    pub count: usize,
    /// Numbers of this process's.
    pub own: Range<usize>,
}

impl Shards {
    /// All shards, in one process.
    pub(crate) fn all(count: usize) -> Self {
        Self { count, own: 0..count }
    }

    /// This process's own part of something that has as many equal parts as there are shards.
    pub(crate) fn own_of<'a, T>(&self, whole: &'a [T]) -> impl Iterator<Item = (usize, &'a [T])> {
        let len = whole.len() / self.count;
        self.own.clone().map(move |shard| (shard, &whole[shard * len..(shard + 1) * len]))
    }
}

/// Adds vectors pairwise, pairs of pairs after that, and so on: `((a + b) + (c + d)) + ...`, in the order in which they come.
///
/// The sum of an aligned half of the vectors is a node of the tree of all, so that halves can be added elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// Sums of 1, 2, 4, ... vectors that have no partner yet, the largest first.
    waiting: Vec<(usize, Vec<f32>)>,
}

impl Tree {
    /// Takes the next vector.
    pub(crate) fn push(&mut self, mut vector: Vec<f32>) {
        let mut leaves = 1;
        while let Some((_, left)) = self.waiting.pop_if(|(count, _)| *count == leaves) {
            // The left one is the first operand, as the tree has it.
            vector.iter_mut().zip(left).for_each(|(right, left)| *right += left);
            leaves *= 2;
        }
        self.waiting.push((leaves, vector));
    }

    /// The sum of all vectors, which were a power of two.
    pub(crate) fn sum(mut self) -> Vec<f32> {
        debug_assert_eq!(self.waiting.len(), 1, "a power of two of vectors");
        self.waiting.pop().map(|(_, sum)| sum).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_added_in_pairs() {
        // Each number alone is lost beside the large one; together they are not.
        let numbers = [1e8f32, 3.0, 3.0, 3.0, 1.0, 2.0, 3.0, -1e8];
        let mut tree = Tree::default();
        numbers.iter().for_each(|&number| tree.push(vec![number, 1.0]));
        let [a, b, c, d, e, f, g, h] = numbers;
        assert_eq!(tree.sum(), [((a + b) + (c + d)) + ((e + f) + (g + h)), 8.0]);
        assert_ne!(numbers.iter().sum::<f32>(), ((a + b) + (c + d)) + ((e + f) + (g + h)), "the order counts here");
    }

    #[test]
    fn sums_of_aligned_halves_are_nodes_of_the_whole_tree() {
        let vector = |shard: usize| (0..5).map(|i| ((shard * 7 + i * 3) % 11) as f32 * 0.37 + 1e4 * (shard % 3) as f32).collect();
        let sum = |vectors: Vec<Vec<f32>>| {
            let mut tree = Tree::default();
            vectors.into_iter().for_each(|vector| tree.push(vector));
            tree.sum()
        };
        let whole = sum((0..8).map(vector).collect());
        for ranks in [1, 2, 4, 8] {
            let halves = (0..ranks).map(|rank| sum((rank * 8 / ranks..(rank + 1) * 8 / ranks).map(vector).collect()));
            assert_eq!(sum(halves.collect()), whole, "{ranks}");
        }
    }
}
