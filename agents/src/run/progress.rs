//! Progress of long work on the terminal.
//!
//! ```
//! let progress = aaren_agents::run::progress::watch(10, "training");
//! progress(4, "loss 0.5".into());
//! ```

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::words::duration;

/// How long a job that cannot draw bars stays silent between two lines about its progress.
const PLAIN_INTERVAL: Duration = Duration::from_secs(10);

/// The bars of the process. A line that is written while it suspends them stands above them, and they are not torn.
static BARS: LazyLock<MultiProgress> = LazyLock::new(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));

static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// News of long work, for a process that shows them in its own way.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    /// Work came to a position.
    Moved {
        /// What is counted, for example `training`.
        label: String,
        /// How many are done.
        position: u64,
        /// How many there are in all.
        len: u64,
        /// The time that is left, and what is known of the work, such as the current loss.
        text: String,
    },
    /// Work with this label ended.
    Finished(String),
    /// A line that stays.
    Line(String),
}

type Listener = Box<dyn Fn(News) + Send + Sync>;

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// Hands all news of the process to `listener` from now on, in whatever thread they come up, and shows nothing on the terminal. The
/// first listener stays.
pub fn listen(listener: impl Fn(News) + Send + Sync + 'static) {
    let _ = LISTENER.set(Box::new(listener));
}

/// Progress of long work on stderr: a bar on a terminal that can draw one, else a plain line every ten seconds. Threads may share it.
pub(crate) struct Progress {
    bar: ProgressBar,
    label: String,
    pace: Pace,
    started: Instant,
    /// When the last plain line was printed; None where there is a bar, and where nothing is to be said.
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
        Self::resumed(len, label, 0, 0.0)
    }

    /// Progress of work that came to `position` before, in so many seconds.
    pub(crate) fn resumed(len: u64, label: &str, position: u64, seconds: f64) -> Progress {
        let pace = Pace { position, seconds };
        let hidden = ProgressBar::with_draw_target(Some(len), ProgressDrawTarget::hidden());
        let bar = hidden.with_prefix(label.to_string()).with_position(position);
        let left = move |state: &ProgressState, text: &mut dyn std::fmt::Write| {
            let _ = text.write_str(&pace.left(state.pos(), state.len().unwrap_or(0), state.elapsed()));
        };
        if let Ok(style) = ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}, {left}{msg}") {
            bar.set_style(style.with_key("left", left));
        }
        let is_quiet = IS_QUIET.load(Ordering::Relaxed) || LISTENER.get().is_some();
        let bar = if is_quiet { bar } else { BARS.add(bar) };
        let last_line = (bar.is_hidden() && !is_quiet).then(|| Mutex::new(Instant::now()));
        bar.tick();
        Progress { bar, label: label.into(), pace, started: Instant::now(), last_line }
    }

    /// Moves to a position.
    pub(crate) fn set(&self, position: u64) {
        self.bar.set_position(position);
        self.tell();
    }

    /// Moves on by `delta`.
    pub(crate) fn inc(&self, delta: u64) {
        self.bar.inc(delta);
        self.tell();
    }

    /// Sets the text behind the bar, such as the current loss.
    pub(crate) fn message(&self, text: impl Into<Cow<'static, str>>) {
        let text = text.into();
        self.bar.set_message(if text.is_empty() { text } else { format!(", {text}").into() });
    }

    /// Moves to a position, with a text behind the bar.
    pub(crate) fn show(&self, position: u64, text: String) {
        self.message(text);
        self.set(position);
    }

    /// Takes the bar off the terminal.
    pub(crate) fn finish(&self) {
        if let Some(listener) = LISTENER.get().filter(|_| !self.bar.is_finished()) {
            listener(News::Finished(self.label.clone()));
        }
        self.bar.finish_and_clear();
        BARS.remove(&self.bar);
    }

    /// Where there is no bar, says how far the work is.
    fn tell(&self) {
        if let Some(listener) = LISTENER.get() {
            let (position, len) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let text = self.pace.left(position, len, self.started.elapsed()) + &self.bar.message();
            return listener(News::Moved { label: self.label.clone(), position, len, text });
        }
        let Some(last_line) = &self.last_line else { return };
        // A thread that finds the lock taken leaves the line to the other one.
        let Ok(mut last_line) = last_line.try_lock() else { return };
        if last_line.elapsed() >= PLAIN_INTERVAL {
            *last_line = Instant::now();
            let (position, len) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let left = self.pace.left(position, len, self.started.elapsed());
            say(&format!("{} {position}/{len}, {left}{}", self.label, self.bar.message()));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// How far work had come when it was taken up, and how long that took.
#[derive(Clone, Copy, Debug)]
struct Pace {
    position: u64,
    seconds: f64,
}

impl Pace {
    /// The time that is left, at the mean pace so far: work in turns of unlike length, such as training and evaluation, has no other.
    fn left(self, position: u64, len: u64, elapsed: Duration) -> String {
        let made = if self.seconds > 0.0 { position } else { position.saturating_sub(self.position) };
        let seconds = (self.seconds + elapsed.as_secs_f64()) * len.saturating_sub(position) as f64 / made as f64;
        if made == 0 { "? left".into() } else { format!("{} left", duration(seconds.round())) }
    }
}

/// Says nothing of any progress from now on.
pub(crate) fn silence() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// Writes a line about the progress to stderr, above the bars; where nothing but errors is said, nothing.
pub fn say(text: &str) {
    if let Some(listener) = LISTENER.get() {
        return listener(News::Line(text.into()));
    }
    if !IS_QUIET.load(Ordering::Relaxed) {
        // A closed stderr is no reason to stop working.
        let _ = AboveBars.write_all(format!("{text}\n").as_bytes());
    }
}

/// Stderr, above the bars.
pub(crate) struct AboveBars;

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write_all(bytes)).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_known_from_the_first_step_on_and_right_after_a_resume() {
        let seconds = Duration::from_secs;
        let fresh = Pace { position: 0, seconds: 0.0 };
        assert_eq!(fresh.left(0, 100, seconds(7)), "? left");
        assert_eq!(fresh.left(25, 100, seconds(10)), "30 s left");
        assert_eq!(fresh.left(100, 100, seconds(10)), "0 s left");
        let resumed = Pace { position: 50, seconds: 100.0 };
        assert_eq!(resumed.left(50, 100, seconds(0)), "1 min 40 s left");
        // A run whose log does not say how long it took.
        let unknown = Pace { position: 50, seconds: 0.0 };
        assert_eq!(unknown.left(50, 100, seconds(3)), "? left");
        assert_eq!(unknown.left(60, 100, seconds(10)), "40 s left");
    }
}
