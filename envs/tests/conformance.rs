//! What every registered environment must do, and no allocation in a step.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use aaren_envs::{Action, ActionBatch, Autoreset, Env, EnvError, Generator, Space, StepEnd, VectorEnv, make, tasks};
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
    assert_eq!(made.len(), if cfg!(feature = "mujoco") { 10 } else { 5 });
    made
}

/// A random action's storage, lent as an [`Action`].
enum Sample {
    Index(i64),
    Vector(Vec<f32>),
}

impl Sample {
    fn draw(space: &Space, generator: &mut Generator) -> Self {
        if space.is_discrete() {
            return Self::Index(space.sample_index(generator));
        }
        let mut sample = vec![0.0; space.width()];
        space.sample(generator, &mut sample);
        Self::Vector(sample.iter().map(|&value| value as f32).collect())
    }

    fn action(&self) -> Action<'_> {
        match self {
            Self::Index(index) => Action::Discrete(*index),
            Self::Vector(values) => Action::F32(values),
        }
    }
}

fn buffer(env: &dyn Env) -> Vec<f64> {
    vec![f64::NAN; env.spec().observation_space.width()]
}

/// Observations, rewards and ends over some episodes: the first seeded, the others going on from it.
fn transcript(env: &mut dyn Env, seed: u64) -> (Vec<f64>, Vec<StepEnd>) {
    let mut observation = buffer(env);
    let (mut numbers, mut ends) = (vec![], vec![]);
    let mut generator = Generator::from_seed(99);
    for episode in 0..3 {
        env.reset((episode == 0).then_some(seed), &mut observation).unwrap();
        numbers.extend_from_slice(&observation);
        for _ in 0..150 {
            let sample = Sample::draw(&env.spec().action_space.clone(), &mut generator);
            let step = env.step(sample.action(), &mut observation).unwrap();
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
fn observations_stay_inside_their_space() {
    for mut env in environments() {
        let Space::Box { low, high, .. } = env.spec().observation_space.clone() else { panic!("observations are boxes") };
        let (numbers, _) = transcript(&mut *env, 5);
        assert!(numbers.iter().all(|number| number.is_finite()), "{}", env.spec().id);
        let mut observation = buffer(&*env);
        let (space, mut generator) = (env.spec().action_space.clone(), Generator::from_seed(1));
        for seed in 0..5 {
            env.reset(Some(seed), &mut observation).unwrap();
            let mut on = true;
            for _ in 0..200 {
                let inside =
                    observation.iter().zip(low.iter().zip(&high)).all(|(value, (low, high))| low <= value && value <= high);
                assert!(inside, "{}: {observation:?} is outside", env.spec().id);
                if !on {
                    break;
                }
                on = !env.step(Sample::draw(&space, &mut generator).action(), &mut observation).unwrap().end.is_end();
            }
        }
    }
}

#[test]
fn steps_out_of_order_are_refused() {
    for mut env in environments() {
        let (mut observation, mut generator) = (buffer(&*env), Generator::from_seed(3));
        let space = env.spec().action_space.clone();
        let sample = Sample::draw(&space, &mut generator);
        assert!(matches!(env.step(sample.action(), &mut observation), Err(EnvError::ResetNeeded { .. })), "{}", env.spec().id);
        env.reset(Some(4), &mut observation).unwrap();
        while !env.step(Sample::draw(&space, &mut generator).action(), &mut observation).unwrap().end.is_end() {}
        assert!(matches!(env.step(sample.action(), &mut observation), Err(EnvError::ResetNeeded { .. })), "{}", env.spec().id);
        env.reset(None, &mut observation).unwrap();
        env.step(sample.action(), &mut observation).unwrap();
    }
}

#[test]
fn wrong_actions_and_buffers_are_refused_and_change_nothing() {
    for mut env in environments() {
        let mut observation = buffer(&*env);
        let (id, space) = (env.spec().id.clone(), env.spec().action_space.clone());
        let mut short = vec![0.0; observation.len() - 1];
        assert!(matches!(env.reset(Some(1), &mut short), Err(EnvError::Shape { .. })), "{id}");
        env.reset(Some(1), &mut observation).unwrap();
        let width = space.width();
        let (long32, long64) = (vec![0.0_f32; width + 1], vec![0.0_f64; width + 1]);
        let mut nan = vec![0.0_f32; width];
        nan[width - 1] = f32::NAN;
        let wrong = match space {
            Space::Discrete { n, start } => vec![
                Action::Discrete(start - 1),
                Action::Discrete(start + n as i64),
                Action::F32(&long32[..width]),
                Action::F64(&long64[..1]),
            ],
            Space::Box { .. } => {
                vec![Action::Discrete(0), Action::F32(&long32), Action::F64(&long64), Action::F32(&[]), Action::F32(&nan)]
            }
        };
        for action in wrong {
            assert!(matches!(env.step(action, &mut observation), Err(EnvError::Action { .. })), "{id}: {action:?}");
        }
        let sample = Sample::draw(&env.spec().action_space.clone(), &mut Generator::from_seed(8));
        assert!(matches!(env.step(sample.action(), &mut short), Err(EnvError::Shape { .. })), "{id}");
        // The episode goes on as if nothing had happened.
        let step = env.step(sample.action(), &mut observation).unwrap();
        let (mut fresh, mut expected) = (make(&id, &Map::new()).unwrap(), observation.clone());
        fresh.reset(Some(1), &mut expected).unwrap();
        assert_eq!((fresh.step(sample.action(), &mut expected).unwrap(), expected), (step, observation), "{id}");
    }
}

#[test]
fn the_time_limit_truncates_and_an_earlier_end_terminates() {
    for env in environments() {
        let id = env.spec().id.clone();
        let Value::Object(options) = serde_json::json!({"max_episode_steps": 3}) else { unreachable!() };
        let mut env = make(&id, &options).unwrap();
        let (mut observation, mut generator) = (buffer(&*env), Generator::from_seed(6));
        let space = env.spec().action_space.clone();
        env.reset(Some(2), &mut observation).unwrap();
        let ends: Vec<StepEnd> =
            (0..3).map(|_| env.step(Sample::draw(&space, &mut generator).action(), &mut observation).unwrap().end).collect();
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
        let (id, space) = (env.spec().id.clone(), env.spec().action_space.clone());
        env.reset(Some(7), &mut observation).unwrap();
        for _ in 0..2 {
            env.step(Sample::draw(&space, &mut generator).action(), &mut observation).unwrap();
        }
        let mut state = vec![];
        env.state(&mut state).unwrap();
        let mut copy = make(&id, &Map::new()).unwrap();
        let mut seen = buffer(&*copy);
        copy.set_state(&state, &mut seen).unwrap();
        assert_eq!(seen, observation, "{id}");
        let sample = Sample::draw(&space, &mut generator);
        let expected = env.step(sample.action(), &mut observation).unwrap();
        let found = copy.step(sample.action(), &mut seen).unwrap();
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
        let (id, space) = (env.spec().id.clone(), env.spec().action_space.clone());
        let samples: Vec<Sample> = (0..1200).map(|_| Sample::draw(&space, &mut generator)).collect();
        env.reset(Some(3), &mut observation).unwrap();
        let mut steps = 0;
        let count = allocations(|| {
            for sample in &samples {
                steps += 1;
                if env.step(sample.action(), &mut observation).unwrap().end.is_end() {
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

/// Actions beyond the bounds: the simulator clamps the torque, the cost is of what was asked for.
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
