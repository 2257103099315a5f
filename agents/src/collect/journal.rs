//! The journal of a collection: finished episodes, appended to one file as they come in, each with its number and a checksum.
//!
//! A process that is killed leaves at most the last record torn, which opening cuts off: every episode that was appended is
//! still there. Records are in the order in which episodes finished; readers ask for them by number.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use aaren_data::{Actions, DatasetError, Episode, Episodes, StepInfos, Trajectory, Visit};
use aaren_envs::StepEnd;
use anyhow::{Context, Result, ensure};

/// First bytes of the file; the digit is the version of the layout.
const SIGNATURE: &[u8; 16] = b"aaren journal 1\n";
/// Before every record: its length in bytes (8) and its checksum (4).
const HEAD: usize = 12;
/// How an episode is marked as truncated because its simulation diverged.
const DIVERGED: u8 = 2;

/// An open journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    /// Reading moves the same cursor as writing, so both take the lock.
    file: Mutex<File>,
    /// By episode number.
    records: BTreeMap<u64, Record>,
    end: u64,
}

/// Where an episode is, and what is asked of it most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Record {
    offset: u64,
    bytes: u64,
    /// When the collection had it: a number that grows, in the collector's own count. See `Journal::drop_after`.
    pub time: u64,
    /// Environment steps.
    pub steps: usize,
    /// Undiscounted sum of rewards.
    pub episode_return: f64,
    /// Whether the task itself ended it.
    pub terminated: bool,
    /// Whether the simulation diverged, and so ended it.
    pub diverged: bool,
}

impl Journal {
    /// Opens a journal, or begins one. What a kill left torn at the end is cut off.
    ///
    /// # Errors
    /// If the file cannot be read or written, or is no journal.
    pub(crate) fn open(path: &Path) -> Result<Journal> {
        let context = || format!("cannot open the journal {}", path.display());
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).with_context(context)?;
        let mut journal =
            Journal { path: path.into(), file: Mutex::new(file), records: BTreeMap::new(), end: SIGNATURE.len() as u64 };
        journal.scan().with_context(context)?;
        Ok(journal)
    }

    fn scan(&mut self) -> Result<()> {
        let file = self.file.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        let len = file.metadata()?.len();
        if len < SIGNATURE.len() as u64 {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(SIGNATURE)?;
            return Ok(());
        }
        let mut reader = BufReader::with_capacity(1 << 20, &*file);
        reader.seek(SeekFrom::Start(0))?;
        let mut signature = [0; SIGNATURE.len()];
        reader.read_exact(&mut signature)?;
        ensure!(&signature == SIGNATURE, "it is not a journal of this version of aaren");
        let mut payload = Vec::new();
        while self.end + HEAD as u64 <= len {
            let mut head = [0; HEAD];
            reader.read_exact(&mut head)?;
            let (bytes, checksum) = split_head(&head);
            if bytes > len - self.end - HEAD as u64 {
                break;
            }
            payload.resize(bytes as usize, 0);
            reader.read_exact(&mut payload)?;
            if crc32fast::hash(&payload) != checksum {
                break;
            }
            let Ok((index, time, diverged, episode)) = decode(&payload) else { break };
            let record = Record { diverged, ..Record::of(&episode.trajectory, time, self.end, bytes) };
            self.records.insert(index, record);
            self.end += HEAD as u64 + bytes;
        }
        if self.end < len {
            tracing::warn!("{}: {} bytes of an episode that a kill cut short are dropped", self.path.display(), len - self.end);
            file.set_len(self.end)?;
        }
        Ok(())
    }

    /// Appends an episode under its number.
    ///
    /// # Errors
    /// If the disk refuses; the journal is then as it was.
    pub(crate) fn append(&mut self, index: u64, time: u64, episode: &Episode, diverged: bool) -> Result<()> {
        self.append_record(index, time, &record(index, time, episode, diverged), &episode.trajectory, diverged)
    }

    /// Appends episodes that another process has recorded, but for those that are here already.
    ///
    /// - `records`: as [`record`] makes them, behind one another
    ///
    /// # Errors
    /// If they are damaged, or the disk refuses.
    pub(crate) fn append_records(&mut self, mut records: &[u8]) -> Result<()> {
        while !records.is_empty() {
            let damaged = || "the records of episodes are damaged";
            let (head, rest) = records.split_at_checked(HEAD).with_context(damaged)?;
            let (bytes, checksum) = split_head(head);
            let bytes = usize::try_from(bytes).ok().filter(|&bytes| bytes <= rest.len()).with_context(damaged)?;
            ensure!(crc32fast::hash(&rest[..bytes]) == checksum, "{}", damaged());
            let (index, time, diverged, episode) = decode(&rest[..bytes]).with_context(damaged)?;
            if !self.records.contains_key(&index) {
                self.append_record(index, time, &records[..HEAD + bytes], &episode.trajectory, diverged)?;
            }
            records = &rest[bytes..];
        }
        Ok(())
    }

    fn append_record(&mut self, index: u64, time: u64, record: &[u8], trajectory: &Trajectory, diverged: bool) -> Result<()> {
        let file = self.file.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut write = || {
            file.seek(SeekFrom::Start(self.end))?;
            file.write_all(record)
        };
        let written: std::io::Result<()> = write();
        if let Err(error) = written {
            let _ = file.set_len(self.end);
            return Err(error).with_context(|| format!("cannot write the journal {}", self.path.display()));
        }
        let found = Record { diverged, ..Record::of(trajectory, time, self.end, (record.len() - HEAD) as u64) };
        self.records.insert(index, found);
        self.end += record.len() as u64;
        Ok(())
    }

    /// Drops every episode that came after a time. Times must have been appended in order.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn drop_after(&mut self, time: u64) -> Result<()> {
        let later = self.records.values().filter(|record| record.time > time).map(|record| record.offset).min();
        let Some(end) = later else { return Ok(()) };
        self.records.retain(|_, record| record.offset < end);
        self.end = end;
        let file = self.file.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        file.set_len(end).with_context(|| format!("cannot write the journal {}", self.path.display()))
    }

    /// Puts everything on disk.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn sync(&mut self) -> Result<()> {
        let file = self.file.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        file.sync_all().with_context(|| format!("cannot write the journal {}", self.path.display()))
    }

    /// Finished episodes by number.
    pub(crate) fn records(&self) -> &BTreeMap<u64, Record> {
        &self.records
    }

    /// Reads an episode.
    ///
    /// # Errors
    /// If it is not there, or the file changed on disk.
    pub(crate) fn read(&self, index: u64) -> Result<Episode> {
        let context = || format!("episode {index} of the journal {}", self.path.display());
        let record = self.records.get(&index).context("is not there").with_context(context)?;
        let mut bytes = vec![0; HEAD + record.bytes as usize];
        {
            let mut file = self.file.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            file.seek(SeekFrom::Start(record.offset)).with_context(context)?;
            file.read_exact(&mut bytes).with_context(context)?;
        }
        let (_, checksum) = split_head(&bytes[..HEAD]);
        ensure!(crc32fast::hash(&bytes[HEAD..]) == checksum, "{} is damaged: its checksum does not fit", context());
        Ok(decode(&bytes[HEAD..]).with_context(context)?.3)
    }
}

impl Record {
    fn of(trajectory: &Trajectory, time: u64, offset: u64, bytes: u64) -> Self {
        let (steps, episode_return) = (trajectory.len(), trajectory.episode_return());
        Self { offset, bytes, time, steps, episode_return, terminated: trajectory.end.terminated, diverged: false }
    }
}

/// The first episodes of one or more journals behind one another, as a dataset's writer wants them.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// Each journal and how many of its episodes are taken, from number 0.
    pub parts: Vec<(&'a Journal, u64)>,
}

impl Episodes for Parts<'_> {
    fn visit(&self, visit: &mut Visit<'_>) -> Result<(), DatasetError> {
        let mut number = 0;
        for (journal, count) in &self.parts {
            for index in 0..*count {
                let episode = journal.read(index).map_err(|error| DatasetError::Io {
                    path: journal.path.clone(),
                    what: "cannot be read".into(),
                    source: std::io::Error::other(format!("{error:#}")),
                })?;
                visit(number, &episode.trajectory, &episode.infos)?;
                number += 1;
            }
        }
        Ok(())
    }
}

fn split_head(head: &[u8]) -> (u64, u32) {
    let bytes = u64::from_le_bytes(head[..8].try_into().expect("eight bytes"));
    (bytes, u32::from_le_bytes(head[8..HEAD].try_into().expect("four bytes")))
}

/// An episode as the journal holds it: its length in bytes, its checksum, and itself.
pub(super) fn record(index: u64, time: u64, episode: &Episode, diverged: bool) -> Vec<u8> {
    let payload = encode(index, time, episode, diverged);
    let mut record = Vec::with_capacity(HEAD + payload.len());
    record.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    record.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    record.extend_from_slice(&payload);
    record
}

/// Little-endian numbers, every list after its length.
fn encode(index: u64, time: u64, episode: &Episode, diverged: bool) -> Vec<u8> {
    let Episode { trajectory, infos } = episode;
    let mut bytes = Vec::with_capacity(64 + 8 * (trajectory.observations.len() + trajectory.rewards.len()));
    bytes.extend(index.to_le_bytes());
    bytes.extend(time.to_le_bytes());
    // Diverged episodes are truncated; earlier versions wrote a 1.
    let truncated = if diverged { DIVERGED } else { trajectory.end.truncated.into() };
    bytes.extend([trajectory.end.terminated.into(), truncated, trajectory.seed.is_some().into()]);
    bytes.extend(trajectory.seed.unwrap_or_default().to_le_bytes());
    put(&mut bytes, &trajectory.observations, f64::to_le_bytes);
    put(&mut bytes, &trajectory.rewards, f64::to_le_bytes);
    bytes.push(matches!(trajectory.actions, Actions::Discrete(_)).into());
    match &trajectory.actions {
        Actions::Continuous(numbers) => put(&mut bytes, numbers, f32::to_le_bytes),
        Actions::Discrete(numbers) => put(&mut bytes, numbers, i64::to_le_bytes),
    }
    bytes.extend([infos.action_log_probs.is_some(), infos.qpos.is_some(), infos.qvel.is_some()].map(u8::from));
    infos.action_log_probs.iter().for_each(|numbers| put(&mut bytes, numbers, f32::to_le_bytes));
    infos.qpos.iter().chain(&infos.qvel).for_each(|numbers| put(&mut bytes, numbers, f64::to_le_bytes));
    bytes
}

fn put<T: Copy, const N: usize>(bytes: &mut Vec<u8>, numbers: &[T], number: impl Fn(T) -> [u8; N]) {
    bytes.extend((numbers.len() as u64).to_le_bytes());
    bytes.extend(numbers.iter().flat_map(|&one| number(one)));
}

fn decode(bytes: &[u8]) -> Result<(u64, u64, bool, Episode)> {
    let mut reader = Reader { rest: bytes };
    let (index, time) = (u64::from_le_bytes(reader.take()?), u64::from_le_bytes(reader.take()?));
    let flags = reader.take::<3>()?;
    let [terminated, truncated, seeded] = flags.map(|flag| flag != 0);
    let seed = u64::from_le_bytes(reader.take()?);
    let observations = reader.list(f64::from_le_bytes)?;
    let rewards = reader.list(f64::from_le_bytes)?;
    let actions = match reader.take()? {
        [0] => Actions::Continuous(reader.list(f32::from_le_bytes)?),
        _ => Actions::Discrete(reader.list(i64::from_le_bytes)?),
    };
    let [log_probs, qpos, qvel] = reader.take::<3>()?.map(|flag| flag != 0);
    let infos = StepInfos {
        action_log_probs: log_probs.then(|| reader.list(f32::from_le_bytes)).transpose()?,
        qpos: qpos.then(|| reader.list(f64::from_le_bytes)).transpose()?,
        qvel: qvel.then(|| reader.list(f64::from_le_bytes)).transpose()?,
    };
    ensure!(reader.rest.is_empty(), "{} bytes too many", reader.rest.len());
    let end = StepEnd { terminated, truncated };
    let trajectory = Trajectory { observations, actions, rewards, end, seed: seeded.then_some(seed) };
    Ok((index, time, flags[1] == DIVERGED, Episode { trajectory, infos }))
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().context("it ends too early")?;
        self.rest = rest;
        Ok(*taken)
    }

    fn list<T, const N: usize>(&mut self, number: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
        let len = usize::try_from(u64::from_le_bytes(self.take()?))?;
        let bytes = len.checked_mul(N).and_then(|bytes| self.rest.split_at_checked(bytes));
        let (taken, rest) = bytes.context("it ends too early")?;
        self.rest = rest;
        Ok(taken.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode(index: u64, steps: usize) -> Episode {
        let number = |i: usize| index as f64 + 0.1 * i as f64;
        let trajectory = Trajectory {
            observations: (0..3 * (steps + 1)).map(number).collect(),
            actions: if index.is_multiple_of(2) {
                Actions::Continuous((0..2 * steps).map(|i| number(i) as f32).collect())
            } else {
                Actions::Discrete((0..steps as i64).collect())
            },
            rewards: (0..steps).map(number).collect(),
            end: StepEnd { terminated: index == 1, truncated: index == 2 },
            seed: (index != 2).then_some(u64::MAX - index),
        };
        let qpos = (index != 1).then(|| (0..5 * steps).map(number).collect());
        let infos = StepInfos { action_log_probs: Some(vec![-0.5; steps]), qpos, qvel: None };
        Episode { trajectory, infos }
    }

    #[test]
    fn what_was_appended_is_read_back_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.journal");
        let mut journal = Journal::open(&path).unwrap();
        let episodes: Vec<Episode> = (0..4).map(|index| episode(index, 1 + 3 * index as usize)).collect();
        for index in [2, 0, 3, 1] {
            journal.append(index, 0, &episodes[index as usize], false).unwrap();
        }
        for journal in [&journal, &Journal::open(&path).unwrap()] {
            assert_eq!(journal.records().values().map(|record| record.steps).collect::<Vec<_>>(), [1, 4, 7, 10]);
            for index in 0..4 {
                assert_eq!(journal.read(index).unwrap(), episodes[index as usize]);
            }
            let mut seen = Vec::new();
            Parts { parts: vec![(journal, 3), (journal, 2)] }
                .visit(&mut |number, trajectory, infos| {
                    assert_eq!(number, seen.len());
                    seen.push(Episode { trajectory: trajectory.clone(), infos: infos.clone() });
                    Ok(())
                })
                .unwrap();
            assert_eq!(seen, [0, 1, 2, 0, 1].map(|index: usize| episodes[index].clone()));
        }
        assert!(format!("{:#}", journal.read(4).unwrap_err()).contains("episode 4"));
    }

    #[test]
    fn a_journal_cut_or_damaged_anywhere_keeps_every_episode_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.journal");
        let mut journal = Journal::open(&path).unwrap();
        let mut ends = vec![journal.end];
        for index in 0..3 {
            journal.append(index, 10 * (index / 2), &episode(index, 5), index == 1).unwrap();
            ends.push(journal.end);
        }
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            let kept = ends.iter().filter(|&&end| end <= len as u64).count().saturating_sub(1) as u64;
            assert_eq!(journal.records().len() as u64, kept, "cut to {len} bytes");
            (kept..3).for_each(|index| journal.append(index, 10 * (index / 2), &episode(index, 5), index == 1).unwrap());
            assert_eq!(std::fs::read(&path).unwrap(), whole, "cut to {len} bytes and gone on");
        }
        let mut damaged = whole.clone();
        damaged[ends[1] as usize + 50] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(Journal::open(&path).unwrap().records().len(), 1);
        std::fs::write(&path, b"something that is longer than the signature").unwrap();
        assert!(format!("{:#}", Journal::open(&path).unwrap_err()).contains("not a journal"));
    }

    #[test]
    fn episodes_of_other_processes_are_taken_once_and_only_whole() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(&folder.path().join("x.journal")).unwrap();
        journal.append(1, 0, &episode(1, 4), true).unwrap();
        let records = [2, 1, 0].map(|index| record(index, 0, &episode(index, 3 + index as usize), index == 1)).concat();
        for len in [HEAD - 1, HEAD, records.len() - 1] {
            let error = journal.append_records(&records[records.len() - len..]).unwrap_err();
            assert!(format!("{error:#}").contains("damaged"), "{error:#}");
        }
        journal.append_records(&records).unwrap();
        journal.append_records(&records).unwrap();
        let found: Vec<(u64, usize)> = journal.records().iter().map(|(index, record)| (*index, record.steps)).collect();
        assert_eq!(found, [(0, 3), (1, 4), (2, 5)]);
        assert_eq!(journal.read(2).unwrap(), episode(2, 5));
        assert_eq!(Journal::open(&folder.path().join("x.journal")).unwrap().records(), journal.records());
    }

    #[test]
    fn the_last_episodes_can_be_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.journal");
        let mut journal = Journal::open(&path).unwrap();
        (0..4).for_each(|index| journal.append(index, 10 * (index / 2), &episode(index, 5), index == 1).unwrap());
        journal.drop_after(10).unwrap();
        assert_eq!(journal.records().len(), 4);
        journal.drop_after(9).unwrap();
        journal.append(2, 20, &episode(0, 9), false).unwrap();
        let journal = Journal::open(&path).unwrap();
        assert_eq!(journal.records().values().map(|record| record.steps).collect::<Vec<_>>(), [5, 5, 9]);
        assert_eq!(journal.records().values().map(|record| record.diverged).collect::<Vec<_>>(), [false, true, false]);
        assert_eq!(journal.read(2).unwrap(), episode(0, 9));
    }
}
