//! PPO of stable-baselines3 with the settings of a job.

use super::python::{figures, python, version_of};
use aaren_agents::config::PpoJob;
use anyhow::Result;
use serde::{Deserialize, Serialize};

const SCRIPT: &str = include_str!("sb3_peer.py");

/// A training up to a score.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Trained {
    /// Environment steps, seconds, and the mean return of the latest episodes.
    pub curve: Vec<(u64, f64, f64)>,
    /// Environment steps and seconds at the score; none where the training ended below it.
    pub reached: Option<(u64, f64)>,
}

/// Its version, if Python has it and Gymnasium.
pub fn version() -> Option<String> {
    version_of("gymnasium").and_then(|_| version_of("stable_baselines3"))
}

/// Trains until the mean of the latest episodes' returns reaches a target.
///
/// # Errors
/// If Python fails or prints something else than the figures.
pub fn train(job: &PpoJob, target_return: f64, episodes: usize, threads: usize) -> Result<Trained> {
    let input = serde_json::json!({
        "env_id": job.env.id,
        "seed": job.seed,
        "threads": threads,
        "target_return": target_return,
        "episodes": episodes,
        "ppo": job.ppo,
    });
    let mut command = python();
    command.args(["-c", SCRIPT]).env("OMP_NUM_THREADS", threads.to_string());
    figures("the peer with stable-baselines3", &mut command, input.to_string().as_bytes())
}
