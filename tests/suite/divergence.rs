//! A training whose numbers leave the finite says so and stops; what was good before stays.

use std::{collections::BTreeMap, fs, path::Path};

use crate::common::*;

fn message(outcome: anyhow::Result<impl std::fmt::Debug>) -> String {
    format!("{:#}", outcome.expect_err("a training that diverges"))
}

/// Every file of a checkpoint with its bytes.
fn files(checkpoint: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(checkpoint).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn a_loss_that_is_not_finite_stops_training_and_the_checkpoint_before_it_stays() {
    for mixer in ["aaren", "transformer"] {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let mixer = format!("policy.mixer={mixer}");
        train(&run, &small(&[&mixer, "train.steps=6", "train.checkpoint_every=3"])).unwrap();
        let good = files(&checkpoint(&run, 6));

        // Only a hand on the file makes a begun run diverge: --set refuses another learning rate.
        let path = run.join("config.json");
        let config = fs::read_to_string(&path).unwrap();
        fs::write(&path, config.replace("\"learning_rate\": 0.01", "\"learning_rate\": 1e30")).unwrap();
        let said = message(resume(&run, &["train.steps=20", "train.checkpoint_every=10"]));
        assert!(said.contains("the loss is NaN at step 7") || said.contains("the loss is inf at step 7"), "{said}");
        assert!(said.contains("checkpoints/step-00000006") && said.contains("train.learning_rate"), "{said}");
        assert!(files(&checkpoint(&run, 6)) == good);
        assert!(!checkpoint(&run, 7).exists() && !checkpoint(&run, 20).exists());
        let steps = steps_with(&run, "train/loss");
        assert_eq!(steps, [1, 2, 3, 4, 5, 6, 7], "what was made is logged, what failed is not");

        // With the learning rate that it had it goes on.
        fs::write(&path, config).unwrap();
        resume(&run, &["train.steps=9"]).unwrap();
        assert_eq!(steps_with(&run, "train/loss"), Vec::from_iter(1..=9));
    }
}

#[test]
fn weights_that_are_not_finite_are_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let said = message(train(&run, &small(&["train.learning_rate=1e300", "train.warmup_steps=0", "train.steps=1"])));
    assert!(said.contains("not finite after step 1") && said.contains("before its first checkpoint"), "{said}");
    assert!(!checkpoint(&run, 1).exists());
    assert!(!run.join("train.json").exists() && !run.join("evaluation.json").exists());
}
