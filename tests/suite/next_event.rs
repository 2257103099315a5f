//! Next events: jobs like the rest.

use std::path::{Path, PathBuf};

use crate::common::*;
use aaren_agents::config::{Changes, Clock, EventFiles, Events, Hawkes, HeldOut, Job, TaskConfig, TimeUnit};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::run::report::Score;
use aaren_agents::sequence::{EventsTask, Lengths, SequenceTask, Split, make, push, scores};
use aaren_policy::{Dropout, Model, NextEvent, SequenceBatch, SequenceRows, Stream, checkpoint};

const SMALL: &[&str] = &[
    "task.kind=events",
    "task.train=train.csv",
    "task.test=test.csv",
    "task.validation=0.2",
    "task.unit=minute",
    "task.components=3",
    "policy.width=16",
    "policy.heads=2",
    "policy.feed_forward=16",
    "policy.layers=1",
    "train.steps=120",
    "train.batch_size=8",
    "train.learning_rate=0.02",
    "train.warmup_steps=5",
    "evaluation.every=40",
];

/// Sequences of three marks in turns, with a gap that the mark says, in seconds, and a beginning that differs.
fn text(sequences: usize, from: usize) -> String {
    let mut text = "sequence,time,mark\n".to_string();
    for sequence in from..from + sequences {
        let mut time = 1000.0 * sequence as f64;
        for event in 0..5 + sequence % 7 {
            let mark = (event + sequence) % 3;
            text += &format!("{sequence},{time:.3},{}\n", ["a", "b", "c"][mark]);
            // 1 minute after a, 4 after b, 16 after c; up to a tenth longer.
            time += 60.0 * [1.0, 4.0, 16.0][mark] * (1.0 + 0.1 * ((sequence * 31 + event * 17) % 10) as f64 / 10.0);
        }
    }
    text
}

pub fn write_files(folder: &Path) {
    std::fs::write(folder.join("train.csv"), text(60, 0)).unwrap();
    std::fs::write(folder.join("test.csv"), text(20, 60)).unwrap();
}

pub fn write_job(folder: &Path, more: &[&str]) {
    let set = SMALL.iter().chain(more).map(ToString::to_string).collect();
    let job = Job::parse("{}", &Changes { set, ..Changes::default() }).unwrap();
    std::fs::write(folder.join("job.json"), serde_json::to_string(&job).unwrap()).unwrap();
}

fn train(folder: &Path, run: &str, set: &[&str]) -> String {
    stdout(&mut aaren(folder, &["train", "job.json", "--run", run], set))
}

fn value(scores: &[Score], name: &str) -> f64 {
    let found = scores.iter().find(|score| score.name == name && score.condition.is_none());
    found.unwrap_or_else(|| panic!("{name}: {scores:?}")).value
}

fn report(folder: &Path, run: &str, of: &str) -> Vec<Score> {
    serde_json::from_value(json(&folder.join(run).join("evaluation.json"))["sequences"][of].clone()).unwrap()
}

#[test]
fn gaps_and_marks_are_learnt_better_than_without_order() {
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path());
    write_job(folder.path(), &[]);
    let said = train(folder.path(), "whole", &[]);
    assert!(said.contains("NLL (minutes)") && said.contains("one log-normal, pairs of marks"), "{said}");
    let test = report(folder.path(), "whole", "test");
    assert_eq!((test[0].name.as_str(), test.last().unwrap().name.as_str()), ("NLL (minutes)", "loss"));
    let parts = value(&test, "time NLL (minutes)") + value(&test, "mark NLL");
    assert!((value(&test, "NLL (minutes)") - parts).abs() < 1e-9 && (value(&test, "loss") - parts).abs() < 1e-4 * parts.abs());
    let baselines = &json(&folder.path().join("whole/evaluation.json"))["sequences"]["baselines"];
    let one: Vec<Score> = serde_json::from_value(baselines[0]["scores"].clone()).unwrap();
    let [reached, known] = [&test, &one].map(|scores| value(scores, "NLL (minutes)"));
    assert!(reached < known - 0.5, "{reached}, and {known} without order");
    assert!(value(&test, "accuracy") > 0.95 && value(&one, "accuracy") == 1.0);
    // Segments that are cut anywhere, another mixer, and a clock.
    train(folder.path(), "cut", &["train.context_length=4", "policy.mixer=gru", "task.clock=[\"elapsed\", \"hour\"]"]);
    let cut = value(&report(folder.path(), "cut", "test"), "NLL (minutes)");
    assert!(cut < known - 0.5, "{cut}, and {known} without order");
    let said = stdout(&mut aaren(folder.path(), &["compare", "whole", "cut", "--output", "compared"], &[]));
    assert!(
        said.contains("the headline is the NLL (minutes)") && said.contains("mark NLL (lower is better)") && !said.contains("(-"),
        "{said}"
    );
    assert_eq!(json(&folder.path().join("compared/compare.json"))["tasks"].as_array().unwrap().len(), 1);
    // Another unit of time is another likelihood.
    train(folder.path(), "hours", &["task.unit=hour", "train.steps=2", "evaluation.every=0"]);
    let refused = aaren(folder.path(), &["compare", "whole", "hours"], &[]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot be compared"));
    let plan = stdout(&mut aaren(folder.path(), &["inspect", "job.json"], &[]));
    assert!(plan.contains("tokens of one id of 3 and 2 numbers, outputs of 12"), "{plan}");
    // A stopped run reaches the same weights.
    train(folder.path(), "broken", &["train.steps=17"]);
    stdout(&mut aaren(folder.path(), &["train", "--resume", "--run", "broken"], &["train.steps=120"]));
    let [broken, unbroken] = ["broken", "whole"].map(|run| folder.path().join(run));
    assert!(weights(&broken, 120) == weights(&unbroken, 120));
}

fn config(folder: &Path) -> Events {
    let file = |name: &str| EventFiles::One(folder.join(name).display().to_string());
    Events { train: file("train.csv"), test: file("test.csv"), unit: TimeUnit::Minute, ..Events::default() }
}

fn pushed(task: &dyn SequenceTask, split: Split, sequence: usize, tokens: std::ops::Range<usize>) -> SequenceRows {
    let mut rows = SequenceRows::default();
    let is_first = tokens.start == 0;
    push(task, &mut rows, split, sequence, tokens, is_first);
    rows
}

/// Tokens and what is due, against the definitions.
#[test]
fn tokens_have_the_past_and_what_is_due_is_next() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("train.csv"), "sequence,time,mark\n1,0,x\n1,60,y\n1,60,y\n1,240,x\n2,100,x\n2,700,z\n")
        .unwrap();
    std::fs::write(folder.path().join("test.csv"), "sequence,time,mark\n7,21600,z\n7,21660,x\n8,0,x\n").unwrap();
    let own = config(folder.path());
    let held = HeldOut::File(own.test.clone());
    let own = Events { validation: held, floor: 0.25, clock: vec![Clock::Hour, Clock::Elapsed], end: Some(22260.0), ..own };
    let task = make(&TaskConfig::Events(own.clone()), 1).unwrap();
    // In minutes: 1, 0 and so 0.25, 3, and 10.
    let logs = [1.0f64, 0.25, 3.0, 10.0].map(f64::ln);
    let center = logs.iter().sum::<f64>() / 4.0;
    let scale = (logs.iter().map(|log| (log - center).powi(2)).sum::<f64>() / 4.0).sqrt();
    let normalizer = task.normalizer().unwrap();
    assert!((normalizer.mean[0] - center).abs() < 1e-12 && (normalizer.deviation[0] - scale).abs() < 1e-12);
    let near = |found: f32, expected: f64| assert!((f64::from(found) - expected).abs() < 1e-5, "{found}, not {expected}");
    let rows = pushed(&*task, Split::Train, 0, 0..4);
    assert_eq!(
        (rows.ids.as_slice(), rows.classes.as_slice(), rows.due.as_slice()),
        (&[0, 1, 1, 0][..], &[1, 1, 0, 0][..], &[0, 1, 2, 3][..])
    );
    for (event, log) in logs[..3].iter().enumerate() {
        near(rows.numbers[5 * (event + 1)], (log - center) / scale);
        assert!((rows.gaps[event].gap(center, scale).ln() - log).abs() < 1e-6 && !rows.gaps[event].is_survived());
    }
    assert_eq!((rows.numbers[..2].to_vec(), rows.numbers[6]), (vec![0.0, 1.0], 0.0), "the first has no gap, and a flag");
    // Nobody came from 240 s until the end.
    assert!(rows.gaps[3].is_survived() && (rows.gaps[3].gap(center, scale) / ((22260.0 - 240.0) / 60.0) - 1.0).abs() < 1e-5);
    // A quarter past midnight six hours later; the second number of the clock is its cosine, the third the time since the first event in
    // parts of 420 s, the mean of 240 and 600.
    let rows = pushed(&*task, Split::Test, 0, 0..2);
    near(rows.numbers[2], 1.0);
    near(rows.numbers[3], 0.0);
    near(rows.numbers[9], 60.0 / 420.0);
    assert_eq!((rows.ids.as_slice(), rows.classes.as_slice()), (&[2, 0][..], &[0, 0][..]));
    let Lengths::Each(lengths) = task.lengths(Split::Test) else { panic!() };
    assert_eq!(lengths, [2, 1]);
    assert_eq!(task.lengths(Split::Validation), task.lengths(Split::Test));
    // Without an end nothing is due after the last event.
    let task = make(&TaskConfig::Events(Events { end: None, ..own }), 1).unwrap();
    assert_eq!((pushed(&*task, Split::Train, 0, 0..4).due.len(), pushed(&*task, Split::Train, 0, 3..4).due.len()), (3, 0));
    let said = task.odd().join(" ");
    assert!(said.contains("25.0 % of the gaps in") && said.contains("task.floor, 0.25 minutes"), "{said}");
    assert_eq!(task.mark().unwrap().steps, 12);
}

/// Law 7 through the file; and what comes later changes nothing of what was said before.
#[test]
fn a_stream_says_of_events_what_the_evaluation_does() {
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path());
    write_job(folder.path(), &["train.steps=20", "task.clock=[\"elapsed\"]", "policy.mixer=aaren"]);
    train(folder.path(), "run", &[]);
    let path = crate::common::checkpoint(&folder.path().join("run"), 20);
    let Model::Sequence(policy) = checkpoint::load_model::<Cpu>(&path, &CPU).unwrap() else { panic!() };
    let task = |folder: &Path| {
        make(&TaskConfig::Events(Events { clock: vec![Clock::Elapsed], components: 3, ..config(folder) }), 1).unwrap()
    };
    let own = task(folder.path());
    let whole = |task: &dyn SequenceTask, sequence: usize, events: usize| -> Vec<f32> {
        let rows = pushed(task, Split::Test, sequence, 0..events);
        let batch = SequenceBatch::asking_all(&rows, 1, &policy.description.spec, &CPU);
        let (outputs, _) = policy.network.forward(&batch, policy.network.initial_state(1, &CPU), Dropout::OFF);
        outputs.into_data().to_vec().unwrap()
    };
    let Lengths::Each(lengths) = own.lengths(Split::Test) else { panic!() };
    let near = |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    for sequence in [0, 3, 6] {
        let events = lengths[sequence];
        let (expected, mut said, mut start) = (whole(&*own, sequence, events), Vec::new(), 0);
        let mut stream = Stream::new(policy.clone(), CPU);
        for length in [1, 3, 1, 2].iter().cycle() {
            let end = (start + length).min(events);
            said.extend(stream.push(&pushed(&*own, Split::Test, sequence, start..end)));
            assert!(near(&said, &whole(&*own, sequence, end)), "sequence {sequence} after {end} events");
            start = end;
            if start == events {
                break;
            }
        }
        assert!(near(&said, &expected), "sequence {sequence}");
    }
    // Another last event.
    let other = tempfile::tempdir().unwrap();
    write_files(other.path());
    let changed = std::fs::read_to_string(other.path().join("test.csv")).unwrap();
    let line = changed.lines().rfind(|line| line.starts_with("60,")).unwrap().to_string();
    std::fs::write(other.path().join("test.csv"), changed.replace(&line, "60,9999999,a")).unwrap();
    let (changed, width) = (task(other.path()), policy.description.spec.loss.width());
    let [before, after] = [&own, &changed].map(|task| whole(&**task, 0, lengths[0]));
    let own_part = (lengths[0] - 1) * width;
    assert!(near(&before[..own_part], &after[..own_part]) && !near(&before[own_part..], &after[own_part..]));
    // What one output says.
    let normalizer = policy.description.normalizer.as_ref().unwrap();
    let next = NextEvent::new(&before[..width], 3, normalizer.mean[0], normalizer.deviation[0]);
    assert!(next.median() > 0.0 && next.log_marks().len() == 3);
}

/// Numbers that everybody can compute of StackOverflow's first fold, in days.
#[test]
fn stack_overflow_is_known_as_well_as_without_learning() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = std::env::var_os("AAREN_SEQUENCES").map(PathBuf::from);
    let folders = own.into_iter().chain([here.join("../shared/data/sequences"), here.join("datasets/sequences")]);
    let Some(folder) = folders.map(|folder| folder.join("stackoverflow")).find(|folder| folder.join("time-train.txt").is_file())
    else {
        println!("skipped: stackoverflow is not there; AAREN_SEQUENCES names a folder");
        return;
    };
    let file = |name: &str| EventFiles::One(folder.join(name).display().to_string());
    let config = Events { train: file("train"), test: file("test"), unit: TimeUnit::Day, ..Events::default() };
    let task = EventsTask::read(&config, 1).unwrap();
    let Lengths::Each(lengths) = task.lengths(Split::Test) else { panic!() };
    assert_eq!((lengths.len(), lengths.iter().sum::<usize>()), (1326, 97_233));
    let baselines = task.baselines(Split::Test);
    let [pairs, shares] = &baselines[..] else { panic!("{baselines:?}") };
    for (baseline, name, expected, digits) in [
        (pairs, "time NLL (days)", 3.355, 1e-3),
        (pairs, "mark NLL", 1.721, 1e-3),
        (pairs, "NLL (days)", 5.076, 1e-3),
        (pairs, "accuracy", 0.4448, 1e-4),
        (shares, "accuracy", 0.4289, 1e-4),
        (shares, "RMSE of the mean (days)", 12.04, 1e-2),
    ] {
        let found = value(&baseline.scores, name);
        assert!((found - expected).abs() <= 0.501 * digits, "{}: {name} {found}, not {expected}", baseline.name);
    }
    // An hour has 24 times the density that a day has.
    let hours = EventsTask::read(&Events { unit: TimeUnit::Hour, floor: 24e-6, ..config }, 1).unwrap();
    let found = value(&hours.baselines(Split::Test)[0].scores, "time NLL (hours)");
    assert!((found - value(&pairs.scores, "time NLL (days)") - 24f64.ln()).abs() < 1e-9);
}

/// A process is learnt until the rest is what it does not say itself.
#[test]
fn a_hawkes_process_is_learnt_to_its_own_likelihood() {
    let folder = tempfile::tempdir().unwrap();
    let preset = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/paper/events/hawkes.toml");
    let set = ["train.steps=350", "evaluation.every=0", "task.hawkes.test_sequences=300"];
    let said = stdout(&mut aaren(folder.path(), &["train", preset.to_str().unwrap(), "--run", "run"], &set));
    assert!(said.contains("the process itself"), "{said}");
    let baselines = &json(&folder.path().join("run/evaluation.json"))["sequences"]["baselines"];
    let [truth, one] = [0, 1].map(|at| {
        let scores: Vec<Score> = serde_json::from_value(baselines[at]["scores"].clone()).unwrap();
        value(&scores, "NLL (seconds)")
    });
    let reached = value(&report(folder.path(), "run", "test"), "NLL (seconds)");
    println!("reached {reached}, the process itself {truth}, one log-normal {one}");
    assert!(reached < truth * 1.02 && truth * 1.1 < one, "{reached}, the process itself {truth}, one log-normal {one}");
    // Two marks, in minutes.
    let marked =
        Hawkes { base: vec![0.1, 0.3], excitation: vec![vec![0.3, 0.5], vec![0.1, 0.2]], events: 20, ..Hawkes::default() };
    let marked = Events { hawkes: Some(marked), ..Events::default() };
    let [seconds, minutes] = [TimeUnit::Second, TimeUnit::Minute].map(|unit| {
        let task = make(&TaskConfig::Events(Events { unit, ..marked.clone() }), 1).unwrap();
        assert_eq!(task.lengths(Split::Train), Lengths::Fresh(20));
        let rows = pushed(&*task, Split::Train, 123_456, 0..20);
        assert_eq!((rows.due.len(), rows.ids.len(), rows.numbers.len()), (19, 20, 40));
        // What is drawn as it is learnt is what was drawn at first.
        assert_eq!(pushed(&*task, Split::Train, 3, 5..9).ids, pushed(&*task, Split::Train, 3, 0..20).ids[5..9]);
        task.baselines(Split::Test)[0].scores.clone()
    });
    let off = value(&seconds, "time NLL (seconds)") - value(&minutes, "time NLL (minutes)");
    assert!((off - 60f64.ln()).abs() < 1e-9 && value(&seconds, "mark NLL") == value(&minutes, "mark NLL"));
}

/// An end that is known makes what is not seen count.
#[test]
fn a_known_end_is_judged_by_what_did_not_come() {
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path());
    write_job(folder.path(), &["task.end=100000", "train.steps=6", "evaluation.every=0"]);
    train(folder.path(), "run", &[]);
    let test = report(folder.path(), "run", "test");
    let sum = value(&test, "time NLL (minutes)") + value(&test, "mark NLL") + value(&test, "NLL of sequences' ends");
    assert!((value(&test, "NLL (minutes)") - sum).abs() < 1e-9 && value(&test, "NLL of sequences' ends") > 0.0);
    let path = crate::common::checkpoint(&folder.path().join("run"), 6);
    let Model::Sequence(policy) = checkpoint::load_model::<Cpu>(&path, &CPU).unwrap() else { panic!() };
    let task = make(&TaskConfig::Events(Events { end: Some(1e5), components: 3, ..config(folder.path()) }), 1).unwrap();
    // As many sequences at a time as there are, or one: the same.
    let [one, all] = [1, 100].map(|batch| scores(&policy, &*task, Split::Test, batch));
    assert!(one.iter().zip(&all).all(|(a, b)| (a.value - b.value).abs() < 1e-5 * a.value.abs().max(1.0)));
}

#[test]
fn what_is_wrong_with_events_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_files(folder.path());
    write_job(folder.path(), &[]);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("back.csv", "sequence,time\n1,5\n1,4\n");
    write("lone.csv", "sequence,time,mark\n1,5,a\n2,4,a\n");
    write("new.csv", "sequence,time,mark\n1,5,a\n1,6,d\n");
    write("dates.csv", "sequence,time,mark\n1,2020-01-01,a\n1,2020-01-02,b\n2,2020-01-01,c\n2,2020-01-02,c\n");
    write("ties.csv", "sequence,time,mark\n1,5,a\n1,5,b\n1,9,c\n2,1,a\n2,7,c\n");
    let hawkes = |more: &'static str| ["task.train=", "task.test=", more];
    for (set, words) in [
        (&["task.train="][..], &["task.train: found \"\"", "path of a file of events"][..]),
        (&["task.train=none.csv"], &["task.train", "none.csv: cannot read it"]),
        (&["task.train=none"], &["task.train", "time-none.txt: cannot read it"]),
        (&["task.train=[\"a.txt\", \"b.txt\"]"], &["task.train", "a.txt: cannot read it"]),
        (&["task.train=[\"train.csv\", \"b.txt\"]"], &["task.train", "train.csv has its marks in the file of its times"]),
        (&["task.train=back.csv"], &["task.train", "back.csv, line 3, column 3", "before the event before it"]),
        (&["task.train=lone.csv", "task.test=lone.csv"], &["task.train", "no sequence of the split has two events"]),
        (&["task.test=lone.csv"], &["task.test", "no sequence of the split has two events"]),
        (&["task.test=new.csv"], &["task.test", "new.csv", "sequence 1", "the mark \"d\"", "train.csv"]),
        (&["task.validation=1.5"], &["task.validation: found 1.5", "or the path of a file"]),
        (&["task.validation=none.csv"], &["task.validation", "none.csv: cannot read it"]),
        (&["task.validation=0.999"], &["task.validation: found 0.999", "60 sequences"]),
        (&["task.format=xml"], &["task", "xml", "gatech"]),
        (&["task.format=json"], &["train.csv, line 1, column 1"]),
        (&["task.unit=week"], &["week", "second"]),
        (&["task.floor=0"], &["task.floor: found 0", "task.unit"]),
        (&["task.end=50"], &["task.train", "sequence 1: an event is at", "task.end, 50"]),
        (&["task.components=0"], &["task.components: found 0"]),
        (&["task.clock=[\"hour\", \"hour\"]"], &["task.clock", "at most", "[\"hour\",\"hour\"]"]),
        (&["task.times=day", "task.train=dates.csv", "task.test=dates.csv"], &["task.times: dates.csv has dates"]),
        (&["task.hawkes.decay=1"], &["task.hawkes: a process makes all sequences"]),
        (&hawkes("task.hawkes.decay=0"), &["task.hawkes.decay: found 0"]),
        (&hawkes("task.hawkes.base=[0.1, 0.2]"), &["task.hawkes.excitation", "expected 2 rows of 2"]),
        (&hawkes("task.hawkes.base=[]"), &["task.hawkes.base: found []"]),
        (&hawkes("task.hawkes.excitation=[[1.0]]"), &["task.hawkes.excitation: an event makes 1.000 others"]),
        (&hawkes("task.hawkes.events=1"), &["task.hawkes.events: found 1"]),
    ] {
        let output = aaren(folder.path(), &["train", "job.json", "--run", "run"], set).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.starts_with("error: ") && said.lines().count() == 1, "{set:?}: {said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{set:?}: {said:?} lacks {word:?}"));
        assert!(!folder.path().join("run").exists(), "{set:?}");
    }
    // Ties look wrong and may be meant.
    let ties = [
        "task.train=ties.csv",
        "task.test=ties.csv",
        "task.validation=ties.csv",
        "train.steps=2",
        "evaluation.every=0",
        "train.warmup_steps=0",
        "train.log_every=1",
    ];
    let strict = aaren(folder.path(), &["train", "job.json", "--run", "run", "--strict"], &ties).output().unwrap();
    let said = String::from_utf8_lossy(&strict.stderr);
    assert!(!strict.status.success() && said.contains("33.3 % of the gaps in ties.csv"), "{said}");
    let warned = aaren(folder.path(), &["train", "job.json", "--run", "other"], &ties).output().unwrap();
    assert!(warned.status.success() && String::from_utf8_lossy(&warned.stderr).contains("task.floor"), "{warned:?}");
}
