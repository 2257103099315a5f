//! Whether an environment keeps the contract of [`Env`].

use crate::env::{Action, Env, StepEnd};
use crate::error::EnvError;
use crate::rng::Generator;
use crate::scripted::ScriptedPolicy;
use crate::space::Space;

/// Plays an environment with random actions and checks that it keeps the contract of [`Env`], as Gymnasium's `check_env` does:
/// calls out of order, wrong actions and wrong buffers are errors that change nothing, observations are finite and inside their
/// space, the same seed gives the same bits, an episode ends at its time limit, and a state that was read can be set.
///
/// `env` must be freshly made: never reset. Every environment of this crate passes.
///
/// ```
/// let mut env = aaren_envs::make("CartPole-v1", &Default::default())?;
/// aaren_envs::check_env(&mut *env)?;
/// # Ok::<(), aaren_envs::EnvError>(())
/// ```
///
/// # Errors
/// [`EnvError::Contract`] for the first violation found, or an error of the environment where there should be none.
pub fn check_env(env: &mut dyn Env) -> Result<(), EnvError> {
    refuses_what_is_wrong(env)?;
    let is_reproducible = transcript(env, 17)? == transcript(env, 17)?;
    ensure(env, is_reproducible, || "two runs with the same seed and actions differ".into())?;
    ends_at_its_limit(env)?;
    state_can_be_set(env)
}

fn ensure(env: &dyn Env, holds: bool, problem: impl FnOnce() -> String) -> Result<(), EnvError> {
    if holds { Ok(()) } else { Err(EnvError::Contract { env: env.spec().id.clone(), problem: problem() }) }
}

/// Calls out of order, and arguments that do not fit.
fn refuses_what_is_wrong(env: &mut dyn Env) -> Result<(), EnvError> {
    let spec = env.spec().clone();
    let (space, width) = (&spec.action_space, spec.action_space.width());
    let mut policy = ScriptedPolicy::random(space);
    let good = policy.act(&[], &[], &mut Generator::from_seed(8));
    let mut observation = vec![f64::NAN; spec.observation_space.width()];
    let mut long = vec![0.0; observation.len() + 1];

    let early = env.step(good, &mut observation);
    ensure(env, matches!(early, Err(EnvError::ResetNeeded { .. })), || "a step before the first reset must be refused".into())?;
    let reset = env.reset(Some(1), &mut long);
    ensure(env, matches!(reset, Err(EnvError::Shape { .. })), || "reset takes a buffer of another length".into())?;
    env.reset(Some(1), &mut observation)?;
    let (long32, long64, mut nan) = (vec![0.0_f32; width + 1], vec![0.0_f64; width + 1], vec![0.0_f32; width]);
    nan[width.saturating_sub(1)..].fill(f32::NAN);
    let wrong = match *space {
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
        let step = env.step(action, &mut observation);
        ensure(env, matches!(step, Err(EnvError::Action { .. })), || format!("step takes {action:?} for an action"))?;
    }
    let step = env.step(good, &mut long);
    ensure(env, matches!(step, Err(EnvError::Shape { .. })), || "step takes a buffer of another length".into())?;

    let (step, mut expected) = (env.step(good, &mut observation)?, observation.clone());
    env.reset(Some(1), &mut expected)?;
    let same = env.step(good, &mut expected)? == step && expected == observation;
    ensure(env, same, || "a call that was refused changed the episode".into())
}

/// Observations, rewards and ends of some episodes with random actions: the first seeded, the others with the generator as it is
/// then.
fn transcript(env: &mut dyn Env, seed: u64) -> Result<(Vec<f64>, Vec<StepEnd>), EnvError> {
    let spec = env.spec().clone();
    let Space::Box { low, high, .. } = &spec.observation_space else {
        return Err(EnvError::Contract { env: spec.id, problem: "observations must be a box".into() });
    };
    let (mut policy, mut generator) = (ScriptedPolicy::random(&spec.action_space), Generator::from_seed(99));
    let mut observation = vec![f64::NAN; low.len()];
    let (mut numbers, mut ends) = (vec![], vec![]);
    for episode in 0..5 {
        env.reset((episode == 0).then_some(seed), &mut observation)?;
        for _ in 0..200 {
            let bounds = low.iter().zip(high);
            let mut inside = observation.iter().zip(bounds).map(|(value, (low, high))| low <= value && value <= high);
            let is_valid = inside.all(|inside| inside) && observation.iter().all(|value| value.is_finite());
            ensure(env, is_valid, || format!("{observation:?} is outside of the observation space"))?;
            numbers.extend_from_slice(&observation);
            let step = env.step(policy.act(&observation, &[], &mut generator), &mut observation)?;
            numbers.push(step.reward);
            ends.push(step.end);
            if step.end.is_end() {
                break;
            }
        }
        numbers.extend_from_slice(&observation);
    }
    let finite = numbers.iter().all(|number| number.is_finite());
    ensure(env, finite, || "an observation or a reward is not finite".into())?;
    Ok((numbers, ends))
}

/// One whole episode, unless it is very long, and what comes after its end.
fn ends_at_its_limit(env: &mut dyn Env) -> Result<(), EnvError> {
    let spec = env.spec().clone();
    let (mut policy, mut generator) = (ScriptedPolicy::random(&spec.action_space), Generator::from_seed(3));
    let mut observation = vec![f64::NAN; spec.observation_space.width()];
    env.reset(Some(4), &mut observation)?;
    for step in 1..=10_000 {
        let end = env.step(policy.act(&observation, &[], &mut generator), &mut observation)?.end;
        let in_time = end.truncated || spec.max_episode_steps.is_none_or(|limit| step < limit);
        ensure(env, in_time, || format!("step {step} reaches the time limit and must be truncated"))?;
        if end.is_end() {
            let late = env.step(policy.act(&observation, &[], &mut generator), &mut observation);
            let refused = matches!(late, Err(EnvError::ResetNeeded { .. }));
            ensure(env, refused, || "a step after the end of an episode must be refused".into())?;
            break;
        }
    }
    env.reset(None, &mut observation)?;
    env.step(policy.act(&observation, &[], &mut generator), &mut observation).map(|_| ())
}

/// A state that was read gives the same observation, where a task has states.
fn state_can_be_set(env: &mut dyn Env) -> Result<(), EnvError> {
    let spec = env.spec().clone();
    let (mut policy, mut generator) = (ScriptedPolicy::random(&spec.action_space), Generator::from_seed(12));
    let mut observation = vec![f64::NAN; spec.observation_space.width()];
    env.reset(Some(7), &mut observation)?;
    let mut state = vec![];
    match env.state(&mut state) {
        Err(EnvError::Unsupported { .. }) => {
            return ensure(env, !spec.restorable, || {
                "its state cannot be read, but its spec says that episodes can be stored".into()
            });
        }
        Ok(()) if state.is_empty() => return Ok(()),
        other => other?,
    }
    env.step(policy.act(&observation, &state, &mut generator), &mut observation)?;
    state.clear();
    env.state(&mut state)?;
    let mut seen = observation.clone();
    env.reset(Some(8), &mut seen)?;
    env.set_state(&state, &mut seen)?;
    ensure(env, seen == observation, || "a state that was set shows another observation than when it was read".into())?;
    for wrong in [&state[1..], &vec![f64::NAN; state.len()]] {
        let set = env.set_state(wrong, &mut seen);
        let refused = matches!(set, Err(EnvError::Shape { .. } | EnvError::State { .. }));
        ensure(env, refused, || format!("set_state takes {wrong:?}"))?;
    }
    Ok(())
}
