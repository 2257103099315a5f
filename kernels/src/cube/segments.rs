//! Time cut in segments, where rows are too few to fill the device: a second level joins what the segments leave.

use super::limits::Limits;

/// Tiles below which a segment is not worth a launch.
const TILES_PER_SEGMENT: usize = 4;

/// How time is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments {
    /// Tokens of a segment, whole tiles; the last in the direction of the pass may have fewer.
    pub length: usize,
    /// How many there are.
    pub count: usize,
}

impl Segments {
    /// Segments of whole tiles of `tile` tokens. One if `rows` cubes give every multiprocessor one: cutting time costs a second pass
    /// over the inputs.
    pub(crate) fn of(time: usize, tile: usize, rows: usize, limits: Limits) -> Self {
        let wanted = if rows >= limits.cubes { 1 } else { (2 * limits.cubes).div_ceil(rows) };
        let most = time.div_ceil(TILES_PER_SEGMENT * tile).max(1);
        let length = time.div_ceil(wanted.min(most)).next_multiple_of(tile);
        Self { length, count: time.div_ceil(length) }
    }
}
