//! Forecasts without learning, which every table of results is held against, and how far off they are.

use std::ops::Range;

/// A forecast without learning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naive {
    /// The last value goes on.
    Last,
    /// The values of the last so many rows come again and again.
    Seasonal(usize),
    /// The mean of the training split, which is 0 for standardised values.
    Mean,
}

/// How far forecasts are off, over all windows, steps and channels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Errors {
    /// Sum of the squares.
    pub squares: f64,
    /// Sum of the absolute values.
    pub absolutes: f64,
    /// Numbers that were forecast.
    pub count: usize,
}

impl Errors {
    /// One more.
    pub fn add(&mut self, error: f64) {
        self.squares += error * error;
        self.absolutes += error.abs();
        self.count += 1;
    }

    /// Mean squared error; NaN of nothing.
    pub fn mse(&self) -> f64 {
        self.squares / self.count as f64
    }

    /// Mean absolute error; NaN of nothing.
    pub fn mae(&self) -> f64 {
        self.absolutes / self.count as f64
    }
}

impl Naive {
    /// What is said of a value.
    ///
    /// - `values`: standardised, none missing: `[rows, channels]`
    /// - `origin`: first row that is forecast
    /// - `step`: rows after it
    pub fn forecast(self, values: &[f64], channels: usize, origin: usize, step: usize, channel: usize) -> f64 {
        let row = match self {
            Naive::Mean => return 0.0,
            Naive::Last => origin - 1,
            Naive::Seasonal(period) => origin + step - period * (step / period + 1),
        };
        values[row * channels + channel]
    }

    /// The errors over all windows of a split.
    ///
    /// - `values`: as in [`Naive::forecast`]
    /// - `origins`: as [`super::origins`] gives them, from as many rows on as a season has
    /// - `is_known`: whether a value of `values` was there to be forecast
    ///
    /// # Panics
    /// If a window looks back before the first row.
    pub fn errors(
        self,
        values: &[f64],
        channels: usize,
        origins: Range<usize>,
        horizon: usize,
        is_known: impl Fn(usize) -> bool,
    ) -> Errors {
        let mut errors = Errors::default();
        for origin in origins {
            for step in 0..horizon {
                for channel in 0..channels {
                    let at = (origin + step) * channels + channel;
                    if is_known(at) {
                        errors.add(self.forecast(values, channels, origin, step, channel) - values[at]);
                    }
                }
            }
        }
        errors
    }
}
