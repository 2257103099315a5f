//! The task: a token an event, and when the next one comes and of which kind.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use aaren_data::sequences::{EventFormat, EventSplit, Events as File};
use aaren_envs::derive_seed;
use aaren_policy::{DueGap, Loss, Normalizer, PolicyConfig, Pool, SequenceNames, SequenceRows, SequenceSpec};
use anyhow::{Context, Result, ensure};
use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;

use super::super::task::{Lengths, Scorer, SequenceTask, Split, one_file};
use super::known::Known;
use super::score::EventScorer;
use super::shown::Shown;
use super::token::Token;
use crate::config::{EventFiles, EventFiling, Events, Hawkes, HeldOut, TimeUnit};
use crate::run::DataMark;
use crate::run::report::Baseline;
use crate::seeds;

/// What a saved model calls the largest gap that it was trained on, in the task's unit.
pub(in crate::sequence) const LARGEST: &str = "largest gap";

/// What it calls how long sequences last in the mean, as the files have it.
pub(in crate::sequence) const SPAN: &str = "span";

/// Sequences of a process by which gaps are scaled, and which baselines know.
const SAMPLE: u64 = 1000;

/// A share of gaps below the floor from which on it is said.
const MANY: f64 = 0.01;

/// The task of a job.
#[derive(Debug)]
pub struct EventsTask {
    config: Events,
    seed: u64,
    /// Kinds of events, 0 where nothing tells them apart.
    marks: usize,
    /// What the kinds are called, where something tells events apart.
    names: Vec<String>,
    /// What is learnt from; of a process a sample of it.
    train: Vec<Shown>,
    validation: Vec<Shown>,
    test: Vec<Shown>,
    /// Mean and deviation of the logarithms of gaps.
    center: f64,
    scale: f64,
    /// Of gaps that are learnt from.
    largest: f64,
    /// How long sequences that are learnt from last, in the mean, as the files have it.
    span: f64,
    odd: Vec<String>,
    mark: Option<DataMark>,
}

impl EventsTask {
    /// Reads the files, or draws what a process is judged by.
    ///
    /// # Errors
    /// What is wrong with a file, with its line and column; a mark of the other splits that none of the training split is; a sequence that
    /// goes on after `end`; or too few sequences.
    pub fn read(config: &Events, seed: u64) -> Result<Self> {
        let mut task = match &config.hawkes {
            Some(process) => Self::of_process(config, process, seed),
            None => Self::of_files(config, seed)?,
        };
        let gaps = || task.train.iter().flat_map(|shown| &shown.gaps[1..]);
        let (count, below) = (gaps().count(), gaps().filter(|gap| **gap <= config.floor).count());
        let mean = gaps().map(|gap| gap.ln()).sum::<f64>() / count as f64;
        let variance = gaps().map(|gap| (gap.ln() - mean).powi(2)).sum::<f64>() / count as f64;
        task.largest = gaps().copied().fold(0.0, f64::max);
        let spans: f64 = task.train.iter().map(|shown| shown.times[shown.times.len() - 1] - shown.times[0]).sum();
        task.span = spans / task.train.len() as f64;
        (task.center, task.scale) = (mean, if variance > 1e-24 { variance.sqrt() } else { 1.0 });
        task.span = if task.span > 0.0 { task.span } else { 1.0 };
        if below as f64 > MANY * count as f64 {
            let share = 100.0 * below as f64 / count as f64;
            let (floor, unit) = (config.floor, config.unit.plural());
            task.odd.push(format!("{share:.1} % of the gaps in {} are at or below task.floor, {floor} {unit}", config.train));
        }
        Ok(task)
    }

    fn of_process(config: &Events, process: &Hawkes, seed: u64) -> Self {
        let draw = |split: Split, count: u64| -> Vec<Shown> {
            (0..count).map(|number| Shown::drawn(config, process, seed, split, number)).collect()
        };
        let marks = process.base.len();
        let train = draw(Split::Train, SAMPLE);
        let validation = draw(Split::Validation, process.validation_sequences as u64);
        let names = if marks > 1 { (0..marks).map(|mark| mark.to_string()).collect() } else { Vec::new() };
        let splits = [train, validation, draw(Split::Test, process.test_sequences as u64)];
        Self { names, ..Self::new(config, seed, marks, splits) }
    }

    fn of_files(config: &Events, seed: u64) -> Result<Self> {
        let train = file(config, &config.train, EventSplit::Train, "task.train")?;
        let read = |files: &EventFiles, split: EventSplit, key: &'static str| {
            file(config, files, split, key)?.with_marks_of(&train).context(key)
        };
        let test = read(&config.test, EventSplit::Test, "task.test")?;
        let validation = match &config.validation {
            HeldOut::Share(_) => None,
            HeldOut::File(files) => Some(read(files, EventSplit::Validation, "task.validation")?),
        };
        let mark = mark([Some(&train), validation.as_ref(), Some(&test)].into_iter().flatten());
        let shown = |file: &File, key: &'static str| -> Result<Vec<Shown>> {
            let end = config.end;
            file.sequences
                .iter()
                .enumerate()
                .map(|(number, sequence)| {
                    let last = sequence.times[sequence.times.len() - 1];
                    let (first, path, of) = (sequence.times[0], file.path.display(), number + 1);
                    ensure!(
                        ((last - first) * config.times.seconds()).is_finite(),
                        "{key}: {path}, sequence {of}: {first} and {last} are too far apart for gaps to be numbers"
                    );
                    ensure!(
                        end.is_none_or(|end| end >= last),
                        "{key}: {path}, sequence {of}: an event is at {last}, after task.end, {}",
                        end.unwrap_or_default()
                    );
                    Ok(Shown::new(config, sequence.times.clone(), sequence.marks.clone(), end))
                })
                .collect()
        };
        let (marks, mut learnt) = (train.marks.count(), shown(&train, "task.train")?);
        let names = if marks > 1 { (0..marks).map(|mark| train.marks.name(mark as u32)).collect() } else { Vec::new() };
        let held_out = match (&validation, &config.validation) {
            (Some(file), _) => shown(file, "task.validation")?,
            (None, HeldOut::Share(share)) => {
                let count = learnt.len();
                let held = ((share * count as f64).round() as usize).max(1);
                ensure!(held < count, "task.validation: found {share}, and {} has {count} sequences", config.train);
                let mut order: Vec<usize> = (0..count).collect();
                order.shuffle(&mut Pcg64Mcg::seed_from_u64(derive_seed(seed, &[seeds::VALIDATION])));
                let mut is_held = vec![false; count];
                order[..held].iter().for_each(|&at| is_held[at] = true);
                let mut held = is_held.iter();
                let (held_out, rest) = learnt.into_iter().partition(|_| *held.next().expect("one for each"));
                learnt = rest;
                held_out
            }
            (None, HeldOut::File(_)) => unreachable!("it was read"),
        };
        let test = shown(&test, "task.test")?;
        for (key, split) in [("task.train", &learnt), ("task.validation", &held_out), ("task.test", &test)] {
            ensure!(
                split.iter().any(|shown| shown.gaps.len() > 1),
                "{key}: no sequence of the split has two events or more, so there is no gap"
            );
        }
        Ok(Self { mark: Some(mark), names, ..Self::new(config, seed, marks, [learnt, held_out, test]) })
    }

    fn new(config: &Events, seed: u64, marks: usize, [train, validation, test]: [Vec<Shown>; 3]) -> Self {
        let (config, odd, names) = (config.clone(), Vec::new(), Vec::new());
        let (center, scale, largest, span) = (0.0, 1.0, 0.0, 1.0);
        Self { config, seed, marks, names, train, validation, test, center, scale, largest, span, odd, mark: None }
    }

    fn shown(&self, split: Split, sequence: usize) -> Cow<'_, Shown> {
        let (of, process) = (self.split(split), &self.config.hawkes);
        match process.as_ref().filter(|_| split == Split::Train && sequence >= of.len()) {
            Some(process) => Cow::Owned(Shown::drawn(&self.config, process, self.seed, split, sequence as u64)),
            None => Cow::Borrowed(&of[sequence]),
        }
    }

    fn split(&self, split: Split) -> &[Shown] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }

    /// Whether something tells events apart.
    fn is_marked(&self) -> bool {
        self.marks > 1
    }
}

/// Reads a file, or two.
fn file(config: &Events, files: &EventFiles, split: EventSplit, key: &'static str) -> Result<File> {
    let (times, marks) = files.names();
    let format = config.format.map(|format| match format {
        EventFiling::Gatech => EventFormat::Gatech,
        EventFiling::Json => EventFormat::Json,
        EventFiling::Pickle => EventFormat::Pickle,
        EventFiling::Csv => EventFormat::Csv,
    });
    let file = File::read(Path::new(times), marks.map(Path::new), format, split).context(key)?;
    ensure!(
        !file.is_dated || config.times == TimeUnit::Second,
        "task.times: {times} has dates, which are read as seconds; leave it out, task.unit says what gaps are in"
    );
    Ok(file)
}

fn mark<'a>(files: impl Iterator<Item = &'a File>) -> DataMark {
    let mut checksum = crc32fast::Hasher::new();
    let (mut episodes, mut steps) = (0, 0);
    for file in files {
        for sequence in &file.sequences {
            checksum.update(bytemuck::cast_slice(&sequence.times));
            checksum.update(bytemuck::cast_slice(&sequence.marks));
        }
        episodes += file.sequences.len();
        steps += file.count();
    }
    DataMark { episodes, steps, checksum: checksum.finalize() }
}

impl SequenceTask for EventsTask {
    fn spec(&self, _: &PolicyConfig) -> SequenceSpec {
        let vocabulary = if self.is_marked() { self.marks } else { 0 };
        let positions = if self.config.positions { self.lengths(Split::Train).longest() } else { 0 };
        let loss = Loss::NextEvent { components: self.config.components, marks: self.marks };
        SequenceSpec { numbers: Token::numbers(&self.config), vocabulary, positions, tied: false, pool: Pool::Last, loss }
    }

    fn normalizer(&self) -> Option<Normalizer> {
        Some(Normalizer { mean: vec![self.center], deviation: vec![self.scale] })
    }

    fn names(&self) -> SequenceNames {
        SequenceNames { classes: self.names.clone(), ..SequenceNames::default() }
    }

    fn statistics(&self) -> BTreeMap<String, f64> {
        [(LARGEST.into(), self.largest), (SPAN.into(), self.span)].into()
    }

    fn lengths(&self, split: Split) -> Lengths {
        match &self.config.hawkes {
            Some(process) if split == Split::Train => Lengths::Fresh(process.events),
            _ => Lengths::Each(self.split(split).iter().map(|shown| shown.gaps.len()).collect()),
        }
    }

    fn push(&self, rows: &mut SequenceRows, split: Split, sequence: usize, tokens: Range<usize>) {
        let shown = self.shown(split, sequence);
        let (begun, start, events) = (rows.len(), tokens.start, shown.gaps.len());
        for event in tokens {
            let place = begun + event - start;
            if event + 1 < events {
                let gap = DueGap::ended(shown.gaps[event + 1], self.center, self.scale);
                rows.expect_event(place, gap, shown.marks[event + 1] as i32, 1.0);
            } else if let Some(rest) = shown.rest {
                rows.expect_event(place, DueGap::survived(rest, self.center, self.scale), 0, 1.0);
            }
            let gap = (event > 0).then(|| shown.gaps[event]);
            let token = Token { gap, time: shown.times[event], first: shown.times[0] };
            token.push(&self.config, [self.center, self.scale], self.span, &mut rows.numbers);
            if self.is_marked() {
                rows.ids.push(shown.marks[event] as i32);
            }
        }
    }

    fn scorer(&self) -> Box<dyn Scorer> {
        let Self { config, center, scale, largest, .. } = self;
        Box::new(EventScorer::new(config.components, [*center, *scale], *largest, config.unit, self.is_marked()))
    }

    fn baselines(&self, split: Split) -> Vec<Baseline> {
        let known = || self.train.iter().chain(&self.validation);
        let known = Known::new(known, self.marks, self.config.unit);
        let shown = self.split(split);
        let process = self.config.hawkes.as_ref().map(|process| {
            let of = |shown: &Shown| process.nats(&shown.times, &shown.marks);
            let nats: Vec<[f64; 2]> = shown.iter().flat_map(of).collect();
            // A density over gaps in another unit is another one.
            let units = self.config.times.seconds() / self.config.unit.seconds();
            known.process(&nats, units.ln(), self.is_marked())
        });
        process.into_iter().chain(known.baselines(shown)).collect()
    }

    fn odd(&self) -> Vec<String> {
        let one_file =
            if self.config.hawkes.is_some() { None } else { one_file(self.config.train.names().0, self.config.test.names().0) };
        self.odd.iter().cloned().chain(one_file).collect()
    }

    fn mark(&self) -> Option<DataMark> {
        self.mark
    }
}
