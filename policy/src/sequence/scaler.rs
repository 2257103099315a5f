//! Numbers of a series brought to one scale, row by row: the same code where a model is trained and where it is asked.

use serde::{Deserialize, Serialize};

/// Added to a variance, as input normalisation does (Liu et al. 2022, arXiv:2205.14415), so that what does not change gives 0.
const FLOOR: f64 = 1e-5;

/// What a series is scaled by, beside means and deviations of the training split, which it is scaled by first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scaling {
    /// Nothing more.
    Dataset,
    /// Mean and deviation of all rows of the window that is looked back on, also of its first token: it has to be whole.
    #[default]
    Window,
    /// Mean and deviation of the past, in which a row counts the less the longer it is ago: known after each row.
    Running,
}

/// The centre and the scale of every channel, after the rows so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    scaling: Scaling,
    span: f64,
    /// Numbers seen, `[channels]`
    seen: Vec<u64>,
    mean: Vec<f64>,
    variance: Vec<f64>,
}

impl Scaler {
    /// Before the first row.
    ///
    /// - `span`: rows that [`Scaling::Running`] remembers about; others do not look at it
    pub fn new(scaling: Scaling, span: usize, channels: usize) -> Self {
        let zeros = || vec![0.0; channels];
        Self { scaling, span: span as f64, seen: vec![0; channels], mean: zeros(), variance: zeros() }
    }

    /// One more row. What is NaN is missing, and not counted.
    ///
    /// # Panics
    /// If it has not one number for each channel.
    pub fn push(&mut self, row: &[f64]) {
        assert_eq!(row.len(), self.mean.len(), "numbers of a row");
        for (channel, &value) in row.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            self.seen[channel] += 1;
            let share = 1.0 / self.seen[channel] as f64;
            // The first rows all count alike, so that the mean of few is a mean.
            let share = if self.scaling == Scaling::Running { share.max(2.0 / (self.span + 1.0)) } else { share };
            let (mean, variance) = (&mut self.mean[channel], &mut self.variance[channel]);
            let off = value - *mean;
            *mean += share * off;
            *variance = (1.0 - share) * (*variance + share * off * off);
        }
    }

    /// What is subtracted from a channel.
    pub fn center(&self, channel: usize) -> f64 {
        if self.scaling == Scaling::Dataset { 0.0 } else { self.mean[channel] }
    }

    /// What a channel is divided by then, above 0.
    pub fn scale(&self, channel: usize) -> f64 {
        if self.scaling == Scaling::Dataset { 1.0 } else { (self.variance[channel] + FLOOR).sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_its_mean_and_its_population_deviation() {
        let rows = [[1.0, 5.0], [f64::NAN, 7.0], [4.0, 5.0], [7.0, 3.0]];
        let mut scaler = Scaler::new(Scaling::Window, 0, 2);
        rows.iter().for_each(|row| scaler.push(row));
        assert!((scaler.center(0) - 4.0).abs() < 1e-12 && (scaler.scale(0) - (6.0f64 + 1e-5).sqrt()).abs() < 1e-12);
        assert!((scaler.center(1) - 5.0).abs() < 1e-12 && (scaler.scale(1) - (2.0f64 + 1e-5).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_runs_forgets_and_goes_on_where_it_was_stored() {
        let value = |t: usize| (t as f64 * 0.7).sin() + if t < 200 { 100.0 } else { 0.0 };
        let mut scaler = Scaler::new(Scaling::Running, 9, 1);
        for t in 0..400 {
            if t == 123 {
                scaler = serde_json::from_str(&serde_json::to_string(&scaler).unwrap()).unwrap();
            }
            scaler.push(&[value(t)]);
            // The definition: weights that fall by 1 - 2 / (9 + 1) a row, those of the first rows so that five count alike.
            let share = |s: usize| (1.0 / (s + 1) as f64).max(0.2);
            let weight = |s: usize| share(s) * (s + 1..=t).map(|later| 1.0 - share(later)).product::<f64>();
            let mean: f64 = (0..=t).map(|s| weight(s) * value(s)).sum();
            let variance: f64 = (0..=t).map(|s| weight(s) * (value(s) - mean).powi(2)).sum();
            assert!((scaler.center(0) - mean).abs() < 1e-9, "{t}");
            assert!((scaler.scale(0) - (variance + 1e-5).sqrt()).abs() < 1e-6, "{t}");
        }
        assert!(scaler.center(0).abs() < 1.0);
    }

    #[test]
    fn a_dataset_is_left_as_it_is() {
        let mut scaler = Scaler::new(Scaling::Dataset, 5, 1);
        scaler.push(&[7.0]);
        assert_eq!((scaler.center(0), scaler.scale(0)), (0.0, 1.0));
    }
}
