//! What every registered environment must do, and no allocation in a step.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[cfg(feature = "mujoco")]
use aaren_envs::Action;
use aaren_envs::scripted::ScriptedPolicy;
use aaren_envs::{ActionBatch, Autoreset, Env, EnvError, Generator, StepEnd, VectorEnv, check_env, make, tasks};
use serde_json::{Map, Value};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: hands everything to the system's allocator; the counter is a plain thread-local number that allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is being torn down has no counter any more, and nothing to count.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// One of every environment that this build can make.
fn environments() -> Vec<Box<dyn Env>> {
    let made: Vec<_> =
        tasks().iter().filter(|task| task.missing().is_none()).map(|task| make(task.id, &Map::new()).unwrap()).collect();
    assert_eq!(made.len(), if cfg!(feature = "mujoco") { 16 } else { 11 });
    made
}

fn buffer(env: &dyn Env) -> Vec<f64> {
    vec![f64::NAN; env.spec().observation_space.width()]
}

/// Observations, rewards and ends over some episodes: the first seeded, the others going on from it.
fn transcript(env: &mut dyn Env, seed: u64) -> (Vec<f64>, Vec<StepEnd>) {
    let mut observation = buffer(env);
    let (mut numbers, mut ends) = (vec![], vec![]);
    let (mut policy, mut generator) = (ScriptedPolicy::random(&env.spec().action_space), Generator::from_seed(99));
    for episode in 0..3 {
        env.reset((episode == 0).then_some(seed), &mut observation).unwrap();
        numbers.extend_from_slice(&observation);
        for _ in 0..150 {
            let step = env.step(policy.act(&[], &[], &mut generator), &mut observation).unwrap();
            numbers.extend_from_slice(&observation);
            numbers.push(step.reward);
            ends.push(step.end);
            if step.end.is_end() {
                break;
            }
        }
    }
    (numbers, ends)
}

#[test]
fn every_environment_keeps_the_contract() {
    for mut env in environments() {
        check_env(&mut *env).unwrap();
    }
}

#[test]
fn the_same_seed_and_actions_give_the_same_bits() {
    for (mut first, mut second) in environments().into_iter().zip(environments()) {
        let id = first.spec().id.clone();
        let recorded = transcript(&mut *first, 17);
        // A used environment starts over as a fresh one does.
        assert!(recorded == transcript(&mut *first, 17), "{id}: a second run differs");
        assert!(recorded == transcript(&mut *second, 17), "{id}: another copy differs");
        let others = (18..24).map(|seed| transcript(&mut *second, seed));
        assert!(others.into_iter().any(|other| other != recorded), "{id}: the seed changes nothing");
    }
}

#[test]
fn the_time_limit_truncates_and_an_earlier_end_terminates() {
    for env in environments() {
        let id = env.spec().id.clone();
        let Value::Object(options) = serde_json::json!({"max_episode_steps": 3}) else { unreachable!() };
        let mut env = make(&id, &options).unwrap();
        let (mut observation, mut generator) = (buffer(&*env), Generator::from_seed(6));
        let mut policy = ScriptedPolicy::random(&env.spec().action_space);
        env.reset(Some(2), &mut observation).unwrap();
        let ends: Vec<StepEnd> =
            (0..3).map(|_| env.step(policy.act(&[], &[], &mut generator), &mut observation).unwrap().end).collect();
        // No task here can end within three steps of any start.
        assert_eq!(
            ends.iter().map(|end| (end.terminated, end.truncated)).collect::<Vec<_>>(),
            [(false, false), (false, false), (false, true)],
            "{id}"
        );
    }
}

#[test]
fn a_state_set_by_hand_is_where_the_episode_goes_on() {
    for mut env in environments() {
        let (mut observation, mut generator) = (buffer(&*env), Generator::from_seed(12));
        let (id, mut policy) = (env.spec().id.clone(), ScriptedPolicy::random(&env.spec().action_space));
        env.reset(Some(7), &mut observation).unwrap();
        for _ in 0..2 {
            env.step(policy.act(&[], &[], &mut generator), &mut observation).unwrap();
        }
        let mut state = vec![];
        env.state(&mut state).unwrap();
        let mut copy = make(&id, &Map::new()).unwrap();
        let mut seen = buffer(&*copy);
        copy.set_state(&state, &mut seen).unwrap();
        assert_eq!(seen, observation, "{id}");
        let action = policy.act(&[], &[], &mut generator);
        let expected = env.step(action, &mut observation).unwrap();
        let found = copy.step(action, &mut seen).unwrap();
        // A simulator starts its solver from the last step's forces, so the last digits may differ.
        let error = seen.iter().zip(&observation).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(found.end == expected.end && error < 1e-9, "{id}: {error}");
        // The ant's speed is measured from a place that lags behind the state by a stage of the integrator, except in a first step.
        let tolerance = if id == "Ant-v5" { 1e-2 } else { 1e-9 };
        assert!((found.reward - expected.reward).abs() < tolerance, "{id}: {found:?}, {expected:?}");
        for wrong in [&state[1..], &vec![f64::NAN; state.len()]] {
            assert!(matches!(copy.set_state(wrong, &mut seen), Err(EnvError::Shape { .. } | EnvError::State { .. })), "{id}");
        }
    }
}

#[test]
fn a_step_allocates_nothing() {
    for mut env in environments() {
        let (mut observation, mut generator) = (buffer(&*env), Generator::from_seed(2));
        let (id, mut policy) = (env.spec().id.clone(), ScriptedPolicy::random(&env.spec().action_space));
        env.reset(Some(3), &mut observation).unwrap();
        let mut steps = 0;
        let count = allocations(|| {
            for _ in 0..1200 {
                steps += 1;
                if env.step(policy.act(&[], &[], &mut generator), &mut observation).unwrap().end.is_end() {
                    break;
                }
            }
        });
        assert!(steps > 5, "{id}: {steps} steps measure nothing");
        assert_eq!(count, 0, "{id}: allocations in {steps} steps");
    }
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![0_u8; 3]))), 1, "the counter does not count");
}

#[test]
fn a_batched_step_allocates_nothing() {
    for task in tasks().iter().filter(|task| task.missing().is_none()) {
        let mut envs = VectorEnv::make(task.id, &Map::new(), 3, Autoreset::Disabled).unwrap();
        envs.reset(Some(5)).unwrap();
        let width = envs.spec().action_space.width();
        let (indices, values) = ([0_i64; 3], vec![0.1_f32; 3 * width]);
        let batch =
            if envs.spec().action_space.is_discrete() { ActionBatch::Discrete(&indices) } else { ActionBatch::F32(&values) };
        let count = allocations(|| {
            for active in [[true; 3], [true, false, true], [false, true, false]] {
                envs.step(batch, Some(&active)).unwrap();
            }
        });
        assert_eq!(count, 0, "{}", task.id);
    }
}

/// D4RL's variants of the robots: what a fall pays, and what the ant sees.
#[cfg(feature = "mujoco")]
#[test]
fn the_variant_of_d4rl_rewards_every_step() {
    let make_variant = |id: &str, variant: &str| {
        let Value::Object(options) = serde_json::json!({ "variant": variant }) else { unreachable!() };
        make(id, &options).unwrap()
    };
    for (id, states) in [("Hopper-v5", 12), ("Walker2d-v5", 18), ("Ant-v5", 29)] {
        let (mut new, mut old) = (make_variant(id, "gymnasium"), make_variant(id, "d4rl"));
        let (mut seen_new, mut seen_old) = (buffer(&*new), buffer(&*old));
        new.reset(Some(3), &mut seen_new).unwrap();
        let mut state = vec![];
        new.state(&mut state).unwrap();
        assert_eq!(state.len(), states);
        if id == "Ant-v5" {
            assert_eq!((seen_new.len(), seen_old.len()), (105, 111));
            // Deep in the ground, which pushes it out.
            state[2] = 0.3;
            for (env, seen) in [(&mut new, &mut seen_new), (&mut old, &mut seen_old)] {
                env.set_state(&state, seen).unwrap();
                env.step(Action::F32(&[0.0; 8]), seen).unwrap();
            }
            assert!(seen_new[27..].iter().any(|&force| force != 0.0));
            assert!(seen_old[27..].iter().all(|&force| force == 0.0));
        }
        // Too high for an ant, too low for the others.
        state[if id == "Ant-v5" { 2 } else { 1 }] = if id == "Ant-v5" { 1.1 } else { 0.15 };
        new.set_state(&state, &mut seen_new).unwrap();
        old.set_state(&state, &mut seen_old).unwrap();
        assert_eq!(seen_old[..seen_new.len().min(27)], seen_new[..seen_new.len().min(27)], "{id}");
        let still = vec![0.0_f32; new.spec().action_space.width()];
        let (modern, older) =
            (new.step(Action::F32(&still), &mut seen_new).unwrap(), old.step(Action::F32(&still), &mut seen_old).unwrap());
        assert!(modern.end.terminated && older.end.terminated, "{id}");
        let survive = |env: &dyn Env| {
            let mut found = f64::NAN;
            env.info(&mut |name, value| {
                if name == "reward_survive" {
                    found = value
                }
            });
            found
        };
        assert_eq!((survive(&*new), survive(&*old)), (0.0, 1.0), "{id}");
    }
}

/// Positions alone, from the same simulation; contact forces stay.
#[cfg(feature = "mujoco")]
#[test]
fn hidden_velocities_leave_the_robots_as_they_are() {
    let with = |options: Value| {
        let Value::Object(options) = options else { unreachable!() };
        options
    };
    for (id, more, velocities) in [
        ("Hopper-v5", serde_json::json!({}), 5..11),
        ("HalfCheetah-v5", serde_json::json!({}), 8..17),
        ("Walker2d-v5", serde_json::json!({}), 8..17),
        ("Walker2d-v5", serde_json::json!({"exclude_current_positions_from_observation": false}), 9..18),
        ("Ant-v5", serde_json::json!({}), 13..27),
        ("Ant-v5", serde_json::json!({"include_cfrc_ext_in_observation": false}), 13..27),
        ("Ant-v5", serde_json::json!({"variant": "d4rl"}), 13..27),
    ] {
        let mut options = with(more);
        let mut whole = make(id, &options).unwrap();
        options.insert("hide_velocity".into(), true.into());
        let mut positions = make(id, &options).unwrap();
        check_env(&mut *positions).unwrap();
        let (mut all, mut shown) = (buffer(&*whole), buffer(&*positions));
        assert_eq!(all.len() - shown.len(), velocities.len(), "{id}");
        whole.reset(Some(5), &mut all).unwrap();
        positions.reset(Some(5), &mut shown).unwrap();
        for step in 0..50 {
            assert_eq!(shown, [&all[..velocities.start], &all[velocities.end..]].concat(), "{id}, step {step}");
            assert!(all[velocities.clone()].iter().all(|&velocity| velocity != 0.0), "{id}, step {step}: {all:?}");
            let action = vec![(step as f32).sin(); whole.spec().action_space.width()];
            let outcomes = [(&mut whole, &mut all), (&mut positions, &mut shown)]
                .map(|(env, observation)| env.step(Action::F32(&action), observation).unwrap());
            assert_eq!(outcomes[0], outcomes[1], "{id}, step {step}");
            if outcomes[0].end.is_end() {
                break;
            }
        }
        let mut states = [vec![], vec![]];
        whole.state(&mut states[0]).unwrap();
        positions.state(&mut states[1]).unwrap();
        assert_eq!(states[0], states[1], "{id}");
    }
}

/// Actions beyond the bounds: the simulator clamps the torque, the cost is that of the unclamped action.
#[cfg(feature = "mujoco")]
#[test]
fn an_action_outside_the_bounds_costs_more_and_moves_no_more() {
    for id in ["Hopper-v5", "HalfCheetah-v5", "Walker2d-v5", "Ant-v5"] {
        let mut outcomes = vec![];
        for size in [1.0_f32, 1.5] {
            let mut env = make(id, &Map::new()).unwrap();
            let mut observation = buffer(&*env);
            env.reset(Some(5), &mut observation).unwrap();
            let step = env.step(Action::F32(&vec![size; env.spec().action_space.width()]), &mut observation).unwrap();
            outcomes.push((observation, step.reward));
        }
        assert_eq!(outcomes[0].0, outcomes[1].0, "{id}");
        assert!(outcomes[1].1 < outcomes[0].1, "{id}");
    }
}
