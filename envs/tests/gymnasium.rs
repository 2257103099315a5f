//! Environments of Gymnasium in Python processes: equal to ours where we have them, and whatever can go wrong said in one line.

use std::path::Path;
use std::process::Command;

use aaren_envs::{
    Action, ActionBatch, Autoreset, Env, EnvError, Generator, Space, StepEnd, VectorEnv, check_env, make, make_copies,
};
use serde_json::{Map, Value, json};

/// The interpreter, or the reason why there is none.
fn python() -> Option<String> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let probe = Command::new(&python).args(["-c", "import numpy, gymnasium"]).output();
    if probe.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    println!("skipped: {python} cannot import gymnasium (pip install gymnasium)");
    None
}

/// Options with the interpreter, and the module of odd environments.
fn options(python: &str, more: Value) -> Map<String, Value> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/odd_envs.py");
    let Value::Object(mut options) = json!({"python": python, "module": [module]}) else { unreachable!() };
    options.extend(more.as_object().unwrap().clone());
    options
}

fn odd(python: &str, kwargs: Value) -> Result<Box<dyn Env>, EnvError> {
    make("gymnasium:Odd-v0", &options(python, json!({ "kwargs": kwargs })))
}

fn no(python: &str, kwargs: Value) -> String {
    odd(python, kwargs).err().expect("an error").to_string()
}

#[test]
fn vectors_in_python_are_those_of_our_own_tasks_over_thousands_of_steps() {
    let Some(python) = python() else { return };
    for id in ["CartPole-v1", "Pendulum-v1"] {
        let (copies, steps) = (4, 1000);
        let ours = VectorEnv::make(id, &Map::new(), copies, Autoreset::Disabled).unwrap();
        let theirs = options(&python, json!({}));
        let theirs = VectorEnv::make(&format!("gymnasium:{id}"), &theirs, copies, Autoreset::Disabled).unwrap();
        assert_eq!(ours.spec().max_episode_steps, theirs.spec().max_episode_steps);
        assert!(ours.spec().restorable && !theirs.spec().restorable);
        let (mut both, mut generator) = ([ours, theirs], Generator::from_seed(5));
        // The same seeds give the same first states.
        both.iter_mut().for_each(|envs| envs.reset(Some(20)).unwrap());
        let (mut episodes, mut furthest) = (0, 0.0_f64);
        for step in 0..steps {
            let space = both[0].spec().action_space.clone();
            let indices: Vec<i64> =
                (0..copies).map(|_| if space.is_discrete() { space.sample_index(&mut generator) } else { 0 }).collect();
            let forces: Vec<f32> = (0..copies).map(|_| generator.uniform(-2.0, 2.0) as f32).collect();
            let actions = if space.is_discrete() { ActionBatch::Discrete(&indices) } else { ActionBatch::F32(&forces) };
            both.iter_mut().for_each(|envs| envs.step(actions, None).unwrap());
            let [ours, theirs] = &mut both;
            assert_eq!(ours.ends(), theirs.ends(), "{id}, step {step}");
            let pairs = ours.observations().iter().zip(theirs.observations());
            let pairs = pairs.chain(ours.rewards().iter().zip(theirs.rewards()));
            furthest = pairs.fold(furthest, |furthest, (a, b)| furthest.max((a - b).abs()));
            for row in (0..copies).filter(|&row| ours.ends()[row].is_end()).collect::<Vec<_>>() {
                episodes += 1;
                [&mut *ours, theirs].into_iter().for_each(|envs| envs.reset_row(row, Some(100 + episodes)).unwrap());
            }
        }
        assert!(furthest < 1e-6, "{id}: {furthest} apart");
        assert!(episodes >= 20, "{id}: {episodes} episodes");
    }
}

#[test]
fn an_environment_in_python_keeps_the_contract() {
    let Some(python) = python() else { return };
    for id in ["gymnasium:CartPole-v1", "gymnasium:Pendulum-v1", "gymnasium:Acrobot-v1"] {
        let limited = options(&python, json!({"max_episode_steps": 40}));
        check_env(&mut *make(id, &limited).unwrap()).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_row_steps_with_the_action_that_was_announced_and_no_other() {
    let Some(python) = python() else { return };
    let all = options(&python, json!({}));
    let mut rows = make_copies(&|| make("gymnasium:CartPole-v1", &all), 2).unwrap();
    let mut observation = [0.0; 4];
    rows.iter_mut().for_each(|env| env.reset(Some(3), &mut observation).unwrap());
    rows.iter_mut().for_each(|env| env.announce(Action::Discrete(1)));
    rows[0].step(Action::Discrete(1), &mut observation).unwrap();
    let error = rows[1].step(Action::Discrete(0), &mut [0.0; 4]).unwrap_err();
    assert!(error.to_string().contains("another action than the one that was announced"), "{error}");
    // A reset forgets what was announced, and the next episode is that of its seed.
    let mut second = [0.0; 4];
    rows[1].reset(Some(3), &mut second).unwrap();
    rows[1].announce(Action::Discrete(0));
    rows[1].reset(Some(3), &mut second).unwrap();
    rows[1].step(Action::Discrete(1), &mut second).unwrap();
    assert_eq!(second, observation);
}

#[test]
fn time_limits_and_delays_are_those_of_the_job() {
    let Some(python) = python() else { return };
    let episode = |more: Value| {
        let mut env = make("gymnasium:Pendulum-v1", &options(&python, more)).unwrap();
        let mut observation = [0.0; 3];
        env.reset(Some(1), &mut observation).unwrap();
        let mut rewards = Vec::new();
        for _ in 0..300 {
            let step = env.step(Action::F32(&[0.5]), &mut observation).unwrap();
            rewards.push(step.reward);
            if step.end.is_end() {
                assert_eq!(step.end, StepEnd { terminated: false, truncated: true });
                break;
            }
        }
        (env.spec().max_episode_steps, rewards)
    };
    let (limit, rewards) = episode(json!({}));
    assert_eq!((limit, rewards.len()), (Some(200), 200));
    let (limit, short) = episode(json!({"max_episode_steps": 7}));
    assert_eq!((limit, &short[..]), (Some(7), &rewards[..7]));
    let (limit, endless) = episode(json!({"max_episode_steps": null}));
    assert_eq!((limit, endless.len(), &endless[..200]), (None, 300, &rewards[..]));
    let (_, delayed) = episode(json!({"max_episode_steps": 7, "reward_delay": "episode"}));
    assert_eq!(delayed[..6], [0.0; 6]);
    assert!((delayed[6] - short.iter().sum::<f64>()).abs() < 1e-9);
    let (limit, _) = episode(json!({"wrappers": [{"name": "TimeLimit", "kwargs": {"max_episode_steps": 5}}]}));
    assert_eq!(limit, Some(5));
}

#[test]
fn observations_are_flattened_in_gymnasiums_order() {
    let Some(python) = python() else { return };
    for (kind, expected) in [
        ("image", &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0][..]),
        ("bools", &[1.0, 0.0]),
        ("discrete", &[0.0, 1.0, 0.0]),
        ("multi_discrete", &[0.0, 1.0, 0.0, 0.0, 1.0]),
        ("multi_binary", &[1.0, 0.0, 1.0]),
        ("tuple", &[0.0, 1.0, 1.0, 0.0]),
        ("dict", &[0.0, 1.0, 0.0, 5.0, 6.0]),
    ] {
        let mut env = odd(&python, json!({ "observation": kind })).unwrap_or_else(|error| panic!("{kind}: {error}"));
        let mut observation = vec![f64::NAN; env.spec().observation_space.width()];
        env.reset(Some(1), &mut observation).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(observation, expected, "{kind}");
        observation.fill(f64::NAN);
        env.step(Action::Discrete(1), &mut observation).unwrap();
        assert_eq!(observation, expected, "{kind}");
    }
    let refused = no(&python, json!({"observation": "sequence"}));
    assert!(refused.starts_with("gymnasium:Odd-v0: its observations are Sequence(") && !refused.contains('\n'), "{refused}");
}

#[test]
fn combinations_of_choices_are_one_choice_and_other_actions_are_refused_by_name() {
    let Some(python) = python() else { return };
    let space = |kind: &str| odd(&python, json!({ "action": kind })).unwrap().spec().action_space.clone();
    let reward = |kind: &str, action: Action<'_>| {
        let mut env = odd(&python, json!({ "action": kind })).unwrap();
        env.reset(None, &mut [0.0]).unwrap();
        env.step(action, &mut [0.0]).unwrap_or_else(|error| panic!("{kind}: {error}")).reward
    };
    assert_eq!(space("from_minus_one"), Space::Discrete { n: 3, start: -1 });
    assert_eq!([-1, 1].map(|index| reward("from_minus_one", Action::Discrete(index))), [-1.0, 1.0]);
    assert_eq!(space("multi_discrete"), Space::Discrete { n: 6, start: 0 });
    let rewards = |kind: &str, n: i64| (0..n).map(|index| reward(kind, Action::Discrete(index))).collect::<Vec<_>>();
    // The last number changes first.
    assert_eq!(rewards("multi_discrete", 6), [0.0, 1.0, 2.0, 10.0, 11.0, 12.0]);
    assert_eq!(rewards("multi_binary", 8), [0.0, 1.0, 10.0, 11.0, 100.0, 101.0, 110.0, 111.0]);
    assert_eq!(rewards("integers", 6), [-5.0, -4.0, 5.0, 6.0, 15.0, 16.0]);
    assert_eq!(space("matrix").width(), 4);
    assert_eq!(reward("matrix", Action::F64(&[1.0, 0.5, -1.0, 0.25])), 1000.0 + 50.0 - 10.0 + 0.25);
    for (kind, words) in [
        ("many", "its actions are MultiDiscrete([100 100]), which are 10000 combinations; a policy chooses among at most 1024"),
        ("endless", "combinations"),
        ("tuple", "its actions are Tuple(Discrete(2), Box("),
        ("text", "its actions are Text("),
    ] {
        let refused = no(&python, json!({ "action": kind }));
        assert!(refused.contains(words), "{kind}: {refused}");
    }
}

#[test]
fn what_environments_print_is_not_part_of_the_protocol() {
    let Some(python) = python() else { return };
    let mut env = odd(&python, json!({"prints": true})).unwrap();
    env.reset(None, &mut [0.0]).unwrap();
    for _ in 0..19 {
        assert_eq!(env.step(Action::Discrete(1), &mut [0.0]).unwrap().reward, 1.0);
    }
    assert!(env.step(Action::Discrete(0), &mut [0.0]).unwrap().end.truncated);
}

#[test]
fn an_exception_is_said_with_its_place_and_the_other_rows_go_on() {
    let Some(python) = python() else { return };
    for (fails, words) in [
        ("step", &["step raised ValueError: a step too far (", "odd_envs.py, line ", ", in fail)"][..]),
        ("exit", &["step raised SystemExit: 3"]),
        ("nan", &["step gave NaN as number 0 of the observation"]),
        ("shape", &["step raised ValueError: an observation of shape (2,), the space has (1,)"]),
        ("reward", &["step gave the reward inf"]),
    ] {
        let all = options(&python, json!({"kwargs": {"fails": fails}}));
        let mut envs = VectorEnv::make("gymnasium:Odd-v0", &all, 2, Autoreset::Disabled).unwrap();
        envs.reset(Some(1)).unwrap();
        for _ in 0..2 {
            envs.step(ActionBatch::Discrete(&[1, 1]), None).unwrap();
        }
        // The first copy begins anew, so only the second one fails.
        envs.reset_row(0, Some(5)).unwrap();
        envs.step_row(0, Action::Discrete(1)).unwrap();
        let error = envs.step(ActionBatch::Discrete(&[1, 1]), None).unwrap_err();
        let EnvError::Row { row: 1, source } = error else { panic!("{error}") };
        let error = source.to_string();
        assert!(error.starts_with("gymnasium:Odd-v0: ") && !error.contains('\n'), "{error}");
        words.iter().for_each(|word| assert!(error.contains(word), "{fails}: {error:?} lacks {word:?}"));
        assert_eq!((envs.rewards()[0], envs.observation(0)), (1.0, &[0.0][..]), "{fails}: the first copy has stepped");
        let again = envs.step_row(1, Action::Discrete(0)).unwrap_err();
        assert!(matches!(again, EnvError::Row { source, .. } if matches!(*source, EnvError::ResetNeeded { .. })));
        envs.reset_row(1, Some(2)).unwrap();
        envs.step_row(1, Action::Discrete(1)).unwrap();
    }
    let mut env = odd(&python, json!({"fails": "reset"})).unwrap();
    let error = env.reset(Some(1), &mut [0.0]).unwrap_err().to_string();
    assert!(error.starts_with("gymnasium:Odd-v0: reset raised ValueError: cannot begin ("), "{error}");
}

#[test]
fn a_worker_that_ends_is_named_with_how_it_ended_and_stays_ended() {
    let Some(python) = python() else { return };
    for (fails, how) in [("die", "ended (exit status: 7); the last line that it wrote: the last words"), ("crash", "SIGSEGV")] {
        let mut env = odd(&python, json!({ "fails": fails })).unwrap();
        env.reset(Some(1), &mut [0.0]).unwrap();
        env.step(Action::Discrete(0), &mut [0.0]).unwrap();
        env.step(Action::Discrete(0), &mut [0.0]).unwrap();
        let error = env.step(Action::Discrete(0), &mut [0.0]).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, EnvError::Worker { .. }), "{text}");
        assert!(text.starts_with("gymnasium:Odd-v0: worker process ") && text.contains(how) && !text.contains('\n'), "{text}");
        assert_eq!(env.reset(Some(1), &mut [0.0]).unwrap_err().to_string(), text);
    }
}

#[test]
fn what_keeps_python_from_making_it_is_said_in_one_line() {
    let Some(python) = python() else { return };
    let failed = |id: &str, more: Value| make(id, &options(&python, more)).err().expect(id).to_string();
    for (id, more, words) in [
        ("gymnasium:CartPoole-v1", json!({}), &["cannot make it: ", "NameNotFound", "CartPoole"][..]),
        ("gymnasium:CartPole-v77", json!({}), &["cannot make it: ", "CartPole"]),
        (
            "gymnasium:CartPole-v1",
            json!({"module": "no_such_module"}),
            &["cannot import no_such_module (env.options.module)", "ModuleNotFoundError"],
        ),
        ("gymnasium:CartPole-v1", json!({"module": "no_such_file.py"}), &["cannot import no_such_file.py", "FileNotFoundError"]),
        ("gymnasium:no_such_module:A-v0", json!({}), &["cannot make it: ", "no_such_module"]),
        ("gymnasium:CartPole-v1", json!({"kwargs": {"gravitas": 1}}), &["cannot make it: TypeError", "gravitas"]),
        ("gymnasium:CartPole-v1", json!({"wrappers": ["NoWrapper"]}), &["cannot make it: AttributeError", "NoWrapper"]),
        (
            "gymnasium:Odd-v0",
            json!({"kwargs": {"fails": "make"}}),
            &["cannot make it: ValueError: cannot be made (", "odd_envs.py"],
        ),
        ("gymnasium:CartPole-v1", json!({"python": "no_such_python"}), &["cannot start no_such_python", "env.options.python"]),
        ("gymnasium:CartPole-v1", json!({"python": "false"}), &["(false) ended (exit status: 1)"]),
        ("gymnasium:CartPole-v1", json!({"python": "echo"}), &["(echo) is no Python interpreter: it said \"-c "]),
        ("gymnasium:", json!({}), &["such as gymnasium:CartPole-v1"]),
    ] {
        let error = failed(id, more);
        assert!(!error.contains('\n'), "{error}");
        words.iter().for_each(|word| assert!(error.contains(word), "{id}: {error:?} lacks {word:?}"));
    }
    // An interpreter without its packages.
    let folder = tempfile::tempdir().unwrap();
    let bare = folder.path().join("bare-python");
    std::fs::write(&bare, format!("#!/bin/sh\nunset PYTHONPATH\nexec {python} -I -S \"$@\"\n")).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&bare, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let error = failed("gymnasium:CartPole-v1", json!({ "python": bare }));
    assert!(
        error.contains("cannot import numpy: ModuleNotFoundError") && error.contains("-m pip install numpy gymnasium"),
        "{error}"
    );
}

#[test]
fn seeds_are_as_wide_as_the_environment_takes() {
    let Some(python) = python() else { return };
    let begin = |more: Value| {
        let mut env = make("gymnasium:Odd-v0", &options(&python, more)).unwrap();
        env.reset(Some(u64::MAX - 1), &mut [0.0])
    };
    let error = begin(json!({"kwargs": {"fails": "small seeds"}})).unwrap_err().to_string();
    assert!(error.contains("reset raised ValueError: Seed must be between 0 and 2**32 - 1"), "{error}");
    begin(json!({"kwargs": {"fails": "small seeds"}, "seed_bits": 32})).unwrap();
}

/// Processes of this one's that run a worker of an environment, by Linux's files.
#[cfg(target_os = "linux")]
fn workers(marker: &str) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_ours =
        |id: &u32| std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(marker));
    processes.filter(is_ours).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn workers_end_with_their_environments_and_one_serves_all_copies() {
    let Some(python) = python() else { return };
    // A name that no other test has.
    let marker = "gymnasium:MountainCar-v0";
    let all = options(&python, json!({}));
    let copies = make_copies(&|| make(marker, &all), 3).unwrap();
    assert_eq!(workers(marker).len(), 1);
    // One that is made for its spec alone starts nothing.
    let another = make(marker, &all).unwrap();
    assert_eq!((another.spec(), workers(marker).len()), (copies[0].spec(), 1));
    drop(copies);
    assert_eq!(workers(marker).len(), 0);
}
