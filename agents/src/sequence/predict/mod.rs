//! A saved model that answers rows as they come: a line in, a line out, at a cost that does not grow.
//!
//! ```no_run
//! use aaren_agents::sequence::Predictor;
//!
//! let mut predictor = Predictor::open("runs/vowels/checkpoints/step-500".as_ref(), None)?;
//! for line in std::io::stdin().lines() {
//!     if let Some(prediction) = predictor.push(line?.as_bytes())? {
//!         println!("{}", serde_json::to_string(&prediction)?);
//!     }
//! }
//! std::fs::write("stream.state", predictor.store()?)?; // Predictor::restore goes on from there
//! # Ok::<(), anyhow::Error>(())
//! ```

mod classify;
mod events;
mod feed;
mod forecast;
mod lines;
mod mqar;

use std::fs;
use std::mem::discriminant;
use std::path::Path;

use aaren_policy::{Model, SequenceDescription, SequencePolicy, StateRecord, Stream, checkpoint};
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::config::{ContextLength, Execution, TaskConfig};
use crate::device::{CPU, Cpu};
use crate::run::write_atomically;
pub use feed::Answer;
use feed::{Feed, Shown};
use lines::Lines;

/// What a model says after a row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// Number of the row, from 1, over all that the stream has seen.
    pub row: u64,
    /// Number of its sequence, from 1.
    pub sequence: u64,
    /// When it was, where a column says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// What is said.
    #[serde(flatten)]
    pub answer: Answer,
}

/// A saved model, and what it carries of the rows so far.
#[derive(Debug)]
pub struct Predictor {
    stream: Stream<Cpu>,
    feed: Box<dyn Feed>,
    lines: Lines,
    /// Tells the model from others.
    model: u32,
    seen: Seen,
    /// Checksum of the text of all rows seen; nothing where a state is older than that.
    text: Option<u32>,
    /// That of the rows passed over.
    passed: u32,
}

/// How far a stream has come.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Seen {
    rows: u64,
    sequence: u64,
    /// Rows of the present sequence.
    place: usize,
}

/// A stream on its way to a file.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    model: u32,
    seen: Seen,
    lines: Lines,
    feed: Vec<u8>,
    stream: Vec<StateRecord>,
    #[serde(default)]
    text: Option<u32>,
}

/// What is said of bytes that are not as they were written.
const NO_STATE: &str = "no state of a stream, or a damaged one";

impl Stored {
    const FORMAT: u32 = 1;
}

impl Predictor {
    /// Of a saved model, before the first row.
    ///
    /// - `execution`: default: token by token, unless the model needs the whole window that it looks back on
    ///
    /// # Errors
    /// If the folder has no model of sequences, or it cannot be executed so.
    pub fn open(folder: &Path, execution: Option<Execution>) -> Result<Self> {
        let Model::Sequence(policy) = checkpoint::load_model::<Cpu>(folder, &CPU)? else {
            bail!("{}: a policy that acts, expected a model of sequences; `aaren evaluate` plays it", folder.display());
        };
        let mut checksum = crc32fast::Hasher::new();
        for name in [checkpoint::DESCRIPTION, checkpoint::WEIGHTS] {
            let path = folder.join(name);
            checksum.update(&fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
        }
        checksum.update(&[u8::from(execution == Some(Execution::Window))]);
        let feed = feed_of(&policy.description, execution).with_context(|| folder.display().to_string())?;
        let seen = Seen { rows: 0, sequence: 1, place: 0 };
        let (stream, lines) = (Stream::of_rows(policy, feed.rows(), CPU), feed.lines());
        Ok(Self { stream, feed, lines, model: checksum.finalize(), seen, text: Some(0), passed: 0 })
    }

    /// Goes on from what [`Predictor::store`] gave, with the same model executed in the same way.
    ///
    /// # Errors
    /// If it is no such state, or another model's.
    pub fn restore(&mut self, stored: &[u8]) -> Result<()> {
        let (checksum, stored) = stored.split_first_chunk().context(NO_STATE)?;
        ensure!(u32::from_le_bytes(*checksum) == crc32fast::hash(stored), NO_STATE);
        let stored: Stored = rmp_serde::from_slice(stored).context("a state of another version of aaren")?;
        let (found, expected) = (stored.format, Stored::FORMAT);
        ensure!(found == expected, "a state of format {found}, this version of aaren reads {expected}");
        ensure!(stored.model == self.model, "the state of another model, or of another --execution");
        self.feed.restore(&stored.feed).context("a damaged state")?;
        let policy: SequencePolicy<Cpu> = self.stream.policy().clone();
        self.stream = Stream::restore(policy, self.feed.rows(), stored.stream, CPU)?;
        (self.seen, self.lines, self.text) = (stored.seen, stored.lines, stored.text);
        Ok(())
    }

    /// All that is needed to go on.
    ///
    /// # Errors
    /// If it cannot be written down.
    pub fn store(&self) -> Result<Vec<u8>> {
        let (stream, feed, lines) = (self.stream.state().to_records(), self.feed.store()?, self.lines.clone());
        let (model, seen, text) = (self.model, self.seen, self.text);
        let stored = Stored { format: Stored::FORMAT, model, seen, lines, feed, stream, text };
        let stored = rmp_serde::to_vec(&stored)?;
        Ok([&crc32fast::hash(&stored).to_le_bytes()[..], &stored].concat())
    }

    /// Writes that to a file, all at once.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep(&self, path: &Path) -> Result<()> {
        write_atomically(path, &self.store()?)
    }

    /// Passes a line over; says whether it was a row, and neither a header nor blank.
    pub fn pass(&mut self, line: &[u8]) -> bool {
        let is_row = self.lines.pass(line);
        if is_row {
            self.passed = checksum_after(self.passed, line);
        }
        is_row
    }

    /// Whether the rows passed over can be those that the stream has seen.
    pub fn has_seen_what_passed(&self) -> bool {
        self.text.is_none_or(|text| text == self.passed)
    }

    /// Rows seen.
    pub fn rows(&self) -> u64 {
        self.seen.rows
    }

    /// The next line: a row of numbers as in a table, a header before the first, or a blank one, after which another sequence begins. Gives
    /// what the model says after a row.
    ///
    /// # Errors
    /// What is wrong with the line; a later one is read as if it had not been there.
    pub fn push(&mut self, line: &[u8]) -> Result<Option<Prediction>> {
        if line.trim_ascii().is_empty() {
            self.begin();
            return Ok(None);
        }
        let Some(row) = self.lines.read(line)? else { return Ok(None) };
        let shown = self.feed.push(&row, self.seen.place).with_context(|| format!("row {}", self.seen.rows + 1))?;
        let answer = match shown {
            Shown::Tokens(tokens) => self.feed.answer(&self.stream.push(&tokens)),
            Shown::Window(tokens) => self.feed.answer(&self.stream.ask(&tokens)),
            Shown::Waiting(waits_for) => Answer::Waiting { waits_for },
        };
        self.text = self.text.map(|text| checksum_after(text, line));
        self.seen.rows += 1;
        self.seen.place += 1;
        let time = row.time.map(|time| time.to_string());
        Ok(Some(Prediction { row: self.seen.rows, sequence: self.seen.sequence, time, answer }))
    }

    /// Another sequence begins, unless none has.
    fn begin(&mut self) {
        if self.seen.place > 0 {
            self.lines.begin();
            self.feed.begin();
            self.stream.begin();
            self.seen = Seen { sequence: self.seen.sequence + 1, place: 0, ..self.seen };
        }
    }
}

/// That of the rows so far and one more.
fn checksum_after(rows: u32, line: &[u8]) -> u32 {
    let mut checksum = crc32fast::Hasher::new_with_initial(rows);
    checksum.update(line.trim_ascii());
    checksum.update(b"\n");
    checksum.finalize()
}

fn feed_of(description: &SequenceDescription, execution: Option<Execution>) -> Result<Box<dyn Feed>> {
    let task = TaskConfig::deserialize(&description.task).context("the model does not say what it was trained for")?;
    task.check(ContextLength::Episode)?;
    if execution == Some(Execution::Window) && !matches!(task, TaskConfig::Forecast(_)) {
        bail!("--execution window: the model looks at whole sequences; leave it out");
    }
    let feed: Box<dyn Feed> = match task {
        TaskConfig::Classify(config) => Box::new(classify::ClassifyFeed::new(&config, description)?),
        TaskConfig::Events(config) => Box::new(events::EventsFeed::new(&config, description)?),
        TaskConfig::Forecast(config) => Box::new(forecast::ForecastFeed::new(&config, description, execution)?),
        TaskConfig::Mqar(config) => Box::new(mqar::MqarFeed { vocabulary: config.vocabulary }),
    };
    let (spec, (numbers, ids, loss)) = (&description.spec, feed.sizes());
    let is_of_network = (numbers, ids, loss.width()) == (spec.numbers, spec.vocabulary, spec.loss.width())
        && discriminant(&loss) == discriminant(&spec.loss);
    ensure!(
        is_of_network,
        "{}: its task makes tokens of {numbers} numbers and {ids} ids for {loss:?}, and its network takes {} and {} for {:?}",
        checkpoint::DESCRIPTION,
        spec.numbers,
        spec.vocabulary,
        spec.loss
    );
    Ok(feed)
}
