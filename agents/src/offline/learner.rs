//! The learner: weights, optimizer and all else that one optimizer step changes, and that a resumed run must find again.

use super::batch::{BatchSize, DeviceBatch, on_device};
use super::segments::Segment;
use crate::config::TrainConfig;
use crate::device::{Cpu, Graph, TrainBackend};
use crate::optim::AdamW;
use crate::optim::average::average;
use crate::optim::gradient::{Clipping, is_finite};
use crate::run::data_mark::DataMark;
use crate::run::is_of_step;
use crate::run::report::{FORMAT, TrainSummary, number};
use crate::run::write_new;
use crate::seeds;
use crate::session::{LAST, Trained, save_last};
use aaren_envs::{derive_seed, read_text};
use aaren_kernels::Dropout;
use aaren_policy::{AnyPolicy, DecisionNetwork, DecisionPolicy, Description, PolicyState, StateRecord, checkpoint};
use anyhow::{Context, Result, anyhow, ensure};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::record::{FullPrecisionSettings, NamedMpkBytesRecorder, Recorder};
use burn::tensor::{ElementConversion, Tensor};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path, time::Instant};

/// PyTorch's value, which the published runs use; Burn's default is larger.
const ADAM_EPSILON: f64 = 1e-8;

const OPTIMIZER: &str = "optimizer";
pub(crate) const PROGRESS: &str = "progress.json";
const STATE: &str = "state.mpk";

/// More steps or timesteps than any run makes.
const MOST: u64 = 1 << 60;

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
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
    /// What was trained on; none in checkpoints of older versions.
    pub data: Option<DataMark>,
}

impl Progress {
    /// Whether this can be the progress that a checkpoint of that name holds.
    fn check(&self, folder: &Path) -> Result<()> {
        let step = self.step;
        ensure!(is_of_step(folder, step), "says step {step}, and the checkpoint is another");
        let counts = [self.timesteps, self.interval.steps, self.interval.timesteps];
        ensure!(counts.iter().all(|&count| count < MOST), "counts {counts:?}, which no run reaches");
        Ok(())
    }

    /// Counts seconds that the steps since the last line of the log took.
    pub(crate) fn add_seconds(&mut self, seconds: f64) {
        self.seconds += seconds;
        self.interval.seconds += seconds;
    }
}

/// Sums over optimizer steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
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

/// Sums over steps whose numbers have not been read back.
struct PendingMetrics<B: TrainBackend> {
    loss: Tensor<B::InnerBackend, 1>,
    gradient_norm: Tensor<B::InnerBackend, 1>,
    first_step: u64,
    size: BatchSize,
}

/// Weights, optimizer, and where the run is.
///
/// ```
/// use aaren_agents::{config::OfflineJob, offline::{self, DeviceBatch, Learner}, session::Trained as _};
/// use aaren_policy::Timesteps;
///
/// let job = OfflineJob::quickstart(&["data.scripted.episodes=3".into()])?;
/// let dataset = offline::trajectories(&job)?;
/// let description = offline::describe(&job.env, &job.policy, &dataset)?;
/// let mut learner: Learner = Learner::new(description.clone(), &job.train, job.seed)?;
/// // A row of one timestep: the corridor's first observation, and the first of its actions.
/// let (mut timesteps, mut action) = (Timesteps::new(), vec![0.0; description.action.width()]);
/// timesteps.push(&description, &dataset.trajectories[0].observations[..3], None, 1.0, 0, true);
/// action[0] = 1.0;
/// learner.update(DeviceBatch::new(timesteps, action, 1, &description)?)?;
/// assert_eq!(learner.step(), 1);
/// # Ok::<(), anyhow::Error>(())
/// ```
pub struct Learner<B: TrainBackend = Graph> {
    network: DecisionNetwork<B>,
    /// The average of the network's weights, where the job wants one.
    average: Option<DecisionNetwork<B>>,
    optimizer: AdamW<B, DecisionNetwork<B>>,
    description: Description,
    config: TrainConfig,
    seed: u64,
    /// The state after the last batch, where rows go on with segments that were cut.
    state: Option<PolicyState<B>>,
    pending: Option<PendingMetrics<B>>,
    /// How far the run has come.
    pub(crate) progress: Progress,
}

impl<B: TrainBackend> Learner<B> {
    /// Draws initial weights.
    ///
    /// # Errors
    /// If the description does not check.
    pub fn new(description: Description, config: &TrainConfig, seed: u64) -> Result<Self> {
        let network = DecisionNetwork::new(&description, derive_seed(seed, &[seeds::WEIGHTS]), &B::device())?;
        let optimizer = AdamW::new(ADAM_EPSILON, config.weight_decay, network.backbone().no_decay());
        let (average, config) = (config.ema.map(|_| network.clone()), config.clone());
        let progress = Progress::default();
        Ok(Self { network, average, optimizer, description, config, seed, state: None, pending: None, progress })
    }

    /// The learning rate of a step.
    fn learning_rate(&self, step: u64) -> f64 {
        let TrainConfig { schedule, steps, warmup_steps, learning_rate, .. } = self.config;
        learning_rate * schedule.factor(step, steps, warmup_steps)
    }

    /// One optimizer step.
    ///
    /// # Errors
    /// On the CPU, if the loss or the gradient is not finite; weights, optimizer and progress are as before then. On other devices
    /// nothing is read back, and [`Learner::read_metrics`] finds out; there, if memory runs out.
    pub fn update(&mut self, batch: DeviceBatch<B>) -> Result<()> {
        let (step, size) = (self.progress.step, batch.size);
        on_device::<B, _>(|| self.step(batch)).with_context(|| format!("by step {step}, with {size}"))?
    }

    fn step(&mut self, batch: DeviceBatch<B>) -> Result<()> {
        let DeviceBatch { inputs, actions, size, cut } = batch;
        let BatchSize { rows, timesteps, .. } = size;
        let device = B::device();
        let state = self.state.take().unwrap_or_else(|| self.network.backbone().initial_state(rows, &device));
        let step = self.progress.step;
        let dropout =
            Dropout { probability: self.description.config.dropout, seed: derive_seed(self.seed, &[seeds::DROPOUT, step]) };

        let (loss, state) = self.network.loss(&inputs, actions, state, dropout);
        let measured_loss = B::IS_SYNCHRONOUS.then(|| loss.clone().into_scalar().elem::<f64>());
        if let Some(loss) = measured_loss {
            ensure!(loss.is_finite(), "the loss is {loss} at step {step}; lower train.learning_rate or look at the data");
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        let clipping = Clipping::new(&self.network, &gradients, self.config.gradient_clip);
        let measured = if let Some(loss) = measured_loss {
            let gradient_norm = clipping.norm();
            ensure!(
                gradient_norm.is_finite(),
                "the gradient's norm is {gradient_norm} at step {step}; lower train.learning_rate or look at the data"
            );
            Some((loss, gradient_norm))
        } else {
            self.accumulate(loss.inner(), clipping.norm.clone(), size);
            None
        };
        let learning_rate = self.learning_rate(step);
        self.network = self.optimizer.step(learning_rate, self.network.clone(), gradients, clipping.factor);
        if let (Some(decay), Some(so_far)) = (self.config.ema, self.average.take()) {
            self.average = Some(average(so_far, &self.network, decay, step + 1));
        }

        // Segments that were cut go on from here, but gradients do not reach back over the border.
        self.state = cut.iter().any(Option::is_some).then(|| state.detach());
        let progress = &mut self.progress;
        progress.step += 1;
        progress.timesteps += timesteps as u64;
        progress.cut = cut;
        progress.interval.steps += 1;
        progress.interval.timesteps += timesteps as u64;
        if let Some((loss, gradient_norm)) = measured {
            progress.interval.loss += loss;
            progress.interval.gradient_norm += gradient_norm;
        }
        Ok(())
    }

    /// Adds a step's numbers to those that have not been read.
    fn accumulate(&mut self, loss: Tensor<B::InnerBackend, 1>, norm: Tensor<B::InnerBackend, 1>, size: BatchSize) {
        self.pending = Some(match self.pending.take() {
            None => PendingMetrics { loss, gradient_norm: norm, first_step: self.progress.step, size },
            Some(sum) => PendingMetrics { loss: sum.loss + loss, gradient_norm: sum.gradient_norm + norm, ..sum },
        });
    }

    /// The policy as it is now, to act with: of the averaged weights, where there are some.
    pub(crate) fn policy(&self) -> DecisionPolicy<Cpu> {
        self.policy_of(self.average.as_ref().unwrap_or(&self.network))
    }

    fn policy_of(&self, network: &DecisionNetwork<B>) -> DecisionPolicy<Cpu> {
        DecisionPolicy { network: B::to_cpu(network, &self.description), description: self.description.clone() }
    }

    /// The policy of the last step's weights, where [`Learner::policy`] is another.
    fn last_policy(&self) -> Option<DecisionPolicy<Cpu>> {
        self.average.is_some().then(|| self.policy_of(&self.network))
    }

    /// Writes all that [`Learner::load`] needs into a folder that exists.
    ///
    /// # Errors
    /// Names the file that could not be written; or a weight is not finite, then nothing is written.
    pub(crate) fn save(&self, folder: &Path) -> Result<()> {
        let step = self.progress.step;
        let policy = self.policy();
        ensure!(is_finite(&policy.network), "a weight is not finite after step {step}; lower train.learning_rate");
        checkpoint::save(&policy, folder)?;
        if let Some(last) = self.last_policy() {
            save_last(&last, folder)?;
        }
        let path = folder.join(OPTIMIZER).with_extension("mpk");
        // Burn's own writer of files does not say when the last write of one fails.
        let record = NamedMpkBytesRecorder::<FullPrecisionSettings>::new().record(self.optimizer.to_record(), ());
        write_new(&path, &record.with_context(|| format!("cannot write {}", path.display()))?)?;
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
    pub(crate) fn load(mut self, folder: &Path) -> Result<Self> {
        let stored = checkpoint::load_description(folder)?;
        ensure!(
            stored.config == self.description.config && stored.action == self.description.action,
            "{}: the checkpoint's policy is not the job's; resume with the config of the run, or train a new run",
            folder.join(checkpoint::DESCRIPTION).display()
        );
        // The checkpoint's normalisation is the one its weights know.
        self.description = stored;
        if let Some(average) = self.average {
            self.average = Some(checkpoint::load_weights(average, folder)?);
            self.network = checkpoint::load_weights(self.network, &folder.join(LAST))?;
        } else {
            self.network = checkpoint::load_weights(self.network, folder)?;
        }
        self.optimizer = self.optimizer.load(&folder.join(OPTIMIZER).with_extension("mpk"), &self.network)?;
        let path = folder.join(PROGRESS);
        let text = read_text(&path).with_context(|| format!("cannot read {}", path.display()))?;
        self.progress = serde_json::from_str(&text).with_context(|| format!("{}: not a run's progress", path.display()))?;
        self.progress.check(folder).with_context(|| path.display().to_string())?;
        let path = folder.join(STATE);
        if path.exists() {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let records: Vec<StateRecord> =
                rmp_serde::from_slice(&bytes).with_context(|| format!("{}: not a policy's state", path.display()))?;
            let (backbone, rows) = (self.network.backbone(), self.config.batch_size);
            let state = backbone.restore_state_of(records, rows, &B::device()).with_context(|| path.display().to_string())?;
            self.state = Some(state);
        }
        let goes_on = self.progress.cut.iter().any(Option::is_some);
        ensure!(goes_on == self.state.is_some(), "{}: segments go on where states do, and here only one of them", path.display());
        Ok(self)
    }

    /// Trained numbers.
    pub(crate) fn parameters(&self) -> usize {
        self.network.num_params()
    }

    /// With other weights in the same places.
    ///
    /// # Errors
    /// What `map` returned.
    pub(crate) fn map_network<T, E>(
        self,
        map: impl FnOnce(DecisionNetwork<B>) -> Result<(DecisionNetwork<B>, T), E>,
    ) -> Result<(Self, T), E> {
        let (network, result) = map(self.network)?;
        let average = self.average.map(|_| network.clone());
        Ok((Self { network, average, ..self }, result))
    }

    /// What the weights mean.
    pub(crate) fn description(&self) -> &Description {
        &self.description
    }
}

impl<B: TrainBackend> Trained for Learner<B> {
    fn step(&self) -> u64 {
        self.progress.step
    }

    /// Reads what the steps since the last call left on the device, into the progress of the interval.
    ///
    /// # Errors
    /// If a loss or a gradient was not finite, or the device failed; names the steps.
    fn read_metrics(&mut self) -> Result<()> {
        let Some(pending) = self.pending.take() else { return Ok(()) };
        let started = Instant::now();
        let (first, last) = (pending.first_step, self.progress.step.saturating_sub(1));
        let steps = if first == last { format!("at step {first}") } else { format!("in steps {first} to {last}") };
        let PendingMetrics { loss, gradient_norm, size, .. } = pending;
        let numbers = on_device::<B, _>(|| Tensor::cat(vec![loss, gradient_norm], 0).try_into_data())
            .and_then(|read| read.map_err(|error| anyhow!("the device failed: {error:?}")))
            .with_context(|| format!("{steps}, with {size}"))?;
        let numbers = numbers.convert::<f64>().to_vec::<f64>().expect("two sums");
        let [loss, gradient_norm] = numbers[..] else { unreachable!("a loss and a norm") };
        ensure!(loss.is_finite(), "the loss is {loss} {steps}; lower train.learning_rate or look at the data");
        ensure!(
            gradient_norm.is_finite(),
            "the gradient's norm is {gradient_norm} {steps}; lower train.learning_rate or look at the data"
        );
        self.progress.interval.loss += loss;
        self.progress.interval.gradient_norm += gradient_norm;
        // Steps are counted with the time that the device took for them.
        self.progress.add_seconds(started.elapsed().as_secs_f64());
        Ok(())
    }

    fn metrics(&mut self) -> (Vec<(&'static str, f64)>, String) {
        let interval = std::mem::take(&mut self.progress.interval);
        let mean = |sum: f64| sum / interval.steps as f64;
        let loss = mean(interval.loss);
        self.progress.logged_loss = Some(loss);
        let metrics = vec![
            ("train/loss", loss),
            ("train/gradient_norm", mean(interval.gradient_norm)),
            ("train/learning_rate", self.learning_rate(self.progress.step.saturating_sub(1))),
            ("train/timesteps_per_second", interval.timesteps as f64 / interval.seconds),
            ("train/step_milliseconds", 1e3 * mean(interval.seconds)),
        ];
        (metrics, format!("loss {}", number(loss)))
    }

    fn policy(&self) -> AnyPolicy<Cpu> {
        Learner::policy(self).into()
    }

    fn last_policy(&self) -> Option<AnyPolicy<Cpu>> {
        Learner::last_policy(self).map(Into::into)
    }

    fn save(&mut self, folder: &Path) -> Result<()> {
        Learner::save(self, folder)
    }

    fn summary(&self) -> TrainSummary {
        let Progress { step, timesteps, seconds, logged_loss, .. } = self.progress;
        TrainSummary {
            format: FORMAT,
            steps: step,
            timesteps,
            wall_seconds: seconds,
            timesteps_per_second: timesteps as f64 / seconds.max(f64::MIN_POSITIVE),
            final_loss: logged_loss.unwrap_or(f64::NAN),
            diverged: 0,
            parameters: self.parameters(),
        }
    }
}

#[cfg(test)]
mod tests;
