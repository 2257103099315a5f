//! The op on a GPU: its kernels where they fit and are trusted, else the reference.

use super::launch::{fits, selective_scan, selective_scan_backward};
use crate::cube::self_check;
use crate::cube::self_check::{is_trusted, serves};
use crate::selective_scan::inputs::{SelectiveGradients, SelectiveInputs};
use crate::selective_scan::ops::SelectiveScanOps;
use crate::selective_scan::reference;
use burn::backend::Flex;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Device};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> SelectiveScanOps for CubeBackend<R, F, I, BT> {
    fn has_backward(device: &Device<Self>, states: usize, dtype: DType) -> bool {
        runs::<Self>(device, dtype) && fits::<R>(device, states)
    }

    fn selective_scan(inputs: SelectiveInputs<Self>) -> FloatTensor<Self> {
        let runs = runs::<Self>(&inputs.inputs.device, inputs.inputs.dtype);
        let packed = runs.then(|| selective_scan(inputs.clone())).flatten();
        packed.unwrap_or_else(|| reference::selective_scan(inputs))
    }

    fn selective_scan_backward(inputs: SelectiveInputs<Self>, grad: FloatTensor<Self>) -> SelectiveGradients<Self> {
        let runs = runs::<Self>(&inputs.inputs.device, inputs.inputs.dtype);
        let gradients = runs.then(|| selective_scan_backward(inputs.clone(), grad.clone())).flatten();
        gradients.unwrap_or_else(|| inputs.derive(reference::selective_scan, grad))
    }
}

fn runs<B: SelectiveScanOps>(device: &Device<B>, dtype: DType) -> bool {
    serves(dtype) && is_trusted::<B>("the selective scan", device, results::<B>, results::<Flex>)
}

fn results<B: SelectiveScanOps>(device: &Device<B>) -> Vec<f64> {
    let (batch, time, channels, states) = (2, 21, 70, 3);
    let tensor = |width: usize, step: f64| self_check::tensor::<B, 3>([batch, time, width], step, device);
    let positive = |count: usize, step: f64| self_check::numbers(count, step).into_iter().map(|x| 0.2 + x.abs());
    let steps = positive(batch * time * channels, 0.3).collect();
    let decays = positive(states * channels, 1.1).map(|x| -x).collect();
    let inputs = SelectiveInputs {
        inputs: tensor(channels, 0.7),
        steps: self_check::tensor_of::<B, 3>(steps, [batch, time, channels], device),
        decays: self_check::tensor_of::<B, 2>(decays, [states, channels], device),
        writes: tensor(states, 0.9),
        reads: tensor(states, 1.3),
        carry: self_check::tensor::<B, 3>([batch, states, channels], 0.4, device),
        reset: self_check::reset::<B>([batch, time], 30, device),
    };
    let packed = B::selective_scan(inputs.clone());
    let grad = self_check::tensor::<B, 2>([batch, (time + states) * channels], 0.6, device);
    self_check::read::<B>([packed].into_iter().chain(B::selective_scan_backward(inputs, grad).floats()))
}
