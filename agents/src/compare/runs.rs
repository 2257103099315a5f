//! The table of runs: its columns, and the order of its rows.

use std::cmp::Ordering;

use anyhow::{Result, bail};
use serde_json::Value;

use super::comparison::{BestCheckpoint, ComparedRun, Comparison, Task};
use super::grid::Grid;
use crate::run::report::{self, Better, LatencyReport, Score, TargetReport};
use crate::run::words::asked_for;

/// The columns of the table of runs; each may be several.
pub(super) const COLUMNS: [&str; 12] =
    ["mixer", "context", "execution", "steps", "parameters", "return", "validation", "score", "best", "training", "act", "state"];

impl Comparison {
    /// Whether runs can be sorted by a name, or have a column of it.
    ///
    /// # Errors
    /// Says which there are.
    pub(super) fn check_column(&self, name: &str) -> Result<()> {
        let known = COLUMNS.contains(&name) || ["name", "seed"].contains(&name);
        if !known && self.runs.iter().all(|run| run.key(name).is_none()) {
            bail!("there is no column \"{name}\"; there are name, seed, {}, and the keys of the jobs", COLUMNS.join(", "));
        }
        Ok(())
    }

    /// A row a run, a column a property.
    pub(super) fn runs_table(&self) -> Grid {
        let columns: Vec<(String, Vec<String>)> = match &self.columns[..] {
            [] => COLUMNS.iter().flat_map(|name| self.properties(name)).collect(),
            names => names.iter().flat_map(|name| self.properties(name)).collect(),
        };
        let mut table = Grid::new(std::iter::once("run").chain(columns.iter().map(|(name, _)| &**name)));
        for (index, run) in self.runs.iter().enumerate() {
            table.row(std::iter::once(run.run.clone()).chain(columns.iter().map(|(_, values)| values[index].clone())));
        }
        table
    }

    /// The columns that a name of [`COLUMNS`], or a key of the jobs, stands for: headings, and a value for each run.
    fn properties(&self, name: &str) -> Vec<(String, Vec<String>)> {
        let each = |of: &dyn Fn(&ComparedRun) -> String| self.runs.iter().map(of).collect::<Vec<_>>();
        let one = |of: &dyn Fn(&ComparedRun) -> String| vec![(name.to_string(), each(of))];
        let latency = |heading: &str, show: &dyn Fn(&LatencyReport) -> String| {
            (heading.to_string(), each(&|run| run.latency.as_ref().map_or("-".into(), show)))
        };
        match name {
            "mixer" => one(&|run| run.mixer.clone()),
            "context" => one(&|run| run.context_length.clone()),
            "execution" => one(&|run| run.execution.clone()),
            "seed" => one(&|run| run.seed.to_string()),
            "steps" => one(&|run| run.checkpoint_step.to_string()),
            "parameters" => one(&|run| run.parameters.to_string()),
            "return" => {
                let targets = self.targets();
                let heading =
                    |asked: &String| if asked == "none" { "return".into() } else { format!("return, asked for {asked}") };
                let reached = |target: &Option<f64>| {
                    each(&|run| {
                        let reached = run.targets.iter().find(|reached| reached.target_return == *target);
                        reached.map_or("-".into(), TargetReport::cell)
                    })
                };
                asked_for(&targets).iter().map(heading).zip(targets.iter().map(reached)).collect()
            }
            "validation" => {
                let is_judged = self.runs.iter().any(|run| run.validation.is_some());
                let loss = |run: &ComparedRun| run.validation.map_or("-".into(), |validation| report::number(validation.loss));
                is_judged.then(|| ("loss, held out".into(), each(&loss))).into_iter().collect()
            }
            "score" => {
                let scores = |run: &'_ ComparedRun| if run.validation.is_none() { run.scores.clone() } else { Vec::new() };
                let mut all: Vec<Score> = Vec::new();
                for score in self.runs.iter().flat_map(scores) {
                    if all.iter().all(|other| other.title() != score.title()) {
                        all.push(score);
                    }
                }
                let of = |title: &str, scores: &[Score]| {
                    let found = scores.iter().find(|score| score.title() == title);
                    found.map_or("-".into(), |score| report::number(score.value))
                };
                let column = |score: &Score| {
                    let title = score.title();
                    let better = match score.better {
                        Better::Neither => String::new(),
                        better => format!(" ({} is better)", better.word()),
                    };
                    let best = |run: &ComparedRun| run.best.as_ref().map_or("-".into(), |best| of(&title, &best.scores));
                    [
                        (format!("{title}{better}"), each(&|run| of(&title, &run.scores))),
                        (format!("{title}, best checkpoint"), each(&best)),
                    ]
                };
                all.iter().flat_map(column).collect()
            }
            "best" => {
                let best = |show: &dyn Fn(&BestCheckpoint) -> Option<String>| {
                    each(&|run| run.best.as_ref().and_then(show).unwrap_or_else(|| "-".into()))
                };
                let mut columns = vec![("best at".to_string(), best(&|best| Some(format!("step {}", best.step))))];
                if self.tasks.iter().any(Task::is_played) {
                    columns.push(("best return".into(), best(&|best| best.targets.first().map(TargetReport::cell))));
                }
                if self.tasks.iter().any(|task| task.is_loss) {
                    let loss = |best: &BestCheckpoint| best.validation.map(|validation| report::number(validation.loss));
                    columns.push(("best loss, held out".into(), best(&loss)));
                }
                columns
            }
            "training" => one(&|run| run.train_seconds.map_or("-".into(), report::duration)),
            "act" => vec![
                latency("act, first", &|latency| report::microseconds(latency.first_microseconds)),
                latency("act, last", &|latency| report::microseconds(latency.last_microseconds)),
            ],
            "state" => vec![
                latency("state, first", &|latency| report::bytes(latency.state_bytes_first)),
                latency("state, last", &|latency| report::bytes(latency.state_bytes_last)),
            ],
            key => one(&|run| run.key(key).map_or("-".into(), |value| value.to_string().trim_matches('"').into())),
        }
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
}

impl ComparedRun {
    /// The value of a dotted key of its job.
    pub(super) fn key(&self, key: &str) -> Option<&Value> {
        self.config.pointer(&format!("/{}", key.replace('.', "/")))
    }

    /// The order of two runs by a column or a key: returns from the largest on, all else from the smallest; what has no number last.
    pub(super) fn compare_by(&self, other: &Self, name: &str) -> Ordering {
        let key = |run: &Self| run.number(name).filter(|number| !number.is_nan()).unwrap_or(f64::INFINITY);
        key(self).total_cmp(&key(other)).then_with(|| self.word(name).cmp(&other.word(name)))
    }

    fn number(&self, name: &str) -> Option<f64> {
        match name {
            "return" => self.targets.first().map(|target| -target.return_mean),
            "best" => self.best.as_ref().and_then(|best| Some(-best.targets.first()?.return_mean)),
            "validation" => self.validation.map(|validation| validation.loss),
            "score" => self.scores.first().map(|score| -score.better.merit(score.value)),
            "seed" => Some(self.seed as f64),
            "steps" => Some(self.checkpoint_step as f64),
            "parameters" => Some(self.parameters as f64),
            "training" => self.train_seconds,
            "act" => self.latency.as_ref().map(|latency| latency.last_microseconds),
            "state" => self.latency.as_ref().map(|latency| latency.state_bytes_last as f64),
            key => self.key(key).and_then(Value::as_f64),
        }
    }

    fn word(&self, name: &str) -> String {
        match name {
            "name" => self.run.clone(),
            "mixer" => self.mixer.clone(),
            "context" => self.context_length.clone(),
            "execution" => self.execution.clone(),
            key => self.key(key).map(Value::to_string).unwrap_or_default(),
        }
    }
}
