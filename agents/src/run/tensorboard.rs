//! TensorBoard's event files: records of protobuf messages.
//!
//! Source: `event.proto`, `summary.proto`, `tensor.proto` and `lib/io/record_writer.h` of TensorFlow, and `plugin_data.proto` of
//! TensorBoard's hparams plugin.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use crc::{CRC_32_ISCSI, Crc};
use prost::Message;
use serde_json::Value as Json;

use super::files::{entries, refuse_link};
use super::folder::EVALUATIONS;

#[derive(Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<Image>,
    #[prost(message, optional, tag = "8")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

#[derive(Message)]
struct Image {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// The number of channels.
    #[prost(int32, tag = "3")]
    colorspace: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

/// A tensor of no dimensions.
#[derive(Message)]
struct Tensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
    #[prost(string, repeated, tag = "8")]
    strings: Vec<String>,
}

#[derive(Message)]
struct Shape {}

/// Which plugin shows a value.
#[derive(Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin: Option<Plugin>,
}

#[derive(Message)]
struct Plugin {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
}

/// What the hparams plugin is told.
#[derive(Message)]
struct Hparams {
    #[prost(message, optional, tag = "3")]
    start: Option<HparamsStart>,
    #[prost(message, optional, tag = "4")]
    end: Option<HparamsEnd>,
}

#[derive(Message)]
struct HparamsStart {
    #[prost(btree_map = "string, message", tag = "1")]
    hparams: BTreeMap<String, Hparam>,
    #[prost(double, tag = "5")]
    start_time: f64,
}

/// One of the three.
#[derive(Clone, PartialEq, Message)]
struct Hparam {
    #[prost(double, optional, tag = "2")]
    number: Option<f64>,
    #[prost(string, optional, tag = "3")]
    text: Option<String>,
    #[prost(bool, optional, tag = "4")]
    truth: Option<bool>,
}

#[derive(Message)]
struct HparamsEnd {
    /// 1 for success.
    #[prost(int32, tag = "1")]
    status: i32,
    #[prost(double, tag = "2")]
    end_time: f64,
}

#[derive(Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The `status` of a session that starts.
const START: i32 = 1;
/// TensorFlow's number of the type of strings.
const DT_STRING: i32 = 7;

/// Begins the names of event files; seconds since 1970 follow.
const PREFIX: &str = "events.out.tfevents.";

/// One event file.
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Starts a new file. TensorBoard forgets what earlier files of the folder say of `first_step` and later ones.
    pub(crate) fn create(folder: &Path, first_step: u64) -> Result<EventFile> {
        // Later than every file there, also where the clock ran ahead when that was made, or stands in the same second.
        let seconds = last_seconds(folder)?.map_or(0, |last| last + 1).max(seconds_since_1970() as u64);
        // TensorBoard wants "tfevents" in the name and reads a folder's files in the order of their names; the field after
        // the time is by custom the host.
        let name = |number| format!("{PREFIX}{seconds:010}.aaren.{}.{number}", std::process::id());
        let create = |number| {
            let path = folder.join(name(number));
            match File::create_new(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
                file => Some(file.with_context(|| cannot_write(&path)).map(|file| (path, file))),
            }
        };
        let (path, file) = (0..).find_map(create).context("no free name for a TensorBoard file")??;
        let mut events = EventFile { path, file };
        let version = Event { file_version: Some("brain.Event:2".into()), ..event(0) };
        let session = Event { session_log: Some(SessionLog { status: START }), ..event(first_step) };
        events.write(&[version, session])?;
        Ok(events)
    }

    /// Writes one event a value.
    pub(crate) fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let scalar = |(name, value): &(&str, f64)| summary(step, name, |shown| shown.simple_value = Some(*value as f32));
        self.write(&values.iter().map(scalar).collect::<Vec<_>>())
    }

    /// Writes a job as text, and its keys for the hparams plugin. Without an `experiment` of ours the plugin makes one of all runs that
    /// it finds, so that runs with unlike keys stand side by side.
    pub(crate) fn job(&mut self, step: u64, job: &Json) -> Result<()> {
        let text = format!("```json\n{job:#}\n```");
        let text = summary(step, "config", |shown| {
            shown.tensor = Some(Tensor { dtype: DT_STRING, shape: Some(Shape {}), strings: vec![text] });
            shown.metadata = Some(metadata("text", Vec::new()));
        });
        let mut hparams = BTreeMap::new();
        flatten(job, "", &mut hparams);
        let start = HparamsStart { hparams, start_time: seconds_since_1970() };
        self.write(&[text, hparams_event(step, "_hparams_/session_start_info", &Hparams { start: Some(start), end: None })])
    }

    /// Tells the hparams plugin that the run is finished.
    pub(crate) fn finish(&mut self, step: u64) -> Result<()> {
        let end = HparamsEnd { status: 1, end_time: seconds_since_1970() };
        self.write(&[hparams_event(step, "_hparams_/session_end_info", &Hparams { start: None, end: Some(end) })])
    }

    /// Puts what was written on disk.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().with_context(|| cannot_write(&self.path))
    }

    fn write(&mut self, events: &[Event]) -> Result<()> {
        let mut records = Vec::new();
        for event in events {
            let data = event.encode_to_vec();
            let length = (data.len() as u64).to_le_bytes();
            for part in [&length[..], &data] {
                records.extend_from_slice(part);
                records.extend_from_slice(&masked_crc(part).to_le_bytes());
            }
        }
        self.file.write_all(&records).with_context(|| cannot_write(&self.path))
    }
}

/// The latest seconds in the names of a folder's event files.
fn last_seconds(folder: &Path) -> Result<Option<u64>> {
    let seconds = |name: &str| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok();
    let names = entries(folder)?.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    // Names are compared as text, so that digits beyond the tenth would not count.
    Ok(names.filter_map(|name| seconds(&name)).filter(|seconds| *seconds < 9_999_999_999).max())
}

/// Shows the GIF of an evaluation in TensorBoard, which plays images that move. It has a file and a folder of its own (`evaluations` in
/// the run folder): TensorBoard reads no file of a folder any more when it has found a newer one, and the run may still be training.
/// What is no GIF is left out; TensorBoard could not show it.
///
/// # Errors
/// A file that cannot be read or written.
pub fn log_video(run: &Path, step: u64, gif: &Path) -> Result<()> {
    let encoded = std::fs::read(gif).with_context(|| format!("cannot read {}", gif.display()))?;
    let Some(([b'G', b'I', b'F', ..], &[w0, w1, h0, h1, ..])) = encoded.split_at_checked(6) else {
        return Ok(());
    };
    let [width, height] = [[w0, w1], [h0, h1]].map(|bytes| i32::from(u16::from_le_bytes(bytes)));
    let folder = run.join(EVALUATIONS);
    refuse_link(&folder)?;
    std::fs::create_dir_all(&folder).with_context(|| cannot_write(&folder))?;
    let image = Image { height, width, colorspace: 3, encoded };
    EventFile::create(&folder, 0)?.write(&[summary(step, "evaluation/video", |shown| shown.image = Some(image))])
}

fn summary(step: u64, name: &str, set: impl FnOnce(&mut Value)) -> Event {
    let mut value = Value { tag: name.into(), ..Value::default() };
    set(&mut value);
    Event { summary: Some(Summary { value: vec![value] }), ..event(step) }
}

fn metadata(plugin: &str, content: Vec<u8>) -> Metadata {
    Metadata { plugin: Some(Plugin { name: plugin.into(), content }) }
}

fn hparams_event(step: u64, name: &str, content: &Hparams) -> Event {
    summary(step, name, |shown| shown.metadata = Some(metadata("hparams", content.encode_to_vec())))
}

/// The values of a job by dotted keys. Lists and null are text, and so are numbers that a double cannot hold.
fn flatten(json: &Json, path: &str, into: &mut BTreeMap<String, Hparam>) {
    let hparam = match json {
        Json::Object(object) => {
            for (key, value) in object {
                flatten(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, into);
            }
            return;
        }
        Json::Bool(truth) => Hparam { truth: Some(*truth), ..Hparam::default() },
        Json::Number(number) if number.as_u64().is_none_or(|number| number < 1 << 53) => {
            Hparam { number: number.as_f64(), ..Hparam::default() }
        }
        Json::String(text) => Hparam { text: Some(text.clone()), ..Hparam::default() },
        other => Hparam { text: Some(other.to_string()), ..Hparam::default() },
    };
    into.insert(path.into(), hparam);
}

fn event(step: u64) -> Event {
    let step = i64::try_from(step).unwrap_or(i64::MAX);
    Event { wall_time: seconds_since_1970(), step, file_version: None, summary: None, session_log: None }
}

fn seconds_since_1970() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// CRC-32C, rotated and shifted so that the checksum of data that holds checksums is no special one.
fn masked_crc(data: &[u8]) -> u32 {
    const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
    CRC.checksum(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

pub(super) fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}
