//! What outputs are, and how far they are from what was due.

use aaren_kernels::KernelBackend;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

use super::log_normal::GapTensors;

/// What is due, on a device.
#[derive(Clone, Debug)]
pub enum DueTensors<B: Backend> {
    /// `[due]`
    Classes(Tensor<B, 1, Int>),
    /// Each output times its gain is to be the target.
    Numbers {
        /// 0 where a number is not known and nothing is due: `[due, outputs]`
        gains: Tensor<B, 2>,
        /// `[due, outputs]`
        targets: Tensor<B, 2>,
    },
    /// Each output says when the next event is, and of which kind.
    Events {
        /// The gaps until then
        gaps: GapTensors<B>,
        /// The kinds, none where nothing tells events apart: `[due]`
        marks: Option<Tensor<B, 1, Int>>,
    },
}

/// What outputs are, and how far they are from what was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// Logits of so many classes, judged by their cross-entropy in nats.
    Classes(usize),
    /// So many numbers, judged by their squared distance from numbers once each is multiplied by a gain that comes with what is due.
    Squares(usize),
    /// When the next event is and of which kind, judged by minus the logarithm of its density, in nats: a mixture of so many log-normals
    /// over the gap until then, and logits of so many marks, or none where there is one at most.
    NextEvent {
        /// Log-normals of the mixture.
        components: usize,
        /// Kinds of events.
        marks: usize,
    },
}

impl Loss {
    /// Numbers of an output.
    pub fn width(self) -> usize {
        match self {
            Loss::Classes(classes) => classes,
            Loss::Squares(numbers) => numbers,
            Loss::NextEvent { components, marks } => {
                components.saturating_mul(3).saturating_add(if marks > 1 { marks } else { 0 })
            }
        }
    }

    /// The mean over what is due, by weight.
    ///
    /// # Shapes
    /// - `outputs`: `[due, width]`
    /// - `weights`: `[due]`; none where all are alike. Of classes they sum to 1, of numbers they do so over all numbers that are due
    /// - returns: `[1]`
    pub(super) fn of<B: KernelBackend>(
        self,
        outputs: Tensor<B, 2>,
        due: &DueTensors<B>,
        weights: Option<Tensor<B, 1>>,
    ) -> Tensor<B, 1> {
        match (due, weights) {
            (DueTensors::Classes(classes), weights) => {
                let right = log_softmax(outputs, 1).gather(1, classes.clone().unsqueeze_dim(1)); // [due, 1]
                match weights {
                    None => right.mean().neg(),
                    Some(weights) => (right * weights.unsqueeze_dim(1)).sum().neg(),
                }
            }
            (DueTensors::Numbers { gains, targets }, weights) => {
                let error = outputs * gains.clone() - targets.clone(); // [due, width]
                let squares = error.clone() * error;
                match weights {
                    None => squares.mean(),
                    Some(weights) => (squares * weights.unsqueeze_dim(1)).sum(),
                }
            }
            (DueTensors::Events { gaps, marks }, weights) => {
                let Loss::NextEvent { components, .. } = self else { panic!("{self:?} is of no events") };
                let mut nats = gaps.nats(outputs.clone(), components); // [due, 1]
                if let Some(marks) = marks {
                    let [due, width] = outputs.dims();
                    let logits = log_softmax(outputs.slice([0..due, 3 * components..width]), 1);
                    let of_marks = logits.gather(1, marks.clone().unsqueeze_dim(1)); // [due, 1]
                    // Where no event came it was of no kind.
                    nats = nats - gaps.ended().map_or(of_marks.clone(), |ended| of_marks * ended);
                }
                match weights {
                    None => nats.mean(),
                    Some(weights) => (nats * weights.unsqueeze_dim(1)).sum(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;

    use super::super::{DueGap, NextEvent, Pool, SequenceBatch, SequenceRows, SequenceSpec};
    use super::*;

    #[test]
    fn squares_are_of_numbers_that_are_due_by_weight() {
        let loss = Loss::Squares(3);
        let spec = SequenceSpec { numbers: 1, vocabulary: 0, positions: 0, tied: false, pool: Pool::Last, loss };
        let outputs = [[1.0, 2.0, 3.0], [-1.0, 0.5, 4.0]];
        let of = |due: &[([(f32, f32); 3], f32)]| {
            let mut rows = SequenceRows { numbers: vec![0.0; 2], positions: vec![0, 1], ..SequenceRows::default() };
            rows.resets = vec![true, false];
            due.iter().enumerate().for_each(|(token, (due, weight))| rows.expect_numbers(token, due.iter().copied(), *weight));
            let device = Default::default();
            let batch = SequenceBatch::<Flex>::new(&rows, 1, &spec, &device);
            let outputs = Tensor::from_floats(outputs, &device).slice([0..due.len().max(1), 0..3]);
            (loss.of(outputs, batch.what.as_ref().unwrap(), batch.weights).into_scalar(), rows.weight())
        };
        // All alike: the mean of (2 - 1)^2, 0, (1.5 - 4)^2, and the same of the second.
        let [first, second] = [[(2.0, 1.0), (1.0, 2.0), (0.5, 4.0)], [(1.0, 1.0), (2.0, 0.0), (1.0, 4.0)]];
        assert_eq!(of(&[(first, 1.0), (second, 1.0)]), ((1.0 + 6.25 + 4.0 + 1.0) / 6.0, 6.0));
        // A number that is not known is in no mean; weights count.
        let holed = [(2.0, 1.0), (0.0, f32::NAN), (0.5, 4.0)];
        let (found, weight) = of(&[(holed, 3.0), (second, 0.5)]);
        assert!((found - (3.0 * 7.25 + 0.5 * 5.0) / 7.5).abs() < 1e-6 && weight == 7.5, "{found} {weight}");
        assert_eq!(of(&[([(0.0, 1.0); 3], 1.0)]), (0.0, 0.0));
        assert_eq!(of(&[]), (0.0, 0.0));
    }

    #[test]
    fn events_are_judged_by_the_density_of_their_gap_and_the_probability_of_their_mark() {
        let loss = Loss::NextEvent { components: 2, marks: 3 };
        let spec = SequenceSpec { numbers: 1, vocabulary: 3, positions: 0, tied: false, pool: Pool::Last, loss };
        let outputs = [[0.3f32, -0.2, 1.0, -1.0, 0.1, 0.4, 1.0, 2.0, 0.5], [0.0, 1.0, 0.5, 0.2, -0.3, 0.0, 0.0, -1.0, 0.7]];
        let (center, scale, gaps) = (0.4, 1.3, [2.5, 11.0]);
        let next = outputs.map(|output| NextEvent::new(&output, 2, center, scale));
        let of = |second_ends: bool, weights: [f32; 2]| {
            let mut rows =
                SequenceRows { numbers: vec![0.0; 2], ids: vec![0; 2], resets: vec![true, false], ..Default::default() };
            rows.positions = vec![0, 1];
            rows.expect_event(0, DueGap::ended(gaps[0], center, scale), 1, weights[0]);
            let second = if second_ends { DueGap::ended } else { DueGap::survived };
            rows.expect_event(1, second(gaps[1], center, scale), 2, weights[1]);
            let device = Default::default();
            let batch = SequenceBatch::<Flex>::new(&rows, 1, &spec, &device);
            f64::from(loss.of(Tensor::from_floats(outputs, &device), &batch.what.unwrap(), batch.weights).into_scalar())
        };
        let [first, second] = [0, 1].map(|at| -next[at].log_density(gaps[at]) - next[at].log_marks()[at + 1]);
        assert!((of(true, [1.0; 2]) - (first + second) / 2.0).abs() < 1e-5);
        assert!((of(true, [3.0, 1.0]) - (3.0 * first + second) / 4.0).abs() < 1e-5);
        // No event is of no mark.
        assert!((of(false, [1.0; 2]) - (first - next[1].log_survival(gaps[1])) / 2.0).abs() < 1e-5);
        assert_eq!((loss.width(), Loss::NextEvent { components: 4, marks: 1 }.width()), (9, 12));
    }
}
