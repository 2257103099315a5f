//! On the CPU a seed is a run: the number of threads changes no bit of it, and another seed is another run.

use crate::common::*;

/// Batches as large as the quickstart's, which are divided among threads; few steps.
const LARGE: &[&str] = &["train.steps=3", "data.scripted.episodes=60", "evaluation.every=0", "evaluation.final_episodes=4"];

fn trained(mixer: &str, threads: usize, more: &[&str]) -> (Vec<u8>, Vec<serde_json::Value>) {
    let folder = tempfile::tempdir().unwrap();
    let mixer = format!("policy.mixer={mixer}");
    let overrides = [LARGE, &[&*mixer, "policy.dropout=0.1"], more].concat();
    let mut command = aaren(folder.path(), &["train", "--run", "run"], &overrides);
    stdout(command.env("RAYON_NUM_THREADS", threads.to_string()));
    let run = folder.path().join("run");
    let returns = lines_with(&run, "evaluation/return_mean");
    (weights(&run, 3), returns)
}

#[test]
fn a_seed_gives_the_same_bits_for_any_number_of_threads() {
    for mixer in ["aaren", "transformer"] {
        let one = trained(mixer, 1, &[]);
        for threads in [1, 2, 3] {
            assert!(trained(mixer, threads, &[]) == one, "{mixer}, {threads} threads");
        }
        assert!(trained(mixer, 1, &["seed=2"]).0 != one.0, "{mixer}: another seed, the same weights");
    }
}
