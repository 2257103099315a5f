//! Sums over the units of a cube.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// The sum of one number a unit, in every unit; units, a power of two, are added in the order of a tree.
#[cube]
pub(crate) fn cube_sum(own: f32, shared: &mut SharedMemory<f32>, #[comptime] units: u32) -> f32 {
    let unit = UNIT_POS as usize;
    // Wait for the units that still read the last sum.
    sync_cube();
    shared[unit] = own;
    #[unroll]
    for i in 0..comptime!(units.ilog2()) {
        let half = comptime!((units >> (i + 1)) as usize);
        sync_cube();
        if unit < half {
            let other = shared[unit + half];
            shared[unit] += other;
        }
    }
    sync_cube();
    shared[0]
}
