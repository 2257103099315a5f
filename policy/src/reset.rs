//! Episode borders: which tokens are the first of an episode.

use burn::tensor::{Bool, Tensor, TensorData, backend::Backend};

/// Flags on tokens that begin a new episode: what came before them is forgotten.
///
/// Flags are made on the host (by whoever packed the batch, or by the actor that reset an environment), and kept there as well as
/// on the device: a mixer can plan with them without reading back.
#[derive(Clone, Debug)]
pub struct Reset<B: Backend> {
    flags: Vec<bool>,
    batch: usize,
    tensor: Tensor<B, 2, Bool>,
}

impl<B: Backend> Reset<B> {
    /// From flags in row-major order, `[batch, time]`.
    ///
    /// # Panics
    /// If `flags` is no multiple of `batch`, or empty.
    pub fn new(flags: Vec<bool>, batch: usize, device: &B::Device) -> Self {
        assert!(
            batch > 0 && !flags.is_empty() && flags.len().is_multiple_of(batch),
            "{} flags for a batch of {batch}",
            flags.len()
        );
        let time = flags.len() / batch;
        let tensor = Tensor::from_data(TensorData::new(flags.clone(), [batch, time]), device);
        Self { flags, batch, tensor }
    }

    /// No token begins an episode.
    pub fn none(batch: usize, time: usize, device: &B::Device) -> Self {
        Self::new(vec![false; batch * time], batch, device)
    }

    /// `[batch, time]`
    pub fn tensor(&self) -> Tensor<B, 2, Bool> {
        self.tensor.clone()
    }

    /// All flags in row-major order, `[batch, time]`.
    pub fn flags(&self) -> &[bool] {
        &self.flags
    }

    /// One flag.
    pub fn at(&self, row: usize, token: usize) -> bool {
        self.flags[row * self.time() + token]
    }

    /// The flags of some tokens.
    pub fn part(&self, tokens: std::ops::Range<usize>) -> Self {
        let flags = (0..self.batch).flat_map(|row| tokens.clone().map(move |token| (row, token)));
        let flags = flags.map(|(row, token)| self.at(row, token)).collect();
        Self::new(flags, self.batch, &self.tensor.device())
    }

    /// The last token of a row that begins an episode.
    pub fn last(&self, row: usize) -> Option<usize> {
        let time = self.time();
        self.flags[row * time..(row + 1) * time].iter().rposition(|&flag| flag)
    }

    /// The first token of every token's episode in row-major order, `[batch, time]`, counted from the first of `held` tokens before these.
    /// `first`, a number a row, has the first token of the episode that was going on, and is left with that of the last token.
    pub(crate) fn firsts(&self, held: usize, first: &mut [usize]) -> Vec<i32> {
        let mut firsts = Vec::with_capacity(self.flags.len());
        for (row, first) in first.iter_mut().enumerate() {
            for token in 0..self.time() {
                if self.at(row, token) {
                    *first = held + token;
                }
                firsts.push(*first as i32);
            }
        }
        firsts
    }

    /// Rows.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Tokens in a row.
    pub fn time(&self) -> usize {
        self.flags.len() / self.batch
    }

    /// Flags of tokens from flags of timesteps: each timestep becomes `per_timestep` tokens, of which the one at `first` takes its flag.
    pub fn of_tokens(timesteps: &[bool], batch: usize, per_timestep: usize, first: usize, device: &B::Device) -> Self {
        let flags = timesteps.iter().flat_map(|&flag| (0..per_timestep).map(move |token| flag && token == first)).collect();
        Self::new(flags, batch, device)
    }
}
