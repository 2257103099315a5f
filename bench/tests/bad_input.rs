//! Whatever is wrong with the arguments, the binary says it in one line and measures nothing.

mod common;

use common::*;

#[test]
fn wrong_arguments_are_said_in_one_line_before_anything_is_measured() {
    let cases: &[(&str, &[&str])] = &[
        // More pairs than fit, no pairs, and too few tokens.
        ("mqar --sizes 32:4,32:9", &["--sizes 32:9", "task.pairs: found 9, expected 1 to 8"]),
        ("mqar --sizes 0:0", &["--sizes 0:0", "task.length: found 0"]),
        ("mqar --vocabulary 32", &["--sizes", "task.vocabulary: found 32", "32 tokens"]),
        // Stacks that do not exist.
        ("mqar --mixers aaren,short-conv+aren", &["--mixers", "\"aren\"", "mamba"]),
        ("mqar --mixers short-conv+", &["--mixers", "\"\"", "mamba"]),
        ("mqar --mixers gru+lstm+mamba", &["--mixers", "3 mixers", "layers"]),
        // Options of mixers.
        ("mqar --mixers mamba:stats=8", &["--mixers", "stats", "states"]),
        ("mqar --mixers mamba:states=0", &["--mixers", "mamba.states", "0, expected"]),
        ("mqar --mixers lstm:states=8", &["--mixers", "lstm"]),
        ("mqar --mixers mamba:states", &["--mixers", "states", "KEY=VALUE"]),
        // Sizes and a recipe that do not fit.
        ("mqar --width 64,65", &["heads", "65"]),
        ("mqar --width 0", &["heads", "width of 0"]),
        ("mqar --steps 50", &["--warmup-steps", "50"]),
        ("mqar --batch 0", &["--batch", "found 0"]),
        ("mqar --learning-rate nan", &["--learning-rate", "NaN"]),
        ("mqar --seeds 0", &["--seeds", "found 0"]),
        ("mixers --heads 3", &["policy.heads", "3 heads", "128"]),
        ("mixers --mixers lstn", &["\"lstn\"", "lstm"]),
    ];
    for (command, words) in cases {
        fails(&command.split(' ').collect::<Vec<_>>(), words);
    }
}

#[test]
fn a_measurement_of_nothing_or_beyond_counting_is_wrong_usage_that_says_so() {
    for (command, words) in [
        ("scan --repeats 0", "zero"),
        ("scan --shape 99999999x9999999x9999x9999", "no machine has memory"),
        ("scan --shape 4x0x4x4", "expected four sizes"),
        ("train --repeats 0", "zero"),
        ("train --size 9999999999x9999999999", "no machine has memory"),
        ("memory --layers 0", "zero"),
    ] {
        let arguments: Vec<&str> = command.split(' ').collect();
        let output = bench(".".as_ref(), &arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(words) && said.contains(arguments[1]), "{command}: {said}");
    }
}
