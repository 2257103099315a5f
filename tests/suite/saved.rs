//! Policies on disk: evaluated, exported, and begun with, whatever made them.

use std::fs;
use std::path::Path;

use crate::common::{SMALL, aaren, checkpoint, json, metrics, small, stdout, train, weights};

/// What `aaren` says of an error.
fn error(folder: &Path, arguments: &[&str], overrides: &[&str]) -> String {
    let output = aaren(folder, arguments, overrides).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

const PPO: &str = r#"{
    "env": {"id": "TMaze-v0", "options": {"corridor": 6}},
    "policy": {"layers": 2, "width": 16, "heads": 2, "feed_forward": 32},
    "ppo": {"network": "recurrent", "env_steps": 32, "envs": 4, "envs_per_group": 2, "rollout_len": 8, "minibatches": 2, "epochs": 1, "learning_rate": 1e-30},
    "evaluation": {"episodes": 1, "actors": 1}
}"#;

#[test]
fn a_policy_is_evaluated_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (_, own) = train(&at.join("run"), &small(&["train.steps=3"])).unwrap();
    let said = stdout(&mut aaren(at, &["export", "run", "saved"], &[]));
    assert!(said.contains("3 optimizer steps of Decision Transformer") && !said.contains("environment steps"), "{said}");
    assert_eq!(json(&at.join("saved/provenance.json"))["versions"]["aaren"], env!("CARGO_PKG_VERSION"));
    for path in ["run", "run/checkpoints/step-00000003", "saved"] {
        let said = stdout(&mut aaren(at, &["evaluate", path, "--json"], &[]));
        let report: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(report["targets"][0]["returns"], serde_json::json!(own.targets[0].returns), "{path}");
        assert_eq!(report["checkpoint_step"], 3);
    }
    let said = stdout(&mut aaren(at, &["evaluate", "run", "--episodes", "1", "--seed", "9", "--target-return", "0.5"], &[]));
    assert!(said.contains("wrote run/evaluations/step-3-seed-9-episodes-1-targets-0.5.json"), "{said}");
    assert!(error(at, &["evaluate", "saved", "--checkpoint", "best"], &[]).contains("--checkpoint: saved is no run folder"));

    // A job that was changed by hand.
    let path = at.join("run/config.json");
    let (written, mut job) = (fs::read(&path).unwrap(), json(&path));
    job["evaluation"]["target_returns"] = serde_json::json!([]);
    fs::write(&path, job.to_string()).unwrap();
    assert!(error(at, &["evaluate", "run"], &[]).contains("error: run does not say which return to ask for"));
    stdout(&mut aaren(at, &["evaluate", "run", "--target-return", "1", "--episodes", "1"], &[]));
    fs::write(&path, written).unwrap();

    // Without a word of where it comes from it still says its task.
    fs::remove_file(at.join("saved/provenance.json")).unwrap();
    assert!(error(at, &["evaluate", "saved"], &[]).contains("say it with --target-return"));
    let asked = ["evaluate", "saved", "--target-return", "1", "--episodes", "2", "--json", "out.json"];
    stdout(&mut aaren(at, &asked, &[]));
    assert_eq!(json(&at.join("out.json"))["targets"][0]["returns"], serde_json::json!(own.targets[0].returns[..2]));
    assert!(!at.join("saved/evaluations").exists());
}

#[test]
fn a_run_begins_with_the_weights_of_another() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    train(&at.join("old"), &small(&["train.steps=3"])).unwrap();
    let other = small(&["train.steps=2", "train.learning_rate=1e-12", "data.scripted.episodes=8", "train.keep_checkpoints=9"]);
    stdout(&mut aaren(at, &["train", "--from", "old", "--run", "new"], &other));
    assert!(weights(&at.join("new"), 0) == weights(&at.join("old"), 3));
    let policy = |run: &str, step| json(&checkpoint(&at.join(run), step).join("policy.json"))["normalizer"].clone();
    assert_eq!(policy("new", 2), policy("old", 3), "the weights know the old data's normalization");
    assert_eq!((metrics(&at.join("new")).len(), &json(&at.join("new/begun_from.json"))["step"]), (3, &3.into()));

    let said = error(at, &["train", "--from", "old", "--run", "wide"], &small(&["policy.width=32"]));
    assert!(said.contains("cannot begin with the policy") && said.contains("of another shape"), "{said}");
    assert!(!at.join("wide").exists(), "what is refused leaves no folder");

    let said = error(at, &["train", "--from", "old", "--run", "told"], &small(&["policy.tokens=merged"]));
    assert!(said.contains("policy.tokens: the policy") && said.contains("mean something else"), "{said}");

    // Online, with the backbone; then with all of that.
    fs::write(at.join("ppo.json"), PPO).unwrap();
    stdout(&mut aaren(at, &["train", "ppo.json", "--from", "old", "--run", "online"], &[]));
    stdout(&mut aaren(at, &["train", "ppo.json", "--from", "online", "--run", "again"], &[]));
    assert!(weights(&at.join("again"), 0) == weights(&at.join("online"), 32));
    let said = error(
        at,
        &["train", "ppo.json", "--from", "old", "--run", "mlp"],
        &["ppo.network=mlp", "ppo.minibatches=1", "policy=null"],
    );
    assert!(said.contains("set ppo.network to \"recurrent\""), "{said}");
    let said = error(at, &["train", "--from", "online", "--run", "back"], &small(&[]));
    assert!(said.contains("actor-critic"), "{said}");

    // Which of its checkpoints is the best is not guessed.
    fs::write(at.join("old/best"), "{}").unwrap();
    for arguments in [&["train", "--from", "old", "--run", "next"][..], &["export", "old", "out"]] {
        let said = error(at, arguments, if arguments[0] == "train" { SMALL } else { &[] });
        assert!(said.contains("old/best: found \"{}\"") && said.lines().count() == 1, "{said}");
    }
    assert!(!at.join("next").exists() && !at.join("out").exists());
}

#[test]
fn stdout_is_json_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    train(&at.join("run"), &small(&["train.steps=1"])).unwrap();
    let parse = |arguments: &[&str], overrides: &[&str]| -> serde_json::Value {
        let said = stdout(&mut aaren(at, arguments, overrides));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
    };
    let evaluate = ["evaluate", "run", "--episodes", "1", "--json", "--video", "a.gif", "--video-size", "64x48"];
    assert_eq!(parse(&evaluate, &[])["checkpoint_step"], 1);
    assert!(at.join("a.gif").is_file());
    let made = parse(&["collect", "--json", "--output", "out"], &["data.scripted.episodes=3"]);
    assert_eq!((&made["parts"][0]["episodes"], &made["parts"][0]["name"]), (&3.into(), &"expert".into()));
    assert_eq!(made["written"], serde_json::json!([["minari", "out"]]));
    assert_eq!(parse(&["dataset", "info", "out", "--json"], &[])["episodes"], 3);
}

#[test]
fn an_evaluation_that_cannot_be_written_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    train(&at.join("run"), &small(&["train.steps=1"])).unwrap();
    let output = aaren(at, &["evaluate", "run", "--episodes", "1", "--json", "/dev/full"], &[]).output().unwrap();
    let (said, table) = (String::from_utf8(output.stderr).unwrap(), String::from_utf8(output.stdout).unwrap());
    assert!(!output.status.success() && said.contains("/dev/full") && table.contains("return (mean ± std)"), "{said}{table}");

    // A name of all that was changed, cut to what a file system takes.
    let targets: Vec<String> = (0..60).map(|target| format!("--target-return=0.{target:03}")).collect();
    let arguments = ["evaluate", "run", "--episodes", "1"].into_iter().chain(targets.iter().map(String::as_str));
    stdout(&mut aaren(at, &arguments.collect::<Vec<_>>(), &[]));
    let names: Vec<_> = fs::read_dir(at.join("run/evaluations")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.len() == 1 && names[0].len() < 200 && names[0].to_str().unwrap().starts_with("step-1-episodes-1"), "{names:?}");

    // Where nothing can be written into the run, it says what else there is, and that does.
    fs::remove_dir_all(at.join("run/evaluations")).unwrap();
    fs::write(at.join("run/evaluations"), "").unwrap();
    let said = error(at, &["evaluate", "run", "--episodes", "100000000"], &[]);
    assert!(said.contains("evaluations is a file") && said.contains("--json FILE"), "{said}");
    stdout(&mut aaren(at, &["evaluate", "run", "--episodes", "1", "--json", "out.json"], &[]));
    assert_eq!(json(&at.join("out.json"))["checkpoint_step"], 1);
    let said = stdout(&mut aaren(at, &["evaluate", "run", "--episodes", "1", "--json"], &[]));
    assert_eq!(serde_json::from_str::<serde_json::Value>(&said).unwrap()["checkpoint_step"], 1);
}
