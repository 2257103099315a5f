//! `aaren tasks`: list the tasks on sequences.

use aaren_agents::config::{TaskKind, task_kinds};
use aaren_agents::run::report;
use anyhow::{Result, bail};
use clap::Args;

use super::args::show;

#[derive(Debug, Args)]
pub struct TasksArgs {
    /// The kind whose keys are listed; without it all kinds are
    kind: Option<String>,
    /// Print JSON in place of a table
    #[arg(long)]
    json: bool,
}

/// Prints the list.
///
/// # Errors
/// If there is no such kind.
pub fn run(args: &TasksArgs) -> Result<()> {
    let kinds = task_kinds();
    let Some(name) = &args.kind else {
        return show(args.json, &kinds, || {
            let mut table = report::table(&["task.kind", "what is learnt", "keys"]);
            for TaskKind { kind, what, keys } in &kinds {
                let keys: Vec<&str> = keys.iter().map(|key| key.key.trim_start_matches("task.")).collect();
                table.add_row([kind, what, &keys.join(", ")]);
            }
            format!("{table}\n`aaren tasks KIND` says what the keys of a kind are.")
        });
    };
    let Some(kind) = kinds.iter().find(|kind| kind.kind == *name) else {
        let known: Vec<&str> = kinds.iter().map(|kind| &*kind.kind).collect();
        bail!("{name}: there is no such task on sequences; there are {} (`aaren envs` lists environments)", known.join(", "));
    };
    show(args.json, kind, || {
        let mut table = report::table(&["key", "values (default)", "what it is"]);
        for key in &kind.keys {
            table.add_row([key.key.clone(), format!("{} ({})", key.values, key.default), key.what.clone()]);
        }
        format!("{}\n{table}", kind.what)
    })
}
