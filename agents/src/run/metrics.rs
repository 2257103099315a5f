//! What a run says while it goes: JSON lines and TensorBoard scalars in its folder.

use std::fs;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use super::csv::CsvFile;
use super::tensorboard::{EventFile, cannot_write};
use super::{RunDir, write_atomically};
use crate::config::Changes;

/// The logs of a run's scalars: `metrics.jsonl`, TensorBoard's `events.out.tfevents.*` and, where the job asks for it, `metrics.csv`.
///
/// Every call of [`Log::scalars`] hands its line to the operating system before it returns, so a killed process loses nothing.
pub(crate) struct Log {
    path: PathBuf,
    lines: File,
    events: EventFile,
    /// Where the job asks for it.
    csv: Option<CsvFile>,
    started: Instant,
    /// The last line up to the step that the run resumed from; null in a new log.
    resumed_after: Value,
    /// The last value of every name up to there.
    resumed_with: Map<String, Value>,
}

impl Log {
    /// Opens the logs of a run, new ones or, with `Some(step)`, those of a run that continues after that step.
    ///
    /// What was logged after `resume_step` is dropped, as is a line that a kill cut short: the steps are made again. The
    /// wall time continues from the last line that is kept.
    ///
    /// # Errors
    /// If the files cannot be read or written, or a line in the middle of `metrics.jsonl` is not a line of a log.
    pub(crate) fn open(run: &RunDir, resume_step: Option<u64>) -> Result<Log> {
        let path = run.path().join("metrics.jsonl");
        let (kept, resumed_after, resumed_with) = match resume_step {
            Some(step) if path.exists() => lines_until(&path, step)?,
            _ => Default::default(),
        };
        write_atomically(&path, kept.as_bytes())?;
        let lines = File::options().append(true).open(&path).with_context(|| cannot_write(&path))?;
        let job = run.job(&Changes::default())?;
        let csv = job.log().csv.then(|| CsvFile::create(run.path())).transpose()?;
        let first_step = resume_step.unwrap_or(0);
        let mut events = EventFile::create(run.path(), first_step)?;
        events.job(first_step, &serde_json::to_value(&job)?)?;
        // A kill may have come between a line and its events: those of the last step are written anew.
        for line in kept.lines().rev().map_while(|line| line_of(line, resume_step)).collect::<Vec<_>>().into_iter().rev() {
            events.scalars(first_step, &line.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>())?;
        }
        Ok(Log { path, lines, events, csv, started: Instant::now(), resumed_after, resumed_with })
    }

    /// Logs named values of a step: one line, and one TensorBoard event a value.
    ///
    /// Names are paths such as `train/loss`; `step` and `wall_seconds` are taken. TensorBoard keeps 32 bits of a value.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub(crate) fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let mut line = Map::new();
        line.insert("step".into(), step.into());
        line.insert("wall_seconds".into(), ((self.wall_seconds() * 1e3).round() / 1e3).into());
        for (name, value) in values {
            debug_assert!(!line.contains_key(*name), "{name} is logged twice in step {step}");
            line.insert(name.to_string(), (*value).into()); // JSON has no NaN or infinity; they become null
        }
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.lines.write_all(&text).with_context(|| cannot_write(&self.path))?; // one write, so one line is whole or torn
        self.csv.as_mut().map_or(Ok(()), |csv| csv.append(&line))?;
        self.events.scalars(step, values)
    }

    /// Tells the log that the run ends here.
    ///
    /// # Errors
    /// If the files cannot be written.
    pub(crate) fn finish(&mut self, step: u64) -> Result<()> {
        self.events.finish(step)?;
        self.sync()
    }

    /// The last value of a name that a resumed run had logged.
    pub(crate) fn resumed_with(&self, name: &str) -> Option<f64> {
        self.resumed_with.get(name)?.as_f64()
    }

    /// Seconds that the run has taken, those before a resume included.
    pub(crate) fn wall_seconds(&self) -> f64 {
        self.resumed_after["wall_seconds"].as_f64().unwrap_or(0.0) + self.started.elapsed().as_secs_f64()
    }

    /// Whether the last thing that a resumed run had logged was `name` at `step`.
    pub(crate) fn resumed_after(&self, step: u64, name: &str) -> bool {
        self.resumed_after["step"] == step && self.resumed_after.get(name).is_some()
    }

    /// Puts what was logged on disk, so that it survives a loss of power; called beside a checkpoint.
    ///
    /// # Errors
    /// If the disk refuses.
    pub(crate) fn sync(&self) -> Result<()> {
        self.lines.sync_data().with_context(|| cannot_write(&self.path))?;
        self.events.sync()
    }
}

/// The named values of a line, if it is of this step.
fn line_of(line: &str, step: Option<u64>) -> Option<Vec<(String, f64)>> {
    let values: Map<String, Value> = serde_json::from_str(line).ok()?;
    let is_name = |name: &String| !["step", "wall_seconds"].contains(&name.as_str());
    let number = |value: Value| value.as_f64().unwrap_or(f64::NAN); // null is NaN
    (values["step"].as_u64() == step)
        .then(|| values.into_iter().filter(|(name, _)| is_name(name)).map(|(name, value)| (name, number(value))).collect())
}

/// Lines of a log up to a step, the last of them, and the last value of every name.
fn lines_until(path: &Path, step: u64) -> Result<(String, Value, Map<String, Value>)> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes);
    let (mut kept, mut last, mut latest) = (String::new(), Value::Null, Map::new());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let Some(whole) = line.strip_suffix('\n') else { break }; // torn by a kill
        let read = serde_json::from_str::<Value>(whole).ok();
        let Some(read) = read.filter(|line| line["step"].is_u64() && line["wall_seconds"].is_number()) else {
            bail!("{}, line {}: not a line of a log", path.display(), index + 1);
        };
        if read["step"].as_u64() <= Some(step) {
            kept.push_str(line);
            latest.extend(read.as_object().cloned().unwrap_or_default());
            last = read;
        }
    }
    Ok((kept, last, latest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OfflineJob;

    fn run(folder: &tempfile::TempDir) -> RunDir {
        RunDir::create(&folder.path().join("run"), &OfflineJob::quickstart(&[]).unwrap(), 2).unwrap()
    }

    fn lines(run: &RunDir) -> Vec<Value> {
        let text = fs::read_to_string(run.path().join("metrics.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_is_in_the_file_as_soon_as_it_is_logged() {
        let folder = tempfile::tempdir().unwrap();
        let run = run(&folder);
        let mut log = Log::open(&run, None).unwrap();
        log.scalars(10, &[("train/loss", 0.5), ("train/gradient_norm", f64::NAN)]).unwrap();
        let lines = lines(&run);
        assert_eq!((&lines[0]["step"], &lines[0]["train/loss"]), (&10.into(), &0.5.into()));
        assert!(lines[0]["train/gradient_norm"].is_null() && lines[0]["wall_seconds"].is_number());
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_resumed_log_drops_later_steps_and_the_torn_line_and_goes_on_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let run = run(&folder);
        let path = run.path().join("metrics.jsonl");
        fs::write(
            &path,
            "{\"step\":10,\"wall_seconds\":100.5}\n{\"step\":20,\"wall_seconds\":200.5}\n{\"step\":30,\"wall_seconds\":300}\n{\"st",
        )
        .unwrap();
        let mut log = Log::open(&run, Some(20)).unwrap();
        log.scalars(30, &[("train/loss", 1.0)]).unwrap();
        let lines = lines(&run);
        assert_eq!(lines.iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [10, 20, 30]);
        let seconds = lines[2]["wall_seconds"].as_f64().unwrap();
        assert!((200.5..260.0).contains(&seconds), "{seconds}");
        drop(log);
        let log = Log::open(&run, Some(30)).unwrap();
        assert!(log.resumed_after(30, "train/loss"));
        assert!(!log.resumed_after(20, "train/loss") && !log.resumed_after(30, "evaluation/return_mean"));

        fs::write(&path, "junk\n{\"step\":10,\"wall_seconds\":1}\n").unwrap();
        let message = format!("{:#}", Log::open(&run, Some(20)).err().unwrap());
        assert!(message.contains("metrics.jsonl, line 1"), "{message}");
    }

    #[test]
    fn the_same_is_a_table_where_the_job_asks_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let run = run(&folder);
        Log::open(&run, None).unwrap();
        assert!(!run.path().join("metrics.csv").exists());
        run.write_json("config.json", &OfflineJob::quickstart(&["log.csv=true".into()]).unwrap()).unwrap();
        let mut log = Log::open(&run, None).unwrap();
        log.scalars(1, &[("train/loss", 0.5)]).unwrap();
        log.scalars(2, &[("evaluation/return_mean", -3.25)]).unwrap();
        log.scalars(3, &[("train/loss", f64::NAN)]).unwrap();
        drop(log);
        let table = || {
            let text = fs::read_to_string(run.path().join("metrics.csv")).unwrap();
            // The second column is the time.
            let without =
                |line: &str| line.split(',').enumerate().filter(|(at, _)| *at != 1).map(|(_, cell)| cell.to_string()).collect();
            text.lines().map(without).collect::<Vec<Vec<String>>>()
        };
        let expected = [["step", "train/loss", "evaluation/return_mean"], ["1", "0.5", ""], ["2", "", "-3.25"], ["3", "", ""]];
        assert_eq!(table(), expected);
        // A resumed run's table begins as its log does.
        Log::open(&run, Some(2)).unwrap().scalars(3, &[("train/loss", 0.25)]).unwrap();
        assert_eq!(table(), [&expected[..3], &[["3", "0.25", ""]]].concat());
    }

    #[test]
    fn a_fresh_log_of_a_run_that_never_reached_a_checkpoint_starts_over() {
        let folder = tempfile::tempdir().unwrap();
        let run = run(&folder);
        Log::open(&run, None).unwrap().scalars(1, &[("a", 1.0)]).unwrap();
        Log::open(&run, None).unwrap().scalars(1, &[("b", 1.0)]).unwrap();
        let lines = lines(&run);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["b"], 1.0);
        let events = fs::read_dir(run.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(events.filter(|name| name.to_string_lossy().contains("tfevents")).count(), 2);
    }
}
