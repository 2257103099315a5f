//! A task that forecasts a table.

use aaren_data::sequences::TableSplit;
use aaren_policy::Scaling;
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::due::Due;

/// What the next numbers of a table are: the file, its splits, and how they are learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Forecast {
    /// File of the table: `.csv`, `.tsv` or `.txt`, also packed (`.gz`), a row a step.
    pub source: String,
    /// Name of the column of times. Default (null): a first column that is named date, time, datetime or timestamp, if there is one.
    pub time: Option<String>,
    /// Names of the channels. Default (none): all columns but the times.
    pub columns: Vec<String>,
    /// How long the training, validation and test split are, one after another.
    pub split: SplitConfig,
    /// Rows that are looked back on: the tokens of a window.
    pub look_back: usize,
    /// Rows that are forecast.
    pub horizon: usize,
    /// Rows that a token shows: its own and those before it, 0 before the window begins. At most `look_back`.
    pub lags: usize,
    /// What numbers are scaled by, beside means and deviations of the training split: nothing more (`dataset`), mean and deviation of the
    /// window that is looked back on (`window`), or of the past as it was known at each row (`running`).
    pub scaling: Scaling,
    /// Rows that `running` remembers about: a row counts half as much as one that is a third of them later.
    pub span: usize,
    /// What a forecast is a difference from: the mean that numbers are scaled by, or the last row.
    pub anchor: Anchor,
    /// Whether a window's last token alone forecasts, or every one while it trains.
    pub due: Due,
    /// Whether a token has all channels, or each channel is a sequence of its own for one model.
    pub channels: Channels,
    /// Whether a token is told hour, weekday, day of the month and day of the year of its row.
    pub calendar: bool,
    /// Whether a token is told its place in the window by a learned embedding.
    pub positions: bool,
    /// What becomes of numbers that are missing. They are never due.
    pub missing: MissingRows,
    /// Rows of the season that a baseline repeats, at most `look_back`. Default (null): a day, where the times say how many rows that is.
    pub season: Option<usize>,
}

impl Default for Forecast {
    fn default() -> Self {
        Self {
            source: String::new(),
            time: None,
            columns: Vec::new(),
            split: SplitConfig::default(),
            look_back: 96,
            horizon: 96,
            lags: 1,
            scaling: Scaling::Window,
            span: 96,
            anchor: Anchor::Mean,
            due: Due::End,
            channels: Channels::Mixed,
            calendar: false,
            positions: true,
            missing: MissingRows::Refuse,
            season: None,
        }
    }
}

/// Lengths of the three splits, in one of three units. What is left of the table is not used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SplitConfig {
    /// In months of thirty days, as the ETT datasets are split.
    pub months: Option<[usize; 3]>,
    /// In parts of the table. Default, where no other unit is said: 0.7, 0.1 and 0.2.
    pub fractions: Option<[f64; 3]>,
    /// In rows.
    pub rows: Option<[usize; 3]>,
}

impl SplitConfig {
    /// The one that is said.
    ///
    /// # Errors
    /// If several are.
    pub(crate) fn lengths(self) -> Result<TableSplit> {
        Ok(match (self.months, self.fractions, self.rows) {
            (Some(months), None, None) => TableSplit::Months(months),
            (None, fractions, None) => TableSplit::Fractions(fractions.unwrap_or([0.7, 0.1, 0.2])),
            (None, None, Some(rows)) => TableSplit::Rows(rows),
            _ => bail!(
                "task.split: found more than one of months, fractions and rows; leave out all but one, or set the others to null"
            ),
        })
    }
}

/// What a forecast is a difference from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Anchor {
    /// The last row that is known.
    Last,
    /// The mean that numbers are scaled by.
    Mean,
}

/// How the channels of a table are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// All of them in one token.
    Mixed,
    /// Each as a sequence of its own.
    Independent,
}

/// What becomes of numbers that are missing in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MissingRows {
    /// They are an error.
    Refuse,
    /// The last known one goes on.
    Last,
    /// A line goes to the next known one, which a model that is asked as time goes by would not know yet.
    Linear,
    /// They are 0 when scaled, and every channel has a flag that says whether its number is missing.
    Zero,
}
