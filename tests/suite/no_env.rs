//! Training on data without an environment: judged by the loss on held-out episodes, from the job to the comparison.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{aaren, job, json, metrics, small, stdout, train, weights};
use aaren_agents::compare::{CompareOptions, compare};
use aaren_agents::config::{Changes, Job, OfflineJob};
use aaren_agents::offline::{self, trajectories};
use aaren_agents::run::RunDir;
use aaren_agents::run::report::{EvaluationReport, NO_ENV, TrainSummary};

/// A dataset of the maze in a folder, recorded by a script that is right half of the time.
fn maze(folder: &Path) -> PathBuf {
    let path = folder.join("maze-v0");
    let dataset = trajectories(&job(&small(&["data.scripted.quality=0.5"]))).unwrap();
    aaren_data::save(&dataset, &path, aaren_data::Format::Minari, false).unwrap();
    path
}

/// A small job on a dataset alone.
fn on_data(data: &Path, set: &[&str]) -> OfflineJob {
    let text = r#"{"policy": {"width": 16, "heads": 2, "feed_forward": 32, "layers": 1, "max_timesteps": 8},
                   "train": {"steps": 20, "batch_size": 4, "learning_rate": 0.01, "log_every": 5, "context_length": 3},
                   "evaluation": {"every": 5}}"#;
    let set = set.iter().map(ToString::to_string).collect();
    let changes = Changes { set, data: vec![data.to_str().unwrap().into()], ..Changes::default() };
    Job::parse(text, &changes).and_then(Job::offline).unwrap_or_else(|error| panic!("{error:#}"))
}

fn trained(run: &Path, job: &OfflineJob) -> (TrainSummary, EvaluationReport) {
    let run = RunDir::create(run, job, job.train.keep_checkpoints).unwrap();
    offline::train(job, trajectories(job).unwrap(), &run, false).unwrap()
}

#[test]
fn a_job_without_an_environment_takes_all_from_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let (data, run) = (maze(folder.path()), folder.path().join("run"));
    let (summary, report) = trained(&run, &on_data(&data, &[]));
    let validation = report.validation.unwrap();
    assert_eq!((summary.steps, &*report.env_id, report.targets.len()), (20, NO_ENV, 0));
    assert_eq!((validation.episodes, validation.timesteps), (3, 21), "a tenth of 30 episodes of 7 steps");
    let said = report.to_string();
    assert!(said.contains("on 3 held-out episodes (21 timesteps)") && said.contains("--env"), "{said}");
    assert_eq!(json(&run.join("evaluation.json"))["validation"]["loss"], validation.loss);
    let lines = metrics(&run);
    let losses: Vec<(u64, f64)> =
        lines.iter().filter_map(|line| Some((line["step"].as_u64()?, line.get("validation/loss")?.as_f64()?))).collect();
    assert_eq!(losses.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [5, 10, 15, 20]);
    assert_eq!(losses[3].1, validation.loss);
    assert!(lines.iter().all(|line| line.get("evaluation/return_mean").is_none()));
    let events = fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().path());
    let events = events.filter(|path| path.to_string_lossy().contains("tfevents"));
    let tagged = events.map(|path| fs::read(path).unwrap()).any(|bytes| bytes.windows(15).any(|tag| tag == b"validation/loss"));
    assert!(tagged, "TensorBoard has the loss");
    // The best checkpoint is that of the smallest loss, the later one of two.
    let least = losses.iter().copied().reduce(|best, other| if other.1 <= best.1 { other } else { best }).unwrap();
    assert_eq!(RunDir::open(&run).unwrap().best().unwrap(), Some((least.0, -least.1)));
    assert_eq!(json(&run.join("evaluation-best.json"))["validation"]["loss"], least.1);
    let config = json(&run.join("config.json"));
    assert!(config.get("env").is_none(), "{config}");
    assert_eq!(
        (&config["data"]["validation"], &config["evaluation"]["target_returns"]),
        (&0.1.into(), &serde_json::json!([1.0]))
    );
    assert_eq!(config["policy"]["return_scale"], 1.0);
}

#[test]
fn a_broken_training_on_data_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let data = maze(folder.path());
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let (_, report) = trained(&whole, &on_data(&data, &[]));
    trained(&broken, &on_data(&data, &["train.steps=10", "train.warmup_steps=2"]));
    let mut run = RunDir::resume(&broken).unwrap();
    let refused = run.job(&["data.validation=0.5".to_string()][..].into()).unwrap();
    assert!(format!("{:#}", run.update_job(&refused).unwrap_err()).contains("data.validation"));
    let job = run.job(&["train.steps=20".to_string()][..].into()).unwrap();
    run.update_job(&job).unwrap();
    let job = job.offline().unwrap();
    let (_, resumed) = offline::train(&job, trajectories(&job).unwrap(), &run, true).unwrap();
    assert_eq!(weights(&whole, 20), weights(&broken, 20));
    assert_eq!(report.validation, resumed.validation);
}

#[test]
fn a_policy_of_data_plays_once_its_task_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = maze(folder.path());
    trained(&folder.path().join("run"), &on_data(&data, &[]));
    let refused = aaren(folder.path(), &["evaluate", "run"], &[]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.starts_with("error: run: ") && said.contains("--env"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    let report = stdout(&mut aaren(folder.path(), &["evaluate", "run", "--env", "TMaze-v0", "--episodes", "2", "--json"], &[]));
    let report: EvaluationReport = serde_json::from_str(&report).unwrap();
    assert_eq!((&*report.env_id, report.targets[0].target_return, report.targets[0].episodes), ("TMaze-v0", Some(1.0), 2));
    // Runs are compared by what they reached there, if that is asked for.
    let name = "step-20-env-TMaze-v0-episodes-2";
    assert!(stdout(&mut aaren(folder.path(), &["evaluate", "run", "--env", "TMaze-v0", "--episodes", "2"], &[])).contains(name));
    let other = aaren(folder.path(), &["evaluate", "run", "--env", "Pendulum-v1"], &[]).output().unwrap();
    assert!(String::from_utf8_lossy(&other.stderr).contains("its policy takes 3 numbers"), "{other:?}");
}

#[test]
fn runs_without_an_environment_are_compared_by_their_losses() {
    let folder = tempfile::tempdir().unwrap();
    let data = maze(folder.path());
    let run = |name: &str, set: &[&str]| {
        let path = folder.path().join(name);
        let (_, report) = trained(&path, &on_data(&data, set));
        (path, report.validation.unwrap().loss)
    };
    // One agent learns next to nothing.
    let slow = "train.learning_rate=1e-9";
    let runs = [run("a1", &[]), run("a2", &["seed=2"]), run("b1", &[slow]), run("b2", &[slow, "seed=2"])];
    let paths = runs.clone().map(|(path, _)| path);
    let output = folder.path().join("compared");
    let comparison = compare(&paths, &CompareOptions { output: Some(output.clone()), ..CompareOptions::default() }).unwrap();
    let found = json(&output.join("compare.json"));
    assert_eq!((found["tasks"].as_array().unwrap().len(), found["tasks"][0]["is_loss"].as_bool()), (1, Some(true)));
    assert_eq!(found["cells"].as_array().unwrap().len(), 2, "seeds are of one agent");
    let last = &found["cells"][0]["targets"][0]["last"];
    assert_eq!(last["values"], serde_json::json!([runs[0].1, runs[1].1]));
    assert!(runs[0].1 < runs[2].1 && runs[1].1 < runs[3].1, "{runs:?}");
    let better = found["improvements"].as_array().unwrap().iter().find(|pair| pair["agent"] == 0).unwrap();
    assert_eq!(better["probability"]["value"], 1.0, "the smaller loss is the better one");
    let text = comparison.to_string();
    for words in ["Loss on held-out episodes, last checkpoint", "has a smaller loss than one of the column"] {
        assert!(text.contains(words), "{text}");
    }
    let page = fs::read_to_string(output.join("compare.html")).unwrap();
    assert!(page.contains("loss on held-out episodes") && page.contains("<h2>Learning</h2>"), "the page has a curve");
    let markdown = fs::read_to_string(output.join("compare.md")).unwrap();
    assert!(markdown.contains("loss, held out"), "{markdown}");
}

#[test]
fn a_job_with_an_environment_may_hold_episodes_out_too() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let (_, report) = train(&run, &small(&["data.validation=0.2", "evaluation.every=10"])).unwrap();
    let validation = report.validation.unwrap();
    assert_eq!((validation.episodes, report.targets.len()), (6, 1));
    let both = metrics(&run).into_iter().filter(|line| line.get("validation/loss").is_some());
    assert!(both.clone().count() == 2 && both.clone().all(|line| line.get("evaluation/return_mean").is_some()));
    assert!(report.to_string().contains("on 6 held-out episodes"));
    let plain = folder.path().join("plain");
    let (_, report) = train(&plain, &small(&[])).unwrap();
    assert!(report.validation.is_none() && json(&plain.join("evaluation.json")).get("validation").is_none());
}

#[test]
fn a_training_on_data_ends_early_when_the_held_out_loss_rises() {
    let folder = tempfile::tempdir().unwrap();
    let data = maze(folder.path());
    let job = on_data(&data, &["train.learning_rate=1e-9", r#"evaluation.stop={"patience": 1, "min_delta": 0.5}"#]);
    let (summary, _) = trained(&folder.path().join("run"), &job);
    assert_eq!(summary.steps, 10, "the second evaluation is no better than the first");
}

#[test]
fn what_needs_an_environment_is_refused_without_one() {
    for (text, words) in [
        (
            r#"{"data": {"source": "x"}, "evaluation": {"every": 5, "stop": {"metric": "return_mean"}}}"#,
            &["evaluation.stop.metric", "validation_loss"][..],
        ),
        (r#"{"data": {"source": "x", "actions": "rescale"}}"#, &["data.actions", "env"]),
        (r#"{"data": {"scripted": {}}, "evaluation": {}}"#, &["env is missing", "--env"]),
        (
            r#"{"data": {"source": "x", "validation": 0}, "evaluation": {"every": 5, "stop": {}}}"#,
            &["evaluation.stop.metric", "data.validation"],
        ),
    ] {
        let error = format!("{:#}", Job::parse(text, &Changes::default()).expect_err(text));
        words.iter().for_each(|word| assert!(error.contains(word), "{text}: {error:?} lacks {word:?}"));
    }
    let job = Job::parse(r#"{"data": {"source": "x"}}"#, &Changes::default()).unwrap();
    assert!(job.env().is_none());
    job.review().unwrap();
}

#[test]
fn the_dry_run_says_what_is_held_out() {
    let folder = tempfile::tempdir().unwrap();
    let data = maze(folder.path());
    let job = on_data(&data, &[]);
    let plan = aaren_agents::inspect::offline(&job, trajectories(&job).unwrap()).unwrap();
    let data = plan.data.as_ref().unwrap();
    assert_eq!((data.episodes, data.held_out, plan.evaluation.between, plan.evaluation.final_episodes), (27, 3, 3, 0));
    let said = plan.to_string();
    assert!(said.contains("3 more held out") && said.contains("the loss on the held-out episodes"), "{said}");
}
