//! Decision Transformers that others have trained: their files become policies of ours, number for number.
//!
//! Three programs are read. All three predict an action at the token of an observation in the sequence (return-to-go, observation, action,
//! ...), which [`Tokens::Published`](crate::Tokens::Published) is to the token, and all three give actions in `[-1, 1]` by a tanh.
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
mod model;
mod pickle;

pub use model::Published;

use crate::error::PolicyError;
use file::Contents;
use map::Map;
use model::HfConfig;
use std::fs;
use std::path::Path;

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
