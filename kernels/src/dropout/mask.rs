//! The mask: a function of a seed and of an element's position.

/// Which elements to drop: each with `probability`, decided by `seed` and the element's position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropout {
    /// In `[0, 1)`; 0 drops nothing.
    pub probability: f64,
    /// Different for every place and every training step.
    pub seed: u64,
}

impl Dropout {
    /// Keeps everything.
    pub const OFF: Self = Self { probability: 0.0, seed: 0 };

    /// Whether anything can be dropped.
    pub fn is_on(self) -> bool {
        self.probability > 0.0
    }

    /// What a kept element is multiplied by, so that the expectation stays.
    pub(crate) fn scale(self) -> f64 {
        1.0 / (1.0 - self.probability)
    }

    /// A 32-bit hash below this drops its element.
    pub(crate) fn threshold(self) -> u32 {
        (self.probability * 2f64.powi(32)) as u32
    }

    /// The part of the hash that a row's elements share (splitmix64's finalizer: Steele, Lea, Flood 2014).
    pub(crate) fn row_key(self, row: u64) -> u32 {
        let mut z = self.seed.wrapping_add(row.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as u32
    }
}

/// The hash of a column given its row's key: 32-bit products only, so that it vectorizes. The mixing constants are those of the
/// low-bias 32-bit integer hash found by C. Wellons' search (hash-prospector, public domain).
#[inline(always)]
pub(crate) fn column_hash(row_key: u32, column: u32) -> u32 {
    let mut x = row_key ^ column.wrapping_mul(0x9e37_79b9);
    x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}
