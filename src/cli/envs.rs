//! `aaren envs`: list the environments, replay recordings in them.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;
use serde::Serialize;

use aaren_agents::run::report;
use aaren_envs::{GYMNASIUM_OPTIONS, OptionInfo, TaskInfo};

use super::args::show;

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
pub fn run(json: bool, command: Option<Command>) -> Result<()> {
    match command {
        None => list(json),
        Some(Command::Replay { fixture }) => replay(&fixture),
    }
}

#[derive(Serialize)]
struct Listed {
    id: String,
    summary: String,
    /// Why this build cannot make it.
    missing: Option<String>,
    options: &'static [OptionInfo],
}

fn list(json: bool) -> Result<()> {
    let listed = |task: TaskInfo| Listed {
        id: task.id.to_string(),
        summary: task.summary.to_string(),
        missing: task.missing().map(|missing| missing.to_string()),
        options: task.options,
    };
    let in_python = Listed {
        id: "gymnasium:NAME".into(),
        summary:
            "any environment of Gymnasium by its name there, such as gymnasium:LunarLander-v3, in Python processes; takes a \
                  python3 with numpy and gymnasium"
                .into(),
        missing: None,
        options: GYMNASIUM_OPTIONS,
    };
    let tasks: Vec<Listed> = aaren_envs::tasks().into_iter().map(listed).chain([in_python]).collect();
    show(json, &tasks, || {
        let mut table = report::table(&["environment", "what it is", "options (default)"]);
        for Listed { id, summary, missing, options } in &tasks {
            let options = options.iter().map(|option| format!("{} ({}): {}", option.key, option.default, option.help));
            let what = missing.as_ref().map_or(summary.clone(), |missing| format!("{summary}\n{missing}"));
            table.add_row([id.clone(), what, options.collect::<Vec<_>>().join("\n")]);
        }
        format!(
            "{table}\nEvery environment also takes max_episode_steps (steps, null for no limit) and reward_delay (rewards are kept back \
             and paid together: after every so many steps and at the end of the episode, or \"episode\": only then)."
        )
    })
}

fn replay(fixture: &std::path::Path) -> Result<()> {
    let replayed = aaren_envs::replay(fixture)?;
    report::print(serde_json::to_string_pretty(&replayed)?)?;
    if !replayed.flags_equal {
        bail!("{}: the episode does not end as recorded", fixture.display());
    }
    Ok(())
}
