//! Jobs in environments of Gymnasium, in Python processes: they learn, evaluate and collect as in any other task; a process that is
//! killed ends the job with one error, and none outlives it.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::common::*;

/// Whether there is a Python with gymnasium; says so if not.
fn has_gymnasium() -> bool {
    let python = python();
    let probe = Command::new(&python).args(["-c", "import numpy, gymnasium"]).output();
    let is_there = probe.is_ok_and(|output| output.status.success());
    if !is_there {
        println!("skipped: {python} cannot import gymnasium (pip install gymnasium)");
    }
    is_there
}

fn python() -> String {
    std::env::var("PYTHON").unwrap_or_else(|_| "python3".into())
}

/// Writes a job of a few seconds; `gymnasium:` and `name`, with arguments.
fn write_job(folder: &Path, name: &str, kwargs: &str) {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("envs/tests/fixtures/odd_envs.py");
    let text = format!(
        r#"{{
            "env": {{"id": "gymnasium:{name}",
                     "options": {{"python": "{}", "module": "{}", "kwargs": {kwargs}, "max_episode_steps": 40}}}},
            "ppo": {{"hidden": [7], "env_steps": 480, "envs": 6, "envs_per_group": 2, "rollout_len": 16, "minibatches": 3, "epochs": 1,
                     "checkpoint_every": 96, "keep_checkpoints": 99}},
            "evaluation": {{"episodes": 3, "actors": 2, "envs_per_actor": 2}}
        }}"#,
        python(),
        module.display()
    );
    fs::write(folder.join("job.json"), text).unwrap();
}

/// Worker processes of a parent.
fn workers(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    processes.filter(|id| status(*id).is_some_and(|(_, of)| of == parent.to_string())).collect()
}

/// State and parent of a process, which in Linux's file follow its name in brackets.
fn status(id: u32) -> Option<(String, String)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit(')').next()?.split_whitespace().map(String::from);
    fields.next().zip(fields.next())
}

fn is_running(id: u32) -> bool {
    status(id).is_some_and(|(state, _)| state != "Z")
}

/// Waits until a condition holds, a minute at most.
fn wait_for(mut holds: impl FnMut() -> bool) -> bool {
    let held = (0..6000).find(|_| {
        sleep(Duration::from_millis(10));
        holds()
    });
    held.is_some()
}

fn kill(signal: &str, id: impl ToString) {
    let status = Command::new("kill").args([signal, "--", &id.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Starts a training that goes on for long, in a process group of its own as in a terminal, and waits for its first checkpoint.
fn long_training(folder: &Path) -> Child {
    let mut train = aaren(folder, &["train", "job.json", "--run", "run"], &["ppo.env_steps=100000000"]);
    let train = train.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let began = wait_for(|| checkpoint(&folder.join("run"), 96).exists());
    assert!(began, "no checkpoint");
    train
}

#[test]
fn a_policy_is_trained_evaluated_and_collected_with_and_its_data_are_learned_from() {
    if !has_gymnasium() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_job(folder, "CartPole-v1", "{}");
    let inspected = stdout(&mut aaren(folder, &["inspect", "job.json"], &[]));
    assert!(inspected.contains("gymnasium:CartPole-v1"), "{inspected}");
    for actors in ["1", "3"] {
        let set = format!("ppo.actors={actors}");
        stdout(&mut aaren(folder, &["train", "job.json", "--run", actors], &[&set]));
    }
    assert!(weights(&folder.join("1"), 480) == weights(&folder.join("3"), 480), "weights depend on the number of actors");
    // The same task of our own gives the same returns to the same policy.
    let returns = |more: &[&str]| {
        let said = stdout(&mut aaren(folder, &[&["evaluate", "1", "--json"], more].concat(), &[]));
        serde_json::from_str::<serde_json::Value>(&said).unwrap()["targets"][0]["returns"].clone()
    };
    let in_python = returns(&[]);
    assert_eq!(in_python.as_array().unwrap().len(), 3);
    fs::create_dir(folder.join("ours")).unwrap();
    let ours = fs::read_to_string(folder.join("job.json")).unwrap().replace("gymnasium:", "");
    let options = r#""options": {"max_episode_steps": 40}"#;
    let ours = ours.split(r#""options": {"#).next().unwrap().to_string() + options + ours.split("40}").nth(1).unwrap();
    fs::write(folder.join("ours.json"), ours).unwrap();
    stdout(&mut aaren(folder, &["train", "ours.json", "--run", "ours"], &[]));
    assert!(weights(&folder.join("ours"), 480) == weights(&folder.join("1"), 480), "Python's CartPole is not ours");

    // A dataset that is collected there, and what learns from it.
    let env = fs::read_to_string(folder.join("job.json")).unwrap();
    let env = env.split(r#""ppo""#).next().unwrap();
    fs::write(
        folder.join("collect.json"),
        format!(r#"{env} "collect": {{"dataset": "random", "steps": 300, "format": "minari"}}}}"#),
    )
    .unwrap();
    stdout(&mut aaren(folder, &["collect", "collect.json", "--output", "cartpole/random-v0"], &[]));
    let recovered = "import minari; print(minari.load_dataset('cartpole/random-v0').recover_environment())";
    let has_minari = Command::new(python()).args(["-c", "import minari.dataset._storages.hdf5_storage"]).output();
    if has_minari.is_ok_and(|output| output.status.success()) {
        let mut minari = Command::new(python());
        let said = stdout(minari.args(["-c", recovered]).env("MINARI_DATASETS_PATH", folder));
        assert!(said.contains("CartPoleEnv<CartPole-v1>"), "{said}");
    }
    let offline = env.to_string()
        + r#""policy": {"mixer": "aaren", "width": 16, "heads": 2, "feed_forward": 16},
            "train": {"steps": 3, "batch_size": 4, "warmup_steps": 1, "log_every": 1}, "data": {"source": "cartpole/random-v0"},
            "evaluation": {"target_returns": [20], "episodes": 2, "every": 0}}"#;
    fs::write(folder.join("offline.json"), offline).unwrap();
    let output = aaren(folder, &["train", "offline.json", "--run", "offline", "--strict"], &[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !said.contains("warning"), "{said}");
    // Data of our own task are those of the same task in Python, and a policy may be evaluated in the other.
    let said = stdout(&mut aaren(folder, &["evaluate", "offline", "--env", "CartPole-v1", "--json"], &[]));
    assert!(said.contains("CartPole-v1"), "{said}");
}

#[test]
fn a_training_that_is_resumed_begins_new_episodes_and_says_so() {
    if !has_gymnasium() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_job(folder, "Pendulum-v1", "{}");
    stdout(&mut aaren(folder, &["train", "job.json", "--run", "run"], &["ppo.env_steps=192"]));
    let output = aaren(folder, &["train", "--resume", "--run", "run"], &["ppo.env_steps=480"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("every environment begins a new one").count(), 1, "{said}");
    assert!(checkpoint(&folder.join("run"), 480).exists());
    // Episodes of 40 steps: two rollouts of 16 ended none, and none that began before the break goes on behind it.
    let lengths: Vec<f64> = lines_with(&folder.join("run"), "rollout/length_mean")
        .iter()
        .map(|line| line["rollout/length_mean"].as_f64().unwrap())
        .collect();
    assert_eq!(lengths, [40.0], "the third rollout after the break ends the first episodes");
}

#[test]
fn a_worker_that_is_killed_ends_the_training_with_its_group_and_nothing_is_left() {
    if !has_gymnasium() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write_job(folder.path(), "Pendulum-v1", "{}");
    let train = long_training(folder.path());
    let all = workers(train.id());
    assert_eq!(all.len(), 3, "a process for each group");
    kill("-KILL", all[1]);
    let output = train.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let error = said.lines().last().unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(error.starts_with("error: ") && said.matches("error:").count() == 1, "{said}");
    for word in [
        "gymnasium:Pendulum-v1",
        "group ",
        &format!("worker process {}", all[1]),
        "ended (signal: 9 (SIGKILL))",
        "the newest checkpoint is run/",
    ] {
        assert!(error.contains(word), "{error:?} lacks {word:?}");
    }
    assert!(wait_for(|| !all.iter().any(|id| is_running(*id))), "workers are left");
}

#[test]
fn workers_end_with_a_job_that_is_killed_even_those_that_are_busy() {
    if !has_gymnasium() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, kwargs) in [("Pendulum-v1", "{}"), ("Odd-v0", r#"{"fails": "hang"}"#)] {
        write_job(folder.path(), name, kwargs);
        let mut train = aaren(folder.path(), &["train", "job.json", "--run", name], &["ppo.env_steps=100000000"]);
        let mut train = train.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        assert!(wait_for(|| workers(train.id()).len() == 3), "{name}: no workers");
        let all = workers(train.id());
        // Until they hang, or play.
        sleep(Duration::from_secs(2));
        assert!(train.try_wait().unwrap().is_none(), "{name}: the training has ended");
        train.kill().unwrap();
        train.wait().unwrap();
        assert!(wait_for(|| !all.iter().any(|id| is_running(*id))), "{name}: workers are left");
    }
}

#[test]
fn a_ctrl_c_in_a_terminal_saves_the_run_before_the_workers_end() {
    if !has_gymnasium() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    write_job(folder.path(), "Pendulum-v1", "{}");
    let train = long_training(folder.path());
    let all = workers(train.id());
    // To the whole group, as a terminal does; and to the workers, as a scheduler does.
    kill("-INT", format!("-{}", train.id()));
    // One may have ended by then.
    all.iter().for_each(|id| drop(Command::new("kill").args(["-TERM", "--", &id.to_string()]).output()));
    let output = train.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("aaren train --resume --run run") && !said.contains("worker process"), "{said}");
    assert!(wait_for(|| !all.iter().any(|id| is_running(*id))), "workers are left");
}

#[test]
fn what_python_says_is_one_line_of_an_error() {
    if !has_gymnasium() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, kwargs, words) in [
        ("NoSuch-v0", "{}", &["env: gymnasium:NoSuch-v0: ", "cannot make it: ", "NoSuch"][..]),
        (
            "Odd-v0",
            r#"{"fails": "reset"}"#,
            &["gymnasium:Odd-v0", "group 0", "environment 0", "reset raised ValueError: cannot begin"],
        ),
        (
            "Odd-v0",
            r#"{"fails": "step"}"#,
            &["gymnasium:Odd-v0", "group 0", "environment 0", "step raised ValueError: a step too far"],
        ),
        ("Odd-v0", r#"{"action": "tuple"}"#, &["its actions are Tuple("]),
    ] {
        write_job(folder.path(), name, kwargs);
        let output = aaren(folder.path(), &["train", "job.json"], &[]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let error = said.lines().last().unwrap();
        assert_eq!((output.status.code(), said.matches("error:").count()), (Some(1), 1), "{said}");
        assert!(!said.contains("Traceback"), "{said}");
        words.iter().for_each(|word| assert!(error.contains(word), "{error:?} lacks {word:?}"));
    }
    // What is said aloud on the way, once for all workers.
    write_job(folder.path(), "Odd-v0", r#"{"prints": true}"#);
    let output = aaren(folder.path(), &["train", "job.json", "--run", "prints"], &[]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("UserWarning: mind the step").count(), 1, "{said}");
}
