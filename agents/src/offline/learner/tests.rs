use super::progress::Interval;
use super::*;
use crate::config::OfflineJob;
use crate::offline::data;
use crate::offline::segments::{Batch, SegmentSampler, SharedBatch};
use crate::offline::source::SegmentSource;
use aaren_policy::DecisionRows;
use burn_store::ModuleSnapshot;
use std::collections::BTreeMap;

/// A learner of a small job, and where its batches come from.
fn learner(overrides: &[&str]) -> (Learner, SegmentSampler<SegmentSource>) {
    learner_on::<Graph>(overrides)
}

fn learner_on<B: TrainBackend>(overrides: &[&str]) -> (Learner<B>, SegmentSampler<SegmentSource>) {
    let small =
        ["env.options.corridor=3", "data.scripted.episodes=5", "policy.width=8", "policy.feed_forward=8", "train.batch_size=2"];
    let overrides: Vec<String> = small.iter().chain(overrides).map(ToString::to_string).collect();
    let job = OfflineJob::quickstart(&overrides).unwrap();
    let dataset = data::trajectories(&job).unwrap();
    let description = crate::offline::describe(&job.env, &job.policy, &dataset).unwrap();
    let sampler = SegmentSampler::new(SegmentSource::new(dataset, description.clone()).unwrap(), &job.train, job.seed);
    (Learner::new(description, &job.train, job.seed).unwrap(), sampler)
}

impl<B: TrainBackend> Learner<B> {
    fn learn(&mut self, batch: Batch<DecisionRows>) -> Result<()> {
        self.update(DeviceBatch::copy(SharedBatch { cut: batch.cut.clone(), own: vec![batch] }, &self.description)?)
    }

    /// What one optimizer step adds to the numbers of an interval.
    fn numbers_of(&mut self, batch: Batch<DecisionRows>) -> Interval {
        self.progress.interval = Interval::default();
        self.learn(batch).unwrap();
        self.progress.interval.clone()
    }
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
        let mut rate = |step| {
            let rate = learner.learning_rate(learner.progress.step);
            learner.learn(sampler.batch(step, &[])).unwrap();
            rate
        };
        (0..6).map(&mut rate).collect()
    };
    assert_eq!(rates("train.warmup_steps=4"), [0.002, 0.004, 0.006, 0.008, 0.008, 0.008]);
    assert_eq!(rates("train.warmup_steps=0"), [0.008; 6]);
}

#[test]
fn a_step_learns_and_counts() {
    let (mut learner, sampler) = learner(&[]);
    let before = weights(&learner);
    let first = learner.numbers_of(sampler.batch(0, &[]));
    assert_ne!(weights(&learner), before);
    assert_eq!((learner.progress.step, learner.progress.timesteps, first.timesteps), (1, 2 * 4, 2 * 4));
    let again = learner.numbers_of(sampler.batch(0, &[]));
    assert!(again.loss < first.loss, "{first:?}, then {again:?}");
}

#[test]
fn the_second_moments_forget_as_fast_as_is_said() {
    let losses = |beta2: &str| {
        let set = [&format!("train.beta2={beta2}"), "train.learning_rate=0.01", "train.warmup_steps=1", "policy.dropout=0"];
        let (mut learner, sampler) = learner(&set);
        [0, 1, 2].map(|step| learner.numbers_of(sampler.batch(step, &[])).loss)
    };
    // The first step has no moments to forget, the second one has.
    let (fast, slow) = (losses("0.5"), losses("0.999"));
    assert!((fast[1] - slow[1]).abs() < 1e-5 && (fast[2] - slow[2]).abs() > 1e-4, "{fast:?} {slow:?}");
}

#[test]
fn random_features_are_drawn_anew_when_they_are_due() {
    let weights_by_step = |set: &[&str]| {
        let (mut learner, sampler) = learner(&[&["policy.mixer=performer"], set].concat());
        learner.config.learning_rate = 0.0; // only the features change
        let mut found = vec![weights(&learner)];
        for step in 0..4 {
            learner.numbers_of(sampler.batch(step, &[]));
            found.push(weights(&learner));
        }
        found
    };
    let never = weights_by_step(&[]);
    assert!(never.iter().all(|found| *found == never[0]));
    let drawn = weights_by_step(&["policy.options.performer.redraw=2"]);
    let changes: Vec<bool> = drawn.windows(2).map(|pair| pair[0] != pair[1]).collect();
    assert_eq!(changes, [false, true, false, true]);
    assert!(drawn[0] == never[0] && drawn[2] != drawn[4] && drawn == weights_by_step(&["policy.options.performer.redraw=2"]));
    let refused =
        ["policy.mixer=performer", "policy.options.performer.redraw=2", "train.cut_segments=continue"].map(String::from);
    let said = format!("{:#}", OfflineJob::quickstart(&refused).unwrap_err());
    assert!(said.contains("performer.redraw: found 2 while"), "{said}");
}

#[test]
fn a_loss_that_is_not_finite_changes_nothing() {
    let (mut learner, sampler) = learner(&[]);
    learner.learn(sampler.batch(0, &[])).unwrap();
    let (before, progress) = (weights(&learner), learner.progress.clone());
    let mut broken = sampler.batch(1, &[]);
    broken.rows.actions[3] = f32::NAN;
    let message = learner.learn(broken).unwrap_err().to_string();
    assert!(message.contains("the loss is NaN at step 1"), "{message}");
    assert_eq!((weights(&learner), &learner.progress), (before, &progress));
}

#[test]
fn dropout_is_another_in_every_step_and_the_same_for_the_same_step() {
    let losses = || -> Vec<f64> {
        let (mut learner, sampler) = learner(&["policy.dropout=0.5"]);
        learner.config.learning_rate = 0.0; // only the dropout changes
        (0..3).map(|_| learner.numbers_of(sampler.batch(0, &[])).loss).collect()
    };
    let first = losses();
    assert!(first[0] != first[1] && first[1] != first[2] && first[0] != first[2], "{first:?}");
    assert_eq!(losses(), first);
}

#[test]
fn what_a_checkpoint_lacks_is_named() {
    let (mut learner, sampler) = learner(&["train.row_length=2", "train.cut_segments=continue"]);
    learner.learn(sampler.batch(0, &[])).unwrap();
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
    use std::process::Command;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    type Device = Autodiff<aaren_kernels::device::Vulkan>;

    /// The device, one test at a time: what fails on it fails on a thread that all share. A printed reason if there is none.
    fn device() -> Option<MutexGuard<'static, ()>> {
        static ALONE: Mutex<()> = Mutex::new(());
        aaren_kernels::device::vulkan().map_err(|reason| println!("skipped: {reason}")).ok()?;
        Some(ALONE.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Losses of 200 steps, one at a time.
    #[test]
    fn training_gives_the_losses_of_the_cpu() {
        let Some(_alone) = device() else { return };
        for mixer in ["aaren", "transformer"] {
            let mixer = format!("policy.mixer={mixer}");
            let settings = [&mixer[..], "policy.layers=1", "policy.dropout=0.1", "train.learning_rate=0.003"];
            let (mut on_cpu, sampler) = learner(&settings);
            let (mut on_device, _) = learner_on::<Device>(&settings);
            for step in 0..200 {
                let expected = on_cpu.numbers_of(sampler.batch(step, &[]));
                let unread = on_device.numbers_of(sampler.batch(step, &[]));
                assert_eq!((unread.loss, unread.gradient_norm), (0.0, 0.0), "nothing is read back inside a step");
                on_device.read_metrics().unwrap();
                let Interval { loss, gradient_norm: norm, .. } = on_device.progress.interval;
                assert!((loss - expected.loss).abs() <= 1e-3, "{mixer}, step {step}: {loss} is not {}", expected.loss);
                assert!((norm - expected.gradient_norm).abs() <= 1e-2 * expected.gradient_norm.max(1.0));
            }
        }
    }

    #[test]
    fn a_checkpoint_goes_on_on_either_device() {
        let Some(_alone) = device() else { return };
        let settings = ["train.row_length=2", "train.cut_segments=continue"];
        let (mut on_device, sampler) = learner_on::<Device>(&settings);
        on_device.learn(sampler.batch(0, &[])).unwrap();
        on_device.read_metrics().unwrap();
        let folder = tempfile::tempdir().unwrap();
        on_device.save(folder.path()).unwrap();
        let mut on_cpu = learner(&settings).0.load(folder.path()).unwrap();
        let mut resumed = learner_on::<Device>(&settings).0.load(folder.path()).unwrap();
        assert_eq!(on_cpu.progress, on_device.progress);
        let batch = || sampler.batch(1, &on_device.progress.cut.clone());
        let expected = on_cpu.numbers_of(batch()).loss;
        let before = resumed.progress.interval.loss;
        resumed.learn(batch()).unwrap();
        resumed.read_metrics().unwrap();
        let found = resumed.progress.interval.loss - before;
        assert!((found - expected).abs() < 1e-4, "{found} is not {expected}");
    }

    /// In a process of its own: a device that has failed is of no use to the tests after it.
    #[test]
    fn what_does_not_fit_is_named_with_its_bytes() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let output =
            alone.args(["--exact", "offline::learner::tests::vulkan::a_tebibyte_is_refused", "--ignored"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "breaks the device for this process; what_does_not_fit_is_named_with_its_bytes runs it"]
    fn a_tebibyte_is_refused() {
        let Some(_alone) = device() else { return };
        let read =
            on_device::<Device, _>(|| Tensor::<Device, 1>::empty([1_usize << 38], &Device::device()).slice(0..1).into_data());
        let message = read.unwrap_err().to_string();
        assert!(message.contains("no memory for a buffer of 1099511627776 bytes; lower train.batch_size"), "{message}");
    }

    #[test]
    fn a_loss_that_is_not_finite_is_found_before_anything_is_saved() {
        let Some(_alone) = device() else { return };
        let (mut learner, sampler) = learner_on::<Device>(&[]);
        learner.learn(sampler.batch(0, &[])).unwrap();
        learner.read_metrics().unwrap();
        let mut broken = sampler.batch(1, &[]);
        broken.rows.actions[3] = f32::NAN;
        learner.learn(broken).unwrap();
        learner.learn(sampler.batch(2, &[])).unwrap();
        let message = learner.read_metrics().unwrap_err().to_string();
        assert!(message.contains("in steps 1 to 2"), "{message}");
        let folder = tempfile::tempdir().unwrap();
        assert!(learner.save(folder.path()).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

/// Every parameter by name.
fn parameters(learner: &Learner) -> BTreeMap<String, Vec<f32>> {
    let snapshots = learner.network().collect(None, None, false);
    snapshots.iter().map(|one| (one.full_path(), one.to_data().unwrap().to_vec().unwrap())).collect()
}

#[test]
fn weight_decay_leaves_mambas_decay_and_skip_alone() {
    let after_a_step = |decay: &str| {
        let (mut learner, sampler) = learner(&["policy.mixer=mamba", "train.learning_rate=0.1", "train.warmup_steps=0", decay]);
        learner.learn(sampler.batch(0, &[])).unwrap();
        parameters(&learner)
    };
    let (with, without) = (after_a_step("train.weight_decay=0.5"), after_a_step("train.weight_decay=0"));
    let before = parameters(&learner(&["policy.mixer=mamba"]).0);
    // What begins at 0 has nothing to decay.
    let could_decay = before.iter().filter(|(_, values)| values.iter().any(|&value| value != 0.0)).map(|(name, _)| name);
    let (left_alone, decayed): (Vec<&String>, Vec<&String>) = could_decay.partition(|&name| with[name] == without[name]);
    assert!(left_alone.iter().all(|name| ["decay_log", "skip"].contains(&name.rsplit('.').next().unwrap())), "{left_alone:?}");
    assert!(left_alone.len() == 2 * 2 && decayed.len() > 20, "{left_alone:?}, {decayed:?}");
    assert!(left_alone.iter().all(|&name| with[name] != before[name]), "they learn");
}

#[test]
fn a_stored_optimizer_finds_the_moments_of_undecayed_parameters_again() {
    let settings = ["policy.mixer=mamba", "train.weight_decay=0.5", "train.learning_rate=0.1"];
    let (mut unbroken, sampler) = learner(&settings);
    unbroken.learn(sampler.batch(0, &[])).unwrap();
    let folder = tempfile::tempdir().unwrap();
    unbroken.save(folder.path()).unwrap();
    let mut resumed = learner(&settings).0.load(folder.path()).unwrap();
    for learner in [&mut unbroken, &mut resumed] {
        learner.learn(sampler.batch(1, &[])).unwrap();
    }
    assert_eq!(weights(&resumed), weights(&unbroken));
}

/// The mean loss of the last fifty of 200 steps.
fn loss_after_200_steps<B: TrainBackend>(precision: &str) -> f64 {
    let precision = format!("train.precision={precision}");
    let (mut learner, sampler) = learner_on::<B>(&["train.learning_rate=0.002", "train.warmup_steps=20", &precision]);
    for step in 0..200 {
        if step == 150 {
            learner.read_metrics().unwrap();
            learner.progress.interval = Interval::default();
        }
        learner.learn(sampler.batch(step, &[])).unwrap();
    }
    learner.read_metrics().unwrap();
    learner.progress.interval.loss / 50.0
}

/// Within a hundredth of what is expected, and not the same: then nothing would have been rounded.
fn assert_alike(loss: f64, expected: f64, what: &str) {
    println!("{what}: a loss of {loss}, and {expected}");
    assert!((loss / expected - 1.0).abs() < 0.01 && loss != expected, "{what}: a loss of {loss}, and {expected}");
}

#[test]
fn rounded_factors_learn_what_single_precision_learns() {
    let single = loss_after_200_steps::<Graph>("f32");
    let (mut untrained, sampler) = learner(&[]);
    let first = untrained.numbers_of(sampler.batch(0, &[])).loss;
    assert!(single < 0.5 * first, "from {first} to {single} is no learning");
    for precision in ["tf32", "bf16"] {
        assert_alike(loss_after_200_steps::<Graph>(precision), single, &format!("{precision} and f32"));
    }
    assert_eq!(loss_after_200_steps::<Graph>("f32"), single, "trainings do not disturb each other");
}

/// A device is settled for one way to multiply: TF32 is another process's (scripts/gpu.sh trains in it).
#[cfg(feature = "cuda")]
#[test]
fn law_of_precision_bfloat16_learns_on_cuda_what_single_precision_learns() {
    use crate::config::{Device, Precision};
    type Card = burn::backend::Autodiff<aaren_kernels::device::Cuda>;
    if let Err(reason) = crate::device::require(Device::Cuda, Precision::Bf16) {
        return println!("skipped: {reason}");
    }
    let rounded = loss_after_200_steps::<Card>("bf16");
    assert_alike(rounded, loss_after_200_steps::<Card>("f32"), "bf16 and f32 on CUDA");
    assert_alike(rounded, loss_after_200_steps::<Graph>("bf16"), "bf16 on CUDA and on the CPU");
    let refused = crate::device::require(Device::Cuda, Precision::Tf32).unwrap_err().to_string();
    assert!(refused.contains("train.precision: found \"tf32\"") && refused.contains("another process"), "{refused}");
}
