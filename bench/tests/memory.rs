//! `aaren-bench memory`, small: what it trains is what jobs train, what is finished is kept, and wrong arguments are said at once.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::*;
use serde_json::Value;

const BENCH: &[&str] =
    &["memory", "--steps", "6", "--episodes", "5", "--batch", "40", "--width", "8", "--runs", "runs", "--json", "figures.json"];

fn measured(folder: &Path, more: &[&str]) -> (String, Value) {
    let table = stdout(&mut bench(folder, &[BENCH, more].concat()));
    (table, json(&folder.join("figures.json")))
}

#[test]
fn every_cell_is_a_run_of_about_the_same_size() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--tasks", "tmaze:3:7,repeat-previous:2,noisy-pendulum:0.1,delayed-pendulum:9,cart-pole:30"];
    let mixers = ["--mixers", "aaren,mlp,gru,based,gru+aaren", "--seeds", "2"];
    let (table, figures) = measured(folder.path(), &[&arguments[..], &mixers].concat());
    for words in ["tmaze", "corridor 3", "corridor 7", "k 2", "noise 0.1", "gru+aaren", "tokens a second", "µs a step"] {
        assert!(table.contains(words), "{table}");
    }
    let rows = figures["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 30);
    for row in rows {
        let name = format!("{}-{}-{}", row["task"].as_str().unwrap(), row["difficulty"], row["mixer"].as_str().unwrap());
        let of_aaren = rows.iter().find(|other| {
            (&other["task"], &other["difficulty"], &other["mixer"]) == (&row["task"], &row["difficulty"], &"aaren".into())
        });
        let (found, usual) = (row["parameters"].as_f64().unwrap(), of_aaren.unwrap()["parameters"].as_f64().unwrap());
        assert!((found / usual - 1.0).abs() < 0.05, "{name}: {found} parameters, Aaren has {usual}");
        assert_eq!(row["layers"], if row["mixer"] == "based" { 3 } else { 2 }, "{name}");
        let outcomes = row["outcomes"].as_array().unwrap();
        assert_eq!(outcomes.len(), 2);
        for outcome in outcomes {
            assert!(outcome["score"].is_number() && outcome["failure"].is_null(), "{name}: {outcome}");
            let run = folder.path().join("runs").join(format!("{}-{}", name.replace(".0-", "-"), outcome["seed"]));
            let report = json(&run.join("evaluation.json"));
            assert_eq!((&report["targets"][0]["return_mean"], &report["parameters"]), (&outcome["score"], &row["parameters"]));
            assert_eq!((&report["execution"], &report["targets"][0]["episodes"]), (&"streaming".into(), &5.into()));
        }
        assert_ne!(outcomes[0]["final_loss"], outcomes[1]["final_loss"], "{name}: seeds differ");
    }
    // A row of a batch holds an episode.
    let long = rows.iter().find(|row| row["difficulty"] == 7.0).unwrap();
    assert_eq!(long["batch"], serde_json::json!([5, 8]));
}

#[test]
fn what_is_finished_is_not_done_again_and_what_is_not_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--tasks", "tmaze", "--difficulty", "3", "--mixers", "aaren,gru"];
    let (_, first) = measured(folder.path(), &arguments);
    let (aaren_run, gru_run) = (folder.path().join("runs/tmaze-3-aaren-1"), folder.path().join("runs/tmaze-3-gru-1"));
    // One that is marked, and one that was stopped before its evaluation.
    let marked = fs::read_to_string(aaren_run.join("train.json")).unwrap().replace("\"final_loss\": ", "\"final_loss\": 7");
    fs::write(aaren_run.join("train.json"), marked).unwrap();
    fs::remove_file(gru_run.join("evaluation.json")).unwrap();
    let (_, second) = measured(folder.path(), &arguments);
    let outcome = |figures: &Value, row: usize, key: &str| figures["rows"][row]["outcomes"][0][key].clone();
    assert_eq!(outcome(&second, 0, "score"), outcome(&first, 0, "score"));
    assert!(outcome(&second, 0, "final_loss").as_f64().unwrap() > 7.0);
    for key in ["score", "final_loss", "seconds"] {
        assert_eq!(outcome(&second, 1, key), outcome(&first, 1, key));
    }
    assert!(gru_run.join("evaluation.json").exists());
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_rows_that_are_finished() {
    let folder = tempfile::tempdir().unwrap();
    // The second row would take a minute.
    let more = ["--tasks", "tmaze:3:3000", "--mixers", "lstm", "--steps", "60", "--width", "8", "--runs", "runs"];
    let mut command = bench(folder.path(), &[&["memory", "--json", "figures.json"], &more[..]].concat());
    let process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = folder.path().join("runs/tmaze-3000-lstm-1/metrics.jsonl");
    let is_there = (0..1200).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        begun.exists()
    });
    Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
    let output = process.wait_with_output().unwrap();
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(is_there, "{said}");
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("finished runs are in runs"), "{said}");
    assert!(table.contains("corridor 3 ") && !table.contains("corridor 3000"), "{table}");
    assert_eq!(json(&folder.path().join("figures.json"))["rows"].as_array().unwrap().len(), 1);
}

#[test]
fn a_short_maze_is_learnt_with_memory_and_not_without() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--tasks", "tmaze:4", "--mixers", "aaren,mlp", "--steps", "120", "--episodes", "60", "--batch", "160"];
    let command = ["memory", "--width", "16", "--learning-rate", "0.005", "--runs", "runs", "--json", "figures.json"];
    stdout(&mut bench(folder.path(), &[&command[..], &more].concat()));
    let figures = json(&folder.path().join("figures.json"));
    let score = |row: usize| figures["rows"][row]["outcomes"][0]["score"].as_f64().unwrap();
    assert!(score(0) > 0.95, "Aaren: {}", score(0));
    // A policy that always turns to one side is right in half of the mazes: four standard deviations of 60.
    assert!((score(1) - 0.5).abs() < 0.26, "mlp: {}", score(1));
}

#[test]
fn wrong_arguments_are_said_in_one_line_before_anything_is_made() {
    for (arguments, words) in [
        (&["--tasks", "maze"][..], &["--tasks maze", "there are tmaze, repeat-previous"][..]),
        (&["--tasks", "tmaze:2.5"], &["tmaze", "2.5", "expected an integer"]),
        (&["--tasks", "tmaze:0"], &["corridor", "expected an integer from 1"]),
        (&["--tasks", "noisy-pendulum:1000"], &["noise", "1000"]),
        (&["--tasks", "tmaze:3,cart-pole", "--difficulty", "3"], &["--difficulty", "one"]),
        (&["--mixers", "aren"], &["policy.mixer", "aren", "did you mean \"aaren\""]),
        (&["--mixers", "based+aaren"], &["policy.mixers", "based"]),
        (&["--mixers", "gru,gru"], &["gru", "twice"]),
        (&["--seeds", "0"], &["--seeds", "found 0"]),
        (&["--steps", "0"], &["train.steps", "found 0"]),
        (&["--batch", "0"], &["--batch", "found 0"]),
        (&["--heads", "3"], &["policy.heads"]),
        (&["--quality", "1.5"], &["quality", "1.5"]),
        (&["--set", "policy.widht=3"], &["widht"]),
    ] {
        fails(&[&["memory", "--runs", "runs"], arguments].concat(), words);
    }
}

#[test]
fn a_run_with_other_settings_is_not_taken_for_this_one() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--tasks", "tmaze:3", "--mixers", "mlp"];
    measured(folder.path(), &arguments);
    let command = [BENCH, &arguments, &["--learning-rate", "0.5"]].concat();
    let output = bench(folder.path(), &command).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(["tmaze-3-mlp-1", "train.learning_rate", "--runs"].iter().all(|word| said.contains(word)), "{said}");
}
