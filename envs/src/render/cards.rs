//! Card games: the cards in a row, the present one at the right, and what was answered below.

use super::canvas::{AMBER, BLUE, Canvas, GREEN, GREY, INK, RED, Rgb};
use super::renderer::Moment;
use crate::higher_lower::HIGHER;
use crate::pile::{COLORS, RANKS, SUITS};

/// Cards that are shown.
const SHOWN: usize = 8;
const WHITE: Rgb = [255, 255, 255];

/// A game in which the suit of an earlier card is to be named: `asked` says which, given how many cards are dealt. The last cards,
/// the one that is asked for framed, and the last answer with a frame that says whether it was right.
pub(super) fn repeat(asked: impl Fn(usize) -> Option<usize>, cards: usize, moment: &Moment, canvas: &mut Canvas) {
    let suit = |card: usize| moment.state[card % cards] as usize;
    let dealt = moment.state[cards] as usize;
    view(canvas);
    row(0.0, SUITS, dealt, suit, asked(dealt), canvas);
    let Some(&answer) = moment.action.first() else { return };
    // Nothing is asked before there are enough cards.
    let frame = match asked(dealt.saturating_sub(1)).map(|card| suit(card) == answer as usize) {
        Some(true) => GREEN,
        Some(false) => RED,
        None => GREY,
    };
    draw_card([SHOWN as f64 - 1.0, 2.0], SUITS, answer as usize, frame, canvas);
}

/// The last cards of both piles, and a bar for the count that was right at the step before, with a line at the answer.
pub(super) fn count_recall(kinds: usize, cards: usize, moment: &Moment, canvas: &mut Canvas) {
    let value = |card: usize| moment.state[card % cards] as usize;
    let query = |card: usize| moment.state[cards + card % cards] as usize;
    let dealt = moment.state[2 * cards] as usize;
    view(canvas);
    row(-0.7, kinds, dealt, value, None, canvas);
    row(0.9, kinds, dealt, query, dealt.checked_sub(1), canvas);
    let (Some(&answer), Some(last)) = (moment.action.first(), dealt.checked_sub(2)) else { return };
    let begun = last / cards * cards;
    let wanted = (begun..=last).filter(|&card| value(card) == query(last)).count();
    let x = |count: f64| -0.4 + count * kinds as f64 / cards as f64 * (SHOWN as f64 - 0.2);
    canvas.rect([x(0.0), 2.1], [x((cards / kinds) as f64), 2.7], GREY);
    canvas.rect([x(0.0), 2.1], [x(wanted as f64), 2.7], if wanted == answer as usize { GREEN } else { RED });
    canvas.line(&[[x(answer), 2.0], [x(answer), 2.8]], 0.1, INK);
}

/// The last cards, and an arrow for the last answer, grey where both ranks were the same.
pub(super) fn higher_lower(cards: usize, moment: &Moment, canvas: &mut Canvas) {
    let rank = |card: usize| moment.state[card % cards] as usize;
    let dealt = moment.state[cards] as usize;
    view(canvas);
    row(0.0, RANKS, dealt, rank, None, canvas);
    let (Some(&answer), Some(before)) = (moment.action.first(), dealt.checked_sub(2)) else { return };
    let up = if answer as i64 == HIGHER { -1.0 } else { 1.0 };
    let color = match (rank(before), rank(before + 1)) {
        (one, other) if one == other => GREY,
        (one, other) if (other > one) == (up < 0.0) => GREEN,
        _ => RED,
    };
    let x = SHOWN as f64 - 1.0;
    canvas.polygon(&[[x - 0.4, 2.0 - 0.4 * up], [x + 0.4, 2.0 - 0.4 * up], [x, 2.0 + 0.4 * up]], color);
}

fn view(canvas: &mut Canvas) {
    canvas.view([SHOWN as f64 / 2.0 - 0.5, 0.9], [SHOWN as f64 + 0.4, 5.0]);
}

/// The last cards that were dealt, one of them framed.
fn row(y: f64, kinds: usize, dealt: usize, kind: impl Fn(usize) -> usize, framed: Option<usize>, canvas: &mut Canvas) {
    for card in dealt.saturating_sub(SHOWN)..dealt {
        let x = SHOWN as f64 - (dealt - card) as f64;
        draw_card([x, y], kinds, kind(card), if framed == Some(card) { AMBER } else { GREY }, canvas);
    }
}

/// A card that is told from others by one of so many kinds: its color, its suit or its rank.
fn draw_card([x, y]: [f64; 2], kinds: usize, kind: usize, frame: Rgb, canvas: &mut Canvas) {
    canvas.rect([x - 0.45, y - 0.65], [x + 0.45, y + 0.65], frame);
    canvas.rect([x - 0.38, y - 0.58], [x + 0.38, y + 0.58], WHITE);
    match kinds {
        COLORS => canvas.rect([x - 0.25, y - 0.4], [x + 0.25, y + 0.4], if kind == 0 { INK } else { RED }),
        SUITS => draw_suit([x, y], kind, canvas),
        // The higher the rank, the fuller the card.
        _ => canvas.rect([x - 0.25, y + 0.5 - (kind + 1) as f64 / RANKS as f64], [x + 0.25, y + 0.5], BLUE),
    }
}

fn draw_suit([x, y]: [f64; 2], suit: usize, canvas: &mut Canvas) {
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
