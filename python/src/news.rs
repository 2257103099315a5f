//! What jobs say while they run: progress, lines, and warnings. Threads of the jobs leave it here, and the thread that called from Python
//! takes it away.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, Once};

use aaren_agents::run::progress::{News, listen};
use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::error::lock;

/// Lines that are kept until somebody takes them; further ones are lost.
const MOST_LINES: usize = 10_000;

/// Position, length and text of some work.
type Moved = (u64, u64, String);

/// A line: `"line"`, or the level of a warning, and its text.
type Line = (&'static str, String);

/// What nobody has taken yet.
struct Waiting {
    lines: Vec<Line>,
    moved: BTreeMap<String, Moved>,
    finished: Vec<String>,
}

static WAITING: Mutex<Waiting> = Mutex::new(Waiting { lines: Vec::new(), moved: BTreeMap::new(), finished: Vec::new() });

/// Listens from now on to what this process says. Not when the module is imported: the program in it draws bars itself.
pub(crate) fn begin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        listen(|news| {
            let mut waiting = lock(&WAITING);
            match news {
                News::Moved { label, position, len, text } => drop(waiting.moved.insert(label, (position, len, text))),
                News::Finished(label) => waiting.finished.push(label),
                News::Line(text) => waiting.push("line", text),
            }
        });
        // Somebody else's subscriber, where there is one, hears the warnings.
        let _ = tracing::subscriber::set_global_default(Listener);
    });
}

impl Waiting {
    fn push(&mut self, kind: &'static str, text: String) {
        if self.lines.len() < MOST_LINES {
            self.lines.push((kind, text));
        }
    }
}

/// What was said since the last call: lines, where all work is, and the labels of what ended.
#[pyfunction]
pub(crate) fn drain() -> (Vec<Line>, BTreeMap<String, Moved>, Vec<String>) {
    let mut waiting = lock(&WAITING);
    let Waiting { lines, moved, finished } = &mut *waiting;
    (std::mem::take(lines), std::mem::take(moved), std::mem::take(finished))
}

/// Keeps warnings and errors.
struct Listener;

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let level = if *event.metadata().level() == Level::ERROR { "error" } else { "warning" };
        lock(&WAITING).push(level, text.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The text of an event, and its fields behind it.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
