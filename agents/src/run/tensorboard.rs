//! TensorBoard's event files: records of protobuf messages, of which scalars need four.
//!
//! Source: `event.proto`, `summary.proto` and `lib/io/record_writer.h` of TensorFlow.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use crc::{CRC_32_ISCSI, Crc};
use prost::Message;

use super::files::entries;

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
    value: Vec<Scalar>,
}

#[derive(Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The `status` of a session that starts.
const START: i32 = 1;

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
        let scalar = |(name, value): &(&str, f64)| Scalar { tag: name.to_string(), simple_value: Some(*value as f32) };
        let summary = |value| Some(Summary { value: vec![scalar(value)] });
        let events: Vec<_> = values.iter().map(|value| Event { summary: summary(value), ..event(step) }).collect();
        self.write(&events)
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
