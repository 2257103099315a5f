//! TensorBoard's files as far as the tests read them; tests of agents look at the checksums.

use std::fs;
use std::path::Path;

use prost::Message;

/// The fields that a scalar has, and the start of a session.
#[derive(Message)]
pub struct Event {
    #[prost(int64, tag = "2")]
    pub step: i64,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session: Option<Session>,
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
}

#[derive(Message)]
struct Session {
    #[prost(int32, tag = "1")]
    status: i32,
}

impl Event {
    /// Whether a session begins here, which takes the place of what is there from this step on.
    pub fn starts_session(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.status == 1)
    }

    /// Names of scalars, with the step. The job, which is told at every start, is none.
    pub fn scalars(&self) -> impl Iterator<Item = (String, i64)> {
        let tags = self.summary.iter().flat_map(|summary| &summary.value).map(|value| &value.tag);
        tags.filter(|tag| tag.contains('/') && !tag.starts_with("_hparams_")).map(|tag| (tag.clone(), self.step))
    }
}

/// A file of events.
pub struct EventFile {
    pub events: Vec<Event>,
    /// Whether nothing comes after the last whole event.
    pub is_whole: bool,
}

/// The files of a run, in the order in which TensorBoard reads them.
pub fn tensorboard_files(run: &Path) -> Vec<EventFile> {
    let files = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.to_string_lossy().contains("tfevents")).collect();
    files.sort();
    let read = |path| {
        let bytes = fs::read(path).unwrap();
        let (mut rest, mut events) = (&bytes[..], Vec::new());
        // Length, its checksum, the event, its checksum.
        while rest.len() >= 12 {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let Some((event, after)) = rest.get(12..12 + length).zip(rest.get(16 + length..)) else { break };
            events.push(Message::decode(event).unwrap());
            rest = after;
        }
        EventFile { events, is_whole: rest.is_empty() }
    };
    files.into_iter().map(read).collect()
}
