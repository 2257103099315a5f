//! Tokens on their way from the host into a network. Training, evaluation and streams fill the same buffer, so they cannot differ.

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use super::SequenceSpec;
use super::pool::Pool;
use crate::reset::Reset;

/// Tokens on the host, row by row, and what is due at some of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SequenceRows {
    /// `[tokens, numbers]`, where tokens have numbers
    pub numbers: Vec<f32>,
    /// `[tokens]`, where tokens have ids
    pub ids: Vec<i32>,
    /// Places in their sequences: `[tokens]`
    pub positions: Vec<usize>,
    /// Whether a token is the first that is seen of its sequence: `[tokens]`
    pub resets: Vec<bool>,
    /// The tokens at which something is due, as numbers of tokens.
    pub due: Vec<usize>,
    /// What each of them counts in the loss, at least 0.
    pub weights: Vec<f32>,
    /// The class that each of them has.
    pub classes: Vec<i32>,
}

impl SequenceRows {
    /// Tokens held.
    pub fn len(&self) -> usize {
        self.resets.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.resets.is_empty()
    }

    /// A class is due at a token, which counts so much in the loss.
    pub fn expect(&mut self, token: usize, class: i32, weight: f32) {
        self.due.push(token);
        self.weights.push(weight);
        self.classes.push(class);
    }
}

/// The same on a device.
#[derive(Clone, Debug)]
pub struct SequenceBatch<B: Backend> {
    /// `[tokens, numbers]`
    pub numbers: Option<Tensor<B, 2>>,
    /// `[tokens]`
    pub ids: Option<Tensor<B, 1, Int>>,
    /// At most the last that has an embedding: `[tokens]`
    pub positions: Option<Tensor<B, 1, Int>>,
    /// One over the number of tokens of the sequence so far, where outputs are of means: `[tokens, 1]`
    pub shares: Option<Tensor<B, 2>>,
    /// `[batch, tokens]`
    pub reset: Reset<B>,
    /// The tokens whose outputs are asked for: `[due]`; none where all are
    pub due: Option<Tensor<B, 1, Int>>,
    /// What is due at them: `[due]`; none where nothing is
    pub classes: Option<Tensor<B, 1, Int>>,
    /// `[due]`, which sum to 1; none where all are alike
    pub weights: Option<Tensor<B, 1>>,
}

impl<B: Backend> SequenceBatch<B> {
    /// Moves `batch` rows of one length to a device; the output of every token is asked for, whatever is due.
    ///
    /// # Panics
    /// If the tokens are no whole number of rows, or not of the spec.
    pub fn asking_all(rows: &SequenceRows, batch: usize, spec: &SequenceSpec, device: &B::Device) -> Self {
        let numbers = || Tensor::from_data(TensorData::new(rows.numbers.clone(), [rows.len(), spec.numbers]), device);
        let share = |&place: &usize| 1.0 / (place + 1) as f32;
        let shares = || Tensor::from_data(TensorData::new(rows.positions.iter().map(share).collect(), [rows.len(), 1]), device);
        let place = |last: usize| rows.positions.iter().map(|&place| place.min(last) as i32).collect();
        Self {
            numbers: (spec.numbers > 0).then(numbers),
            ids: (spec.vocabulary > 0).then(|| ints(rows.ids.clone(), device)),
            positions: spec.positions.checked_sub(1).map(|last| ints(place(last), device)),
            shares: (spec.pool == Pool::Mean).then(shares),
            reset: Reset::new(rows.resets.clone(), batch, device),
            due: None,
            classes: None,
            weights: None,
        }
    }

    /// The same, asking for what is due.
    ///
    /// # Panics
    /// As [`SequenceBatch::asking_all`].
    pub fn new(rows: &SequenceRows, batch: usize, spec: &SequenceSpec, device: &B::Device) -> Self {
        // Where nothing is due, the first token is, and counts nothing.
        let (due, classes) = if rows.due.is_empty() { (&[0][..], &[0][..]) } else { (&*rows.due, &*rows.classes) };
        let sum = rows.weights.iter().sum::<f32>();
        let is_alike = sum > 0.0 && rows.weights.iter().all(|weight| *weight == rows.weights[0]);
        let share = |at: usize| rows.weights.get(at).map_or(0.0, |weight| weight / sum.max(f32::MIN_POSITIVE));
        let shares: Vec<f32> = (0..due.len()).map(share).collect();
        Self {
            due: Some(ints(due.iter().map(|&token| token as i32).collect(), device)),
            classes: Some(ints(classes.to_vec(), device)),
            weights: (!is_alike).then(|| Tensor::from_data(TensorData::new(shares, [due.len()]), device)),
            ..Self::asking_all(rows, batch, spec, device)
        }
    }
}

fn ints<B: Backend>(data: Vec<i32>, device: &B::Device) -> Tensor<B, 1, Int> {
    let count = data.len();
    Tensor::from_data(TensorData::new(data, [count]), device)
}
