//! Tokens on their way from the host into a network. Training, evaluation and streams fill the same buffer, so they cannot differ.

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use super::SequenceSpec;
use super::log_normal::{DueGap, GapTensors};
use super::loss::{DueTensors, Loss};
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
    /// The class that each of them has, where classes are learnt.
    pub classes: Vec<i32>,
    /// What each output is multiplied by to be a target, where numbers are learnt; 0 where none is due: `[due, outputs]`
    pub gains: Vec<f32>,
    /// `[due, outputs]`
    pub targets: Vec<f32>,
    /// The gap after each of them, where events are learnt, whose marks are the classes then.
    pub gaps: Vec<DueGap>,
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

    /// Numbers are due at a token: for every output the gain that it is multiplied by, and what it should be then; each counts so much in
    /// the loss, unless its gain is 0.
    pub fn expect_numbers(&mut self, token: usize, due: impl Iterator<Item = (f32, f32)>, weight: f32) {
        self.due.push(token);
        self.weights.push(weight);
        for (gain, target) in due {
            self.gains.push(gain);
            self.targets.push(if gain == 0.0 { 0.0 } else { target });
        }
    }

    /// An event is due at a token: the gap until then, and its mark, which counts only where an event came.
    pub fn expect_event(&mut self, token: usize, gap: DueGap, mark: i32, weight: f32) {
        self.expect(token, mark, weight);
        self.gaps.push(gap);
    }

    /// How much each entry of what is due counts: its weight, of numbers times how many of them are due.
    fn shares(&self) -> impl Iterator<Item = f32> {
        let width = self.gains.len() / self.due.len().max(1);
        let count = move |at: usize| self.gains[at * width..][..width].iter().filter(|gain| **gain != 0.0).count() as f32;
        self.weights.iter().enumerate().map(move |(at, weight)| if width == 0 { *weight } else { weight * count(at) })
    }

    /// How much all that is due counts, in the units of what else is due of the same loss.
    pub fn weight(&self) -> f32 {
        self.shares().sum()
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
    /// What is due at them; none where nothing is
    pub what: Option<DueTensors<B>>,
    /// `[due]`, which sum to 1 over all that is due; none where all are alike
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
            what: None,
            weights: None,
        }
    }

    /// The same, asking for the output of the last token of every row.
    ///
    /// # Panics
    /// As [`SequenceBatch::asking_all`].
    pub fn asking_last(rows: &SequenceRows, batch: usize, spec: &SequenceSpec, device: &B::Device) -> Self {
        let time = rows.len() / batch;
        let last = (0..batch).map(|row| ((row + 1) * time - 1) as i32).collect();
        Self { due: Some(ints(last, device)), ..Self::asking_all(rows, batch, spec, device) }
    }

    /// The same, asking for what is due.
    ///
    /// # Panics
    /// As [`SequenceBatch::asking_all`].
    pub fn new(rows: &SequenceRows, batch: usize, spec: &SequenceSpec, device: &B::Device) -> Self {
        // Where nothing is due, the first token is, and counts nothing.
        let due = if rows.due.is_empty() { &[0][..] } else { &*rows.due };
        let classes = || ints(if rows.due.is_empty() { vec![0] } else { rows.classes.clone() }, device);
        let what = match spec.loss {
            Loss::Classes(_) => DueTensors::Classes(classes()),
            Loss::NextEvent { marks, .. } => {
                let none = [DueGap::ended(1.0, 0.0, 1.0)];
                let gaps = GapTensors::new(if rows.due.is_empty() { &none } else { &rows.gaps }, device);
                DueTensors::Events { gaps, marks: (marks > 1).then(classes) }
            }
            Loss::Squares(width) => {
                let table = |numbers: &[f32]| {
                    let numbers = if rows.due.is_empty() { vec![0.0; width] } else { numbers.to_vec() };
                    Tensor::from_data(TensorData::new(numbers, [due.len(), width]), device)
                };
                DueTensors::Numbers { gains: table(&rows.gains), targets: table(&rows.targets) }
            }
        };
        let sum = rows.weight();
        let is_alike = sum > 0.0
            && rows.weights.iter().all(|weight| *weight == rows.weights[0])
            && rows.gains.iter().all(|gain| *gain != 0.0);
        let share = |at: usize| rows.weights.get(at).map_or(0.0, |weight| weight / sum.max(f32::MIN_POSITIVE));
        let shares: Vec<f32> = (0..due.len()).map(share).collect();
        Self {
            due: Some(ints(due.iter().map(|&token| token as i32).collect(), device)),
            what: Some(what),
            weights: (!is_alike).then(|| Tensor::from_data(TensorData::new(shares, [due.len()]), device)),
            ..Self::asking_all(rows, batch, spec, device)
        }
    }
}

fn ints<B: Backend>(data: Vec<i32>, device: &B::Device) -> Tensor<B, 1, Int> {
    let count = data.len();
    Tensor::from_data(TensorData::new(data, [count]), device)
}
