//! The memory tasks of POPGym against episodes of the original, from its first states and by its actions.

mod fixtures;

use aaren_envs::{Action, Env, make};
use serde_json::Value;

/// How many kinds each number of an observation tells apart; empty where a number is shown as it is.
type Kinds = fn(&Value) -> Vec<usize>;

/// Replays all recorded episodes: observations, rewards and ends must be equal to the last bit. `state` makes a state of the recorded
/// beginning. `at_the_seed` looks at the environment after a reset with the seed of the recording.
fn replay(case: &str, kinds: Kinds, state: fn(&Value) -> Vec<f64>, at_the_seed: fn(&mut dyn Env, &Value)) {
    let recording = fixtures::recording("popgym", case);
    let env_id = recording["env_id"].as_str().unwrap();
    let episodes = recording["episodes"].as_array().unwrap();
    let mut compared = 0;
    for (index, episode) in episodes.iter().enumerate() {
        let mut env = make(env_id, &fixtures::options(episode["options"].clone())).unwrap();
        let kinds = kinds(&episode["options"]);
        let expected = |step: usize| observation(&fixtures::numbers(&episode["observations"][step]), &kinds);
        let mut observation = vec![f64::NAN; env.spec().observation_space.width()];
        env.reset(episode["seed"].as_u64(), &mut observation).unwrap();
        at_the_seed(&mut *env, episode);
        env.set_state(&state(&episode["state"]), &mut observation).unwrap();
        assert_eq!(observation, expected(0), "{env_id}, first observation of episode {index}");
        let (actions, rewards) = (fixtures::numbers(&episode["actions"]), &episode["rewards"]);
        let values = fixtures::numbers(&rewards["values"]);
        for (step, &action) in actions.iter().enumerate() {
            let found = env.step(Action::Discrete(action as i64), &mut observation).unwrap();
            let what = format!("{env_id}, episode {index}, step {step}");
            assert_eq!(observation, expected(step + 1), "{what}");
            assert_eq!(found.reward, values[rewards["steps"][step].as_u64().unwrap() as usize], "{what}");
            // Every episode of these tasks has a fixed length. Where the cards are gone POPGym says terminated, we say truncated.
            let last = &episode["last_step"];
            assert!(last["terminated"].as_bool().unwrap() != last["truncated"].as_bool().unwrap(), "{what}");
            assert_eq!((found.end.terminated, found.end.truncated), (false, step + 1 == actions.len()), "{what}");
            compared += 1;
        }
    }
    println!("{env_id}: {} episodes, {compared} steps", episodes.len());
    assert!(episodes.len() >= 6 && compared > 400);
}

/// An observation of POPGym's in our encoding: integers become ones among zeros.
fn observation(numbers: &[f64], kinds: &[usize]) -> Vec<f64> {
    if kinds.is_empty() {
        return numbers.to_vec();
    }
    assert_eq!(numbers.len(), kinds.len());
    let one_hot = |(&number, &kinds): (&f64, &usize)| (0..kinds).map(move |kind| f64::from(kind as f64 == number));
    numbers.iter().zip(kinds).flat_map(one_hot).collect()
}

/// The piles, with the first card of each dealt.
fn piles(recorded: &Value) -> Vec<f64> {
    let mut state = fixtures::numbers(recorded);
    state.push(1.0);
    state
}

#[test]
fn repeat_first_is_popgyms() {
    replay("repeat_first", |_| vec![4], piles, |_, _| {});
}

#[test]
fn repeat_previous_is_popgyms() {
    replay("repeat_previous", |_| vec![4], piles, |_, _| {});
}

#[test]
fn count_recall_is_popgyms() {
    let kinds = |options: &Value| match options["kind"].as_str().unwrap() {
        "colors" => vec![2; 2],
        "suits" => vec![4; 2],
        _ => vec![13; 2],
    };
    replay("count_recall", kinds, piles, |_, _| {});
}

#[test]
fn higher_lower_is_popgyms() {
    replay("higher_lower", |_| vec![13], piles, |_, _| {});
}

/// Whether an arm pays is random. The recording has the draws that POPGym's generator made for it, and they are part of the state;
/// so what every pull pays is compared like everything else, and so are the arms and the draws that the seed gives.
#[test]
fn multiarmed_bandit_is_popgyms() {
    let state = |recorded: &Value| {
        let mut state = fixtures::numbers(recorded);
        state.extend([0.0, -1.0]);
        state
    };
    replay(
        "multiarmed_bandit",
        |_| vec![],
        state,
        |env, episode| {
            let (mut found, mut expected) = (vec![], fixtures::numbers(&episode["state"]));
            env.state(&mut found).unwrap();
            expected.extend([0.0, -1.0]);
            assert_eq!(found, expected, "what the seed {} gives", episode["seed"]);
        },
    );
}
