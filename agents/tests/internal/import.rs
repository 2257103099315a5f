//! Imported policies act as published, and what cannot be imported is refused.

use std::fs;
use std::path::{Path, PathBuf};

use aaren_policy::published::Program;
use aaren_policy::{ActionBatch, DecisionPolicy, checkpoint};
use serde_json::Value;

use super::{ImportOptions, StatisticsSource, import};
use crate::config::{Changes, Execution};
use crate::device::{CPU, Cpu};
use crate::offline::{begin_from, train, trajectories};
use crate::play::SavedPolicy;
use crate::play::agent::{Actions, Agent};
use crate::play::decision_agent::DecisionAgent;
use crate::play::evaluate::{Evaluation, evaluate};
use crate::run::RunDir;

/// A task with observations and actions of the fixtures' widths.
const TASK: &str = "PointMaze-v0";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy/tests/fixtures/decision_transformer")
}

fn answers(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(fixtures().join(name).with_extension("json")).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(floats).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

fn options(statistics: Option<StatisticsSource>) -> ImportOptions {
    ImportOptions {
        changes: Changes { env: Some(TASK.into()), ..Changes::default() },
        statistics,
        heads: Some(3),
        context_length: Some(5),
        return_scale: 10.0,
        target_returns: vec![30.0],
    }
}

/// The three models as runs, with their answers.
fn imported(folder: &Path) -> Vec<(RunDir, Value)> {
    let models = [("hf", "hf", Program::Hf), ("corl", "corl.pt", Program::Corl), ("min-dt", "min-dt.pt", Program::MinDt)];
    fs::create_dir_all(folder).unwrap();
    let import = |(name, file, program): (&str, &str, Program)| {
        let answers = answers(name);
        let statistics = folder.join("statistics.json");
        fs::write(&statistics, serde_json::json!({ "mean": answers["mean"], "std": answers["std"] }).to_string()).unwrap();
        // CORL's file has its own.
        let statistics = (program != Program::Corl).then_some(StatisticsSource::File(statistics));
        let to = folder.join(name);
        import(&fixtures().join(file), program, &options(statistics), &to).unwrap();
        (RunDir::open(&to).unwrap(), answers)
    };
    models.map(import).into()
}

fn policy(run: &RunDir) -> DecisionPolicy<Cpu> {
    checkpoint::load(&run.latest_checkpoint().unwrap().unwrap().1, &CPU).unwrap()
}

/// How far the actions of a rollout are from the recorded ones, at every step. The policy is fed back its own.
fn distances(policy: &DecisionPolicy<Cpu>, answers: &Value, window: Option<usize>) -> Vec<f64> {
    let rollout = &answers["rollout"];
    let mut agent = DecisionAgent::new(policy.clone(), policy.initial_state(1, &CPU), window, 1);
    agent.begin(0, 0, rollout["target_return"].as_f64().unwrap());
    let (states, expected) = (rollout["states"].as_array().unwrap(), rollout["actions"].as_array().unwrap());
    let mut actions = Actions::default();
    let step = |((state, expected), reward): ((&Value, &Value), f64)| {
        agent.act(&floats(state), &[true], &mut actions);
        agent.reward(0, reward);
        let ActionBatch::Continuous(found) = &actions.executed else { panic!("continuous actions") };
        found.iter().zip(floats(expected)).fold(0.0f64, |worst, (a, b)| worst.max((f64::from(*a) - b).abs()))
    };
    states.iter().zip(expected).zip(floats(&rollout["rewards"])).map(step).collect()
}

#[test]
fn a_rollout_on_a_window_is_the_published_one_and_streaming_is_until_the_window_is_full() {
    let folder = tempfile::tempdir().unwrap();
    for (run, answers) in imported(folder.path()) {
        let (policy, window) = (policy(&run), answers["context"].as_u64().unwrap() as usize);
        let worst = |distances: &[f64]| distances.iter().copied().fold(0.0, f64::max);
        let on_window = distances(&policy, &answers, Some(window));
        assert_eq!(on_window.len(), 60);
        assert!(worst(&on_window) <= 1e-5, "{}: {on_window:?}", run.name());
        let streamed = distances(&policy, &answers, None);
        assert!(worst(&streamed[..window]) <= 1e-5, "{}: {streamed:?}", run.name());
        assert!(worst(&streamed[window..]) > 1e-3, "{}: a window without an end", run.name());
        assert!(worst(&distances(&policy, &answers, Some(window - 1))) > 1e-3, "{}: a window that does not matter", run.name());
    }
}

#[test]
fn an_imported_run_is_evaluated_on_its_window_exported_and_trained_on() {
    let folder = tempfile::tempdir().unwrap();
    for (run, _) in imported(folder.path()) {
        let job = run.job(&Changes::default()).unwrap().offline().unwrap();
        assert_eq!((job.evaluation.execution, job.train.context_length.window()), (Execution::Window, Some(5)));
        let saved = SavedPolicy::find(run.path(), |run| Ok(run.latest_checkpoint()?.unwrap())).unwrap();
        let evaluation = Evaluation { episodes: 1, latency_steps: None, ..Evaluation::try_from(&job).unwrap() };
        let report = evaluate(&saved.load().unwrap(), &saved.name, saved.step, &evaluation).unwrap();
        assert_eq!((&*report.execution, report.targets.len()), ("window", 1));
        let exported = run.path().with_extension("exported");
        crate::collect::export(run.path(), None, &exported).unwrap();
        let again = SavedPolicy::find(&exported, |_| panic!("no run")).unwrap();
        assert_eq!(again.job(&Changes::default()).unwrap().unwrap().offline().unwrap(), job);
    }
    // One step from the imported weights, under the same job with data.
    let (run, _) = imported(folder.path().join("again").as_path()).remove(1);
    let set = [
        r#"data={"scripted": {"episodes": 2}}"#,
        "train.steps=1",
        "train.warmup_steps=0",
        "train.batch_size=2",
        "train.learning_rate=1e-9",
        "evaluation.episodes=1",
    ];
    let job = run.job(&set.map(String::from)[..].into()).unwrap().offline().unwrap();
    let dataset = trajectories(&job).unwrap();
    let to = RunDir::claim(&folder.path().join("trained"), 1).unwrap();
    let saved = SavedPolicy::find(run.path(), |run| Ok(run.latest_checkpoint()?.unwrap())).unwrap();
    begin_from(&job, &dataset, &saved, &to).unwrap();
    to.begin(&job).unwrap();
    train(&job, dataset, &to, true).unwrap();
    let (before, after) = (policy(&run), policy(&to));
    assert_eq!(before.description.normalizer, after.description.normalizer);
    let off = distances(&after, &answers("corl"), Some(5)).into_iter().fold(0.0, f64::max);
    assert!(off < 1e-3, "one tiny step, and the actions differ by {off}");
}

#[test]
fn what_cannot_be_imported_is_refused_and_leaves_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("run");
    let refused = |file: &str, program, options: &ImportOptions| {
        let error = format!("{:#}", import(&fixtures().join(file), program, options, &to).unwrap_err());
        assert!(!to.exists(), "{error}");
        error
    };
    let none = || options(Some(StatisticsSource::None));
    let error = refused("hf", Program::Hf, &options(None));
    assert!(error.contains("--data") && error.contains("--statistics"), "{error}");
    let in_task = |id: &str| ImportOptions { changes: Changes { env: Some(id.into()), ..Changes::default() }, ..none() };
    let error = refused("hf", Program::Hf, &in_task("Pendulum-v1"));
    assert!(error.contains("told 4 numbers and gives 2, Pendulum-v1 shows 3 and takes 1"), "{error}");
    let error = refused("hf", Program::Hf, &ImportOptions { target_returns: vec![], ..none() });
    assert!(error.contains("--target-return"), "{error}");
    let error = refused("corl.pt", Program::Corl, &ImportOptions { context_length: Some(7), ..none() });
    assert!(error.contains("over 5 timesteps"), "{error}");
    let changes = Changes { set: vec!["policy.width=24".into()], ..none().changes };
    let error = refused("hf", Program::Hf, &ImportOptions { changes, ..none() });
    assert!(error.contains("cannot be set"), "{error}");
    let file = folder.path().join("statistics.json");
    for (text, words) in [
        (r#"{"mean": [0, 0, 0], "std": [1, 1, 1]}"#, "3 means"),
        (r#"{"mean": [0, 0, 0, 0], "std": [1, 1, 0, 1]}"#, "standard deviation 0"),
        (r#"{"average": [0]}"#, "\"mean\""),
    ] {
        fs::write(&file, text).unwrap();
        let error = refused("hf", Program::Hf, &options(Some(StatisticsSource::File(file.clone()))));
        assert!(error.contains(words), "{error}");
    }
}
