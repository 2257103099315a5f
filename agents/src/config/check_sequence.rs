//! The ranges of a job that learns a task on sequences.

use aaren_data::sequences::TableSplit;
use aaren_policy::{PolicyConfig, Scaling};
use anyhow::{Result, ensure};

use super::check::{MOST_ROWS, MOST_TIMESTEPS, allow, check_device, check_policy, check_redraw, check_stop, check_train, within};
use super::precision::check_precision;
use super::{Classify, ContextLength, Due, Events, Forecast, HeldOut, Mqar, SequenceJob, SplitConfig, StopMetric, TaskConfig};

/// The most log-normals of a mixture.
const MOST_COMPONENTS: usize = 1024;

impl SequenceJob {
    /// As [`Job::check`].
    ///
    /// # Errors
    /// As [`Job::check`].
    pub(crate) fn check(&self) -> Result<()> {
        check_device(self.device)?;
        self.task.check(self.train.context_length)?;
        check_policy(&self.policy)?;
        let usual = PolicyConfig::default();
        for (key, is_said) in [
            ("policy.tokens", self.policy.tokens != usual.tokens),
            ("policy.max_timesteps", self.policy.max_timesteps != usual.max_timesteps),
            ("policy.return_scale", self.policy.return_scale.is_some()),
            ("policy.return_range", self.policy.return_range.is_some()),
        ] {
            ensure!(
                !is_said,
                "{key}: it is about timesteps of an environment, and this job learns a task on sequences; leave it out"
            );
        }
        check_train(&self.train)?;
        check_precision(self.train.precision, self.device)?;
        check_redraw(&self.policy, &self.train)?;
        check_stop(self.evaluation.stop, self.evaluation.every)?;
        ensure!(
            self.evaluation.stop.is_none_or(|stop| stop.metric != StopMetric::ReturnMean),
            "evaluation.stop.metric: found \"return_mean\", and a task on sequences has no returns; \"validation_loss\" and \"loss\" need none"
        );
        Ok(())
    }
}

impl TaskConfig {
    /// Whether the keys fit each other, and how sequences are cut.
    pub(crate) fn check(&self, context: ContextLength) -> Result<()> {
        match self {
            TaskConfig::Classify(task) => task.check(context),
            TaskConfig::Events(task) => task.check(),
            TaskConfig::Forecast(task) => task.check(context),
            TaskConfig::Mqar(task) => task.check(),
        }
    }
}

impl Classify {
    /// Whether the keys fit each other.
    fn check(&self, context: ContextLength) -> Result<()> {
        for (key, file) in [("task.train", &self.train), ("task.test", &self.test)] {
            allow(key, format!("{file:?}"), !file.is_empty(), "the path of a file of labelled sequences (.ts, .tsv or .txt)")?;
        }
        let share = self.validation;
        allow("task.validation", share, share > 0.0 && share < 1.0, "a share above 0 and below 1")?;
        let confidence = self.confidence;
        allow("task.confidence", confidence, confidence > 0.0 && confidence <= 1.0, "a probability above 0, at most 1")?;
        ensure!(
            context == ContextLength::Episode,
            "train.context_length: found {context}, expected \"episode\": a class is of a whole sequence"
        );
        Ok(())
    }
}

impl Events {
    /// Whether the keys fit each other.
    fn check(&self) -> Result<()> {
        let is_said = !self.train.is_empty() || !self.test.is_empty() || matches!(self.validation, HeldOut::File(_));
        match &self.hawkes {
            Some(hawkes) => {
                ensure!(
                    !is_said,
                    "task.hawkes: a process makes all sequences; leave out the files train, test and validation, or hawkes"
                );
                ensure!(
                    self.end.is_none() && self.format.is_none(),
                    "task.hawkes: a process has no files, which task.end and task.format are about; leave them out"
                );
                within("task.hawkes.events", hawkes.events, 2, MOST_TIMESTEPS)?;
                within("task.hawkes.validation_sequences", hawkes.validation_sequences, 1, MOST_ROWS)?;
                within("task.hawkes.test_sequences", hawkes.test_sequences, 1, MOST_ROWS)?;
                hawkes.check()?;
            }
            None => {
                for (key, files) in [("task.train", &self.train), ("task.test", &self.test)] {
                    let expected = "the path of a file of events (.json, .jsonl, .pkl, .csv, or one of times and one of marks)";
                    allow(key, format!("{:?}", files.names().0), !files.is_empty(), expected)?;
                }
            }
        }
        let is_share = |share: f64| share > 0.0 && share < 1.0;
        if let HeldOut::Share(share) = self.validation {
            allow("task.validation", share, is_share(share), "a share above 0 and below 1, or the path of a file")?;
        }
        allow("task.floor", self.floor, self.floor.is_finite() && self.floor > 0.0, "a gap above 0, in task.unit")?;
        let end = self.end.unwrap_or(0.0);
        allow("task.end", end, end.is_finite(), "a time")?;
        within("task.components", self.components, 1, MOST_COMPONENTS)?;
        let twice = (1..self.clock.len()).any(|at| self.clock[..at].contains(&self.clock[at]));
        allow(
            "task.clock",
            serde_json::to_string(&self.clock)?,
            !twice,
            "each of \"elapsed\", \"hour\" and \"weekday\" once at most",
        )?;
        Ok(())
    }
}

impl Forecast {
    /// Whether the keys fit each other.
    fn check(&self, context: ContextLength) -> Result<()> {
        let expected = "the path of a table (.csv, .tsv or .txt, or one of them and .gz)";
        allow("task.source", format!("{:?}", self.source), !self.source.is_empty(), expected)?;
        self.split.check()?;
        within("task.look_back", self.look_back, 1, MOST_TIMESTEPS)?;
        within("task.horizon", self.horizon, 1, MOST_TIMESTEPS)?;
        within("task.span", self.span, 1, MOST_TIMESTEPS)?;
        let of = format!("1 to {}, the rows that are looked back on (task.look_back)", self.look_back);
        allow("task.lags", self.lags, (1..=self.look_back).contains(&self.lags), &of)?;
        if let Some(season) = self.season {
            let of = format!("1 to {}, the rows that are looked back on (task.look_back)", self.look_back);
            allow("task.season", season, (1..=self.look_back).contains(&season), &of)?;
        }
        ensure!(
            self.due == Due::End || self.scaling != Scaling::Window,
            "task.due: found \"every\" while task.scaling is \"window\", where every token shows the mean of later ones; use \"running\" or \
             \"dataset\", or due = \"end\""
        );
        ensure!(
            context == ContextLength::Episode,
            "train.context_length: found {context}, expected \"episode\": a window is looked at whole, task.look_back says its length"
        );
        Ok(())
    }
}

impl SplitConfig {
    /// Whether there are three lengths.
    fn check(self) -> Result<()> {
        let is_above_0 = |lengths: &[usize]| lengths.iter().all(|length| *length > 0);
        let (name, is_right) = match self.lengths()? {
            TableSplit::Months(lengths) => ("months", is_above_0(&lengths)),
            TableSplit::Rows(lengths) => ("rows", is_above_0(&lengths)),
            TableSplit::Fractions(parts) => {
                let sum: f64 = parts.iter().sum();
                ("fractions", parts.iter().all(|part| *part > 0.0 && *part < 1.0) && sum <= 1.0 + 1e-9)
            }
        };
        let sum = if name == "fractions" { ", whose sum is at most 1" } else { "" };
        let found = serde_json::to_value(self)?[name].to_string();
        let expected = format!("three lengths above 0, of the training, validation and test split{sum}");
        allow(&format!("task.split.{name}"), found, is_right, &expected)
    }
}

impl Mqar {
    /// Whether examples of these sizes can be made.
    ///
    /// # Errors
    /// Names the sizes that do not fit.
    pub fn check(&self) -> Result<()> {
        let &Self { vocabulary, length, pairs, noise: _, validation_examples, test_examples } = self;
        within("task.length", length, 4, MOST_TIMESTEPS)?;
        allow("task.length", length, length.is_multiple_of(2), "an even number")?;
        let of = format!("1 to {}: every pair takes four of the {length} tokens of an example, task.length", length / 4);
        allow("task.pairs", pairs, (1..=length / 4).contains(&pairs), &of)?;
        // Tokens are 32-bit indices.
        let of = format!("more than the {length} tokens of an example, task.length, and at most 2^24");
        allow("task.vocabulary", vocabulary, (length + 1..=1 << 24).contains(&vocabulary), &of)?;
        within("task.validation_examples", validation_examples, 1, MOST_ROWS)?;
        within("task.test_examples", test_examples, 1, MOST_ROWS)
    }
}
