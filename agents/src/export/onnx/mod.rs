//! A policy's step as an ONNX graph: what it carries goes in and comes out, so that any runtime of ONNX plays it.
//!
//! Inputs are `observation`, `reset` and `state.NAME`, for a policy that is told a return also `reward` and `target_return`; outputs are
//! `action` and `next.NAME`. States begin with zeros, and with `reset` true at an episode's first step. Normalization and the bounds
//! of the actions are in the graph. The axis of rows is open: a batch of episodes is stepped at once.
//!
//! Source: the operators of ONNX, opset 17.

mod blocks;
mod graph;
mod proto;
mod step;

use std::path::Path;

use aaren_policy::AnyPolicy;
use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::source::Source;
use crate::device::Cpu;
use crate::run::write_output;
use graph::Graph;

/// Writes the graph of a policy.
///
/// # Errors
/// A mixer that has no graph, by its name; or a file that cannot be written.
pub fn write_onnx(source: &Source, window: Option<usize>, path: &Path) -> Result<()> {
    let context = || format!("the policy {} cannot become an ONNX graph", source.path.display());
    let bytes = model(&source.policy, window, source.target_return).with_context(context)?;
    write_output(path, &bytes)
}

/// The bytes of the file.
pub(super) fn model(policy: &AnyPolicy<Cpu>, window: Option<usize>, target_return: Option<f64>) -> Result<Vec<u8>> {
    let mut graph = Graph::new("step", policy.weights());
    let environment = policy.environment();
    let carried = match policy {
        AnyPolicy::Decision(policy) => step::decision(&mut graph, &policy.description, window)?,
        AnyPolicy::ActorCritic(policy) => step::actor_critic(&mut graph, &policy.description, window)?,
    };
    let doc = "One step of a policy. Give `observation` as the environment shows it, and what came out as `next.NAME` as `state.NAME`; begin \
               with zeros. `reset` is true at the first step of an episode. Give `action` to the environment.";
    let mut metadata = vec![
        ("aaren", env!("CARGO_PKG_VERSION").to_owned()),
        ("mixer", policy.mixer()),
        ("environment", environment["id"].as_str().unwrap_or_default().to_owned()),
        ("environment_options", environment.get("options").unwrap_or(&Value::Null).to_string()),
        ("action", json!(policy.action()).to_string()),
        ("states", json!(carried).to_string()),
    ];
    metadata.extend(window.map(|window| ("window", window.to_string())));
    metadata.extend(target_return.map(|target| ("target_return", target.to_string())));
    Ok(graph.finish(doc.into(), metadata))
}

#[cfg(test)]
#[path = "../../../tests/internal/onnx.rs"]
mod tests;
