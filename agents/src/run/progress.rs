//! Progress of long work on the terminal.
//!
//! ```
//! let progress = aaren_agents::run::progress::watch(10, "training");
//! progress(4, "loss 0.5".into());
//! ```

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long a job without a terminal stays silent between two lines about its progress.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// Progress of long work on stderr: a bar on a terminal, else a plain line every ten seconds. Threads may share it.
pub(crate) struct Progress {
    bar: ProgressBar,
    label: String,
    /// When the last plain line was printed; None on a terminal.
    last_line: Option<Mutex<Instant>>,
}

/// Progress towards `len`, in whatever the label counts: to be called with a position and a text behind the bar, such as the
/// current loss. Dropping it takes the bar off the terminal.
pub fn watch(len: u64, label: &str) -> impl Fn(u64, String) {
    let progress = Progress::new(len, label);
    move |position, text| progress.show(position, text)
}

impl Progress {
    /// Progress towards `len`, in whatever the label counts.
    pub(crate) fn new(len: u64, label: &str) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(len), target).with_prefix(label.to_string());
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len} [{elapsed}<{eta}] {msg}") {
            bar.set_style(style);
        }
        Progress { bar, label: label.into(), last_line: (!terminal).then(|| Mutex::new(Instant::now())) }
    }

    /// Moves to a position.
    pub(crate) fn set(&self, position: u64) {
        self.bar.set_position(position);
        self.plain_line();
    }

    /// Moves on by `delta`.
    pub(crate) fn inc(&self, delta: u64) {
        self.bar.inc(delta);
        self.plain_line();
    }

    /// Sets the text behind the bar, such as the current loss.
    pub(crate) fn message(&self, text: impl Into<std::borrow::Cow<'static, str>>) {
        self.bar.set_message(text);
    }

    /// Moves to a position, with a text behind the bar.
    pub(crate) fn show(&self, position: u64, text: String) {
        self.message(text);
        self.set(position);
    }

    /// Takes the bar off the terminal.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn plain_line(&self) {
        let Some(last_line) = &self.last_line else { return };
        // A thread that finds the lock taken leaves the line to the other one.
        let Ok(mut last_line) = last_line.try_lock() else { return };
        if last_line.elapsed() >= PLAIN_INTERVAL {
            *last_line = Instant::now();
            let (position, len) = (self.bar.position(), self.bar.length().unwrap_or_default());
            // A closed stderr is no reason to stop working.
            let _ = writeln!(std::io::stderr(), "{} {position}/{len} {}", self.label, self.bar.message());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
