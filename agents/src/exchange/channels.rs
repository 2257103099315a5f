//! Ranks that are threads of one process, for tests: the same code as over MPI, without it.

use std::sync::{Arc, Barrier, Mutex, PoisonError};

use anyhow::Result;

use super::{Exchange, Ranks};

/// One of several threads that hand bytes to each other.
struct Threads {
    rank: usize,
    size: usize,
    said: Arc<Mutex<Vec<Vec<u8>>>>,
    barrier: Arc<Barrier>,
}

impl Threads {
    /// What all said, in order of rank.
    fn all(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let lock = || self.said.lock().unwrap_or_else(PoisonError::into_inner);
        lock()[self.rank] = bytes.to_vec();
        self.barrier.wait();
        let all = lock().clone();
        self.barrier.wait();
        let len = all[0].len();
        assert!(all.iter().all(|said| said.len() == len), "every rank says equally much");
        all
    }
}

impl Exchange for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_to_all(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let part = bytes.len() / self.size;
        Ok(self.all(bytes).iter().flat_map(|said| said[self.rank * part..(self.rank + 1) * part].to_vec()).collect())
    }

    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        Ok(self.all(bytes).concat())
    }

    fn broadcast(&self, bytes: &mut [u8]) -> Result<()> {
        bytes.copy_from_slice(&self.all(bytes)[0]);
        Ok(())
    }
}

/// Does the same work on so many ranks at once; gives what each made of it. Should one fail or panic, the others would wait for ever: so
/// `work` must not, or on all.
pub(crate) fn on_ranks<T: Send>(size: usize, work: impl Fn(&Ranks) -> T + Sync) -> Vec<T> {
    let (said, barrier) = (Arc::new(Mutex::new(vec![Vec::new(); size])), Arc::new(Barrier::new(size)));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..size)
            .map(|rank| {
                let threads = Threads { rank, size, said: said.clone(), barrier: barrier.clone() };
                let work = &work;
                scope.spawn(move || work(&Ranks::new(threads)))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::super::sum::Sum;
    use super::super::{Shards, Tree};
    use super::*;
    use std::path::Path;

    /// What the shards 0 to 7 give together on so many ranks.
    fn sums(size: usize, len: usize) -> Vec<Sum> {
        on_ranks(size, |ranks| {
            let shards = ranks.shards(8, "train.shards").unwrap();
            let mut tree = Tree::default();
            for shard in shards.own.clone() {
                tree.push((0..len).map(|i| ((shard * 31 + i * 17) % 101) as f32 * 0.01 + 1e4 * (shard % 3) as f32).collect());
            }
            let numbers = shards.own.clone().map(|shard| vec![shard as f64 + 0.1, 1.0 / (shard + 1) as f64]).collect();
            ranks.mean(&shards, tree, numbers).unwrap()
        })
    }

    #[test]
    fn any_number_of_ranks_adds_to_the_same_bits() {
        for len in [1, 2, 3, 1000, 1003] {
            let alone = sums(1, len).remove(0);
            assert_eq!(alone.numbers.len(), 8);
            for size in [2, 4, 8] {
                let found = sums(size, len);
                assert!(found.iter().all(|sum| *sum == alone), "{size} ranks, {len} numbers");
            }
        }
        assert!(Shards::all(8).own == (0..8));
    }

    #[test]
    fn processes_that_cannot_share_the_shards_are_refused() {
        let said = on_ranks(3, |ranks| format!("{:#}", ranks.shards(4, "train.shards").unwrap_err()));
        assert!(said.iter().all(|said| said.contains("train.shards: found 4 with 3 processes")), "{said:?}");
    }

    #[test]
    fn what_ranks_say_arrives_in_order_whatever_its_length() {
        let all = on_ranks(3, |ranks| {
            let first = ranks.from_first(|| Ok(format!("from {}", ranks.rank()))).unwrap();
            let rank = ranks.rank();
            let work = ranks.together(move || Ok(slowly(rank))).unwrap();
            (first, ranks.gather_values(vec![ranks.rank() as u8; ranks.rank()]).unwrap(), work)
        });
        for (rank, (first, gathered, work)) in all.into_iter().enumerate() {
            assert_eq!((first.as_str(), gathered, work), ("from 0", vec![vec![], vec![1], vec![2, 2]], rank * 10));
        }
    }

    fn slowly(rank: usize) -> usize {
        std::thread::sleep(std::time::Duration::from_millis(30 * rank as u64));
        rank * 10
    }

    #[test]
    fn a_folder_of_rank_0_is_copied_with_its_name_and_the_folders_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = folder.path().join("step-00000007");
        std::fs::create_dir_all(checkpoint.join("last")).unwrap();
        std::fs::write(checkpoint.join("weights"), [1, 2, 3]).unwrap();
        std::fs::write(checkpoint.join("last/weights"), []).unwrap();
        let read = |at: &Path| (std::fs::read(at.join("weights")).unwrap(), std::fs::read(at.join("last/weights")).unwrap());
        let copies = on_ranks(2, |ranks| {
            let of = ranks.is_first().then_some(&*checkpoint);
            let none = ranks.copy_of_first(None).unwrap().is_none();
            (none, ranks.copy_of_first(of).unwrap().map(|copy| read(&copy.path().join("step-00000007"))))
        });
        assert_eq!(copies, [(true, None), (true, Some((vec![1, 2, 3], vec![])))]);
    }
}
