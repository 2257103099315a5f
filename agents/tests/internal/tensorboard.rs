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
    log.finish(50).unwrap();
}

/// A picture of 3 times 2 points, as far as its size goes.
const GIF: &[u8] = b"GIF89a\x03\0\x02\0";

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
    // The version, the start of a session, the job as text and as hyperparameters, and one record a value; the two of the last step
    // before the resume once more, and the end of the session.
    assert_eq!(records, [4 + 8, 4 + 2 + 2 + 1]);
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
said = {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
assert events.SummaryMetadata("config").plugin_data.plugin_name == "text"
said["config"] = events.Tensors("config")[0].tensor_proto.string_val[0].decode()
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
def hparams(name):
    plugin = events.SummaryMetadata("_hparams_/" + name).plugin_data
    assert plugin.plugin_name == "hparams"
    return HParamsPluginData.FromString(plugin.content)
values = hparams("session_start_info").session_start_info.hparams.items()
said["hparams"] = {name: getattr(value, value.WhichOneof("kind")) for name, value in values}
said["status"] = hparams("session_end_info").session_end_info.status
video = EventAccumulator(sys.argv[1] + "/evaluations")
video.Reload()
said["video"] = [[e.step, e.width, e.height, e.encoded_image_string.hex()] for e in video.Images("evaluation/video")]
print(json.dumps(said))
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
    fs::write(path.join("x.gif"), GIF).unwrap();
    super::log_video(&path, 50, &path.join("x.gif")).unwrap();
    super::log_video(&path, 51, &path.join("config.json")).unwrap();
    let output = Command::new(&python).args(["-c", READER]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = |values: &[(u64, f64)]| {
        serde_json::json!(values.iter().map(|(step, value)| (*step, f64::from(*value as f32))).collect::<Vec<_>>())
    };
    assert_eq!(read["train/loss"], expected(&[(10, 0.1), (20, 0.05), (30, -1.0 / 30.0), (50, -0.02)]));
    assert_eq!(read["evaluation/return_mean"], expected(&[(10, 10.0), (20, 20.0)]));
    let config = fs::read_to_string(path.join("config.json")).unwrap();
    assert_eq!(read["config"], format!("```json\n{config}```"));
    let hparams = &read["hparams"];
    assert_eq!(
        (&hparams["train.steps"], &hparams["policy.mixer"], &hparams["train.learning_rate"]),
        (&500.0.into(), &"aaren".into(), &0.001.into())
    );
    assert_eq!((&hparams["evaluation.target_returns"], &read["status"]), (&"[\"best\"]".into(), &1.into()));
    let hex: String = GIF.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(read["video"], serde_json::json!([[50, 3, 2, hex]]));
    assert_eq!(read.as_object().unwrap().len(), 6);
}
