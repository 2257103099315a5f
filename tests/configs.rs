//! Every job in `configs/` and `configs/ppo/` starts: its policy is built, its data is there or said to be missing, and a step is made.

mod common;

use std::{fs, path::Path, sync::Arc};

use aaren_agents::{
    config::JobConfig,
    offline::{
        data,
        learner::Learner,
        segments::{SegmentSampler, SegmentSource},
        train,
    },
    ppo,
    run::RunDir,
};

#[test]
fn every_job_makes_a_step() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    // Collections make no optimizer step; tests/collect.rs reads them.
    files.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("collect-")));
    files.sort();
    let mut made = 0;
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let job = JobConfig::load(&path, &[]).unwrap_or_else(|error| panic!("{error:#}"));
        // Fewer episodes and rows are another draw from the same job.
        let scripted = job.data.scripted.is_some().then(|| "data.scripted.episodes=20".to_string());
        let overrides: Vec<String> = scripted.into_iter().chain(["train.batch_size=4".into()]).collect();
        let job = JobConfig { evaluation: job.evaluation, ..JobConfig::load(&path, &overrides).unwrap() };
        if let Some(missing) = aaren_envs::tasks().iter().find(|task| task.id == job.env.id).unwrap().missing() {
            println!("skipped: {name}: {missing}");
            continue;
        }
        let dataset = match data::trajectories(&job) {
            Ok(dataset) => dataset,
            Err(error) if job.data.source.is_some() => {
                println!("skipped: {name}: {error:#}");
                continue;
            }
            Err(error) => panic!("{name}: {error:#}"),
        };
        let description = train::describe(&job, &dataset).unwrap();
        let mut learner: Learner = Learner::new(description.clone(), &job.train, job.seed).unwrap();
        let source = Arc::new(SegmentSource::new(dataset).unwrap());
        let sampler = SegmentSampler::new(source, description, &job.train, job.seed);
        let update = learner.update(sampler.batch(0, &[])).unwrap();
        assert!(update.measured.unwrap().gradient_norm > 0.0, "{name}: {update:?}");
        println!("{name}: {update:?}");
        made += 1;
    }
    assert!(made >= 3, "only {made} jobs made a step");
}

#[test]
fn every_online_job_makes_an_iteration() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/ppo");
    let runs = tempfile::tempdir().unwrap();
    let mut made = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let short = ["ppo.env_steps=1", "ppo.epochs=1", "evaluation.every=0", "evaluation.final_episodes=1"];
        let job = JobConfig::load(&path, &short.map(String::from)).unwrap_or_else(|error| panic!("{error:#}"));
        if let Some(missing) = aaren_envs::tasks().iter().find(|task| task.id == job.env.id).unwrap().missing() {
            println!("skipped: {name}: {missing}");
            continue;
        }
        let config = job.ppo.as_ref().unwrap();
        let run = RunDir::create(&runs.path().join(&name), &job).unwrap();
        let (summary, report) = ppo::train(&job, &run, false, &mut ppo::NoObserver).unwrap();
        assert_eq!((summary.steps, summary.timesteps), (config.minibatches as u64, config.steps_per_iteration()), "{name}");
        assert!(report.targets[0].return_mean.is_finite(), "{name}");
        made += 1;
    }
    assert!(made >= 4, "only {made} jobs made an iteration");
}
