//! The limits of a device, and of the numbers in its kernels.

use burn_cubecl::{CubeRuntime, cubecl};
use cubecl::{client::ComputeClient, features::Plane};

/// A finite stand-in for minus infinity, the identity of maxima and log-sums: differences of two of them are numbers.
pub(crate) const EMPTY: f32 = -1.0e30;

/// What a call may ask of the device; read from the device but in tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Cubes that keep the device busy.
    pub cubes: usize,
    /// Units of a plane, or 0 if the device has no plane operations or planes of several widths.
    pub plane: usize,
    /// The most units that a plane may have.
    pub widest_plane: usize,
    /// The most units that a cube may have.
    pub max_units: usize,
}

impl Limits {
    pub(crate) fn of<R: CubeRuntime>(client: &ComputeClient<R>) -> Self {
        let hardware = &client.properties().hardware;
        Self {
            cubes: multiprocessors(client),
            plane: plane(client),
            widest_plane: (hardware.plane_size_max as usize).max(1),
            max_units: hardware.max_units_per_cube as usize,
        }
    }

    /// At most so many units, in whole planes.
    pub(crate) fn whole_planes(&self, units: usize) -> usize {
        units.min(self.max_units / self.widest_plane * self.widest_plane)
    }
}

/// Where the device does not say how many multiprocessors it has: enough cubes for a large one.
const MULTIPROCESSORS: usize = 64;

/// The number of cubes that give every multiprocessor of the device something to do.
fn multiprocessors<R: CubeRuntime>(client: &ComputeClient<R>) -> usize {
    let hardware = &client.properties().hardware;
    let count = hardware.num_streaming_multiprocessors.or(hardware.num_cpu_cores);
    count.map_or(MULTIPROCESSORS, |count| count as usize)
}

/// Units of a plane if the device has plane operations and planes of one width; else 0.
fn plane<R: CubeRuntime>(client: &ComputeClient<R>) -> usize {
    let hardware = &client.properties().hardware;
    let fixed = hardware.plane_size_min == hardware.plane_size_max && hardware.plane_size_min.is_power_of_two();
    if fixed && client.features().plane.contains(Plane::Ops) { hardware.plane_size_min as usize } else { 0 }
}
