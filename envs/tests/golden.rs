//! Every task against recordings of the original implementation.

mod fixtures;

use std::path::Path;

use aaren_envs::{ActionBatch, Autoreset, Generator, ReplayReport, StepEnd, VectorEnv, make, replay, scripted::ScriptedPolicy};
use serde_json::{Map, Value, json};

/// Replays every recording in a folder, prints what was measured, and hands it to `check`.
fn replay_all(folder: &str, check: impl Fn(&ReplayReport)) {
    let files = fixtures::files(folder);
    let is_replay = |file: &&std::path::PathBuf| !matches!(stem(file), "model" | "resets" | "plans");
    for file in files.iter().filter(is_replay) {
        let report = replay(file).unwrap();
        println!(
            "{folder}/{}: {} steps, errors: observation {:e}, reward {:e}, state {:e}, info {:e}; bit-equal {}",
            stem(file),
            report.steps,
            report.max_abs_error_observation,
            report.max_abs_error_reward,
            report.max_abs_error_state,
            report.max_abs_error_info,
            report.bit_equal
        );
        assert!(report.flags_equal, "{report:?}");
        check(&report);
    }
}

fn stem(file: &Path) -> &str {
    file.file_stem().unwrap().to_str().unwrap()
}

fn within(error: f64, tolerance: f64, report: &ReplayReport) {
    assert!(error <= tolerance, "{error:e} is beyond {tolerance:e}: {report:?}");
}

#[test]
fn pendulum_replays() {
    replay_all("gymnasium/pendulum", |report| {
        // States hardly depend on the math library (9e-16 measured); an observation may be off by one float32 unit in the last
        // place of a number below 8, and a reward by the rounding of NumPy's `pow`.
        within(report.max_abs_error_state, 1e-12, report);
        within(report.max_abs_error_observation, 4.8e-7, report);
        within(report.max_abs_error_reward, 1e-10, report);
    });
}

#[test]
fn cartpole_replays() {
    replay_all("gymnasium/cartpole", |report| {
        within(report.max_abs_error_state, 1e-12, report);
        within(report.max_abs_error_observation, 2.4e-7, report);
        within(report.max_abs_error_reward, 0.0, report);
    });
}

/// Single steps differ by up to 1e-14 between math libraries. Whole rollouts are compared as far as recordings under two of them
/// agree.
#[cfg(feature = "mujoco")]
fn robot_replays(folder: &str) {
    replay_all(&format!("gymnasium/{folder}"), |report| {
        let tolerance = if report.file.ends_with("transitions.json") { 1e-10 } else { 1e-7 };
        within(report.max_abs_error_observation, tolerance, report);
        within(report.max_abs_error_reward, tolerance, report);
        within(report.max_abs_error_state, tolerance, report);
        within(report.max_abs_error_info, tolerance, report);
    });
}

#[cfg(feature = "mujoco")]
#[test]
fn hopper_replays() {
    robot_replays("hopper");
}

#[cfg(feature = "mujoco")]
#[test]
fn half_cheetah_replays() {
    robot_replays("halfcheetah");
}

#[cfg(feature = "mujoco")]
#[test]
fn walker2d_replays() {
    robot_replays("walker2d");
}

#[cfg(feature = "mujoco")]
#[test]
fn ant_replays() {
    robot_replays("ant");
}

/// Walls at full force among them. Positions and velocities are bit-equal; NumPy's `exp` of the dense reward differs in the last digit.
#[cfg(feature = "mujoco")]
#[test]
fn maze2d_replays() {
    for layout in ["umaze", "medium", "large"] {
        replay_all(&format!("maze2d/{layout}"), |report| {
            assert_eq!(report.robust_steps, report.steps);
            within(report.max_abs_error_observation, 1e-12, report);
            within(report.max_abs_error_reward, 1e-12, report);
            within(report.max_abs_error_state, 1e-12, report);
        });
    }
}

/// Seeds give the original's start states, and its samples of the action space.
fn resets(folder: &str, env_id: &str) {
    let mut env = make(env_id, &Map::new()).unwrap();
    let mut observation = vec![0.0; env.spec().observation_space.width()];
    for reset in fixtures::recording(&format!("gymnasium/{folder}"), "resets")["resets"].as_array().unwrap() {
        let seed = reset["seed"].as_u64().unwrap();
        for (which, seed) in [("first", Some(seed)), ("second", None)] {
            env.reset(seed, &mut observation).unwrap();
            // NumPy's tables of the normal distribution differ from ours in the last digit; uniform numbers are equal.
            let tolerance = if matches!(env_id, "HalfCheetah-v5" | "Ant-v5") { 1e-12 } else { 0.0 };
            let expected = fixtures::numbers(&reset[which]["obs"]);
            let error = observation.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(observation.len() == expected.len() && error <= tolerance, "{env_id}, {which} reset of {}", reset["seed"]);
            let mut names = vec![];
            env.info(&mut |name, value| {
                names.push(name);
                assert_eq!(reset[which]["info"][name].as_f64(), Some(value), "{env_id}: {name} after a reset");
            });
            assert_eq!(names.len(), reset[which]["info"].as_object().unwrap().len());
        }
        let (mut generator, space) = (Generator::from_seed(seed), &env.spec().action_space);
        for sample in reset["action_samples"].as_array().unwrap() {
            if space.is_discrete() {
                assert_eq!(space.sample_index(&mut generator) as f64, fixtures::numbers(sample)[0], "{env_id}, seed {seed}");
            } else {
                let mut action = vec![0.0; space.width()];
                space.sample(&mut generator, &mut action);
                let narrow: Vec<f64> = action.iter().map(|&value| f64::from(value as f32)).collect();
                assert_eq!(narrow, fixtures::numbers(sample), "{env_id}, seed {seed}");
            }
        }
    }
}

#[test]
fn pendulum_starts_as_seeded() {
    resets("pendulum", "Pendulum-v1");
}

#[test]
fn cartpole_starts_as_seeded() {
    resets("cartpole", "CartPole-v1");
}

#[cfg(feature = "mujoco")]
#[test]
fn robots_start_as_seeded() {
    resets("hopper", "Hopper-v5");
    resets("halfcheetah", "HalfCheetah-v5");
    resets("walker2d", "Walker2d-v5");
    resets("ant", "Ant-v5");
}

/// Three CartPoles over 70 steps with automatic resets.
fn autoreset(case: &str, mode: Autoreset) {
    let recording = fixtures::recording("gymnasium/vector", case);
    let Value::Object(options) = json!({"max_episode_steps": recording["max_episode_steps_override"]}) else { unreachable!() };
    let copies = recording["num_envs"].as_u64().unwrap() as usize;
    let mut envs = VectorEnv::make("CartPole-v1", &options, copies, mode).unwrap();
    envs.reset(recording["reset_seed"].as_u64()).unwrap();
    assert_eq!(envs.observations(), fixtures::numbers(&recording["init_obs"]));
    let mut ends = 0;
    for (t, (actions, step)) in
        recording["actions"].as_array().unwrap().iter().zip(recording["steps"].as_array().unwrap()).enumerate()
    {
        let actions: Vec<i64> = fixtures::numbers(actions).into_iter().map(|action| action as i64).collect();
        envs.step(ActionBatch::Discrete(&actions), None).unwrap();
        assert_eq!(envs.observations(), fixtures::numbers(&step["obs"]), "observations of step {t}");
        assert_eq!(envs.rewards(), fixtures::numbers(&step["reward"]), "rewards of step {t}");
        for row in 0..copies {
            let flag = |name: &str| step[name][row].as_bool().unwrap();
            let end = StepEnd { terminated: flag("terminated"), truncated: flag("truncated") };
            assert_eq!(envs.ends()[row], end, "step {t}, copy {row}");
            ends += usize::from(end.is_end());
            let expected = step.get("final_obs").map(|all| &all[row]).filter(|row| !row.is_null());
            assert_eq!(envs.final_observation(row).map(<[f64]>::to_vec), expected.map(fixtures::numbers), "step {t}, copy {row}");
        }
    }
    assert!(ends > 5, "the recording ends only {ends} episodes");
}

#[test]
fn next_step_autoreset_is_gymnasiums() {
    autoreset("cartpole_next_step", Autoreset::NextStep);
}

#[test]
fn same_step_autoreset_is_gymnasiums() {
    autoreset("cartpole_same_step", Autoreset::SameStep);
}

/// Mean return and mean length of 100 episodes of a uniform random policy, environment and actions seeded with 123, later
/// resets unseeded: what Gymnasium 1.4 gives is known to the digits compared.
fn random_policy(env_id: &str) -> (f64, f64) {
    let mut env = make(env_id, &Map::new()).unwrap();
    let (mut policy, mut generator) = (ScriptedPolicy::random(&env.spec().action_space), Generator::from_seed(123));
    let mut observation = vec![0.0; env.spec().observation_space.width()];
    let (mut total, mut steps) = (0.0, 0);
    for episode in 0..100 {
        env.reset((episode == 0).then_some(123), &mut observation).unwrap();
        let mut over = false;
        while !over {
            let step = env.step(policy.act(&observation, &[], &mut generator), &mut observation);
            let step = step.unwrap();
            total += step.reward;
            steps += 1;
            over = step.end.is_end();
        }
    }
    (total / 100.0, f64::from(steps) / 100.0)
}

#[test]
fn random_policies_score_as_in_gymnasium() {
    let (pendulum, cartpole) = (random_policy("Pendulum-v1"), random_policy("CartPole-v1"));
    println!("Pendulum {pendulum:?}, CartPole {cartpole:?}");
    assert!((pendulum.0 - -1267.0).abs() < 0.06, "{pendulum:?}");
    assert!((cartpole.0 - 24.26).abs() < 0.006, "{cartpole:?}");
}

#[cfg(feature = "mujoco")]
#[test]
fn random_robots_score_as_in_gymnasium() {
    // The others start with normal noise, of which a last digit is enough to change an episode.
    for (env_id, score, length) in [("Hopper-v5", 15.93, 21.8), ("Walker2d-v5", 1.24, 20.4)] {
        let (mean, mean_length) = random_policy(env_id);
        println!("{env_id} {mean}, length {mean_length}");
        assert!((mean - score).abs() < 0.006 && (mean_length - length).abs() < 0.06, "{env_id}: {mean}, {mean_length}");
    }
}
