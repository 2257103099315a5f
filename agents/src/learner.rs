//! The learner: weights, optimizer and all else that one optimizer step changes, and that a resumed run must find again.

use crate::{
    backend::{CPU, Cpu, Graph, seeds},
    config::TrainConfig,
    gradient::{clip_norm, is_finite},
    segment::{Batch, Segment},
};
use anyhow::{Context, Result, ensure};
use burn::{
    module::AutodiffModule,
    optim::{AdamW, AdamWConfig, GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    record::{FullPrecisionSettings, NamedMpkFileRecorder, Recorder},
    tensor::{Tensor, TensorData},
};
use envs::derive_seed;
use kernels::Dropout;
use policy::{DecisionNetwork, DecisionPolicy, Description, PolicyState, StateRecord, checkpoint};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

type Network = DecisionNetwork<Graph>;

/// PyTorch's value, which the published runs use; Burn's default is larger.
pub(crate) const ADAM_EPSILON: f32 = 1e-8;

const OPTIMIZER: &str = "optimizer";
const PROGRESS: &str = "progress.json";
const STATE: &str = "state.mpk";

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Optimizer steps made.
    pub step: u64,
    /// Timesteps that went through the loss.
    pub timesteps: u64,
    /// Seconds spent training, evaluations left out.
    pub seconds: f64,
    /// Sums over the steps since the last line of the log.
    pub interval: Interval,
    /// Mean loss over the last interval that was logged.
    pub logged_loss: Option<f64>,
    /// What the last batch left over of its rows' segments.
    pub cut: Vec<Option<Segment>>,
}

impl Progress {
    /// Counts an update that took so long.
    pub fn add(&mut self, update: &Update, seconds: f64) {
        self.seconds += seconds;
        self.interval.steps += 1;
        self.interval.timesteps += update.timesteps;
        self.interval.seconds += seconds;
        self.interval.loss += update.loss;
        self.interval.gradient_norm += update.gradient_norm;
    }
}

/// Sums over optimizer steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// How many.
    pub steps: u64,
    /// Timesteps that went through the loss.
    pub timesteps: u64,
    /// Seconds that they took.
    pub seconds: f64,
    /// Losses.
    pub loss: f64,
    /// Norms before clipping.
    pub gradient_norm: f64,
}

/// Numbers of one optimizer step.
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// Timesteps that went through the loss.
    pub timesteps: u64,
    /// Mean over the batch's timesteps.
    pub loss: f64,
    /// Norm over all parameters, before clipping.
    pub gradient_norm: f64,
    /// What the optimizer was given.
    pub learning_rate: f64,
}

/// Weights, optimizer, and where the run is.
pub struct Learner {
    network: Network,
    optimizer: OptimizerAdaptor<AdamW, Network, Graph>,
    description: Description,
    config: TrainConfig,
    seed: u64,
    /// The state after the last batch, where rows go on with segments that were cut.
    state: Option<PolicyState<Graph>>,
    /// How far the run has come.
    pub progress: Progress,
}

impl Learner {
    /// Draws initial weights.
    ///
    /// # Errors
    /// If the description does not check.
    pub fn new(description: Description, config: &TrainConfig, seed: u64) -> Result<Self> {
        let network = Network::new(&description, derive_seed(seed, &[seeds::WEIGHTS]), &CPU)?;
        let optimizer = AdamWConfig::new().with_epsilon(ADAM_EPSILON).with_weight_decay(config.weight_decay as f32).init();
        Ok(Self { network, optimizer, description, config: config.clone(), seed, state: None, progress: Progress::default() })
    }

    /// The learning rate of the next step: linear from 0, then constant.
    fn learning_rate(&self) -> f64 {
        let warm = (self.progress.step + 1) as f64 / self.config.warmup_steps.max(1) as f64;
        self.config.learning_rate * warm.min(1.0)
    }

    /// One optimizer step.
    ///
    /// # Errors
    /// If the loss or the gradient is not finite; weights, optimizer and progress are as before then.
    pub fn update(&mut self, batch: Batch) -> Result<Update> {
        let rows = batch.cut.len();
        let inputs = batch.timesteps.to_tensors::<Graph>(rows, self.description.config.tokens, &CPU);
        let timesteps = batch.timesteps.len();
        let width = self.description.action.width();
        let actions = Tensor::from_data(TensorData::new(batch.actions, [timesteps, width]), &CPU);
        let state = self.state.take().unwrap_or_else(|| self.network.backbone().initial_state(rows, &CPU));
        let dropout = Dropout {
            probability: self.description.config.dropout,
            seed: derive_seed(self.seed, &[seeds::DROPOUT, self.progress.step]),
        };

        let (loss, state) = self.network.loss(&inputs, actions, state, dropout);
        let loss_value = f64::from(loss.clone().into_scalar());
        let step = self.progress.step;
        ensure!(loss_value.is_finite(), "the loss is {loss_value} at step {step}; lower train.learning_rate or look at the data");
        let mut gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        let gradient_norm = clip_norm(&self.network, &mut gradients, self.config.gradient_clip);
        ensure!(
            gradient_norm.is_finite(),
            "the gradient's norm is {gradient_norm} at step {step}; lower train.learning_rate or look at the data"
        );
        let learning_rate = self.learning_rate();
        self.network = self.optimizer.step(learning_rate, self.network.clone(), gradients);

        // Segments that were cut go on from here, but gradients do not reach back over the border.
        self.state = batch.cut.iter().any(Option::is_some).then(|| state.detach());
        self.progress.step += 1;
        self.progress.timesteps += timesteps as u64;
        self.progress.cut = batch.cut;
        Ok(Update { timesteps: timesteps as u64, loss: loss_value, gradient_norm, learning_rate })
    }

    /// The policy as it is now, to act with.
    pub fn policy(&self) -> DecisionPolicy<Cpu> {
        DecisionPolicy { network: self.network.valid(), description: self.description.clone() }
    }

    /// Writes all that [`Learner::load`] needs into a folder that exists.
    ///
    /// # Errors
    /// Names the file that could not be written; or a weight is not finite, then nothing is written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let step = self.progress.step;
        ensure!(is_finite(&self.network.valid()), "a weight is not finite after step {step}; lower train.learning_rate");
        checkpoint::save(&self.policy(), folder)?;
        let recorder = NamedMpkFileRecorder::<FullPrecisionSettings>::new();
        let path = folder.join(OPTIMIZER);
        recorder
            .record(self.optimizer.to_record(), path.clone())
            .with_context(|| format!("cannot write {}.mpk", path.display()))?;
        let path = folder.join(PROGRESS);
        fs::write(&path, serde_json::to_vec_pretty(&self.progress)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        if let Some(state) = &self.state {
            let path = folder.join(STATE);
            fs::write(&path, rmp_serde::to_vec(&state.to_records())?)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Continues from a folder that [`Learner::save`] wrote: the steps to come are those of a run that was never stopped.
    ///
    /// # Errors
    /// Names the file that is missing, damaged, or of another policy.
    pub fn load(mut self, folder: &Path) -> Result<Self> {
        let stored = checkpoint::load_description(folder)?;
        ensure!(
            stored.config == self.description.config && stored.action == self.description.action,
            "{}: the checkpoint's policy is not the job's; resume with the config of the run, or train a new run",
            folder.join(checkpoint::DESCRIPTION).display()
        );
        // The checkpoint's normalisation is the one its weights know.
        self.description = stored;
        self.network = checkpoint::load_weights(self.network, folder)?;
        let recorder = NamedMpkFileRecorder::<FullPrecisionSettings>::new();
        let path = folder.join(OPTIMIZER);
        let record = recorder.load(path.clone(), &CPU).with_context(|| format!("cannot read {}.mpk", path.display()))?;
        self.optimizer = self.optimizer.load_record(record);
        let path = folder.join(PROGRESS);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        self.progress = serde_json::from_slice(&text).with_context(|| format!("{}: not a run's progress", path.display()))?;
        let path = folder.join(STATE);
        if path.exists() {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let records: Vec<StateRecord> =
                rmp_serde::from_slice(&bytes).with_context(|| format!("{}: not a policy's state", path.display()))?;
            let state = self.network.backbone().restore_state(records, &CPU).with_context(|| path.display().to_string())?;
            self.state = Some(state);
        }
        Ok(self)
    }

    /// What the weights mean.
    pub fn description(&self) -> &Description {
        &self.description
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::JobConfig,
        data,
        segment::{SegmentSampler, SegmentSource},
        train::describe,
    };
    use std::sync::Arc;

    /// A learner of a small job, and where its batches come from.
    fn learner(overrides: &[&str]) -> (Learner, SegmentSampler) {
        let small = [
            "env.options.corridor=3",
            "data.scripted.episodes=5",
            "policy.width=8",
            "policy.feed_forward=8",
            "train.batch_size=2",
        ];
        let overrides: Vec<String> = small.iter().chain(overrides).map(ToString::to_string).collect();
        let job = JobConfig::quickstart(&overrides).unwrap();
        let dataset = data::trajectories(&job).unwrap();
        let description = describe(&job, &dataset).unwrap();
        let source = Arc::new(SegmentSource::new(dataset).unwrap());
        let sampler = SegmentSampler::new(source, description.clone(), &job.train, job.seed);
        (Learner::new(description, &job.train, job.seed).unwrap(), sampler)
    }

    fn weights(learner: &Learner) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        checkpoint::save(&learner.policy(), folder.path()).unwrap();
        fs::read(folder.path().join(checkpoint::WEIGHTS)).unwrap()
    }

    #[test]
    fn a_seed_is_an_initialisation() {
        assert_eq!(weights(&learner(&[]).0), weights(&learner(&[]).0));
        assert_ne!(weights(&learner(&[]).0), weights(&learner(&["seed=2"]).0));
    }

    #[test]
    fn the_learning_rate_rises_linearly_and_stays() {
        let rates = |warmup: &str| -> Vec<f64> {
            let (mut learner, sampler) = learner(&["train.learning_rate=0.008", warmup]);
            (0..6).map(|step| learner.update(sampler.batch(step, &[])).unwrap().learning_rate).collect()
        };
        assert_eq!(rates("train.warmup_steps=4"), [0.002, 0.004, 0.006, 0.008, 0.008, 0.008]);
        assert_eq!(rates("train.warmup_steps=0"), [0.008; 6]);
    }

    #[test]
    fn a_step_learns_and_counts() {
        let (mut learner, sampler) = learner(&[]);
        let before = weights(&learner);
        let first = learner.update(sampler.batch(0, &[])).unwrap();
        assert_ne!(weights(&learner), before);
        assert_eq!((learner.progress.step, learner.progress.timesteps, first.timesteps), (1, 2 * 4, 2 * 4));
        let again = learner.update(sampler.batch(0, &[])).unwrap();
        assert!(again.loss < first.loss, "{first:?}, then {again:?}");
    }

    #[test]
    fn a_loss_that_is_not_finite_changes_nothing() {
        let (mut learner, sampler) = learner(&[]);
        learner.update(sampler.batch(0, &[])).unwrap();
        let (before, progress) = (weights(&learner), learner.progress.clone());
        let mut broken = sampler.batch(1, &[]);
        broken.actions[3] = f32::NAN;
        let message = learner.update(broken).unwrap_err().to_string();
        assert!(message.contains("the loss is NaN at step 1"), "{message}");
        assert_eq!((weights(&learner), &learner.progress), (before, &progress));
    }

    #[test]
    fn dropout_is_another_in_every_step_and_the_same_for_the_same_step() {
        let losses = || -> Vec<f64> {
            let (mut learner, sampler) = learner(&["policy.dropout=0.5"]);
            learner.config.learning_rate = 0.0; // only the dropout changes
            (0..3).map(|_| learner.update(sampler.batch(0, &[])).unwrap().loss).collect()
        };
        let first = losses();
        assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2], "{first:?}");
        assert_eq!(losses(), first);
    }

    #[test]
    fn what_a_checkpoint_lacks_is_named() {
        let (mut learner, sampler) = learner(&["train.row_length=2", "train.cut_segments=continue"]);
        learner.update(sampler.batch(0, &[])).unwrap();
        for (name, content) in [
            ("weights.safetensors", None),
            ("optimizer.mpk", None),
            ("optimizer.mpk", Some("x")),
            ("progress.json", Some("{}")),
            ("state.mpk", Some("x")),
        ] {
            let folder = tempfile::tempdir().unwrap();
            learner.save(folder.path()).unwrap();
            let fresh = || Learner::new(learner.description.clone(), &learner.config, learner.seed).unwrap();
            assert_eq!(fresh().load(folder.path()).unwrap().progress, learner.progress);
            let path = folder.path().join(name);
            content.map_or_else(|| fs::remove_file(&path), |content| fs::write(&path, content)).unwrap();
            let message = format!("{:#}", fresh().load(folder.path()).err().expect("a damaged checkpoint"));
            assert!(message.contains(name), "{name}: {message}");
        }
    }
}
