//! Which tensor of a published model is which of ours.

use super::file::{Contents, Stored};
use super::model::{HfConfig, Published, base};
use crate::config::{Activation, NormPlace, PolicyConfig};
use crate::error::PolicyError;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// How a dense layer is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// `[outputs, inputs]`: torch's `Linear`.
    OutIn,
    /// `[inputs, outputs]`, as ours: GPT-2's `Conv1D`.
    InOut,
}

/// A file on its way to a policy: tensors are taken out of it until none is left.
#[derive(Debug)]
pub(super) struct Map {
    path: PathBuf,
    tensors: BTreeMap<String, Stored>,
    arrays: BTreeMap<String, Vec<f64>>,
    ours: Vec<(String, Vec<usize>, Vec<f32>)>,
    left_out: Vec<String>,
}

type Result<T> = std::result::Result<T, PolicyError>;

impl Map {
    pub(super) fn new(contents: Contents) -> Self {
        let Contents { path, tensors, arrays } = contents;
        Self { path, tensors, arrays, ours: Vec::new(), left_out: Vec::new() }
    }

    /// Hugging Face's model.
    pub(super) fn hf(mut self, model: &HfConfig, activation: Activation) -> Result<Published> {
        let &HfConfig { state_dim, act_dim, hidden_size: width, max_ep_len, n_layer, n_head, n_inner, resid_pdrop, .. } = model;
        let feed_forward = n_inner.unwrap_or(4 * width);
        self.embeddings(["embed_return", "embed_state", "embed_action"], [state_dim, act_dim], width)?;
        let table = self.take("embed_timestep.weight", &[max_ep_len, width])?;
        self.put("tokens.timestep", &[max_ep_len, width], table);
        // The model passes zeros for positions: the first embedding is added to every token after the norm.
        let mut bias = self.take("embed_ln.bias", &[width])?;
        let positions = self.shape("encoder.wpe.weight")?[0];
        let table = self.take("encoder.wpe.weight", &[positions, width])?;
        bias.iter_mut().zip(&table).for_each(|(bias, position)| *bias += position);
        let gain = self.take("embed_ln.weight", &[width])?;
        self.put("tokens.norm.gain", &[width], gain);
        self.put("tokens.norm.bias", &[width], bias);
        for block in 0..n_layer {
            let (from, to) = (format!("encoder.h.{block}"), format!("backbone.blocks.{block}"));
            self.norm(&format!("{from}.ln_1"), &format!("{to}.mixer_norm"), width)?;
            self.norm(&format!("{from}.ln_2"), &format!("{to}.feed_forward_norm"), width)?;
            let [weight, bias] = [".weight", ".bias"].map(|part| format!("{from}.attn.c_attn{part}"));
            self.query_key_value(&weight, &bias, &to, width, Layout::InOut)?;
            self.dense(&format!("{from}.attn.c_proj"), &mixer(&to, "output"), [width, width], Layout::InOut)?;
            self.dense(&format!("{from}.mlp.c_fc"), &format!("{to}.up"), [width, feed_forward], Layout::InOut)?;
            self.dense(&format!("{from}.mlp.c_proj"), &format!("{to}.down"), [feed_forward, width], Layout::InOut)?;
        }
        self.norm("encoder.ln_f", "backbone.norm", width)?;
        self.dense("predict_action.0", "head.output", [width, act_dim], Layout::OutIn)?;
        self.leave_out(|name| {
            let is_mask = name.starts_with("encoder.h.") && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"));
            is_mask || ["encoder.wte.", "predict_state.", "predict_return."].iter().any(|part| name.starts_with(part))
        });
        let config = PolicyConfig { dropout: resid_pdrop, ..base(activation, NormPlace::Pre) };
        self.finish(config, [n_layer, width, n_head, feed_forward, max_ep_len], [state_dim, act_dim], None)
    }

    /// CORL's model.
    pub(super) fn corl(mut self, heads: usize) -> Result<Published> {
        let [width, state] = self.matrix("state_emb.weight")?;
        let [actions, _] = self.matrix("action_head.0.weight")?;
        let [times, _] = self.matrix("timestep_emb.weight")?;
        let [feed_forward, _] = self.matrix("blocks.0.mlp.0.weight")?;
        self.embeddings(["return_emb", "state_emb", "action_emb"], [state, actions], width)?;
        let table = self.take("timestep_emb.weight", &[times, width])?;
        self.put("tokens.timestep", &[times, width], table);
        self.norm("emb_norm", "tokens.norm", width)?;
        let layers = self.blocks("blocks.");
        let mask = self.context_length("blocks.0.causal_mask")?;
        for block in 0..layers {
            let (from, to) = (format!("blocks.{block}"), format!("backbone.blocks.{block}"));
            self.norm(&format!("{from}.norm1"), &format!("{to}.mixer_norm"), width)?;
            self.norm(&format!("{from}.norm2"), &format!("{to}.feed_forward_norm"), width)?;
            let [weight, bias] = ["weight", "bias"].map(|part| format!("{from}.attention.in_proj_{part}"));
            self.query_key_value(&weight, &bias, &to, width, Layout::OutIn)?;
            self.dense(&format!("{from}.attention.out_proj"), &mixer(&to, "output"), [width, width], Layout::OutIn)?;
            self.feed_forward(&from, &to, [width, feed_forward])?;
        }
        self.norm("out_norm", "backbone.norm", width)?;
        self.dense("action_head.0", "head.output", [width, actions], Layout::OutIn)?;
        self.leave_out(|name| name.starts_with("blocks.") && name.ends_with(".causal_mask"));
        self.finish(base(Activation::Gelu, NormPlace::Pre), [layers, width, heads, feed_forward, times], [state, actions], mask)
    }

    /// min-decision-transformer's model.
    pub(super) fn min_dt(mut self, heads: usize) -> Result<Published> {
        let [width, state] = self.matrix("embed_state.weight")?;
        let [actions, _] = self.matrix("predict_action.0.weight")?;
        let [times, _] = self.matrix("embed_timestep.weight")?;
        let [feed_forward, _] = self.matrix("transformer.0.mlp.0.weight")?;
        self.embeddings(["embed_rtg", "embed_state", "embed_action"], [state, actions], width)?;
        let table = self.take("embed_timestep.weight", &[times, width])?;
        self.put("tokens.timestep", &[times, width], table);
        self.norm("embed_ln", "tokens.norm", width)?;
        let layers = self.blocks("transformer.");
        let mask = self.context_length("transformer.0.attention.mask")?;
        for block in 0..layers {
            let (from, to) = (format!("transformer.{block}"), format!("backbone.blocks.{block}"));
            self.norm(&format!("{from}.ln1"), &format!("{to}.mixer_norm"), width)?;
            self.norm(&format!("{from}.ln2"), &format!("{to}.feed_forward_norm"), width)?;
            for (theirs, ours) in [("q_net", "query"), ("k_net", "key"), ("v_net", "value"), ("proj_net", "output")] {
                self.dense(&format!("{from}.attention.{theirs}"), &mixer(&to, ours), [width, width], Layout::OutIn)?;
            }
            self.feed_forward(&from, &to, [width, feed_forward])?;
        }
        self.dense("predict_action.0", "head.output", [width, actions], Layout::OutIn)?;
        self.leave_out(|name| {
            let is_mask = name.starts_with("transformer.") && name.ends_with(".attention.mask");
            is_mask || ["predict_state.", "predict_rtg."].iter().any(|part| name.starts_with(part))
        });
        self.finish(base(Activation::Gelu, NormPlace::Post), [layers, width, heads, feed_forward, times], [state, actions], mask)
    }

    fn wrong(&self, problem: String) -> PolicyError {
        PolicyError::Weights { path: self.path.clone(), problem }
    }

    fn shape(&self, name: &str) -> Result<&[usize]> {
        let stored = self.tensors.get(name).ok_or_else(|| self.missing(name))?;
        Ok(&stored.shape)
    }

    fn missing(&self, name: &str) -> PolicyError {
        let first = self.tensors.keys().next().map(|first| format!("; its first is \"{first}\"")).unwrap_or_default();
        let found = self.tensors.len();
        self.wrong(format!(
            "the tensor \"{name}\" is missing among the {found} that are left{first}; is --from what wrote the file?"
        ))
    }

    fn matrix(&self, name: &str) -> Result<[usize; 2]> {
        let shape = self.shape(name)?;
        shape.try_into().map_err(|_| self.wrong(format!("the tensor \"{name}\" is {shape:?}, expected two axes")))
    }

    /// The numbers of a tensor of a shape.
    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let stored = self.tensors.remove(name).ok_or_else(|| self.missing(name))?;
        if stored.shape != shape {
            return Err(self.wrong(format!("the tensor \"{name}\" is {:?}, expected {shape:?}", stored.shape)));
        }
        let numbers = stored.numbers.map_err(|dtype| {
            self.wrong(format!(
                "the tensor \"{name}\" is stored as {dtype}, expected single precision; save the model after model.float()"
            ))
        })?;
        match numbers.iter().find(|number| !number.is_finite()) {
            Some(number) => Err(self.wrong(format!("the tensor \"{name}\" has a {number} in it"))),
            None => Ok(numbers),
        }
    }

    fn put(&mut self, name: &str, shape: &[usize], numbers: Vec<f32>) {
        self.ours.push((name.into(), shape.into(), numbers));
    }

    fn norm(&mut self, from: &str, to: &str, width: usize) -> Result<()> {
        for (theirs, ours) in [("weight", "gain"), ("bias", "bias")] {
            let numbers = self.take(&format!("{from}.{theirs}"), &[width])?;
            self.put(&format!("{to}.{ours}"), &[width], numbers);
        }
        Ok(())
    }

    fn dense(&mut self, from: &str, to: &str, [inputs, outputs]: [usize; 2], layout: Layout) -> Result<()> {
        let weight = self.weight(&format!("{from}.weight"), inputs, outputs, layout)?;
        let bias = self.take(&format!("{from}.bias"), &[outputs])?;
        self.put(&format!("{to}.weight"), &[inputs, outputs], weight);
        self.put(&format!("{to}.bias"), &[outputs], bias);
        Ok(())
    }

    /// A matrix as `[inputs, outputs]`.
    fn weight(&mut self, name: &str, inputs: usize, outputs: usize, layout: Layout) -> Result<Vec<f32>> {
        match layout {
            Layout::InOut => self.take(name, &[inputs, outputs]),
            Layout::OutIn => {
                let stored = self.take(name, &[outputs, inputs])?;
                Ok((0..inputs * outputs).map(|i| stored[i % outputs * inputs + i / outputs]).collect())
            }
        }
    }

    /// One map for query, key and value, cut by its outputs.
    fn query_key_value(&mut self, weight: &str, bias: &str, block: &str, width: usize, layout: Layout) -> Result<()> {
        let weight = self.weight(weight, width, 3 * width, layout)?;
        let bias = self.take(bias, &[3 * width])?;
        for (part, name) in ["query", "key", "value"].into_iter().enumerate() {
            let of_row = |row: &[f32]| row[part * width..(part + 1) * width].to_vec();
            let columns = weight.chunks_exact(3 * width).flat_map(of_row).collect();
            self.put(&format!("{}.weight", mixer(block, name)), &[width, width], columns);
            self.put(&format!("{}.bias", mixer(block, name)), &[width], of_row(&bias));
        }
        Ok(())
    }

    fn feed_forward(&mut self, from: &str, to: &str, [width, feed_forward]: [usize; 2]) -> Result<()> {
        self.dense(&format!("{from}.mlp.0"), &format!("{to}.up"), [width, feed_forward], Layout::OutIn)?;
        self.dense(&format!("{from}.mlp.2"), &format!("{to}.down"), [feed_forward, width], Layout::OutIn)
    }

    /// The embeddings of return-to-go, observation and action, by the names that they have.
    fn embeddings(
        &mut self,
        [return_to_go, state, action]: [&str; 3],
        [states, actions]: [usize; 2],
        width: usize,
    ) -> Result<()> {
        self.dense(return_to_go, "tokens.return_to_go", [1, width], Layout::OutIn)?;
        self.dense(state, "tokens.observation", [states, width], Layout::OutIn)?;
        self.dense(action, "tokens.action", [actions, width], Layout::OutIn)
    }

    /// One more than the largest number after a prefix.
    fn blocks(&self, prefix: &str) -> usize {
        let numbers = self.tensors.keys().filter_map(|name| name.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok());
        // A number that cannot be ends as a missing tensor.
        numbers.max().map_or(0, |last| last.saturating_add(1))
    }

    /// Timesteps of a causal mask over tokens, `[.., tokens, tokens]`.
    fn context_length(&self, name: &str) -> Result<Option<usize>> {
        let Some(mask) = self.tensors.get(name) else { return Ok(None) };
        match mask.shape[..] {
            [.., rows, columns] if rows == columns && rows > 0 && rows.is_multiple_of(3) => Ok(Some(rows / 3)),
            _ => {
                Err(self.wrong(format!("the mask \"{name}\" is {:?}, expected three tokens a timestep on both axes", mask.shape)))
            }
        }
    }

    /// Takes out what acting does not need.
    fn leave_out(&mut self, is_needless: impl Fn(&str) -> bool) {
        let needless: Vec<String> = self.tensors.keys().filter(|name| is_needless(name)).cloned().collect();
        needless.iter().for_each(|name| drop(self.tensors.remove(name)));
        self.left_out = needless;
    }

    fn finish(
        mut self,
        config: PolicyConfig,
        [layers, width, heads, feed_forward, max_timesteps]: [usize; 5],
        [observation_width, action_width]: [usize; 2],
        context_length: Option<usize>,
    ) -> Result<Published> {
        if let Some(name) = self.tensors.keys().next() {
            let left = self.tensors.len();
            return Err(self.wrong(format!("{left} tensors have no place in the policy, the first is \"{name}\"")));
        }
        let statistics = match (self.arrays.remove("state_mean"), self.arrays.remove("state_std")) {
            (Some(mean), Some(std)) => Some((mean, std)),
            _ => None,
        };
        Ok(Published {
            config: PolicyConfig { layers, width, heads, feed_forward, max_timesteps, ..config },
            observation_width,
            action_width,
            context_length,
            statistics,
            left_out: self.left_out,
            path: self.path,
            tensors: self.ours,
        })
    }
}

/// The name of a part of a block's mixer, in a file of weights.
fn mixer(block: &str, part: &str) -> String {
    format!("{block}.mixer.Transformer.{part}")
}
