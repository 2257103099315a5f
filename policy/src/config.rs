//! What a policy is built from: the sizes and the names of its parts.

use crate::error::PolicyError;
use crate::init::Initialization;
use crate::mixer;
use crate::mixer::{Options, Sizes};
use serde::{Deserialize, Serialize};

/// How the three parts of a timestep become tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tokens {
    /// Three tokens a timestep: previous action, return-to-go, observation.
    #[default]
    Separate,
    /// One token a timestep: the sum of the three embeddings.
    Merged,
    /// As `merged`, and each of the three is normed before it is added: a large return-to-go does not drown the observation.
    Normed,
    /// One token a timestep: the observation alone. No previous action, no return-to-go and no timestep embedding either, which
    /// would be a clock: the policy imitates what it sees (behaviour cloning), and looks back only through its mixer.
    Observation,
    /// The published Decision Transformer's three: return-to-go, observation, action, of which the action comes as the first token of
    /// the timestep after it, with its own timestep's embedding. Nothing stands for the action before an episode's first timestep:
    /// the sequence begins with a return-to-go. For imported weights.
    Published,
}

impl Tokens {
    /// Tokens that one timestep takes.
    pub fn per_timestep(self) -> usize {
        match self {
            Tokens::Separate | Tokens::Published => 3,
            Tokens::Merged | Tokens::Normed | Tokens::Observation => 1,
        }
    }

    /// Which token of a timestep is the first that is kept where the timestep begins a sequence.
    pub(crate) fn first_of_sequence(self) -> usize {
        match self {
            // The return-to-go; the action before it belongs to what is forgotten.
            Tokens::Published => 1,
            Tokens::Separate | Tokens::Merged | Tokens::Normed | Tokens::Observation => 0,
        }
    }

    /// Whether the policy is told which return to reach.
    pub fn has_return_to_go(self) -> bool {
        self != Tokens::Observation
    }
}

/// The non-linearity of the feed-forward half of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// `max(x, 0)`, as the Decision Transformer's locomotion runs use.
    #[default]
    Relu,
    /// Exact GELU.
    Gelu,
    /// GELU in the form with tanh, as GPT-2's code has it.
    #[serde(rename = "gelu_tanh")]
    GeluTanh,
}

/// Where a block normalizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NormPlace {
    /// Before each half, `x + half(norm(x))`, and once more after the last block: GPT-2's.
    #[default]
    Pre,
    /// After each half, `norm(x + half(x))`, and not after the last block: the first Transformer's.
    Post,
}

/// The layers of the feed-forward half of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FeedForwardKind {
    /// Two dense layers with the activation between.
    #[default]
    Dense,
    /// Monarch Mixer's: block-diagonal layers in 4 blocks, gated with an exact GELU whatever the activation.
    Monarch,
}

/// Blocks of a block-diagonal feed-forward layer.
pub const FEED_FORWARD_BLOCKS: usize = 4;

/// Sizes and parts of a policy. Defaults are the Decision Transformer's for locomotion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyConfig {
    /// Name of the sequence mixer of every block, or of a stack of several in turn; `aaren mixers` lists them.
    pub mixer: String,
    /// In place of `mixer`: the mixers of the blocks in order, as often in a row as `layers` has room for, which is a multiple of
    /// their number. Empty: `mixer` says it.
    pub mixers: Vec<String>,
    /// Options that single mixers have.
    pub options: Options,
    /// Residual blocks.
    pub layers: usize,
    /// Width of the residual stream (`d_model`), a multiple of `heads`.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub feed_forward: usize,
    /// Dense or block-diagonal. Default: as published, so block-diagonal in a job whose `policy.mixer` is `"monarch"`, where 4 blocks
    /// divide the widths, and dense elsewhere.
    pub feed_forward_kind: FeedForwardKind,
    /// Non-linearity of the feed-forward layer.
    pub activation: Activation,
    /// Whether a block normalizes before its halves or after them.
    pub norm: NormPlace,
    /// How large the weights of attention are before training: by the number of their inputs, or small as published.
    pub init: Initialization,
    /// Probability of dropping an element of a residual branch's output while training; in `[0, 1)`.
    pub dropout: f64,
    /// Probability of dropping an attention weight. Default (null): that of `dropout`. What has no weights of attention has none to drop.
    pub attention_dropout: Option<f64>,
    /// Probability of dropping an element of what the first block sees. Default (null): that of `dropout`.
    pub embedding_dropout: Option<f64>,
    /// Three tokens a timestep, or one, or the observation alone; or the published three.
    pub tokens: Tokens,
    /// Entries of the learned timestep embedding; later timesteps share the last entry. 0 leaves the embedding out,
    /// as [`Tokens::Observation`] does.
    pub max_timesteps: usize,
    /// Returns-to-go are divided by this before they are embedded, in units of reward. Default (null): the largest absolute
    /// return-to-go in the data that is trained on.
    pub return_scale: Option<f64>,
    /// The least and the largest return-to-go that the policy is told, in units of reward; others are taken for the nearer of the two,
    /// because nothing was learnt beyond. Default (null): those in the data that is trained on. Policies that were trained before there was
    /// this key are told every return.
    pub return_range: Option<[f64; 2]>,
}

/// No policy comes near these; a damaged file may say anything.
pub(crate) const MOST_LAYERS: usize = 1 << 16;
pub(crate) const MOST_SIZE: usize = 1 << 32;

/// What `mixer` is unless a config says otherwise.
const DEFAULT_MIXER: &str = "aaren";

impl PolicyConfig {
    /// The name of every block's mixer, in order.
    ///
    /// # Errors
    /// [`PolicyError::UnknownMixer`], or [`PolicyError::Size`] if `mixers` does not fit `layers` or `mixer` is given as well.
    pub fn mixer_of_blocks(&self) -> Result<Vec<&'static str>, PolicyError> {
        let wrong = |problem: String| Err(PolicyError::Size { key: "mixers", problem });
        let named = if self.mixers.is_empty() {
            mixer::resolve(&self.mixer)?
        } else if self.mixer != DEFAULT_MIXER {
            return wrong(format!("given besides policy.mixer, which is \"{}\"; expected one of the two", self.mixer));
        } else if !self.layers.is_multiple_of(self.mixers.len()) {
            let (found, layers) = (self.mixers.len(), self.layers);
            return wrong(format!("{found} mixers, expected a number that divides policy.layers, which is {layers}"));
        } else {
            let named = self.mixers.iter().map(|name| mixer::resolve(name)).collect::<Result<Vec<_>, _>>()?;
            if let Some(at) = named.iter().position(|mixers| mixers.len() != 1) {
                return wrong(format!("\"{}\" is a stack, expected single mixers", self.mixers[at]));
            }
            named.concat()
        };
        Ok(named.iter().copied().cycle().take(self.layers).collect())
    }

    /// What a mixer is told of the sizes.
    pub fn sizes(&self) -> Sizes {
        Sizes { width: self.width, heads: self.heads, layers: self.layers }
    }

    /// What the mixer is called in reports: a mixer, a stack, or the mixers of a list joined by `+`.
    pub fn mixer_name(&self) -> String {
        if self.mixers.is_empty() { self.mixer.clone() } else { self.mixers.join("+") }
    }

    /// At least so many numbers are in the blocks of a policy of these sizes: what it costs, before anything is allocated. The large
    /// matrices are counted; biases and norms are not. Saturates.
    ///
    /// # Errors
    /// As [`PolicyConfig::mixer_of_blocks`].
    pub fn least_numbers_of_blocks(&self) -> Result<u128, PolicyError> {
        let (width, inner) = (self.width as u128, self.feed_forward as u128);
        let feed_forward = match self.feed_forward_kind {
            FeedForwardKind::Dense => 2 * width * inner,
            FeedForwardKind::Monarch => 3 * width * inner / FEED_FORWARD_BLOCKS as u128,
        };
        let mixers = self.mixer_of_blocks()?.into_iter();
        Ok(mixers.fold(0, |sum: u128, mixer| {
            sum.saturating_add(feed_forward).saturating_add(self.options.least_numbers(mixer, self.sizes()))
        }))
    }

    /// Whether the sizes fit each other and the mixers that are named, before anything is allocated.
    ///
    /// # Errors
    /// [`PolicyError::Size`] or [`PolicyError::UnknownMixer`].
    pub fn check(&self) -> Result<(), PolicyError> {
        let &Self { layers, width, heads, feed_forward, dropout, return_scale, .. } = self;
        let wrong = |key, problem: String| Err(PolicyError::Size { key, problem });
        if layers == 0 {
            return wrong("layers", "0, expected at least 1".into());
        }
        if layers > MOST_LAYERS {
            return wrong("layers", format!("{layers}, expected at most {MOST_LAYERS}"));
        }
        // Products of any three are then numbers that a u128 can count.
        if let Some((key, size)) = [("width", width), ("feed_forward", feed_forward), ("max_timesteps", self.max_timesteps)]
            .into_iter()
            .find(|&(_, size)| size > MOST_SIZE)
        {
            return wrong(key, format!("{size}, expected at most {MOST_SIZE}"));
        }
        if width == 0 || heads == 0 || !width.is_multiple_of(heads) {
            return wrong("heads", format!("{heads} heads do not divide a width of {width}"));
        }
        if feed_forward == 0 {
            return wrong("feed_forward", "0, expected at least 1".into());
        }
        let blocks = FEED_FORWARD_BLOCKS;
        let fits = width.is_multiple_of(blocks) && feed_forward.is_multiple_of(blocks);
        if self.feed_forward_kind == FeedForwardKind::Monarch && !fits {
            let problem = format!("{blocks} blocks do not divide a width of {width} and a feed-forward width of {feed_forward}");
            return wrong("feed_forward_kind", problem);
        }
        if !(0.0..1.0).contains(&dropout) {
            return wrong("dropout", format!("{dropout}, expected a probability in [0, 1)"));
        }
        for (key, given) in [("attention_dropout", self.attention_dropout), ("embedding_dropout", self.embedding_dropout)] {
            match given {
                Some(given) if !(0.0..1.0).contains(&given) => {
                    return wrong(key, format!("{given}, expected a probability in [0, 1)"));
                }
                Some(given) if given > 0.0 && dropout == 0.0 => {
                    return wrong(
                        key,
                        format!("{given} with a dropout of 0, which turns all of it off; expected a dropout above 0"),
                    );
                }
                _ => {}
            }
        }
        if let Some(return_scale) = return_scale.filter(|scale| !(scale.is_finite() && *scale > 0.0)) {
            return wrong("return_scale", format!("{return_scale}, expected a positive number"));
        }
        if let Some([least, largest]) = self.return_range.filter(|[least, largest]| !(least <= largest && largest.is_finite())) {
            return wrong("return_range", format!("[{least}, {largest}], expected two numbers, the smaller one first"));
        }
        self.options.check(&self.mixer_of_blocks()?)
    }
}

impl Default for PolicyConfig {
    fn default() -> Self {
        Self {
            mixer: DEFAULT_MIXER.into(),
            mixers: Vec::new(),
            options: Options::default(),
            layers: 3,
            width: 128,
            heads: 1,
            feed_forward: 512,
            feed_forward_kind: FeedForwardKind::Dense,
            activation: Activation::Relu,
            norm: NormPlace::Pre,
            init: Initialization::default(),
            dropout: 0.1,
            attention_dropout: None,
            embedding_dropout: None,
            tokens: Tokens::Separate,
            max_timesteps: 1000,
            return_scale: None,
            return_range: None,
        }
    }
}
