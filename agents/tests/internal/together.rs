//! Whoever works on the shards of a batch, the training is the same, bit for bit: here on ranks that are threads of one process.
//! `tests/suite/distributed.rs` does it with processes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::config::{Job, OfflineJob, PpoJob};
use crate::exchange::channels::on_ranks;
use crate::exchange::{Ranks, SharedRun};
use crate::offline::{self, trajectories};
use crate::optim::moments::moments_in;
use crate::run::RunDir;
use crate::run::report::{EvaluationReport, TrainSummary};
use crate::session::NoObserver;
use crate::{ppo, run};

/// A job of a second.
const SMALL: &[&str] = &[
    "env.options.corridor=6",
    "data.scripted.episodes=20",
    "policy.width=16",
    "policy.heads=2",
    "policy.layers=2",
    "policy.feed_forward=24",
    "policy.max_timesteps=8",
    "policy.dropout=0.1",
    "train.steps=6",
    "train.batch_size=8",
    "train.row_length=5",
    "train.learning_rate=0.01",
    "train.warmup_steps=2",
    "train.log_every=2",
    "train.checkpoint_every=3",
    "train.keep_checkpoints=9",
    "evaluation.every=3",
    "evaluation.episodes=3",
    "evaluation.final_episodes=5",
    "evaluation.envs_per_actor=2",
];

fn job(settings: &[&str]) -> OfflineJob {
    OfflineJob::quickstart(&[SMALL, settings].concat().iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

fn ppo_job(text: &str, settings: &[&str]) -> PpoJob {
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    Job::parse(text, &settings[..].into()).unwrap().ppo().unwrap()
}

/// On pendulums that an MLP or Aaren balances; four minibatches of four groups, or of as many timesteps.
const PPO: &str = r#"{
    "env": {"id": "Pendulum-v1", "options": {"max_episode_steps": 23}},
    "ppo": {"env_steps": 768, "envs": 16, "envs_per_group": 2, "rollout_len": 16, "minibatches": 2, "epochs": 2, "target_kl": 0.02,
            "checkpoint_every": 256, "keep_checkpoints": 9, "hidden": [16], "shards": 4, "ema": 0.9},
    "evaluation": {"episodes": 5, "every": 512, "envs_per_actor": 2}
}"#;
const AAREN: [&str; 2] =
    ["ppo.network=recurrent", r#"policy={"mixer": "aaren", "width": 12, "heads": 2, "layers": 1, "feed_forward": 16}"#];

/// Steps and bytes, by parameter.
type Moments = BTreeMap<String, (usize, Vec<u8>, Vec<u8>)>;

/// Everything that a training leaves but how long it took.
#[derive(Debug, PartialEq)]
struct Left {
    weights: BTreeMap<String, Vec<u8>>,
    moments: BTreeMap<String, Moments>,
    /// States of rows, and of environments.
    states: BTreeMap<String, Vec<u8>>,
    progress: BTreeMap<String, Value>,
    log: Vec<Value>,
    evaluations: Vec<Value>,
}

fn untimed(mut value: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.retain(|name, _| !["second", "time/", "latency"].iter().any(|word| name.contains(word)) && name != "run");
                fields.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value
}

fn left(run: &Path) -> Left {
    let mut left = Left {
        weights: BTreeMap::new(),
        moments: BTreeMap::new(),
        states: BTreeMap::new(),
        progress: BTreeMap::new(),
        log: Vec::new(),
        evaluations: Vec::new(),
    };
    for entry in fs::read_dir(run.join("checkpoints")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        let read = |file: &str| fs::read(folder.join(file)).ok();
        left.weights.insert(
            name.clone(),
            [read("weights.safetensors").unwrap(), read("last/weights.safetensors").unwrap_or_default()].concat(),
        );
        left.moments.insert(name.clone(), moments_in(&folder.join("optimizer.mpk")));
        left.states.insert(name.clone(), read("state.mpk").or_else(|| read("environments.mpk")).unwrap_or_default());
        left.progress.insert(name, untimed(serde_json::from_slice(&read("progress.json").unwrap()).unwrap()));
    }
    let lines = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    left.log = lines.lines().map(|line| untimed(serde_json::from_str(line).unwrap())).collect();
    for name in ["train.json", "evaluation.json", "evaluation-best.json"] {
        left.evaluations.push(untimed(serde_json::from_slice(&fs::read(run.join(name)).unwrap()).unwrap()));
    }
    left
}

type Results = Result<(TrainSummary, EvaluationReport)>;

/// Trains on so many ranks in a new run folder, or goes on with the one that is there.
fn train_on(size: usize, folder: &Path, job: &Job) -> Vec<Results> {
    let resume = folder.join("config.json").is_file();
    on_ranks(size, |ranks: &Ranks| -> Results {
        let run = ranks.is_first().then(|| match resume {
            true => RunDir::resume(folder).unwrap(),
            false => RunDir::create(folder, job, job.keep_checkpoints()).unwrap(),
        });
        let run = SharedRun::new(run.as_ref(), ranks);
        match job {
            Job::Offline(job) => offline::train_together(job, trajectories(job)?, run, resume),
            Job::Ppo(job) => ppo::train_together(job, run, resume, &mut NoObserver),
            Job::Sequence(job) => offline::train_sequences(job, crate::sequence::make(&job.task, job.seed)?, run, resume),
            Job::Collect(_) => unreachable!("no such job here"),
        }
    })
}

/// What is left of a training on so many ranks, whose results are the same on all.
fn trained(size: usize, job: &Job) -> Left {
    let folder = tempfile::tempdir().unwrap();
    let results = train_on(size, &folder.path().join("run"), job);
    let results: Vec<_> = results.into_iter().map(|result| result.map(|(_, report)| report.targets).unwrap()).collect();
    assert!(results.iter().all(|targets| *targets == results[0]));
    left(&folder.path().join("run"))
}

fn assert_alike(job: &Job) -> Left {
    let alone = trained(1, job);
    for size in [2, 4] {
        let found = trained(size, job);
        // What can be read is compared first: it says more than bytes that differ.
        assert_eq!(found.log, alone.log, "{size} ranks");
        assert_eq!(found.evaluations, alone.evaluations, "{size} ranks");
        assert_eq!(found.progress, alone.progress, "{size} ranks");
        assert!(found.states == alone.states, "states of {size} ranks");
        assert!(found.moments == alone.moments, "moments of {size} ranks");
        assert!(found == alone, "weights of {size} ranks");
    }
    alone
}

#[test]
fn any_number_of_ranks_learns_the_same_from_trajectories() {
    for cut in ["drop", "continue"] {
        let settings = [format!("train.cut_segments={cut}"), "train.shards=4".into()];
        let left = assert_alike(&Job::Offline(job(&settings.iter().map(String::as_str).collect::<Vec<_>>())));
        assert_eq!(left.states["step-00000003"].is_empty(), cut == "drop");
        assert_eq!(left.weights.len(), 2, "{:?}", left.weights.keys());
    }
}

#[test]
fn any_number_of_ranks_learns_the_same_of_sequences() {
    let text = r#"{"task": {"kind": "mqar", "vocabulary": 16, "length": 8, "pairs": 2, "validation_examples": 5, "test_examples": 5},
        "policy": {"width": 8, "feed_forward": 8, "layers": 1}, "evaluation": {"every": 3},
        "train": {"steps": 6, "batch_size": 8, "shards": 4, "row_length": 10, "cut_segments": "continue", "log_every": 1}}"#;
    let left = assert_alike(&Job::parse(text, &Default::default()).unwrap());
    assert!(!left.states["step-00000003"].is_empty());
}

#[test]
fn any_number_of_ranks_learns_the_same_online() {
    assert_alike(&Job::Ppo(ppo_job(PPO, &[])));
    let left = assert_alike(&Job::Ppo(ppo_job(PPO, &AAREN)));
    assert!(left.log.iter().any(|line| line["train/approx_kl"].as_f64().is_some_and(|kl| kl > 0.0)));
}

#[test]
fn another_number_of_ranks_goes_on_to_the_same_bits() {
    let offline = Job::Offline(job(&["train.cut_segments=continue", "train.shards=4"]));
    let online = Job::Ppo(ppo_job(PPO, &AAREN));
    for (job, steps) in [(offline, ["step-00000003", "step-00000006"]), (online, ["step-00000256", "step-00000768"])] {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        train_on(4, &run, &job);
        let unbroken = left(&run);
        // As a kill after the first checkpoint leaves it.
        for checkpoint in fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().path()) {
            if !checkpoint.ends_with(steps[0]) {
                fs::remove_dir_all(checkpoint).unwrap();
            }
        }
        ["train.json", "evaluation.json", "evaluation-best.json", "best"]
            .iter()
            .for_each(|name| fs::remove_file(run.join(name)).unwrap());
        train_on(2, &run, &job).into_iter().for_each(|result| drop(result.unwrap()));
        let resumed = left(&run);
        assert_eq!(resumed.weights[steps[1]], unbroken.weights[steps[1]]);
        assert!(resumed == unbroken);
    }
}

#[test]
fn shards_change_nothing_but_the_rounding() {
    let steps = |shards: &str, settings: &[&str]| -> Vec<(f64, f64)> {
        let folder = tempfile::tempdir().unwrap();
        let plain = ["policy.dropout=0", "train.log_every=1", "train.checkpoint_every=100", "evaluation.every=0"];
        let job = Job::Offline(job(&[&plain[..], &[shards], settings].concat()));
        train_on(1, &folder.path().join("run"), &job).remove(0).unwrap();
        let number = |line: &Value, name: &str| line[name].as_f64();
        let log = left(&folder.path().join("run")).log;
        log.iter().filter_map(|line| Some((number(line, "train/loss")?, number(line, "train/gradient_norm")?))).collect()
    };
    for cut in ["train.cut_segments=drop", "train.cut_segments=continue"] {
        let (whole, cut) = (steps("train.shards=1", &[cut, "train.steps=50"]), steps("train.shards=4", &[cut, "train.steps=50"]));
        assert_eq!((whole.len(), cut.len()), (50, 50));
        let (first, other) = (whole[0], cut[0]);
        assert!((first.1 - other.1).abs() < 1e-5 * first.1, "the norm of the first gradient: {first:?}, {other:?}");
        let (last, other) = (whole[49].0, cut[49].0);
        assert!((last - other).abs() < 1e-3, "{last}, {other}");
    }
}

#[test]
fn other_data_are_refused_by_all_with_the_rank_that_has_them() {
    let errors = on_ranks(3, |ranks| {
        let settings: &[&str] = if ranks.rank() == 2 { &["data.scripted.episodes=19"] } else { &[] };
        let data = trajectories(&job(settings)).unwrap();
        let mark = run::data_mark::DataMark::of(&data);
        format!("{:#}", mark.expect_alike(&ranks.gather_values(mark).unwrap()).unwrap_err())
    });
    let expected =
        |said: &String| said.starts_with("rank 2 has another dataset than rank 0: 19 episodes") && said.contains("20 episodes");
    assert!(errors.iter().all(expected), "{errors:?}");
}

#[test]
fn weights_that_drift_apart_are_an_error_at_the_next_line_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let errors = on_ranks(2, |ranks| {
        let rate = if ranks.is_first() { "train.learning_rate=0.01" } else { "train.learning_rate=0.0100001" };
        let job = job(&["train.shards=2", rate]);
        let own = ranks.is_first().then(|| RunDir::create(&run, &job, 9).unwrap());
        let shared = SharedRun::new(own.as_ref(), ranks);
        format!("{:#}", offline::train_together(&job, trajectories(&job).unwrap(), shared, false).unwrap_err())
    });
    assert!(errors.iter().all(|said| said.contains("after step 2 rank 1 has other weights than rank 0")), "{errors:?}");
}
