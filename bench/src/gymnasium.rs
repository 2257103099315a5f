//! A vector step of environments in Python: through one worker process, beside Gymnasium's vectors, under random actions.
//!
//! All of them take turns in short slices, as in `aaren-bench env`. The first slice of each makes its environments and is not counted.

use crate::measure::{Column, Spread, library, or_dash, publish, table};
use crate::peers::gymnasium::{ASYNC_VECTOR, Library, Peer, SYNC_VECTOR};
use aaren_agents::run::interrupt;
use aaren_envs::{ActionBatch, Autoreset, Generator, Space, VectorEnv};
use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::{Map, json};
use std::{path::Path, time::Instant};

/// Options of `aaren-bench gymnasium`.
#[derive(Debug, Args)]
pub struct GymnasiumArgs {
    /// Environments to step, by their names in Gymnasium; may be repeated
    #[arg(long = "env", value_name = "NAME", default_values_t = ["CartPole-v1", "Pendulum-v1"].map(String::from))]
    env_ids: Vec<String>,
    /// Environments of a vector; may be repeated
    #[arg(long = "copies", value_name = "N", default_values_t = [1, 8, 64])]
    copies: Vec<usize>,
    /// Turns of each contender
    #[arg(long, value_name = "N", default_value_t = 9)]
    turns: usize,
    /// Vector steps of a turn
    #[arg(long, value_name = "N", default_value_t = 500)]
    steps: usize,
    /// Leave Gymnasium's vectors out
    #[arg(long)]
    no_peer: bool,
}

/// Of actions and first states.
const SEED: u64 = 1;

#[derive(Debug, Serialize)]
struct Row {
    env: String,
    copies: usize,
    /// Microseconds of a vector step.
    aaren_microseconds: Spread,
    async_microseconds: Option<Spread>,
    sync_microseconds: Option<Spread>,
}

const COLUMNS: &[Column<Row>] = &[
    ("environment", |row| row.env.clone()),
    ("copies", |row| row.copies.to_string()),
    ("a worker, µs (min, max)", |row| row.aaren_microseconds.to_string()),
    ("of each copy", |row| format!("{:.1}", row.aaren_microseconds.median / row.copies as f64)),
    ("SyncVectorEnv, µs", |row| or_dash(row.sync_microseconds, |spread| spread.to_string())),
    ("AsyncVectorEnv, µs", |row| or_dash(row.async_microseconds, |spread| spread.to_string())),
];

pub fn run(args: &GymnasiumArgs, json: Option<&Path>) -> Result<()> {
    ensure!(args.turns > 0 && args.steps > 0, "--turns and --steps must be positive");
    ensure!(!args.copies.contains(&0), "--copies must be positive");
    let version = ASYNC_VECTOR.version();
    let mut rows = Vec::new();
    for env_id in &args.env_ids {
        for &copies in &args.copies {
            let peers: &[Library] = if args.no_peer || version.is_none() { &[] } else { &[SYNC_VECTOR, ASYNC_VECTOR] };
            rows.push(measure(env_id, copies, args, peers)?);
        }
    }
    let text = format!("{}; a vector step\n{}", library("Gymnasium", version.as_ref()), table(&rows, 1, COLUMNS));
    publish(&json!({"gymnasium": version, "rows": rows}), &text, json)
}

fn measure(env_id: &str, copies: usize, args: &GymnasiumArgs, libraries: &[Library]) -> Result<Row> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let options = Map::from_iter([("python".to_string(), python.into())]);
    let mut ours = VectorEnv::make(&format!("gymnasium:{env_id}"), &options, copies, Autoreset::NextStep)?;
    let mut peers = libraries.iter().map(|library| Peer::start(*library)).collect::<Result<Vec<_>>>()?;
    let mut microseconds = vec![Vec::new(); 1 + peers.len()];
    for turn in 0..=args.turns {
        interrupt::check()?;
        let mut slices = vec![play(&mut ours, args.steps)?];
        for peer in &mut peers {
            peer.ask(env_id, copies, args.steps, SEED)?;
            slices.push(peer.answer()?.seconds);
        }
        if turn > 0 {
            let micro = |seconds: f64| 1e6 * seconds / args.steps as f64;
            microseconds.iter_mut().zip(slices).for_each(|(all, seconds)| all.push(micro(seconds)));
        }
    }
    let spread = |contender: usize| microseconds.get(contender).map(|all| Spread::of(all));
    Ok(Row {
        env: env_id.into(),
        copies,
        aaren_microseconds: Spread::of(&microseconds[0]),
        sync_microseconds: spread(1),
        async_microseconds: spread(2),
    })
}

/// Seconds of so many steps with random actions, which are drawn before.
fn play(envs: &mut VectorEnv, steps: usize) -> Result<f64> {
    let (mut generator, copies) = (Generator::from_seed(SEED), envs.copies());
    let space = envs.spec().action_space.clone();
    let width = space.width();
    let (mut indices, mut numbers, mut sample) = (Vec::new(), Vec::new(), vec![0.0; width]);
    for _ in 0..steps * copies {
        match space {
            Space::Discrete { .. } => indices.push(space.sample_index(&mut generator)),
            Space::Box { .. } => {
                space.sample(&mut generator, &mut sample);
                numbers.extend(sample.iter().map(|&value| value as f32));
            }
        }
    }
    envs.reset(Some(SEED))?;
    let started = Instant::now();
    for step in 0..steps {
        let actions = match space {
            Space::Discrete { .. } => ActionBatch::Discrete(&indices[step * copies..][..copies]),
            Space::Box { .. } => ActionBatch::F32(&numbers[step * copies * width..][..copies * width]),
        };
        envs.step(actions, None)?;
    }
    Ok(started.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_of_our_own_is_measured_like_one_in_python() {
        for id in ["CartPole-v1", "Pendulum-v1"] {
            let mut envs = VectorEnv::make(id, &Map::new(), 3, Autoreset::NextStep).unwrap();
            assert!(play(&mut envs, 250).unwrap() > 0.0, "{id}");
        }
    }
}
