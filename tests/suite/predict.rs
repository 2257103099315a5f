//! Saved models that answer rows as they come.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Output, Stdio};

use crate::common::*;
use crate::forecast::{config, write_job, write_table};
use aaren_agents::config::{Anchor, Changes, Channels, EventFiles, Execution, Forecast, Job, MissingRows, TaskConfig};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::sequence::{Answer, Lengths, Predictor, Split, make, push};
use aaren_policy::{Dropout, Model, NextEvent, Scaling, SequenceBatch, SequenceRows, checkpoint};
use serde_json::Value;

fn train(folder: &Path, run: &str, set: &[&str]) {
    stdout(&mut aaren(folder, &["train", "job.json", "--run", run], set));
}

/// What `aaren predict` makes of some input.
fn predict(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command = aaren(folder, &[&["predict"], arguments].concat(), &[]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_string();
    let feeding = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = feeding.join();
    output
}

fn answers(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a prediction has to say: the window that ends at a row, looked at as the evaluation does.
fn assert_forecasts_as_evaluated(folder: &Path, run: &str, more: &Forecast, execution: Option<Execution>) {
    let path = checkpoint(&folder.join(run), 20);
    let Model::Sequence(policy) = checkpoint::load_model::<Cpu>(&path, &CPU).unwrap() else { panic!() };
    let task = make(&TaskConfig::Forecast(more.clone()), 1).unwrap();
    let normalizer = policy.description.normalizer.clone().unwrap();
    let (look_back, horizon) = (more.look_back, more.horizon);
    let parts = if more.channels == Channels::Independent { 2 } else { 1 };
    let table = std::fs::read_to_string(folder.join("table.csv")).unwrap();
    let number = |row: usize, channel: usize| {
        table.lines().nth(row + 1).unwrap().split(',').nth(channel + 1).unwrap().parse::<f64>().unwrap_or(f64::NAN)
    };
    let mut predictor = Predictor::open(&path, execution).unwrap();
    let mut said = Vec::new();
    for (index, line) in table.lines().enumerate() {
        let prediction = predictor.push(line.as_bytes()).unwrap();
        assert_eq!(prediction.is_none(), index == 0, "the header alone has no answer");
        said.extend(prediction.map(|prediction| prediction.answer));
    }
    // A stream has no begin in the middle of the table, so only the first window can be compared with it.
    let is_window = more.scaling == Scaling::Window || execution == Some(Execution::Window);
    let windows = if is_window { vec![(Split::Train, 0), (Split::Test, 0), (Split::Test, 36)] } else { vec![(Split::Train, 0)] };
    for (split, window) in windows {
        let origin = window + if split == Split::Train { look_back } else { 190 };
        if is_window {
            assert!(matches!(said[look_back - 2], Answer::Waiting { waits_for: 1 }), "{:?}", said[look_back - 2]);
        }
        let Answer::Forecast { forecast } = &said[origin - 1] else { panic!("{:?}", said[origin - 1]) };
        for part in 0..parts {
            let mut rows = SequenceRows::default();
            push(&*task, &mut rows, split, window * parts + part, 0..look_back, true);
            let batch = SequenceBatch::new(&rows, 1, &policy.description.spec, &CPU);
            let (outputs, _) = policy.network.forward(&batch, policy.network.initial_state(1, &CPU), Dropout::OFF);
            let outputs: Vec<f32> = outputs.into_data().to_vec().unwrap();
            let outputs = &outputs[outputs.len() - horizon * (2 / parts)..];
            let first = rows.gains.len() - outputs.len();
            for (at, output) in outputs.iter().enumerate() {
                let (step, channel) = (at / (2 / parts), if parts == 2 { part } else { at % 2 });
                let (gain, target) = (f64::from(rows.gains[first + at]), f64::from(rows.targets[first + at]));
                let (mean, deviation) = (normalizer.mean[channel], normalizer.deviation[channel]);
                // The target is the true number without the anchor.
                let anchor = (number(origin + step, channel) - mean) / deviation - target;
                let expected = (anchor + gain * f64::from(*output)) * deviation + mean;
                let found = forecast[["low", "high"][channel]][step];
                let is_due = gain != 0.0;
                assert!(!is_due || (found - expected).abs() < 1e-4 * deviation, "{run} {window} {step}: {found}, not {expected}");
            }
        }
    }
}

#[test]
fn forecasts_are_those_of_the_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    for (run, set, config, execution) in [
        ("mean", &[][..], config.clone(), None),
        (
            "each",
            &["task.channels=independent", "task.anchor=last", "task.lags=3"][..],
            Forecast { channels: Channels::Independent, lags: 3, anchor: Anchor::Last, ..config.clone() },
            Some(Execution::Window),
        ),
        (
            "running",
            &["task.scaling=running", "task.calendar=true", "task.anchor=last", "task.lags=12"],
            Forecast { scaling: Scaling::Running, lags: 12, calendar: true, anchor: Anchor::Last, ..config.clone() },
            Some(Execution::Window),
        ),
        (
            "running",
            &[],
            Forecast { scaling: Scaling::Running, lags: 12, calendar: true, anchor: Anchor::Last, ..config.clone() },
            None,
        ),
        (
            "holes",
            &["task.scaling=dataset", "task.missing=zero"],
            Forecast { scaling: Scaling::Dataset, missing: MissingRows::Zero, ..config.clone() },
            Some(Execution::Window),
        ),
    ] {
        let has_holes = config.missing == MissingRows::Zero;
        write_table(folder.path(), |row, channel| has_holes && (row * 7 + channel) % 11 == 3);
        if !folder.path().join(run).exists() {
            write_job(folder.path(), &[set, &["train.steps=20"]].concat());
            train(folder.path(), run, &[]);
        }
        assert_forecasts_as_evaluated(folder.path(), run, &config, execution);
    }
}

#[test]
fn a_stream_goes_on_where_it_was_stopped_or_killed() {
    let folder = tempfile::tempdir().unwrap();
    write_table(folder.path(), |_, _| false);
    let table = std::fs::read_to_string(folder.path().join("table.csv")).unwrap();
    for (run, set) in [
        ("stream", &["task.scaling=running", "task.channels=independent", "task.lags=2", "policy.mixer=transformer"][..]),
        ("window", &["policy.mixer=mamba"]),
    ] {
        write_job(folder.path(), &[set, &["train.steps=3"]].concat());
        train(folder.path(), run, &[]);
        let whole = answers(&predict(folder.path(), &[run], &table));
        assert_eq!((whole.len(), &whole[239]["row"], &whole[239]["time"]), (240, &240.into(), &"2016-07-10 23:00:00".into()));
        // In three parts, the later ones without a header and with it.
        let state = format!("{run}.state");
        let lines: Vec<&str> = table.lines().collect();
        let parts = [lines[..71].join("\n"), lines[71..150].join("\n"), [&lines[..1], &lines[150..]].concat().join("\r\n")];
        let mut said = Vec::new();
        for part in &parts {
            let output = predict(folder.path(), &[run, "--state", &state], part);
            assert!(String::from_utf8_lossy(&output.stderr).contains(" has no line end"), "{output:?}");
            said.extend(answers(&output));
        }
        assert_eq!(said, whole, "{run}");
        // A killed one, whose caller begins again with the first row.
        std::fs::remove_file(folder.path().join(&state)).unwrap();
        let arguments = [run, "--state", &state, "--from-start"];
        let mut command = aaren(folder.path(), &[&["predict"], &arguments[..]].concat(), &[]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all((lines[..101].join("\n") + "\n").as_bytes()).unwrap();
        stdin.flush().unwrap();
        let mut said: Vec<Value> = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .take(100)
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect();
        child.kill().unwrap();
        child.wait().unwrap();
        let rest = answers(&predict(folder.path(), &arguments, &table));
        // What was answered and not yet kept is answered again.
        let first = rest[0]["row"].as_u64().unwrap() as usize;
        assert!(first <= 101, "{run}: a row is lost before row {first}");
        said.truncate(first - 1);
        said.extend(rest);
        assert_eq!(said, whole, "{run}: killed");
    }
}

#[test]
fn what_a_stream_carries_does_not_grow() {
    let folder = tempfile::tempdir().unwrap();
    write_table(folder.path(), |_, _| false);
    write_job(folder.path(), &["task.scaling=running", "train.steps=2"]);
    train(folder.path(), "run", &[]);
    let mut predictor = Predictor::open(&checkpoint(&folder.path().join("run"), 2), None).unwrap();
    let mut sizes = Vec::new();
    for row in 0..20_000 {
        predictor.push(format!("{},{}", row % 17, row % 5).as_bytes()).unwrap();
        if [1_000, 19_000].contains(&row) {
            sizes.push(predictor.store().unwrap().len());
        }
    }
    assert!(sizes[0].abs_diff(sizes[1]) < 64, "{sizes:?}");
}

#[test]
fn classes_are_said_after_every_step() {
    let folder = tempfile::tempdir().unwrap();
    crate::sequences::write_classes(folder.path(), false);
    crate::sequences::write_classify(folder.path(), &[]);
    train(folder.path(), "run", &[]);
    let report = json(&folder.path().join("run/evaluation.json"));
    let text = std::fs::read_to_string(folder.path().join("test.ts")).unwrap();
    let (mut input, mut labels, mut ends) = (String::new(), Vec::new(), Vec::new());
    for case in text.lines().skip_while(|line| !line.starts_with("@data")).skip(1) {
        let mut channels: Vec<&str> = case.split(':').collect();
        labels.push(channels.pop().unwrap());
        let channels: Vec<Vec<&str>> = channels.iter().map(|channel| channel.split(',').collect()).collect();
        for step in 0..channels[0].len() {
            let numbers: Vec<&str> = channels.iter().map(|channel| channel[step]).collect();
            input += &(numbers.join(",") + "\n");
        }
        ends.push(input.lines().filter(|line| !line.is_empty()).count());
        input += "\n";
    }
    let said = answers(&predict(folder.path(), &["run"], &input));
    assert_eq!(said.len(), *ends.last().unwrap(), "a line out for every row in");
    assert_eq!(said[ends[1] - 1]["sequence"], 2);
    let right = ends.iter().zip(&labels).filter(|(end, label)| said[**end - 1]["class"] == **label).count();
    let accuracy = right as f64 / labels.len() as f64;
    assert_eq!(report["sequences"]["test"][0]["value"].as_f64().unwrap(), accuracy);
    let sum: f64 = said[0]["probabilities"].as_object().unwrap().values().map(|value| value.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
}

#[test]
fn what_is_wrong_with_rows_and_states_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_table(folder.path(), |_, _| false);
    write_job(folder.path(), &["train.steps=2"]);
    train(folder.path(), "run", &[]);
    train(folder.path(), "other", &["seed=2"]);
    let rows = "date,low,high\n2016-07-01 00:00,1,2\n2016-07-01 01:00,1,2\n";
    answers(&predict(folder.path(), &["other", "--state", "other.state"], rows));
    std::fs::write(folder.path().join("bad.state"), "no state").unwrap();
    for (arguments, input, said, words) in [
        (
            &["run"][..],
            "date,low,high\n2016-07-01 00:00,1\n",
            0,
            &["standard input, line 2", "found a row of 2 fields, expected 3"][..],
        ),
        (&["run"], &format!("{rows}2016-07-01 02:00,1,x\n"), 2, &["standard input, line 4, column 20", "\"x\" in \"high\""]),
        (&["run"], &format!("{rows}2016-07-01 02:00,1,\n"), 2, &["line 4", "a number of \"high\" is missing"]),
        (&["run"], &format!("{rows}2016-07-01 01:00,1,2\n"), 2, &["line 4", "not later than the row before"]),
        (&["run"], &format!("{rows}2016-07-01 02:00,1,1e300\n"), 2, &["row 3", "found 1e300", "standard deviations"]),
        (&["run"], "\u{feff}date,low,high\n2016-07-01 01:00,1,2\n2016-07-01 00:00,1,2\n", 1, &["not later than the row before"]),
        (&["run"], "low\n1\n", 0, &["standard input: there is no column \"high\"; there are low"]),
        (&["run"], "1,2,3\n", 0, &["line 1", "found a row of 3 numbers without a header, expected 2: low, high"]),
        (&["run", "--state", "other.state"], rows, 0, &["--state other.state", "another model"]),
        (&["run", "--state", "bad.state"], rows, 0, &["--state bad.state", "no state of a stream"]),
        (&["run", "--state", "none/run.state"], rows, 0, &["--state", "none/run.state"]),
        (&["run", "--from-start"], rows, 0, &["--state"]),
        (&["run", "--state", "."], rows, 0, &["--state: . is no regular file"]),
        (&["run", "--state", "/dev/zero"], rows, 0, &["--state: /dev/zero is no regular file"]),
        (
            &["other", "--state", "other.state", "--from-start"],
            "1,2\n",
            0,
            &["--from-start: the input has 1 rows, and --state has seen 2"],
        ),
        (
            &["other", "--state", "other.state", "--from-start"],
            "1,2\n1,3\n1,2\n",
            0,
            &["--from-start: the first 2 rows of the input are not those that --state has seen"],
        ),
        (&["run", "--execution", "streaming"], rows, 0, &["task.scaling", "--execution window"]),
        (&["none"], rows, 0, &["none: there is no run folder"]),
    ] {
        let output = predict(folder.path(), arguments, input);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains("error: "), "{arguments:?} {input:?}: {error}");
        words.iter().for_each(|word| assert!(error.contains(word), "{arguments:?} {input:?}: {error:?} lacks {word:?}"));
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), said, "{arguments:?} {input:?}");
    }
    // The rows before a wrong one are kept.
    let wrong = predict(folder.path(), &["run", "--state", "s"], &format!("{rows}x\n"));
    assert!(!wrong.status.success());
    let next = answers(&predict(folder.path(), &["run", "--state", "s"], "2016-07-01 02:00,1,2\n"));
    assert_eq!((next.len(), &next[0]["row"]), (1, &3.into()));
    assert_one_stream_a_file(folder.path(), rows);
}

/// Two processes with one state would each lose what the other has seen.
fn assert_one_stream_a_file(folder: &Path, rows: &str) {
    let mut command = aaren(folder, &["predict", "run", "--state", "shared"], &[]);
    let mut first = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = first.stdin.take().unwrap();
    stdin.write_all(rows.as_bytes()).unwrap();
    let mut said = BufReader::new(first.stdout.take().unwrap()).lines();
    assert_eq!(said.by_ref().take(2).count(), 2);
    // The state is written after what is said; the second process would be the first otherwise.
    while std::fs::read(folder.join("shared")).unwrap() != predict_state(folder, rows) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    answers(&predict(folder, &["run", "--state", "shared"], "2016-07-01 02:00,1,2\n"));
    stdin.write_all(b"2016-07-01 02:00,1,2\n").unwrap();
    drop(stdin);
    let output = first.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("another process has written shared since row 2"), "{error}");
}

/// The state after some rows.
fn predict_state(folder: &Path, rows: &str) -> Vec<u8> {
    let mut predictor = Predictor::open(&checkpoint(&folder.join("run"), 2), None).unwrap();
    rows.lines().for_each(|line| drop(predictor.push(line.as_bytes()).unwrap()));
    predictor.store().unwrap()
}

#[test]
fn the_next_event_is_said_as_the_evaluation_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    crate::next_event::write_files(folder.path());
    crate::next_event::write_job(folder.path(), &["train.steps=20", "task.clock=[\"elapsed\", \"hour\"]"]);
    train(folder.path(), "run", &[]);
    let text = std::fs::read_to_string(folder.path().join("job.json")).unwrap();
    let Job::Sequence(mut job) = Job::parse(&text, &Changes::default()).unwrap() else { panic!("another kind") };
    let TaskConfig::Events(events) = &mut job.task else { panic!("another task") };
    for files in [&mut events.train, &mut events.test] {
        *files = EventFiles::One(folder.path().join(files.to_string()).display().to_string());
    }
    let task = make(&job.task, job.seed).unwrap();
    let path = checkpoint(&folder.path().join("run"), 20);
    let Model::Sequence(policy) = checkpoint::load_model::<Cpu>(&path, &CPU).unwrap() else { panic!() };
    let normalizer = policy.description.normalizer.clone().unwrap();
    let test = std::fs::read_to_string(folder.path().join("test.csv")).unwrap();
    let mut input = "time,mark\n".to_string();
    for lines in test.lines().skip(1).collect::<Vec<_>>().chunk_by(|a, b| a.split(',').next() == b.split(',').next()) {
        lines.iter().for_each(|line| input += &(line.split_once(',').unwrap().1.to_owned() + "\n"));
        input += "\n";
    }
    let mut said = answers(&predict(folder.path(), &["run"], &input)).into_iter();
    let Lengths::Each(lengths) = task.lengths(Split::Test) else { panic!() };
    for (sequence, &length) in lengths.iter().enumerate() {
        let mut rows = SequenceRows::default();
        push(&*task, &mut rows, Split::Test, sequence, 0..length, true);
        let batch = SequenceBatch::asking_all(&rows, 1, &policy.description.spec, &CPU);
        let (outputs, _) = policy.network.forward(&batch, policy.network.initial_state(1, &CPU), Dropout::OFF);
        let outputs: Vec<f32> = outputs.into_data().to_vec().unwrap();
        for output in outputs.chunks_exact(12) {
            let (next, said) = (NextEvent::new(output, 3, normalizer.mean[0], normalizer.deviation[0]), said.next().unwrap());
            assert_eq!(said["sequence"], sequence + 1);
            let near = |found: &Value, expected: f64| (found.as_f64().unwrap() / expected - 1.0).abs() < 1e-3;
            assert!(near(&said["median"], next.median()) && near(&said["tenths"][8], next.quantile(0.9)), "{said}");
            let mark = ["a", "b", "c"][next.mark()];
            assert_eq!((&said["mark"], &said["unit"]), (&mark.into(), &"minutes".into()));
            assert!(near(&said["probabilities"][mark], next.log_marks()[next.mark()].exp()), "{said}");
        }
    }
    assert!(said.next().is_none());
    let wrong = predict(folder.path(), &["run"], "5,a\n4,b\n");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("line 2, column 1: \"4\" is before the event before it"));
    let wrong = predict(folder.path(), &["run"], "5,z\n");
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("the mark \"z\" is none of those that were trained on: a, b, c"));
}

/// A byte that has changed on the disk, and a description that somebody has changed, are errors and no panics.
#[test]
fn damaged_states_and_models_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    write_table(folder.path(), |_, _| false);
    write_job(folder.path(), &["task.scaling=running", "task.lags=3", "train.steps=2"]);
    train(folder.path(), "run", &[]);
    let path = checkpoint(&folder.path().join("run"), 2);
    let mut predictor = Predictor::open(&path, None).unwrap();
    (0..7).for_each(|row| _ = predictor.push(format!("{row},{}", row % 3).as_bytes()).unwrap());
    let stored = predictor.store().unwrap();
    predictor.restore(&stored).unwrap();
    for at in 0..stored.len() {
        let mut damaged = stored.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(predictor.restore(&damaged).is_err(), "{at}");
        assert!(predictor.restore(&stored[..at]).is_err(), "{at}");
    }
    let description = std::fs::read_to_string(path.join("policy.json")).unwrap();
    for (from, to, words) in [
        ("\"lags\": 3", "\"lags\": 2", "its network takes"),
        ("\"lags\": 3", "\"lags\": 0", "task.lags: found 0"),
        ("\"horizon\": 4", "\"horizon\": 5", "its network takes"),
        ("\"low\",", "", "names of its channels"),
    ] {
        assert!(description.contains(from), "{from}: {description}");
        std::fs::write(path.join("policy.json"), description.replace(from, to)).unwrap();
        let error = format!("{:#}", Predictor::open(&path, None).unwrap_err());
        assert!(error.contains(words), "{to}: {error}");
    }
}
