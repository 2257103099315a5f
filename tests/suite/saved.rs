//! Policies on disk: evaluated, exported, and begun with, whatever made them.

use std::fs;
use std::path::Path;

use crate::common::{aaren, checkpoint, json, metrics, small, stdout, train, weights};

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
}
