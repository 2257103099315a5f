//! A maze from above, rows downwards, as its layout is written.

use super::canvas::{BLUE, Canvas, GREEN, INK};
use super::renderer::Moment;
use crate::point_maze::layout::Layout;
use crate::point_maze::rules::RADIUS;

/// Walls, the goal, the ball, and the force on it.
pub(super) fn draw(layout: Layout, moment: &Moment, canvas: &mut Canvas) {
    let [rows, columns] = layout.size().map(|count| count as f64);
    canvas.view([columns / 2.0 - 0.5, rows / 2.0 - 0.5], [columns, rows]);
    for [row, column] in layout.cells().filter(|&cell| layout.is_wall(cell)) {
        let (x, y) = (column as f64, row as f64);
        // A hair more than a cell, so that no seam shows between two.
        canvas.rect([x - 0.505, y - 0.505], [x + 0.505, y + 0.505], INK);
    }
    let [row, column] = layout.goal().map(|coordinate| coordinate as f64);
    canvas.circle([column, row], 0.2, GREEN);
    let ball = [moment.state[1], moment.state[0]];
    if let &[along_rows, along_columns] = &moment.action[..] {
        let force = [along_columns, along_rows].map(|force| 0.5 * force.clamp(-1.0, 1.0));
        canvas.line(&[ball, [ball[0] + force[0], ball[1] + force[1]]], 0.06, BLUE);
    }
    canvas.circle(ball, 1.6 * RADIUS, BLUE);
}
