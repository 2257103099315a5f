//! The T-mazes from above: the corridor to the right, the left arm up.

use super::canvas::{AMBER, BLUE, Canvas, GREEN, GREY, RED};
use super::renderer::Moment;
use crate::passive_tmaze::{DOWN, UP};
use crate::tmaze::{LEFT, RIGHT};

/// Cells of a corridor that are shown; a longer one scrolls.
const SHOWN: f64 = 40.0;

/// What is seen of a maze.
struct View {
    corridor: f64,
    position: f64,
    /// -1 for the left arm, 1 for the right one: which is the right answer, and which the cue names.
    answer: f64,
    cue: f64,
    cue_is_shown: bool,
    /// The actions that turn to the side of -1 and to that of 1.
    turns: [i64; 2],
}

/// The corridor, the cue (bright while it is in view), the right arm in green, and where the episode is.
pub(super) fn draw(corridor: f64, moment: &Moment, canvas: &mut Canvas) {
    let &[cue, position, shown, ..] = &moment.state[..] else { return };
    draw_view(&View { corridor, position, answer: cue, cue, cue_is_shown: shown == 1.0, turns: [LEFT, RIGHT] }, moment, canvas);
}

/// The same of the passive T-maze, whose cue is shown before the first step.
pub(super) fn draw_passive(corridor: f64, moment: &Moment, canvas: &mut Canvas) {
    let &[cue, position, steps, ..] = &moment.state[..] else { return };
    let view = View { corridor, position, answer: cue, cue, cue_is_shown: steps == 0.0, turns: [DOWN, UP] };
    draw_view(&view, moment, canvas);
}

/// The same with the cue that was seen last of `cues`, where the last of all of them decides.
pub(super) fn draw_last_cue(corridor: f64, cues: usize, moment: &Moment, canvas: &mut Canvas) {
    let (&[position, shown], rest) = (&moment.state[..2], &moment.state[2..]) else { return };
    let seen = rest[cues..2 * cues - 1].iter().take_while(|&&place| place <= position).count();
    let view =
        View { corridor, position, answer: rest[cues - 1], cue: rest[seen], cue_is_shown: shown == 1.0, turns: [LEFT, RIGHT] };
    draw_view(&view, moment, canvas);
}

fn draw_view(view: &View, moment: &Moment, canvas: &mut Canvas) {
    let &View { corridor, position, answer, cue, cue_is_shown, turns } = view;
    let length = corridor.min(SHOWN);
    // Cells that have scrolled out on the left.
    let hidden = (position - length / 2.0).floor().clamp(0.0, corridor - length);
    canvas.view([length / 2.0, 0.0], [length + 2.0, (length + 2.0).min(12.0)]);
    let arm = 4.0;
    canvas.rect([-0.5, -0.5], [length + 0.5, 0.5], GREY);
    if hidden + length >= corridor {
        canvas.rect([length - 0.5, -arm - 0.5], [length + 0.5, arm + 0.5], GREY);
        canvas.rect([length - 0.5, answer * arm - 0.5], [length + 0.5, answer * arm + 0.5], GREEN);
    }
    for cell in 1..=length as i64 {
        let x = cell as f64 - 0.5;
        canvas.line(&[[x, -0.5], [x, 0.5]], 0.04, [255, 255, 255]);
    }
    // The cue points at the arm that it names.
    let color = if cue_is_shown { AMBER } else { GREY };
    canvas.polygon(&[[-0.4, 1.2 * cue], [0.4, 1.2 * cue], [0.0, 2.2 * cue]], color);
    // A turn at the junction leads into an arm, which the state does not tell from the junction.
    let turned = moment.action.first().map(|&action| action as i64).filter(|_| position == corridor);
    let y = match turned {
        Some(action) if action == turns[0] => -arm,
        Some(action) if action == turns[1] => arm,
        _ => 0.0,
    };
    let color = if y == 0.0 || y.signum() == answer { BLUE } else { RED };
    canvas.circle([position - hidden, y], 0.4, color);
}
