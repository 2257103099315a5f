//! What a token of an event is made of: the same in training and in a stream.

use crate::config::{Clock, Events, TimeUnit};

/// Numbers of a token without a clock: the gap before its event, and whether there is none.
const OWN: usize = 2;

/// An event, and what is known of those before it.
#[derive(Clone, Copy, Debug)]
pub(in crate::sequence) struct Token {
    /// The gap before it, in the task's unit and the floor at least; none of the first.
    pub gap: Option<f64>,
    /// When it was, as the files have it.
    pub time: f64,
    /// When the first of its sequence was.
    pub first: f64,
}

impl Token {
    /// How many numbers a token has.
    pub(in crate::sequence) fn numbers(config: &Events) -> usize {
        OWN + config.clock.iter().map(|clock| if *clock == Clock::Elapsed { 1 } else { 2 }).sum::<usize>()
    }

    /// Appends them.
    ///
    /// - `center`, `scale`: of the logarithms of gaps
    /// - `span`: how long sequences that are learnt from last in the mean, as the files have it
    pub(in crate::sequence) fn push(self, config: &Events, [center, scale]: [f64; 2], span: f64, numbers: &mut Vec<f32>) {
        let gap = self.gap.map_or(0.0, |gap| (gap.ln() - center) / scale);
        numbers.extend([gap as f32, if self.gap.is_none() { 1.0 } else { 0.0 }]);
        let days = self.time * config.times.seconds() / TimeUnit::Day.seconds();
        for clock in &config.clock {
            let turns = match clock {
                Clock::Elapsed => {
                    numbers.push(((self.time - self.first) / span) as f32);
                    continue;
                }
                Clock::Hour => days,
                Clock::Weekday => days / 7.0,
            };
            let angle = turns.rem_euclid(1.0) * std::f64::consts::TAU;
            numbers.extend([angle.sin() as f32, angle.cos() as f32]);
        }
    }
}
