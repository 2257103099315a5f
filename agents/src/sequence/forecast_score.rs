//! How far forecasts are off, on the scale of the training split, over all windows.

use aaren_data::sequences::Errors;
use aaren_policy::SequenceRows;

use super::task::Scorer;
use crate::run::report::{Better, Score};

/// Parts of the horizon that are scored each by itself.
const PARTS: usize = 4;

/// Errors of every step.
pub(super) struct ForecastScorer {
    /// `[horizon]`
    steps: Vec<Errors>,
}

impl ForecastScorer {
    pub(super) fn new(horizon: usize) -> Self {
        Self { steps: vec![Errors::default(); horizon] }
    }

    fn of(&self, steps: std::ops::Range<usize>) -> Errors {
        let sum = |sum: Errors, one: &Errors| Errors {
            squares: sum.squares + one.squares,
            absolutes: sum.absolutes + one.absolutes,
            count: sum.count + one.count,
        };
        self.steps[steps].iter().fold(Errors::default(), sum)
    }
}

impl Scorer for ForecastScorer {
    fn add(&mut self, output: &[f32], rows: &SequenceRows, due: usize) {
        let channels = output.len() / self.steps.len();
        let due = due * output.len()..(due + 1) * output.len();
        let (gains, targets) = (&rows.gains[due.clone()], &rows.targets[due]);
        for (at, output) in output.iter().enumerate().filter(|(at, _)| gains[*at] != 0.0) {
            self.steps[at / channels].add(f64::from(gains[at]) * f64::from(*output) - f64::from(targets[at]));
        }
    }

    fn scores(&self) -> Vec<Score> {
        let horizon = self.steps.len();
        let mut scores = of_errors(&self.of(0..horizon), None);
        if horizon >= PARTS {
            for part in 0..PARTS {
                let (start, end) = (part * horizon / PARTS, (part + 1) * horizon / PARTS);
                scores.extend(of_errors(&self.of(start..end), Some(format!("steps {} to {end}", start + 1))));
            }
        }
        scores
    }
}

/// Mean squared and mean absolute error.
pub(super) fn of_errors(errors: &Errors, condition: Option<String>) -> Vec<Score> {
    let score = |name: &str, value| Score { name: name.into(), condition: condition.clone(), value, better: Better::Lower };
    vec![score("MSE", errors.mse()), score("MAE", errors.mae())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_of_every_number_that_is_due() {
        // Two windows of eight steps of two channels. Outputs are 1, gains 2, and targets 0, but one number is not due.
        let (mut scorer, mut rows) = (ForecastScorer::new(8), SequenceRows::default());
        rows.expect_numbers(3, (0..16).map(|at| (if at == 15 { 0.0 } else { 2.0 }, 0.0)), 1.0);
        rows.expect_numbers(7, (0..16).map(|at| (2.0, if at < 4 { 1.0 } else { 2.0 })), 1.0);
        (0..2).for_each(|due| scorer.add(&[1.0; 16], &rows, due));
        let scores = scorer.scores();
        let value = |title: &str| scores.iter().find(|score| score.title() == title).unwrap_or_else(|| panic!("{title}")).value;
        assert_eq!((value("MSE"), value("MAE")), ((15.0 * 4.0 + 4.0) / 31.0, (15.0 * 2.0 + 4.0) / 31.0));
        assert_eq!((value("MSE, steps 1 to 2"), value("MSE, steps 3 to 4")), (20.0 / 8.0, 2.0));
        assert_eq!(value("MAE, steps 7 to 8"), 6.0 / 7.0);
        assert_eq!(scores.len(), 10);
    }
}
