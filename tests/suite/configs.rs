//! Every job in `configs/` and `configs/ppo/` starts: its policy is built, its data is there or said to be missing, and a step is made.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::lines_with;
use aaren_agents::config::{Changes, Job};
use aaren_agents::run::RunDir;
use aaren_agents::session::NoObserver;
use aaren_agents::{offline, ppo};

fn load(files: &[&str], set: &[&str]) -> Job {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let files: Vec<PathBuf> = files.iter().map(|file| configs.join(file)).collect();
    let set = set.iter().map(ToString::to_string).collect();
    Job::load(&files, &Changes { set, ..Changes::default() }).unwrap_or_else(|error| panic!("{error:#}"))
}

/// Why a job cannot run here, if it cannot.
fn missing(job: &Job) -> Option<String> {
    aaren_envs::tasks()
        .into_iter()
        .find(|task| task.id == job.env().unwrap().id)
        .unwrap()
        .missing()
        .map(|missing| missing.to_string())
}

#[test]
fn every_job_makes_a_step() {
    let runs = tempfile::tempdir().unwrap();
    let mut made = 0;
    for files in [&["quickstart.toml"][..], &["quickstart.toml", "window.toml"], &["hopper-medium.toml"]] {
        let job = load(files, &["train.batch_size=4", "train.steps=1", "evaluation.final_episodes=1"]);
        if let Some(missing) = missing(&job) {
            println!("skipped: {files:?}: {missing}");
            continue;
        }
        let mut job = job.offline().unwrap();
        // Fewer episodes and rows are another draw from the same job.
        job.data.scripted.iter_mut().for_each(|scripted| scripted.episodes = 20);
        let dataset = match offline::trajectories(&job) {
            Ok(dataset) => dataset,
            Err(error) if job.data.source.is_some() => {
                println!("skipped: {files:?}: {error:#}");
                continue;
            }
            Err(error) => panic!("{files:?}: {error:#}"),
        };
        let run = RunDir::create(&runs.path().join(files.concat()), &job, 2).unwrap();
        let (summary, _) = offline::train(&job, dataset, &run, false).unwrap();
        assert_eq!(summary.steps, 1, "{files:?}");
        let line = &lines_with(run.path(), "train/gradient_norm")[0];
        assert!(line["train/gradient_norm"].as_f64().unwrap() > 0.0, "{files:?}: {line}");
        println!("{files:?}: {line}");
        made += 1;
    }
    assert!(made >= 2, "only {made} jobs made a step");
}

#[test]
fn every_online_job_makes_an_iteration() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/ppo");
    let runs = tempfile::tempdir().unwrap();
    let mut made = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let short = ["ppo.env_steps=1", "ppo.epochs=1", "evaluation.every=0", "evaluation.final_episodes=1"];
        let job = load(&[&format!("ppo/{name}")], &short);
        if let Some(missing) = missing(&job) {
            println!("skipped: {name}: {missing}");
            continue;
        }
        let job = job.ppo().unwrap();
        let run = RunDir::create(&runs.path().join(&name), &job, 2).unwrap();
        let (summary, report) = ppo::train(&job, &run, false, &mut NoObserver).unwrap();
        let expected = (job.ppo.minibatches as u64, (job.ppo.envs * job.ppo.rollout_len) as u64);
        assert_eq!((summary.steps, summary.timesteps), expected, "{name}");
        assert!(report.targets[0].return_mean.is_finite(), "{name}");
        made += 1;
    }
    assert!(made >= 4, "only {made} jobs made an iteration");
}
