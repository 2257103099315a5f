//! The op on a GPU: its kernels where they fit and are trusted, else the reference.

use super::launch::{fits, slot_attention, slot_attention_backward};
use crate::cube::self_check;
use crate::cube::self_check::{is_trusted, serves};
use crate::slots::inputs::{SlotGradients, SlotInputs};
use crate::slots::ops::SlotOps;
use crate::slots::reference;
use burn::backend::Flex;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Device};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> SlotOps for CubeBackend<R, F, I, BT> {
    fn has_backward(inputs: &SlotInputs<Self>) -> bool {
        runs::<Self>(&inputs.values.device, inputs.values.dtype) && fits(inputs)
    }

    fn slot_attention(inputs: SlotInputs<Self>) -> FloatTensor<Self> {
        let runs = runs::<Self>(&inputs.values.device, inputs.values.dtype);
        let packed = runs.then(|| slot_attention(inputs.clone())).flatten();
        packed.unwrap_or_else(|| reference::slot_attention(inputs))
    }

    fn slot_attention_backward(inputs: SlotInputs<Self>, grad: FloatTensor<Self>) -> SlotGradients<Self> {
        let runs = runs::<Self>(&inputs.values.device, inputs.values.dtype);
        let gradients = runs.then(|| slot_attention_backward(inputs.clone(), grad.clone())).flatten();
        gradients.unwrap_or_else(|| reference::slot_attention_backward(inputs, grad))
    }
}

fn runs<B: SlotOps>(device: &Device<B>, dtype: DType) -> bool {
    serves(dtype) && is_trusted::<B>("slot attention", device, results::<B>, results::<Flex>)
}

fn results<B: SlotOps>(device: &Device<B>) -> Vec<f64> {
    let (batch, heads, time, head_dim, slots) = (2, 2, 19, 5, 3);
    let tokens = |step: f64| self_check::tensor::<B, 4>([batch, heads, time, head_dim], step, device);
    let inputs = SlotInputs {
        scores: self_check::tensor::<B, 4>([batch, heads, time, slots], 0.7, device),
        queries: tokens(0.3),
        keys: tokens(0.5),
        values: tokens(0.9),
        carry_log_sum: self_check::tensor::<B, 3>([batch, heads, slots], 1.1, device),
        carry_memory: self_check::tensor::<B, 4>([batch, heads, slots, 2 * head_dim], 1.3, device),
        reset: self_check::reset::<B>([batch, time], 28, device),
    };
    let packed = B::slot_attention(inputs.clone());
    let length = time * head_dim + slots * (2 * head_dim + 1);
    let grad = self_check::tensor::<B, 3>([batch, heads, length], 0.6, device);
    self_check::read::<B>([packed].into_iter().chain(B::slot_attention_backward(inputs, grad).floats()))
}
