//! The job of a run, and how it may change when the run goes on.

use anyhow::{Result, ensure};

use super::RunDir;
use crate::config::{Changes, Job, LearningRateSchedule};
use crate::run::data_mark;
use crate::run::differing::differing_keys;

impl RunDir {
    /// The job as resolved when the run began, with changes.
    ///
    /// # Errors
    /// As [`Job::load`].
    pub fn job(&self, changes: &Changes) -> Result<Job> {
        Job::load_stored(&self.path.join("config.json"), &[], changes)
    }

    /// Changes the job of a resumed run, where the change cannot alter the steps already made.
    ///
    /// Only the length of the training, the evaluation, and how often things are logged and kept may differ.
    ///
    /// # Errors
    /// Names the keys that differ and may not; says it if the run is longer than the job asks.
    pub fn update_job(&mut self, job: &Job) -> Result<()> {
        let before = self.job(&Changes::default())?;
        let changed = differing_keys(&serde_json::to_value(&before)?, &serde_json::to_value(job)?);
        // A learning rate that falls depends on the length of the training.
        let schedule = match &before {
            Job::Offline(job) => job.train.schedule,
            Job::Ppo(job) => job.ppo.schedule,
            Job::Sequence(job) => job.train.schedule,
            Job::Collect(_) => LearningRateSchedule::Constant,
        };
        let is_constant = schedule == LearningRateSchedule::Constant;
        // The same data may have another name; other data are told by their mark, but not which of them are held out.
        let knows_its_data = self.path.join(data_mark::FILE).is_file();
        let free = |key: &String| {
            ["evaluation.", "log."].iter().any(|section| key.starts_with(section))
                || key.starts_with("data.") && key != "data.validation" && knows_its_data
                || ["train.steps", "ppo.env_steps"].contains(&key.as_str()) && is_constant
                || ["strict", "ppo.actors", "ppo.checkpoint_every", "ppo.keep_checkpoints"].contains(&key.as_str())
                || ["train.log_every", "train.checkpoint_every", "train.keep_checkpoints"].contains(&key.as_str())
        };
        let fixed: Vec<String> = changed.iter().filter(|key| !free(key)).cloned().collect();
        ensure!(
            fixed.is_empty(),
            "the run {} was begun with another {}; resume it without that change, or begin a new run",
            self.path.display(),
            fixed.join(" and ")
        );
        if let (Some((made, _)), Some((asked, key))) = (self.latest_checkpoint()?, job.length()) {
            ensure!(
                asked >= made,
                "the run {} has made {made} steps, more than the {asked} of {key}; ask for {made} or more, \
                 or begin a new run",
                self.path.display()
            );
        }
        self.keep_checkpoints = job.keep_checkpoints();
        // What is called otherwise is written when the data turned out to be the same.
        let is_called_otherwise = changed.iter().any(|key| key.starts_with("data."));
        if changed.is_empty() || is_called_otherwise { Ok(()) } else { self.write_json("config.json", job) }
    }
}
