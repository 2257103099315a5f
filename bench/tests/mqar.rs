//! Multi-query associative recall: what is learnt, what is not, and the benchmark from outside.

mod common;

use aaren_agents::{
    config::Mqar,
    offline::SequenceTrainer,
    sequence::{MqarTask, SequenceTask, Split, scores},
};
use aaren_bench::mqar::{Recipe, Sizes, Stack};
use common::{json, stdout};
use std::{path::Path, process::Command};

const EASY: Mqar = Mqar { vocabulary: 24, length: 12, pairs: 1, noise: false, validation_examples: 1, test_examples: 1000 };
const SMALL: Mqar = Mqar { pairs: 3, ..EASY };
const RECIPE: Recipe = Recipe { steps: 150, batch: 32, learning_rate: 3e-3, warmup_steps: 20, weight_decay: 0.1 };

fn trained(name: &str, sizes: Sizes, task: &Mqar, recipe: &Recipe) -> f64 {
    let stack = Stack::new(name, task, sizes).unwrap();
    let mut trainer = SequenceTrainer::new(&recipe.job(&stack, task, 1)).unwrap();
    for step in 0..recipe.steps {
        let loss = trainer.step().unwrap();
        assert!(loss.is_finite(), "{name}: the loss is {loss} at step {step}");
    }
    let found = scores(&trainer.policy(), &MqarTask { config: *task, seed: 1 }, Split::Test, 200)[0].value;
    println!("{name}, {} tokens, {} pairs: {found}", task.length, task.pairs);
    found
}

#[test]
fn one_pair_is_learnt_and_of_three_aaren_learns_the_values_alone() {
    let sizes = Sizes { layers: 2, width: 32, heads: 2 };
    for name in ["short-conv+attention", "short-conv+aaren"] {
        let found = trained(name, sizes, &EASY, &RECIPE);
        assert!(found > 0.99, "{name}: {found}");
    }
    // Its query is the same for all keys: it finds which values are there, and not which of them is asked for. The last queries can be
    // told from the number of those before, so there is a little more than a third.
    let found = trained("short-conv+aaren", sizes, &SMALL, &Recipe { steps: 400, ..RECIPE });
    assert!((0.25..0.5).contains(&found), "{found}");
}

#[test]
fn attention_over_a_short_convolution_recalls_and_a_state_of_three_features_does_not() {
    // Four pairs that every place of the tail asks for.
    let task = Mqar { vocabulary: 32, length: 16, pairs: 4, ..EASY };
    let sizes = Sizes { layers: 2, width: 64, heads: 1 };
    let recipe = Recipe { steps: 200, batch: 32, learning_rate: 1e-3, warmup_steps: 50, weight_decay: 0.1 };
    // Linear attention with 45 features, and with 3: no room for four keys.
    let found = trained("short-conv+linear-attention:feature_width=8", sizes, &task, &recipe);
    assert!(found > 0.99, "linear attention: {found}");
    let found = trained("short-conv+linear-attention:feature_width=1", sizes, &task, &recipe);
    assert!((0.2..0.5).contains(&found), "three features: {found}");
    // Softmax attention takes longer to begin.
    let found = trained("short-conv+attention", sizes, &task, &Recipe { steps: 800, ..recipe });
    assert!(found > 0.99, "attention: {found}");
}

#[test]
#[ignore = "most of a minute: cargo test -p aaren-bench --test mqar -- --ignored"]
fn attention_recalls_from_longer_examples_of_a_larger_vocabulary() {
    let task = Mqar { vocabulary: 128, length: 32, pairs: 4, ..EASY };
    let recipe = Recipe { steps: 1200, batch: 64, learning_rate: 1.5e-3, warmup_steps: 50, weight_decay: 0.1 };
    let found = trained("short-conv+attention", Sizes { layers: 2, width: 64, heads: 1 }, &task, &recipe);
    assert!(found > 0.99, "{found}");
}

#[test]
fn a_seed_gives_the_same_losses_for_any_number_of_threads() {
    // Batches that are divided among threads.
    let task = Mqar { vocabulary: 64, length: 32, pairs: 4, noise: true, ..EASY };
    let recipe = Recipe { steps: 4, batch: 64, ..RECIPE };
    let recipe = Recipe { warmup_steps: 1, ..recipe };
    for name in ["short-conv+attention", "mamba"] {
        let stack = Stack::new(name, &task, Sizes { layers: 2, width: 64, heads: 2 }).unwrap();
        let losses = |seed, threads| -> Vec<f64> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut trainer = SequenceTrainer::new(&recipe.job(&stack, &task, seed)).unwrap();
                (0..4).map(|_| trainer.step().unwrap()).collect()
            })
        };
        let one = losses(1, 1);
        assert!(one[3] < one[0], "{name}: nothing is learnt: {one:?}");
        assert_eq!(losses(1, 3), one, "{name}");
        assert_ne!(losses(2, 1), one, "{name}");
    }
}

#[test]
fn stacks_have_about_as_many_parameters() {
    let (task, sizes) = (Mqar { vocabulary: 128, length: 32, pairs: 4, ..EASY }, Sizes { layers: 2, width: 64, heads: 2 });
    let usual = Stack::usual_parameters(&task, sizes).unwrap();
    for name in Stack::all_names() {
        let stack = Stack::new(&name, &task, sizes).unwrap().with_parameters(usual, &task).unwrap();
        let found = stack.parameters(&task).unwrap();
        // Where the mixers alone have more, as two Perceivers do and two Monarch mixers with their residual filters, there is not much of an MLP.
        let fits = found.abs_diff(usual) < usual / 100 || (found > usual && stack.config.feed_forward == 1);
        assert!(fits, "{name}: {found}, expected {usual}");
        assert!(stack.config.feed_forward > 1 || name.ends_with("perceiver") || name == "monarch", "{name} has no MLP");
    }
    // Twice the width where the number is the usual one.
    let stack = Stack::new("short-conv+attention", &task, sizes).unwrap().with_parameters(usual, &task).unwrap();
    let positions = |stack: &Stack| MqarTask { config: task, seed: 1 }.spec(&stack.config).positions;
    assert_eq!((stack.config.feed_forward, positions(&stack)), (128, 32));
    assert_eq!(Stack::new("short-conv+mamba:states=8", &task, sizes).unwrap().config.options.mamba.states, 8);
    assert_eq!(positions(&Stack::new("mamba", &task, sizes).unwrap()), 0);
    assert_eq!(Stack::new("hyena", &task, sizes).unwrap().config.options.hyena.taps, 32);
}

#[test]
fn what_is_measured_on_was_not_trained_on() {
    let inputs = |split| (0..500).map(|i| SMALL.example(1, split, i).input).collect::<std::collections::HashSet<_>>();
    assert!(inputs(Split::Train).is_disjoint(&inputs(Split::Test)));
}

/// A benchmark of seconds.
fn bench(folder: &Path, mixers: &str, more: &[&str]) -> Command {
    let sizes = "--vocabulary 24 --sizes 12:2,16:4 --width 8 --batch 4 --warmup-steps 2 --every 2 --test-examples 9";
    let mut command = common::bench(folder, &["mqar", "--json", "figures.json", "--mixers", mixers]);
    command.args(sizes.split(' ')).args(more);
    command
}

#[test]
fn every_mixer_and_size_has_a_row_in_the_table_and_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mixers = "short-conv+attention,aaren,based,lstm+mamba:states=3";
    let table = stdout(&mut bench(folder.path(), mixers, &["--steps", "5", "--seeds", "2"]));
    let figures = json(&folder.path().join("figures.json"));
    // The record says who measured what, where and with what.
    assert_eq!((&figures["command"][0], &figures["command"][1]), (&"aaren-bench".into(), &"mqar".into()));
    assert!(figures["machine"]["cores"].as_u64().unwrap() > 0 && figures["version"].is_string(), "{figures}");
    assert_eq!(figures["profile"], if cfg!(debug_assertions) { "dev" } else { "release" });
    let rows = figures["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 8);
    for row in rows {
        let name = row["mixers"].as_str().unwrap();
        assert!(mixers.split(',').any(|mixer| mixer == name) && table.contains(name), "{table}");
        let trainings = row["trainings"].as_array().unwrap();
        assert_eq!(trainings.len(), 2);
        for training in trainings {
            let steps: Vec<_> = training["curve"].as_array().unwrap().iter().map(|point| point[0].as_u64().unwrap()).collect();
            assert_eq!(steps, [2, 4, 5]);
            assert_eq!(training["accuracy"], training["curve"][2][2]);
        }
        assert_ne!(trainings[0]["curve"], trainings[1]["curve"], "{name}: seeds do nothing");
    }
    // The state of Aaren is as large as documented for two layers: 4 (width + heads) bytes each.
    let aaren = rows.iter().find(|row| row["mixers"] == "aaren").unwrap();
    assert_eq!(aaren["step"]["state_bytes"], 2 * 4 * (8 + 2));
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_the_rows_that_are_finished() {
    use std::{process::Stdio, thread::sleep, time::Duration};
    let folder = tempfile::tempdir().unwrap();
    // Eight rows of a second or more.
    let mixers = "mlp,lstm";
    let mut command = bench(folder.path(), mixers, &["--steps", "400", "--sizes", "16:2,20:3"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let file = folder.path().join("figures.json");
    let is_there = (0..3000).any(|_| {
        sleep(Duration::from_millis(10));
        file.exists()
    });
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    if !is_there {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(table.contains("mlp") && said.ends_with("error: interrupted\n"), "{table}{said}");
    let rows = json(&file)["rows"].as_array().unwrap().len();
    assert!((1..8).contains(&rows), "{rows}");
}
