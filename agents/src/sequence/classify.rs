//! Classifying whole sequences: a token a step, and a class that can be read after each of them.

use std::ops::Range;
use std::path::Path;

use aaren_data::sequences::{Labelled, SequenceError, class_numbers, classes, read};
use aaren_envs::derive_seed;
use aaren_policy::{Loss, Normalizer, PolicyConfig, SequenceNames, SequenceRows, SequenceSpec};
use anyhow::{Context, Result, bail, ensure};
use rand::{SeedableRng, seq::SliceRandom};
use rand_pcg::Pcg64Mcg;

use super::task::{Lengths, Scorer, SequenceTask, Split, check_distance, one_file};
use crate::config::{Classify, Due, MissingNumbers};
use crate::run::DataMark;
use crate::run::report::{Baseline, Better, Score, SequenceReport};
use crate::seeds;

/// Parts of a sequence after which accuracy is measured: tenths.
const PARTS: usize = 10;

/// Numbers that are compared for a baseline, at most: seconds.
const MOST_COMPARED: u128 = 1 << 32;

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
        let is_finite = normalizer.deviation.iter().all(|deviation| deviation.is_finite());
        ensure!(is_finite, "task.train: the numbers of {} are too large for a mean of their squares", config.train);
        for (labelled, key) in [(&train, "task.train"), (&test, "task.test")] {
            for case in &labelled.cases {
                let scaled = |(at, value): (usize, &f64)| {
                    check_distance(*value, (value - normalizer.mean[at % channels]) / normalizer.deviation[at % channels])
                };
                let checked = case.values.iter().enumerate().try_for_each(scaled);
                checked.with_context(|| format!("{key}: {}, line {}", labelled.path.display(), case.line))?;
            }
        }
        let width = if config.missing == MissingNumbers::Zero { 2 * channels } else { channels };
        let shown = |values: &[f64], class: usize| {
            let mut numbers = Vec::with_capacity(values.len() * width / channels);
            values.chunks_exact(channels).for_each(|step| push_step(&mut numbers, step, &normalizer, config.missing));
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

    /// The accuracy of taking the class of the nearest sequence that is trained on or held out, by Euclidean distance; none where lengths
    /// differ or there is very much to compare.
    fn nearest(&self, shown: &[Shown]) -> Option<f64> {
        let known = || self.train.iter().chain(&self.validation);
        let length = self.train[0].numbers.len();
        let work = known().count() as u128 * shown.len() as u128 * length as u128;
        if work > MOST_COMPARED || known().chain(shown).any(|other| other.numbers.len() != length) {
            return None;
        }
        let distance = |a: &Shown, b: &Shown| a.numbers.iter().zip(&b.numbers).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
        let is_right = |one: &&Shown| {
            let others = known().map(|other| (distance(one, other), other.class));
            others.min_by(|a, b| a.0.total_cmp(&b.0)).is_some_and(|(_, class)| class == one.class)
        };
        Some(shown.iter().filter(is_right).count() as f64 / shown.len() as f64)
    }

    fn split(&self, split: Split) -> &[Shown] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// Appends the numbers of a token: those of a step, scaled, and where numbers can be missing a flag for each.
pub(super) fn push_step(numbers: &mut Vec<f32>, step: &[f64], normalizer: &Normalizer, missing: MissingNumbers) {
    let scaled =
        step.iter().zip(&normalizer.mean).zip(&normalizer.deviation).map(|((value, mean), deviation)| (value - mean) / deviation);
    numbers.extend(scaled.map(|value| if value.is_nan() { 0.0 } else { value as f32 }));
    if missing == MissingNumbers::Zero {
        numbers.extend(step.iter().map(|value| if value.is_nan() { 1.0 } else { 0.0 }));
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
    fn odd(&self) -> Vec<String> {
        one_file(&self.config.train, &self.config.test).into_iter().collect()
    }

    fn spec(&self, _: &PolicyConfig) -> SequenceSpec {
        let (numbers, loss) = (self.width, Loss::Classes(self.classes.len()));
        let positions = if self.config.positions { self.train.iter().map(|shown| shown.steps).max().unwrap_or(0) } else { 0 };
        SequenceSpec { numbers, vocabulary: 0, positions, tied: false, pool: self.config.pool, loss }
    }

    fn normalizer(&self) -> Option<Normalizer> {
        Some(self.normalizer.clone())
    }

    fn names(&self) -> SequenceNames {
        SequenceNames { classes: self.classes.clone(), ..SequenceNames::default() }
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
            // The class is read after every token; the whole sequence is what counts.
            (Split::Validation | Split::Test, _) => {
                (0..steps).for_each(|step| expect(step, if step + 1 == steps { 1.0 } else { 0.0 }));
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
        Box::new(PartScorer {
            confidence: self.config.confidence,
            confusion: vec![vec![0; self.classes.len()]; self.classes.len()],
            ..PartScorer::default()
        })
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
        let nearest = self.nearest(shown).map(|value| Baseline {
            name: "the nearest of the training split".into(),
            scores: vec![score("accuracy", value, Better::Higher)],
        });
        let constant = [
            Baseline { name: "the largest class".into(), scores: majority },
            Baseline { name: "shares of the classes".into(), scores: shares },
        ];
        constant.into_iter().chain(nearest).collect()
    }

    fn mark(&self) -> Option<DataMark> {
        Some(self.mark)
    }
}

/// Right classes after every tenth of a sequence, and when a class was likely enough; of whole sequences which is taken for which.
#[derive(Default)]
struct PartScorer {
    /// Probability of a class that is enough to decide.
    confidence: f64,
    /// `[class][said]`
    confusion: Vec<Vec<usize>>,
    right: [usize; PARTS],
    decided_right: usize,
    /// Shares seen at decisions, summed.
    decided_after: f64,
    /// What was said after each token of the sequence that has not ended, and with which probability.
    said: Vec<(usize, f64)>,
}

impl Scorer for PartScorer {
    fn add(&mut self, output: &[f32], rows: &SequenceRows, due: usize) {
        let said = (0..output.len()).max_by(|&a, &b| output[a].total_cmp(&output[b])).expect("a class");
        let sum: f64 = output.iter().map(|logit| f64::from(logit - output[said]).exp()).sum();
        self.said.push((said, 1.0 / sum));
        // Only the last token of a sequence counts in the loss.
        if rows.weights[due] == 0.0 {
            return;
        }
        let (all, class) = (std::mem::take(&mut self.said), rows.classes[due] as usize);
        for part in 0..PARTS {
            self.right[part] += usize::from(all[((part + 1) * all.len()).div_ceil(PARTS) - 1].0 == class);
        }
        self.confusion[class][said] += 1;
        let decided = all.iter().position(|(_, probability)| *probability >= self.confidence).unwrap_or(all.len() - 1);
        self.decided_right += usize::from(all[decided].0 == class);
        self.decided_after += (decided + 1) as f64 / all.len() as f64;
    }

    fn scores(&self) -> Vec<Score> {
        let all = self.confusion.iter().flatten().sum::<usize>() as f64;
        let there = self.confusion.iter().enumerate().filter(|(_, said)| said.iter().sum::<usize>() > 0);
        let recalls: Vec<f64> = there.map(|(class, said)| said[class] as f64 / said.iter().sum::<usize>() as f64).collect();
        let score = |name: &str, condition, value, better| Score { name: name.into(), condition, value, better };
        let share = |count: usize| count as f64 / all;
        let whole = [
            score("accuracy", None, share(self.right[PARTS - 1]), Better::Higher),
            score("balanced accuracy", None, recalls.iter().sum::<f64>() / recalls.len() as f64, Better::Higher),
        ];
        let seen = |part: usize| Some(format!("{} % seen", 100 / PARTS * (part + 1)));
        let early = (0..PARTS - 1).map(|part| score("accuracy", seen(part), share(self.right[part]), Better::Higher));
        let decided = Some(format!("decided at {}", self.confidence));
        let decisions = [
            score("accuracy", decided.clone(), share(self.decided_right), Better::Higher),
            score("share seen", decided, self.decided_after / all, Better::Lower),
        ];
        whole.into_iter().chain(early).chain(decisions).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_every_class_is_held_out_and_one_of_each_is_left() {
        let classes: Vec<usize> = (0..50).map(|index| usize::from(index >= 40)).chain([2]).collect();
        let held = hold_out(&classes, 4, 0.2, 1).unwrap();
        let count = |class| (0..51).filter(|&index| classes[index] == class && held[index]).count();
        assert_eq!([count(0), count(1), count(2)], [8, 2, 0]);
        assert_eq!(hold_out(&classes, 4, 0.2, 1).unwrap(), held);
        assert_ne!(hold_out(&classes, 4, 0.2, 2).unwrap(), held);
        let most = hold_out(&classes, 4, 0.999, 1).unwrap();
        assert!((0..3).all(|class| (0..51).any(|index| classes[index] == class && !most[index])));
        assert!(hold_out(&[0, 1], 2, 0.9, 1).is_err());
    }

    #[test]
    fn scores_are_of_whole_sequences_of_their_parts_and_of_early_decisions() {
        let mut scorer = PartScorer { confidence: 0.8, confusion: vec![vec![0; 2]; 2], ..PartScorer::default() };
        // What is said after each token: logits of the second class, the first one's are 0.
        for (class, logits) in [(1, &[-3.0f32, 0.5, 0.5, 3.0][..]), (0, &[0.1, -3.0]), (0, &[1.0])] {
            let mut rows = SequenceRows::default();
            (0..logits.len()).for_each(|step| rows.expect(step, class, if step + 1 == logits.len() { 1.0 } else { 0.0 }));
            logits.iter().enumerate().for_each(|(due, logit)| scorer.add(&[0.0, *logit], &rows, due));
        }
        let scores = scorer.scores();
        let value = |name: &str, condition: &str| {
            let found = scores.iter().find(|score| score.title() == format!("{name}{condition}"));
            found.unwrap_or_else(|| panic!("{name}{condition}")).value
        };
        assert!((value("accuracy", "") - 2.0 / 3.0).abs() < 1e-12);
        // Of the first class one of two is right, of the second the only one.
        assert!((value("balanced accuracy", "") - 0.75).abs() < 1e-12);
        // After a fifth the first token is what was seen of all of them, and it is wrong in all.
        assert_eq!(value("accuracy", ", 20 % seen"), 0.0);
        assert!((value("accuracy", ", 60 % seen") - 2.0 / 3.0).abs() < 1e-12);
        // Decisions: at the first of four, which is wrong; at the second of two; never, so at the end, which is wrong.
        assert!((value("accuracy", ", decided at 0.8") - 1.0 / 3.0).abs() < 1e-12);
        assert!((value("share seen", ", decided at 0.8") - (0.25 + 1.0 + 1.0) / 3.0).abs() < 1e-12);
    }
}
