//! Tasks on sequences: jobs like the rest.

use std::path::Path;

use crate::common::*;
use aaren_agents::config::{Changes, Classify, Job, MissingNumbers, SequenceJob, TaskConfig};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::sequence::{Lengths, Split, make, push};
use aaren_policy::{Dropout, Model, SequenceBatch, SequenceRows, Stream, checkpoint};

/// Associative recall of a second.
const SMALL: &[&str] = &[
    "task.kind=mqar",
    "task.vocabulary=24",
    "task.length=12",
    "task.pairs=2",
    "task.validation_examples=30",
    "task.test_examples=50",
    "policy.width=16",
    "policy.heads=2",
    "policy.feed_forward=16",
    "policy.layers=2",
    "train.steps=12",
    "train.batch_size=4",
    "train.learning_rate=0.01",
    "train.warmup_steps=2",
    "train.log_every=1",
    "evaluation.every=4",
];

fn job(more: &[&str]) -> SequenceJob {
    let set: Vec<String> = SMALL.iter().chain(more).map(ToString::to_string).collect();
    let Job::Sequence(job) = Job::parse("{}", &Changes { set, ..Changes::default() }).unwrap() else { panic!("another kind") };
    job
}

fn write_job(folder: &Path, more: &[&str]) {
    std::fs::write(folder.join("job.json"), serde_json::to_string(&job(more)).unwrap()).unwrap();
}

fn train(folder: &Path, run: &str, set: &[&str]) -> String {
    stdout(&mut aaren(folder, &["train", "job.json", "--run", run], set))
}

#[test]
fn a_run_is_trained_evaluated_and_compared_like_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    write_job(folder.path(), &[]);
    let said = train(folder.path(), "a", &[]);
    assert!(said.contains("accuracy") && said.contains("a guess among the values") && said.contains("aaren on mqar"), "{said}");
    let run = folder.path().join("a");
    assert_eq!(steps_with(&run, "validation/accuracy"), [4, 8, 12]);
    assert_eq!(steps_with(&run, "test/accuracy"), [12], "the test split is looked at in the end");
    let report = json(&run.join("evaluation.json"));
    let test = &report["sequences"]["test"];
    assert_eq!((&test[0]["name"], &test[0]["better"]), (&"accuracy".into(), &"higher".into()));
    assert_eq!((&test[1]["name"], &test[1]["better"]), (&"loss".into(), &"lower".into()));
    assert_eq!(report["sequences"]["baselines"][0]["scores"][0]["value"], 0.5);
    // The mark is of the validation split.
    let curve: Vec<f64> =
        lines_with(&run, "validation/accuracy").iter().map(|line| line["validation/accuracy"].as_f64().unwrap()).collect();
    let best = std::fs::read_to_string(run.join("best")).unwrap();
    let reached: f64 = best.trim().split_once(' ').unwrap().1.parse().unwrap();
    assert_eq!(reached, curve.iter().copied().fold(0.0, f64::max), "{curve:?}");
    // Evaluated again it is the same.
    stdout(&mut aaren(folder.path(), &["evaluate", "a", "--json", "again.json"], &[]));
    assert_eq!(json(&folder.path().join("again.json"))["sequences"], report["sequences"]);
    let said = stdout(&mut aaren(folder.path(), &["evaluate", "a", "--checkpoint", "best"], &[]));
    assert!(said.contains("accuracy") && said.contains("evaluations/step-"), "{said}");
    // Another mixer, another seed.
    train(folder.path(), "b", &["policy.mixer=lstm"]);
    train(folder.path(), "b2", &["policy.mixer=lstm", "seed=2"]);
    let said = stdout(&mut aaren(folder.path(), &["compare", "a", "b", "b2", "--output", "compared"], &[]));
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in ["accuracy", "higher is better", "a guess among the values (accuracy 0.5", "lstm"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let found = json(&folder.path().join("compared/compare.json"));
    assert_eq!(found["tasks"].as_array().unwrap().len(), 1);
    assert_eq!((&found["tasks"][0]["measure"], &found["tasks"][0]["better"]), (&"accuracy".into(), &"higher".into()));
    let cells = found["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 2, "seeds are of one agent");
    assert_eq!(cells[0]["targets"][0]["last"]["values"][0], test[0]["value"]);
    assert_eq!((&cells[0]["targets"][0]["score"], &cells[0]["targets"][1]["score"]), (&"accuracy".into(), &"loss".into()));
    // Another task is no match.
    train(folder.path(), "c", &["task.pairs=3"]);
    let refused = aaren(folder.path(), &["compare", "a", "c"], &[]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("cannot be compared"), "{said}");
    let plan = stdout(&mut aaren(folder.path(), &["inspect", "job.json"], &[]));
    assert!(plan.contains("tokens of one id of 24") && plan.contains("all of them fresh"), "{plan}");
}

#[test]
fn a_stopped_run_reaches_the_weights_of_an_unbroken_one() {
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [
        ("aaren", &["policy.dropout=0.1"][..]),
        ("transformer", &["policy.mixer=transformer", "train.row_length=20", "train.cut_segments=continue"]),
    ] {
        write_job(folder.path(), more);
        let (broken, unbroken) = (format!("{name}-broken"), format!("{name}-unbroken"));
        train(folder.path(), &unbroken, &[]);
        train(folder.path(), &broken, &["train.steps=5"]);
        stdout(&mut aaren(folder.path(), &["train", "--resume", "--run", &broken], &["train.steps=12"]));
        let [broken, unbroken] = [broken, unbroken].map(|run| folder.path().join(run));
        assert!(weights(&broken, 12) == weights(&unbroken, 12), "{name}: other weights");
        assert_eq!(json(&broken.join("evaluation.json"))["sequences"], json(&unbroken.join("evaluation.json"))["sequences"]);
    }
}

#[test]
fn a_stream_of_a_trained_model_says_what_its_evaluation_saw() {
    let folder = tempfile::tempdir().unwrap();
    write_job(folder.path(), &["policy.mixer=transformer"]);
    train(folder.path(), "run", &[]);
    let Model::Sequence(policy) = checkpoint::load_model::<Cpu>(&checkpoint_of(folder.path()), &CPU).unwrap() else { panic!() };
    let task = make(&job(&[]).task, 1).unwrap();
    for example in 0..5 {
        let mut whole = SequenceRows::default();
        push(&*task, &mut whole, Split::Test, example, 0..12, true);
        let batch = SequenceBatch::new(&whole, 1, &policy.description.spec, &CPU);
        let state = policy.network.initial_state(1, &CPU);
        let outputs: Vec<f32> = policy.network.forward(&batch, state, Dropout::OFF).0.into_data().to_vec().unwrap();
        let mut said = Vec::new();
        let mut stream = Stream::new(policy.clone(), CPU);
        for (start, end) in [(0, 1), (1, 5), (5, 6), (6, 12)] {
            let mut rows = SequenceRows::default();
            push(&*task, &mut rows, Split::Test, example, start..end, start == 0);
            said.extend(stream.push(&rows));
        }
        for (index, token) in whole.due.iter().enumerate() {
            for class in 0..24 {
                let (found, expected) = (said[24 * token + class], outputs[24 * index + class]);
                assert!((found - expected).abs() < 1e-4, "example {example}, token {token}: {found}, not {expected}");
            }
        }
    }
}

fn checkpoint_of(folder: &Path) -> std::path::PathBuf {
    crate::common::checkpoint(&folder.join("run"), 12)
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_job(folder.path(), &[]);
    for (set, words) in [
        (&["task.pairs=4"][..], &["task.pairs: found 4", "1 to 3"][..]),
        (&["task.length=13"], &["task.length: found 13", "even"]),
        (&["task.vocabulary=12"], &["task.vocabulary: found 12", "more than the 12"]),
        (&["task.kind=recall"], &["task", "recall", "mqar"]),
        (&["task.length=-1"], &["task.length: invalid value", "expected a whole number"]),
        (&["task.pears=3"], &["there is no key task.pears", "did you mean \"pairs\"?"]),
        (&["policy.tokens=observation"], &["policy.tokens", "sequences"]),
        (&["env.id=TMaze-v0"], &["env: not read by a job that learns a task on sequences"]),
        (&["evaluation.episodes=3"], &["evaluation.episodes: not read by a job"]),
        (&["evaluation.stop={\"metric\": \"return_mean\"}"], &["evaluation.stop.metric", "validation_loss"]),
    ] {
        let output = aaren(folder.path(), &["train", "job.json", "--run", "run"], set).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.starts_with("error: ") && said.lines().count() == 1, "{set:?}: {said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{set:?}: {said:?} lacks {word:?}"));
        assert!(!folder.path().join("run").exists());
    }
    train(folder.path(), "run", &["train.steps=2", "evaluation.every=0"]);
    for (arguments, word) in [
        (&["evaluate", "run", "--episodes", "3"][..], "--episodes: run is a model of sequences"),
        (&["evaluate", "run", "--video", "x.gif"], "plays no episodes"),
        (&["evaluate", "run", "--execution", "window"], "--execution window: the model of run looks at whole sequences"),
        (&["export", "run", "out"], "a model of sequences, expected a policy that acts"),
        (&["convert", "run", "--mixer", "transformer", "--run", "other"], "did not learn from trajectories"),
    ] {
        let output = aaren(folder.path(), arguments, &[]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(word), "{arguments:?}: {said}");
    }
}

#[test]
fn a_run_begins_with_the_weights_of_another_and_stops_early() {
    let folder = tempfile::tempdir().unwrap();
    write_job(folder.path(), &[]);
    train(folder.path(), "first", &[]);
    let mut begun =
        aaren(folder.path(), &["train", "job.json", "--from", "first", "--run", "second"], &["train.learning_rate=1e-9"]);
    stdout(&mut begun);
    let accuracy = |run: &str| json(&folder.path().join(run).join("evaluation-best.json"))["sequences"]["validation"].clone();
    let [first, second] = ["first", "second"].map(|run| accuracy(run)[1]["value"].as_f64().unwrap());
    assert!((first - second).abs() < 1e-3, "{first} {second}");
    let stop = ["train.learning_rate=1e-9", "evaluation.every=1", "evaluation.stop={\"patience\": 2, \"min_delta\": 1}"];
    train(folder.path(), "stopped", &stop);
    assert_eq!(json(&folder.path().join("stopped/train.json"))["steps"], 3);
}

/// Sequences of unequal lengths whose class is which of two channels is the larger one, in files `train.ts` and `test.ts`.
pub fn write_classes(folder: &Path, missing: bool) {
    let header = "@problemName Larger\n@dimensions 2\n@equalLength false\n@classLabel true first second\n@data\n";
    for (name, cases, shift) in [("train.ts", 40, 0), ("test.ts", 20, 1000)] {
        let mut text = header.to_string();
        for case in 0..cases {
            let steps = 3 + case % 5;
            let noise = |step: usize| ((shift + 31 * case + 7 * step) as f64).sin();
            let (low, high): (Vec<String>, Vec<String>) =
                (0..steps).map(|step| (format!("{:.3}", 10.0 + noise(step)), format!("{:.3}", 12.0 + noise(step + 50)))).unzip();
            let high = high.join(",");
            let low = if missing && case == 7 { format!("?,{}", low[1..].join(",")) } else { low.join(",") };
            text += &if case % 2 == 0 { format!("{high}:{low}:first\n") } else { format!("{low}:{high}:second\n") };
        }
        std::fs::write(folder.join(name), text).unwrap();
    }
}

const CLASSES: &[&str] = &["task.kind=classify", "task.train=train.ts", "task.test=test.ts"];

pub fn write_classify(folder: &Path, more: &[&str]) {
    let rest: Vec<&str> = SMALL.iter().filter(|setting| !setting.starts_with("task.")).copied().collect();
    let set = [CLASSES, &rest, &["train.steps=40"], more].concat().iter().map(ToString::to_string).collect();
    let job = Job::parse("{}", &Changes { set, ..Changes::default() }).unwrap();
    std::fs::write(folder.join("job.json"), serde_json::to_string(&job).unwrap()).unwrap();
}

#[test]
fn classes_are_learnt_from_files() {
    let folder = tempfile::tempdir().unwrap();
    write_classes(folder.path(), false);
    for more in [&["task.pool=mean"][..], &["task.pool=last", "task.due=every", "task.positions=false", "policy.mixer=lstm"]] {
        write_classify(folder.path(), more);
        let run = more[0].replace('=', "-");
        train(folder.path(), &run, &[]);
        let report = json(&folder.path().join(&run).join("evaluation.json"));
        let test = report["sequences"]["test"].as_array().unwrap();
        let names: Vec<String> =
            test.iter().map(|score| format!("{} {}", score["name"], score["condition"]).replace('"', "")).collect();
        assert_eq!(names[..3], ["accuracy null", "balanced accuracy null", "accuracy 10 % seen"]);
        assert_eq!(names[11..], ["accuracy decided at 0.9", "share seen decided at 0.9", "loss null"]);
        assert!(test[12]["value"].as_f64().is_some_and(|share| (0.0..=1.0).contains(&share)) && test[12]["better"] == "lower");
        assert_eq!(test[0]["value"], 1.0, "{more:?}: {report:#}");
        assert_eq!(report["sequences"]["baselines"][0]["scores"][0]["value"], 0.5);
        // Other data are not gone on with.
        let mark = json(&folder.path().join(&run).join("data.json"));
        assert_eq!(mark["episodes"], 60);
    }
    // A stopped run, whose cases are cut and go on in the next batch.
    write_classify(folder.path(), &["train.row_length=9", "policy.dropout=0.1"]);
    train(folder.path(), "unbroken", &[]);
    train(folder.path(), "broken", &["train.steps=13"]);
    let resume = ["train", "--resume", "--run", "broken"];
    stdout(&mut aaren(folder.path(), &resume, &["train.steps=40"]));
    let [broken, unbroken] = ["broken", "unbroken"].map(|run| folder.path().join(run));
    assert!(weights(&broken, 40) == weights(&unbroken, 40));
    stdout(&mut aaren(folder.path(), &["compare", "task.pool-mean", "unbroken"], &[]));
    let reseeded = aaren(folder.path(), &["evaluate", "unbroken", "--seed", "3"], &[]).output().unwrap();
    assert!(String::from_utf8_lossy(&reseeded.stderr).starts_with("error: --seed: what unbroken was not trained on"));
    let text = std::fs::read_to_string(folder.path().join("train.ts")).unwrap();
    std::fs::write(folder.path().join("train.ts"), text.replacen("1", "2", 9)).unwrap();
    let output = aaren(folder.path(), &resume, &["train.steps=50"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("begun with other data"), "{said}");
}

/// Law 7 through the files: scaling, flags of missing numbers and the mean of features.
#[test]
fn a_stream_classifies_as_the_evaluation_does() {
    let folder = tempfile::tempdir().unwrap();
    write_classes(folder.path(), true);
    write_classify(folder.path(), &["task.missing=zero"]);
    train(folder.path(), "run", &[]);
    let path = crate::common::checkpoint(&folder.path().join("run"), 40);
    let Model::Sequence(policy) = checkpoint::load_model::<Cpu>(&path, &CPU).unwrap() else { panic!() };
    assert_eq!((policy.description.spec.numbers, policy.description.normalizer.as_ref().unwrap().mean.len()), (4, 2));
    let file = |name: &str| folder.path().join(name).display().to_string();
    let config =
        Classify { train: file("train.ts"), test: file("test.ts"), missing: MissingNumbers::Zero, ..Classify::default() };
    let task = make(&TaskConfig::Classify(config), 1).unwrap();
    let Lengths::Each(lengths) = task.lengths(Split::Test) else { panic!() };
    for (case, &length) in lengths.iter().enumerate().take(8) {
        let (mut whole, mut said) = (SequenceRows::default(), Vec::new());
        push(&*task, &mut whole, Split::Test, case, 0..length, true);
        let batch = SequenceBatch::asking_all(&whole, 1, &policy.description.spec, &CPU);
        let (outputs, _) = policy.network.forward(&batch, policy.network.initial_state(1, &CPU), Dropout::OFF);
        let mut stream = Stream::new(policy.clone(), CPU);
        for (start, end) in [(0, 2), (2, 3), (3, length)].into_iter().filter(|(start, end)| start < end) {
            let mut rows = SequenceRows::default();
            push(&*task, &mut rows, Split::Test, case, start..end, start == 0);
            said.extend(stream.push(&rows));
        }
        let outputs: Vec<f32> = outputs.into_data().to_vec().unwrap();
        assert_eq!(said.len(), outputs.len());
        assert!(said.iter().zip(&outputs).all(|(a, b)| (a - b).abs() < 1e-5), "case {case}: {said:?}, not {outputs:?}");
    }
}

#[test]
fn what_is_wrong_with_files_of_classes_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_classes(folder.path(), true);
    write_classify(folder.path(), &[]);
    std::fs::write(folder.path().join("one.tsv"), "1\t2\n2\t3\n1\t4\n2\t5\n").unwrap();
    std::fs::write(folder.path().join("other.tsv"), "1\t2\n3\t3\n").unwrap();
    std::fs::write(folder.path().join("far.tsv"), "1\t2\n2\t3\n1\t1e30\n").unwrap();
    std::fs::write(folder.path().join("six.tsv"), "1\t2\n2\t3\n1\t4\n2\t5\n1\t1\n2\t7\n").unwrap();
    std::fs::write(folder.path().join("huge.tsv"), "1\t2\n2\t1e300\n1\t-1e300\n2\t1e300\n1\t1e300\n2\t1e300\n").unwrap();
    std::fs::write(folder.path().join("lone.tsv"), "1\t2\n2\t3\n").unwrap();
    std::fs::write(folder.path().join("bad.tsv"), "1\t2\n2\tx\n").unwrap();
    for (set, words) in [
        (&[][..], &["task.train: train.ts, line 13: a number is missing", "task.missing"][..]),
        (&["task.train="], &["task.train", "path of a file"]),
        (&["task.train=none.ts"], &["task.train: none.ts: cannot read it"]),
        (&["task.train=job.json"], &["task.train: job.json", ".ts, .tsv or .txt"]),
        (&["task.validation=0"], &["task.validation: found 0", "above 0"]),
        (&["task.confidence=1.1"], &["task.confidence: found 1.1", "at most 1"]),
        (&["train.context_length=5"], &["train.context_length: found 5", "episode"]),
        (&["task.pairs=3"], &["task", "pairs"]),
        (&["task.train=one.tsv", "task.test=bad.tsv"], &["task.test: bad.tsv, line 2, column 3", "\"x\""]),
        (&["task.train=one.tsv", "task.test=other.tsv"], &["task.test: other.tsv, line 2", "\"3\"", "(1, 2)"]),
        (&["task.train=one.tsv", "task.missing=zero"], &["task.test: test.ts has 2 numbers a step and one.tsv has 1"]),
        (&["task.train=six.tsv", "task.test=far.tsv"], &["task.test: far.tsv, line 3: found 1e30", "standard deviations"]),
        (&["task.train=huge.tsv", "task.test=one.tsv"], &["task.train: the numbers of huge.tsv are too large"]),
        (&["task.train=lone.tsv", "task.test=one.tsv"], &["task.validation: found 0.2", "hold one out"]),
    ] {
        let output = aaren(folder.path(), &["train", "job.json", "--run", "run"], set).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.starts_with("error: ") && said.lines().count() == 1, "{set:?}: {said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{set:?}: {said:?} lacks {word:?}"));
        assert!(!folder.path().join("run").exists(), "{set:?}");
    }
    let files = ["task.train=six.tsv", "task.test=six.tsv"];
    let same = aaren(folder.path(), &["train", "job.json", "--run", "run", "--strict"], &files).output().unwrap();
    let said = String::from_utf8_lossy(&same.stderr);
    assert!(!same.status.success() && said.contains("task.test is the file of task.train"), "{said}");
}

#[test]
fn a_task_needs_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let settings: Vec<&str> =
        SMALL.iter().copied().filter(|set| !set.starts_with("train.steps")).chain(["train.steps=2"]).collect();
    let said = stdout(&mut aaren(folder.path(), &["train", "--run", "run"], &settings));
    assert!(said.contains("a guess among the values"), "{said}");
    let refused = aaren(folder.path(), &["train"], &["task.kind=forecast"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.starts_with("error: ") && said.contains("task.source") && said.lines().count() == 1, "{said}");
    std::fs::write(folder.path().join("empty.json"), "").unwrap();
    let refused = aaren(folder.path(), &["train", "empty.json"], &[]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("empty.json: the file is empty, expected a JSON object with the keys seed"), "{said}");
    let refused = aaren(folder.path(), &["train"], &["task.kind=forecst"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("forecst") && said.contains("forecast") && said.lines().count() == 1, "{said}");
}
