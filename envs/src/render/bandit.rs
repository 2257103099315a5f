//! Slot machines as a row of bars, as high as the probability with which each pays.

use super::canvas::{Canvas, GREEN, GREY, RED};
use super::renderer::Moment;

/// All arms, the last one pulled in green if it paid and in red if not.
pub(super) fn draw(arms: usize, pulls: usize, moment: &Moment, canvas: &mut Canvas) {
    let (chances, rest) = moment.state.split_at(arms);
    let (pulled, last) = (rest[pulls], rest[pulls + 1]);
    canvas.view([0.5, 0.5], [1.1, 1.1]);
    let width = 1.0 / arms as f64;
    for (arm, &chance) in chances.iter().enumerate() {
        let color = if arm as f64 != last {
            GREY
        } else if rest[(pulled as usize).saturating_sub(1) % pulls] < chance {
            GREEN
        } else {
            RED
        };
        let x = arm as f64 * width;
        canvas.rect([x + 0.1 * width, 1.0 - chance], [x + 0.9 * width, 1.0], color);
    }
}
