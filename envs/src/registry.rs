//! Every task by name.

use serde_json::{Map, Value};

#[cfg(feature = "mujoco")]
use crate::mujoco;
use crate::{
    bare::BareSimulation,
    cartpole,
    delayed_reward::DelayedReward,
    env::Env,
    error::EnvError,
    options::{OptionInfo, Options, nearest},
    pendulum, point_maze,
    render::Renderer,
    repeat_previous,
    task::Task,
    time_limit::TimeLimit,
    tmaze,
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
    /// Its options; every task also takes `max_episode_steps` and `reward_delay`. Empty where the task is not compiled in.
    pub options: &'static [OptionInfo],
    /// Builds it; absent where its feature is not compiled in.
    build: Option<Build>,
}

type Build = fn(&Options) -> Result<Box<dyn Task>, EnvError>;

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

/// All tasks, those that are not compiled in included.
pub fn tasks() -> &'static [TaskInfo] {
    TASKS
}

const TASKS: &[TaskInfo] = &[
    TaskInfo {
        id: tmaze::ID,
        summary: "remember a cue seen at the first step through a corridor, then turn to its side",
        feature: None,
        options: tmaze::OPTIONS,
        build: Some(|options| Ok(Box::new(tmaze::TMaze::from_options(options)?))),
    },
    TaskInfo {
        id: repeat_previous::ID,
        summary: "name the suit of the card that was shown k cards ago, at every card (POPGym)",
        feature: None,
        options: repeat_previous::OPTIONS,
        build: Some(|options| Ok(Box::new(repeat_previous::RepeatPrevious::from_options(options)?))),
    },
    TaskInfo {
        id: point_maze::ID,
        summary: "drive a ball through one of D4RL's mazes to the goal (continuous force)",
        feature: None,
        options: point_maze::rules::OPTIONS,
        build: Some(|options| Ok(Box::new(point_maze::PointMaze::from_options(options)?))),
    },
    TaskInfo {
        id: pendulum::ID,
        summary: "swing a pendulum up and keep it upright (continuous torque)",
        feature: None,
        options: pendulum::OPTIONS,
        build: Some(|options| Ok(Box::new(pendulum::Pendulum::from_options(options)?))),
    },
    TaskInfo {
        id: cartpole::ID,
        summary: "balance a pole on a cart by pushing left or right",
        feature: None,
        options: cartpole::OPTIONS,
        build: Some(|options| Ok(Box::new(cartpole::CartPole::from_options(options)?))),
    },
    TaskInfo {
        id: "Hopper-v5",
        summary: "hop forward on one leg (MuJoCo)",
        feature: Some("mujoco"),
        #[cfg(feature = "mujoco")]
        options: mujoco::hopper::OPTIONS,
        #[cfg(not(feature = "mujoco"))]
        options: &[],
        #[cfg(feature = "mujoco")]
        build: Some(|options| Ok(Box::new(mujoco::hopper::Hopper::from_options(options)?))),
        #[cfg(not(feature = "mujoco"))]
        build: None,
    },
    TaskInfo {
        id: "HalfCheetah-v5",
        summary: "run forward on two legs, with a spring in every joint (MuJoCo)",
        feature: Some("mujoco"),
        #[cfg(feature = "mujoco")]
        options: mujoco::half_cheetah::OPTIONS,
        #[cfg(not(feature = "mujoco"))]
        options: &[],
        #[cfg(feature = "mujoco")]
        build: Some(|options| Ok(Box::new(mujoco::half_cheetah::HalfCheetah::from_options(options)?))),
        #[cfg(not(feature = "mujoco"))]
        build: None,
    },
    TaskInfo {
        id: "Walker2d-v5",
        summary: "walk forward on two legs (MuJoCo)",
        feature: Some("mujoco"),
        #[cfg(feature = "mujoco")]
        options: mujoco::walker2d::OPTIONS,
        #[cfg(not(feature = "mujoco"))]
        options: &[],
        #[cfg(feature = "mujoco")]
        build: Some(|options| Ok(Box::new(mujoco::walker2d::Walker2d::from_options(options)?))),
        #[cfg(not(feature = "mujoco"))]
        build: None,
    },
    TaskInfo {
        id: "Ant-v5",
        summary: "walk forward on four legs in three dimensions (MuJoCo)",
        feature: Some("mujoco"),
        #[cfg(feature = "mujoco")]
        options: mujoco::ant::OPTIONS,
        #[cfg(not(feature = "mujoco"))]
        options: &[],
        #[cfg(feature = "mujoco")]
        build: Some(|options| Ok(Box::new(mujoco::ant::Ant::from_options(options)?))),
        #[cfg(not(feature = "mujoco"))]
        build: None,
    },
    TaskInfo {
        id: "Maze2D-v1",
        summary: "drive a ball through one of D4RL's mazes to the goal, the walls as in D4RL (MuJoCo)",
        feature: Some("mujoco"),
        #[cfg(feature = "mujoco")]
        options: point_maze::rules::OPTIONS,
        #[cfg(not(feature = "mujoco"))]
        options: &[],
        #[cfg(feature = "mujoco")]
        build: Some(|options| Ok(Box::new(mujoco::maze2d::Maze2d::from_options(options)?))),
        #[cfg(not(feature = "mujoco"))]
        build: None,
    },
];

/// Makes a task by name, under its time limit.
///
/// `options`: the keys that [`TaskInfo::options`] lists, `max_episode_steps` (a positive integer, or null for no limit), and
/// `reward_delay` (rewards are kept back and paid as one sum: after every so many steps, a positive integer, and at the end of the
/// episode; or only then, `"episode"`).
///
/// # Errors
/// [`EnvError::Unknown`] for a name that is not registered (the message names the nearest) or not compiled in (the message
/// says how to get it), [`EnvError::Option`] for an unknown key or a value out of range, [`EnvError::Model`] where a
/// simulator's model does not load.
pub fn make(id: &str, options: &Map<String, Value>) -> Result<Box<dyn Env>, EnvError> {
    let unknown = |hint: String| EnvError::Unknown { id: id.into(), hint };
    let Some(task) = TASKS.iter().find(|task| task.id == id) else {
        let all = || TASKS.iter().map(|task| task.id);
        return Err(unknown(match nearest(id, all()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("the environments are {}", all().collect::<Vec<_>>().join(", ")),
        }));
    };
    let Some(build) = task.build else {
        return Err(unknown(task.missing().unwrap_or_default()));
    };
    let options = Options::new(task.id, task.options, options)?;
    let built = build(&options)?;
    let limit = options.max_episode_steps(built.max_episode_steps())?;
    match options.reward_delay()? {
        None => Ok(Box::new(TimeLimit::new(task.id, built, limit)?)),
        Some(delay) => Ok(Box::new(TimeLimit::new(task.id, DelayedReward::new(task.id, built, delay, limit), limit)?)),
    }
}

/// The simulator under a registered robot, to measure what the task costs on top of it; `None` for a task that is no robot, and in
/// a build without robots.
///
/// # Errors
/// [`EnvError::Model`] where the model does not load.
pub fn bare_simulation(id: &str) -> Result<Option<Box<dyn BareSimulation>>, EnvError> {
    #[cfg(feature = "mujoco")]
    return mujoco::bare_simulation(id);
    #[cfg(not(feature = "mujoco"))]
    {
        let _ = id;
        Ok(None)
    }
}

/// Something that draws the states of a registered robot, in images of this size in pixels.
///
/// # Errors
/// [`EnvError::Unsupported`] for a task that is no robot, [`EnvError::Render`] where there is no OpenGL library,
/// [`EnvError::Model`] where the model does not load.
pub fn renderer(id: &str, width: usize, height: usize) -> Result<Box<dyn Renderer>, EnvError> {
    #[cfg(all(feature = "mujoco", unix))]
    if let Some(renderer) = mujoco::render::renderer(id, width, height)? {
        return Ok(renderer);
    }
    let _ = (width, height);
    Err(EnvError::Unsupported { env: id.into(), what: "rendering; the robots on MuJoCo do, in builds with the feature mujoco" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(id: &str, options: Value) -> String {
        let Value::Object(options) = options else { unreachable!() };
        make(id, &options).err().expect("an error").to_string()
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

    #[cfg(not(feature = "mujoco"))]
    #[test]
    fn a_task_that_is_not_compiled_in_says_how_to_get_it() {
        let error = error("Hopper-v5", Value::Object(Map::new()));
        assert!(error.contains("scripts/mujoco.sh") && error.contains("--features mujoco"), "{error}");
    }

    #[test]
    fn the_time_limit_can_be_given() {
        let Value::Object(options) = serde_json::json!({"max_episode_steps": 6}) else { unreachable!() };
        assert_eq!(make("Pendulum-v1", &options).unwrap().spec().max_episode_steps, Some(6));
        assert_eq!(make("Pendulum-v1", &Map::new()).unwrap().spec().max_episode_steps, Some(200));
    }
}
