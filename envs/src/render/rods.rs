//! The cart with its pole, and the pendulum.

use super::canvas::{AMBER, BLUE, Canvas, GREY, INK, RED};
use super::renderer::Moment;
use crate::cartpole;

/// A cart on its track, the pole at its angle, and an arrow for the push.
pub(super) fn cartpole(moment: &Moment, canvas: &mut Canvas) {
    let (x, angle) = (moment.state[0], moment.state[2]);
    let limit = cartpole::MAX_POSITION;
    canvas.view([0.0, -0.35], [2.2 * limit, 2.2]);
    canvas.line(&[[-limit, 0.0], [limit, 0.0]], 0.02, GREY);
    for end in [-limit, limit] {
        canvas.line(&[[end, -0.1], [end, 0.1]], 0.03, RED);
    }
    canvas.rect([x - 0.25, -0.15], [x + 0.25, 0.15], INK);
    // The pole is 1 m long.
    canvas.line(&[[x, -0.15], [x + angle.sin(), -0.15 - angle.cos()]], 0.08, AMBER);
    canvas.circle([x, -0.15], 0.05, BLUE);
    if let Some(&action) = moment.action.first() {
        let (from, to) = if action == 0.0 { (x + 0.6, x + 0.3) } else { (x - 0.6, x - 0.3) };
        canvas.line(&[[from, 0.0], [to, 0.0]], 0.03, BLUE);
        let back = if action == 0.0 { 0.1 } else { -0.1 };
        canvas.line(&[[to + back, -0.07], [to, 0.0], [to + back, 0.07]], 0.03, BLUE);
    }
}

/// The rod, upright at angle 0, and the torque as an arc whose length grows with it.
pub(super) fn pendulum(moment: &Moment, canvas: &mut Canvas) {
    let angle = moment.state[0];
    canvas.view([0.0, 0.0], [2.5, 2.5]);
    canvas.line(&[[0.0, 0.0], [-angle.sin(), -angle.cos()]], 0.16, RED);
    canvas.circle([0.0, 0.0], 0.05, INK);
    if let Some(&torque) = moment.action.first() {
        // Positive torque turns against the clock.
        let span = torque.clamp(-2.0, 2.0) * 0.6;
        let points: Vec<_> =
            (0..=20).map(|i| -span * f64::from(i) / 20.0).map(|turn| [0.3 * turn.sin(), -0.3 * turn.cos()]).collect();
        canvas.line(&points, 0.03, BLUE);
        canvas.circle(points[20], 0.04, BLUE);
    }
}
