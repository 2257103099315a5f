//! A model of sequences over a vocabulary: what tells mixers apart on synthetic tasks, without environment, actions or returns.
//!
//! ```text
//! token ── its row of E (+ its position's) ── block ── block ── ... ── norm ── E^T ── logits
//! ```
//!
//! The embedding `E` is the output layer as well (tied), as in Zoology's models (Arora et al. 2023, arXiv:2312.04927).

use aaren_kernels::{Dropout, KernelBackend};
use aaren_policy::{Backbone, Init, Keep, PolicyConfig, PolicyError, PolicyState, Reset};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};

/// Embedding, backbone, and the embedding again.
#[derive(Module, Debug)]
pub struct TokenModel<B: Backend> {
    /// `[vocabulary, width]`
    embedding: Param<Tensor<B, 2>>,
    /// `[positions, width]`
    positions: Option<Param<Tensor<B, 2>>>,
    backbone: Backbone<B>,
}

impl<B: KernelBackend> TokenModel<B> {
    /// Draws weights for a vocabulary. With 0 `positions` there are no embeddings of positions; otherwise sequences are no longer.
    ///
    /// # Errors
    /// As [`PolicyConfig::check`].
    pub fn new(
        config: &PolicyConfig,
        vocabulary: usize,
        positions: usize,
        seed: u64,
        device: &B::Device,
    ) -> Result<Self, PolicyError> {
        config.check()?;
        let init = &mut Init::new(seed);
        Ok(Self {
            embedding: init.normal([vocabulary, config.width], 0.02, device),
            positions: (positions > 0).then(|| init.normal([positions, config.width], 0.02, device)),
            backbone: Backbone::new(config, init, device)?,
        })
    }

    /// The state of sequences that have not begun.
    pub fn initial_state(&self, batch: usize, device: &B::Device) -> PolicyState<B> {
        self.backbone.initial_state(batch, device)
    }

    /// Features of tokens, and the state after the last: whole sequences, or what comes after `before` tokens that the state has seen.
    ///
    /// # Shapes
    /// - `tokens`: `[batch, time]`, below the vocabulary's size
    /// - returns: `[batch * time, width]`, batch-major
    ///
    /// # Panics
    /// If there are fewer positions than `before + time`.
    pub fn forward(
        &self,
        tokens: Tensor<B, 2, Int>,
        before: usize,
        state: PolicyState<B>,
        dropout: Dropout,
    ) -> (Tensor<B, 2>, PolicyState<B>) {
        let ([batch, time], device) = (tokens.dims(), tokens.device());
        let embedding = self.embedding.val();
        let width = embedding.dims()[1];
        let mut x = embedding.select(0, tokens.reshape([batch * time]));
        if let Some(positions) = &self.positions {
            let positions = positions.val().slice([before..before + time, 0..width]).unsqueeze::<3>();
            x = (x.reshape([batch, time, width]) + positions).reshape([batch * time, width]);
        }
        self.backbone.forward(x, &Reset::none(batch, time, &device), state, dropout, Keep::All)
    }

    /// Unnormalised log-probabilities of the vocabulary, `[rows, width]` to `[rows, vocabulary]`.
    pub fn logits(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        features.matmul(self.embedding.val().transpose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::{backend::Flex, tensor::TensorData};

    fn model(mixer: &str, positions: usize) -> TokenModel<Flex> {
        let config = PolicyConfig { mixer: mixer.into(), layers: 2, width: 6, heads: 2, feed_forward: 5, ..Default::default() };
        TokenModel::new(&config, 11, positions, 3, &Default::default()).unwrap()
    }

    fn tokens(ids: &[i32], batch: usize) -> Tensor<Flex, 2, Int> {
        Tensor::from_data(TensorData::new(ids.to_vec(), [batch, ids.len() / batch]), &Default::default())
    }

    fn logits(model: &TokenModel<Flex>, ids: &[i32], batch: usize) -> Vec<f32> {
        let state = model.initial_state(batch, &Default::default());
        let (features, _) = model.forward(tokens(ids, batch), 0, state, Dropout::OFF);
        model.logits(features).into_data().to_vec().unwrap()
    }

    #[test]
    fn stepping_through_a_sequence_is_one_pass_over_it() {
        let ids = [3, 0, 10, 3, 7, 7, 1];
        for (mixer, positions) in [("transformer", 7), ("aaren", 0), ("mamba", 9)] {
            let model = model(mixer, positions);
            let whole = logits(&model, &ids, 1);
            let mut state = model.initial_state(1, &Default::default());
            for (t, &id) in ids.iter().enumerate() {
                let (features, next) = model.forward(tokens(&[id], 1), t, state, Dropout::OFF);
                state = next;
                let step: Vec<f32> = model.logits(features).into_data().to_vec().unwrap();
                assert_eq!(step.len(), 11);
                for (a, b) in step.iter().zip(&whole[11 * t..]) {
                    assert!((a - b).abs() < 1e-5, "{mixer}, token {t}: {a} against {b}");
                }
            }
        }
    }

    #[test]
    fn a_position_counts_where_there_are_positions() {
        // Without mixing, the same token twice differs by its position alone.
        let apart = |positions| {
            let logits = logits(&model("mlp", positions), &[4, 4, 4, 4], 2);
            // Rows of a batch are the same sequence.
            assert_eq!(logits[..22], logits[22..]);
            logits[..11] != logits[11..22]
        };
        assert!(apart(2));
        assert!(!apart(0));
    }
}
