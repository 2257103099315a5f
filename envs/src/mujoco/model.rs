//! The model of a task, compiled once for all environments of a process.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Once, OnceLock};

use mujoco_rs::error::MjDataError;
use mujoco_rs::logging::set_log_handler;
use mujoco_rs::prelude::{MjLogMessage, MjModel, MjtLogLevel};

use crate::error::EnvError;

/// A folder with Gymnasium's own model files, to be used instead of ours.
const ASSETS: &str = "AAREN_GYMNASIUM_ASSETS";

/// The version of the MuJoCo library that the bindings and the models are for.
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
pub(super) struct Model {
    /// Registered name of its task.
    pub(super) env: &'static str,
    /// Steps of the simulator in one step of the environment.
    pub(super) frame_skip: usize,
    source: Source,
    adjust: Option<Adjust>,
    compiled: OnceLock<Result<Arc<MjModel>, String>>,
}

impl Model {
    pub(super) const fn new(env: &'static str, frame_skip: usize, xml: &'static str, file: &'static str) -> Self {
        Self { env, frame_skip, source: Source::Text { xml, file }, adjust: None, compiled: OnceLock::new() }
    }

    /// A model whose XML a function writes.
    pub(super) const fn generated(env: &'static str, frame_skip: usize, write: fn() -> String) -> Self {
        Self { env, frame_skip, source: Source::Generated(write), adjust: None, compiled: OnceLock::new() }
    }

    /// The same model, changed by a function after compilation.
    pub(super) const fn adjusted(mut self, adjust: Adjust) -> Self {
        self.adjust = Some(adjust);
        self
    }

    /// The compiled model: ours, or the one in the folder that the variable `AAREN_GYMNASIUM_ASSETS` names.
    ///
    /// # Errors
    /// [`EnvError::Model`] for an XML that MuJoCo refuses, a model of another robot, or a MuJoCo of another version.
    pub(super) fn get(&self) -> Result<Arc<MjModel>, EnvError> {
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

/// Sends MuJoCo's messages to `tracing`. Its own handler would write a file `MUJOCO_LOG.TXT` into the current directory.
fn log_through_tracing() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Information (how long a model took to compile, say) is nothing a user has to act on.
        let handler = |message: &MjLogMessage| match message.level() {
            // MuJoCo ends the process after this.
            MjtLogLevel::mjLOG_ERROR => {
                let advice = if message.subject().contains("memory") { "; ask for fewer environments or actors" } else { "" };
                // A closed stderr must not turn the error into a panic.
                let _ = writeln!(std::io::stderr(), "error: MuJoCo cannot go on: {}{advice}", message.subject());
            }
            MjtLogLevel::mjLOG_WARNING => tracing::warn!(target: "mujoco", "{}", message.subject()),
            _ => tracing::debug!(target: "mujoco", "{}", message.subject()),
        };
        // SAFETY: no other thread may use MuJoCo meanwhile. Every model of this crate is loaded after this call returned, in
        // this thread or in one that waits for it, and without a model there is nothing to use.
        unsafe { set_log_handler(handler) };
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mujoco::{hopper, simulation::Simulation};

    #[test]
    fn a_model_that_does_not_compile_says_why() {
        static BROKEN: Model = Model::new("Broken-v0", 1, "<mujoco><worldbody><geom/></worldbody></mujoco>", "broken.xml");
        let error = Simulation::new(&BROKEN).err().expect("an error").to_string();
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
}
