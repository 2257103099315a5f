//! What a finished job says: serialisable results, and their tables.
//!
//! ```
//! use aaren_agents::run::report::{bytes, duration, number};
//!
//! assert_eq!((bytes(1_548), duration(192.0)), ("1548 B".into(), "3 min 12 s".into()));
//! println!("{} steps a second", number(1234.56));
//! ```

mod scores;
mod sequences;
mod validation;

use std::fmt::{self, Display, Formatter};
use std::io::{IsTerminal, Write};

use anyhow::Context;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::encoding;
use super::made_by::MadeBy;
use super::words::{asked_for, plain};
pub use super::words::{count, duration, number, short_name};
pub use scores::{Baseline, Better, Score, SequenceReport};
pub use validation::ValidationReport;

/// Version of the layout of `evaluation.json`, `train.json` and `compare.json`.
pub(crate) const FORMAT: u32 = 1;

/// A run's evaluation, `evaluation.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// The version of the format that it is written in.
    pub format: u32,
    /// The run folder's name.
    pub run: String,
    /// Optimizer steps behind the weights that acted.
    pub checkpoint_step: u64,
    /// The task; [`NO_ENV`] where the policy was judged by held-out episodes alone.
    pub env_id: String,
    /// The task's options.
    pub env_options: Map<String, Value>,
    /// What the policy was trained on, in one line.
    pub data: String,
    /// Name of the mixer.
    pub mixer: String,
    /// `streaming` or `window`.
    pub execution: String,
    /// Root of the episodes' seeds. Text in JSON, as all seeds are.
    #[serde(with = "encoding::seed")]
    pub seed: u64,
    /// The episodes' seeds, those of every target return. Empty in reports of older versions.
    #[serde(default, with = "encoding::seeds")]
    pub episode_seeds: Vec<u64>,
    /// What played the episodes. None in reports of older versions.
    #[serde(default)]
    pub made_by: Option<MadeBy>,
    /// Trained numbers in the policy.
    pub parameters: usize,
    /// Results, one for each target return, in the order they were asked for. None without a task.
    pub targets: Vec<TargetReport>,
    /// The loss on held-out episodes, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<ValidationReport>,
    /// What a model of sequences reached, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequences: Option<SequenceReport>,
    /// Environment steps of all episodes together.
    pub env_steps: u64,
    /// Seconds from the first reset to the last step.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub wall_seconds: f64,
    /// Environment steps a second, over all actors together.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub env_steps_per_second: f64,
    /// Cost of a single step, where it was measured.
    pub latency: Option<LatencyReport>,
}

/// The task of a report of a policy that did not play: it was judged by held-out episodes.
pub const NO_ENV: &str = "none";

/// The episodes of one target return.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetReport {
    /// What the policy was asked for, in units of reward; None for a policy that is not told a return.
    pub target_return: Option<f64>,
    /// Number of episodes.
    pub episodes: usize,
    /// Mean undiscounted return.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub return_mean: f64,
    /// Population standard deviation of the returns (divided by the number of episodes).
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub return_std: f64,
    /// Smallest return.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub return_min: f64,
    /// Largest return.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub return_max: f64,
    /// 0 is a random policy, 100 an expert; linear in `return_mean`. None where the task has no reference returns.
    pub normalised_score: Option<f64>,
    /// Mean number of environment steps.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub length_mean: f64,
    /// Fewest environment steps.
    pub length_min: usize,
    /// Most environment steps.
    pub length_max: usize,
    /// Episodes that the task itself ended.
    pub terminated: usize,
    /// Episodes that a time limit ended, and the task did not.
    pub truncated: usize,
    /// Those of them that ended because the simulation diverged; absent where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub diverged: u64,
    /// The returns, in the order of the episodes' seeds.
    #[serde(deserialize_with = "encoding::nulls_are_nan")]
    pub returns: Vec<f64>,
    /// The lengths, in the same order.
    pub lengths: Vec<usize>,
}

impl TargetReport {
    /// Statistics of episodes; `terminated` of them were ended by the task, the others by a time limit.
    ///
    /// `score` gives the normalised score of a return, where the task has one. Without episodes the statistics are zero.
    pub(crate) fn new(
        target_return: Option<f64>,
        returns: Vec<f64>,
        lengths: Vec<usize>,
        terminated: usize,
        score: impl FnOnce(f64) -> Option<f64>,
    ) -> TargetReport {
        let episodes = returns.len();
        let count = episodes.max(1) as f64;
        let return_mean = returns.iter().sum::<f64>() / count;
        let variance = returns.iter().map(|value| (value - return_mean).powi(2)).sum::<f64>() / count;
        TargetReport {
            target_return,
            episodes,
            return_mean,
            return_std: variance.sqrt(),
            return_min: returns.iter().copied().reduce(f64::min).unwrap_or(0.0),
            return_max: returns.iter().copied().reduce(f64::max).unwrap_or(0.0),
            normalised_score: score(return_mean),
            length_mean: lengths.iter().sum::<usize>() as f64 / count,
            length_min: lengths.iter().copied().min().unwrap_or(0),
            length_max: lengths.iter().copied().max().unwrap_or(0),
            terminated,
            truncated: episodes.saturating_sub(terminated),
            diverged: 0,
            returns,
            lengths,
        }
    }
}

/// Cost of acting for one step, with one environment on one thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyReport {
    /// Environment steps of the measured episode.
    pub steps: usize,
    /// Microseconds that acting took at the first steps.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub first_microseconds: f64,
    /// Microseconds that acting took at the last steps.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub last_microseconds: f64,
    /// Median over all steps, in microseconds.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub median_microseconds: f64,
    /// Bytes of the policy's state after the first step.
    pub state_bytes_first: usize,
    /// Bytes of the policy's state after the last step.
    pub state_bytes_last: usize,
    /// Both against the step of the episode, the spans in order. Empty in reports of older versions.
    #[serde(default)]
    pub(crate) points: Vec<LatencyPoint>,
}

/// Cost of acting over a short span of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LatencyPoint {
    /// The last step of the span, counted from 1.
    pub step: usize,
    /// Median over the span, in microseconds.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub microseconds: f64,
    /// Bytes of the policy's state after the last step of the span.
    pub state_bytes: usize,
}

/// A run's training, `train.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainSummary {
    /// The version of the format that it is written in.
    pub format: u32,
    /// Optimizer steps made.
    pub steps: u64,
    /// Timesteps that went through the loss.
    pub timesteps: u64,
    /// Seconds that training took, resumed pieces together, evaluations left out.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub wall_seconds: f64,
    /// Timesteps a second while training.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub timesteps_per_second: f64,
    /// Mean loss over the last logged interval. NaN if none was logged.
    #[serde(deserialize_with = "encoding::null_is_nan")]
    pub final_loss: f64,
    /// Trained numbers in the policy.
    pub parameters: usize,
    /// Episodes of the training that ended because the simulation diverged; absent where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub diverged: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl EvaluationReport {
    /// The report of a policy that has no environment to play in.
    pub(crate) fn without_env(run: &str, step: u64, data: &str, mixer: String, parameters: usize) -> Self {
        Self {
            format: FORMAT,
            run: run.into(),
            checkpoint_step: step,
            env_id: NO_ENV.into(),
            env_options: Map::new(),
            data: data.into(),
            mixer,
            execution: "held-out episodes".into(),
            seed: 0,
            episode_seeds: Vec::new(),
            made_by: Some(MadeBy::this()),
            parameters,
            targets: Vec::new(),
            validation: None,
            sequences: None,
            env_steps: 0,
            wall_seconds: 0.0,
            env_steps_per_second: 0.0,
            latency: None,
        }
    }

    /// The results in one line: `return 0.85 ± 0.1 asked for 1, 0.5 ± 0.5 asked for 0; loss 0.2 on 3 held-out episodes (57 timesteps)`.
    pub(crate) fn line(&self) -> String {
        let asked = asked_for(&self.targets.iter().map(|target| target.target_return).collect::<Vec<_>>());
        let reached = self.targets.iter().zip(asked).map(|(target, asked)| {
            let score = target.normalised_score.map(|score| format!(" (score {score:.1})")).unwrap_or_default();
            let asked = target.target_return.map(|_| format!(" asked for {asked}")).unwrap_or_default();
            format!("{}{score}{asked}", mean_std(target.return_mean, target.return_std))
        });
        let reached = reached.collect::<Vec<_>>().join(", ");
        let returns = (!reached.is_empty()).then(|| format!("return {reached}"));
        let validation = self.validation.map(|validation| format!("loss {validation}"));
        let validation = validation.or_else(|| self.sequences.as_ref().map(SequenceReport::line));
        returns.into_iter().chain(validation).collect::<Vec<_>>().join("; ")
    }
}

/// The results as a table, one row for each target return, with what they are of above it.
impl Display for EvaluationReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.targets.is_empty() {
            let Self { run, mixer, checkpoint_step, data, .. } = self;
            writeln!(f, "{run}: {mixer} on {data}, step {checkpoint_step}")?;
            if let Some(sequences) = &self.sequences {
                return write!(f, "{sequences}");
            }
            return match &self.validation {
                Some(validation) => write!(f, "loss {validation}; `aaren evaluate` with --env plays it in a task"),
                None => write!(f, "no episodes were held out (data.validation); `aaren evaluate` with --env plays it in a task"),
            };
        }
        let has_score = self.targets.iter().any(|target| target.normalised_score.is_some());
        let has_target = self.targets.iter().any(|target| target.target_return.is_some());
        // What all rows share stands above them: 80 columns are few.
        let episodes = self.targets[0].episodes;
        let is_alike = self.targets.iter().all(|target| target.episodes == episodes);
        let of_all = if is_alike { format!(", {}", count(episodes, "episode")) } else { String::new() };
        let columns = [
            (has_target, "asked for"),
            (!is_alike, "episodes"),
            (true, "return (mean ± std)"),
            (true, "min"),
            (true, "max"),
            (has_score, "score"),
            (true, "length"),
            (true, "terminated"),
            (true, "truncated"),
        ];
        let shown =
            |cells: [String; 9]| cells.into_iter().zip(columns).filter(|(_, (is_shown, _))| *is_shown).map(|(cell, _)| cell);
        let headings: Vec<&str> = columns.iter().filter(|(is_shown, _)| *is_shown).map(|(_, heading)| *heading).collect();
        let mut table = table(&headings);
        for target in &self.targets {
            table.add_row(shown([
                target.target_return.map_or("none".into(), number),
                target.episodes.to_string(),
                mean_std(target.return_mean, target.return_std),
                number(target.return_min),
                number(target.return_max),
                target.normalised_score.map_or("-".into(), |score| format!("{score:.1}")),
                number(target.length_mean),
                target.terminated.to_string(),
                target.truncated.to_string(),
            ]));
        }
        align_right(&mut table, 0);
        write!(
            f,
            "{}: {} on {}, step {}, {} execution, seed {}{of_all}\n{table}\n{} environment steps in {}, {} a second",
            self.run,
            self.mixer,
            self.env_id,
            self.checkpoint_step,
            self.execution,
            self.seed,
            self.env_steps,
            duration(self.wall_seconds),
            number(self.env_steps_per_second),
        )?;
        let diverged = self.targets.iter().map(|target| target.diverged).sum();
        if diverged > 0 {
            write!(f, "\n{}", diverged_episodes(diverged))?;
        }
        if let Some(validation) = &self.validation {
            write!(f, "\nloss {validation}")?;
        }
        if let Some(latency) = &self.latency {
            write!(
                f,
                "\none step takes {} (first {}, last of {} {}), state {} at first, {} at the end",
                microseconds(latency.median_microseconds),
                microseconds(latency.first_microseconds),
                latency.steps,
                microseconds(latency.last_microseconds),
                bytes(latency.state_bytes_first),
                bytes(latency.state_bytes_last),
            )?;
        }
        Ok(())
    }
}

/// The summary in one line.
impl Display for TrainSummary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "trained {} parameters for {} steps in {}: loss {}, {} timesteps a second",
            self.parameters,
            self.steps,
            duration(self.wall_seconds),
            number(self.final_loss),
            number(self.timesteps_per_second),
        )?;
        if self.diverged > 0 { write!(f, "\n{}", diverged_episodes(self.diverged)) } else { Ok(()) }
    }
}

/// Says how many episodes a simulator spoiled.
pub(crate) fn diverged_episodes(count: u64) -> String {
    format!(
        "{count} {} because the simulation diverged, and count as truncated",
        if count == 1 { "episode ended" } else { "episodes ended" }
    )
}

/// Writes text and a line break to stdout, without characters that command a terminal.
///
/// # Errors
/// If stdout cannot be written; a reader that has gone away (`| head`) is no error.
pub fn print(text: impl Display) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{}", plain(&text.to_string())).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("cannot write to stdout"),
        _ => Ok(()),
    }
}

/// An empty table without colours, as wide as the terminal at most; with borders that text files can hold.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    // A launcher's terminal, such as mpirun's, may have no width.
    let terminal = std::io::stdout().is_terminal() && table.width().is_none_or(|width| width > 0);
    table.set_content_arrangement(if terminal { ContentArrangement::Dynamic } else { ContentArrangement::Disabled });
    table
}

/// Aligns the columns from `first` on to the right, as numbers are, and keeps their cells whole in a narrow terminal. Called when all rows
/// are there.
pub fn align_right(table: &mut Table, first: usize) {
    let columns = table.column_count();
    let cells = |at: usize| table.row_iter().filter_map(move |row| row.cell_iter().nth(at));
    let longest = |at: usize| cells(at).map(|cell| cell.content().chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(longest).collect();
    for (column, width) in table.column_iter_mut().zip(widths).skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
        // Two blanks are around a cell.
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(u16::try_from(width + 2).unwrap_or(u16::MAX))));
    }
}

/// `mean ± std`.
pub(crate) fn mean_std(mean: f64, std: f64) -> String {
    format!("{} ± {}", number(mean), number(std))
}

/// A short time in microseconds.
pub(crate) fn microseconds(value: f64) -> String {
    format!("{} µs", number(value))
}

/// A size in bytes, binary units from 10 KiB on.
pub fn bytes(size: usize) -> String {
    match size {
        0..=10_239 => format!("{size} B"),
        10_240..=10_485_759 => format!("{:.1} KiB", size as f64 / 1024.0),
        _ => format!("{:.1} MiB", size as f64 / 1_048_576.0),
    }
}

/// The middle number.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests;
