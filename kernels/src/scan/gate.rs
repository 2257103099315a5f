//! How much a token keeps of the past and takes of itself.

use crate::cpu::Real;

/// One token's share: `keep + take = 1`, unless the token starts an episode (`keep = 0`) or nothing has been seen at all.
#[derive(Clone, Copy)]
pub(crate) struct Gate<R> {
    pub keep: R,
    pub take: R,
    pub log_sum: R,
}

/// Joins a token of score `score` to a past of log-sum `past`. One exponential, and no `exp` of a positive number.
#[inline(always)]
pub(crate) fn gate<R: Real>(score: R, past: R, reset: bool) -> Gate<R> {
    let empty = R::neg_infinity();
    let past = if reset { empty } else { past };
    if score == empty {
        // Nothing to take. Keep the past, unless this token forgets it.
        let keep = if reset { R::zero() } else { R::one() };
        return Gate { keep, take: R::zero(), log_sum: past };
    }
    if past == empty {
        return Gate { keep: R::zero(), take: R::one(), log_sum: score };
    }
    let difference = score - past;
    let small = (-difference.abs()).exp();
    let (larger, smaller) = (R::one() / (R::one() + small), small / (R::one() + small));
    if difference >= R::zero() {
        Gate { keep: smaller, take: larger, log_sum: score + small.ln_1p() }
    } else {
        Gate { keep: larger, take: smaller, log_sum: past + small.ln_1p() }
    }
}
