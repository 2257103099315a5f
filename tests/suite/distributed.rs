//! One run in several processes: the same bits as in one, and a clear end in bounded time whatever becomes of one of them.
//!
//! Needs the feature `mpi` and a launcher. `$AAREN_MPIRUN` names the launcher; without it, the one is taken that belongs to the library
//! that the program was built with.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::*;
use crate::kill_points::shim;

/// What the processes of a test have in their environment, so that none is missed.
const MARK: &str = "AAREN_TEST_MARK";

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// The launcher; None, with a printed reason, where this cannot be tested.
fn mpirun() -> Option<PathBuf> {
    if !cfg!(feature = "mpi") {
        println!("skipped: this build has no MPI; test with --features mpi");
        return None;
    }
    let named = std::env::var_os("AAREN_MPIRUN").map(PathBuf::from);
    let linked = Command::new("ldd").arg(env!("CARGO_BIN_EXE_aaren")).output().map(|output| output.stdout).unwrap_or_default();
    let own = if String::from_utf8_lossy(&linked).contains("libmpich") { "mpirun.mpich" } else { "mpirun.openmpi" };
    let found = named.into_iter().chain([own.into(), "mpirun".into()]).find(|name| {
        let tried = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        println!("skipped: there is no mpirun");
    }
    found
}

/// Few cores are here, so one of these tests runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Processes that a launcher has started.
struct Launched {
    launcher: Child,
    mark: String,
}

/// A launcher with its arguments; each of `parts` is a number of processes and what they run, split at blanks where it is no path.
fn launch(mpirun: &Path, folder: &Path, parts: &[(usize, Vec<String>)]) -> Launched {
    let mark = format!("{}-{:?}", std::process::id(), Instant::now());
    let mut command = Command::new(mpirun);
    for (index, (processes, arguments)) in parts.iter().enumerate() {
        if index > 0 {
            command.arg(":");
        }
        command.args(["-n", &processes.to_string()]).args(arguments);
    }
    command
        .current_dir(folder)
        .env(MARK, &mark)
        .env("RAYON_NUM_THREADS", "1")
        .env("HYDRA_LAUNCHER", "fork")
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("OMPI_MCA_hwloc_base_binding_policy", "none")
        .env("OMPI_MCA_mpi_yield_when_idle", "1")
        .env_remove("AAREN_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Launched { launcher: command.spawn().unwrap(), mark }
}

/// `aaren train --run run --distributed mpi`, with more arguments and settings.
fn training(arguments: &[&str], overrides: &[&str]) -> Vec<String> {
    let mut all = vec![env!("CARGO_BIN_EXE_aaren"), "train", "--run", "run", "--distributed", "mpi"];
    all.extend(arguments);
    overrides.iter().for_each(|setting| all.extend(["--set", setting]));
    all.into_iter().map(String::from).collect()
}

impl Launched {
    /// Process ids of the ranks, with the rank.
    fn ranks(&self) -> Vec<(usize, u32)> {
        let of = |pid: u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let variable = |name: &str| {
                let fields = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
                fields.into_iter().find_map(|field| Some(field.strip_prefix(name)?.strip_prefix('=')?.to_string()))
            };
            let rank = variable("OMPI_COMM_WORLD_RANK").or_else(|| variable("PMI_RANK"))?;
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (variable(MARK)? == self.mark && name.trim() == "aaren").then(|| Some((rank.parse().ok()?, pid)))?
        };
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter_map(of).collect()
    }

    /// Sends a rank a signal.
    fn signal(&self, rank: usize, signal: &str) {
        let ranks = self.ranks();
        let (_, pid) = ranks.iter().find(|(other, _)| *other == rank).unwrap_or_else(|| panic!("no rank {rank} in {ranks:?}"));
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    }

    /// Waits for a condition; should the launcher end before it holds, says what it said.
    fn wait_for(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let started = Instant::now();
        while !holds() {
            if self.launcher.try_wait().unwrap().is_some() || started.elapsed() > PATIENCE {
                let said = self.finish();
                panic!("{what} never came: {}", String::from_utf8_lossy(&said.stderr));
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// What the launcher said and ended with, within the patience; then no rank is left after ten seconds.
    fn finish(&mut self) -> Output {
        let started = Instant::now();
        while self.launcher.try_wait().unwrap().is_none() {
            if started.elapsed() > PATIENCE {
                self.ranks().iter().for_each(|(_, pid)| _ = Command::new("kill").args(["-9", &pid.to_string()]).status());
                self.launcher.kill().unwrap();
                panic!("the launcher does not end");
            }
            sleep(Duration::from_millis(20));
        }
        let ended = Instant::now();
        while !self.ranks().is_empty() {
            assert!(ended.elapsed() < Duration::from_secs(10), "left: {:?}", self.ranks());
            sleep(Duration::from_millis(20));
        }
        let read = |stream: Option<&mut dyn std::io::Read>| {
            let mut bytes = Vec::new();
            stream.map(|stream| stream.read_to_end(&mut bytes));
            bytes
        };
        let stdout = read(self.launcher.stdout.as_mut().map(|stream| stream as &mut dyn std::io::Read));
        let stderr = read(self.launcher.stderr.as_mut().map(|stream| stream as &mut dyn std::io::Read));
        Output { status: self.launcher.wait().unwrap(), stdout, stderr }
    }
}

impl Drop for Launched {
    /// A test that fails leaves nothing running.
    fn drop(&mut self) {
        let _ = self.launcher.kill();
        self.ranks().iter().for_each(|(_, pid)| _ = Command::new("kill").args(["-9", &pid.to_string()]).status());
        let _ = self.launcher.wait();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The one line that says what went wrong.
fn the_error(output: &Output) -> String {
    let said = said(output);
    assert!(!output.status.success(), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error:")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    errors[0].into()
}

/// Trains to the end with so many processes; without a launcher in one.
fn train_with(mpirun: &Path, processes: usize, folder: &Path, arguments: &[&str], overrides: &[&str]) {
    let output = match processes {
        1 => aaren(folder, &[&["train", "--run", "run"], arguments].concat(), overrides).output().unwrap(),
        _ => launch(mpirun, folder, &[(processes, training(arguments, overrides))]).finish(),
    };
    assert!(output.status.success(), "{processes} processes: {}", said(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).matches("run folder:").count(), 1, "one process says the results");
}

/// What a run leaves at a step and at its end, without what no two runs have in common.
#[derive(Debug, PartialEq)]
struct Left {
    weights: Vec<u8>,
    states: Option<Vec<u8>>,
    progress: Value,
    evaluation: Value,
    log: Vec<Value>,
}

fn left(run: &Path, step: u64) -> Left {
    let untimed = |mut value: Value| {
        let fields = value.as_object_mut().unwrap();
        fields.retain(|name, _| !name.contains("second") && name != "latency");
        fields.get_mut("interval").and_then(Value::as_object_mut).map(|interval| interval.remove("seconds"));
        value
    };
    let state = |name: &str| fs::read(checkpoint(run, step).join(name)).ok();
    Left {
        weights: weights(run, step),
        states: state("state.mpk").or_else(|| state("environments.mpk")),
        progress: untimed(json(&checkpoint(run, step).join("progress.json"))),
        evaluation: untimed(json(&run.join("evaluation.json"))),
        log: metrics(run).into_iter().map(strip_speeds).collect(),
    }
}

/// Everything that a step depends on: dropout, and states that are carried on.
const OFFLINE: &[&str] =
    &["train.shards=4", "policy.dropout=0.2", "train.row_length=5", "train.cut_segments=continue", "train.keep_checkpoints=99"];

const MLP: &str = r#"{
    "env": {"id": "Pendulum-v1", "options": {"max_episode_steps": 23}},
    "ppo": {"hidden": [16], "env_steps": 512, "envs": 8, "envs_per_group": 2, "rollout_len": 16, "minibatches": 2, "epochs": 2,
            "shards": 4, "checkpoint_every": 256, "keep_checkpoints": 9},
    "evaluation": {"episodes": 3, "every": 256}
}"#;

const AAREN: &str = r#"{
    "env": {"id": "Pendulum-v1", "options": {"max_episode_steps": 23}},
    "policy": {"mixer": "aaren", "width": 12, "heads": 2, "layers": 1, "feed_forward": 16},
    "ppo": {"network": "recurrent", "env_steps": 512, "envs": 8, "envs_per_group": 2, "rollout_len": 16, "minibatches": 1, "epochs": 2,
            "shards": 4, "checkpoint_every": 256, "keep_checkpoints": 9},
    "evaluation": {"episodes": 3, "every": 256}
}"#;

#[test]
fn processes_reach_the_bits_of_one() {
    let (Some(mpirun), _alone) = (mpirun(), alone()) else { return };
    let offline = small(&[OFFLINE, &["evaluation.every=8"]].concat());
    let jobs: [(&[&str], &[&str], u64); 3] = [(&[], &offline, 20), (&["mlp.json"], &[], 512), (&["aaren.json"], &[], 512)];
    for (arguments, overrides, step) in jobs {
        let of = |processes: usize| {
            let folder = tempfile::tempdir().unwrap();
            [("mlp.json", MLP), ("aaren.json", AAREN)]
                .iter()
                .for_each(|(name, job)| fs::write(folder.path().join(name), job).unwrap());
            train_with(&mpirun, processes, folder.path(), arguments, overrides);
            left(&folder.path().join("run"), step)
        };
        let alone = of(1);
        for processes in [2, 4] {
            assert!(of(processes) == alone, "{arguments:?}: {processes} processes");
        }
    }
}

#[test]
fn a_killed_process_ends_the_job_and_any_number_goes_on_from_its_checkpoint() {
    let (Some(mpirun), _alone) = (mpirun(), alone()) else { return };
    let (folder, unbroken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let run = folder.path().join("run");
    let settings = small(&[OFFLINE, &["train.checkpoint_every=7"]].concat());
    let endless = [&settings[..], &["train.steps=1000000"]].concat();
    let mut launched = launch(&mpirun, folder.path(), &[(4, training(&[], &endless))]);
    launched.wait_for("a checkpoint", || checkpoint(&run, 21).exists());
    launched.signal(2, "-KILL");
    assert!(!launched.finish().status.success());
    let newest = aaren_agents::run::RunDir::open(&run).unwrap().latest_checkpoint().unwrap().unwrap().0;
    // Not in the middle of a checkpoint, and not in the middle of a line of the log.
    assert!(newest >= 21 && newest.is_multiple_of(7), "{newest}");
    let steps = [newest + 3, newest + 9].map(|steps| format!("train.steps={steps}"));
    for (processes, steps) in [(2, &steps[0]), (1, &steps[1])] {
        train_with(&mpirun, processes, folder.path(), &["--resume"], &[steps]);
    }
    train_with(&mpirun, 1, unbroken.path(), &[], &[&settings[..], &[&*steps[1]]].concat());
    let (resumed, unbroken) = (left(&run, newest + 9), left(&unbroken.path().join("run"), newest + 9));
    assert!(resumed.weights == unbroken.weights && resumed.states == unbroken.states && resumed.progress == unbroken.progress);
    assert_eq!(resumed.evaluation, unbroken.evaluation);
}

#[test]
fn a_stopped_process_is_not_waited_for_for_ever() {
    let (Some(mpirun), _alone) = (mpirun(), alone()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let settings = small(&[OFFLINE, &["train.steps=1000000", "train.checkpoint_every=5"]].concat());
    let mut launched = launch(&mpirun, folder.path(), &[(2, training(&["--collective-timeout", "5"], &settings))]);
    launched.wait_for("a checkpoint", || checkpoint(&run, 10).exists());
    launched.signal(1, "-STOP");
    let stopped = Instant::now();
    let error = the_error(&launched.finish());
    assert!(stopped.elapsed() < Duration::from_secs(30), "{:?}", stopped.elapsed());
    assert!(error.starts_with("error: rank 0: training stopped; the newest checkpoint is run/checkpoints/step-"), "{error}");
    assert!(error.contains(": at step ") && error.contains("waited 5 s for another process"), "{error}");
}

#[test]
fn an_evaluation_does_not_wait_for_a_stopped_process_either() {
    let (Some(mpirun), _alone) = (mpirun(), alone()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = small(&["train.shards=2", "train.steps=2", "evaluation.final_episodes=10000000"]);
    let mut launched = launch(&mpirun, folder.path(), &[(2, training(&["--collective-timeout", "5"], &settings))]);
    launched.wait_for("the evaluation", || folder.path().join("run/train.json").exists());
    launched.signal(1, "-STOP");
    let error = the_error(&launched.finish());
    assert!(error.starts_with("error: rank 0: ") && error.contains("waited 5 s for another process"), "{error}");
}

#[test]
fn a_signal_to_one_process_stops_all_after_the_same_step() {
    let (Some(mpirun), _alone) = (mpirun(), alone()) else { return };
    let settings = small(&[OFFLINE, &["train.checkpoint_every=1000000", "train.log_every=3"]].concat());
    for (rank, signal, code) in [(1, "-INT", 130), (0, "-INT", 130), (3, "-TERM", 143)] {
        let (folder, unbroken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let run = folder.path().join("run");
        let endless = [&settings[..], &["train.steps=1000000"]].concat();
        let mut launched = launch(&mpirun, folder.path(), &[(4, training(&[], &endless))]);
        let log = run.join("metrics.jsonl");
        launched.wait_for("lines of the log", || fs::read_to_string(&log).is_ok_and(|lines| lines.lines().count() >= 3));
        launched.signal(rank, signal);
        let output = launched.finish();
        let error = the_error(&output);
        assert!(error.contains("go on with `aaren train --resume --run run`"), "{error}");
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        let steps: u64 = error.split("stopped at step ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert!(checkpoint(&run, steps).exists(), "{error}");
        if rank == 1 {
            let longer = format!("train.steps={}", steps + 5);
            train_with(&mpirun, 2, folder.path(), &["--resume"], &[&longer]);
            train_with(&mpirun, 1, unbroken.path(), &[], &[&settings[..], &[&*longer]].concat());
            let (resumed, unbroken) = (left(&run, steps + 5), left(&unbroken.path().join("run"), steps + 5));
            assert!(resumed == unbroken, "{resumed:?} {unbroken:?}");
        }
    }
}

#[test]
fn a_signal_in_an_evaluation_stops_all() {
    let (Some(mpirun), _alone) = (mpirun(), alone()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = small(&["train.shards=2", "train.steps=2", "evaluation.final_episodes=10000000"]);
    let mut launched = launch(&mpirun, folder.path(), &[(2, training(&[], &settings))]);
    launched.wait_for("the evaluation", || folder.path().join("run/train.json").exists());
    sleep(Duration::from_millis(300));
    launched.signal(1, "-INT");
    let output = launched.finish();
    assert!(the_error(&output).contains("stopped at step 2 of 2; the run is saved"), "{}", said(&output));
    assert_eq!(output.status.code(), Some(130));
    train_with(&mpirun, 2, folder.path(), &["--resume"], &["evaluation.final_episodes=3"]);
}

#[test]
fn a_full_disk_of_rank_0_ends_the_job_and_the_checkpoints_are_whole() {
    let (Some(mpirun), _alone) = (mpirun(), alone()) else { return };
    let Some(shim) = shim() else { return };
    let folder = tempfile::tempdir().unwrap();
    let settings = small(&[OFFLINE, &["train.steps=40", "train.checkpoint_every=2"]].concat());
    let follower = training(&[], &settings);
    // Every change of the disk after so many fails: in the middle of the training.
    let preload = format!("LD_PRELOAD={}", shim.display());
    let under = format!("KILL_UNDER={}", folder.path().canonicalize().unwrap().join("run").display());
    let settings = ["KILL_FAIL=160", "KILL_ERRNO=28", "KILL_FULL=1"].map(String::from);
    let shimmed = ["env".into(), preload, under].into_iter().chain(settings).chain(follower.clone());
    let output = launch(&mpirun, folder.path(), &[(1, shimmed.collect()), (1, follower)]).finish();
    let error = the_error(&output);
    assert!(error.starts_with("error: rank 0: ") && error.contains("No space left on device"), "{error}");
    train_with(&mpirun, 2, folder.path(), &["--resume"], &[]);
}

#[test]
fn another_dataset_on_one_rank_is_refused_before_anything_is_written() {
    let (Some(mpirun), _alone) = (mpirun(), alone()) else { return };
    let folder = tempfile::tempdir().unwrap();
    for (place, episodes) in [(".", "30"), ("other", "29")] {
        let place = folder.path().join(place);
        fs::create_dir_all(&place).unwrap();
        let collect = ["data.scripted.episodes=".to_string() + episodes, "env.options.corridor=6".into()];
        stdout(&mut aaren(&place, &["collect", "--output", "data"], &[&collect[0], &collect[1]]));
    }
    let settings = small(&["train.shards=4", "data={\"source\": \"data\"}"]);
    let train = training(&[], &settings);
    let script = ["sh", "-c", "cd other && exec \"$@\"", "sh"].map(String::from);
    let other = script.into_iter().chain(train.clone()).collect();
    let output = launch(&mpirun, folder.path(), &[(2, train.clone()), (1, other), (1, train)]).finish();
    let error = the_error(&output);
    assert!(error.contains("rank 2 has another dataset than rank 0: 29 episodes") && error.contains("30 episodes"), "{error}");
    assert!(!folder.path().join("run").exists());
}

#[test]
fn what_is_wrong_with_a_job_is_said_once() {
    let (Some(mpirun), _alone) = (mpirun(), alone()) else { return };
    let folder = tempfile::tempdir().unwrap();
    for (processes, setting, words) in [
        (3, "train.shards=4", "train.shards: found 4 with 3 processes"),
        (2, "train.shards=1", "train.shards: found 1 with 2 processes"),
        (2, "train.stepps=4", "did you mean \"steps\"?"),
        (2, "env.options.corridor=-1", "corridor"),
    ] {
        let output = launch(&mpirun, folder.path(), &[(processes, training(&[], &small(&[setting])))]).finish();
        let error = the_error(&output);
        assert!(error.contains(words), "{setting}: {error}");
        assert!(!folder.path().join("run").exists(), "{setting}");
    }
}

/// A panic of one rank must not leave the others waiting.
#[test]
fn a_panic_of_one_rank_ends_the_job() {
    let (Some(mpirun), _alone) = (mpirun(), alone()) else { return };
    let child = std::env::current_exe().unwrap().display().to_string();
    let arguments = [&*child, "--exact", "distributed::rank_1_panics", "--ignored", "--nocapture"].map(String::from);
    let folder = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let output = launch(&mpirun, folder.path(), &[(2, arguments.to_vec())]).finish();
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(the_error(&output), "error: rank 1: panicked: on purpose");
}

#[test]
#[ignore = "a_panic_of_one_rank_ends_the_job runs it, in several processes"]
fn rank_1_panics() {
    #[cfg(feature = "mpi")]
    aaren_agents::exchange::mpi::run(Duration::from_secs(300), |ranks| {
        if ranks.rank() == 1 {
            panic!("on purpose");
        }
        // Rank 1 never says anything.
        (0..1_000_000).try_for_each(|number| {
            sleep(Duration::from_millis(1));
            ranks.from_first(|| Ok(number)).map(drop)
        })
    })
    .unwrap();
}

#[test]
fn processes_that_were_started_together_must_be_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for (name, seeds) in [("OMPI_COMM_WORLD_SIZE", &[][..]), ("PMI_SIZE", &["--seeds", "1..2"])] {
        let arguments = [&["train", "--run", "run"], seeds].concat();
        let output = aaren(folder.path(), &arguments, &small(&["train.steps=1"])).env(name, "4").output().unwrap();
        let error = the_error(&output);
        assert!(error.contains("one of 4 processes") && error.contains(name), "{error}");
        assert!(error.contains("--distributed mpi") && error.contains("--distributed none"), "{error}");
        assert!(!folder.path().join("run").exists());
    }
    let own = ["train", "--run", "run", "--distributed", "none"];
    stdout(aaren(folder.path(), &own, &small(&["train.steps=1"])).env("PMI_SIZE", "4"));
    let slurm = aaren(folder.path(), &["train"], &[]).envs([("PMIX_RANK", "0"), ("SLURM_STEP_NUM_TASKS", "2")]).output().unwrap();
    assert!(the_error(&slurm).contains("SLURM_STEP_NUM_TASKS"), "{}", said(&slurm));
    // The others leave it to the first one to say.
    let output = aaren(folder.path(), &["train"], &[]).envs([("PMI_RANK", "1"), ("PMI_SIZE", "2")]).output().unwrap();
    assert_eq!((output.status.code(), said(&output)), (Some(1), String::new()));
    let several = ["train", "--distributed", "mpi", "--seeds", "1..2"];
    assert!(the_error(&aaren(folder.path(), &several, &[]).output().unwrap()).contains("--seeds"));
    if !cfg!(feature = "mpi") {
        let output = aaren(folder.path(), &["train", "--distributed", "mpi"], &[]).output().unwrap();
        assert!(the_error(&output).contains("--features mpi"), "{}", said(&output));
    }
}
