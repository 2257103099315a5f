//! The convolution on a GPU: the reference, tap by tap.

use super::ops::ConvolutionOps;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> ConvolutionOps for CubeBackend<R, F, I, BT> {}
