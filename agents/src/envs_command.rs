//! `aaren envs`: list the environments, replay recordings in them.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;

use crate::report::{self, number};

/// What to do with environments; nothing lists them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replay a recorded episode and report the largest errors
    Replay {
        /// The recording, a JSON file
        fixture: PathBuf,
    },
}

/// Does it.
///
/// # Errors
/// If the recording cannot be replayed, or its episode ends otherwise than recorded.
pub fn run(command: Option<Command>) -> Result<()> {
    match command {
        None => list(),
        Some(Command::Replay { fixture }) => replay(&fixture),
    }
}

fn list() -> Result<()> {
    let mut table = report::table(&["environment", "what it is", "options (default)"]);
    for task in envs::tasks() {
        let options: Vec<String> =
            task.options.iter().map(|option| format!("{} ({}): {}", option.key, option.default, option.help)).collect();
        let what = match task.missing() {
            Some(missing) => format!("{}\n{missing}", task.summary),
            None => task.summary.to_string(),
        };
        table.add_row([task.id.to_string(), what, options.join("\n")]);
    }
    report::print(format!("{table}\nEvery environment also takes max_episode_steps (steps, null for no limit)."))
}

fn replay(fixture: &std::path::Path) -> Result<()> {
    let replayed = envs::replay(fixture)?;
    let mut table = report::table(&["replay", &replayed.env_id]);
    for (name, value) in [
        ("recording", replayed.file.clone()),
        ("steps", replayed.steps.to_string()),
        ("steps equal to the last bit", replayed.steps_bit_equal.to_string()),
        ("steps the errors are of", replayed.robust_steps.to_string()),
        ("largest error of an observation", number(replayed.max_abs_error_observation)),
        ("largest error of a reward", number(replayed.max_abs_error_reward)),
        ("largest error of a simulation state", number(replayed.max_abs_error_state)),
        ("largest error of a diagnostic", number(replayed.max_abs_error_info)),
        ("return", replayed.episode_return.map_or("-".into(), number)),
    ] {
        table.add_row([name.to_string(), value]);
    }
    report::print(table)?;
    if !replayed.flags_equal {
        bail!("{}: the episode does not end as recorded", fixture.display());
    }
    Ok(())
}
