//! What the log writes for TensorBoard is what TensorBoard reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::RunDir;
use super::metrics::Log;
use crate::config::OfflineJob;

/// A run that was killed after step 40 and resumed from step 20.
fn resumed_run(path: &Path) {
    let run = RunDir::create(path, &OfflineJob::quickstart(&[]).unwrap(), 2).unwrap();
    let mut log = Log::open(&run, None).unwrap();
    for step in [10, 20, 30, 40] {
        log.scalars(step, &[("train/loss", 1.0 / step as f64), ("evaluation/return_mean", step as f64)]).unwrap();
    }
    drop((log, run));
    let run = RunDir::resume(path).unwrap();
    let mut log = Log::open(&run, Some(20)).unwrap();
    for step in [30, 50] {
        log.scalars(step, &[("train/loss", -1.0 / step as f64)]).unwrap();
    }
}

fn event_files(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap().to_string_lossy().contains("tfevents"));
    files.sort();
    files
}

/// CRC-32C one bit at a time, masked as TFRecord asks: an implementation that shares nothing with the writer's.
fn masked_crc(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 })
    });
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[test]
fn event_files_are_whole_records_with_right_checksums() {
    assert_eq!(masked_crc(b"123456789"), 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    resumed_run(&path);
    let files = event_files(&path);
    assert_eq!(files.len(), 2, "a resumed run begins a new file");
    let mut records = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let seconds = name.strip_prefix("events.out.tfevents.").unwrap().split('.').next().unwrap();
        assert!(seconds.len() == 10 && seconds.parse::<u64>().is_ok(), "{name}");
        let bytes = fs::read(&file).unwrap();
        let mut rest = &bytes[..];
        let mut count = 0;
        while !rest.is_empty() {
            let (length, after) = rest.split_at(8);
            let (length_crc, after) = after.split_at(4);
            assert_eq!(masked_crc(length).to_le_bytes(), length_crc, "{name}, record {count}");
            let (data, after) = after.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (data_crc, after) = after.split_at(4);
            assert_eq!(masked_crc(data).to_le_bytes(), data_crc, "{name}, record {count}");
            (rest, count) = (after, count + 1);
        }
        records.push(count);
    }
    // The version, the start of a session, and one record a value; the two of the last step before the resume once more.
    assert_eq!(records, [2 + 8, 2 + 2 + 2]);
}

#[test]
fn a_file_after_a_clock_that_ran_ahead_sorts_last_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    resumed_run(&path);
    let ahead = path.join("events.out.tfevents.4000000000.aaren.1.0");
    fs::rename(&event_files(&path)[1], &ahead).unwrap();
    let run = RunDir::resume(&path).unwrap();
    Log::open(&run, Some(50)).unwrap();
    let files = event_files(&path);
    assert_eq!((files.len(), &files[1]), (3, &ahead));
    assert!(files[2].to_string_lossy().contains("tfevents.4000000001.aaren."), "{files:?}");
}

#[test]
fn events_that_a_kill_left_out_after_their_line_are_written_at_resume() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = RunDir::create(&path, &OfflineJob::quickstart(&[]).unwrap(), 2).unwrap();
    Log::open(&run, None).unwrap();
    drop(run);
    let lines =
        [r#"{"step":10,"wall_seconds":1,"train/loss":1.0}"#, r#"{"step":20,"wall_seconds":2,"evaluation/return_mean":0.5}"#];
    fs::write(path.join("metrics.jsonl"), lines.join("\n") + "\n").unwrap();
    Log::open(&RunDir::resume(&path).unwrap(), Some(20)).unwrap();
    let bytes = fs::read(&event_files(&path)[1]).unwrap();
    let has = |name: &[u8]| bytes.windows(name.len()).any(|window| window == name);
    assert!(has(b"evaluation/return_mean") && !has(b"train/loss"));
}

const READER: &str = r#"
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
events.Reload()
print(json.dumps({tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}))
"#;

#[test]
fn tensorboard_reads_the_values_and_forgets_what_was_made_again() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let has_tensorboard = Command::new(&python).args(["-c", "import tensorboard"]).output();
    if !has_tensorboard.is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no tensorboard");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    resumed_run(&path);
    let output = Command::new(&python).args(["-c", READER]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = |values: &[(u64, f64)]| {
        serde_json::json!(values.iter().map(|(step, value)| (*step, f64::from(*value as f32))).collect::<Vec<_>>())
    };
    assert_eq!(read["train/loss"], expected(&[(10, 0.1), (20, 0.05), (30, -1.0 / 30.0), (50, -0.02)]));
    assert_eq!(read["evaluation/return_mean"], expected(&[(10, 10.0), (20, 20.0)]));
    assert_eq!(read.as_object().unwrap().len(), 2);
}
