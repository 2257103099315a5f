//! `aaren envs`: list the environments, replay recordings in them.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;

use aaren_agents::run::report;

/// What to do with environments; nothing lists them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replay a recorded episode and print the largest errors as JSON
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
    for task in aaren_envs::tasks() {
        let options: Vec<String> =
            task.options.iter().map(|option| format!("{} ({}): {}", option.key, option.default, option.help)).collect();
        let what = match task.missing() {
            Some(missing) => format!("{}\n{missing}", task.summary),
            None => task.summary.to_string(),
        };
        table.add_row([task.id.to_string(), what, options.join("\n")]);
    }
    let of_all = "Every environment also takes max_episode_steps (steps, null for no limit) and reward_delay (rewards are kept back and \
                  paid together: after every so many steps and at the end of the episode, or \"episode\": only then).";
    report::print(format!("{table}\n{of_all}"))
}

fn replay(fixture: &std::path::Path) -> Result<()> {
    let replayed = aaren_envs::replay(fixture)?;
    report::print(serde_json::to_string_pretty(&replayed)?)?;
    if !replayed.flags_equal {
        bail!("{}: the episode does not end as recorded", fixture.display());
    }
    Ok(())
}
