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
    for (env, quality) in
        ["TMaze-v0", "PassiveTMaze-v0", "LastCue-v0"].into_iter().flat_map(|env| [0.0, 0.7, 1.0].map(|quality| (env, quality)))
    {
        let options = if env == "TMaze-v0" { serde_json::json!({"corridor": 3}) } else { serde_json::json!({}) };
        let config = config(serde_json::json!({
            "env": env, "options": options, "episodes": 500, "quality": quality, "seed": 5
        }));
        let data = collect(&config).unwrap();
        let mean = data.trajectories.iter().map(Trajectory::episode_return).sum::<f64>() / 500.0;
        // Four standard errors.
        assert!(
            (mean - quality).abs() <= 4.0 * (quality * (1.0 - quality) / 500.0).sqrt(),
            "{env}: quality {quality}, mean {mean}"
        );
        if env != "TMaze-v0" {
            continue;
        }
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
        serde_json::json!({"env": "RepeatFirst-v0", "episodes": 3, "quality": 0.8, "seed": 3}),
        serde_json::json!({"env": "CountRecall-v0", "episodes": 3, "quality": 0.8, "seed": 3}),
        serde_json::json!({"env": "HigherLower-v0", "episodes": 3, "quality": 0.8, "seed": 3}),
        serde_json::json!({"env": "MultiarmedBandit-v0", "episodes": 3, "quality": 0.8, "seed": 3}),
        serde_json::json!({"env": "LastCue-v0", "episodes": 9, "quality": 0.5, "seed": 3}),
        serde_json::json!({"env": "PassiveTMaze-v0", "episodes": 9, "quality": 0.5, "seed": 3}),
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
        (serde_json::json!({"env": "RepeatFirst-v0", "episodes": 2, "seed": 1, "quality": 1.5}), "quality"),
        (serde_json::json!({"env": "CountRecall-v0", "episodes": 2, "seed": 1, "quality": 1.5}), "quality"),
        (serde_json::json!({"env": "HigherLower-v0", "episodes": 2, "seed": 1, "noise": 0.5}), "noise"),
        (serde_json::json!({"env": "MultiarmedBandit-v0", "episodes": 2, "seed": 1, "quality": -0.5}), "quality"),
        (serde_json::json!({"env": "LastCue-v0", "episodes": 2, "seed": 1, "noise": 0.5}), "noise"),
        (serde_json::json!({"env": "CountRecall-v0", "options": {"decks": 0}, "episodes": 2, "seed": 1}), "decks"),
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
    for (env, options, answers) in [
        ("RepeatPrevious-v0", serde_json::json!({"k": 4, "decks": 1}), 48),
        ("RepeatPrevious-v0", serde_json::json!({"k": 32, "decks": 2}), 72),
        ("RepeatPrevious-v0", serde_json::json!({"k": 64, "decks": 3}), 92),
        ("RepeatFirst-v0", serde_json::json!({}), 51),
        ("RepeatFirst-v0", serde_json::json!({"decks": 8}), 415),
        ("CountRecall-v0", serde_json::json!({}), 51),
        ("CountRecall-v0", serde_json::json!({"decks": 2, "kind": "suits"}), 103),
        ("CountRecall-v0", serde_json::json!({"decks": 4, "kind": "ranks"}), 207),
        // Under a longer limit the piles are dealt again.
        ("CountRecall-v0", serde_json::json!({"kind": "suits", "max_episode_steps": 102}), 102),
    ] {
        for quality in [0.0, 0.6, 1.0] {
            let json = serde_json::json!({"env": env, "options": options, "episodes": 40, "quality": quality, "seed": 5});
            let mean = mean_return(&collect(&config(json)).unwrap());
            let best = if options["max_episode_steps"].is_null() { 1.0 } else { 2.0 };
            // Four standard errors; exact where nothing is random.
            let tolerance = 4.0 * 2.0 * best * (quality * (1.0 - quality) / (40.0 * f64::from(answers))).sqrt() + 1e-9;
            assert!((mean - best * (2.0 * quality - 1.0)).abs() <= tolerance, "{env} {options}, quality {quality}: {mean}");
        }
    }
}

#[test]
fn who_counts_the_cards_gets_what_a_memory_can_get_of_higher_and_lower() {
    for (decks, expected) in [(1, 0.528), (2, 0.516), (3, 0.511)] {
        for quality in [1.0, 0.75, 0.5] {
            let json = serde_json::json!({
                "env": "HigherLower-v0", "options": {"decks": decks}, "episodes": 1000, "quality": quality, "seed": 5
            });
            let mean = mean_return(&collect(&config(json)).unwrap());
            // What was measured over thousands of other piles, to 0.001, and four standard errors: rewards are at most 1 / n.
            let tolerance = 0.001 + 4.0 / (52.0 * f64::from(decks) * 1000.0).sqrt();
            assert!((mean - (2.0 * quality - 1.0) * expected).abs() < tolerance, "{decks} decks, quality {quality}: {mean}");
        }
    }
}

#[test]
fn the_best_arms_are_found_and_random_pulls_are_worth_nothing() {
    let mean = |options: Value, quality: f64| {
        let json = serde_json::json!({
            "env": "MultiarmedBandit-v0", "options": options, "episodes": 300, "quality": quality, "seed": 5
        });
        mean_return(&collect(&config(json)).unwrap())
    };
    for (arms, pulls, expected) in [(10, 200, 0.72), (20, 400, 0.82), (30, 600, 0.85)] {
        let options = serde_json::json!({"arms": arms, "pulls": pulls, "show_action": arms == 20});
        let best = mean(options.clone(), 1.0);
        println!("{arms} arms: {best}");
        // Four standard errors of the return of an episode, whose standard deviation is 0.2 with 10 arms and less with more.
        assert!((best - expected).abs() < 4.0 * 0.2 / 300_f64.sqrt(), "{arms} arms: {best}");
        // One pull in n is right, as if all were random.
        let random = mean(options, 1.0 / f64::from(arms));
        assert!(random.abs() < 4.0 * 0.3 / 300_f64.sqrt(), "{arms} arms, random: {random}");
    }
    assert_eq!(mean(serde_json::json!({"arms": 1, "pulls": 9}), 0.5), mean(serde_json::json!({"arms": 1, "pulls": 9}), 1.0));
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
