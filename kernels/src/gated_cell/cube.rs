//! Gated cells on a GPU: the reference. What a token costs there is its launches, which a kernel of its own would have to save.

use super::ops::GatedCellOps;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> GatedCellOps for CubeBackend<R, F, I, BT> {}
