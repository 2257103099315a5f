//! Options of a training: averaged weights, learning rates, early stopping, evaluation beside the training, several seeds.

use std::fs;
use std::path::Path;

use crate::common::*;
use aaren_agents::config::{Changes, Job};
use aaren_agents::offline::{self, trajectories};
use aaren_agents::ppo;
use aaren_agents::run::RunDir;
use aaren_agents::session::NoObserver;
use serde_json::Value;

/// A pair of MLPs, five iterations of 96 steps.
const PPO: &str = r#"{
    "env": {"id": "Pendulum-v1", "options": {"max_episode_steps": 20}},
    "ppo": {"hidden": [7, 5], "env_steps": 480, "envs": 6, "envs_per_group": 2, "rollout_len": 16, "minibatches": 3, "epochs": 2,
            "learning_rate": 0.01, "checkpoint_every": 96, "keep_checkpoints": 99},
    "evaluation": {"episodes": 2}
}"#;

fn changes(overrides: &[&str]) -> Changes {
    overrides.iter().map(ToString::to_string).collect::<Vec<_>>()[..].into()
}

fn train_online(path: &Path, overrides: &[&str]) {
    let job = Job::parse(PPO, &changes(overrides)).and_then(Job::ppo).unwrap();
    ppo::train(&job, &RunDir::create(path, &job, job.ppo.keep_checkpoints).unwrap(), false, &mut NoObserver).unwrap();
}

fn resume_online(path: &Path, overrides: &[&str]) {
    let mut run = RunDir::resume(path).unwrap();
    let job = run.job(&changes(overrides)).unwrap();
    run.update_job(&job).unwrap();
    ppo::train(&job.ppo().unwrap(), &run, true, &mut NoObserver).unwrap();
}

fn last_weights(run: &Path, step: u64) -> Vec<u8> {
    fs::read(checkpoint(run, step).join("last/weights.safetensors")).unwrap()
}

fn returns(path: &Path) -> Value {
    json(path)["targets"][0]["returns"].clone()
}

#[test]
fn an_average_of_the_weights_is_the_policy_and_a_broken_run_has_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, unbroken, broken] = ["plain", "unbroken", "broken"].map(|name| folder.path().join(name));
    train(&plain, &small(&[])).unwrap();
    let settings = small(&["train.ema=0.9", "evaluation.every=10"]);
    train(&unbroken, &settings).unwrap();
    train(&broken, &[&settings[..], &["train.steps=7"]].concat()).unwrap();
    resume(&broken, &["train.steps=20"]).unwrap();
    assert!(weights(&unbroken, 20) == weights(&broken, 20) && last_weights(&unbroken, 20) == last_weights(&broken, 20));
    assert!(last_weights(&unbroken, 20) == weights(&plain, 20), "an average changes the weights that it is made of");
    assert!(weights(&unbroken, 20) != weights(&plain, 20));
    assert_eq!(returns(&unbroken.join("evaluation-last.json")), returns(&plain.join("evaluation.json")));
    assert_eq!(steps_with(&unbroken, "evaluation_last/return_mean"), [10, 20]);
    // What is evaluated is what the checkpoint holds, and its other policy can be taken out of it.
    let before = returns(&unbroken.join("evaluation.json"));
    stdout(&mut aaren(folder.path(), &["evaluate", "unbroken", "--json", "again.json"], &[]));
    assert_eq!(returns(&folder.path().join("again.json")), before);
    stdout(&mut aaren(folder.path(), &["export", "unbroken/checkpoints/step-00000020/last", "exported"], &[]));
    assert!(fs::read(folder.path().join("exported/weights.safetensors")).unwrap() == weights(&plain, 20));
}

#[test]
fn an_average_of_a_policy_that_learns_online_leaves_its_learning_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let [plain, unbroken, broken] = ["plain", "unbroken", "broken"].map(|name| folder.path().join(name));
    train_online(&plain, &[]);
    train_online(&unbroken, &["ppo.ema=0.95"]);
    train_online(&broken, &["ppo.ema=0.95", "ppo.env_steps=192"]);
    resume_online(&broken, &["ppo.env_steps=480"]);
    assert!(weights(&unbroken, 480) == weights(&broken, 480) && last_weights(&unbroken, 480) == last_weights(&broken, 480));
    assert!(last_weights(&unbroken, 480) == weights(&plain, 480) && weights(&unbroken, 480) != weights(&plain, 480));
}

#[test]
fn learning_rates_fall_as_the_schedule_says_and_the_older_word_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let rates = |name: &str, overrides: &[&str]| -> Vec<f64> {
        let run = folder.path().join(name);
        train_online(&run, overrides);
        lines_with(&run, "train/learning_rate").iter().map(|line| line["train/learning_rate"].as_f64().unwrap() / 0.01).collect()
    };
    let near = |found: Vec<f64>, expected: [f64; 5]| {
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12), "{found:?}, {expected:?}");
    };
    near(rates("linear", &["ppo.schedule=linear"]), [1.0, 0.8, 0.6, 0.4, 0.2]);
    near(
        rates("cosine", &["ppo.schedule=cosine", "ppo.warmup_steps=96"]),
        [1.0, 1.0, 0.8535533905932737, 0.5, 0.14644660940672627],
    );
    near(rates("anneal", &["ppo.anneal=true"]), [1.0, 0.8, 0.6, 0.4, 0.2]);
    assert!(weights(&folder.path().join("anneal"), 480) == weights(&folder.path().join("linear"), 480));
    assert_eq!(json(&folder.path().join("anneal/config.json")), json(&folder.path().join("linear/config.json")));
    let refused = Job::parse(PPO, &changes(&["ppo.anneal=true", "ppo.schedule=cosine"])).unwrap_err();
    assert!(format!("{refused:#}").contains("leave out ppo.anneal"), "{refused:#}");
}

#[test]
fn a_training_whose_learning_rate_falls_is_not_made_longer() {
    let folder = tempfile::tempdir().unwrap();
    let (broken, unbroken) = (folder.path().join("broken"), folder.path().join("unbroken"));
    let settings =
        small(&["train.schedule=cosine", "train.warmup_steps=4", "train.checkpoint_every=8", "train.keep_checkpoints=9"]);
    train(&unbroken, &settings).unwrap();
    train(&broken, &settings).unwrap();
    let rates: Vec<f64> = metrics(&broken).iter().filter_map(|line| line["train/learning_rate"].as_f64()).collect();
    assert!((rates[0] - 0.0025).abs() < 1e-12 && (rates[12] - 0.005).abs() < 1e-12 && rates[19] < 0.0002, "{rates:?}");
    let refused = format!("{:#}", resume(&broken, &["train.steps=30"]).unwrap_err());
    assert!(refused.contains("train.steps"), "{refused}");
    [16, 20].iter().for_each(|&step| fs::remove_dir_all(checkpoint(&broken, step)).unwrap());
    resume(&broken, &[]).unwrap();
    assert!(weights(&broken, 20) == weights(&unbroken, 20));
}

/// Everything that a run leaves that does not say how long something took.
fn left(run: &Path) -> (Vec<Value>, Vec<String>, String, Value, Value) {
    let mut checkpoints: Vec<String> =
        fs::read_dir(run.join("checkpoints")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    checkpoints.sort();
    let best = fs::read_to_string(run.join("best")).unwrap();
    (
        lines_with(run, "step"),
        checkpoints,
        best,
        returns(&run.join("evaluation.json")),
        returns(&run.join("evaluation-best.json")),
    )
}

#[test]
fn an_evaluation_beside_the_training_leaves_what_one_that_is_waited_for_leaves() {
    let folder = tempfile::tempdir().unwrap();
    for more in [&[][..], &["train.ema=0.9", "evaluation.stop.patience=2"]] {
        let settings = [&["evaluation.every=6", "train.checkpoint_every=4", "evaluation.episodes=20"], more].concat();
        let [waited, beside] = ["waited", "beside"].map(|name| folder.path().join(format!("{name}-{}", more.len())));
        train(&waited, &small(&settings)).unwrap();
        train(&beside, &small(&[&settings[..], &["evaluation.beside=true"]].concat())).unwrap();
        assert_eq!(left(&waited), left(&beside));
        let step = json(&waited.join("train.json"))["steps"].as_u64().unwrap();
        assert!(weights(&waited, step) == weights(&beside, step));
        let seconds: Vec<f64> = metrics(&beside).iter().map(|line| line["wall_seconds"].as_f64().unwrap()).collect();
        assert!(seconds.is_sorted(), "{seconds:?}");
    }
}

#[test]
fn a_training_that_gets_no_better_ends_after_its_patience_and_goes_on_with_more() {
    for beside in ["evaluation.beside=false", "evaluation.beside=true"] {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let still = ["train.learning_rate=1e-12", "evaluation.every=2", "evaluation.stop.patience=3", beside];
        train(&run, &small(&still)).unwrap();
        assert_eq!(steps_with(&run, "evaluation/return_mean"), [2, 4, 6, 8], "the first is the best, then three are no better");
        assert_eq!(steps_with(&run, "train/loss"), Vec::from_iter(1..=8));
        assert!(checkpoint(&run, 8).exists() && json(&run.join("evaluation.json"))["checkpoint_step"] == 8);
        resume(&run, &[]).unwrap();
        assert_eq!(steps_with(&run, "train/loss").len(), 8, "it stays ended");
        resume(&run, &["evaluation.stop.patience=5"]).unwrap();
        assert_eq!(steps_with(&run, "evaluation/return_mean"), [2, 4, 6, 8, 10, 12]);
    }
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("online");
    let still =
        ["ppo.learning_rate=1e-12", "ppo.normalise_observations=false", "evaluation.every=96", "evaluation.stop.patience=2"];
    train_online(&run, &still);
    assert_eq!(steps_with(&run, "evaluation/return_mean"), [96, 192, 288]);
    let refused = Job::parse(PPO, &changes(&["evaluation.stop.patience=2"])).unwrap_err();
    assert!(format!("{refused:#}").contains("evaluation.every is 0"), "{refused:#}");
}

#[test]
fn an_evaluation_that_fails_beside_the_training_ends_it() {
    const ID: &str = "test/Burning-v0";
    struct Burning(aaren_envs::Spec);
    impl aaren_envs::Task for Burning {
        fn observation_space(&self) -> aaren_envs::Space {
            self.0.observation_space.clone()
        }
        fn action_space(&self) -> aaren_envs::Space {
            self.0.action_space.clone()
        }
        fn max_episode_steps(&self) -> Option<usize> {
            Some(5)
        }
        fn reset(&mut self, _: &mut aaren_envs::Generator, _: &mut [f64]) -> Result<(), aaren_envs::EnvError> {
            panic!("the maze burned down")
        }
        fn step(&mut self, _: aaren_envs::Action<'_>, _: &mut [f64]) -> Result<aaren_envs::Outcome, aaren_envs::EnvError> {
            unreachable!("there is no first observation")
        }
    }
    let maze = aaren_envs::make("TMaze-v0", &serde_json::Map::new()).unwrap().spec().clone();
    aaren_envs::register(ID, "a maze that burns", move |options| {
        aaren_envs::TimeLimit::boxed(Burning(maze.clone()), &aaren_envs::Options::new(ID, &[], options)?)
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut job = job(&small(&["evaluation.every=4", "evaluation.beside=true", "train.steps=1000"]));
    let dataset = trajectories(&job).unwrap();
    job.env = Some(aaren_agents::config::EnvConfig { id: ID.into(), options: serde_json::Map::new() });
    let run = RunDir::create(&path, &job, 2).unwrap();
    let said = format!("{:#}", offline::train(&job, dataset, &run, false).unwrap_err());
    assert!(said.contains("the maze burned down") && said.contains("aaren train --resume"), "{said}");
    assert!(checkpoint(&path, 4).exists() && !checkpoint(&path, 8).exists());
}

#[test]
fn several_seeds_are_a_run_each_and_end_with_their_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let aaren_in = |arguments: &[&str], overrides: &[&str]| stdout(&mut aaren(folder.path(), arguments, overrides));
    let settings = small(&["train.checkpoint_every=10"]);
    let said = aaren_in(&["train", "--seeds", "1..2", "--run", "maze"], &settings);
    assert!(said.contains("maze-seed1: mean return") && said.contains("`aaren compare maze-seed1 maze-seed2`"), "{said}");
    let run = |seed: u64| folder.path().join(format!("maze-seed{seed}"));
    aaren_in(&["train", "--seed", "2", "--run", "alone"], &settings);
    assert!(weights(&run(2), 20) == weights(&folder.path().join("alone"), 20));
    // The second was killed, and there is one more, of the job of the others.
    fs::remove_dir_all(checkpoint(&run(2), 20)).unwrap();
    let said = aaren_in(&["train", "--resume", "--seeds", "1..3", "--run", "maze"], &[]);
    assert!(said.contains("maze-seed1: finished before") && said.contains("maze-seed2: mean return"), "{said}");
    assert!(weights(&run(2), 20) == weights(&folder.path().join("alone"), 20));
    assert_eq!((json(&run(3).join("config.json"))["seed"].as_u64(), checkpoint(&run(3), 20).exists()), (Some(3), true));
    // Without --resume nothing of it is touched.
    let refused = aaren(folder.path(), &["train", "--seeds", "3,4", "--run", "maze"], &settings).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("maze-seed3 is not empty") && !run(4).exists(), "{said}");
}
