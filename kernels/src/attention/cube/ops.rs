//! The op on a GPU: its kernels where they fit and are trusted, else the reference.

use super::launch::{causal_attention, causal_attention_backward, fits};
use crate::attention::inputs::{AttentionGradients, AttentionInputs, AttentionOutputs};
use crate::attention::ops::AttentionOps;
use crate::attention::reference;
use crate::cube::self_check;
use crate::cube::self_check::is_trusted;
use crate::dropout::Dropout;
use burn::backend::Flex;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> AttentionOps for CubeBackend<R, F, I, BT> {
    fn has_backward(device: &Device<Self>, head_dim: usize, dtype: DType) -> bool {
        runs::<Self>(device, dtype) && fits::<R>(device, head_dim)
    }

    fn causal_attention(inputs: AttentionInputs<Self>) -> AttentionOutputs<Self> {
        let runs = runs::<Self>(&inputs.queries.device, inputs.queries.dtype);
        let outputs = runs.then(|| causal_attention(inputs.clone())).flatten();
        outputs.unwrap_or_else(|| reference::causal_attention(inputs))
    }

    fn causal_attention_backward(
        inputs: AttentionInputs<Self>,
        outputs: AttentionOutputs<Self>,
        grad: FloatTensor<Self>,
    ) -> AttentionGradients<Self> {
        let runs = runs::<Self>(&inputs.queries.device, inputs.queries.dtype);
        let gradients = runs.then(|| causal_attention_backward(inputs.clone(), outputs, grad.clone())).flatten();
        gradients.unwrap_or_else(|| inputs.derive(|inputs| reference::causal_attention(inputs).outputs, grad))
    }
}

fn runs<B: AttentionOps>(device: &Device<B>, dtype: DType) -> bool {
    dtype == DType::F32 && is_trusted::<B>("causal attention", device, results::<B>, results::<Flex>)
}

fn results<B: AttentionOps>(device: &Device<B>) -> Vec<f64> {
    let (queries, keys, head_dim) = (21, 37, 12);
    let tensor = |time: usize, step: f64| self_check::tensor::<B, 4>([1, 1, time, head_dim], step, device);
    let first_key: Vec<i32> = (0..queries as i32).map(|i| if i < 9 { 0 } else { 25 }).collect();
    let inputs = AttentionInputs {
        queries: tensor(queries, 0.7),
        keys: tensor(keys, 0.3),
        values: tensor(keys, 1.1),
        first_key: Tensor::<B, 2, Int>::from_data(TensorData::new(first_key, [1, queries]), device).into_primitive(),
        dropout: Dropout { probability: 0.4, seed: 0x1234_5678_9abc_def0 },
    };
    let outputs = B::causal_attention(inputs.clone());
    let gradients = B::causal_attention_backward(inputs, outputs.clone(), tensor(queries, 0.9));
    self_check::read::<B>([outputs.outputs].into_iter().chain(gradients.floats()))
}
