//! `RepeatPrevious` as a row of cards, the present one at the right, and the answer below.

use super::canvas::{AMBER, Canvas, GREEN, GREY, INK, RED, Rgb};
use super::renderer::Moment;

/// Cards that are shown.
const SHOWN: usize = 8;

/// The last cards, the one that is asked for framed, and the last answer with a frame that says whether it was right.
pub(super) fn draw(k: usize, cards: usize, moment: &Moment, canvas: &mut Canvas) {
    let suit = |card: usize| moment.state[card % cards] as usize;
    let dealt = moment.state[cards] as usize;
    canvas.view([SHOWN as f64 / 2.0 - 0.5, 0.9], [SHOWN as f64 + 0.4, 5.0]);
    for card in dealt.saturating_sub(SHOWN)..dealt {
        let x = (SHOWN + card - dealt) as f64;
        let asked = dealt.checked_sub(k) == Some(card);
        draw_card([x, 0.0], suit(card), if asked { AMBER } else { GREY }, canvas);
    }
    let Some(&answer) = moment.action.first() else { return };
    // Nothing is asked before there are k cards.
    let right = (dealt.saturating_sub(1)).checked_sub(k).map(|card| suit(card) == answer as usize);
    let frame = match right {
        Some(true) => GREEN,
        Some(false) => RED,
        None => GREY,
    };
    draw_card([SHOWN as f64 - 1.0, 2.0], answer as usize, frame, canvas);
}

fn draw_card([x, y]: [f64; 2], suit: usize, frame: Rgb, canvas: &mut Canvas) {
    canvas.rect([x - 0.45, y - 0.65], [x + 0.45, y + 0.65], frame);
    canvas.rect([x - 0.38, y - 0.58], [x + 0.38, y + 0.58], [255, 255, 255]);
    let color = if suit.is_multiple_of(2) { INK } else { RED };
    match suit {
        0 => {
            for [dx, dy] in [[-0.13, 0.06], [0.13, 0.06], [0.0, -0.14]] {
                canvas.circle([x + dx, y + dy], 0.13, color);
            }
        }
        1 => canvas.polygon(&[[x, y - 0.3], [x + 0.22, y], [x, y + 0.3], [x - 0.22, y]], color),
        // A heart, or a spade: the same upside down.
        _ => {
            let up = if suit == 3 { 1.0 } else { -1.0 };
            canvas.circle([x - 0.12, y - 0.1 * up], 0.13, color);
            canvas.circle([x + 0.12, y - 0.1 * up], 0.13, color);
            canvas.polygon(&[[x - 0.24, y - 0.05 * up], [x + 0.24, y - 0.05 * up], [x, y + 0.27 * up]], color);
        }
    }
    if suit == 0 || suit == 2 {
        canvas.polygon(&[[x, y], [x + 0.1, y + 0.3], [x - 0.1, y + 0.3]], color);
    }
}
