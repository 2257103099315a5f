//! The story of the quickstart in a short corridor: who remembers the cue turns to its side, who cannot see it any more guesses.

use std::{fs, path::Path};

use crate::common::*;
use crate::events::{Event, tensorboard_files};
use aaren_agents::run::report::{EvaluationReport, TrainSummary};

/// Short enough for a test, long enough that a window of 4 timesteps does not reach from the junction back to the cue.
const JOB: &[&str] = &[
    "env.options.corridor=6",
    "data.scripted.episodes=200",
    "policy.width=32",
    "policy.feed_forward=64",
    "policy.max_timesteps=16",
    "train.steps=120",
    "train.learning_rate=0.003",
    "train.warmup_steps=10",
    "train.checkpoint_every=50",
    "evaluation.every=60",
    "evaluation.episodes=20",
    "evaluation.final_episodes=100",
    "evaluation.target_returns=[1, 0]",
];

const WINDOW: &[&str] = &["policy.mixer=transformer", "train.context_length=4", "evaluation.execution=window"];

fn report(run: &Path) -> EvaluationReport {
    serde_json::from_value(json(&run.join("evaluation.json"))).unwrap()
}

/// The names in a run's only TensorBoard file, with their steps, in order.
fn tensorboard_scalars(run: &Path) -> Vec<(String, i64)> {
    let files = tensorboard_files(run);
    assert!(files.len() == 1 && files[0].is_whole);
    files[0].events.iter().flat_map(Event::scalars).collect()
}

#[test]
fn memory_solves_the_maze_and_a_window_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let said = stdout(&mut aaren(at, &["train", "--run", "remembers"], JOB));
    assert!(said.contains("run folder: remembers") && said.contains("trained "), "{said}");
    stdout(&mut aaren(at, &["train", "--run", "guesses"], &[JOB, WINDOW].concat()));

    // What they reached.
    let (remembers, guesses) = (report(&at.join("remembers")), report(&at.join("guesses")));
    let [asked_for_all, asked_for_nothing] = &remembers.targets[..] else { panic!("{:?}", remembers.targets) };
    assert_eq!((asked_for_all.target_return, asked_for_all.episodes), (Some(1.0), 100));
    assert!(asked_for_all.return_mean >= 0.95, "{}", asked_for_all.return_mean);
    assert!(asked_for_nothing.return_mean < 0.5, "asked for a return of 0 it got {}", asked_for_nothing.return_mean);
    assert!(guesses.targets[0].return_mean < 0.8, "{}", guesses.targets[0].return_mean);
    println!("{} and {}", asked_for_all.return_mean, guesses.targets[0].return_mean);

    // What is in the run folder.
    let run = at.join("remembers");
    let summary: TrainSummary = serde_json::from_value(json(&run.join("train.json"))).unwrap();
    assert_eq!((summary.steps, summary.timesteps), (120, 120 * 32 * 7));
    assert_eq!((remembers.checkpoint_step, remembers.parameters), (120, summary.parameters));
    assert_eq!(steps_with(&run, "train/loss"), Vec::from_iter((10..=120).step_by(10)));
    assert_eq!(steps_with(&run, "evaluation/return_mean"), [60, 120]);
    assert_eq!(summary.final_loss, metrics(&run)[metrics(&run).len() - 2]["train/loss"]);
    assert!(summary.final_loss < metrics(&run)[0]["train/loss"].as_f64().unwrap() / 2.0);
    for name in ["policy.json", "weights.safetensors", "optimizer.mpk", "progress.json"] {
        assert!(checkpoint(&run, 120).join(name).is_file(), "{name}");
    }
    // In TensorBoard's file are the same names at the same steps.
    let mut in_lines: Vec<(String, i64)> = Vec::new();
    for line in metrics(&run) {
        let names = line.as_object().unwrap().keys().filter(|key| key.contains('/'));
        in_lines.extend(names.map(|name| (name.clone(), line["step"].as_i64().unwrap())));
    }
    assert!(in_lines.contains(&("evaluation/0/return_mean".into(), 120)), "{in_lines:?}");
    assert_eq!(tensorboard_scalars(&run), in_lines);

    // The stored policy gives the same episodes, however it is asked for them, and the training's own report stays as it is.
    let own = fs::read(run.join("evaluation.json")).unwrap();
    for more in [&[][..], &["--actors", "3"], &["--checkpoint", "120"]] {
        let said = stdout(&mut aaren(at, &[&["evaluate", "remembers"], more].concat(), &[]));
        assert!(said.contains("wrote remembers/evaluations/step-120.json"), "{said}");
        let written = run.join("evaluations/step-120.json");
        let again: EvaluationReport = serde_json::from_value(json(&written)).unwrap();
        assert_eq!(
            (again.targets, again.episode_seeds),
            (remembers.targets.clone(), remembers.episode_seeds.clone()),
            "{more:?}"
        );
        fs::remove_file(written).unwrap();
    }
    assert!(fs::read(run.join("evaluation.json")).unwrap() == own);
    stdout(&mut aaren(at, &["evaluate", "guesses", "--json", "again.json"], &[]));
    let again: EvaluationReport = serde_json::from_value(json(&at.join("again.json"))).unwrap();
    assert_eq!((&again.targets, &*again.execution), (&guesses.targets, "window"));
    // Episodes are numbered: fewer of them are the first of them.
    stdout(&mut aaren(at, &["evaluate", "guesses", "--episodes", "10", "--json", "fewer.json"], &[]));
    let fewer: EvaluationReport = serde_json::from_value(json(&at.join("fewer.json"))).unwrap();
    assert_eq!(fewer.targets[0].returns, again.targets[0].returns[..10]);

    // In another maze than it learnt in.
    stdout(&mut aaren(at, &["evaluate", "remembers", "--env-option", "corridor=9", "--episodes", "4"], &[]));
    let longer: EvaluationReport =
        serde_json::from_value(json(&run.join("evaluations/step-120-corridor-9-episodes-4.json"))).unwrap();
    assert_eq!((&longer.env_options["corridor"], longer.targets[0].lengths[0]), (&9.into(), 10));
    for (option, word) in [
        ("corridor", "expected name=value"),
        ("corridr=9", "corridr"),
        ("corridor=0", "1 to 1000000"),
        ("max_episode_steps=null", "need not end"),
    ] {
        let refused = aaren(at, &["evaluate", "remembers", "--env-option", option], &[]).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(word), "{option}: {said}");
        assert!(said.contains(&format!("--env-option {option}")) && !said.contains("--set"), "{option}: {said}");
    }

    // Side by side.
    let table = stdout(&mut aaren(at, &["compare", "remembers", "guesses"], &[]));
    for (name, of_remembers, of_guesses) in
        [("run", "remembers", "guesses"), ("mixer", "aaren", "transformer"), ("execution", "streaming", "window")]
    {
        let is_named = |line: &&str| line.split(['│', '┆']).nth(1).is_some_and(|cell| cell.trim() == name);
        let row = table.lines().find(is_named).unwrap_or_else(|| panic!("no row {name} in\n{table}"));
        let cells: Vec<&str> = row.split(['│', '┆']).map(str::trim).collect();
        assert_eq!(cells[2..4], [of_remembers, of_guesses], "{row}");
    }
    assert!(at.join("compare/compare.md").is_file() && at.join("compare/compare.json").is_file());
}

/// The table of parameters has the counts of the paper's blocks: 512 wide, 2048 in the feed-forward layer.
#[test]
fn inspect_shows_the_parameters_of_a_block() {
    let folder = tempfile::tempdir().unwrap();
    for (mixer, parameters) in [("transformer", "3152384"), ("aaren", "3152896")] {
        let mixer = format!("policy.mixer={mixer}");
        let overrides = ["policy.width=512", "policy.feed_forward=2048", "policy.layers=1", "env.options.corridor=2", &mixer];
        let said = stdout(&mut aaren(folder.path(), &["inspect"], &overrides));
        let block = said.lines().find(|line| line.contains("block 0")).unwrap();
        assert!(block.contains(parameters), "{said}");
    }
}

/// The dry run computes and leaves nothing behind; a recurrent job of three keys has minibatches that fit.
#[test]
fn inspect_says_budget_memory_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |arguments: &[&str], overrides: &[&str]| -> serde_json::Value {
        let said = stdout(&mut aaren(folder.path(), &[&["inspect", "--json"], arguments].concat(), overrides));
        serde_json::from_str(&said).unwrap()
    };
    let offline = plan(&["--run", "new"], &small(&["policy.return_scale=null", "train.warmup_steps=null", "evaluation.every=6"]));
    assert!(!folder.path().join("new").exists());
    let number =
        |pointer: &str| offline.pointer(pointer).and_then(serde_json::Value::as_f64).unwrap_or_else(|| panic!("{pointer}"));
    assert_eq!((number("/budget/updates"), number("/job/train/warmup_steps"), number("/evaluation/between")), (20.0, 2.0, 3.0));
    assert_eq!(number("/budget/timesteps_per_update"), 4.0 * number("/data/longest"));
    assert_eq!(number("/budget/epochs"), number("/budget/timesteps") / number("/data/transitions"));
    assert_eq!((number("/job/policy/return_scale"), number("/data/return_scale")), (1.0, 1.0));
    assert!(number("/time/update_seconds") > 0.0 && number("/memory/parameters") > 4000.0);
    let job = r#"{"env": {"id": "CartPole-v1"}, "ppo": {"network": "recurrent", "env_steps": 256, "rollout_len": 16}, "evaluation": {}}"#;
    std::fs::write(folder.path().join("job.json"), job).unwrap();
    let online = plan(&["job.json"], &["policy.width=16", "policy.feed_forward=16", "policy.layers=1"]);
    assert_eq!((&online["job"]["ppo"]["minibatches"], &online["iterations"]["iterations"]), (&2.into(), &4.into()));
    assert_eq!(online["budget"]["timesteps_per_update"], 32);
    assert!(online["time"]["training_seconds"].as_f64().unwrap() > 0.0);
}
