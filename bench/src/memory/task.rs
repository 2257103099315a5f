//! The tasks of `aaren-bench memory`: what the difficulty of each is, who plays for the data, and what a score means.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// A family of tasks that differ in one number, the difficulty.
#[derive(Debug)]
pub struct MemoryTask {
    pub name: &'static str,
    /// What the difficulty is.
    pub difficulty: &'static str,
    pub default_difficulties: &'static [f64],
    /// What a score means.
    pub score: &'static str,
    /// The task with a difficulty: the job's key `env`.
    env: fn(f64) -> Value,
    /// What returns are divided by, and the return that is asked for.
    returns: fn(f64) -> (f64, f64),
    /// Whether the scripted player takes `quality`; its actions have noise otherwise.
    takes_quality: bool,
}

/// Forward steps of the maze whose difficulty is the number of cues.
pub const LAST_CUE_CORRIDOR: usize = 40;

pub const TASKS: &[MemoryTask] = &[
    MemoryTask {
        name: "tmaze",
        difficulty: "corridor",
        default_difficulties: &[20.0, 100.0, 500.0, 2000.0],
        score: "share of right turns; 0.5 without memory, 1 is perfect",
        env: |corridor| json!({"id": "TMaze-v0", "options": {"corridor": whole(corridor)}}),
        returns: |_| (1.0, 1.0),
        takes_quality: true,
    },
    MemoryTask {
        name: "repeat-previous",
        difficulty: "k",
        default_difficulties: &[4.0, 16.0, 32.0, 64.0],
        score: "return; -0.5 is guessing, 1 is perfect",
        env: |k| json!({"id": "RepeatPrevious-v0", "options": {"k": whole(k), "decks": decks(k)}}),
        returns: |_| (1.0, 1.0),
        takes_quality: true,
    },
    MemoryTask {
        name: "last-cue",
        difficulty: "cues",
        default_difficulties: &[2.0, 4.0, 16.0],
        score: "share of right turns; 0.5 without memory, 1 is perfect; 0.75 for 2 and 0.69 for 4 cues without their order",
        env: |cues| json!({"id": "LastCue-v0", "options": {"corridor": LAST_CUE_CORRIDOR, "cues": whole(cues)}}),
        returns: |_| (1.0, 1.0),
        takes_quality: true,
    },
    MemoryTask {
        name: "repeat-first",
        difficulty: "decks",
        default_difficulties: &[1.0, 8.0, 16.0],
        score: "return; -0.5 is guessing, 1 is perfect",
        env: |decks| json!({"id": "RepeatFirst-v0", "options": {"decks": whole(decks)}}),
        returns: |_| (1.0, 1.0),
        takes_quality: true,
    },
    MemoryTask {
        name: "count-recall",
        difficulty: "decks",
        default_difficulties: &[1.0, 2.0, 4.0],
        score: "return; about -0.9 is one count always, 1 is perfect; the colors of 1 deck, the suits of 2, the ranks of more",
        env: |decks| json!({"id": "CountRecall-v0", "options": {"decks": whole(decks), "kind": kind(decks)}}),
        returns: |_| (1.0, 1.0),
        takes_quality: true,
    },
    MemoryTask {
        name: "higher-lower",
        difficulty: "decks",
        default_difficulties: &[1.0, 2.0, 3.0],
        score: "return; 0 is guessing, 0.497 is the best without memory, 0.528 with 1 deck and 0.511 with 3 the best there is",
        env: |decks| json!({"id": "HigherLower-v0", "options": {"decks": whole(decks)}}),
        returns: |_| (1.0, 0.6),
        takes_quality: true,
    },
    MemoryTask {
        name: "bandit",
        difficulty: "arms",
        default_difficulties: &[10.0, 20.0, 30.0],
        score: "return of 20 pulls for each arm; 0 is guessing, 0.72 with 10 arms and 0.85 with 30 is the script's",
        env: |arms| json!({"id": "MultiarmedBandit-v0", "options": {"arms": whole(arms), "pulls": whole(20.0 * arms)}}),
        returns: |_| (1.0, 0.9),
        takes_quality: true,
    },
    MemoryTask {
        name: "noisy-pendulum",
        difficulty: "noise",
        default_difficulties: &[0.0, 0.1, 0.2, 0.3],
        score: "return with the velocity hidden; about -1200 is random, -150 is good",
        env: |noise| json!({"id": "Pendulum-v1", "options": {"hide_velocity": true, "noise": noise}}),
        returns: |_| (1000.0, -150.0),
        takes_quality: false,
    },
    MemoryTask {
        name: "delayed-pendulum",
        difficulty: "delay",
        default_difficulties: &[1.0, 20.0, 200.0],
        score: "return, paid every so many steps; about -1200 is random, -150 is good",
        env: |delay| json!({"id": "Pendulum-v1", "options": {"reward_delay": whole(delay)}}),
        returns: |_| (1000.0, -150.0),
        takes_quality: false,
    },
    MemoryTask {
        name: "cart-pole",
        difficulty: "steps",
        default_difficulties: &[500.0],
        score: "steps upright with the velocities hidden; the difficulty is the time limit",
        env: |steps| json!({"id": "CartPole-v1", "options": {"hide_velocity": true, "max_episode_steps": whole(steps)}}),
        returns: |steps| (steps, steps),
        takes_quality: true,
    },
];

/// A whole number without a decimal point, which is how JSON says integer; the task refuses any other.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 && (0.0..1e15).contains(&number) { json!(number as u64) } else { json!(number) }
}

/// POPGym's decks where it says some (k of 4, 32 and 64), and about as many for other k.
fn decks(k: f64) -> u64 {
    if k <= 16.0 { 1 } else { (k + 1.0) as u64 / 52 + 2 }
}

/// What is told apart in POPGym's three sizes of CountRecall.
fn kind(decks: f64) -> &'static str {
    match decks {
        decks if decks < 2.0 => "colors",
        decks if decks < 3.0 => "suits",
        _ => "ranks",
    }
}

impl MemoryTask {
    /// The keys of a job for a difficulty, as far as they depend on the task; `quality` is that of the scripted player.
    pub fn keys(&self, difficulty: f64, quality: f64) -> Value {
        let (scale, target) = (self.returns)(difficulty);
        json!({
            "env": (self.env)(difficulty),
            "data": {"scripted": if self.takes_quality { json!({"quality": quality}) } else { json!({"noise": 0.3}) }},
            "policy": {"return_scale": scale},
            "evaluation": {"target_returns": [target]}
        })
    }
}

/// A task and its difficulties, from `NAME` or `NAME:DIFFICULTY[:DIFFICULTY..]`.
pub fn parse(text: &str) -> Result<(&'static MemoryTask, Vec<f64>)> {
    let mut parts = text.split(':');
    let name = parts.next().unwrap_or_default();
    let names = || TASKS.iter().map(|task| task.name).collect::<Vec<_>>().join(", ");
    let task = TASKS.iter().find(|task| task.name == name);
    let Some(task) = task else { anyhow::bail!("there is no task \"{name}\"; there are {}", names()) };
    let difficulties = parts.map(|part| difficulty(part).map_err(anyhow::Error::msg)).collect::<Result<_>>()?;
    Ok((task, difficulties))
}

/// A difficulty on the command line.
pub fn difficulty(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| format!("found \"{text}\", expected a number of at least 0"))
}

/// Which difficulties of which tasks are measured.
///
/// # Errors
/// An unknown task, or `--difficulty` for several tasks or beside one that names its own.
pub fn selected(tasks: &[String], difficulties: &[f64]) -> Result<Vec<(&'static MemoryTask, f64)>> {
    ensure!(
        difficulties.is_empty() || tasks.len() == 1,
        "--difficulty: found with {} tasks, expected --tasks with one; write --tasks NAME:DIFFICULTY for several",
        tasks.len()
    );
    let mut selected = Vec::new();
    for text in tasks {
        let (task, own) = parse(text).map_err(|error| error.context(format!("--tasks {text}")))?;
        ensure!(own.is_empty() || difficulties.is_empty(), "--difficulty: --tasks {text} names its difficulty already");
        let chosen = match (own.is_empty(), difficulties.is_empty()) {
            (false, _) => own,
            (true, false) => difficulties.to_vec(),
            (true, true) => task.default_difficulties.to_vec(),
        };
        selected.extend(chosen.into_iter().map(|difficulty| (task, difficulty)));
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_chosen_by_name_and_difficulty() {
        let chosen = |tasks: &[&str], difficulties: &[f64]| {
            let tasks: Vec<String> = tasks.iter().map(|task| task.to_string()).collect();
            selected(&tasks, difficulties)
                .map(|list| list.into_iter().map(|(task, at)| (task.name, at)).collect::<Vec<_>>())
                .map_err(|error| format!("{error:#}"))
        };
        assert_eq!(
            chosen(&["tmaze:20:7", "noisy-pendulum:0.2"], &[]).unwrap(),
            [("tmaze", 20.0), ("tmaze", 7.0), ("noisy-pendulum", 0.2)]
        );
        assert_eq!(chosen(&["tmaze"], &[3.0]).unwrap(), [("tmaze", 3.0)]);
        assert_eq!(chosen(&["tmaze"], &[]).unwrap().len(), 4);
        assert!(chosen(&["tmaze", "cart-pole"], &[3.0]).unwrap_err().contains("--difficulty: found with 2 tasks"));
        assert!(chosen(&["tmaze:2"], &[3.0]).unwrap_err().contains("names its difficulty already"));
        assert!(chosen(&["maze"], &[]).unwrap_err().contains("there are tmaze, repeat-previous, "));
        for wrong in ["tmaze:", "tmaze:x", "tmaze:-1", "tmaze:inf"] {
            assert!(chosen(&[wrong], &[]).unwrap_err().contains("expected a number of at least 0"), "{wrong}");
        }
    }

    #[test]
    fn decks_are_popgyms() {
        assert_eq!([1.0, 2.0, 4.0].map(kind), ["colors", "suits", "ranks"]);
        assert_eq!([1.0, 4.0, 16.0, 17.0, 32.0, 50.0, 51.0, 64.0, 128.0].map(decks), [1, 1, 1, 2, 2, 2, 3, 3, 4]);
    }
}
