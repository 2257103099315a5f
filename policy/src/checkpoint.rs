//! A policy on disk: `weights.safetensors` and `policy.json`. Needs nothing else to act.

use crate::{
    decision::{DecisionNetwork, DecisionPolicy, Description},
    error::PolicyError,
};
use burn_store::{ModuleSnapshot, SafetensorsStore};
use kernels::KernelBackend;
use std::{fs, path::Path};

/// Name of the weights' file.
pub const WEIGHTS: &str = "weights.safetensors";
/// Name of the description's file.
pub const DESCRIPTION: &str = "policy.json";

/// Writes a policy into a folder that exists.
///
/// # Errors
/// [`PolicyError::File`] or [`PolicyError::Weights`] if a file cannot be written.
pub fn save<B: KernelBackend>(policy: &DecisionPolicy<B>, folder: &Path) -> Result<(), PolicyError> {
    let path = folder.join(DESCRIPTION);
    let text = serde_json::to_string_pretty(&policy.description)
        .map_err(|source| PolicyError::Description { path: path.clone(), source })?;
    fs::write(&path, text + "\n").map_err(|source| PolicyError::File {
        path,
        action: "write the policy's description",
        source,
    })?;

    let path = folder.join(WEIGHTS);
    // Burn's own entries come in an order drawn by chance; the same weights shall be the same bytes.
    let mut store = SafetensorsStore::from_file(&path).overwrite(true).clear_metadata().metadata("producer", "aaren");
    policy
        .network
        .save_into(&mut store)
        .map_err(|error| PolicyError::Weights { path, problem: format!("cannot be written: {error}") })
}

/// Reads the description of a stored policy.
///
/// # Errors
/// [`PolicyError::File`] if it is missing, [`PolicyError::Description`] if it is not one.
pub fn load_description(folder: &Path) -> Result<Description, PolicyError> {
    let path = folder.join(DESCRIPTION);
    let text = fs::read_to_string(&path).map_err(|source| PolicyError::File {
        path: path.clone(),
        action: "read the policy's description",
        source,
    })?;
    let description: Description = serde_json::from_str(&text).map_err(|source| PolicyError::Description { path, source })?;
    description.check()?;
    Ok(description)
}

/// Reads a policy.
///
/// # Errors
/// As [`load_description`], and [`PolicyError::Weights`] if the weights are missing, damaged, or of another shape.
pub fn load<B: KernelBackend>(folder: &Path, device: &B::Device) -> Result<DecisionPolicy<B>, PolicyError> {
    let description = load_description(folder)?;
    let network = load_weights(DecisionNetwork::new(&description, 0, device)?, folder)?;
    Ok(DecisionPolicy { network, description })
}

/// Reads weights into a network of the same shape.
///
/// # Errors
/// [`PolicyError::Weights`].
pub fn load_weights<B: KernelBackend>(mut network: DecisionNetwork<B>, folder: &Path) -> Result<DecisionNetwork<B>, PolicyError> {
    let path = folder.join(WEIGHTS);
    let wrong = |problem: String| PolicyError::Weights { path: path.clone(), problem };
    if !path.is_file() {
        return Err(wrong("no such file".into()));
    }
    let mut store = SafetensorsStore::from_file(&path).allow_partial(true).validate(false);
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
