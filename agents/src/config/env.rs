//! A task, and what computes.

use std::fmt;

use aaren_envs::Env;
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A task and its options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvConfig {
    /// Registered name with version, or `gymnasium:` and the name of an environment of Gymnasium; `aaren envs` lists them.
    pub id: String,
    /// Options of the task by name, checked by the task itself. Default: none.
    #[serde(default)]
    pub options: Map<String, Value>,
}

impl EnvConfig {
    /// The task's name without its version, in small letters: `hopper`.
    pub(crate) fn robot(&self) -> String {
        let name = self.id.rsplit(':').next().unwrap_or_default(); // without `gymnasium:`
        name.rsplit_once("-v").map_or(name, |(name, _)| name).to_lowercase()
    }

    /// Makes the task.
    ///
    /// # Errors
    /// If it is unknown to this build, or does not take its options.
    pub fn make(&self) -> Result<Box<dyn Env>> {
        aaren_envs::make(&self.id, &self.options).context("env")
    }
}

/// Where tensors live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// The processor; always there.
    #[default]
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
    /// Any GPU with a Vulkan driver.
    Vulkan,
}

impl Device {
    /// Whether the build has a backend for the device, be it there or not.
    pub(crate) fn is_built_in(self) -> bool {
        match self {
            Device::Cpu => true,
            Device::Cuda => cfg!(feature = "cuda"),
            Device::Vulkan => cfg!(feature = "vulkan"),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
