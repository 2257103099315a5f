use super::*;
use crate::config::{Changes, Job};
use crate::play::rollout::{EnvGroup, RolloutSpec};
use crate::ppo::describe;
use crate::ppo::targets::targets;

/// A recurrent policy on a discrete task whose episodes terminate.
const RECURRENT: &str = r#"{
    "env": {"id": "CartPole-v1", "options": {"hide_velocity": true}},
    "policy": {"mixer": "aaren", "layers": 2, "width": 12, "heads": 2, "feed_forward": 10},
    "ppo": {"network": "recurrent", "anneal": true, "env_steps": 480, "envs": 4, "envs_per_group": 4, "rollout_len": 16,
            "minibatches": 1, "epochs": 2, "learning_rate": 0.03},
    "evaluation": {}
}"#;

#[test]
fn annealing_begins_at_the_learning_rate() {
    let job = Job::parse(RECURRENT, &Changes::default()).unwrap().ppo().unwrap();
    let learner = Learner::new(describe(&job, job.env.make().unwrap().spec()).unwrap(), &job.ppo, job.seed).unwrap();
    assert_eq!(learner.learning_rate(), 0.03);
}

/// Replaying from a state that is not the one at the start of the rollout gives other probabilities.
#[test]
fn the_replay_begins_with_the_state_that_was_stored() {
    let job = Job::parse(RECURRENT, &Changes::default()).unwrap().ppo().unwrap();
    let config = job.ppo.clone();
    let spec = aaren_envs::make(&job.env.id, &job.env.options).unwrap().spec().clone();
    let mut learner = Learner::new(describe(&job, &spec).unwrap(), &config, 1).unwrap();
    let play = |iteration| RolloutSpec { seed: 1, iteration, rollout_len: 5, time_limit: None, record: false };
    let make = || aaren_envs::make(&job.env.id, &job.env.options);
    let mut group = EnvGroup::new(&make, &learner.policy(), 0, 4).unwrap();
    group.begin(&play(0)).unwrap();
    for iteration in 0..6 {
        let policy = learner.policy();
        group.play(&policy, &play(iteration)).unwrap();
        let rollouts = [group.take_rollout()];
        let targets = vec![targets(&policy, &rollouts[0], &learner.progress.reward_scale, &config)];
        let sequences = learner.sequences(&rollouts, &targets).unwrap();
        let begun = rollouts[0].rollouts.iter().any(|rollout| !rollout.resets[0]);
        let mut forgetful = sequences.clone();
        forgetful[0].state = learner.network.initial_state(4, &CPU);
        // With no divergence allowed at all, nothing is updated.
        let update = |learner: &mut Learner, sequences: &[Sequences], learning_rate, most_kl| {
            let minibatch = learner.minibatch(sequences, &[0]);
            learner.update(&minibatch, learning_rate, most_kl, &Ranks::alone()).unwrap().0
        };
        let distance = |learner: &mut Learner, sequences: &[_]| update(learner, sequences, 1.0, Some(-1.0)).ratio_distance;
        assert!(distance(&mut learner, &sequences) < 1e-5);
        let wrong = distance(&mut learner, &forgetful);
        assert!(iteration == 0 || !begun || wrong > 1e-4, "iteration {iteration}: {wrong}");
        for _ in 0..4 {
            update(&mut learner, &sequences, config.learning_rate, None);
        }
    }
}

#[test]
fn means_are_perturbed_in_updates_where_that_is_asked_for() {
    let job = |settings: &[&str]| {
        let text = r#"{"env": {"id": "Pendulum-v1"}, "ppo": {"env_steps": 64, "envs": 2, "rollout_len": 8, "minibatches": 1, "hidden": [8]}}"#;
        let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
        Job::parse(text, &settings[..].into()).unwrap().ppo().unwrap()
    };
    // How far the first update finds the policy from the one that acted, which is itself.
    let distance = |alpha: &str, seed: u64| {
        let job = job(&[&format!("ppo.rpo_alpha={alpha}")]);
        let spec = job.env.make().unwrap().spec().clone();
        let mut learner = Learner::new(describe(&job, &spec).unwrap(), &job.ppo, seed).unwrap();
        let make = || aaren_envs::make(&job.env.id, &job.env.options);
        let policy = Learner::new(describe(&job, &spec).unwrap(), &job.ppo, 1).unwrap().policy();
        learner.network = Learner::new(describe(&job, &spec).unwrap(), &job.ppo, 1).unwrap().network;
        let mut group = EnvGroup::new(&make, &policy, 0, 2).unwrap();
        let play = RolloutSpec { seed: 1, iteration: 0, rollout_len: 8, time_limit: None, record: false };
        group.begin(&play).unwrap();
        group.play(&policy, &play).unwrap();
        let rollouts = [group.take_rollout()];
        let targets = vec![targets(&policy, &rollouts[0], &learner.progress.reward_scale, &job.ppo)];
        let sequences = learner.sequences(&rollouts, &targets).unwrap();
        let minibatch = learner.minibatch(&sequences, &(0..16).collect::<Vec<_>>());
        learner.update(&minibatch, 0.01, None, &Ranks::alone()).unwrap().0.ratio_distance
    };
    assert!(distance("0", 1) < 1e-5 && distance("0", 2) < 1e-5);
    let (one, again, other) = (distance("0.5", 1), distance("0.5", 1), distance("0.5", 2));
    assert!(one > 1e-2 && one == again && one != other, "{one} {again} {other}");
    let maze =
        Job::parse(r#"{"env": {"id": "TMaze-v0"}, "ppo": {"rpo_alpha": 0.5}}"#, &Changes::default()).unwrap().ppo().unwrap();
    let refused = Learner::new(describe(&maze, maze.env.make().unwrap().spec()).unwrap(), &maze.ppo, 1).err().unwrap();
    assert!(refused.to_string().contains("ppo.rpo_alpha: found 0.5"), "{refused}");
}

#[test]
fn a_policy_that_is_shown_something_else_is_not_begun_with() {
    let learner = |inputs: &str| {
        let settings = [format!("ppo.inputs={inputs}")];
        let job = Job::parse(RECURRENT, &settings[..].into()).unwrap().ppo().unwrap();
        Learner::new(describe(&job, job.env.make().unwrap().spec()).unwrap(), &job.ppo, job.seed).unwrap()
    };
    let (both, alone) = (r#"["observation", "action", "reward"]"#, r#"["observation"]"#);
    let policy = |learner: &Learner| {
        AnyPolicy::from(ActorCriticPolicy { network: learner.network.clone(), description: learner.description.clone() })
    };
    let shown = learner(both);
    learner(both).begin_from(policy(&shown)).unwrap();
    let message = learner(alone).begin_from(policy(&shown)).err().unwrap().to_string();
    for words in [r#"ppo.inputs: found ["observation"]"#, r#"["observation","action","reward"]"#] {
        assert!(message.contains(words), "{message}");
    }
}
