//! Forecasts of tables: jobs like the rest.

use std::path::Path;

use crate::common::*;
use aaren_agents::config::{Anchor, Changes, Channels, Due, Forecast, Job, MissingRows, SplitConfig, TaskConfig};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::sequence::{Lengths, SequenceTask, Split, make, push};
use aaren_policy::{Dropout, Model, Scaler, Scaling, SequenceBatch, SequenceRows, Stream, checkpoint};

const SMALL: &[&str] = &[
    "task.kind=forecast",
    "task.source=table.csv",
    "task.look_back=12",
    "task.horizon=4",
    "task.split.rows=[150, 40, 40]",
    "policy.width=16",
    "policy.heads=2",
    "policy.feed_forward=16",
    "policy.layers=1",
    "train.steps=60",
    "train.batch_size=8",
    "train.learning_rate=0.01",
    "train.warmup_steps=5",
    "evaluation.every=20",
];

const ROWS: usize = 240;

fn value(row: usize, channel: usize) -> f64 {
    let turn = std::f64::consts::TAU * row as f64 / 8.0;
    (20.0 * channel as f64 + turn.sin() + 0.5 * (turn * 0.5 + channel as f64).cos() + row as f64 / 100.0) * 10.0
}

/// Two channels, hour by hour, with a season of eight rows and a trend. `missing` takes a number out.
pub fn write_table(folder: &Path, missing: impl Fn(usize, usize) -> bool) {
    let mut text = "date,low,high\n".to_string();
    for row in 0..ROWS {
        let number = |channel| if missing(row, channel) { String::new() } else { format!("{:.3}", value(row, channel)) };
        text += &format!("2016-07-{:02} {:02}:00:00,{},{}\n", row / 24 + 1, row % 24, number(0), number(1));
    }
    std::fs::write(folder.join("table.csv"), text).unwrap();
}

pub fn write_job(folder: &Path, more: &[&str]) {
    let set = SMALL.iter().chain(more).map(ToString::to_string).collect();
    let job = Job::parse("{}", &Changes { set, ..Changes::default() }).unwrap();
    std::fs::write(folder.join("job.json"), serde_json::to_string(&job).unwrap()).unwrap();
}

fn train(folder: &Path, run: &str, set: &[&str]) -> String {
    stdout(&mut aaren(folder, &["train", "job.json", "--run", run], set))
}

fn test_score(folder: &Path, run: &str, name: &str) -> f64 {
    let report = json(&folder.join(run).join("evaluation.json"));
    let scores = report["sequences"]["test"].as_array().unwrap().clone();
    let score = scores.iter().find(|score| score["name"] == name && score["condition"].is_null()).unwrap();
    assert_eq!(score["better"], "lower");
    score["value"].as_f64().unwrap()
}

#[test]
fn a_table_is_forecast_better_than_without_learning() {
    let folder = tempfile::tempdir().unwrap();
    write_table(folder.path(), |_, _| false);
    write_job(folder.path(), &[]);
    let said = train(folder.path(), "window", &[]);
    assert!(said.contains("MSE") && said.contains("the last row"), "{said}");
    let every = ["task.scaling=running", "task.span=24", "task.due=every", "task.anchor=last", "task.channels=independent"];
    train(folder.path(), "running", &[&every[..], &["policy.mixer=lstm"]].concat());
    let report = json(&folder.path().join("window/evaluation.json"));
    let baselines = report["sequences"]["baselines"].as_array().unwrap();
    let names: Vec<&str> = baselines.iter().map(|baseline| baseline["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["the last row", "the mean of the training split"], "a day is longer than what is looked back on");
    let last = baselines[0]["scores"][0]["value"].as_f64().unwrap();
    for run in ["window", "running"] {
        let (mse, loss) = (test_score(folder.path(), run, "MSE"), test_score(folder.path(), run, "loss"));
        assert!(mse < last / 2.0, "{run}: {mse}, and the last row gives {last}");
        assert!((mse - loss).abs() < 1e-5 * mse, "{run}: all windows count alike, {mse} and {loss}");
    }
    assert_eq!(json(&folder.path().join("window/data.json"))["steps"], ROWS);
    // How it is learnt is the agent's choice, what is learnt is the task.
    let said = stdout(&mut aaren(folder.path(), &["compare", "window", "running", "--output", "compared"], &[]));
    assert!(said.contains("MSE (lower is better)"), "{said}");
    assert_eq!(json(&folder.path().join("compared/compare.json"))["tasks"].as_array().unwrap().len(), 1);
    train(folder.path(), "shorter", &["task.horizon=3", "train.steps=2", "evaluation.every=0"]);
    let refused = aaren(folder.path(), &["compare", "window", "shorter"], &[]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot be compared"));
    let plan = stdout(&mut aaren(folder.path(), &["inspect", "job.json"], &[]));
    assert!(plan.contains("tokens of no id and 2 numbers, outputs of 8"), "{plan}");
    // A stopped run reaches the same weights.
    train(folder.path(), "broken", &["train.steps=13"]);
    stdout(&mut aaren(folder.path(), &["train", "--resume", "--run", "broken"], &["train.steps=60"]));
    let [broken, unbroken] = ["broken", "window"].map(|run| folder.path().join(run));
    assert!(weights(&broken, 60) == weights(&unbroken, 60));
}

pub fn config(folder: &Path) -> Forecast {
    Forecast {
        source: folder.join("table.csv").display().to_string(),
        look_back: 12,
        horizon: 4,
        split: SplitConfig { rows: Some([150, 40, 40]), ..SplitConfig::default() },
        ..Forecast::default()
    }
}

/// Tokens and what is due, against the definitions.
#[test]
fn tokens_and_targets_are_those_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let missing = |row: usize, channel: usize| channel == 1 && (160..163).contains(&row);
    write_table(folder.path(), missing);
    let channels: Vec<Vec<f64>> =
        (0..2).map(|channel| (0..ROWS).map(|row| format!("{:.3}", value(row, channel)).parse().unwrap()).collect()).collect();
    let moments = |channel: usize| {
        let known = &channels[channel][..150];
        let mean = known.iter().sum::<f64>() / 150.0;
        (mean, (known.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 150.0).sqrt())
    };
    let scaled = |row: usize, channel: usize| (channels[channel][row] - moments(channel).0) / moments(channel).1;
    let task = |more: Forecast| make(&TaskConfig::Forecast(more), 1).unwrap();
    let rows = |task: &dyn SequenceTask, sequence: usize| {
        let mut rows = SequenceRows::default();
        push(task, &mut rows, Split::Validation, sequence, 0..12, true);
        rows
    };
    // The first window of the validation split looks back on rows 138 to 149.
    let base = Forecast { missing: MissingRows::Zero, ..config(folder.path()) };
    let plain = task(Forecast { scaling: Scaling::Dataset, calendar: true, ..base.clone() });
    let Lengths::Each(lengths) = plain.lengths(Split::Validation) else { panic!() };
    assert_eq!((lengths.len(), lengths[0]), (37, 12));
    let found = rows(&*plain, 0);
    assert_eq!((found.due.as_slice(), found.numbers.len(), found.targets.len()), (&[11][..], 12 * 8, 8));
    let near = |found: f32, expected: f64| assert!((f64::from(found) - expected).abs() < 1e-5, "{found}, not {expected}");
    for token in 0..12 {
        (0..2).for_each(|channel| near(found.numbers[8 * token + channel], scaled(138 + token, channel)));
        assert_eq!(found.numbers[8 * token + 2..8 * token + 4], [0.0, 0.0], "nothing is missing here");
        near(found.numbers[8 * token + 4], ((138 + token) % 24) as f64 / 23.0 - 0.5);
    }
    (0..8).for_each(|at| near(found.targets[at], scaled(150 + at / 2, at % 2)));
    // A window over what is missing: a flag, and nothing due.
    let (before, after) = (rows(&*plain, 8), rows(&*plain, 14));
    assert_eq!(before.gains.iter().map(|gain| usize::from(*gain == 0.0)).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1, 0, 1]);
    assert_eq!(after.numbers[8 * 8..8 * 8 + 4], [after.numbers[64], 0.0, 0.0, 1.0]);
    // Mean and deviation of the window, of each channel by itself.
    let window = task(Forecast { channels: Channels::Independent, ..base.clone() });
    let found = rows(&*window, 1);
    let numbers: Vec<f64> = (138..150).map(|row| scaled(row, 1)).collect();
    let mean = numbers.iter().sum::<f64>() / 12.0;
    let scale = (numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / 12.0 + 1e-5).sqrt();
    (0..12).for_each(|token| near(found.numbers[2 * token], (numbers[token] - mean) / scale));
    for step in 0..4 {
        near(found.gains[step], scale);
        near(found.targets[step], scaled(150 + step, 1) - mean);
    }
    // The rows before a token's own, back to the window's begin.
    let lagged = task(Forecast { lags: 4, missing: MissingRows::Last, ..config(folder.path()) });
    let mut found = SequenceRows::default();
    push(&*lagged, &mut found, Split::Train, 5, 1..12, true);
    assert_eq!(found.numbers.len(), 11 * 8);
    for (token, lag, channel) in [(1, 0, 1), (1, 1, 0), (7, 3, 1), (11, 2, 0)] {
        let numbers: Vec<f64> = (5..17).map(|row| scaled(row, channel)).collect();
        let mean = numbers.iter().sum::<f64>() / 12.0;
        let scale = (numbers.iter().map(|number| (number - mean).powi(2)).sum::<f64>() / 12.0 + 1e-5).sqrt();
        near(found.numbers[8 * (token - 1) + 2 * lag + channel], (numbers[token - lag] - mean) / scale);
    }
    assert_eq!(found.numbers[4..8], [0.0; 4], "nothing is before the window");
    // The past as it was known at each row, from the table's first row on; every token is due while it trains.
    let config = Forecast { scaling: Scaling::Running, span: 20, anchor: Anchor::Last, due: Due::Every, ..config(folder.path()) };
    write_table(folder.path(), |_, _| false);
    let running = task(config);
    let mut found = SequenceRows::default();
    push(&*running, &mut found, Split::Train, 5, 0..12, true);
    assert_eq!(found.due, (0..12).collect::<Vec<_>>());
    let mut scaler = Scaler::new(Scaling::Running, 20, 2);
    for row in 0..17 {
        scaler.push(&[scaled(row, 0), scaled(row, 1)]);
        for channel in (0..2).filter(|_| row >= 5) {
            let token = row - 5;
            near(found.numbers[2 * token + channel], (scaled(row, channel) - scaler.center(channel)) / scaler.scale(channel));
            near(found.gains[8 * token + channel], scaler.scale(channel));
            near(found.targets[8 * token + 6 + channel], scaled(row + 4, channel) - scaled(row, channel));
        }
    }
}

/// Law 7 through the file: scaling, calendar and places.
#[test]
fn a_stream_forecasts_as_the_evaluation_does() {
    let folder = tempfile::tempdir().unwrap();
    write_table(folder.path(), |_, _| false);
    write_job(folder.path(), &["task.scaling=running", "task.calendar=true", "train.steps=20"]);
    train(folder.path(), "run", &[]);
    let path = crate::common::checkpoint(&folder.path().join("run"), 20);
    let Model::Sequence(policy) = checkpoint::load_model::<Cpu>(&path, &CPU).unwrap() else { panic!() };
    assert_eq!((policy.description.spec.numbers, policy.description.normalizer.as_ref().unwrap().mean.len()), (6, 2));
    let task =
        make(&TaskConfig::Forecast(Forecast { scaling: Scaling::Running, calendar: true, ..config(folder.path()) }), 1).unwrap();
    for window in [0, 17, 36] {
        let (mut whole, mut said) = (SequenceRows::default(), Vec::new());
        push(&*task, &mut whole, Split::Test, window, 0..12, true);
        let batch = SequenceBatch::asking_all(&whole, 1, &policy.description.spec, &CPU);
        let (outputs, _) = policy.network.forward(&batch, policy.network.initial_state(1, &CPU), Dropout::OFF);
        let mut stream = Stream::new(policy.clone(), CPU);
        for (start, end) in [(0, 5), (5, 6), (6, 12)] {
            let mut rows = SequenceRows::default();
            push(&*task, &mut rows, Split::Test, window, start..end, start == 0);
            said.extend(stream.push(&rows));
        }
        let outputs: Vec<f32> = outputs.into_data().to_vec().unwrap();
        assert_eq!(said.len(), outputs.len());
        assert!(said.iter().zip(&outputs).all(|(a, b)| (a - b).abs() < 1e-5), "window {window}: {said:?}, not {outputs:?}");
    }
}

#[test]
fn what_is_wrong_with_a_forecast_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_table(folder.path(), |row, channel| (row, channel) == (7, 1));
    write_job(folder.path(), &[]);
    std::fs::write(folder.path().join("plain.csv"), "a,b\n1,2\n3,x\n").unwrap();
    let numbers: Vec<String> = (0..60).map(|row| format!("{row},{}", row % 7)).collect();
    std::fs::write(folder.path().join("bare.csv"), numbers.join("\n")).unwrap();
    for (name, of) in [
        ("late.csv", (|row| if row < 160 { String::new() } else { row.to_string() }) as fn(usize) -> String),
        ("far.csv", |row| if row == 200 { "1e300".into() } else { (row % 5).to_string() }),
        ("flat.csv", |row| if row < 160 { "5".into() } else { row.to_string() }),
    ] {
        let rows: String = (0..ROWS).map(|row| format!("{},{}\n", row % 7, of(row))).collect();
        std::fs::write(folder.path().join(name), format!("a,b\n{rows}")).unwrap();
    }
    for (set, words) in [
        (&[][..], &["task.source (task.missing", "table.csv, line 9, column 29", "\"high\" is missing"][..]),
        (&["task.source="], &["task.source", "path of a table"]),
        (&["task.source=none.csv"], &["task.source", "none.csv: cannot read it"]),
        (&["task.source=job.json"], &["task.source", "job.json", ".csv, .tsv or .txt"]),
        (&["task.source=plain.csv"], &["plain.csv, line 3, column 3", "\"x\" in \"b\""]),
        (&["task.columns=[\"mid\"]"], &["task.source", "no column \"mid\"", "low, high"]),
        (&["task.missing=last", "task.columns=[\"low\", \"low\"]"], &["task.columns: \"low\" is there twice"]),
        (
            &["task.source=late.csv", "task.missing=last"],
            &["task.source: the column \"b\" of late.csv has no number in the training"],
        ),
        (&["task.source=far.csv"], &["task.source: far.csv, row 201, \"b\": found 1e300", "standard deviations"]),
        (&["task.missing=last", "task.split.fractions=[0.7, 0.1, 0.2]"], &["task.split", "more than one of"]),
        (&["task.split.rows=[1, 0, 2]"], &["task.split.rows: found [1,0,2]", "three lengths above 0"]),
        (&["task.split.rows=null", "task.split.fractions=[0.7, 0.2, 0.2]"], &["task.split.fractions", "at most 1"]),
        (&["task.missing=last", "task.split.rows=[200, 40, 40]"], &["task.split: table.csv", "there are 240"]),
        (
            &["task.missing=last", "task.split.rows=[150, 3, 40]"],
            &["task.split: the validation split of table.csv", "task.horizon"],
        ),
        (&["task.due=every"], &["task.due: found \"every\"", "running"]),
        (&["task.season=13"], &["task.season: found 13", "task.look_back"]),
        (&["task.look_back=0"], &["task.look_back: found 0"]),
        (&["task.lags=13"], &["task.lags: found 13", "task.look_back"]),
        (&["train.context_length=5"], &["train.context_length: found 5", "task.look_back"]),
        (
            &["task.source=bare.csv", "task.split.rows=[30, 15, 15]", "task.calendar=true"],
            &["task.calendar: bare.csv has no column of times"],
        ),
        (&["task.source=bare.csv", "task.split.rows=null", "task.split.months=[1, 1, 1]"], &["task.split: bare.csv", "months"]),
    ] {
        let output = aaren(folder.path(), &["train", "job.json", "--run", "run"], set).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.starts_with("error: ") && said.lines().count() == 1, "{set:?}: {said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{set:?}: {said:?} lacks {word:?}"));
        assert!(!folder.path().join("run").exists(), "{set:?}");
    }
    let flat =
        aaren(folder.path(), &["train", "job.json", "--run", "flat", "--strict"], &["task.source=flat.csv"]).output().unwrap();
    let said = String::from_utf8_lossy(&flat.stderr);
    assert!(!flat.status.success() && said.contains("the column \"b\" is 5 in all of the training split"), "{said}");
    // A gap in the times looks wrong and may be meant.
    write_table(folder.path(), |_, _| false);
    let text = std::fs::read_to_string(folder.path().join("table.csv")).unwrap();
    let gap: Vec<&str> = text.lines().enumerate().filter(|(line, _)| *line != 50).map(|(_, text)| text).collect();
    std::fs::write(folder.path().join("table.csv"), gap.join("\n")).unwrap();
    let short = ["train.steps=2", "train.warmup_steps=0", "train.log_every=1", "evaluation.every=0"];
    let strict = aaren(folder.path(), &["train", "job.json", "--run", "run", "--strict"], &short).output().unwrap();
    let said = String::from_utf8_lossy(&strict.stderr);
    assert!(!strict.status.success() && said.contains("table.csv, line 51: 7200 s after the row before"), "{said}");
    let warned = aaren(folder.path(), &["train", "job.json", "--run", "other"], &["train.steps=2"]).output().unwrap();
    assert!(warned.status.success() && String::from_utf8_lossy(&warned.stderr).contains("7200 s after"), "{warned:?}");
}

/// What a table is forecast by token by token, over the whole split, is what its windows are forecast by as far as they begin alike.
#[test]
fn a_stream_is_scored_over_the_whole_split() {
    let folder = tempfile::tempdir().unwrap();
    write_table(folder.path(), |_, _| false);
    write_job(folder.path(), &["task.scaling=running", "task.channels=independent", "train.steps=20"]);
    train(folder.path(), "run", &[]);
    stdout(&mut aaren(folder.path(), &["evaluate", "run", "--execution", "streaming", "--json", "stream.json"], &[]));
    let report = json(&folder.path().join("stream.json"));
    assert_eq!(report["execution"], "streaming");
    let path = crate::common::checkpoint(&folder.path().join("run"), 20);
    let Model::Sequence(policy) = checkpoint::load_model::<Cpu>(&path, &CPU).unwrap() else { panic!() };
    let config = Forecast { scaling: Scaling::Running, channels: Channels::Independent, ..config(folder.path()) };
    let task = make(&TaskConfig::Forecast(config), 1).unwrap();
    // Forty rows to come after the first window's, so that there are 37 windows of four; a stream of each channel goes over all of them.
    assert_eq!(task.streams(Split::Test), Some(vec![11 + 37; 2]));
    let (mut squares, mut count) = (0.0, 0);
    for channel in 0..2 {
        let mut stream = Stream::new(policy.clone(), CPU);
        for token in 0..48 {
            let mut rows = SequenceRows::default();
            task.push_stream(&mut rows, Split::Test, channel, token..token + 1);
            (rows.resets, rows.positions) = (vec![token == 0], vec![token]);
            let output = stream.push(&rows);
            assert_eq!(rows.due.len(), usize::from(token >= 11));
            if rows.due.is_empty() {
                continue;
            }
            if token == 11 {
                // The first window, whose tokens are the stream's.
                let mut window = SequenceRows::default();
                push(&*task, &mut window, Split::Test, channel, 0..12, true);
                assert_eq!((&window.gains, &window.targets), (&rows.gains, &rows.targets));
                let near = stream.ask(&window).into_iter().zip(&output).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(near, "{output:?}");
            }
            for (at, output) in output.iter().enumerate() {
                squares += f64::from(rows.gains[at] * output - rows.targets[at]).powi(2);
                count += 1;
            }
        }
    }
    let found = report["sequences"]["test"][0]["value"].as_f64().unwrap();
    assert!((found - squares / f64::from(count)).abs() < 1e-5 * found, "{found}, not {}", squares / f64::from(count));
    // Where a token needs its whole window there is no stream.
    write_job(folder.path(), &["train.steps=2"]);
    train(folder.path(), "whole", &[]);
    let refused = aaren(folder.path(), &["evaluate", "whole", "--execution", "streaming"], &[]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("task.scaling = \"running\""), "{said}");
}
