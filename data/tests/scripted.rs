//! Datasets of policies that need no learning.

use aaren_data::scripted::{ScriptedConfig, collect};
use aaren_data::{Actions, Dataset, Trajectory};
use aaren_envs::{Action, EnvError, make};
use serde_json::{Map, Value};

fn config(json: Value) -> ScriptedConfig {
    serde_json::from_value(json).unwrap()
}

#[test]
fn the_quality_is_the_rate_of_right_turns() {
    for quality in [0.0, 0.7, 1.0] {
        let config = config(serde_json::json!({
            "env": "TMaze-v0", "options": {"corridor": 3}, "episodes": 500, "quality": quality, "seed": 5
        }));
        let data = collect(&config).unwrap();
        let mean = data.trajectories.iter().map(Trajectory::episode_return).sum::<f64>() / 500.0;
        // Four standard errors.
        assert!((mean - quality).abs() <= 4.0 * (quality * (1.0 - quality) / 500.0).sqrt(), "quality {quality}, mean {mean}");
        let first = &data.trajectories[0];
        assert_eq!((first.len(), first.observations.len(), first.end.terminated), (4, 15, true));
        assert_eq!(first.observations[3..12], [0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_and_a_longer_collection_begins_with_a_shorter() {
    for json in [
        serde_json::json!({"env": "TMaze-v0", "episodes": 9, "quality": 0.5, "seed": 3}),
        serde_json::json!({"env": "Pendulum-v1", "collector": "random", "episodes": 3, "seed": 3}),
        serde_json::json!({"env": "Pendulum-v1", "options": {"noise": 0.2}, "episodes": 3, "noise": 0.5, "seed": 3}),
        serde_json::json!({"env": "RepeatPrevious-v0", "episodes": 3, "quality": 0.8, "seed": 3}),
        serde_json::json!({"env": "CartPole-v1", "episodes": 3, "quality": 0.8, "seed": 3}),
        serde_json::json!({"env": "PointMaze-v0", "episodes": 3, "noise": 0.5, "seed": 3}),
    ] {
        let mut config = config(json);
        let data = collect(&config).unwrap();
        assert_eq!(data, collect(&config).unwrap());
        config.episodes -= 1;
        assert_eq!(collect(&config).unwrap().trajectories, data.trajectories[..config.episodes]);
        config.seed += 1;
        assert_ne!(collect(&config).unwrap().trajectories[0], data.trajectories[0]);
    }
}

#[test]
fn a_stored_episode_replays_from_its_seed() {
    let config = config(serde_json::json!({"env": "Pendulum-v1", "collector": "random", "episodes": 2, "seed": 8}));
    let data = collect(&config).unwrap();
    let mut env = make("Pendulum-v1", &Map::new()).unwrap();
    for trajectory in &data.trajectories {
        let Actions::Continuous(actions) = &trajectory.actions else { unreachable!() };
        let mut observation = [0.0; 3];
        env.reset(trajectory.seed, &mut observation).unwrap();
        assert_eq!((trajectory.len(), trajectory.end.truncated), (200, true));
        for (t, &action) in actions.iter().enumerate() {
            assert_eq!(observation, trajectory.observations[3 * t..][..3]);
            assert_eq!(env.step(Action::F32(&[action]), &mut observation).unwrap().reward, trajectory.rewards[t]);
        }
    }
}

#[test]
fn the_waypoint_controller_scores_better_than_d4rls_reference_and_noise_is_stored() {
    let mazes = ["PointMaze-v0", "Maze2D-v1"].into_iter().filter(|&id| cfg!(feature = "mujoco") || id == "PointMaze-v0");
    for (id, noise) in mazes.flat_map(|id| [(id, 0.0), (id, 0.5)]) {
        let config = config(serde_json::json!({
            "env": id, "options": {"layout": "medium"}, "episodes": 20, "noise": noise, "seed": 2
        }));
        let data = collect(&config).unwrap();
        let mean = data.trajectories.iter().map(Trajectory::episode_return).sum::<f64>() / 20.0;
        println!("{id}, noise {noise}: mean return {mean}");
        assert!(mean > 277.39, "{id}: mean return {mean}, D4RL's controller scored 277.39");
        assert_eq!(data.reference_scores, Some((13.13, 277.39)));
        // Clipped to the bounds, and with noise almost never equal to the step before.
        let repeats = data.trajectories.iter().map(|trajectory| {
            let Actions::Continuous(actions) = &trajectory.actions else { unreachable!() };
            assert!(actions.iter().all(|action| action.abs() <= 1.0));
            actions.windows(4).filter(|window| window[0] == window[2] && window[1] == window[3]).count()
        });
        let (repeats, steps) = (repeats.sum::<usize>(), data.trajectories.iter().map(Trajectory::len).sum::<usize>());
        assert_eq!(steps, 20 * 600);
        assert!((repeats > steps / 10) == (noise == 0.0), "{id}, noise {noise}: {repeats} repeats");
    }
}

#[test]
fn settings_out_of_range_or_without_meaning_are_refused() {
    for (json, key) in [
        (serde_json::json!({"env": "TMaze-v0", "episodes": 0, "seed": 1}), "episodes"),
        (serde_json::json!({"env": "TMaze-v0", "episodes": 2, "seed": 1, "quality": 1.1}), "quality"),
        (serde_json::json!({"env": "TMaze-v0", "episodes": 2, "seed": 1, "noise": 0.1}), "noise"),
        (serde_json::json!({"env": "TMaze-v0", "collector": "random", "episodes": 2, "seed": 1, "quality": 0.1}), "quality"),
        (serde_json::json!({"env": "PointMaze-v0", "episodes": 2, "seed": 1, "noise": -0.1}), "noise"),
        (serde_json::json!({"env": "PointMaze-v0", "episodes": 2, "seed": 1, "quality": 0.5}), "quality"),
        (serde_json::json!({"env": "Pendulum-v1", "episodes": 2, "seed": 1, "quality": 0.5}), "quality"),
        (serde_json::json!({"env": "Pendulum-v1", "episodes": 2, "seed": 1, "noise": -0.5}), "noise"),
        (serde_json::json!({"env": "RepeatPrevious-v0", "episodes": 2, "seed": 1, "quality": -0.5}), "quality"),
        (serde_json::json!({"env": "CartPole-v1", "episodes": 2, "seed": 1, "noise": 0.5}), "noise"),
        (
            serde_json::json!({"env": "Pendulum-v1", "options": {"max_episode_steps": null}, "episodes": 2, "seed": 1}),
            "max_episode_steps",
        ),
    ] {
        let error = collect(&config(json)).unwrap_err();
        assert!(matches!(&error, EnvError::Option { key: found, .. } if found == key), "{error}");
    }
    if cfg!(feature = "mujoco") {
        let error = collect(&config(serde_json::json!({"env": "Hopper-v5", "episodes": 2, "seed": 1}))).unwrap_err();
        assert!(matches!(error, EnvError::Unsupported { .. }), "{error}");
    }
}

fn mean_return(data: &Dataset) -> f64 {
    data.trajectories.iter().map(Trajectory::episode_return).sum::<f64>() / data.trajectories.len() as f64
}

#[test]
fn right_answers_are_given_at_the_rate_of_the_quality() {
    for (quality, k, decks) in [(0.0, 4, 1), (0.6, 4, 1), (1.0, 4, 1), (1.0, 64, 3), (0.8, 32, 2)] {
        let config = config(serde_json::json!({
            "env": "RepeatPrevious-v0", "options": {"k": k, "decks": decks}, "episodes": 40, "quality": quality, "seed": 5
        }));
        let mean = mean_return(&collect(&config).unwrap());
        let (expected, answers) = (2.0 * quality - 1.0, 40.0 * (52.0 * f64::from(decks) - f64::from(k)));
        // Four standard errors; exact where nothing is random.
        let tolerance = 4.0 * 2.0 * (quality * (1.0 - quality) / answers).sqrt() + 1e-9;
        assert!((mean - expected).abs() <= tolerance, "quality {quality}, k {k}: {mean}");
    }
}

#[test]
fn the_controllers_swing_up_and_balance_whatever_is_shown() {
    for (env, options, setting, least) in [
        ("Pendulum-v1", serde_json::json!({}), serde_json::json!({}), -250.0),
        ("Pendulum-v1", serde_json::json!({"noise": 0.3, "hide_velocity": true}), serde_json::json!({"noise": 0.5}), -300.0),
        ("Pendulum-v1", serde_json::json!({"g": 7.0, "reward_delay": "episode"}), serde_json::json!({}), -250.0),
        ("CartPole-v1", serde_json::json!({"hide_velocity": true}), serde_json::json!({}), 495.0),
        ("CartPole-v1", serde_json::json!({}), serde_json::json!({"quality": 0.9}), 300.0),
    ] {
        let mut json = serde_json::json!({"env": env, "options": options, "episodes": 20, "seed": 4});
        json.as_object_mut().unwrap().extend(setting.as_object().unwrap().clone());
        let mean = mean_return(&collect(&config(json)).unwrap());
        println!("{env} {options} {setting}: mean return {mean}");
        assert!(mean > least, "{env} {options} {setting}: mean return {mean}");
    }
}

#[test]
fn delayed_rewards_are_the_same_data_paid_later() {
    let with = |options: Value| {
        let json = serde_json::json!({"env": "Pendulum-v1", "options": options, "episodes": 2, "noise": 0.3, "seed": 4});
        collect(&config(json)).unwrap().trajectories
    };
    let (plain, delayed) = (with(serde_json::json!({})), with(serde_json::json!({"reward_delay": 50})));
    for (plain, delayed) in plain.iter().zip(&delayed) {
        assert_eq!((&plain.observations, &plain.actions, plain.end), (&delayed.observations, &delayed.actions, delayed.end));
        assert!((plain.episode_return() - delayed.episode_return()).abs() < 1e-9);
        assert_eq!(delayed.rewards.iter().filter(|&&reward| reward != 0.0).count(), 4);
    }
}
