//! A comparison as tables: for the terminal and as Markdown.

use std::fmt::{self, Display, Formatter};

use comfy_table::{ContentArrangement, Table, TableStyle, presets};
use serde_json::Value;

use super::comparison::{Cell, CellTarget, ComparedRun, ComparedTarget, Comparison, Spread};
use super::statistics::Estimate;
use crate::run::report::{self, LatencyReport};

/// The tables for a terminal, with what differs between the jobs below them.
impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let style = presets::UTF8_FULL_CONDENSED;
        for (title, table) in self.tables() {
            write!(f, "{title}\n{}\n\n", styled(table, style, None))?;
        }
        if !self.has_cells() {
            writeln!(f, "{}", styled(self.runs_table(), style, None))?;
        }
        f.write_str(&self.notes(""))
    }
}

impl Comparison {
    /// The same as a Markdown page, with every run.
    pub(crate) fn markdown(&self) -> String {
        let mut text = "# Comparison\n\n".to_string();
        let markdown = |table| styled(table, presets::ASCII_MARKDOWN, Some(ContentArrangement::Disabled));
        for (title, table) in self.tables() {
            text += &format!("## {title}\n\n{}\n\n", markdown(table));
        }
        if !self.tables().is_empty() {
            text += "## Runs\n\n";
        }
        text + &format!("{}\n\n{}", markdown(self.runs_table()), self.notes("- "))
    }

    /// Whether runs belong together: several seeds, or several tasks.
    fn has_cells(&self) -> bool {
        self.cells.len() < self.runs.len() || self.tasks.len() > 1
    }

    /// Tables over cells, with their titles, where runs belong together; and those of caches.
    pub(super) fn tables(&self) -> Vec<(String, Table)> {
        let mut tables = if self.has_cells() { self.cell_tables() } else { Vec::new() };
        let of_run = |run: &ComparedRun| (format!("Size of the KV cache, {}", escaped(&run.run)), cache_table(run));
        tables.extend(self.runs.iter().filter(|run| !run.caches.is_empty()).map(of_run));
        tables
    }

    fn cell_tables(&self) -> Vec<(String, Table)> {
        let mut tables = vec![(format!("{}, last checkpoint", self.unit()), self.score_table(|target| Some(&target.last)))];
        if self.cells.iter().any(|cell| cell.targets[0].best.is_some()) {
            tables.push((format!("{}, best checkpoint", self.unit()), self.score_table(|target| target.best.as_ref())));
        }
        if !self.aggregates.is_empty() {
            tables.push((format!("Interquartile mean, {}", self.common()), self.aggregate_table()));
        }
        if !self.improvements.is_empty() {
            tables.push((
                format!("Probability that a run of the row scores more than one of the column, {}", self.common()),
                self.improvement_table(),
            ));
        }
        tables.push(("Every target return, and costs".into(), self.cells_table()));
        tables
    }

    /// What scores are.
    pub(super) fn unit(&self) -> &'static str {
        match self.tasks.iter().all(|task| task.is_normalised) {
            true => "Normalised score",
            false => "Return, normalised where the task has references",
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
    fn score_table(&self, of_target: impl Fn(&CellTarget) -> Option<&Spread>) -> Table {
        let header = std::iter::once("task").chain(self.agents.iter().map(String::as_str)).collect::<Vec<_>>();
        let mut table = report::table(&header);
        for (index, task) in self.tasks.iter().enumerate() {
            let cell = |agent: usize| self.cell(index, agent).and_then(|cell| of_target(&cell.targets[0]));
            let row = (0..self.agents.len())
                .map(|agent| cell(agent).map_or("not run".into(), |reached| spread(reached, task.is_normalised)));
            table.add_row(std::iter::once(escaped(&task.name)).chain(row));
        }
        report::align_right(&mut table, 1);
        table
    }

    pub(super) fn aggregate_table(&self) -> Table {
        let mut table = report::table(&["agent", "interquartile mean", "mean", "mean, best checkpoint"]);
        let is_normalised = self.common_tasks().iter().all(|&task| self.tasks[task].is_normalised);
        let score = |value| score(value, is_normalised);
        for aggregate in &self.aggregates {
            table.add_row([
                escaped(&self.agents[aggregate.agent]),
                estimate(&aggregate.interquartile_mean, is_normalised),
                score(aggregate.mean),
                aggregate.best_mean.map_or("-".into(), score),
            ]);
        }
        report::align_right(&mut table, 1);
        table
    }

    fn improvement_table(&self) -> Table {
        let header = std::iter::once("agent").chain(self.agents.iter().map(String::as_str)).collect::<Vec<_>>();
        let mut table = report::table(&header);
        for (agent, name) in self.agents.iter().enumerate() {
            let cell = |over: usize| {
                let found = self.improvements.iter().find(|found| (found.agent, found.over) == (agent, over));
                found.map_or("-".into(), |found| probability(&found.probability))
            };
            table.add_row(std::iter::once(escaped(name)).chain((0..self.agents.len()).map(cell)));
        }
        report::align_right(&mut table, 1);
        table
    }

    fn cells_table(&self) -> Table {
        let mut table = report::table(&[
            "task",
            "agent",
            "asked for",
            "last",
            "best",
            "seeds",
            "training",
            "act, first",
            "act, last",
            "state, last",
        ]);
        for cell in &self.cells {
            for (index, target) in cell.targets.iter().enumerate() {
                let (task, first, last) = (&self.tasks[cell.task], cell.latency.first(), cell.latency.last());
                let mut row = vec![
                    escaped(&task.name),
                    escaped(&self.agents[cell.agent]),
                    asked_for(target.target_return),
                    spread(&target.last, task.is_normalised),
                    target.best.as_ref().map_or("-".into(), |best| spread(best, task.is_normalised)),
                ];
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
                table.add_row(row);
            }
        }
        report::align_right(&mut table, 2);
        table
    }

    fn targets(&self) -> Vec<Option<f64>> {
        let mut targets: Vec<Option<f64>> = Vec::new();
        for target in self.runs.iter().flat_map(|run| &run.targets) {
            if !targets.contains(&target.target_return) {
                targets.push(target.target_return);
            }
        }
        targets
    }

    /// A row a run.
    pub(super) fn runs_table(&self) -> Table {
        let targets = self.targets();
        let mut header: Vec<String> = ["run", "mixer", "context", "execution", "steps", "parameters"].map(String::from).to_vec();
        header.extend(targets.iter().map(|target| format!("return, asked for {}", asked_for(*target))));
        header.extend(["best at", "training", "act, first", "act, last", "state, first", "state, last"].map(String::from));
        let mut table = report::table(&header.iter().map(String::as_str).collect::<Vec<_>>());
        for run in &self.runs {
            let mut cells = vec![
                escaped(&run.run),
                run.mixer.clone(),
                run.context_length.clone(),
                run.execution.clone(),
                run.checkpoint_step.to_string(),
                run.parameters.to_string(),
            ];
            cells.extend(targets.iter().map(|target| {
                let reached = run.targets.iter().find(|reached| reached.target_return == *target);
                reached.map_or("-".into(), ComparedTarget::cell)
            }));
            cells.push(run.best.as_ref().map_or("-".into(), |best| {
                let reached = best.targets.first().map(ComparedTarget::cell).unwrap_or_default();
                format!("step {}: {reached}", best.step)
            }));
            cells.push(run.train_seconds.map_or("-".into(), report::duration));
            let latency = |show: fn(&LatencyReport) -> String| run.latency.as_ref().map_or("-".into(), show);
            cells.push(latency(|latency| report::microseconds(latency.first_microseconds)));
            cells.push(latency(|latency| report::microseconds(latency.last_microseconds)));
            cells.push(latency(|latency| report::bytes(latency.state_bytes_first)));
            cells.push(latency(|latency| report::bytes(latency.state_bytes_last)));
            table.add_row(cells);
        }
        report::align_right(&mut table, 4);
        table
    }

    /// What the numbers are, and in what runs differ, a line each.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut remarks: Vec<String> =
            self.incompatible.iter().map(|reason| format!("Not a fair comparison: {reason}.")).collect();
        if self.has_cells() {
            remarks.push(
                "Scores are of the first target return (the headline), mean ± population standard deviation over seeds. A run's score \
                 is that of the mean return of its episodes: 0 is a random policy, 100 an expert."
                    .into(),
            );
            remarks.push(
                "The best checkpoint is the one whose evaluation while training had the highest return, by the headline; it was picked \
                 on some of the episodes that it is judged on, so the last one is the honest comparison."
                    .into(),
            );
            if self.aggregates.iter().any(|aggregate| aggregate.interquartile_mean.interval.is_some()) {
                remarks.push(
                    "In brackets are 95 % intervals of a bootstrap stratified by task, as rliable defines them; of few seeds they are narrower \
                     than the truth."
                        .into(),
                );
            }
        }
        remarks.push("Returns are mean ± population standard deviation over episodes, in brackets the normalised score.".into());
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
            let mut values: Vec<String> = values.iter().map(Value::to_string).collect();
            if self.has_cells() {
                values.sort();
                values.dedup();
            }
            values.join(", ")
        };
        self.differences.iter().map(|(key, values)| (&**key, shown(values))).collect()
    }

    fn notes(&self, bullet: &str) -> String {
        let mut text: String = self.remarks().iter().map(|remark| format!("{bullet}{remark}\n")).collect();
        text += &match self.differences.is_empty() {
            true => format!("{bullet}The jobs do not differ.\n"),
            false => format!("{bullet}The jobs differ in:\n"),
        };
        let indent = if bullet.is_empty() { "  " } else { "  - " };
        for (key, values) in self.differing() {
            text += &format!("{indent}{key}: {values}\n");
        }
        text
    }
}

impl ComparedTarget {
    fn cell(&self) -> String {
        let reached = report::mean_std(self.return_mean, self.return_std);
        match self.normalised_score {
            Some(score) => format!("{reached} ({score:.1})"),
            None => reached,
        }
    }
}

/// A row a kind of cache, a column a size: headline results.
fn cache_table(run: &ComparedRun) -> Table {
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
    let header: Vec<String> = std::iter::once("entries in each layer".into()).chain(sizes.iter().map(size)).collect();
    let mut table = report::table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for kind in kinds {
        let reached = |entries: &Option<usize>| {
            // There is one full cache, whatever kind it would be cut down to.
            let found = run.caches.iter().find(|cache| cache.entries == *entries && (entries.is_none() || cache.kind == kind));
            found.and_then(|cache| cache.targets.first()).map_or("-".into(), ComparedTarget::cell)
        };
        table.add_row(std::iter::once(kind.to_string()).chain(sizes.iter().map(reached)));
    }
    let state = |entries: &Option<usize>| {
        let largest = run.caches.iter().filter(|cache| cache.entries == *entries).map(|cache| cache.state_bytes).max();
        largest.map_or("-".into(), report::bytes)
    };
    table.add_row(std::iter::once("state, last step".into()).chain(sizes.iter().map(state)));
    report::align_right(&mut table, 1);
    table
}

fn styled(mut table: Table, style: TableStyle, arrangement: Option<ContentArrangement>) -> Table {
    table.load_style(style);
    if let Some(arrangement) = arrangement {
        table.set_content_arrangement(arrangement);
    }
    table
}

/// Markdown's tables are made of bars.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

pub(super) fn asked_for(target_return: Option<f64>) -> String {
    target_return.map_or("none".into(), report::number)
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
