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
