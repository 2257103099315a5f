//! A run that was stopped and goes on is the run that was never stopped, bit for bit.

use std::{fs, path::Path};

use crate::common::*;
use aaren_agents::run::RunDir;

/// Everything that a step depends on is on: dropout, and rows shorter than the episodes, so that their states are carried on.
const CARRIED: &[&str] = &["policy.dropout=0.2", "train.row_length=5", "train.cut_segments=continue"];

fn assert_same(broken: &Path, unbroken: &Path, step: u64, name: &str) {
    assert_eq!(lines_with(broken, "train/loss"), lines_with(unbroken, "train/loss"), "{name}");
    assert!(weights(broken, step) == weights(unbroken, step), "{name}: other weights at step {step}");
}

#[test]
fn a_stopped_run_reaches_the_weights_and_losses_of_an_unbroken_one() {
    for mixer in ["aaren", "transformer"] {
        for cut in ["drop", "continue"] {
            let name = format!("{mixer}, {cut}");
            let folder = tempfile::tempdir().unwrap();
            let (broken, unbroken) = (folder.path().join("broken"), folder.path().join("unbroken"));
            let settings = [format!("policy.mixer={mixer}"), format!("train.cut_segments={cut}")];
            let mut settings: Vec<&str> = settings.iter().map(String::as_str).collect();
            settings.extend(["policy.dropout=0.2", "train.row_length=5"]);
            train(&unbroken, &small(&settings)).unwrap();
            // Stopped twice, and evaluated all the while, which the unbroken run is not.
            settings.extend(["train.steps=7", "evaluation.every=3", "train.keep_checkpoints=99"]);
            train(&broken, &small(&settings)).unwrap();
            resume(&broken, &["train.steps=13"]).unwrap();
            resume(&broken, &["train.steps=20"]).unwrap();
            assert_same(&broken, &unbroken, 20, &name);
            assert_eq!(steps_with(&broken, "train/loss"), Vec::from_iter(1..=20), "{name}");
            let holds_states = checkpoint(&broken, 13).join("state.mpk").exists();
            assert_eq!(holds_states, cut == "continue", "{name}: a state is stored where segments are carried on");
        }
    }
}

/// An option whose default has changed is as a run was trained with that is older than it.
#[test]
fn a_run_that_is_older_than_an_option_goes_on_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let (old, unbroken) = (folder.path().join("old"), folder.path().join("unbroken"));
    let settings = ["policy.mixer=perceiver", "policy.options.perceiver.residual=false", "train.steps=9"];
    train(&unbroken, &small(&settings)).unwrap();
    train(&old, &small(&[&settings[..2], &["train.steps=4"]].concat())).unwrap();
    let forget = |path: &Path, place: &str| {
        let mut file = json(path);
        file.pointer_mut(place).unwrap().as_object_mut().unwrap().remove("residual").unwrap();
        fs::write(path, file.to_string()).unwrap();
    };
    forget(&old.join("config.json"), "/policy/options/perceiver");
    forget(&checkpoint(&old, 4).join("policy.json"), "/config/options/perceiver");
    stdout(&mut aaren(folder.path(), &["evaluate", "old", "--episodes", "2"], &[]));
    resume(&old, &["train.steps=9"]).unwrap();
    assert_same(&old, &unbroken, 9, "older than the option");
    assert_eq!(json(&old.join("config.json"))["policy"]["options"]["perceiver"]["residual"], false);
}

/// Without its later checkpoints a run is as a kill before them leaves it.
fn kill(run: &Path, lost: &[u64]) {
    lost.iter().for_each(|&step| fs::remove_dir_all(checkpoint(run, step)).unwrap());
    ["train.json", "evaluation.json", "best"].iter().for_each(|name| fs::remove_file(run.join(name)).unwrap());
    let path = run.join("metrics.jsonl");
    let torn = fs::read_to_string(&path).unwrap() + "{\"step\":21,\"wall_sec";
    fs::write(path, torn).unwrap();
}

#[test]
fn steps_after_the_last_checkpoint_are_made_again() {
    for mixer in ["aaren", "transformer"] {
        let folder = tempfile::tempdir().unwrap();
        let (broken, unbroken) = (folder.path().join("broken"), folder.path().join("unbroken"));
        let mixer = format!("policy.mixer={mixer}");
        let settings = [&[&*mixer, "train.checkpoint_every=6", "train.keep_checkpoints=9"], CARRIED].concat();
        train(&unbroken, &small(&settings)).unwrap();
        train(&broken, &small(&settings)).unwrap();
        kill(&broken, &[12, 18, 20]);
        resume(&broken, &[]).unwrap();
        assert_same(&broken, &unbroken, 20, &mixer);
        assert_same(&broken, &unbroken, 12, &mixer);
        for name in ["evaluation/return_mean", "train/loss"] {
            assert_eq!(metrics(&broken).len(), metrics(&unbroken).len());
            assert_eq!(lines_with(&broken, name), lines_with(&unbroken, name), "{mixer}");
        }
        let returns = |run: &Path| json(&run.join("evaluation.json"))["targets"][0].clone();
        assert_eq!(returns(&broken), returns(&unbroken));
    }
}

#[test]
fn a_run_killed_before_its_first_checkpoint_starts_over() {
    let folder = tempfile::tempdir().unwrap();
    let (broken, unbroken) = (folder.path().join("broken"), folder.path().join("unbroken"));
    train(&unbroken, &small(CARRIED)).unwrap();
    train(&broken, &small(CARRIED)).unwrap();
    kill(&broken, &[20]);
    resume(&broken, &[]).unwrap();
    assert_same(&broken, &unbroken, 20, "from the start");
    assert_eq!(metrics(&broken).len(), metrics(&unbroken).len());
}

#[test]
fn a_break_between_two_lines_of_the_log_changes_neither() {
    let folder = tempfile::tempdir().unwrap();
    let (broken, unbroken) = (folder.path().join("broken"), folder.path().join("unbroken"));
    let settings = small(&["train.log_every=8", "train.checkpoint_every=5", "train.keep_checkpoints=9"]);
    train(&unbroken, &settings).unwrap();
    train(&broken, &settings).unwrap();
    kill(&broken, &[15, 20]); // goes on from step 10; the line of step 16 is the mean over steps 9 to 16
    resume(&broken, &[]).unwrap();
    assert_eq!(steps_with(&broken, "train/loss"), [8, 16, 20]);
    assert_same(&broken, &unbroken, 20, "log_every");
}

#[test]
fn an_evaluation_that_a_kill_cut_short_is_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let (broken, unbroken) = (folder.path().join("broken"), folder.path().join("unbroken"));
    let settings = small(&["evaluation.every=5", "train.keep_checkpoints=9"]);
    train(&unbroken, &settings).unwrap();
    train(&broken, &settings).unwrap();
    // Killed while the policy of step 10 was evaluated: its checkpoint is there, its evaluation is not logged.
    kill(&broken, &[15, 20]);
    let path = broken.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let evaluation = text.lines().position(|line| line.starts_with("{\"step\":10") && line.contains("evaluation/")).unwrap();
    fs::write(&path, text.split_inclusive('\n').take(evaluation).collect::<String>()).unwrap();
    resume(&broken, &[]).unwrap();
    assert_eq!(steps_with(&broken, "evaluation/return_mean"), [5, 10, 15, 20]);
    assert_eq!(lines_with(&broken, "evaluation/return_mean"), lines_with(&unbroken, "evaluation/return_mean"));
    assert_same(&broken, &unbroken, 20, "evaluation");
}

#[test]
fn a_run_is_resumed_on_its_own_data_only() {
    let folder = tempfile::tempdir().unwrap();
    let (run, unbroken) = (folder.path().join("run"), folder.path().join("unbroken"));
    train(&unbroken, &small(CARRIED)).unwrap();
    train(&run, &small(&[CARRIED, &["train.steps=6"]].concat())).unwrap();
    let refused = |setting: &str| format!("{:#}", resume(&run, &["train.steps=20", setting]).unwrap_err());
    let message = refused("data.scripted.episodes=29");
    assert!(message.contains("30 episodes of") && message.contains("now there are 29 episodes of"), "{message}");
    assert!(message.contains("step-00000006") && message.contains("--data"), "{message}");
    let message = refused("data.scripted.quality=0.5");
    assert!(message.contains("the run was begun with other data"), "{message}");
    let reset = "data.scripted.episodes=30"; // a resume that is refused leaves the run as it was

    // Checkpoints of older versions say nothing of their data. Their places are still looked at.
    let path = checkpoint(&run, 6).join("progress.json");
    let progress = json(&path);
    let (episodes, cut) = (progress["data"]["episodes"].as_u64(), progress["cut"].as_array().unwrap());
    assert!(episodes == Some(30) && cut.iter().any(|segment| segment.is_object()), "{progress}");
    for (key, value) in [("trajectory", 30), ("end", 1000), ("start", 900)] {
        let mut damaged = progress.clone();
        damaged.as_object_mut().unwrap().remove("data");
        damaged["cut"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .filter(|segment| segment.is_object())
            .for_each(|segment| segment[key] = value.into());
        fs::write(&path, damaged.to_string()).unwrap();
        let message = refused(reset);
        assert!(message.contains("progress.json") && message.contains("are not in the data"), "{key}: {message}");
    }
    let mut old = progress;
    old.as_object_mut().unwrap().remove("data");
    fs::write(&path, old.to_string()).unwrap();
    resume(&run, &["train.steps=20", reset]).unwrap();
    assert_same(&run, &unbroken, 20, "without a mark of the data");
    assert_eq!(json(&run.join("data.json")), json(&unbroken.join("data.json")));
}

#[test]
fn resuming_a_finished_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let (trained, evaluated) = train(&run, &small(&["train.steps=5"])).unwrap();
    let (before, lines) = (weights(&run, 5), metrics(&run));
    let (trained_again, evaluated_again) = resume(&run, &[]).unwrap();
    assert_eq!(trained_again, trained);
    assert_eq!(evaluated_again.targets, evaluated.targets);
    assert!(weights(&run, 5) == before);
    assert_eq!(metrics(&run), lines);
}

#[test]
fn the_best_checkpoint_is_marked_kept_and_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let best = || RunDir::open(&run).unwrap().best().unwrap();
    train(&run, &small(&["evaluation.every=4", "train.keep_checkpoints=1"])).unwrap();
    let mut evaluated = lines_with(&run, "evaluation/return_mean");
    assert_eq!(evaluated.len(), 5);
    evaluated.sort_by_key(|line| line["step"].as_u64());
    let reached = |line: &serde_json::Value| line["evaluation/return_mean"].as_f64().unwrap();
    let highest = evaluated.iter().max_by(|a, b| reached(a).total_cmp(&reached(b))).unwrap(); // the last of equals
    let (step, value) = (highest["step"].as_u64().unwrap(), reached(highest));
    assert_eq!(best(), Some((step, value)));
    assert!(checkpoint(&run, step).exists());

    // Better than anything that can come.
    fs::write(run.join("best"), "step-00000020 2\n").unwrap();
    resume(&run, &["train.steps=40"]).unwrap();
    assert_eq!(best(), Some((20, 2.0)));
    assert!(checkpoint(&run, 20).exists() && checkpoint(&run, 40).exists() && !checkpoint(&run, 36).exists());
}

#[test]
fn a_finished_run_without_its_checkpoints_says_that_it_begins_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    train(&run, &small(&[])).unwrap();
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let output = aaren(folder.path(), &["train", "--resume", "--run", "run"], &[]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("its checkpoints are gone: it is trained anew from step 0"), "{said}");
}
