//! What a command says on stderr while it works.

use std::process::Command;

use crate::common::{aaren, small};

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn evaluations_of_a_training_are_said_and_flags_say_more_or_less() {
    let folder = tempfile::tempdir().unwrap();
    let job = small(&["evaluation.every=10", "evaluation.target_returns=[1,0.5]", "train.steps=30"]);
    let train = |run: &str, flag: &[&str]| said(&mut aaren(folder.path(), &[&["train", "--run", run], flag].concat(), &job));
    let normal = train("normal", &[]);
    let lines: Vec<&str> = normal.lines().collect();
    assert_eq!(lines.len(), 2, "{normal}");
    for (line, step) in lines.iter().zip([10, 20]) {
        let words = line.split_whitespace().collect::<Vec<_>>();
        assert_eq!((words[0], words[1], words[2], words[4]), ("step", &*format!("{step}:"), "return", "±"), "{line}");
        assert!(line.contains(" asked for 1, ") && line.ends_with(" asked for 0.5"), "{line}");
    }
    assert_eq!(train("quiet", &["-q"]), "");
    let verbose = train("verbose", &["-v"]);
    assert!(verbose.contains("step-00000030") && !verbose.contains("train/loss") && !verbose.contains('\u{1b}'), "{verbose}");
    assert!(train("debug", &["-vv"]).contains("train/loss"));
}
