//! The dense layer on a GPU: the reference, for Burn's matrix products do.

use super::ops::LinearOps;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> LinearOps for CubeBackend<R, F, I, BT> {}
