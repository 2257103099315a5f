//! A comparison as tables: for the terminal and as Markdown.

use std::fmt::{self, Display, Formatter};

use comfy_table::Table;
use serde_json::Value;

use super::cell::RECENT;
use super::comparison::{Cell, CellTarget, ComparedRun, Comparison, Spread, Task};
use super::grid::{Grid, unmarked};
use super::statistics::Estimate;
use crate::run::report::{self, Better, Score, TargetReport};
use crate::run::words::{asked_for, plain};

/// Columns of a terminal's table where there is no terminal to ask.
const WIDTH: usize = 80;

/// The tables for a terminal, with what differs between the jobs below them.
impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let asked = || std::env::var("COLUMNS").ok()?.parse().ok();
        // Some terminals without a window say that they have no columns.
        let width = Table::new().width().map(usize::from).filter(|&width| width > 0).or_else(asked).unwrap_or(WIDTH);
        for (title, table) in self.tables() {
            write!(f, "{}\n{}\n\n", wrapped(&plain(&title), width), table.terminal(width))?;
        }
        if !self.has_cells() || !self.columns.is_empty() {
            writeln!(f, "{}", self.runs_table().transposed().terminal(width))?;
        }
        for line in self.notes("", |text| plain(text).into_owned()).lines() {
            writeln!(f, "{}", wrapped(line, width))?;
        }
        write!(f, "wrote compare.html, compare.md and compare.json to {}", self.folder.display())
    }
}

/// A line in several, broken between words; those after the first are indented.
fn wrapped(line: &str, width: usize) -> String {
    let mut text = String::new();
    let mut used = 0;
    for (index, word) in line.split(' ').enumerate() {
        let length = word.chars().count();
        if index > 0 && used + 1 + length > width && used > 4 {
            text += "\n    ";
            used = 4;
        } else if index > 0 {
            text.push(' ');
            used += 1;
        }
        text += word;
        used += length;
    }
    text
}

impl Comparison {
    /// The same as a Markdown page, with every run.
    pub(crate) fn markdown(&self) -> String {
        let mut text = "# Comparison\n\n".to_string();
        for (title, table) in self.tables() {
            text += &format!("## {}\n\n{}\n\n", unmarked(&title), table.markdown());
        }
        if !self.tables().is_empty() {
            text += "## Runs\n\n";
        }
        text + &format!("{}\n\n{}", self.runs_table().markdown(), self.notes("- ", unmarked))
    }

    /// Whether runs belong together: several seeds, or several tasks.
    fn has_cells(&self) -> bool {
        self.cells.len() < self.runs.len() || self.tasks.len() > 1
    }

    /// Tables over cells, with their titles, where runs belong together; and those of caches.
    pub(super) fn tables(&self) -> Vec<(String, Grid)> {
        let mut tables = if self.has_cells() { self.cell_tables() } else { Vec::new() };
        let of_run = |run: &ComparedRun| (format!("Size of the KV cache, {}", run.run), cache_table(run));
        tables.extend(self.runs.iter().filter(|run| !run.caches.is_empty()).map(of_run));
        tables
    }

    fn cell_tables(&self) -> Vec<(String, Grid)> {
        let mut tables = vec![(format!("{}, last checkpoint", self.unit()), self.score_table(|target| Some(&target.last)))];
        if self.cells.iter().any(|cell| cell.targets[0].best.is_some()) {
            tables.push((format!("{}, best checkpoint", self.unit()), self.score_table(|target| target.best.as_ref())));
        }
        if self.cells.iter().any(|cell| cell.targets[0].recent.is_some()) {
            let title = format!("{}, mean of the last {RECENT} evaluations while training", self.unit());
            tables.push((title, self.score_table(|target| target.recent.as_ref())));
        }
        if !self.aggregates.is_empty() {
            tables.push((format!("Interquartile mean, {}", self.common()), self.aggregate_table()));
        }
        if !self.improvements.is_empty() {
            tables.push((
                format!("Probability that a run of the row {} than one of the column, {}", self.verb(), self.common()),
                self.improvement_table(),
            ));
        }
        for (index, task) in self.tasks.iter().enumerate() {
            let of = if self.tasks.len() == 1 { String::new() } else { format!(", {}", task.name) };
            let every = if task.is_played() || task.is_loss { "target return" } else { "score" };
            tables.push((format!("Every {every}, and costs{of}"), self.cells_table(index)));
        }
        tables
    }

    /// What scores are.
    pub(super) fn unit(&self) -> &'static str {
        let all = |of: &dyn Fn(&Task) -> bool| self.tasks.iter().all(of);
        match (all(&|task| task.is_normalised), all(&|task| task.is_loss), all(&Task::is_played)) {
            _ if all(&|task| !task.is_played() && !task.is_loss) => "Score on the test split",
            (true, ..) => "Normalised score",
            (_, true, _) => "Loss on held-out episodes",
            (_, _, true) => "Return, normalised where the task has references",
            _ => "Return, normalised where the task has references, and loss on held-out episodes where there is no environment",
        }
    }

    fn verb(&self) -> &'static str {
        if self.common_tasks().iter().any(|&task| self.tasks[task].better == Better::Lower) {
            "has a smaller loss"
        } else {
            "scores more"
        }
    }

    fn common(&self) -> String {
        match (self.common_tasks().len(), self.tasks.len()) {
            (1, 1) => "last checkpoint".into(),
            (common, all) if common == all => "last checkpoint, all tasks".into(),
            (common, all) => format!("last checkpoint, the {common} of {all} tasks that every agent has runs of"),
        }
    }

    /// A row a task, a column an agent: headline scores.
    fn score_table(&self, of_target: impl Fn(&CellTarget) -> Option<&Spread>) -> Grid {
        let mut table = Grid::new(std::iter::once("task").chain(self.agents.iter().map(String::as_str)));
        for (index, task) in self.tasks.iter().enumerate() {
            let row = (0..self.agents.len()).map(|agent| match self.cell(index, agent) {
                None => "not run".into(),
                Some(cell) => of_target(&cell.targets[0]).map_or("-".into(), |reached| spread(reached, task.is_normalised)),
            });
            table.row(std::iter::once(task.name.clone()).chain(row));
        }
        table
    }

    pub(super) fn aggregate_table(&self) -> Grid {
        let has_recent = self.aggregates.iter().any(|aggregate| aggregate.recent_mean.is_some());
        let recent = has_recent.then(|| format!("mean, last {RECENT} evaluations"));
        let header = ["agent", "interquartile mean", "mean", "mean, best checkpoint"];
        let mut table = Grid::new(header.into_iter().chain(recent.as_deref()));
        let is_normalised = self.common_tasks().iter().all(|&task| self.tasks[task].is_normalised);
        let score = |value| score(value, is_normalised);
        for aggregate in &self.aggregates {
            let row = [
                self.agents[aggregate.agent].clone(),
                estimate(&aggregate.interquartile_mean, is_normalised),
                score(aggregate.mean),
                aggregate.best_mean.map_or("-".into(), score),
            ];
            table.row(row.into_iter().chain(has_recent.then(|| aggregate.recent_mean.map_or("-".into(), score))));
        }
        table
    }

    fn improvement_table(&self) -> Grid {
        let mut table = Grid::new(std::iter::once("agent").chain(self.agents.iter().map(String::as_str)));
        for (agent, name) in self.agents.iter().enumerate() {
            let cell = |over: usize| {
                let found = self.improvements.iter().find(|found| (found.agent, found.over) == (agent, over));
                found.map_or("-".into(), |found| probability(&found.probability))
            };
            table.row(std::iter::once(name.clone()).chain((0..self.agents.len()).map(cell)));
        }
        table
    }

    fn cells_table(&self, task: usize) -> Grid {
        let of_returns = self.tasks[task].is_played() || self.tasks[task].is_loss;
        let title = if of_returns { "agent, asked for" } else { "agent, score" };
        let of_task = || self.cells.iter().filter(|cell| cell.task == task);
        let recent = of_task().any(|cell| cell.targets[0].recent.is_some()).then(|| format!("last {RECENT} evaluations"));
        let header = [title, "last", "best"].into_iter().chain(recent.as_deref());
        let mut table = Grid::new(header.chain(["seeds", "training", "act, first", "act, last", "state, last"]));
        let is_normalised = self.tasks[task].is_normalised;
        for cell in of_task() {
            let asked = asked_for(&cell.targets.iter().map(|target| target.target_return).collect::<Vec<_>>());
            let asked = asked.into_iter().zip(&cell.targets);
            let asked = asked
                .map(|(asked, target)| if self.tasks[task].is_loss { asked } else { target.score.clone().unwrap_or(asked) })
                .zip(&cell.targets)
                .map(|(asked, target)| target.asked.clone().unwrap_or(asked));
            for (index, (target, asked)) in cell.targets.iter().zip(asked).enumerate() {
                let (first, last) = (cell.latency.first(), cell.latency.last());
                let mut row = vec![
                    format!("{}, {asked}", self.agents[cell.agent]),
                    spread(&target.last, is_normalised),
                    target.best.as_ref().map_or("-".into(), |best| spread(best, is_normalised)),
                ];
                if recent.is_some() {
                    row.push(target.recent.as_ref().map_or("-".into(), |recent| spread(recent, is_normalised)));
                }
                // Costs do not depend on what was asked for.
                if index == 0 {
                    row.extend([
                        seeds(cell),
                        cell.train_seconds.map_or("-".into(), report::duration),
                        first.map_or("-".into(), |point| report::microseconds(point.microseconds)),
                        last.map_or("-".into(), |point| report::microseconds(point.microseconds)),
                        last.map_or("-".into(), |point| report::bytes(point.state_bytes)),
                    ]);
                } else {
                    row.extend(std::iter::repeat_n(String::new(), 5));
                }
                table.row(row);
            }
        }
        for baseline in &self.tasks[task].baselines {
            for score in &baseline.scores {
                let row = [format!("{}, {}", baseline.name, score.title()), report::number(score.value)];
                let rest = table.header.len() - row.len();
                table.row(row.into_iter().chain(std::iter::repeat_n("-".to_string(), rest)));
            }
        }
        table
    }

    /// What the numbers are, and in what runs differ, a line each.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> =
            self.incompatible.iter().map(|reason| format!("Not a fair comparison: {reason}.")).collect();
        for cell in &self.cells {
            let is_repeated = |&&at: &&usize| cell.seeds.iter().filter(|seed| **seed == self.runs[at].seed).count() > 1;
            let repeated: Vec<&str> = cell.runs.iter().filter(is_repeated).map(|&at| &*self.runs[at].run).collect();
            if !repeated.is_empty() {
                remarks.push(format!("These runs are of one agent and one seed, and count as several: {}.", repeated.join(", ")));
            }
        }
        if self.has_cells() {
            if self.tasks.iter().any(Task::is_played) {
                remarks.push(
                "Scores are of the first target return (the headline), mean ± population standard deviation over seeds. A run's score \
                 is that of the mean return of its episodes: 0 is a random policy, 100 an expert."
                    .into(),
            );
            }
            if self.tasks.iter().any(|task| task.is_played() || task.is_loss) {
                remarks.push(
                    "The best checkpoint is the one whose evaluation while training was best, by the headline; it was picked \
                     on some of the episodes that it is judged on, so the last one is the honest comparison."
                        .into(),
                );
            }
            if self.aggregates.iter().any(|aggregate| aggregate.interquartile_mean.interval.is_some()) {
                remarks.push(
                    "In brackets are 95 % intervals of a bootstrap stratified by task, as rliable defines them; of few seeds they are narrower \
                     than the truth."
                        .into(),
                );
            }
        }
        if self.runs.iter().any(|run| run.validation.is_some()) {
            remarks.push(
                "The loss on held-out episodes is the training's loss, averaged over timesteps that were not learned from; smaller is \
                 better. Which episodes are held out follows from the seed."
                    .into(),
            );
        }
        for task in &self.tasks {
            let of = |score: &Score| format!("{} {}", score.title(), report::number(score.value));
            let all = |scores: &[Score]| scores.iter().map(of).collect::<Vec<_>>().join(", ");
            let baselines = task.baselines.iter().map(|baseline| format!("{} ({})", baseline.name, all(&baseline.scores)));
            let baselines: Vec<String> = baselines.collect();
            if !task.is_played() && !task.is_loss {
                let better = task.better.word();
                remarks.push(format!(
                    "{}: the headline is the {} on the test split, {better} is better; checkpoints are chosen by the validation split, which \
                     learning curves show. Baselines: {}.",
                    task.name,
                    task.measure,
                    baselines.join("; ")
                ));
            }
        }
        if self.runs.iter().any(|run| !run.targets.is_empty()) {
            remarks
                .push("Returns are mean ± population standard deviation over episodes, in brackets the normalised score.".into());
        }
        remarks.push(
            "Act is the time of one step, state the memory of one environment's policy, at the first and last step.".into(),
        );
        remarks.extend(self.unlike_evaluations());
        remarks
    }

    /// In what the evaluations differ: they may be run again by hand, with other episodes than the job says.
    pub(super) fn unlike_evaluations(&self) -> Vec<String> {
        let episodes = |run: &ComparedRun| {
            let mut episodes: Vec<usize> = run.targets.iter().map(|target| target.episodes).collect();
            episodes.dedup();
            episodes
        };
        let first = &self.runs[0];
        let namesakes: Vec<&ComparedRun> = self.runs.iter().filter(|run| run.seed == first.seed).collect();
        let of_all = |of: &dyn Fn(&ComparedRun) -> String| self.runs.iter().map(of).collect::<Vec<_>>();
        let whats = [
            ("seed", namesakes.iter().map(|run| run.evaluation_seed.to_string()).collect::<Vec<_>>()),
            ("number of episodes", of_all(&|run| format!("{:?}", episodes(run)))),
            ("execution", of_all(&|run| run.execution.clone())),
            ("checkpoint", of_all(&|run| run.checkpoint_step.to_string())),
        ];
        let is_unlike = |values: &[String]| values.iter().any(|value| *value != values[0]);
        let unlike = whats.into_iter().filter(|(_, values)| is_unlike(values));
        unlike.map(|(what, values)| format!("The evaluations differ in their {what}: {}.", values.join(", "))).collect()
    }

    /// Config keys that differ, with their values: one a run, or the distinct ones where runs are many.
    pub(super) fn differing(&self) -> Vec<(&str, String)> {
        let shown = |values: &[Value]| {
            let shown = |value: &Value| match value {
                Value::Null => "-".into(),
                // Its own keys are there too, where both have it.
                Value::Object(_) => "given".into(),
                other => other.to_string(),
            };
            let mut values: Vec<String> = values.iter().map(shown).collect();
            if self.has_cells() {
                values.sort();
                values.dedup();
            }
            values.join(", ")
        };
        self.differences.iter().map(|(key, values)| (&**key, shown(values))).collect()
    }

    fn notes(&self, bullet: &str, shown: impl Fn(&str) -> String) -> String {
        let mut text: String = self.remarks().iter().map(|remark| format!("{bullet}{}\n", shown(remark))).collect();
        text += &match self.differences.is_empty() {
            true => format!("{bullet}The jobs do not differ.\n"),
            false => format!("{bullet}The jobs differ in:\n"),
        };
        let indent = if bullet.is_empty() { "  " } else { "  - " };
        for (key, values) in self.differing() {
            text += &format!("{indent}{}: {}\n", shown(key), shown(&values));
        }
        text
    }
}

impl TargetReport {
    pub(super) fn cell(&self) -> String {
        let reached = report::mean_std(self.return_mean, self.return_std);
        match self.normalised_score {
            Some(score) => format!("{reached} ({score:.1})"),
            None => reached,
        }
    }
}

/// A row a kind of cache, a column a size: headline results.
fn cache_table(run: &ComparedRun) -> Grid {
    let (mut kinds, mut sizes): (Vec<&str>, Vec<Option<usize>>) = (Vec::new(), Vec::new());
    for cache in &run.caches {
        if cache.entries.is_some() && !kinds.contains(&cache.kind) {
            kinds.push(cache.kind);
        }
        if !sizes.contains(&cache.entries) {
            sizes.push(cache.entries);
        }
    }
    sizes.sort_by_key(|entries| entries.unwrap_or(usize::MAX));
    let size = |entries: &Option<usize>| entries.map_or("full".into(), |entries| entries.to_string());
    let mut table = Grid::new(std::iter::once("entries in each layer".into()).chain(sizes.iter().map(size)));
    for kind in kinds {
        let reached = |entries: &Option<usize>| {
            // There is one full cache, whatever kind it would be cut down to.
            let found = run.caches.iter().find(|cache| cache.entries == *entries && (entries.is_none() || cache.kind == kind));
            found.and_then(|cache| cache.targets.first()).map_or("-".into(), TargetReport::cell)
        };
        table.row(std::iter::once(kind.to_string()).chain(sizes.iter().map(reached)));
    }
    let state = |entries: &Option<usize>| {
        let largest = run.caches.iter().filter(|cache| cache.entries == *entries).map(|cache| cache.state_bytes).max();
        largest.map_or("-".into(), report::bytes)
    };
    table.row(std::iter::once("state, last step".into()).chain(sizes.iter().map(state)));
    table
}

/// A normalised score as tables of papers have it, or a return with the digits that count.
pub(super) fn score(value: f64, is_normalised: bool) -> String {
    if is_normalised { format!("{value:.1}") } else { report::number(value) }
}

/// `mean ± std`, or one run's value alone.
fn spread(spread: &Spread, is_normalised: bool) -> String {
    let score = |value| score(value, is_normalised);
    match spread.values.len() {
        0 => "-".into(),
        1 => score(spread.mean),
        _ => format!("{} ± {}", score(spread.mean), score(spread.std)),
    }
}

fn estimate(estimate: &Estimate, is_normalised: bool) -> String {
    let score = |value| score(value, is_normalised);
    match estimate.interval {
        Some((low, high)) => format!("{} [{}, {}]", score(estimate.value), score(low), score(high)),
        None => score(estimate.value),
    }
}

fn probability(estimate: &Estimate) -> String {
    match estimate.interval {
        Some((low, high)) => format!("{:.2} [{low:.2}, {high:.2}]", estimate.value),
        None => format!("{:.2}", estimate.value),
    }
}

/// How many, or which one.
fn seeds(cell: &Cell) -> String {
    match &cell.seeds[..] {
        [seed] => format!("1 (seed {seed})"),
        seeds => seeds.len().to_string(),
    }
}
