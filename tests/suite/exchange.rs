//! Policies that come in from other programs and go out to them, through the commands.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{aaren, json, small, stdout, train};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policy/tests/fixtures/decision_transformer")
}

fn error(folder: &Path, arguments: &[&str]) -> String {
    let output = aaren(folder, arguments, &[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    assert_eq!(said.lines().filter(|line| line.starts_with("error:")).count(), 1, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn a_published_model_becomes_a_run_that_every_command_takes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let model = fixtures().join("corl.pt");
    let model = model.to_str().unwrap();
    let import =
        ["import", model, "--from", "corl", "--env", "PointMaze-v0", "--heads", "3", "--target-return", "1", "--run", "dt"];
    let said = stdout(&mut aaren(at, &import, &["env.options.layout=open", "evaluation.episodes=1"]));
    assert!(said.contains("windows of 5 timesteps") && said.contains("aaren evaluate dt"), "{said}");
    assert_eq!(json(&at.join("dt/imported.json"))["from"], "corl");

    let said = stdout(&mut aaren(at, &["evaluate", "dt", "--json"], &[]));
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&report["execution"], &report["checkpoint_step"]), (&"window".into(), &0.into()));
    stdout(&mut aaren(at, &["export", "dt", "saved"], &[]));
    let said = stdout(&mut aaren(at, &["evaluate", "saved", "--json"], &[]));
    let again: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(again["targets"][0]["returns"], report["targets"][0]["returns"]);
    let said = stdout(&mut aaren(at, &["export", "dt", "--onnx", "dt.onnx"], &[]));
    assert!(said.contains("window of 5 timesteps") && fs::metadata(at.join("dt.onnx")).unwrap().len() > 1000, "{said}");

    let more = [
        r#"data={"scripted": {"episodes": 2}}"#,
        "train.steps=1",
        "train.batch_size=2",
        "train.warmup_steps=0",
        "evaluation.episodes=1",
    ];
    stdout(&mut aaren(at, &["train", "dt/config.json", "--from", "dt", "--run", "on"], &more));
    assert_eq!(json(&at.join("on/train.json"))["steps"], 1);

    assert!(error(at, &import).contains("dt is not empty"));
    let hf = fixtures().join("hf");
    let hf = ["import", hf.to_str().unwrap(), "--from", "hf", "--env", "PointMaze-v0", "--target-return", "1", "--run", "hf"];
    assert!(error(at, &hf).contains("--statistics none"));
    assert!(error(at, &[&hf[..], &["--statistics", "nowhere.json"]].concat()).contains("nowhere.json"));
    assert!(error(at, &["import", "nowhere", "--from", "min-dt", "--env", "PointMaze-v0", "--run", "x"]).contains("nowhere"));
    assert!(!at.join("hf").exists() && !at.join("x").exists());
}

#[test]
fn a_policy_goes_out_for_c_and_as_a_graph() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    train(&at.join("run"), &small(&["train.steps=1"])).unwrap();
    let said = stdout(&mut aaren(at, &["export", "run", "--c", "policy"], &[]));
    assert!(said.contains("aaren.h") && said.contains("README.md"), "{said}");
    for name in ["aaren.h", "README.md", "policy.json", "weights.safetensors", "provenance.json"] {
        assert!(at.join("policy").join(name).is_file(), "{name}");
    }
    stdout(&mut aaren(at, &["export", "run", "--onnx", "step.onnx"], &[]));
    assert!(at.join("step.onnx").is_file());

    train(&at.join("mamba"), &small(&["train.steps=1", "policy.mixer=mamba"])).unwrap();
    assert!(error(at, &["export", "run", "none.onnx"]).contains("--onnx none.onnx"));
    let said = error(at, &["export", "mamba", "--onnx", "none.onnx"]);
    assert!(said.contains("\"mamba\" has no ONNX graph") && said.contains("--c FOLDER"), "{said}");
    train(&at.join("transformer"), &small(&["train.steps=1", "policy.mixer=transformer"])).unwrap();
    assert!(error(at, &["export", "transformer", "--onnx", "none.onnx"]).contains("--window N"));
    assert!(error(at, &["export", "run", "--onnx", "none.onnx", "--window", "4"]).contains("--window 0"));
    assert!(!at.join("none.onnx").exists());
    stdout(&mut aaren(at, &["export", "transformer", "--onnx", "window.onnx", "--window", "4"], &[]));
    assert!(error(at, &["export", "run", "--c", "policy"]).contains("policy already exists"));
}
