//! A player goes on from a saved state to the bit, and refuses what is none.

use aaren_policy::mixer::names;
use aaren_policy::{
    ActionSpec, ActorCriticConfig, ActorCriticDescription, ActorCriticNetwork, ActorCriticPolicy, AnyPolicy, DecisionNetwork,
    DecisionPolicy, Description, HiddenActivation, Inputs, Normalizer, PolicyConfig,
};
use rayon::prelude::*;

use super::{Player, Source};
use crate::device::CPU;

fn config(mixer: &str) -> PolicyConfig {
    PolicyConfig {
        mixer: mixer.into(),
        layers: 2,
        width: 12,
        heads: 3,
        feed_forward: 16,
        dropout: 0.0,
        max_timesteps: 30,
        return_scale: Some(10.0),
        ..PolicyConfig::default()
    }
}

fn decision(mixer: &str, action: ActionSpec, window: Option<usize>) -> Source {
    let description = Description {
        format: Description::FORMAT,
        config: config(mixer),
        normalizer: Normalizer::new(vec![0.5, -1.0, 100.0], &[1.0, 2.0, 0.5]),
        action,
        environment: serde_json::Value::Null,
    };
    let network = DecisionNetwork::new(&description, 3, &CPU).unwrap();
    source(DecisionPolicy { network, description }.into(), window)
}

fn actor_critic(network: ActorCriticConfig, inputs: Inputs, action: ActionSpec) -> Source {
    let description = ActorCriticDescription {
        format: ActorCriticDescription::FORMAT,
        network,
        normalizer: Normalizer::new(vec![0.5, -1.0, 100.0], &[1.0, 2.0, 0.5]),
        observation_clip: 3.0,
        inputs,
        action,
        environment: serde_json::Value::Null,
    };
    let network = ActorCriticNetwork::new(&description, 0.0, 3, &CPU).unwrap();
    source(ActorCriticPolicy { network, description }.into(), None)
}

fn source(policy: AnyPolicy<crate::device::Cpu>, window: Option<usize>) -> Source {
    Source { path: "test".into(), policy, window, target_return: Some(5.0) }
}

fn continuous() -> ActionSpec {
    ActionSpec::Continuous { low: vec![-1.0, -2.0], high: vec![1.0, 4.0] }
}

fn sources() -> Vec<Source> {
    let mlp = ActorCriticConfig::Mlp { hidden: vec![8, 8], activation: HiddenActivation::Tanh };
    let mut sources: Vec<Source> = names().into_iter().map(|mixer| decision(mixer, continuous(), None)).collect();
    sources.extend([
        decision("transformer", continuous(), Some(4)),
        decision("aaren", ActionSpec::Discrete { n: 3, start: -1 }, None),
        actor_critic(mlp, Inputs::default(), ActionSpec::Discrete { n: 3, start: 0 }),
        actor_critic(ActorCriticConfig::Recurrent(config("gru")), Inputs::default(), continuous()),
        actor_critic(ActorCriticConfig::Recurrent(config("gru")), Inputs { action: true, reward: true }, continuous()),
    ]);
    sources
}

fn observation(step: usize) -> [f64; 3] {
    [(step as f64 * 0.7).sin(), (step as f64 * 0.3).cos(), 100.0 + (step % 5) as f64]
}

#[test]
fn a_restored_player_goes_on_as_if_nothing_had_been() {
    for source in sources() {
        let name = source.policy.mixer();
        let (mut player, mut other) = (Player::new(source.clone()).unwrap(), Player::new(source).unwrap());
        player.begin(None).unwrap();
        let mut actions = Vec::new();
        let mut saved = Vec::new();
        for step in 0..23 {
            if step == 11 {
                player.begin(Some(3.0)).unwrap();
            }
            if step == 6 || step == 11 {
                saved.push((step, player.save().unwrap()));
            }
            actions.push(player.step(&observation(step), 0.5).unwrap().clone());
        }
        for (begin, bytes) in saved.into_iter().rev() {
            other.restore(&bytes).unwrap();
            assert_eq!(other.save().unwrap(), bytes, "{name}");
            let until = if begin < 11 { 11 } else { 23 };
            for (step, action) in actions.iter().enumerate().take(until).skip(begin) {
                assert_eq!(other.step(&observation(step), 0.5).unwrap(), action, "{name}, step {step} from {begin}");
            }
        }
    }
}

#[test]
fn what_is_no_state_is_refused_and_changes_nothing() {
    sources().into_par_iter().for_each(|source| {
        let mut player = Player::new(source).unwrap();
        player.begin(None).unwrap();
        (0..3).for_each(|step| drop(player.step(&observation(step), 0.1).unwrap().clone()));
        let state = player.save().unwrap();
        for length in [0, 1, state.len() / 2, state.len() - 1] {
            assert!(player.restore(&state[..length]).is_err());
        }
        for at in (0..state.len()).step_by(7) {
            let mut flipped = state.clone();
            flipped[at] ^= 0x15;
            // Refused, or a state whose numbers are others.
            if player.restore(&flipped).is_ok() {
                drop(player.step(&observation(3), 0.1).map(drop));
                player.restore(&state).unwrap();
            }
        }
        assert_eq!(player.save().unwrap(), state);
    });
    let of = |mixer| Player::new(decision(mixer, continuous(), None)).unwrap();
    let error = of("aaren").restore(&of("gru").save().unwrap()).unwrap_err().to_string();
    assert!(error.contains("state"), "{error}");
}

#[test]
fn mistakes_of_the_caller_are_errors() {
    let mut player = Player::new(decision("aaren", continuous(), None)).unwrap();
    let error = |result: anyhow::Result<()>| format!("{:#}", result.unwrap_err());
    assert!(error(player.step(&observation(0), 0.0).map(drop)).contains("no episode has begun"));
    assert!(error(player.begin(Some(f64::INFINITY))).contains("inf"));
    player.begin(None).unwrap();
    assert!(error(player.step(&[1.0], 0.0).map(drop)).contains("told 3"));
    assert!(error(player.step(&[1.0, f64::NAN, 0.0], 0.0).map(drop)).contains("number 1"));
    player.step(&observation(0), f64::NAN).unwrap(); // not read
    assert!(error(player.step(&observation(1), f64::NAN).map(drop)).contains("reward"));
    let mut silent = Player::new(Source { target_return: None, ..decision("aaren", continuous(), None) }).unwrap();
    assert!(error(silent.begin(None)).contains("return"));
    silent.begin(Some(1.0)).unwrap();
}
