//! Damaged files: whatever is changed in a file that is read, the answer is an error or a result, and neither a panic, nor an abort, nor
//! a hang, nor memory of another order than the file's.
//!
//! A few mutants of each format are tried here, `AAREN_MUTANTS=10000` (as scripts/torture.sh sets it) tries so many. The mutants of a
//! format run in a process of their own, so that an abort or a hang ends that process alone. A mutant that fails stays in the folder that
//! the message names; `AAREN_MUTANTS_FROM=7` begins with number 7.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::{resume, small, train};
use aaren_agents::collect::collect;
use aaren_agents::compare::{CompareOptions, compare};
use aaren_agents::config::{Changes, EventFiles, Events, HeldOut, Job, TaskConfig};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::run::RunDir;
use aaren_agents::sequence::{Lengths, Split, make, push};
use aaren_agents::session::NoObserver;
use aaren_agents::table::{Choice, Plan};
use aaren_agents::{collect as collection, ppo};
use aaren_policy::{AnyPolicy, SequenceRows, Timesteps, checkpoint};
use anyhow::{Context, Result, ensure};

/// A mutant that takes longer hangs. Machines that test are busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// Address space of a process that tries mutants, kilobytes.
const ADDRESSES: u64 = 12 << 20;
/// Resident memory that it may grow by: the files are some kilobytes, and HDF5 may unpack to 64 MiB.
const MEMORY: u64 = 600 << 20;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// Files that no mutation comes to by chance.
fn hostile() -> Vec<Vec<u8>> {
    let many = 100_000;
    let text = |text: String| text.into_bytes();
    vec![
        Vec::new(),
        text("[".repeat(many)),
        text("{\"a\":".repeat(many)),
        text(format!("a = {}", "[".repeat(many))),
        text(format!("a = {}", "{b=".repeat(many))),
        text(format!("{} = 1", vec!["a"; many].join("."))),
        text(format!("[{}]", vec!["a"; many].join("."))),
        text(format!("\"{}\"", "x".repeat(1 << 22))),
        text(format!("{{\"{}\": 1}}", "x".repeat(1 << 22))),
        text("9".repeat(1 << 20)),
        vec![0x91; many],
        vec![0x81; many],
        vec![0xdd, 0xff, 0xff, 0xff, 0xff],
        vec![0xc6, 0xff, 0xff, 0xff, 0xff],
        vec![0xff; 4096],
        vec![0; 4096],
        [&(many as u64).to_le_bytes()[..], "[".repeat(many).as_bytes()].concat(),
        [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
    ]
}

const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1e308",
    "1e400",
    "-1e308",
    "1e-320",
    "0.5",
    "1048576",
    "true",
    "null",
    "\"x\"",
    "[]",
    "{}",
    "NaN",
    "inf",
];

/// Mutant `index` of a file, always the same.
fn mutant(original: &[u8], index: u64) -> Vec<u8> {
    let mut hostile = hostile();
    if (index as usize) < hostile.len() {
        return hostile.swap_remove(index as usize);
    }
    let random = &mut Random(index);
    let mut bytes = original.to_vec();
    let is_text = std::str::from_utf8(original).is_ok();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let most = 1 << random.below(8);
        let length = (1 + random.below(most)).min(bytes.len() - at.min(bytes.len()));
        match random.below(if is_text { 11 } else { 8 }) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = random.of(&[0, 1, 0x7f, 0x80, 0xfe, 0xff]),
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..at + length)),
            4 => {
                let copy = bytes[at..at + length].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            5 => {
                let number = random.of(&[0, 1, 2, 0x7fff_ffff, 0x8000_0000, u64::MAX, u64::MAX >> 1, 1 << 40, 1 << 32]);
                let size = random.of(&[2, 4, 8]).min(bytes.len() - at);
                bytes[at..at + size].copy_from_slice(&number.to_le_bytes()[..size]);
            }
            6 => {
                let to = random.below(bytes.len() + 1 - length);
                let copy = bytes[at..at + length].to_vec();
                bytes[to..to + length].copy_from_slice(&copy);
            }
            7 => (at..at + length).for_each(|at| bytes[at] = random.next() as u8),
            // Numbers and words are what text is about.
            _ => replace_word(&mut bytes, random),
        }
    }
    bytes
}

/// Puts something else in the place of a number, or of another word.
fn replace_word(bytes: &mut Vec<u8>, random: &mut Random) {
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-._".contains(byte);
    let from = random.below(bytes.len());
    let Some(start) =
        (from..bytes.len()).find(|&at| bytes[at].is_ascii_digit() || random.below(40) == 0 && is_of_word(&bytes[at]))
    else {
        return;
    };
    let end = (start..bytes.len()).find(|&at| !is_of_word(&bytes[at])).unwrap_or(bytes.len());
    bytes.splice(start..end, random.of(NUMBERS).bytes());
}

/// Highest resident memory of this process so far, bytes.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Tries the mutants of a format. `prepare` makes, in an empty folder, what is needed, and names the file that is mutated; `read` does
/// with the folder what a user does. `share` of the mutants are tried: formats that take long to read have fewer.
fn survives(name: &str, share: f64, prepare: impl FnOnce(&Path) -> PathBuf, read: impl Fn(&Path) -> Result<()>) {
    let asked = std::env::var("AAREN_MUTANTS").ok().map(|count| count.parse().expect("AAREN_MUTANTS is a number"));
    let count: u64 = asked.unwrap_or((200.0 * share) as u64);
    let number = |name| std::env::var(name).map_or(0, |text| text.parse::<u64>().unwrap());
    match std::env::var_os("AAREN_MUTANTS_CHILD") {
        Some(notes) => try_all(Path::new(&notes), number("AAREN_MUTANTS_FROM")..count, prepare, read),
        None => watch(name, number("AAREN_MUTANTS_FROM"), count),
    }
}

/// The process that tries: notes the number before each mutant, and each that failed.
fn try_all(
    notes: &Path,
    numbers: std::ops::Range<u64>,
    prepare: impl FnOnce(&Path) -> PathBuf,
    read: impl Fn(&Path) -> Result<()>,
) {
    let template = tempfile::tempdir().unwrap();
    let file = prepare(template.path());
    let file = file.strip_prefix(template.path()).unwrap();
    let original = fs::read(template.path().join(file)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    copy(template.path(), &work);
    read(&work).expect("the original is read");
    std::panic::set_hook(Box::new(|_| {}));
    let mut most = peak_memory() + MEMORY;
    for number in numbers {
        let bytes = mutant(&original, number);
        fs::write(notes.join("mutant"), &bytes).unwrap();
        fs::write(notes.join("number"), number.to_string()).unwrap();
        fs::remove_dir_all(&work).unwrap();
        copy(template.path(), &work);
        fs::write(work.join(file), &bytes).unwrap();
        let failure = match catch_unwind(AssertUnwindSafe(|| read(&work))) {
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                Some(format!(
                    "panicked: {}",
                    text.or(panic.downcast_ref::<&str>().map(|text| text.to_string())).unwrap_or_default()
                ))
            }
            Ok(Err(error)) if format!("{error:#}").contains("panicked") => Some(format!("{error:#}")),
            Ok(_) if peak_memory() > most => {
                most = peak_memory() + MEMORY;
                Some(format!("took memory up to {} MiB", peak_memory() >> 20))
            }
            Ok(_) => None,
        };
        if let Some(failure) = failure {
            note(notes, number, &failure);
        }
    }
    fs::write(notes.join("number"), "done").unwrap();
}

fn note(notes: &Path, number: u64, failure: &str) {
    let mut file = fs::File::options().create(true).append(true).open(notes.join("failures")).unwrap();
    writeln!(file, "{number}: {failure}").unwrap();
    let _ = fs::copy(notes.join("mutant"), notes.join(format!("mutant-{number}")));
}

/// The process that watches: begins again after a mutant that ended the other one.
fn watch(name: &str, from: u64, count: u64) {
    let notes = tempfile::tempdir().unwrap();
    let number = || fs::read_to_string(notes.path().join("number")).unwrap_or_default();
    let mut from = from;
    loop {
        fs::write(notes.path().join("number"), "").unwrap();
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -c 0; ulimit -v {ADDRESSES}; exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &format!("mutants::{name}"), "--nocapture", "--test-threads=1"])
            .env("AAREN_MUTANTS_CHILD", notes.path())
            .env("AAREN_MUTANTS_FROM", from.to_string())
            .env("AAREN_MUTANTS", count.to_string())
            .env("RAYON_NUM_THREADS", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(notes.path().join("said")).unwrap())
            .spawn()
            .unwrap();
        let (mut last, mut since) = (number(), Instant::now());
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.to_string();
            }
            sleep(Duration::from_millis(20));
            let now = number();
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                break "hung".into();
            }
        };
        match number().parse::<u64>() {
            Ok(number) => {
                note(notes.path(), number, &ended);
                from = number + 1;
            }
            Err(_) => {
                let said = fs::read_to_string(notes.path().join("said")).unwrap();
                assert!(number() == "done", "{name}: ended before the first mutant, {ended}: {said}");
                break;
            }
        }
    }
    if let Ok(failures) = fs::read_to_string(notes.path().join("failures")) {
        let kept = notes.keep();
        panic!("{name}: of {count} mutants, in {}\n{failures}", kept.display());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}

const TINY: &[&str] = &[
    "env.options.corridor=4",
    "data.scripted.episodes=6",
    "policy.layers=1",
    "policy.width=4",
    "policy.feed_forward=4",
    "policy.max_timesteps=6",
    "train.steps=2",
    "train.batch_size=2",
    "train.row_length=3",
    "train.cut_segments=continue",
    "evaluation.episodes=1",
    "evaluation.final_episodes=1",
];

/// The checkpoint of a tiny run in `run`.
fn trained(folder: &Path) -> PathBuf {
    train(&folder.join("run"), &small(TINY)).unwrap();
    folder.join("run/checkpoints/step-00000002")
}

fn goes_on(folder: &Path) -> Result<()> {
    resume(&folder.join("run"), &["train.steps=3"]).map(|_| ())
}

/// Reads the policy of the run and lets it act once.
fn acts(folder: &Path) -> Result<()> {
    let policy = checkpoint::load_any::<Cpu>(&folder.join("run/checkpoints/step-00000002"), &CPU)?;
    let AnyPolicy::Decision(policy) = policy else { return Ok(()) };
    let mut timesteps = Timesteps::new();
    let width = policy.description.normalizer.width();
    timesteps.push(&policy.description, &vec![0.5; width], None, 1.0, 0, true);
    policy.act(&timesteps, 1, policy.initial_state(1, &CPU), &CPU);
    Ok(())
}

const RECURRENT: &str = r#"{
    "env": {"id": "TMaze-v0", "options": {"corridor": 4}},
    "policy": {"mixer": "aaren", "layers": 1, "width": 4, "heads": 2, "feed_forward": 4},
    "ppo": {"network": "recurrent", "env_steps": 16, "envs": 2, "envs_per_group": 1, "rollout_len": 4, "minibatches": 2, "epochs": 1},
    "evaluation": {"episodes": 1}
}"#;

/// The checkpoint of a tiny online run in `run`.
fn trained_online(folder: &Path) -> PathBuf {
    let job = Job::parse(RECURRENT, &Changes::default()).and_then(Job::ppo).unwrap();
    let run = RunDir::create(&folder.join("run"), &job, 1).unwrap();
    ppo::train(&job, &run, false, &mut NoObserver).unwrap();
    run.latest_checkpoint().unwrap().unwrap().1
}

fn goes_on_online(folder: &Path) -> Result<()> {
    let mut run = RunDir::resume(&folder.join("run"))?;
    let job = run.job(&["ppo.env_steps=24".to_string(), "ppo.anneal=false".into()][..].into())?;
    run.update_job(&job)?;
    ppo::train(&job.ppo()?, &run, true, &mut NoObserver).map(|_| ())
}

/// A recorded dataset in both formats; the path of the D4RL file.
fn recorded(folder: &Path) -> PathBuf {
    let text = r#"{"env": {"id": "Pendulum-v1", "options": {"max_episode_steps": 20}},
                   "collect": {"dataset": "random", "steps": 60, "format": "both"}}"#;
    let Job::Collect(job) = Job::parse(text, &Changes::default()).unwrap() else { unreachable!() };
    let collection::Summary { written, .. } = collect(&job, &folder.join("recorded")).unwrap();
    let d4rl = written.into_iter().map(|(_, path)| path).find(|path| path.is_file()).unwrap();
    let to = folder.join("random.hdf5");
    fs::rename(d4rl, &to).unwrap();
    to
}

fn load(path: &Path) -> Result<()> {
    let _ = aaren_data::verify_source(path.to_str().unwrap(), &Default::default());
    Ok(aaren_data::load(path.to_str().unwrap()).map(drop)?)
}

fn load_job(path: &Path) -> Result<()> {
    let job = Job::load(&[path.into()], &Changes::default())?;
    serde_json::to_string(&job)?;
    Ok(())
}

#[test]
fn configs_in_json() {
    survives("configs_in_json", 1.0, |to| written(to.join("job.json"), RECURRENT), |at| load_job(&at.join("job.json")));
}

#[test]
fn configs_in_toml() {
    let job = "seed = 7\n[env]\nid = \"TMaze-v0\"\noptions = {corridor = 5}\n[data.scripted]\nepisodes = 10\n[policy]\nwidth = 8\nheads = 2\n\
               dropout = 0.5\n[train]\nsteps = 5\nlearning_rate = 1e-3\n[evaluation]\ntarget_returns = [1.0, 0.5]\n";
    survives("configs_in_toml", 1.0, |to| written(to.join("job.toml"), job), |at| load_job(&at.join("job.toml")));
}

#[test]
fn manifests_of_tables() {
    let manifest = "set = { train.steps = 5 }\nruns = \"mine\"\nseeds = \"1..3\"\nagents = [\"aaren\", { name = \"wide\", mixer = \"gru\", set = \
                    { policy.width = 64 } }]\n[[rows]]\nname = \"far\"\nenv = \"TMaze-v0\"\nset = { env.options.corridor = 5 }\n";
    let read = |at: &Path| {
        let plan = Plan::read(&at.join("table.toml"), &Choice::default())?;
        plan.piece(plan.pieces.len() - 1)?;
        Ok(())
    };
    survives("manifests_of_tables", 0.5, |to| written(to.join("table.toml"), manifest), read);
}

fn written(path: PathBuf, text: &str) -> PathBuf {
    fs::write(&path, text).unwrap();
    path
}

/// Reads a file of events as a job does, and shows its first sequence.
fn reads_events(folder: &Path, name: &str) -> Result<()> {
    let file = |name: &str| EventFiles::One(folder.join(name).display().to_string());
    let own = Events { train: file(name), test: file(name), validation: HeldOut::File(file(name)), ..Events::default() };
    let task = make(&TaskConfig::Events(own), 1)?;
    let (Lengths::Each(lengths), mut rows) = (task.lengths(Split::Train), SequenceRows::default()) else { unreachable!() };
    push(&*task, &mut rows, Split::Train, 0, 0..lengths[0], true);
    ensure!(rows.numbers.iter().all(|number| number.is_finite()), "panicked in spirit: a number of a token is not finite");
    task.baselines(Split::Test);
    Ok(())
}

#[test]
fn events_in_two_text_files() {
    let files = |to: &Path| {
        fs::write(to.join("event-x.txt"), "1 2 1\n22 1\n").unwrap();
        written(to.join("time-x.txt"), "0 1.5 2e3\n4 4\n")
    };
    survives("events_in_two_text_files", 1.0, files, |at| reads_events(at, "time-x.txt"));
}

#[test]
fn events_in_json() {
    let json = "{\"dim_process\": 3, \"train\": [[{\"time_since_start\": 0, \"type_event\": 1}, {\"time_since_start\": 1.5, \"type_event\": 0}], \
                {\"time_since_start\": [0, 1.5], \"time_since_last_event\": [0, 1.5], \"type_event\": [1, 0], \"x\": {\"y\": [null]}}], \"test\": []}";
    survives("events_in_json", 1.0, |to| written(to.join("x.json"), json), |at| reads_events(at, "x.json"));
}

#[test]
fn events_in_pickles() {
    // Python's protocol 2 of {"dim_process": 2, "test": [[{"time_since_start": 0.5, "type_event": 1}, {... 2.0 ... 0}]]}.
    let pickle = b"\x80\x02}q\x00(X\x0b\x00\x00\x00dim_processq\x01K\x02X\x04\x00\x00\x00testq\x02]q\x03]q\x04(}q\x05(X\x10\x00\x00\x00\
                   time_since_startq\x06G?\xe0\x00\x00\x00\x00\x00\x00X\n\x00\x00\x00type_eventq\x07K\x01u}q\x08(h\x06G@\x00\x00\x00\x00\
                   \x00\x00\x00h\x07K\x00ueau.";
    let file = |to: &Path| {
        fs::write(to.join("x.pkl"), pickle).unwrap();
        to.join("x.pkl")
    };
    survives("events_in_pickles", 1.0, file, |at| reads_events(at, "x.pkl"));
}

#[test]
fn events_in_tables() {
    let table = "sequence,time,mark\na,0,\"x\"\nb,1e3,y\na,1.5,x\nc,2,x\nc,5,y\n";
    survives("events_in_tables", 1.0, |to| written(to.join("x.csv"), table), |at| reads_events(at, "x.csv"));
}

#[test]
fn d4rl_files() {
    survives("d4rl_files", 1.0, recorded, |at| load(&at.join("random.hdf5")));
}

#[test]
fn minari_files() {
    let file = |to: &Path| {
        recorded(to);
        to.join("recorded/data/main_data.hdf5")
    };
    survives("minari_files", 1.0, file, |at| load(&at.join("recorded")));
}

#[test]
fn minari_metadata() {
    let file = |to: &Path| {
        recorded(to);
        to.join("recorded/data/metadata.json")
    };
    survives("minari_metadata", 1.0, file, |at| load(&at.join("recorded")));
}

/// A dataset that the official library wrote in one of its columnar storages, and the path of one of its tables.
#[cfg(feature = "arrow")]
fn columnar(folder: &Path, storage: &str) -> PathBuf {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/tests/fixtures/minari/spaces/mixed-{storage}-v0"));
    copy(&fixture, &folder.join("recorded"));
    folder.join(format!("recorded/data/0/part-0.{storage}"))
}

#[cfg(feature = "arrow")]
#[test]
fn arrow_tables() {
    survives("arrow_tables", 2.0, |to| columnar(to, "arrow"), |at| load(&at.join("recorded")));
}

#[cfg(feature = "arrow")]
#[test]
fn parquet_tables() {
    survives("parquet_tables", 2.0, |to| columnar(to, "parquet"), |at| load(&at.join("recorded")));
}

#[test]
fn descriptions_of_nested_spaces() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tests/fixtures/minari/spaces/mixed-hdf5-v0");
    let file = |to: &Path| {
        copy(&fixture, &to.join("recorded"));
        to.join("recorded/data/metadata.json")
    };
    survives("descriptions_of_nested_spaces", 1.0, file, |at| load(&at.join("recorded")));
}

#[test]
fn weights() {
    survives("weights", 1.0, |to| trained(to).join("weights.safetensors"), acts);
}

#[test]
fn descriptions() {
    survives("descriptions", 1.0, |to| trained(to).join("policy.json"), acts);
}

#[test]
fn descriptions_of_actor_critics() {
    let read = |at: &Path| {
        let run = RunDir::open(&at.join("run"))?;
        let (_, folder) = run.latest_checkpoint()?.context("a checkpoint")?;
        checkpoint::load_any::<Cpu>(&folder, &CPU).map(drop)?;
        Ok(())
    };
    survives("descriptions_of_actor_critics", 1.0, |to| trained_online(to).join("policy.json"), read);
}

#[test]
fn optimizers() {
    survives("optimizers", 0.3, |to| trained(to).join("optimizer.mpk"), goes_on);
}

#[test]
fn states() {
    survives("states", 0.3, |to| trained(to).join("state.mpk"), goes_on);
}

#[test]
fn progress() {
    survives("progress", 0.3, |to| trained(to).join("progress.json"), goes_on);
}

#[test]
fn jobs_of_runs() {
    let file = |to: &Path| {
        trained(to);
        to.join("run/config.json")
    };
    let read = |at: &Path| {
        let run = RunDir::open(&at.join("run"))?;
        ensure!(run.latest_checkpoint()?.is_some(), "no checkpoint");
        Ok(())
    };
    survives("jobs_of_runs", 1.0, file, read);
}

#[test]
fn places_in_environments() {
    survives("places_in_environments", 0.3, |to| trained_online(to).join("environments.mpk"), goes_on_online);
}

#[test]
fn progress_online() {
    survives("progress_online", 0.3, |to| trained_online(to).join("progress.json"), goes_on_online);
}

#[test]
fn evaluations() {
    let file = |to: &Path| {
        trained(to);
        copy(&to.join("run"), &to.join("other"));
        to.join("other/evaluation.json")
    };
    let read = |at: &Path| {
        let options = CompareOptions { output: Some(at.join("compared")), ..Default::default() };
        let _ = compare(&[at.join("run"), at.join("other")], &options)?.to_string();
        Ok(())
    };
    survives("evaluations", 0.5, file, read);
}

#[test]
fn recordings() {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/envs/tests/fixtures/gymnasium/cartpole/all_one.json");
    let file = |to: &Path| written(to.join("recording.json"), &fs::read_to_string(fixture).unwrap());
    survives("recordings", 1.0, file, |at| Ok(aaren_envs::replay(&at.join("recording.json")).map(drop)?));
}
