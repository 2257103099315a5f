//! The op on a GPU: its kernels where they fit and are trusted, else the reference.

use super::launch::{gated_recurrence, gated_recurrence_backward};
use crate::cube::self_check::{is_trusted, serves};
use crate::cube::{Limits, self_check};
use crate::recurrence::inputs::{RecurrenceGradients, RecurrenceInputs};
use crate::recurrence::ops::RecurrenceOps;
use crate::recurrence::reference;
use burn::backend::Flex;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Device};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> RecurrenceOps for CubeBackend<R, F, I, BT> {
    fn has_backward(device: &Device<Self>, dtype: DType) -> bool {
        serves(dtype) && is_trusted::<Self>("the gated recurrence", device, results::<Self>, results::<Flex>)
    }

    fn gated_recurrence(inputs: RecurrenceInputs<Self>) -> FloatTensor<Self> {
        let x = &inputs.inputs;
        let runs = Self::has_backward(&x.device, x.dtype);
        let states = runs.then(|| gated_recurrence(inputs.clone(), Limits::of(&x.client))).flatten();
        states.unwrap_or_else(|| reference::gated_recurrence(inputs))
    }

    fn gated_recurrence_backward(
        inputs: RecurrenceInputs<Self>,
        states: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> RecurrenceGradients<Self> {
        let x = &inputs.inputs;
        let runs = Self::has_backward(&x.device, x.dtype);
        let kernel = || gated_recurrence_backward(inputs.clone(), states, grad.clone(), Limits::of(&x.client));
        let gradients = runs.then(kernel).flatten();
        gradients.unwrap_or_else(|| inputs.derive(reference::gated_recurrence, grad))
    }
}

fn results<B: RecurrenceOps>(device: &Device<B>) -> Vec<f64> {
    let (batch, time, channels) = (2, 37, 12);
    let tensor = |step: f64| self_check::tensor::<B, 3>([batch, time, channels], step, device);
    let inputs = RecurrenceInputs {
        gates: tensor(0.7),
        inputs: tensor(0.3),
        reset: self_check::reset::<B>([batch, time], 50, device),
        carry: self_check::tensor::<B, 2>([batch, channels], 1.1, device),
    };
    let states = B::gated_recurrence(inputs.clone());
    let gradients = B::gated_recurrence_backward(inputs, states.clone(), tensor(0.9));
    self_check::read::<B>([states].into_iter().chain(gradients.floats()))
}
