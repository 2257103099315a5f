//! The command: all plans one after the other, and a table a task.

use super::args::MemoryArgs;
use super::cell::{Row, measure};
use super::plan::plans;
use super::task::{MemoryTask, TASKS};
use crate::measure::{or_dash, publish, with_threads, write};
use aaren_agents::run::interrupt::Interrupted;
use aaren_agents::run::report;
use aaren_agents::run::report::{LatencyReport, align_right, bytes, number};
use anyhow::Result;
use serde::Serialize;
use std::path::Path;

#[derive(Debug, Serialize)]
struct Figures {
    threads: usize,
    steps: u64,
    learning_rate: f64,
    episodes: usize,
    rows: Vec<Row>,
}

/// Trains and plays everything.
///
/// # Errors
/// If an argument does not fit, a run folder is of another command, or the user interrupts.
pub fn run(args: &MemoryArgs, json: Option<&Path>) -> Result<()> {
    let plans = plans(args)?;
    let count = plans.len();
    let &MemoryArgs { threads, steps, learning_rate, episodes, .. } = args;
    let mut figures = Figures { threads, steps, learning_rate, episodes, rows: Vec::new() };
    for (index, plan) in plans.iter().enumerate() {
        match with_threads(args.threads, || measure(plan, args, (index + 1, count)))? {
            Ok(row) => figures.rows.push(row),
            // What was finished is not lost.
            Err(error) => {
                if !figures.rows.is_empty() {
                    publish(&figures, &figures.render(), json)?;
                }
                let kept = format!("finished runs are in {}, the same command continues from there", args.runs.display());
                return Err(if error.is::<Interrupted>() { error.context(kept) } else { error });
            }
        }
        write(&figures, json)?;
    }
    publish(&figures, &figures.render(), json)
}

impl Figures {
    fn render(&self) -> String {
        let mut text = format!(
            "{} threads; {} optimizer steps, learning rate {}, {} episodes",
            self.threads, self.steps, self.learning_rate, self.episodes
        );
        for task in TASKS {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.task == task.name).collect();
            if !rows.is_empty() {
                text += &format!("\n\n{}: {}\n{}", task.name, task.score, table(task, &rows));
            }
        }
        text
    }
}

/// One task: a row a mixer, the score at each difficulty, and costs at the last.
fn table(task: &MemoryTask, rows: &[&Row]) -> String {
    let (mut difficulties, mut mixers) = (Vec::new(), Vec::new());
    for row in rows {
        if !difficulties.contains(&row.difficulty) {
            difficulties.push(row.difficulty);
        }
        if !mixers.contains(&&row.mixer) {
            mixers.push(&row.mixer);
        }
    }
    let scores = difficulties.iter().map(|&difficulty| format!("{} {}", task.difficulty, number(difficulty)));
    let header: Vec<String> = ["mixer".into(), "parameters".into()]
        .into_iter()
        .chain(scores)
        .chain(["tokens a second", "µs a step", "state, first and last"].map(String::from))
        .collect();
    let mut table = report::table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for mixer in mixers {
        let of_mixer: Vec<&&Row> = rows.iter().filter(|row| row.mixer == *mixer).collect();
        // Costs are those of the last difficulty that was measured.
        let Some(last) = of_mixer.last() else { continue };
        let cell =
            |difficulty: &f64| of_mixer.iter().find(|row| row.difficulty == *difficulty).map_or("".into(), |row| row.score());
        let latency = last.latency.as_ref();
        let states = |latency: &LatencyReport| [latency.state_bytes_first, latency.state_bytes_last].map(bytes).join(", ");
        let costs = [
            or_dash(last.tokens_per_second, number),
            or_dash(latency, |latency| number(latency.last_microseconds)),
            or_dash(latency, states),
        ];
        let names = [mixer.to_string(), last.parameters.to_string()];
        table.add_row(names.into_iter().chain(difficulties.iter().map(cell)).chain(costs));
    }
    align_right(&mut table, 1);
    table.to_string()
}
