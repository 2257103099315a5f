//! Every task by name: those of this crate, and those that a program registers.

use std::sync::{Arc, PoisonError, RwLock};

use serde_json::{Map, Value};

use crate::bare::BareSimulation;
use crate::env::{Env, Spec};
use crate::error::EnvError;
use crate::gymnasium;
#[cfg(feature = "mujoco")]
use crate::mujoco;
use crate::options::{OptionInfo, Options, nearest};
use crate::render::{Renderer, picture};
use crate::time_limit::TimeLimit;
use crate::{
    cartpole, count_recall, higher_lower, last_cue, multiarmed_bandit, passive_tmaze, pendulum, point_maze, repeat_first,
    repeat_previous, tmaze,
};

/// A registered task.
#[derive(Clone, Copy)]
pub struct TaskInfo {
    /// Registered name with version, for example `TMaze-v0`.
    pub id: &'static str,
    /// One sentence about it.
    pub summary: &'static str,
    /// The cargo feature that it needs, if any.
    pub feature: Option<&'static str>,
    /// Its options; every task of this crate also takes `max_episode_steps` and `reward_delay`. Empty where the task is not
    /// compiled in, and for a task that [`register`] added.
    pub options: &'static [OptionInfo],
    /// Absent where the feature is not compiled in, and for a task that [`register`] added.
    build: Option<Build>,
}

type Build = fn(&Options) -> Result<Box<dyn Env>, EnvError>;

impl TaskInfo {
    /// Why [`make`] cannot make it in this build, and what to do about it; `None` if it can.
    pub fn missing(&self) -> Option<String> {
        match (self.build, self.feature) {
            (None, Some(feature)) => Some(format!(
                "this build has no {feature}: get the library with scripts/{feature}.sh and build with `--features {feature}` \
                 (see README.md)"
            )),
            _ => None,
        }
    }
}

/// An entry of [`TASKS`] that needs the feature `mujoco`: a name, a summary, and the options and constructor of its module.
macro_rules! on_mujoco {
    ($id:literal, $summary:literal, $options:path, $constructor:path) => {
        TaskInfo {
            id: $id,
            summary: $summary,
            feature: Some("mujoco"),
            #[cfg(feature = "mujoco")]
            options: $options,
            #[cfg(feature = "mujoco")]
            build: Some(|options| TimeLimit::boxed($constructor(options)?, options)),
            #[cfg(not(feature = "mujoco"))]
            options: &[],
            #[cfg(not(feature = "mujoco"))]
            build: None,
        }
    };
}

const TASKS: &[TaskInfo] = &[
    TaskInfo {
        id: tmaze::ID,
        summary: "remember a cue seen at the first step through a corridor, then turn to its side",
        feature: None,
        options: tmaze::OPTIONS,
        build: Some(|options| TimeLimit::boxed(tmaze::TMaze::from_options(options)?, options)),
    },
    TaskInfo {
        id: passive_tmaze::ID,
        summary: "remember a cue seen at the first step through a corridor without a step to spare, then turn to its side (Ni et al.)",
        feature: None,
        options: passive_tmaze::OPTIONS,
        build: Some(|options| TimeLimit::boxed(passive_tmaze::PassiveTMaze::from_options(options)?, options)),
    },
    TaskInfo {
        id: last_cue::ID,
        summary: "give up every remembered cue for the next one shown, then turn to the side of the last",
        feature: None,
        options: last_cue::OPTIONS,
        build: Some(|options| TimeLimit::boxed(last_cue::LastCue::from_options(options)?, options)),
    },
    TaskInfo {
        id: repeat_previous::ID,
        summary: "name the suit of the card that was shown k cards ago, at every card (POPGym)",
        feature: None,
        options: repeat_previous::OPTIONS,
        build: Some(|options| TimeLimit::boxed(repeat_previous::RepeatPrevious::from_options(options)?, options)),
    },
    TaskInfo {
        id: repeat_first::ID,
        summary: "name the suit of the first card, at every card (POPGym)",
        feature: None,
        options: repeat_first::OPTIONS,
        build: Some(|options| TimeLimit::boxed(repeat_first::RepeatFirst::from_options(options)?, options)),
    },
    TaskInfo {
        id: count_recall::ID,
        summary: "say how often the kind that is asked for has been dealt, at every card (POPGym)",
        feature: None,
        options: count_recall::OPTIONS,
        build: Some(|options| TimeLimit::boxed(count_recall::CountRecall::from_options(options)?, options)),
    },
    TaskInfo {
        id: higher_lower::ID,
        summary: "say whether the next card is higher or lower; counting the cards helps (POPGym)",
        feature: None,
        options: higher_lower::OPTIONS,
        build: Some(|options| TimeLimit::boxed(higher_lower::HigherLower::from_options(options)?, options)),
    },
    TaskInfo {
        id: multiarmed_bandit::ID,
        summary: "find the slot machine that pays most, and play it (POPGym)",
        feature: None,
        options: multiarmed_bandit::OPTIONS,
        build: Some(|options| TimeLimit::boxed(multiarmed_bandit::MultiarmedBandit::from_options(options)?, options)),
    },
    TaskInfo {
        id: point_maze::ID,
        summary: "drive a ball through one of D4RL's mazes to the goal (continuous force)",
        feature: None,
        options: point_maze::rules::OPTIONS,
        build: Some(|options| TimeLimit::boxed(point_maze::PointMaze::from_options(options)?, options)),
    },
    TaskInfo {
        id: pendulum::ID,
        summary: "swing a pendulum up and keep it upright (continuous torque)",
        feature: None,
        options: pendulum::OPTIONS,
        build: Some(|options| TimeLimit::boxed(pendulum::Pendulum::from_options(options)?, options)),
    },
    TaskInfo {
        id: cartpole::ID,
        summary: "balance a pole on a cart by pushing left or right",
        feature: None,
        options: cartpole::OPTIONS,
        build: Some(|options| TimeLimit::boxed(cartpole::CartPole::from_options(options)?, options)),
    },
    on_mujoco!("Hopper-v5", "hop forward on one leg (MuJoCo)", mujoco::hopper::OPTIONS, mujoco::hopper::hopper),
    on_mujoco!(
        "HalfCheetah-v5",
        "run forward on two legs, with a spring in every joint (MuJoCo)",
        mujoco::half_cheetah::OPTIONS,
        mujoco::half_cheetah::half_cheetah
    ),
    on_mujoco!("Walker2d-v5", "walk forward on two legs (MuJoCo)", mujoco::walker2d::OPTIONS, mujoco::walker2d::walker2d),
    on_mujoco!(
        "Ant-v5",
        "walk forward on four legs in three dimensions (MuJoCo)",
        mujoco::ant::OPTIONS,
        mujoco::ant::Ant::from_options
    ),
    on_mujoco!(
        "Maze2D-v1",
        "drive a ball through one of D4RL's mazes to the goal, the walls as in D4RL (MuJoCo)",
        point_maze::rules::OPTIONS,
        mujoco::maze2d::Maze2d::from_options
    ),
];

type BuildRegistered = Arc<dyn Fn(&Map<String, Value>) -> Result<Box<dyn Env>, EnvError> + Send + Sync>;

/// What [`register`] added, for the whole process.
static REGISTERED: RwLock<Vec<(TaskInfo, BuildRegistered)>> = RwLock::new(Vec::new());

/// All tasks: those of this crate, whether or not they are compiled in, then those that [`register`] added.
pub fn tasks() -> Vec<TaskInfo> {
    let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    TASKS.iter().copied().chain(registered.iter().map(|(task, _)| *task)).collect()
}

/// Gives an environment a name, under which [`make`] and everything above it finds it in this process.
///
/// `build` receives the options that [`make`] was given and checks them; [`Options`] helps. It is called for every copy.
///
/// ```
/// use aaren_envs::{Action, Dtype, EnvError, Generator, OptionInfo, Options, Outcome, Space, Task, TimeLimit};
///
/// /// Walk right until the end of a line.
/// struct Line { length: f64, position: f64 }
///
/// impl Task for Line {
///     fn observation_space(&self) -> Space { Space::uniform_box(1, 0.0, self.length, Dtype::Float32) }
///     fn action_space(&self) -> Space { Space::Discrete { n: 2, start: 0 } }
///     fn max_episode_steps(&self) -> Option<usize> { Some(50) }
///     fn reset(&mut self, _: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
///         self.position = 0.0;
///         observation[0] = self.position;
///         Ok(())
///     }
///     fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
///         if action == Action::Discrete(1) { self.position += 1.0 }
///         observation[0] = self.position;
///         Ok(Outcome { reward: -1.0, terminated: self.position == self.length })
///     }
/// }
///
/// const ID: &str = "my/Line-v0";
/// const OPTIONS: &[OptionInfo] = &[OptionInfo::count("length", 5, 1, 1000, "steps from one end to the other")];
/// aaren_envs::register(ID, "walk right until the end of a line", |options| {
///     let options = Options::new(ID, OPTIONS, options)?;
///     TimeLimit::boxed(Line { length: options.count("length")? as f64, position: 0.0 }, &options)
/// })?;
///
/// let mut env = aaren_envs::make(ID, &Default::default())?;
/// aaren_envs::check_env(&mut *env)?;
/// assert!(aaren_envs::tasks().iter().any(|task| task.id == ID));
/// # Ok::<(), EnvError>(())
/// ```
///
/// # Errors
/// [`EnvError::Registered`] if the name is taken.
pub fn register(
    id: &'static str,
    summary: &'static str,
    build: impl Fn(&Map<String, Value>) -> Result<Box<dyn Env>, EnvError> + Send + Sync + 'static,
) -> Result<(), EnvError> {
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    if TASKS.iter().chain(registered.iter().map(|(task, _)| task)).any(|task| task.id == id) {
        return Err(EnvError::Registered { id: id.into() });
    }
    registered.push((TaskInfo { id, summary, feature: None, options: &[], build: None }, Arc::new(build)));
    Ok(())
}

/// Makes a task by name, under its time limit.
///
/// `options`: the keys that [`TaskInfo::options`] lists, `max_episode_steps` (a positive integer, or null for no limit), and
/// `reward_delay` (rewards are held back and paid as one sum: after every so many steps, a positive integer, and at the end of
/// the episode; or only then, `"episode"`). A task that [`register`] added reads its options itself. `gymnasium:` and a name is that
/// environment of Gymnasium, in a Python process; [`GYMNASIUM_OPTIONS`](crate::GYMNASIUM_OPTIONS) are its options.
///
/// # Errors
/// [`EnvError::Unknown`] for a name that is not registered (the message names the nearest) or not compiled in (the message
/// says how to get it), [`EnvError::Option`] for an unknown key or a value out of range, [`EnvError::Model`] where a
/// simulator's model does not load, [`EnvError::Python`] and [`EnvError::Worker`] where Python does not make it.
pub fn make(id: &str, options: &Map<String, Value>) -> Result<Box<dyn Env>, EnvError> {
    if let Some(task) = TASKS.iter().find(|task| task.id == id) {
        return match task.build {
            Some(build) => build(&Options::new(task.id, task.options, options)?),
            None => Err(EnvError::Unknown { id: id.into(), hint: task.missing().unwrap_or_default() }),
        };
    }
    let registered = REGISTERED.read().unwrap_or_else(PoisonError::into_inner);
    let build = registered.iter().find(|(task, _)| task.id == id).map(|(_, build)| Arc::clone(build));
    drop(registered); // A `build` may itself call `make` or `register`.
    if let Some(build) = build {
        return build(options);
    }
    if gymnasium::gymnasium_name(id).is_some() {
        return gymnasium::make(id, options);
    }
    let tasks = tasks();
    let ids = || tasks.iter().map(|task| task.id);
    let hint = match nearest(id, ids()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None => format!("the environments are {}", ids().collect::<Vec<_>>().join(", ")),
    };
    Err(EnvError::Unknown { id: id.into(), hint })
}

/// Makes some environments that are stepped side by side, with `make` for each unless the first brings the others along, as those
/// in Python do, which then share a process.
///
/// # Errors
/// Those of `make`.
pub fn make_copies(make: &dyn Fn() -> Result<Box<dyn Env>, EnvError>, copies: usize) -> Result<Vec<Box<dyn Env>>, EnvError> {
    let Some(others) = copies.checked_sub(1) else { return Ok(Vec::new()) };
    let mut first = make()?;
    let others = match first.siblings(others)? {
        Some(siblings) => siblings,
        None => (0..others).map(|_| make()).collect::<Result<_, _>>()?,
    };
    Ok(std::iter::once(first).chain(others).collect())
}

/// The spec of a task, as far as it can be known without a simulator that this build lacks or a Python that may not be there; the
/// options are checked either way, but for those of a task that is not compiled in.
///
/// # Errors
/// [`EnvError::Unknown`] for a name that nothing has, [`EnvError::Option`] and [`EnvError::Model`] as [`make`].
pub fn known_spec(id: &str, options: &Map<String, Value>) -> Result<Option<Spec>, EnvError> {
    match tasks().into_iter().find(|task| task.id == id) {
        Some(task) if task.missing().is_some() => Ok(None),
        None if gymnasium::gymnasium_name(id).is_some() => gymnasium::check(id, options).map(|()| None),
        _ => Ok(Some(make(id, options)?.spec().clone())),
    }
}

/// Version of the MuJoCo library that simulates; `None` in a build without the feature `mujoco`.
pub fn mujoco_version() -> Option<&'static str> {
    #[cfg(feature = "mujoco")]
    return Some(mujoco_rs::mujoco_version());
    #[cfg(not(feature = "mujoco"))]
    None
}

/// The simulator under a registered robot, to measure what the task costs on top of it; `None` for a task that is no robot, and in
/// a build without robots.
///
/// # Errors
/// [`EnvError::Model`] where the model does not load.
pub fn bare_simulation(id: &str) -> Result<Option<Box<dyn BareSimulation>>, EnvError> {
    #[cfg(feature = "mujoco")]
    return mujoco::robots::bare_simulation(id);
    #[cfg(not(feature = "mujoco"))]
    {
        let _ = id;
        Ok(None)
    }
}

/// Something that draws episodes of a task of this crate, made with the same options, in images of this size in pixels: robots by
/// MuJoCo's own renderer, the others as simple pictures.
///
/// # Errors
/// [`EnvError::Unsupported`] for a task that [`register`] added, [`EnvError::Render`] where there is no OpenGL library for a robot,
/// [`EnvError::Model`] where the model does not load, [`EnvError::Option`] as [`make`].
pub fn renderer(id: &str, options: &Map<String, Value>, width: usize, height: usize) -> Result<Box<dyn Renderer>, EnvError> {
    #[cfg(all(feature = "mujoco", unix))]
    if let Some(renderer) = mujoco::render::renderer(id, width, height)? {
        return Ok(renderer);
    }
    let what = "rendering; the tasks that come with aaren do, the robots in builds with the feature mujoco";
    picture(id, options, width, height)?.ok_or_else(|| EnvError::Unsupported { env: id.into(), what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn error(id: &str, options: Value) -> String {
        make(id, &fixtures::options(options)).err().expect("an error").to_string()
    }

    #[test]
    fn names_are_unique_and_described() {
        for (i, task) in TASKS.iter().enumerate() {
            assert!(TASKS[..i].iter().all(|other| other.id != task.id), "{} twice", task.id);
            assert!(!task.summary.is_empty() && task.options.iter().all(|option| !option.help.is_empty()), "{}", task.id);
            assert!(task.build.is_some() || task.feature.is_some(), "{} can never be made", task.id);
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_or_the_list() {
        assert_eq!(error("TMaze-v1", Value::Object(Map::new())), "unknown environment \"TMaze-v1\"; did you mean \"TMaze-v0\"?");
        assert!(error("tmaze", Value::Object(Map::new())).ends_with("did you mean \"TMaze-v0\"?"));
        assert!(error("MountainLionCar-v7", Value::Object(Map::new())).contains("the environments are TMaze-v0, "));
    }

    #[test]
    fn a_registered_task_is_found_like_any_other_and_its_name_is_taken() {
        let shorter = |options: &Map<String, Value>| {
            Options::new("test/Short-v0", &[], options)?;
            make("TMaze-v0", &Map::from_iter([("corridor".to_string(), 2.into())]))
        };
        register("test/Short-v0", "a short corridor", shorter).unwrap();
        assert_eq!(make("test/Short-v0", &Map::new()).unwrap().spec().max_episode_steps, Some(16));
        let found = tasks().into_iter().find(|task| task.id == "test/Short-v0").unwrap();
        assert_eq!((found.summary, found.missing()), ("a short corridor", None));
        assert!(error("test/Shart-v0", Value::Object(Map::new())).ends_with("did you mean \"test/Short-v0\"?"));
        assert!(error("test/Short-v0", serde_json::json!({"k": 1})).starts_with("test/Short-v0: option \"k\": unknown"));
        for taken in ["test/Short-v0", "TMaze-v0", "Hopper-v5"] {
            let error = register(taken, "", shorter).unwrap_err().to_string();
            assert_eq!(error, format!("there is an environment \"{taken}\" already"));
        }
    }

    #[cfg(not(feature = "mujoco"))]
    #[test]
    fn a_task_that_is_not_compiled_in_says_how_to_get_it() {
        let error = error("Hopper-v5", Value::Object(Map::new()));
        assert!(error.contains("scripts/mujoco.sh") && error.contains("--features mujoco"), "{error}");
    }

    #[test]
    fn the_time_limit_can_be_given() {
        assert_eq!(
            make("Pendulum-v1", &fixtures::options(serde_json::json!({"max_episode_steps": 6})))
                .unwrap()
                .spec()
                .max_episode_steps,
            Some(6)
        );
        assert_eq!(make("Pendulum-v1", &Map::new()).unwrap().spec().max_episode_steps, Some(200));
    }
}
