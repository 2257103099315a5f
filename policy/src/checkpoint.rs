//! A policy on disk: `weights.safetensors` and `policy.json`, which are all that acting needs.
//!
//! ```
//! use burn::backend::Flex;
//! use aaren_policy::{ActionSpec, DecisionNetwork, DecisionPolicy, Description, Normalizer, PolicyConfig, checkpoint};
//!
//! let description = Description {
//!     format: Description::FORMAT,
//!     config: PolicyConfig { width: 8, feed_forward: 16, ..Default::default() },
//!     normalizer: Normalizer::identity(3),
//!     action: ActionSpec::Discrete { n: 2, start: 0 },
//!     environment: serde_json::Value::Null,
//! };
//! let network = DecisionNetwork::<Flex>::new(&description, 1, &Default::default())?;
//! let folder = tempfile::tempdir().expect("a folder to write to");
//! checkpoint::save(&DecisionPolicy { network, description }, folder.path())?;
//! let policy = checkpoint::load_any::<Flex>(folder.path(), &Default::default())?;
//! assert_eq!((policy.mixer(), policy.observation_width()), ("aaren".to_owned(), 3));
//! # Ok::<(), aaren_policy::PolicyError>(())
//! ```

use crate::actor_critic::{ActorCriticNetwork, ActorCriticPolicy};
use crate::any::{AnyDescription, AnyPolicy};
use crate::config::{MOST_LAYERS, PolicyConfig};
use crate::decision::{DecisionNetwork, DecisionPolicy};
use crate::description::Description;
use crate::error::PolicyError;
use crate::model::Model;
use crate::sequence::{SequenceNetwork, SequencePolicy};
use aaren_kernels::KernelBackend;
use burn::tensor::backend::Backend;
use burn_store::{ModuleSnapshot, SafetensorsStore};
use safetensors::{Dtype, SafeTensors};
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

/// Name of the weights' file.
pub const WEIGHTS: &str = "weights.safetensors";
/// Name of the description's file.
pub const DESCRIPTION: &str = "policy.json";
/// Bytes of a description, at most.
const LONGEST_DESCRIPTION: u64 = 1 << 28;

/// Writes a policy of any kind into a folder that exists.
///
/// # Errors
/// [`PolicyError::File`] or [`PolicyError::Weights`] if a file cannot be written.
pub fn save<B: KernelBackend>(policy: &impl Saved<B>, folder: &Path) -> Result<(), PolicyError> {
    policy.save(folder)
}

/// A policy that can be written.
pub trait Saved<B: Backend> {
    /// As [`save`].
    ///
    /// # Errors
    /// As [`save`].
    fn save(&self, folder: &Path) -> Result<(), PolicyError>;
}

impl<B: KernelBackend> Saved<B> for DecisionPolicy<B> {
    fn save(&self, folder: &Path) -> Result<(), PolicyError> {
        write(&AnyDescription::Decision(self.description.clone()), &self.network, folder)
    }
}

impl<B: KernelBackend> Saved<B> for ActorCriticPolicy<B> {
    fn save(&self, folder: &Path) -> Result<(), PolicyError> {
        write(&AnyDescription::ActorCritic(self.description.clone()), &self.network, folder)
    }
}

impl<B: KernelBackend> Saved<B> for Model<B> {
    fn save(&self, folder: &Path) -> Result<(), PolicyError> {
        match self {
            Model::Policy(AnyPolicy::Decision(policy)) => policy.save(folder),
            Model::Policy(AnyPolicy::ActorCritic(policy)) => policy.save(folder),
            Model::Sequence(policy) => write(&AnyDescription::Sequence(policy.description.clone()), &policy.network, folder),
        }
    }
}

fn write<B: Backend>(description: &AnyDescription, network: &impl ModuleSnapshot<B>, folder: &Path) -> Result<(), PolicyError> {
    let path = folder.join(DESCRIPTION);
    let text =
        serde_json::to_string_pretty(description).map_err(|source| PolicyError::Description { path: path.clone(), source })?;
    fs::write(&path, text + "\n").map_err(|source| PolicyError::File {
        path,
        action: "write the policy's description",
        source,
    })?;

    let path = folder.join(WEIGHTS);
    // Burn's own entries come in an order drawn by chance; the same weights should be the same bytes.
    let mut store = SafetensorsStore::from_file(&path).overwrite(true).clear_metadata().metadata("producer", "aaren");
    let unwritten = |error| PolicyError::Weights { path, problem: format!("cannot be written: {error}") };
    network.save_into(&mut store).map_err(unwritten)
}

/// Reads the description of a stored policy of any kind.
///
/// # Errors
/// [`PolicyError::File`] if it is missing, [`PolicyError::Description`] if it is not one.
pub fn load_any_description(folder: &Path) -> Result<AnyDescription, PolicyError> {
    let path = folder.join(DESCRIPTION);
    let file = |source| PolicyError::File { path: path.clone(), action: "read the policy's description", source };
    // Devices and pipes may have no end.
    let found = fs::metadata(&path).map_err(file)?;
    if !found.is_file() || found.len() > LONGEST_DESCRIPTION {
        let problem = format!("expected a regular file of at most {} MiB", LONGEST_DESCRIPTION >> 20);
        return Err(file(Error::new(ErrorKind::InvalidInput, problem)));
    }
    let text = fs::read_to_string(&path).map_err(file)?;
    let wrong = |source| PolicyError::Description { path: path.clone(), source };
    let mut json: serde_json::Value = serde_json::from_str(&text).map_err(wrong)?;
    // The first checkpoints had one kind of policy and did not name it.
    if let Some(fields) = json.as_object_mut() {
        fields.entry("kind").or_insert("decision".into());
    }
    for place in ["/config", "/network/recurrent"] {
        json.pointer_mut(place).into_iter().for_each(say_older_options);
    }
    let description = serde_json::from_value(json).map_err(wrong)?;
    match &description {
        AnyDescription::Decision(description) => description.check()?,
        AnyDescription::ActorCritic(description) => description.check()?,
        AnyDescription::Sequence(description) => description.check()?,
    }
    Ok(description)
}

/// Says in the config of a stored model, as JSON, the options of its mixers that are newer than it, with the values that it was trained
/// with: their defaults are others. What the config says stays.
pub fn say_older_options(config: &mut serde_json::Value) {
    /// The stack that the option is about, or any; the mixer; the option, and what it was.
    const OLDER: [(Option<&str>, &str, &str, bool); 4] = [
        (None, "monarch", "residual", false),
        (None, "perceiver", "residual", false),
        (None, "window", "rotary", false),
        (Some("striped-hyena"), "transformer", "rotary", false),
    ];
    let Some(config) = config.as_object_mut().filter(|config| config.contains_key("mixer")) else { return };
    let Ok(blocks) = blocks(config) else { return };
    let stack = config["mixer"].clone();
    let is_meant = |(of_stack, mixer, ..): &(Option<&str>, &str, &str, bool)| {
        blocks.contains(mixer) && of_stack.is_none_or(|of_stack| stack == of_stack)
    };
    for (_, mixer, key, value) in OLDER.into_iter().filter(is_meant) {
        let mut section = Some(&mut *config);
        for name in ["options", mixer] {
            section = section.and_then(|section| section.entry(name).or_insert_with(|| serde_json::json!({})).as_object_mut());
        }
        if let Some(section) = section {
            section.entry(key).or_insert_with(|| value.into());
        }
    }
    // The first Monarch mixers were between dense layers; a job with one has others since.
    config.entry("feed_forward_kind").or_insert_with(|| "dense".into());
}

/// The mixers of the blocks that a stored config has, however much else of it cannot be read.
fn blocks(config: &serde_json::Map<String, serde_json::Value>) -> Result<Vec<&'static str>, PolicyError> {
    let name = |name: &serde_json::Value| name.as_str().unwrap_or_default().to_owned();
    let mut blocks = PolicyConfig { mixer: name(&config["mixer"]), ..PolicyConfig::default() };
    blocks.mixers = config.get("mixers").and_then(|names| names.as_array()).into_iter().flatten().map(name).collect();
    blocks.layers =
        config.get("layers").and_then(|layers| layers.as_u64()).map_or(blocks.layers, |layers| MOST_LAYERS.min(layers as usize));
    blocks.mixer_of_blocks()
}

/// Reads the description of a stored decision policy.
///
/// # Errors
/// As [`load_any_description`], and [`PolicyError::Kind`] for another kind of policy.
pub fn load_description(folder: &Path) -> Result<Description, PolicyError> {
    match load_any_description(folder)? {
        AnyDescription::Decision(description) => Ok(description),
        AnyDescription::ActorCritic(_) => {
            Err(PolicyError::Kind { path: folder.into(), found: "an actor-critic", expected: "a decision policy" })
        }
        AnyDescription::Sequence(_) => {
            Err(PolicyError::Kind { path: folder.into(), found: "a model of sequences", expected: "a decision policy" })
        }
    }
}

/// Reads a policy of any kind.
///
/// # Errors
/// As [`load_model`], and [`PolicyError::Kind`] for a model of sequences, which does not act.
pub fn load_any<B: KernelBackend>(folder: &Path, device: &B::Device) -> Result<AnyPolicy<B>, PolicyError> {
    match load_model(folder, device)? {
        Model::Policy(policy) => Ok(policy),
        Model::Sequence(_) => {
            Err(PolicyError::Kind { path: folder.into(), found: "a model of sequences", expected: "a policy that acts" })
        }
    }
}

/// Reads whatever a checkpoint holds.
///
/// # Errors
/// As [`load_any_description`], and [`PolicyError::Weights`] if the weights are missing, damaged, or of another shape.
pub fn load_model<B: KernelBackend>(folder: &Path, device: &B::Device) -> Result<Model<B>, PolicyError> {
    Ok(match load_any_description(folder)? {
        AnyDescription::Decision(description) => {
            let weights = Weights::read(folder)?.hold(description.least_numbers())?;
            let network = weights.load(DecisionNetwork::new(&description, 0, device)?)?;
            Model::Policy(DecisionPolicy { network, description }.into())
        }
        AnyDescription::ActorCritic(description) => {
            let weights = Weights::read(folder)?.hold(description.least_numbers())?;
            let network = weights.load(ActorCriticNetwork::new(&description, 0.0, 0, device)?)?;
            Model::Policy(ActorCriticPolicy { network, description }.into())
        }
        AnyDescription::Sequence(description) => {
            let weights = Weights::read(folder)?.hold(description.least_numbers())?;
            let network = weights.load(SequenceNetwork::new(&description, 0, device)?)?;
            Model::Sequence(SequencePolicy { network, description })
        }
    })
}

/// Reads a decision policy.
///
/// # Errors
/// As [`load_description`], and [`PolicyError::Weights`] if the weights are missing, damaged, or of another shape.
pub fn load<B: KernelBackend>(folder: &Path, device: &B::Device) -> Result<DecisionPolicy<B>, PolicyError> {
    let description = load_description(folder)?;
    let weights = Weights::read(folder)?.hold(description.least_numbers())?;
    let network = weights.load(DecisionNetwork::new(&description, 0, device)?)?;
    Ok(DecisionPolicy { network, description })
}

/// Reads weights into a network of the same shape.
///
/// # Errors
/// [`PolicyError::Weights`].
pub fn load_weights<B: Backend, M: ModuleSnapshot<B>>(network: M, folder: &Path) -> Result<M, PolicyError> {
    Weights::read(folder)?.load(network)
}

/// A file of weights whose header has been looked at: nothing of it reaches a network that a network cannot hold.
pub(crate) struct Weights {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Numbers in it.
    numbers: u128,
}

impl Weights {
    fn read(folder: &Path) -> Result<Self, PolicyError> {
        let path = folder.join(WEIGHTS);
        let wrong = |problem: String| PolicyError::Weights { path: path.clone(), problem };
        if !path.is_file() {
            return Err(wrong("no such file".into()));
        }
        let read = |source| PolicyError::File { path: path.clone(), action: "read the weights", source };
        let bytes = fs::read(&path).map_err(read)?;
        Self::new(path, bytes)
    }

    /// Of the bytes of a file.
    pub(crate) fn new(path: PathBuf, bytes: Vec<u8>) -> Result<Self, PolicyError> {
        let wrong = |problem: String| PolicyError::Weights { path: path.clone(), problem };
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| wrong(format!("not a file of weights: {error}")))?;
        let mut numbers = 0;
        for (name, tensor) in tensors.iter() {
            if tensor.dtype() != Dtype::F32 {
                let found = tensor.dtype();
                return Err(wrong(format!(
                    "\"{name}\" is stored as {found:?}, expected F32; store the weights in single precision, as `aaren export` does"
                )));
            }
            numbers += tensor.data().len() as u128 / 4;
        }
        Ok(Self { path, bytes, numbers })
    }

    /// Refuses to go on to build a network that is larger than the weights, which would be the description's fault.
    fn hold(self, least: u128) -> Result<Self, PolicyError> {
        if self.numbers >= least {
            return Ok(self);
        }
        let problem = format!(
            "weights of another policy: they are {} numbers, and a policy of the sizes in {DESCRIPTION} has at least {least}",
            self.numbers
        );
        Err(PolicyError::Weights { path: self.path, problem })
    }

    pub(crate) fn load<B: Backend, M: ModuleSnapshot<B>>(self, mut network: M) -> Result<M, PolicyError> {
        let Self { path, bytes, .. } = self;
        let wrong = |problem: String| PolicyError::Weights { path: path.clone(), problem };
        let mut store = SafetensorsStore::from_bytes(Some(bytes)).allow_partial(true).validate(false);
        let result = network.load_from(&mut store).map_err(|error| wrong(format!("not a file of weights: {error}")))?;
        let first_of = |names: &[String]| names.first().cloned().unwrap_or_default();
        if let Some(error) = result.errors.first() {
            return Err(wrong(format!("weights of another policy: {error}")));
        }
        if !result.missing.is_empty() {
            let names: Vec<String> = result.missing.iter().map(|(name, _)| name.clone()).collect();
            return Err(wrong(format!("{} tensors are missing, the first is \"{}\"", names.len(), first_of(&names))));
        }
        if !result.unused.is_empty() {
            return Err(wrong(format!(
                "{} tensors have no place in the policy, the first is \"{}\"",
                result.unused.len(),
                first_of(&result.unused)
            )));
        }
        Ok(network)
    }
}
