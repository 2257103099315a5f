//! The learner: weights, optimizer and all else that one optimizer step changes, and that a resumed run must find again.

mod backward;
mod progress;

use super::batch::{BatchSize, DeviceBatch, on_device};
use crate::config::TrainConfig;
use crate::device::{Cpu, Graph, TrainBackend, Trains};
use crate::exchange::{Ranks, Shards};
use crate::optim::AdamW;
use crate::optim::average::average;
use crate::optim::gradient::{Clipping, checksum, is_finite};
use crate::run::report::{FORMAT, TrainSummary, number};
use crate::run::write_new;
use crate::seeds;
use crate::session::{LAST, Trained, save_last};
use aaren_envs::{derive_seed, read_text};
use aaren_kernels::{Dropout, precision};
use aaren_policy::{DecisionNetwork, Described, Model, PolicyState, StateRecord, Trainable, checkpoint, favor};
use anyhow::{Context, Result, anyhow, ensure};
use backward::{Backward, Loss, in_shards, whole};
use burn::record::{FullPrecisionSettings, NamedMpkBytesRecorder, Recorder};
use burn::tensor::Tensor;
use progress::Progress;
use std::{fs, path::Path, time::Instant};

/// PyTorch's value, which the published runs use; Burn's default is larger.
const ADAM_EPSILON: f64 = 1e-8;

const OPTIMIZER: &str = "optimizer";
pub(crate) const PROGRESS: &str = "progress.json";
const STATE: &str = "state.mpk";

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
pub struct Learner<B: TrainBackend = Graph, N: Trains<B> = DecisionNetwork<B>> {
    network: N,
    /// The average of the network's weights, where the job wants one.
    average: Option<N>,
    optimizer: AdamW<B, N>,
    description: N::Description,
    config: TrainConfig,
    seed: u64,
    /// The parts of a batch, and those that this learner works on.
    shards: Shards,
    /// After the last batch, of the rows of each own part, where rows go on with segments that were cut; else nothing.
    states: Vec<PolicyState<B>>,
    pending: Option<PendingMetrics<B>>,
    /// How far the run has come.
    pub(crate) progress: Progress,
}

impl<B: TrainBackend, N: Trains<B>> Learner<B, N> {
    /// Draws initial weights.
    ///
    /// # Errors
    /// If the description does not check.
    pub fn new(description: N::Description, config: &TrainConfig, seed: u64) -> Result<Self> {
        let network = N::init(&description, derive_seed(seed, &[seeds::WEIGHTS]), &B::device())?;
        let optimizer = AdamW::new(ADAM_EPSILON, config.weight_decay, network.no_decay()).with_beta2(config.beta2);
        let (average, config) = (config.ema.map(|_| network.clone()), config.clone());
        let (progress, shards, states) = (Progress::default(), Shards::all(config.shards), Vec::new());
        Ok(Self { network, average, optimizer, description, config, seed, shards, states, pending: None, progress })
    }

    /// One of several learners, of which each works on some of the shards of a batch.
    pub(crate) fn of_shards(self, shards: Shards) -> Self {
        Self { shards, ..self }
    }

    /// The learning rate of a step.
    pub(super) fn learning_rate(&self, step: u64) -> f64 {
        let TrainConfig { schedule, steps, warmup_steps, learning_rate, .. } = self.config;
        learning_rate * schedule.factor(step, steps, warmup_steps)
    }

    /// One optimizer step.
    ///
    /// # Errors
    /// On the CPU, if the loss or the gradient is not finite; weights, optimizer and progress are as before then. On other devices
    /// nothing is read back, and [`Learner::read_metrics`] finds out; there, if memory runs out.
    pub fn update(&mut self, batch: DeviceBatch<B, N>) -> Result<()> {
        self.update_with(batch, &Ranks::alone())
    }

    /// The same step on all ranks, each with its part of the batch.
    ///
    /// # Errors
    /// As [`Learner::update`], on all ranks; or a rank that does not come.
    pub(crate) fn update_with(&mut self, batch: DeviceBatch<B, N>, ranks: &Ranks) -> Result<()> {
        let (step, size) = (self.progress.step, batch.size);
        on_device::<B, _>(|| self.step(batch, ranks)).with_context(|| format!("by step {step}, with {size}"))?
    }

    fn step(&mut self, batch: DeviceBatch<B, N>, ranks: &Ranks) -> Result<()> {
        let DeviceBatch { mut parts, size, cut } = batch;
        let (step, shards) = (self.progress.step, &self.shards);
        let (found, expected) = (parts.len(), shards.own.len());
        ensure!(found == expected, "the batch has {found} parts, and train.shards says {expected}");
        let mut states = std::mem::take(&mut self.states);
        if states.is_empty() {
            states = parts.iter().map(|part| self.network.initial_state(part.rows, &B::device())).collect();
        }
        let dropout = |place: &[u64]| Dropout {
            probability: self.description.config().dropout,
            seed: derive_seed(self.seed, &[&[seeds::DROPOUT, step], place].concat()),
        };
        let Backward { loss, gradients, states } = precision::within(self.config.precision.into(), || match shards.count {
            1 => whole(&self.network, parts.remove(0), states.remove(0), dropout(&[]), step),
            _ => in_shards(&self.network, parts, states, |shard| dropout(&[shard as u64]), shards, ranks, step),
        })?;
        let clipping = Clipping::new(&self.network, &gradients, self.config.gradient_clip);
        let measured = match loss {
            Loss::Read(loss) => {
                let gradient_norm = clipping.norm();
                ensure!(
                    gradient_norm.is_finite(),
                    "the gradient's norm is {gradient_norm} at step {step}; lower train.learning_rate or look at the data"
                );
                Some((loss, gradient_norm))
            }
            Loss::OnDevice(loss) => {
                self.accumulate(loss, clipping.norm.clone(), size);
                None
            }
        };
        let learning_rate = self.learning_rate(step);
        self.network = self.optimizer.step(learning_rate, self.network.clone(), gradients, clipping.factor);
        let performer = &self.description.config().options.performer;
        if performer.redraw > 0 && (step + 1).is_multiple_of(performer.redraw as u64) {
            let seed = derive_seed(self.seed, &[seeds::FEATURES, step]);
            self.network = favor::redraw(self.network.clone(), performer.orthogonal, seed);
        }
        if let (Some(decay), Some(so_far)) = (self.config.ema, self.average.take()) {
            self.average = Some(average(so_far, &self.network, decay, step + 1));
        }

        // Segments that were cut go on from here, but gradients do not reach back over the border.
        self.states = if cut.iter().any(Option::is_some) { states } else { Vec::new() };
        let timesteps = size.timesteps * self.shards.count / self.shards.own.len();
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

    /// The network as it is now, to act with: of the averaged weights, where there are some.
    pub(crate) fn network(&self) -> N::On<Cpu> {
        B::to_cpu(self.average.as_ref().unwrap_or(&self.network), &self.description)
    }

    /// Writes all that [`Learner::load`] needs into a folder that exists.
    ///
    /// # Errors
    /// Names the file that could not be written; or a weight is not finite, then nothing is written.
    pub(crate) fn save(&self, folder: &Path) -> Result<()> {
        self.save_with(folder, self.records())
    }

    /// States of the own parts of a batch, where rows go on.
    fn records(&self) -> Vec<Vec<StateRecord>> {
        self.states.iter().map(PolicyState::to_records).collect()
    }

    /// As [`Learner::save`], with the states of all parts of a batch.
    fn save_with(&self, folder: &Path, mut states: Vec<Vec<StateRecord>>) -> Result<()> {
        let step = self.progress.step;
        let network = self.network();
        ensure!(is_finite(&network), "a weight is not finite after step {step}; lower train.learning_rate");
        checkpoint::save(&network.into_model(self.description.clone()), folder)?;
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
        if !states.is_empty() {
            let path = folder.join(STATE);
            // Of a batch that is not cut into parts, as before there were any.
            let bytes = if self.shards.count == 1 { rmp_serde::to_vec(&states.remove(0)) } else { rmp_serde::to_vec(&states) };
            fs::write(&path, bytes?).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Continues from a folder that [`Learner::save`] wrote: the steps to come are those of a run that was never stopped.
    ///
    /// # Errors
    /// Names the file that is missing, damaged, or of another policy.
    pub(crate) fn load(mut self, folder: &Path) -> Result<Self> {
        let stored = N::Description::read(folder)?;
        ensure!(
            stored.fits(&self.description),
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
            self.states = self.load_states(&bytes).with_context(|| path.display().to_string())?;
        }
        let goes_on = self.progress.cut.iter().any(Option::is_some);
        ensure!(
            goes_on != self.states.is_empty(),
            "{}: segments go on where states do, and here only one of them",
            path.display()
        );
        Ok(self)
    }

    /// States of the own parts of a batch, of those of all.
    fn load_states(&self, bytes: &[u8]) -> Result<Vec<PolicyState<B>>> {
        let read = match self.shards.count {
            1 => rmp_serde::from_slice(bytes).map(|records| vec![records]),
            _ => rmp_serde::from_slice::<Vec<Vec<StateRecord>>>(bytes),
        };
        let all = read.context("not a policy's state")?;
        let (found, expected) = (all.len(), self.shards.count);
        ensure!(found == expected, "states of {found} parts of a batch, expected {expected}");
        let (network, rows, device) = (&self.network, self.config.batch_size / expected, B::device());
        let own = all.into_iter().skip(self.shards.own.start).take(self.shards.own.len());
        own.map(|records| Ok(network.restore_state(records, rows, &device)?)).collect()
    }

    /// Trained numbers.
    pub(crate) fn parameters(&self) -> usize {
        self.network.num_params()
    }

    /// With other weights in the same places.
    ///
    /// # Errors
    /// What `map` returned.
    pub(crate) fn map_network<T, E>(self, map: impl FnOnce(N) -> Result<(N, T), E>) -> Result<(Self, T), E> {
        let (network, result) = map(self.network)?;
        let average = self.average.map(|_| network.clone());
        Ok((Self { network, average, ..self }, result))
    }

    /// What the weights mean.
    pub(crate) fn description(&self) -> &N::Description {
        &self.description
    }
}

impl<B: TrainBackend, N: Trains<B>> Trained for Learner<B, N> {
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

    fn policy(&self) -> Model<Cpu> {
        self.network().into_model(self.description.clone())
    }

    fn last_policy(&self) -> Option<Model<Cpu>> {
        let last = self.average.as_ref().map(|_| B::to_cpu(&self.network, &self.description))?;
        Some(last.into_model(self.description.clone()))
    }

    fn share(&mut self) -> Result<Vec<u8>> {
        Ok(rmp_serde::to_vec(&self.records())?)
    }

    fn save(&mut self, folder: &Path, shares: &[Vec<u8>]) -> Result<()> {
        let states = shares.iter().map(|share| rmp_serde::from_slice::<Vec<Vec<StateRecord>>>(share));
        let states: Vec<_> = states.collect::<Result<_, _>>().context("states of another kind")?;
        self.save_with(folder, states.concat())
    }

    fn checksum(&self) -> u32 {
        checksum(&self.network)
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
