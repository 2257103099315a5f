//! A published model on its way to a policy, and what its config says.

use crate::checkpoint::Weights;
use crate::config::{Activation, NormPlace, PolicyConfig, Tokens};
use crate::decision::DecisionNetwork;
use crate::description::Description;
use crate::error::PolicyError;
use aaren_kernels::KernelBackend;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use std::path::PathBuf;

/// A model as it was published.
///
/// ```no_run
/// use aaren_policy::published::{Program, Published};
///
/// let model = Published::read("decision-transformer-gym-hopper-medium".as_ref(), Program::Hf, None)?;
/// println!("{} numbers of an observation, {} of an action", model.observation_width, model.action_width);
/// # Ok::<(), aaren_policy::PolicyError>(())
/// ```
#[derive(Debug)]
pub struct Published {
    /// Sizes and parts. The return scale is not in any file.
    pub config: PolicyConfig,
    /// Numbers in an observation.
    pub observation_width: usize,
    /// Numbers in an action.
    pub action_width: usize,
    /// Timesteps that it was trained on at once, where the file has a causal mask that tells.
    pub context_length: Option<usize>,
    /// Mean and what is divided by, of every component of an observation, where the file has them.
    pub statistics: Option<(Vec<f64>, Vec<f64>)>,
    /// Tensors of the file that acting does not need.
    pub left_out: Vec<String>,
    pub(super) path: PathBuf,
    /// Ours, by name.
    pub(super) tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

/// `config.json` of a `DecisionTransformerModel`; what it leaves out is the library's default.
#[derive(Debug, Deserialize)]
#[serde(default)]
pub(super) struct HfConfig {
    pub(super) model_type: String,
    pub(super) state_dim: usize,
    pub(super) act_dim: usize,
    pub(super) hidden_size: usize,
    pub(super) max_ep_len: usize,
    pub(super) action_tanh: bool,
    pub(super) n_layer: usize,
    pub(super) n_head: usize,
    pub(super) n_inner: Option<usize>,
    pub(super) activation_function: String,
    pub(super) resid_pdrop: f64,
    pub(super) layer_norm_epsilon: f64,
    pub(super) scale_attn_weights: bool,
    pub(super) scale_attn_by_inverse_layer_idx: bool,
    pub(super) add_cross_attention: bool,
}

impl Default for HfConfig {
    fn default() -> Self {
        Self {
            model_type: "decision_transformer".into(),
            state_dim: 17,
            act_dim: 4,
            hidden_size: 128,
            max_ep_len: 4096,
            action_tanh: true,
            n_layer: 3,
            n_head: 1,
            n_inner: None,
            activation_function: "relu".into(),
            resid_pdrop: 0.1,
            layer_norm_epsilon: 1e-5,
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            add_cross_attention: false,
        }
    }
}

impl HfConfig {
    /// The non-linearity.
    ///
    /// # Errors
    /// What the blocks cannot do, by its key.
    pub(super) fn activation(&self) -> Result<Activation, String> {
        let wrong =
            |key: &str, found: &dyn std::fmt::Display, expected: &str| Err(format!("{key} is {found}, expected {expected}"));
        if self.model_type != "decision_transformer" {
            return wrong("model_type", &self.model_type, "\"decision_transformer\"");
        }
        if !self.action_tanh {
            return wrong("action_tanh", &false, "true: actions come out of a tanh here");
        }
        // What JSON's 1e-05 is to the bit, however it was written.
        if (self.layer_norm_epsilon - 1e-5).abs() > 1e-12 {
            return wrong("layer_norm_epsilon", &self.layer_norm_epsilon, "1e-5");
        }
        if !self.scale_attn_weights {
            return wrong("scale_attn_weights", &false, "true");
        }
        if self.scale_attn_by_inverse_layer_idx {
            return wrong("scale_attn_by_inverse_layer_idx", &true, "false");
        }
        if self.add_cross_attention {
            return wrong("add_cross_attention", &true, "false");
        }
        match &*self.activation_function {
            "relu" => Ok(Activation::Relu),
            "gelu" => Ok(Activation::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
            other => wrong("activation_function", &format!("\"{other}\""), "\"relu\", \"gelu\" or \"gelu_new\""),
        }
    }
}

impl Published {
    /// The network.
    ///
    /// # Errors
    /// If the description is not of the model's sizes.
    pub fn network<B: KernelBackend>(
        &self,
        description: &Description,
        device: &B::Device,
    ) -> Result<DecisionNetwork<B>, PolicyError> {
        let wrong = |error: &dyn std::fmt::Display| PolicyError::Weights { path: self.path.clone(), problem: error.to_string() };
        let bytes: Vec<Vec<u8>> =
            self.tensors.iter().map(|(.., numbers)| numbers.iter().flat_map(|number| number.to_le_bytes()).collect()).collect();
        let views = self.tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.clone(), view)).map_err(|error| wrong(&error))
        });
        let views = views.collect::<Result<Vec<_>, _>>()?;
        let bytes = safetensors::serialize(views, None).map_err(|error| wrong(&error))?;
        Weights::new(self.path.clone(), bytes)?.load(DecisionNetwork::new(description, 0, device)?)
    }
}

/// What the three programs have in common, with the sizes still to be found.
pub(super) fn base(activation: Activation, norm: NormPlace) -> PolicyConfig {
    PolicyConfig { mixer: "transformer".into(), tokens: Tokens::Published, activation, norm, ..PolicyConfig::default() }
}
