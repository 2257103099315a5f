//! The learner: weights, optimizer and all else that one optimizer step changes, and that a resumed run must find again.

use crate::{
    backend::{Cpu, Graph, TrainBackend, seeds},
    config::TrainConfig,
    gradient::{clip_norm, clip_norm_on_device, is_finite},
    optimizer::AdamW,
    segment::{Batch, Segment},
};
use anyhow::{Context, Result, anyhow, ensure};
use burn::{
    module::Module,
    optim::{AdamWConfig, GradientsParams},
    record::{FullPrecisionSettings, NamedMpkFileRecorder, Recorder},
    tensor::{ElementConversion, Tensor, TensorData},
};
use envs::derive_seed;
use kernels::Dropout;
use policy::{DecisionNetwork, DecisionPolicy, Description, PolicyState, StateRecord, TimestepTensors, checkpoint};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

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
        if let Some(measured) = update.measured {
            self.interval.loss += measured.loss;
            self.interval.gradient_norm += measured.gradient_norm;
        }
    }

    /// Counts seconds that the steps since the last line took after they had been asked for.
    pub fn wait(&mut self, seconds: f64) {
        self.seconds += seconds;
        self.interval.seconds += seconds;
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
    /// What the optimizer was given.
    pub learning_rate: f64,
    /// Absent where the numbers stay on the device until [`Learner::settle`].
    pub measured: Option<Measured>,
}

/// What came out of one optimizer step.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Mean over the batch's timesteps.
    pub loss: f64,
    /// Norm over all parameters, before clipping.
    pub gradient_norm: f64,
}

/// A batch on the device that is trained on. Made on the thread that prepares batches, so that copying does not hold up a step.
pub struct Prepared<B: TrainBackend> {
    inputs: TimestepTensors<B>,
    /// `[timesteps, action width]`
    actions: Tensor<B, 2>,
    size: BatchSize,
    cut: Vec<Option<Segment>>,
}

impl<B: TrainBackend> Prepared<B> {
    /// Copies a batch to the device.
    ///
    /// # Errors
    /// If the device has no memory for it.
    pub fn new(batch: Batch, description: &Description) -> Result<Self> {
        let (rows, timesteps, width) = (batch.cut.len(), batch.timesteps.len(), description.action.width());
        let size = BatchSize::new(rows, timesteps, description);
        on_device::<B, _>(|| {
            let device = B::place();
            Self {
                inputs: batch.timesteps.to_tensors::<B>(rows, description.config.tokens, &device),
                actions: Tensor::from_data(TensorData::new(batch.actions, [timesteps, width]), &device),
                size,
                cut: batch.cut,
            }
        })
        .with_context(|| format!("with {size}"))
    }

    fn size(&self) -> BatchSize {
        self.size
    }
}

/// What a device was asked to hold, for errors.
#[derive(Clone, Copy, Debug)]
struct BatchSize {
    rows: usize,
    timesteps: usize,
    bytes: usize,
}

impl BatchSize {
    fn new(rows: usize, timesteps: usize, description: &Description) -> Self {
        // Observation, two actions, return, time and reset.
        let per_timestep = description.normalizer.width() + 2 * description.action.width() + 3;
        Self { rows, timesteps, bytes: 4 * per_timestep * timesteps }
    }
}

impl std::fmt::Display for BatchSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, timesteps, bytes } = self;
        write!(f, "a batch of {rows} rows, {timesteps} timesteps and {bytes} bytes of inputs")
    }
}

/// Work on a device. Graphics cards report what they cannot do, such as an allocation, by a panic of CubeCL.
///
/// # Errors
/// The panic, with what to do.
fn on_device<B: TrainBackend, T>(work: impl FnOnce() -> T) -> Result<T> {
    if B::READS_EVERY_STEP {
        return Ok(work());
    }
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        anyhow!(
            "the device failed: {}; lower train.batch_size or train.context_length if it ran out of memory",
            text.unwrap_or("it gave no reason")
        )
    })
}

/// Sums over steps whose numbers have not been read back.
struct Unread<B: TrainBackend> {
    loss: Tensor<B::InnerBackend, 1>,
    gradient_norm: Tensor<B::InnerBackend, 1>,
    first_step: u64,
    size: BatchSize,
}

/// Weights, optimizer, and where the run is.
pub struct Learner<B: TrainBackend = Graph> {
    network: DecisionNetwork<B>,
    optimizer: AdamW<B, DecisionNetwork<B>>,
    description: Description,
    config: TrainConfig,
    seed: u64,
    /// The state after the last batch, where rows go on with segments that were cut.
    state: Option<PolicyState<B>>,
    unread: Option<Unread<B>>,
    /// How far the run has come.
    pub progress: Progress,
}

impl<B: TrainBackend> Learner<B> {
    /// Draws initial weights.
    ///
    /// # Errors
    /// If the description does not check.
    pub fn new(description: Description, config: &TrainConfig, seed: u64) -> Result<Self> {
        let network = DecisionNetwork::new(&description, derive_seed(seed, &[seeds::WEIGHTS]), &B::place())?;
        let adam = AdamWConfig::new().with_epsilon(ADAM_EPSILON).with_weight_decay(config.weight_decay as f32);
        let optimizer = AdamW::new(&adam, network.backbone().undecayed());
        let config = config.clone();
        Ok(Self { network, optimizer, description, config, seed, state: None, unread: None, progress: Progress::default() })
    }

    /// The learning rate of the next step: linear from 0, then constant.
    fn learning_rate(&self) -> f64 {
        let warm = (self.progress.step + 1) as f64 / self.config.warmup_steps.max(1) as f64;
        self.config.learning_rate * warm.min(1.0)
    }

    /// One optimizer step on a batch of the host.
    ///
    /// # Errors
    /// As [`Prepared::new`] and [`Learner::update_prepared`].
    pub fn update(&mut self, batch: Batch) -> Result<Update> {
        self.update_prepared(Prepared::new(batch, &self.description)?)
    }

    /// One optimizer step.
    ///
    /// # Errors
    /// On the CPU, if the loss or the gradient is not finite; weights, optimizer and progress are as before then. On other devices
    /// nothing is read back, and [`Learner::settle`] finds out; there, if memory runs out.
    pub fn update_prepared(&mut self, batch: Prepared<B>) -> Result<Update> {
        let (step, size) = (self.progress.step, batch.size());
        on_device::<B, _>(|| self.step(batch)).with_context(|| format!("at step {step}, with {size}"))?
    }

    fn step(&mut self, batch: Prepared<B>) -> Result<Update> {
        let Prepared { inputs, actions, size, cut } = batch;
        let BatchSize { rows, timesteps, .. } = size;
        let device = B::place();
        let state = self.state.take().unwrap_or_else(|| self.network.backbone().initial_state(rows, &device));
        let step = self.progress.step;
        let dropout =
            Dropout { probability: self.description.config.dropout, seed: derive_seed(self.seed, &[seeds::DROPOUT, step]) };

        let (loss, state) = self.network.loss(&inputs, actions, state, dropout);
        let measured_loss = B::READS_EVERY_STEP.then(|| loss.clone().into_scalar().elem::<f64>());
        if let Some(loss) = measured_loss {
            ensure!(loss.is_finite(), "the loss is {loss} at step {step}; lower train.learning_rate or look at the data");
        }
        let mut gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        let measured = if let Some(loss) = measured_loss {
            let gradient_norm = clip_norm(&self.network, &mut gradients, self.config.gradient_clip);
            ensure!(
                gradient_norm.is_finite(),
                "the gradient's norm is {gradient_norm} at step {step}; lower train.learning_rate or look at the data"
            );
            Some(Measured { loss, gradient_norm })
        } else {
            let norm = clip_norm_on_device(&self.network, &mut gradients, self.config.gradient_clip);
            self.keep(loss.inner(), norm, size);
            None
        };
        let learning_rate = self.learning_rate();
        self.network = self.optimizer.step(learning_rate, self.network.clone(), gradients);

        // Segments that were cut go on from here, but gradients do not reach back over the border.
        self.state = cut.iter().any(Option::is_some).then(|| state.detach());
        self.progress.step += 1;
        self.progress.timesteps += timesteps as u64;
        self.progress.cut = cut;
        Ok(Update { timesteps: timesteps as u64, learning_rate, measured })
    }

    /// Adds a step's numbers to those that have not been read.
    fn keep(&mut self, loss: Tensor<B::InnerBackend, 1>, norm: Tensor<B::InnerBackend, 1>, size: BatchSize) {
        self.unread = Some(match self.unread.take() {
            None => Unread { loss, gradient_norm: norm, first_step: self.progress.step, size },
            Some(sum) => Unread { loss: sum.loss + loss, gradient_norm: sum.gradient_norm + norm, ..sum },
        });
    }

    /// Reads what the steps since the last call left on the device, into [`Progress::interval`]. Before anything is logged or saved.
    ///
    /// # Errors
    /// If a loss or a gradient was not finite, or the device failed; names the steps.
    pub fn settle(&mut self) -> Result<()> {
        let Some(unread) = self.unread.take() else { return Ok(()) };
        let (first, last) = (unread.first_step, self.progress.step.saturating_sub(1));
        let steps = if first == last { format!("at step {first}") } else { format!("in steps {first} to {last}") };
        let Unread { loss, gradient_norm, size, .. } = unread;
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
        Ok(())
    }

    /// The policy as it is now, to act with.
    pub fn policy(&self) -> DecisionPolicy<Cpu> {
        DecisionPolicy { network: B::to_cpu(&self.network, &self.description), description: self.description.clone() }
    }

    /// Writes all that [`Learner::load`] needs into a folder that exists.
    ///
    /// # Errors
    /// Names the file that could not be written; or a weight is not finite, then nothing is written.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let step = self.progress.step;
        let policy = self.policy();
        ensure!(is_finite(&policy.network), "a weight is not finite after step {step}; lower train.learning_rate");
        checkpoint::save(&policy, folder)?;
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
        let record = recorder.load(path.clone(), &B::place()).with_context(|| format!("cannot read {}.mpk", path.display()))?;
        self.optimizer = self.optimizer.load_record(record);
        let path = folder.join(PROGRESS);
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        self.progress = serde_json::from_slice(&text).with_context(|| format!("{}: not a run's progress", path.display()))?;
        let path = folder.join(STATE);
        if path.exists() {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let records: Vec<StateRecord> =
                rmp_serde::from_slice(&bytes).with_context(|| format!("{}: not a policy's state", path.display()))?;
            let state =
                self.network.backbone().restore_state(records, &B::place()).with_context(|| path.display().to_string())?;
            self.state = Some(state);
        }
        Ok(self)
    }

    /// Trained numbers.
    pub fn parameters(&self) -> usize {
        self.network.num_params()
    }

    /// With other weights in the same places.
    ///
    /// # Errors
    /// What `map` returned.
    pub fn map_network<T, E>(
        self,
        map: impl FnOnce(DecisionNetwork<B>) -> Result<(DecisionNetwork<B>, T), E>,
    ) -> Result<(Self, T), E> {
        let (network, result) = map(self.network)?;
        Ok((Self { network, ..self }, result))
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
    use burn_store::ModuleSnapshot;
    use std::{collections::BTreeMap, sync::Arc};

    /// A learner of a small job, and where its batches come from.
    fn learner(overrides: &[&str]) -> (Learner, SegmentSampler) {
        learner_on::<Graph>(overrides)
    }

    fn learner_on<B: TrainBackend>(overrides: &[&str]) -> (Learner<B>, SegmentSampler) {
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
        assert!(again.measured.unwrap().loss < first.measured.unwrap().loss, "{first:?}, then {again:?}");
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
            (0..3).map(|_| learner.update(sampler.batch(0, &[])).unwrap().measured.unwrap().loss).collect()
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
            let fresh = || Learner::<Graph>::new(learner.description.clone(), &learner.config, learner.seed).unwrap();
            assert_eq!(fresh().load(folder.path()).unwrap().progress, learner.progress);
            let path = folder.path().join(name);
            content.map_or_else(|| fs::remove_file(&path), |content| fs::write(&path, content)).unwrap();
            let message = format!("{:#}", fresh().load(folder.path()).err().expect("a damaged checkpoint"));
            assert!(message.contains(name), "{name}: {message}");
        }
    }

    #[cfg(feature = "vulkan")]
    mod vulkan {
        use super::*;
        use burn::backend::Autodiff;

        type Device = Autodiff<kernels::device::Vulkan>;

        fn is_there() -> bool {
            kernels::device::vulkan().map_err(|reason| println!("skipped: {reason}")).is_ok()
        }

        /// Losses of 200 steps, one at a time.
        #[test]
        fn training_gives_the_losses_of_the_cpu() {
            if !is_there() {
                return;
            }
            for mixer in ["aaren", "transformer"] {
                let mixer = format!("policy.mixer={mixer}");
                let settings = [&mixer[..], "policy.layers=1", "policy.dropout=0.1", "train.learning_rate=0.003"];
                let (mut on_cpu, sampler) = learner(&settings);
                let (mut on_device, _) = learner_on::<Device>(&settings);
                for step in 0..200 {
                    let expected = on_cpu.update(sampler.batch(step, &[])).unwrap().measured.unwrap();
                    let update = on_device.update(sampler.batch(step, &[])).unwrap();
                    assert!(update.measured.is_none(), "nothing is read back inside a step");
                    let before = on_device.progress.interval.clone();
                    on_device.settle().unwrap();
                    let loss = on_device.progress.interval.loss - before.loss;
                    assert!((loss - expected.loss).abs() <= 1e-3, "{mixer}, step {step}: {loss} is not {}", expected.loss);
                    let norm = on_device.progress.interval.gradient_norm - before.gradient_norm;
                    assert!((norm - expected.gradient_norm).abs() <= 1e-2 * expected.gradient_norm.max(1.0));
                }
            }
        }

        #[test]
        fn a_checkpoint_goes_on_on_either_device() {
            if !is_there() {
                return;
            }
            let settings = ["train.row_length=2", "train.cut_segments=continue"];
            let (mut on_device, sampler) = learner_on::<Device>(&settings);
            on_device.update(sampler.batch(0, &[])).unwrap();
            on_device.settle().unwrap();
            let folder = tempfile::tempdir().unwrap();
            on_device.save(folder.path()).unwrap();
            let mut on_cpu = learner(&settings).0.load(folder.path()).unwrap();
            let mut resumed = learner_on::<Device>(&settings).0.load(folder.path()).unwrap();
            assert_eq!(on_cpu.progress, on_device.progress);
            let batch = || sampler.batch(1, &on_device.progress.cut.clone());
            let expected = on_cpu.update(batch()).unwrap().measured.unwrap().loss;
            let before = resumed.progress.interval.loss;
            resumed.update(batch()).unwrap();
            resumed.settle().unwrap();
            let found = resumed.progress.interval.loss - before;
            assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
        }

        #[test]
        fn a_loss_that_is_not_finite_is_found_before_anything_is_saved() {
            if !is_there() {
                return;
            }
            let (mut learner, sampler) = learner_on::<Device>(&[]);
            learner.update(sampler.batch(0, &[])).unwrap();
            learner.settle().unwrap();
            let mut broken = sampler.batch(1, &[]);
            broken.actions[3] = f32::NAN;
            learner.update(broken).unwrap();
            learner.update(sampler.batch(2, &[])).unwrap();
            let message = learner.settle().unwrap_err().to_string();
            assert!(message.contains("in steps 1 to 2"), "{message}");
            let folder = tempfile::tempdir().unwrap();
            assert!(learner.save(folder.path()).is_err());
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    /// Every parameter by name.
    fn parameters(learner: &Learner) -> BTreeMap<String, Vec<f32>> {
        let snapshots = learner.policy().network.collect(None, None, false);
        snapshots.iter().map(|one| (one.full_path(), one.to_data().unwrap().to_vec().unwrap())).collect()
    }

    #[test]
    fn weight_decay_leaves_mambas_decay_and_skip_alone() {
        let after_a_step = |decay: &str| {
            let (mut learner, sampler) =
                learner(&["policy.mixer=mamba", "train.learning_rate=0.1", "train.warmup_steps=0", decay]);
            learner.update(sampler.batch(0, &[])).unwrap();
            parameters(&learner)
        };
        let (with, without) = (after_a_step("train.weight_decay=0.5"), after_a_step("train.weight_decay=0"));
        let before = parameters(&learner(&["policy.mixer=mamba"]).0);
        // What begins at 0 has nothing to decay.
        let could_decay = before.iter().filter(|(_, values)| values.iter().any(|&value| value != 0.0)).map(|(name, _)| name);
        let (left_alone, decayed): (Vec<&String>, Vec<&String>) = could_decay.partition(|&name| with[name] == without[name]);
        assert!(
            left_alone.iter().all(|name| ["decay_log", "skip"].contains(&name.rsplit('.').next().unwrap())),
            "{left_alone:?}"
        );
        assert!(left_alone.len() == 2 * 2 && decayed.len() > 20, "{left_alone:?}, {decayed:?}");
        assert!(left_alone.iter().all(|&name| with[name] != before[name]), "they learn");
    }

    #[test]
    fn a_stored_optimizer_finds_the_moments_of_undecayed_parameters_again() {
        let settings = ["policy.mixer=mamba", "train.weight_decay=0.5", "train.learning_rate=0.1"];
        let (mut unbroken, sampler) = learner(&settings);
        unbroken.update(sampler.batch(0, &[])).unwrap();
        let folder = tempfile::tempdir().unwrap();
        unbroken.save(folder.path()).unwrap();
        let mut resumed = learner(&settings).0.load(folder.path()).unwrap();
        for learner in [&mut unbroken, &mut resumed] {
            learner.update(sampler.batch(1, &[])).unwrap();
        }
        assert_eq!(weights(&resumed), weights(&unbroken));
    }
}
