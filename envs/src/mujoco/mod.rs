//! The MuJoCo tasks: what they share. One file a task; feature `mujoco`.
//!
//! A step is Gymnasium's, call by call: write the action into `ctrl` (the model clamps it, the control cost does not),
//! `mj_step` as often as frames are skipped. Observation and reward read `qpos` and `qvel` as they are then, without a further
//! `mj_forward`. Gymnasium also calls `mj_rnePostConstraint` in every step; here only the task that looks at contact forces does.

pub(crate) mod ant;
#[cfg(test)]
mod facts;
#[cfg(unix)]
mod gl;
pub(crate) mod half_cheetah;
pub(crate) mod hopper;
pub(crate) mod maze2d;
#[cfg(unix)]
pub(crate) mod render;
mod robot;
pub(crate) mod walker2d;

use std::{
    ops::{Add, Mul},
    path::Path,
    sync::{Arc, Once, OnceLock},
};

use mujoco_rs::{
    error::MjDataError,
    logging::set_log_handler,
    prelude::{MjData, MjLogMessage, MjModel, MjtLogLevel},
};

use crate::{
    bare::BareSimulation,
    env::Action,
    error::EnvError,
    options::{OptionDefault, OptionInfo},
};
use robot::{Robot, VelocityNoise};

/// Which rewards, observations and model: Gymnasium's v5, or those that D4RL's data were made with.
const VARIANT: OptionInfo = OptionInfo {
    key: "variant",
    default: OptionDefault::Choice(&["gymnasium", "d4rl"]),
    help: "gymnasium: as in v5; d4rl: as in the older task that D4RL's data come from",
};

/// A folder with Gymnasium's own model files, to be used instead of ours.
const ASSETS: &str = "AAREN_GYMNASIUM_ASSETS";

/// The library that this crate is written for.
const MUJOCO: &str = "3.17.0";

/// A change to a compiled model.
type Adjust = fn(MjModel) -> Result<MjModel, MjDataError>;

/// Where the XML of a model comes from.
enum Source {
    Text {
        xml: &'static str,
        /// What Gymnasium calls its file of the same model.
        file: &'static str,
    },
    /// Written when it is first needed; no file stands for it.
    Generated(fn() -> String),
}

/// A model that is compiled once a process and shared by all environments that use it.
pub(crate) struct Model {
    env: &'static str,
    source: Source,
    adjust: Option<Adjust>,
    compiled: OnceLock<Result<Arc<MjModel>, String>>,
}

impl Model {
    pub(crate) const fn new(env: &'static str, xml: &'static str, file: &'static str) -> Self {
        Self { env, source: Source::Text { xml, file }, adjust: None, compiled: OnceLock::new() }
    }

    /// A model of which something is changed after compilation.
    const fn adjusted(env: &'static str, xml: &'static str, file: &'static str, adjust: Adjust) -> Self {
        Self { env, source: Source::Text { xml, file }, adjust: Some(adjust), compiled: OnceLock::new() }
    }

    /// A model whose XML a function writes.
    const fn generated(env: &'static str, write: fn() -> String) -> Self {
        Self { env, source: Source::Generated(write), adjust: None, compiled: OnceLock::new() }
    }

    /// The compiled model: ours, or the one in the folder that the variable `AAREN_GYMNASIUM_ASSETS` names.
    ///
    /// # Errors
    /// [`EnvError::Model`] with what MuJoCo says against the XML, for a model of another robot, and for a MuJoCo of another version.
    pub(crate) fn get(&self) -> Result<Arc<MjModel>, EnvError> {
        let compiled = self.compiled.get_or_init(|| {
            let assets = std::env::var_os(ASSETS).filter(|folder| !folder.is_empty());
            self.load(assets.as_deref().map(Path::new)).map(Arc::new)
        });
        compiled.clone().map_err(|reason| EnvError::Model { env: self.env.into(), reason })
    }

    fn load(&self, assets: Option<&Path>) -> Result<MjModel, String> {
        log_through_tracing();
        check_version(mujoco_rs::mujoco_version())?;
        let compile = |xml: &str| MjModel::from_xml_string(xml).map_err(|error| error.to_string());
        let (ours, file) = match self.source {
            Source::Text { xml, file } => (compile(xml)?, Some(file)),
            Source::Generated(write) => (compile(&write())?, None),
        };
        let (Some(folder), Some(file)) = (assets, file) else {
            return if let Some(adjust) = self.adjust { adjust(ours).map_err(|error| error.to_string()) } else { Ok(ours) };
        };
        let path = folder.join(file);
        let wrong = |problem: String| format!("{} (from {ASSETS}): {problem}", path.display());
        if !path.is_file() {
            return Err(wrong("there is no such file".into()));
        }
        let theirs = MjModel::from_xml(&path).map_err(|error| wrong(error.to_string()))?;
        let sizes = |model: &MjModel| [model.nq(), model.nv(), model.nu(), model.nbody()].map(i64::from);
        let (found, expected) = (sizes(&theirs), sizes(&ours));
        if found != expected {
            return Err(wrong(format!(
                "another robot: positions, velocities, motors, bodies are {found:?}, expected {expected:?}"
            )));
        }
        Ok(theirs)
    }
}

/// Whether the MuJoCo that was found at run time is the one that the models and bindings are for.
fn check_version(found: &str) -> Result<(), String> {
    if found == MUJOCO {
        return Ok(());
    }
    Err(format!("the MuJoCo library is version {found}, this build needs {MUJOCO} (scripts/mujoco.sh gets it)"))
}

/// Registered name, model and frame skip of every robot.
const ROBOTS: [(&str, &Model, usize); 4] = [
    ("Hopper-v5", &hopper::MODEL, hopper::FRAME_SKIP),
    ("HalfCheetah-v5", &half_cheetah::MODEL, half_cheetah::FRAME_SKIP),
    ("Walker2d-v5", &walker2d::MODEL, walker2d::FRAME_SKIP),
    ("Ant-v5", &ant::MODEL, ant::FRAME_SKIP),
];

/// The simulation under a robot's task; `None` for a task that is no robot.
pub(crate) fn bare_simulation(env_id: &str) -> Result<Option<Box<dyn BareSimulation>>, EnvError> {
    let Some((_, model, frame_skip)) = ROBOTS.into_iter().find(|(id, ..)| *id == env_id) else { return Ok(None) };
    Ok(Some(Box::new(Simulation::new(model, frame_skip)?)))
}

impl BareSimulation for Simulation {
    fn restart(&mut self, state: &[f64]) {
        self.data.reset();
        let (positions, velocities) = state.split_at(self.qpos().len());
        self.data.qpos_mut().copy_from_slice(positions);
        self.data.qvel_mut().copy_from_slice(velocities);
    }

    fn step(&mut self, action: &[f32]) {
        let ctrl = self.data.ctrl_mut();
        assert_eq!(ctrl.len(), action.len(), "an action's width");
        ctrl.iter_mut().zip(action).for_each(|(ctrl, &value)| *ctrl = f64::from(value));
        (0..self.frame_skip).for_each(|_| self.data.step());
    }
}

/// Sends MuJoCo's messages to `tracing`. Its own handler would write a file `MUJOCO_LOG.TXT` into the current directory.
fn log_through_tracing() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Information (how long a model took to compile, say) is nothing a user has to act on.
        let handler = |message: &MjLogMessage| match message.level() {
            MjtLogLevel::mjLOG_WARNING | MjtLogLevel::mjLOG_ERROR => tracing::warn!(target: "mujoco", "{}", message.subject()),
            _ => tracing::debug!(target: "mujoco", "{}", message.subject()),
        };
        // SAFETY: no other thread may use MuJoCo meanwhile. Every model of this crate is loaded after this call returned, in
        // this thread or in one that waits for it, and without a model there is nothing to use.
        unsafe { set_log_handler(handler) };
    });
}

/// One running simulation of a model.
pub(crate) struct Simulation {
    env: &'static str,
    data: MjData<Arc<MjModel>>,
    frame_skip: usize,
}

impl Simulation {
    /// # Errors
    /// [`EnvError::Model`] where the model does not compile or no memory is left for it.
    pub(crate) fn new(model: &Model, frame_skip: usize) -> Result<Self, EnvError> {
        let data = MjData::try_new(model.get()?)
            .map_err(|error| EnvError::Model { env: model.env.into(), reason: error.to_string() })?;
        Ok(Self { env: model.env, data, frame_skip })
    }

    /// Generalised positions. `[nq]`
    pub(crate) fn qpos(&self) -> &[f64] {
        self.data.qpos()
    }

    /// Generalised velocities. `[nv]`
    pub(crate) fn qvel(&self) -> &[f64] {
        self.data.qvel()
    }

    /// Positions of the model's initial pose. `[nq]`
    pub(crate) fn qpos0(&self) -> &[f64] {
        self.data.model().qpos0()
    }

    /// Seconds an environment step.
    pub(crate) fn seconds(&self) -> f64 {
        self.data.model_opt().timestep * self.frame_skip as f64
    }

    /// Starts anew: clears everything, lets `write` set `qpos` (initially the initial pose) and `qvel` (initially zero), and
    /// computes what depends on them.
    ///
    /// # Errors
    /// [`EnvError::Simulation`] where MuJoCo finds the state bad.
    pub(crate) fn start(&mut self, write: impl FnOnce(&mut [f64], &mut [f64])) -> Result<(), EnvError> {
        self.data.reset();
        // Two buffers of `mjData` cannot be borrowed at once through its wrapper; velocities are at most a few dozen.
        let mut qvel = self.data.qvel().to_vec();
        write(self.data.qpos_mut(), &mut qvel);
        self.data.qvel_mut().copy_from_slice(&qvel);
        self.data.forward();
        self.check()
    }

    /// Sets positions and velocities from `state`, which is `qpos` followed by `qvel`.
    ///
    /// # Errors
    /// Those of [`Simulation::start`].
    pub(crate) fn set_state(&mut self, state: &[f64]) -> Result<(), EnvError> {
        self.start(|qpos, qvel| {
            let (positions, velocities) = state.split_at(qpos.len());
            qpos.copy_from_slice(positions);
            qvel.copy_from_slice(velocities);
        })
    }

    /// Numbers of a state: `qpos`, then `qvel`.
    pub(crate) fn state_width(&self) -> usize {
        self.qpos().len() + self.qvel().len()
    }

    /// One environment step.
    ///
    /// # Errors
    /// [`EnvError::Simulation`] where MuJoCo raised a warning: it has then reset itself, and its numbers mean nothing.
    pub(crate) fn act(&mut self, action: Action<'_>) -> Result<(), EnvError> {
        let ctrl = self.data.ctrl_mut();
        match action {
            Action::F32(values) => ctrl.iter_mut().zip(values).for_each(|(ctrl, &value)| *ctrl = f64::from(value)),
            Action::F64(values) => ctrl.copy_from_slice(values),
            Action::Discrete(_) => unreachable!("actions are checked before the task sees them"),
        }
        for _ in 0..self.frame_skip {
            self.data.step();
        }
        self.check()
    }

    /// Writes the velocities back clipped to `-limit..=limit`, and computes what depends on them.
    fn clip_velocities(&mut self, limit: f64) {
        self.data.qvel_mut().iter_mut().for_each(|velocity| *velocity = velocity.clamp(-limit, limit));
        self.data.forward();
    }

    /// Observes positions from the `skipped`th on, then velocities clipped to `-limit..=limit`.
    fn observe(&self, skipped: usize, limit: f64, observation: &mut [f64]) {
        let positions = &self.qpos()[skipped..];
        let (seen_positions, seen_velocities) = observation.split_at_mut(positions.len());
        seen_positions.copy_from_slice(positions);
        for (seen, velocity) in seen_velocities.iter_mut().zip(self.qvel()) {
            *seen = velocity.clamp(-limit, limit);
        }
    }

    /// Position of a body's frame in m, as of the last evaluated stage of the integrator.
    fn body_position(&self, body: usize) -> [f64; 3] {
        self.data.xpos()[body]
    }

    /// Number of bodies, the world included.
    fn bodies(&self) -> usize {
        self.data.xpos().len()
    }

    /// Torque and force on each body by contacts, six numbers a body, the world's first. A plain step leaves them alone, so they are
    /// computed here.
    fn contact_forces(&mut self) -> &[f64] {
        self.data.rne_post_constraint();
        self.data.cfrc_ext().as_flattened()
    }

    fn check(&self) -> Result<(), EnvError> {
        let Some(kind) = self.data.warning().iter().position(|warning| warning.number > 0) else {
            return Ok(());
        };
        // The order of MuJoCo's `mjtWarning`.
        let names = [
            "the inertia matrix is nearly singular",
            "no memory is left for contacts",
            "no memory is left for constraints",
            "bad number in qpos",
            "bad number in qvel",
            "bad number in qacc",
            "bad number in ctrl",
        ];
        let name = names.get(kind).copied().unwrap_or("unknown warning");
        let warning = format!("{name} (index {})", self.data.warning()[kind].lastinfo);
        // The wrapper that counts steps fills in the number.
        Err(EnvError::Simulation { env: self.env.into(), step: 0, warning })
    }
}

/// `weight * sum(action^2)`, in the precision and the order of additions that NumPy uses: a float32 action gives a float32
/// cost, widened at the end.
pub(crate) fn control_cost(action: Action<'_>, weight: f64) -> f64 {
    match action {
        Action::F32(values) => f64::from(weight as f32 * sum_of_squares(values)),
        Action::F64(values) => weight * sum_of_squares(values),
        Action::Discrete(_) => unreachable!("actions are checked before the task sees them"),
    }
}

/// NumPy's sum of up to 128 squares: left to right below eight, else eight running sums joined as a tree, then the rest.
fn sum_of_squares<T: Copy + Default + Add<Output = T> + Mul<Output = T>>(values: &[T]) -> T {
    let mut chunks = values.chunks_exact(8);
    let mut sum = chunks.next().map(|first| {
        let mut sums: [T; 8] = std::array::from_fn(|i| first[i] * first[i]);
        for chunk in chunks.by_ref() {
            sums.iter_mut().zip(chunk).for_each(|(sum, &value)| *sum = *sum + value * value);
        }
        let [s0, s1, s2, s3, s4, s5, s6, s7] = sums;
        ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))
    });
    for &value in chunks.remainder() {
        sum = Some(sum.map_or(value * value, |sum| sum + value * value));
    }
    sum.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_summed_in_numpys_order() {
        // np.sum(np.square(a)) for float32 a = [0.1, 0.2, ...]: the order shows in the last bits.
        let values: Vec<f32> = (1..=11).map(|i| 0.1 * i as f32).collect();
        let squares: Vec<f32> = values.iter().map(|value| value * value).collect();
        assert_eq!(sum_of_squares(&values[..3]), (squares[0] + squares[1]) + squares[2]);
        let s = &squares;
        let tree = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
        assert_eq!(sum_of_squares(&values), ((tree + s[8]) + s[9]) + s[10]);
        assert_eq!(sum_of_squares::<f64>(&[]), 0.0);
    }

    #[test]
    fn the_cost_of_a_float32_action_is_a_float32() {
        let (narrow, wide) = ([0.1_f32, -1.7, 0.3], [f64::from(0.1_f32), f64::from(-1.7_f32), f64::from(0.3_f32)]);
        let cost = control_cost(Action::F32(&narrow), 1e-3);
        assert_eq!(cost, f64::from(cost as f32));
        let difference = (cost - control_cost(Action::F64(&wide), 1e-3)).abs();
        assert!(difference > 0.0 && difference < 1e-9, "{difference}");
    }

    #[test]
    fn a_model_that_does_not_compile_says_why() {
        static BROKEN: Model = Model::new("Broken-v0", "<mujoco><worldbody><geom/></worldbody></mujoco>", "broken.xml");
        let error = Simulation::new(&BROKEN, 1).err().expect("an error").to_string();
        assert!(error.starts_with("Broken-v0: cannot load its model: "), "{error}");
    }

    #[test]
    fn another_version_of_mujoco_is_refused() {
        check_version(mujoco_rs::mujoco_version()).unwrap();
        let error = check_version("2.3.7").unwrap_err();
        assert!(error.starts_with("the MuJoCo library is version 2.3.7, this build needs 3.17.0"), "{error}");
    }

    #[test]
    fn model_files_of_a_folder_are_used_and_wrong_ones_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, xml: &str| std::fs::write(folder.path().join(name), xml).unwrap();
        let load = |model: &Model| model.load(Some(folder.path()));
        let error = load(&hopper::MODEL).unwrap_err();
        assert!(error.contains("hopper.xml (from AAREN_GYMNASIUM_ASSETS): there is no such file"), "{error}");
        write("hopper.xml", "<mujoco><worldbody><geom/></worldbody></mujoco>");
        assert!(load(&hopper::MODEL).unwrap_err().contains("hopper.xml (from AAREN_GYMNASIUM_ASSETS): "));
        write("hopper.xml", include_str!("walker2d.xml"));
        let error = load(&hopper::MODEL).unwrap_err();
        assert!(
            error.contains("another robot: positions, velocities, motors, bodies are [9, 9, 6, 8], expected [6, 6, 3, 5]"),
            "{error}"
        );
        write("hopper.xml", &include_str!("hopper.xml").replace("0.195", "0.25"));
        let longer = load(&hopper::MODEL).unwrap();
        assert_ne!(longer.body_mass(), hopper::MODEL.load(None).unwrap().body_mass());
    }

    #[test]
    fn a_blow_up_is_an_error_and_leaves_no_log_file() {
        static BALL: Model = Model::new(
            "Ball-v0",
            "<mujoco><worldbody><body><freejoint/><geom size=\"1\"/></body></worldbody></mujoco>",
            "ball.xml",
        );
        let mut ball = Simulation::new(&BALL, 2).unwrap();
        ball.start(|_, qvel| qvel[4] = 1e12).unwrap();
        let error = ball.act(Action::F64(&[])).unwrap_err();
        assert_eq!(error.to_string(), "Ball-v0: the simulation diverged at step 0: bad number in qvel (index 4)");
        ball.start(|_, _| ()).unwrap();
        ball.act(Action::F64(&[])).unwrap();
        assert!(!std::path::Path::new("MUJOCO_LOG.TXT").exists());
    }
}
