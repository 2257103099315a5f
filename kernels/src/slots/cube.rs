//! Slot attention on a GPU: the reference, whose scan is a kernel.

use super::ops::SlotOps;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> SlotOps for CubeBackend<R, F, I, BT> {}
