//! Classifying whole sequences: a token a step, and a class that can be read after each of them.

use std::ops::Range;
use std::path::Path;

use aaren_data::sequences::{Labelled, SequenceError, class_numbers, classes, read};
use aaren_envs::derive_seed;
use aaren_policy::{Loss, Normalizer, PolicyConfig, SequenceRows, SequenceSpec};
use anyhow::{Context, Result, bail, ensure};
use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;

use super::task::{Lengths, Scorer, SequenceTask, Split};
use crate::config::{Classify, Due, MissingNumbers};
use crate::run::DataMark;
use crate::run::report::{Baseline, Better, Score, SequenceReport};
use crate::seeds;

/// Parts of a sequence after which accuracy is measured: tenths.
const PARTS: usize = 10;

/// A sequence, ready to be shown.
#[derive(Debug)]
struct Shown {
    /// Scaled, and flags where numbers can be missing: `[steps, numbers]`.
    numbers: Vec<f32>,
    steps: usize,
    class: usize,
}

/// The task of a job.
#[derive(Debug)]
pub struct ClassifyTask {
    config: Classify,
    classes: Vec<String>,
    /// Numbers of a token.
    width: usize,
    normalizer: Normalizer,
    train: Vec<Shown>,
    validation: Vec<Shown>,
    test: Vec<Shown>,
    mark: DataMark,
}

impl ClassifyTask {
    /// Reads both files, and holds a share of every class out of the one that is trained on, drawn from the seed.
    ///
    /// # Errors
    /// What is wrong with a file, with its line and column; a class that is trained on by no sequence; numbers that are missing and not
    /// allowed for; or too few sequences for a validation split.
    pub fn read(config: &Classify, seed: u64) -> Result<Self> {
        let train = read(Path::new(&config.train)).context("task.train")?;
        let test = read(Path::new(&config.test)).context("task.test")?;
        let (found, expected, channels) = (test.channels, train.channels, train.channels);
        if found != expected {
            let (path, other) = (test.path, train.path);
            return Err(SequenceError::Channels { path, found, other, expected }).context("task.test");
        }
        let classes = classes(&train);
        ensure!(classes.len() >= 2, "task.train: {} has one class alone, there is nothing to tell apart", config.train);
        let of_train = class_numbers(&train, &classes).context("task.train")?;
        let of_test = class_numbers(&test, &classes).context("task.test")?;
        if let Some(at) = of_test.iter().position(|class| !of_train.contains(class)) {
            let (line, class) = (test.cases[at].line, &classes[of_test[at]]);
            bail!("task.test: {}, line {line}: no sequence of {} is of the class \"{class}\"", config.test, config.train);
        }
        for (labelled, key) in [(&train, "task.train"), (&test, "task.test")] {
            let missing = labelled.cases.iter().find(|case| case.values.iter().any(|value| value.is_nan()));
            if let Some(case) = missing.filter(|_| config.missing == MissingNumbers::Refuse) {
                let (path, line) = (labelled.path.display(), case.line);
                bail!("{key}: {path}, line {line}: a number is missing; task.missing = \"zero\" shows 0 and a flag in its place");
            }
        }
        let held_out = hold_out(&of_train, classes.len(), config.validation, seed);
        let held_out = held_out.with_context(|| format!("task.validation: found {}, for {}", config.validation, config.train))?;
        let normalizer = normalizer(&train, &held_out);
        let width = if config.missing == MissingNumbers::Zero { 2 * channels } else { channels };
        let shown = |values: &[f64], class: usize| {
            let mut numbers = Vec::with_capacity(values.len() * width / channels);
            for step in values.chunks_exact(channels) {
                let scaled = step
                    .iter()
                    .enumerate()
                    .map(|(channel, value)| (value - normalizer.mean[channel]) / normalizer.deviation[channel]);
                numbers.extend(scaled.map(|value| if value.is_nan() { 0.0 } else { value as f32 }));
                numbers.extend(step.iter().take(width - channels).map(|value| if value.is_nan() { 1.0 } else { 0.0 }));
            }
            Shown { numbers, steps: values.len() / channels, class }
        };
        let of = |labelled: &Labelled, numbers: &[usize], wanted: &dyn Fn(usize) -> bool| {
            let cases = labelled.cases.iter().zip(numbers).enumerate().filter(|(index, _)| wanted(*index));
            cases.map(|(_, (case, class))| shown(&case.values, *class)).collect::<Vec<_>>()
        };
        let [trained, validation] = [false, true].map(|held| of(&train, &of_train, &|index| held_out[index] == held));
        let (test_shown, mark) = (of(&test, &of_test, &|_| true), mark([&train, &test]));
        Ok(Self { config: config.clone(), classes, width, train: trained, validation, test: test_shown, mark, normalizer })
    }

    fn split(&self, split: Split) -> &[Shown] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// Which sequences are held out: a share of every class, rounded, but at least one in all and none of the last of a class.
fn hold_out(classes: &[usize], count: usize, share: f64, seed: u64) -> Result<Vec<bool>> {
    let mut generator = Pcg64Mcg::seed_from_u64(derive_seed(seed, &[seeds::VALIDATION]));
    let mut is_held_out = vec![false; classes.len()];
    for class in 0..count {
        let mut members: Vec<usize> = (0..classes.len()).filter(|&index| classes[index] == class).collect();
        members.shuffle(&mut generator);
        let held = ((share * members.len() as f64).round() as usize).min(members.len().saturating_sub(1));
        members[..held].iter().for_each(|&index| is_held_out[index] = true);
    }
    let held = is_held_out.iter().filter(|held| **held).count();
    ensure!(held > 0, "no class has enough sequences to hold one out; take a larger share");
    Ok(is_held_out)
}

/// Means and standard deviations of what is trained on. A channel that never changes keeps its unit.
fn normalizer(train: &Labelled, held_out: &[bool]) -> Normalizer {
    let steps = || {
        let cases = train.cases.iter().zip(held_out).filter(|(_, held)| !**held);
        cases.flat_map(|(case, _)| case.values.chunks_exact(train.channels))
    };
    let moments = |channel: usize| {
        let values = || steps().map(|step| step[channel]).filter(|value| !value.is_nan());
        let count = values().count().max(1) as f64;
        let mean = values().sum::<f64>() / count;
        let deviation = (values().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        (mean, if deviation > 1e-12 { deviation } else { 1.0 })
    };
    let (mean, deviation) = (0..train.channels).map(moments).unzip();
    Normalizer { mean, deviation }
}

fn mark(files: [&Labelled; 2]) -> DataMark {
    let mut checksum = crc32fast::Hasher::new();
    let (mut episodes, mut steps) = (0, 0);
    for file in files {
        for case in &file.cases {
            checksum.update(bytemuck::cast_slice(&case.values));
            checksum.update(case.label.as_bytes());
            steps += case.len(file.channels);
        }
        episodes += file.cases.len();
    }
    DataMark { episodes, steps, checksum: checksum.finalize() }
}

impl SequenceTask for ClassifyTask {
    fn spec(&self, _: &PolicyConfig) -> SequenceSpec {
        let (numbers, loss) = (self.width, Loss::Classes(self.classes.len()));
        SequenceSpec { numbers, vocabulary: 0, positions: 0, tied: false, pool: self.config.pool, loss }
    }

    fn normalizer(&self) -> Option<Normalizer> {
        Some(self.normalizer.clone())
    }

    fn lengths(&self, split: Split) -> Lengths {
        Lengths::Each(self.split(split).iter().map(|shown| shown.steps).collect())
    }

    fn push(&self, rows: &mut SequenceRows, split: Split, sequence: usize, tokens: Range<usize>) {
        let shown = &self.split(split)[sequence];
        let (first, steps, class) = (rows.len(), shown.steps, shown.class as i32);
        let mut expect = |step: usize, weight: f32| {
            if tokens.contains(&step) {
                rows.expect(first + step - tokens.start, class, weight);
            }
        };
        match (split, self.config.due) {
            // The class is read after every tenth; the whole sequence is what counts.
            (Split::Validation | Split::Test, _) => {
                (1..=PARTS).for_each(|part| expect((part * steps).div_ceil(PARTS) - 1, if part == PARTS { 1.0 } else { 0.0 }))
            }
            (Split::Train, Due::End) => expect(steps - 1, 1.0),
            // More and more, and 1 in all.
            (Split::Train, Due::Every) => {
                (0..steps).for_each(|step| expect(step, 2.0 * (step + 1) as f32 / (steps * (steps + 1)) as f32));
            }
        }
        rows.numbers.extend(&shown.numbers[tokens.start * self.width..tokens.end * self.width]);
    }

    fn scorer(&self) -> Box<dyn Scorer> {
        Box::new(PartScorer { confusion: vec![vec![0; self.classes.len()]; self.classes.len()], right: [0; PARTS], seen: 0 })
    }

    fn baselines(&self, split: Split) -> Vec<Baseline> {
        let shown = self.split(split);
        let count = |of: &[Shown], class: usize| of.iter().filter(|shown| shown.class == class).count() as f64;
        let largest = (0..self.classes.len()).map(|class| count(shown, class)).fold(0.0, f64::max);
        let there = (0..self.classes.len()).filter(|&class| count(shown, class) > 0.0).count();
        // With one more of every class, so that none is impossible.
        let all = (self.train.len() + self.classes.len()) as f64;
        let nats = |shown: &Shown| -((count(&self.train, shown.class) + 1.0) / all).ln();
        let loss = shown.iter().map(nats).sum::<f64>() / shown.len() as f64;
        let score = |name: &str, value, better| Score { name: name.into(), condition: None, value, better };
        let majority = vec![
            score("accuracy", largest / shown.len() as f64, Better::Higher),
            score("balanced accuracy", 1.0 / there as f64, Better::Higher),
        ];
        let shares = vec![score(SequenceReport::LOSS, loss, Better::Lower)];
        vec![
            Baseline { name: "the largest class".into(), scores: majority },
            Baseline { name: "shares of the classes".into(), scores: shares },
        ]
    }

    fn mark(&self) -> Option<DataMark> {
        Some(self.mark)
    }
}

/// Right classes after every tenth of a sequence, and of whole sequences which is taken for which.
struct PartScorer {
    /// `[class][said]`
    confusion: Vec<Vec<usize>>,
    right: [usize; PARTS],
    /// Outputs so far; a sequence has one a part, in order.
    seen: usize,
}

impl Scorer for PartScorer {
    fn add(&mut self, output: &[f32], rows: &SequenceRows, due: usize) {
        let said = (0..output.len()).max_by(|&a, &b| output[a].total_cmp(&output[b])).expect("a class");
        let (class, part) = (rows.classes[due] as usize, self.seen % PARTS);
        self.right[part] += usize::from(said == class);
        if part == PARTS - 1 {
            self.confusion[class][said] += 1;
        }
        self.seen += 1;
    }

    fn scores(&self) -> Vec<Score> {
        let all = (self.seen / PARTS) as f64;
        let there = self.confusion.iter().enumerate().filter(|(_, said)| said.iter().sum::<usize>() > 0);
        let recalls: Vec<f64> = there.map(|(class, said)| said[class] as f64 / said.iter().sum::<usize>() as f64).collect();
        let score = |name: &str, condition, value| Score { name: name.into(), condition, value, better: Better::Higher };
        let early = (0..PARTS - 1)
            .map(|part| score("accuracy", Some(format!("{} % seen", 100 / PARTS * (part + 1))), self.right[part] as f64 / all));
        let whole = [
            score("accuracy", None, self.right[PARTS - 1] as f64 / all),
            score("balanced accuracy", None, recalls.iter().sum::<f64>() / recalls.len() as f64),
        ];
        whole.into_iter().chain(early).collect()
    }
}
