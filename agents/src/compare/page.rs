//! A comparison as one HTML page: tables and plots, in light and dark, without any other file.

use std::fmt::Write;

use comfy_table::Table;

use super::comparison::{Cell, ComparedCache, ComparedRun, Comparison};
use super::plot::{COLOURS, Line, Plot, Scale, escape};
use crate::run::report;

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
            let _ = writeln!(page, "<section>\n<h2>{}</h2>\n{}</section>", escape(&title), html_table(&table));
        }
        for (title, about, plots) in [
            (
                "Learning",
                "Evaluations while training, asked for the headline return: mean over seeds, ± their standard deviation.",
                self.learning(),
            ),
            (
                "What was asked for and what was reached",
                "Last checkpoints: mean over seeds, ± their standard deviation. Agents that are not told a return are drawn across.",
                self.asked(),
            ),
            (
                "The time of a step",
                "One environment on one thread, against the step of the episode.",
                self.latency("microseconds", report::microseconds, |point| point.microseconds),
            ),
            (
                "The memory of a policy",
                "What it carries from step to step for one environment.",
                self.latency("bytes", |bytes| report::bytes(bytes.round() as usize), |point| point.state_bytes as f64),
            ),
        ] {
            if !plots.is_empty() {
                let _ = writeln!(page, "<section>\n<h2>{title}</h2>\n<p>{about}</p>\n<div class=\"plots\">");
                for (name, svg) in plots {
                    let _ = writeln!(page, "<figure>\n<figcaption>{}</figcaption>\n{svg}</figure>", escape(&name));
                }
                page += "</div>\n</section>\n";
            }
        }
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
        let _ = writeln!(page, "<section>\n<h2>Runs</h2>\n{}</section>", html_table(&self.runs_table()));
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
        cells.map(|cell| Line { colour: cell.agent, name: self.agents[cell.agent].clone(), points: points(cell) }).collect()
    }

    fn unit_of(&self, task: usize) -> String {
        if self.tasks[task].is_normalised { "normalised score" } else { "return" }.into()
    }

    fn learning(&self) -> Vec<(String, String)> {
        self.plots(|task| Plot {
            x: "training steps".into(),
            y: self.unit_of(task),
            scale: Scale::Linear,
            format: report::number,
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
                        at.into_iter().map(|x| (x, target.last.mean, target.last.std))
                    })
                    .collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
                points
            };
            Plot {
                x: "target return".into(),
                y: self.unit_of(task),
                scale: Scale::Linear,
                format: report::number,
                lines: self.lines(task, points),
            }
        })
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
                Line { colour, name: (*kind).into(), points }
            };
            let plot = Plot {
                x: "entries in each layer".into(),
                y: self.unit_of(run.task),
                scale: Scale::Linear,
                format: report::number,
                lines: CACHES.iter().enumerate().map(line).collect(),
            };
            Some((run.run.clone(), plot.svg()?))
        };
        self.runs.iter().filter(|run| !run.caches.is_empty()).filter_map(drawn).collect()
    }

    fn latency(&self, y: &str, format: fn(f64) -> String, value: impl Fn(&report::LatencyPoint) -> f64) -> Vec<(String, String)> {
        self.plots(|task| Plot {
            x: "step of the episode".into(),
            y: y.into(),
            scale: Scale::Log,
            format,
            lines: self.lines(task, |cell| cell.latency.iter().map(|point| (point.step as f64, value(point), 0.0)).collect()),
        })
    }
}

/// A colour and what it stands for.
fn legend(colour: usize, name: &str) -> String {
    format!(
        "<li class=\"c{}{}\"><svg viewBox=\"0 0 24 8\"><line class=\"line\" x1=\"1\" x2=\"23\" y1=\"4\" y2=\"4\"/></svg>{}</li>\n",
        colour % COLOURS,
        if colour >= COLOURS { " dashed" } else { "" },
        escape(name)
    )
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The same table in HTML; what Markdown needed escaped is not here.
fn html_table(table: &Table) -> String {
    let row = |row: &comfy_table::Row, tag: &str| {
        let cells = row.cell_iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(&cell.content().replace("\\|", "|"))));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let header = table.header().map(|header| row(header, "th")).unwrap_or_default();
    let body: String = table.row_iter().map(|line| row(line, "td")).collect();
    format!("<div class=\"wide\"><table>\n<thead>{header}</thead>\n<tbody>\n{body}</tbody>\n</table></div>\n")
}
