//! Decision Transformers that others have trained: their files become policies of ours, number for number.
//!
//! Three programs are read. All three predict an action at the token of an observation in the sequence (return-to-go, observation, action,
//! ...), which [`Tokens::Published`] is to the token, and all three give actions in `[-1, 1]` by a tanh.
//!
//! | [`Program`] | blocks | what is done to the weights |
//! |---|---|---|
//! | `Hf`: `DecisionTransformerModel` of Hugging Face's transformers | pre-norm, a last norm; ReLU or GELU as its config says | one map for query, key and value is cut; the first position's embedding, which its `forward` adds to every token after the norm, goes into that norm's bias |
//! | `Corl`: `algorithms/offline/dt.py` of CORL | pre-norm, a last norm; exact GELU | dense layers are transposed, one map for query, key and value is cut |
//! | `MinDt`: min-decision-transformer | post-norm; exact GELU | dense layers are transposed |
//!
//! Files are safetensors, or what `torch.save` has written of tensors (`.pt`, `.bin`), which is read without running anything of it. What
//! cannot be mapped is refused by its name.
//!
//! Sources: Chen et al. 2021, arXiv:2106.01345; transformers 5.24.0 `modeling_decision_transformer.py`; CORL eeeeef2; min-decision-transformer.

mod file;
mod map;
mod pickle;

use crate::checkpoint::Weights;
use crate::config::{Activation, NormPlace, PolicyConfig, Tokens};
use crate::decision::DecisionNetwork;
use crate::description::Description;
use crate::error::PolicyError;
use aaren_kernels::KernelBackend;
use file::Contents;
use map::Map;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// What wrote a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Hugging Face's transformers: a folder with `config.json` and weights.
    Hf,
    /// CORL.
    Corl,
    /// min-decision-transformer.
    MinDt,
}

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
    path: PathBuf,
    /// Ours, by name.
    tensors: Vec<(String, Vec<usize>, Vec<f32>)>,
}

/// `config.json` of a `DecisionTransformerModel`; what it leaves out is the library's default.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct HfConfig {
    model_type: String,
    state_dim: usize,
    act_dim: usize,
    hidden_size: usize,
    max_ep_len: usize,
    action_tanh: bool,
    n_layer: usize,
    n_head: usize,
    n_inner: Option<usize>,
    activation_function: String,
    resid_pdrop: f64,
    layer_norm_epsilon: f64,
    scale_attn_weights: bool,
    scale_attn_by_inverse_layer_idx: bool,
    add_cross_attention: bool,
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
    fn activation(&self) -> Result<Activation, String> {
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
    /// Reads a model.
    ///
    /// - `path`: the file of weights; of [`Program::Hf`] also the folder with the weights and `config.json`
    /// - `heads`: attention heads, which the weights of [`Program::Corl`] and [`Program::MinDt`] do not say; both programs' default is 1
    ///
    /// # Errors
    /// [`PolicyError::File`]; [`PolicyError::Weights`] with the tensor or the key that cannot be mapped, what was found and what was
    /// expected; [`PolicyError::Size`] for sizes that do not fit each other.
    pub fn read(path: &Path, program: Program, heads: Option<usize>) -> Result<Self, PolicyError> {
        let published = match program {
            Program::Hf => hf(path, heads)?,
            Program::Corl => Map::new(Contents::read(path)?).corl(heads.unwrap_or(1))?,
            Program::MinDt => Map::new(Contents::read(path)?).min_dt(heads.unwrap_or(1))?,
        };
        published.config.check()?;
        Ok(published)
    }

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

/// The model of a folder, or of a file beside its `config.json`.
fn hf(path: &Path, heads: Option<usize>) -> Result<Published, PolicyError> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let wrong = |path: &Path, problem: String| PolicyError::Weights { path: path.into(), problem };
    let weights = if path.is_dir() {
        let names = ["model.safetensors", "pytorch_model.bin"];
        let found = names.iter().map(|name| path.join(name)).find(|path| path.is_file());
        found.ok_or_else(|| wrong(path, format!("there is neither {} nor {} in it", names[0], names[1])))?
    } else {
        path.into()
    };
    let of_config = folder.join("config.json");
    let text = fs::read_to_string(&of_config).map_err(|source| PolicyError::File {
        path: of_config.clone(),
        action: "read the model's config, which lies beside its weights",
        source,
    })?;
    let config: HfConfig =
        serde_json::from_str(&text).map_err(|error| wrong(&of_config, format!("not a model's config: {error}")))?;
    let activation = config.activation().map_err(|problem| wrong(&of_config, problem))?;
    if heads.is_some_and(|heads| heads != config.n_head) {
        return Err(wrong(&of_config, format!("n_head is {}, and other heads were asked for", config.n_head)));
    }
    Map::new(Contents::read(&weights)?).hf(&config, activation)
}

/// What the three programs have in common, with the sizes still to be found.
fn base(activation: Activation, norm: NormPlace) -> PolicyConfig {
    PolicyConfig { mixer: "transformer".into(), tokens: Tokens::Published, activation, norm, ..PolicyConfig::default() }
}
