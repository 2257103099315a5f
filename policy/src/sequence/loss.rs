//! What outputs are, and how far they are from what was due.

use aaren_kernels::KernelBackend;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, backend::Backend};
use serde::{Deserialize, Serialize};

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
}

/// What outputs are, and how far they are from what was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// Logits of so many classes, judged by their cross-entropy in nats.
    Classes(usize),
    /// So many numbers, judged by their squared distance from numbers once each is multiplied by a gain that comes with what is due.
    Squares(usize),
}

impl Loss {
    /// Numbers of an output.
    pub fn width(self) -> usize {
        match self {
            Loss::Classes(classes) => classes,
            Loss::Squares(numbers) => numbers,
        }
    }

    /// The mean over what is due, by weight.
    ///
    /// # Shapes
    /// - `outputs`: `[due, width]`
    /// - `weights`: `[due]`; none where all are alike. Of classes they sum to 1, of numbers they do so over all numbers that are due
    /// - returns: `[1]`
    pub(super) fn of<B: KernelBackend>(
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
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;

    use super::super::{Pool, SequenceBatch, SequenceRows, SequenceSpec};
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
            (Loss::of(outputs, batch.what.as_ref().unwrap(), batch.weights).into_scalar(), rows.weight())
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
}
