//! A comparison as one HTML page: tables and plots, in light and dark, without any other file.

use std::fmt::Write;

use super::axis::{Scale, byte_tick};
use super::comparison::{Cell, ComparedCache, ComparedRun, Comparison};
use super::plot::{Level, Line, Plot, Spread, Strip, class, escape, strips};
use crate::run::report::{self, Baseline};
use crate::run::words::asked_for;

/// Kinds of KV caches in the order of their colours.
const CACHES: [&str; 5] = ["window", "sink", "h2o", "tova", "full"];

const STYLE: &str = include_str!("page.css");

impl Comparison {
    /// The page.
    pub(crate) fn page(&self) -> String {
        let (runs, tasks, agents) = (self.runs.len(), self.tasks.len(), self.agents.len());
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>Comparison</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n<h1>Comparison</h1>\n\
             <p>{}, {}, {}</p>\n",
            count(runs, "run"),
            count(agents, "agent"),
            count(tasks, "task")
        );
        page += "<ul class=\"legend\">\n";
        for (agent, name) in self.agents.iter().enumerate() {
            page += &legend(agent, name);
        }
        page += "</ul>\n</header>\n";
        for reason in &self.incompatible {
            let _ = writeln!(page, "<p class=\"warning\">Not a fair comparison: {}.</p>", escape(reason));
        }
        for (title, table) in self.tables() {
            let _ = writeln!(page, "<section>\n<h2>{}</h2>\n{}</section>", escape(&title), table.html());
        }
        page += "<div class=\"sections\">\n";
        for (title, about, plots) in [
            (
                "Learning",
                "Evaluations while training, asked for the headline return. A band is the standard deviation over seeds, bars are that over \
                 the episodes of a single run.",
                self.learning(),
            ),
            (
                "What was asked for and what was reached",
                "Last checkpoints: mean over seeds, with their standard deviation as a band; of a single run bars for that over its \
                 episodes. Agents that are not told a return are drawn across.",
                self.asked(),
            ),
            ("Episodes", "Every episode of the last checkpoints, and their mean, by run and target return.", self.episodes()),
            (
                "The time of a step",
                "One environment on one thread, against the step of the episode.",
                self.latency("microseconds", Scale::Log, report::number, |point| point.microseconds),
            ),
            (
                "The memory of a policy",
                "What it carries from step to step for one environment.",
                self.latency("size", Scale::Bytes, byte_tick, |point| point.state_bytes as f64),
            ),
        ] {
            if !plots.is_empty() {
                let all = if plots.len() > 1 { " class=\"all\"" } else { "" };
                let _ = writeln!(page, "<section{all}>\n<h2>{title}</h2>\n<p>{about}</p>\n<div class=\"plots\">");
                for (name, svg) in plots {
                    let _ = writeln!(page, "<figure>\n<figcaption>{}</figcaption>\n{svg}</figure>", escape(&name));
                }
                page += "</div>\n</section>\n";
            }
        }
        page += "</div>\n";
        let caches = self.caches();
        if !caches.is_empty() {
            page += "<section>\n<h2>Score against the size of the KV cache</h2>\n<p>A trained Transformer with caches that keep so many \
                     entries in each layer, in the same episodes. Across: the full cache.</p>\n<ul class=\"legend\">\n";
            for (colour, kind) in CACHES.iter().enumerate() {
                page += &legend(colour, kind);
            }
            page += "</ul>\n<div class=\"plots\">\n";
            for (name, svg) in caches {
                let _ = writeln!(page, "<figure>\n<figcaption>{}</figcaption>\n{svg}</figure>", escape(&name));
            }
            page += "</div>\n</section>\n";
        }
        let runs = self.runs_table();
        // A column a run, as long as a screen holds them.
        let runs = if self.runs.len() <= 8 { runs.transposed() } else { runs };
        let _ = writeln!(page, "<section>\n<h2>Runs</h2>\n{}", runs.html());
        for run in &self.runs {
            let (name, config) = (escape(&run.run), escape(&format!("{:#}", run.config)));
            let _ = writeln!(page, "<details><summary>The job of {name}</summary><pre>{config}</pre></details>");
        }
        page += "</section>\n";
        page += "<section>\n<h2>Notes</h2>\n<ul>\n";
        for remark in self.remarks() {
            let _ = writeln!(page, "<li>{}</li>", escape(&remark));
        }
        page += "</ul>\n";
        if !self.differences.is_empty() {
            page += "<p>The jobs differ in:</p>\n<div class=\"wide\"><table class=\"keys\">\n";
            for (key, values) in self.differing() {
                let _ = writeln!(page, "<tr><td><code>{}</code></td><td>{}</td></tr>", escape(key), escape(&values));
            }
            page += "</table></div>\n";
        }
        page += "</section>\n</main>\n</body>\n</html>\n";
        page
    }

    /// A plot a task, of lines that cells make; tasks without any are left out.
    fn plots(&self, plot: impl Fn(usize) -> Plot) -> Vec<(String, String)> {
        let drawn = |task: usize| Some((self.tasks[task].name.clone(), plot(task).svg()?));
        (0..self.tasks.len()).filter_map(drawn).collect()
    }

    fn lines(&self, task: usize, points: impl Fn(&Cell) -> Vec<(f64, f64, f64)>) -> Vec<Line> {
        let cells = self.cells.iter().filter(|cell| cell.task == task);
        let line = |cell: &Cell| {
            let spread = if cell.runs.len() > 1 { Spread::Band } else { Spread::Bars };
            Line { colour: cell.agent, name: self.agents[cell.agent].clone(), spread, points: points(cell) }
        };
        cells.map(line).collect()
    }

    /// What scores of a task are measured by. Normalised ones always have 0 and 100 in sight.
    fn levels(&self, task: usize) -> Vec<Level> {
        let task = &self.tasks[task];
        let mut levels = Vec::new();
        let references = if task.is_normalised { Some((0.0, 100.0)) } else { task.references };
        if let Some((random, expert)) = references {
            levels.push(Level { name: "random".into(), value: random });
            levels.push(Level { name: "expert".into(), value: expert });
        }
        let data = task.data_return.filter(|_| task.is_played());
        levels.extend(data.map(|value| Level { name: "data".into(), value: task.score(value) }));
        let of =
            |baseline: &Baseline| baseline.scores.iter().find(|score| score.title() == task.measure).map(|score| score.value);
        let baselines = task.baselines.iter().filter_map(|baseline| Some((&baseline.name, of(baseline)?)));
        levels.extend(baselines.map(|(name, value)| Level { name: name.clone(), value }));
        levels
    }

    fn unit_of(&self, task: usize) -> String {
        match &self.tasks[task] {
            task if !task.is_played() => task.measure.clone(),
            task if task.is_normalised => "normalised score".into(),
            _ => "return".into(),
        }
    }

    fn learning(&self) -> Vec<(String, String)> {
        self.plots(|task| Plot {
            x: "training steps".into(),
            y: self.unit_of(task),
            scale: Scale::Linear,
            format: report::number,
            levels: self.levels(task),
            diagonal: None,
            lines: self.lines(task, |cell| cell.curve.iter().map(|point| (point.step as f64, point.mean, point.std)).collect()),
        })
    }

    fn asked(&self) -> Vec<(String, String)> {
        self.plots(|task| {
            let cells = self.cells.iter().filter(|cell| cell.task == task);
            let asked: Vec<f64> = cells.flat_map(|cell| &cell.targets).filter_map(|target| target.target_return).collect();
            let ends = [asked.iter().copied().reduce(f64::min), asked.iter().copied().reduce(f64::max)];
            let points = |cell: &Cell| {
                let mut points: Vec<(f64, f64, f64)> = cell
                    .targets
                    .iter()
                    .flat_map(|target| {
                        let at: Vec<f64> = match target.target_return {
                            Some(asked) => vec![asked],
                            None => ends.iter().copied().flatten().collect(),
                        };
                        let std = target.episodes_std.unwrap_or(target.last.std);
                        at.into_iter().map(move |x| (x, target.last.mean, std))
                    })
                    .collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                points
            };
            let offset = self.tasks[task].score(0.0);
            Plot {
                x: "target return".into(),
                y: self.unit_of(task),
                scale: Scale::Linear,
                format: report::number,
                lines: self.lines(task, points),
                levels: self.levels(task),
                diagonal: Some((offset, self.tasks[task].score(1.0) - offset)),
            }
        })
    }

    /// A plot a task: a row for each run and target return.
    fn episodes(&self) -> Vec<(String, String)> {
        let drawn = |task: usize| {
            let about = &self.tasks[task];
            let runs = || self.runs.iter().filter(|run| run.task == task);
            // Many runs are shown by their headline alone.
            let shown = if runs().map(|run| run.targets.len()).sum::<usize>() > 12 { 1 } else { usize::MAX };
            let of_run = |run: &ComparedRun| {
                let asked = asked_for(&run.targets.iter().map(|target| target.target_return).collect::<Vec<_>>());
                let name = |asked: String| {
                    if run.targets.len().min(shown) == 1 { run.run.clone() } else { format!("{}, {asked}", run.run) }
                };
                let values = run.targets.iter().map(|target| target.returns.iter().map(|value| about.score(*value)).collect());
                let strip = |(name, values)| Strip { colour: run.agent, name, values };
                asked.into_iter().map(name).zip(values).map(strip).take(shown).collect::<Vec<_>>()
            };
            let rows: Vec<Strip> = runs().flat_map(of_run).collect();
            Some((about.name.clone(), strips(&rows, &self.unit_of(task), &self.levels(task))?))
        };
        (0..self.tasks.len()).filter_map(drawn).collect()
    }

    /// A plot a run that was evaluated with caches of several sizes.
    fn caches(&self) -> Vec<(String, String)> {
        let drawn = |run: &ComparedRun| {
            let is_normalised = self.tasks[run.task].is_normalised;
            let score = |cache: &ComparedCache| {
                let target = cache.targets.first()?;
                Some(target.normalised_score.filter(|_| is_normalised).unwrap_or(target.return_mean))
            };
            let sizes = || run.caches.iter().filter_map(|cache| cache.entries);
            let line = |(colour, kind): (usize, &&str)| {
                let of_kind = run.caches.iter().filter(|cache| cache.kind == *kind);
                let points = of_kind.flat_map(|cache| {
                    let across = [sizes().min(), sizes().max()];
                    let at = cache.entries.map_or(across.to_vec(), |entries| vec![Some(entries)]);
                    at.into_iter().filter_map(move |x| Some((x? as f64, score(cache)?, 0.0)))
                });
                let mut points: Vec<(f64, f64, f64)> = points.collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                Line { colour, name: (*kind).into(), spread: Spread::Band, points }
            };
            let plot = Plot {
                x: "entries in each layer".into(),
                y: self.unit_of(run.task),
                scale: Scale::Linear,
                format: report::number,
                lines: CACHES.iter().enumerate().map(line).collect(),
                levels: Vec::new(),
                diagonal: None,
            };
            Some((run.run.clone(), plot.svg()?))
        };
        self.runs.iter().filter(|run| !run.caches.is_empty()).filter_map(drawn).collect()
    }

    fn latency(
        &self,
        y: &str,
        scale: Scale,
        format: fn(f64) -> String,
        value: impl Fn(&report::LatencyPoint) -> f64,
    ) -> Vec<(String, String)> {
        self.plots(|task| Plot {
            x: "step of the episode".into(),
            y: y.into(),
            scale,
            format,
            levels: Vec::new(),
            diagonal: None,
            lines: self.lines(task, |cell| cell.latency.iter().map(|point| (point.step as f64, value(point), 0.0)).collect()),
        })
    }
}

/// A colour and what it stands for.
fn legend(colour: usize, name: &str) -> String {
    format!(
        "<li class=\"{}\"><svg viewBox=\"0 0 36 8\"><line class=\"line\" x1=\"1\" x2=\"35\" y1=\"4\" y2=\"4\"/></svg>{}</li>\n",
        class(colour),
        escape(name)
    )
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
