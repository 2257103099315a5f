//! [`KernelBackend`] for the backends of graphics cards.
//!
//! An op runs its kernel if the numbers are of a type that it serves, the device passed the op's trial ([`super::trial`]) and the shape
//! fits; else the reference.

use super::trial::{self, Op, Tried};
use crate::{
    attention::{self, AttentionGradients, AttentionInputs, AttentionOutputs},
    backend::{Derived, KernelBackend},
    dropout::{self, Dropout},
    layer_norm::{self, LayerNormGradients},
    log_sum_exp::{self, LogSumGradients, LogSumInputs},
    optimizer::{self, AdamWInputs, AdamWStep},
    recurrence::{self, RecurrenceGradients, RecurrenceInputs},
    reference_gradients,
    scan::{self, ScanGradients, ScanInputs, ScanOutputs},
    selective_scan::{self, SelectiveGradients, SelectiveInputs},
};
use burn::tensor::{DType, Device, ops::FloatTensor};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

/// Whether an op's kernels take numbers of this type. They sum in single precision, which would be a loss to double precision.
fn serves(op: Op, dtype: DType) -> bool {
    match op {
        Op::Attention => dtype == DType::F32,
        _ => matches!(dtype, DType::F32 | DType::F16 | DType::BF16),
    }
}

/// Whether an op's kernels run, if the shape fits.
fn runs<B: Tried>(op: Op, device: &Device<B>, dtype: DType) -> bool {
    serves(op, dtype) && trial::passed::<B>(op, device)
}

impl<R, F, I, BT> KernelBackend for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    fn has_backward(op: Derived, device: &Self::Device, width: usize, dtype: DType) -> bool {
        let runs = |op| runs::<Self>(op, device, dtype);
        match op {
            Derived::Scan => runs(Op::Scan) && scan::cube::fits(width),
            Derived::LogSumExp => runs(Op::LogSumExp),
            Derived::Attention => runs(Op::Attention) && attention::cube::fits::<R>(device, width),
            Derived::LayerNorm => runs(Op::LayerNorm),
            Derived::Recurrence => runs(Op::Recurrence),
            Derived::SelectiveScan => runs(Op::SelectiveScan) && selective_scan::cube::fits::<R>(device, width),
            Derived::Convolution => false,
        }
    }

    fn attention_scan(inputs: ScanInputs<Self>) -> ScanOutputs<Self> {
        if runs::<Self>(Op::Scan, &inputs.values.device, inputs.values.dtype) {
            let device = scan::cube::Device::of(&inputs.values);
            if let Some(outputs) = scan::cube::attention_scan(inputs.clone(), device) {
                return outputs;
            }
        }
        scan::reference::attention_scan(inputs)
    }

    fn attention_scan_backward(
        inputs: ScanInputs<Self>,
        outputs: ScanOutputs<Self>,
        grad: FloatTensor<Self>,
    ) -> ScanGradients<Self> {
        if runs::<Self>(Op::Scan, &inputs.values.device, inputs.values.dtype) {
            let device = scan::cube::Device::of(&inputs.values);
            if let Some(gradients) = scan::cube::attention_scan_backward(inputs.clone(), outputs, grad.clone(), device) {
                return gradients;
            }
        }
        reference_gradients::scan(inputs, grad)
    }

    fn running_log_sum_exp(inputs: LogSumInputs<Self>) -> FloatTensor<Self> {
        if runs::<Self>(Op::LogSumExp, &inputs.scores.device, inputs.scores.dtype) {
            let device = scan::cube::Device::of(&inputs.scores);
            if let Some(log_sums) = log_sum_exp::cube::running_log_sum_exp(inputs.clone(), device) {
                return log_sums;
            }
        }
        log_sum_exp::reference::running_log_sum_exp(inputs)
    }

    fn running_log_sum_exp_backward(
        inputs: LogSumInputs<Self>,
        log_sums: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> LogSumGradients<Self> {
        if runs::<Self>(Op::LogSumExp, &inputs.scores.device, inputs.scores.dtype) {
            let device = scan::cube::Device::of(&inputs.scores);
            let gradients = log_sum_exp::cube::running_log_sum_exp_backward(inputs.clone(), log_sums, grad.clone(), device);
            if let Some(gradients) = gradients {
                return gradients;
            }
        }
        reference_gradients::log_sum_exp(inputs, grad)
    }

    fn causal_attention(inputs: AttentionInputs<Self>) -> AttentionOutputs<Self> {
        if runs::<Self>(Op::Attention, &inputs.queries.device, inputs.queries.dtype)
            && let Some(outputs) = attention::cube::causal_attention(inputs.clone())
        {
            return outputs;
        }
        attention::reference::causal_attention(inputs)
    }

    fn causal_attention_backward(
        inputs: AttentionInputs<Self>,
        outputs: AttentionOutputs<Self>,
        grad: FloatTensor<Self>,
    ) -> AttentionGradients<Self> {
        if runs::<Self>(Op::Attention, &inputs.queries.device, inputs.queries.dtype)
            && let Some(gradients) = attention::cube::causal_attention_backward(inputs.clone(), outputs, grad.clone())
        {
            return gradients;
        }
        reference_gradients::attention(inputs, grad)
    }

    fn layer_norm_rows(x: FloatTensor<Self>, gain: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        if runs::<Self>(Op::LayerNorm, &x.device, x.dtype) {
            layer_norm::cube::layer_norm(x, gain, bias)
        } else {
            layer_norm::reference::layer_norm::<Self>(x, gain, bias)
        }
    }

    fn layer_norm_backward(x: FloatTensor<Self>, gain: FloatTensor<Self>, grad: FloatTensor<Self>) -> LayerNormGradients<Self> {
        if runs::<Self>(Op::LayerNorm, &x.device, x.dtype) {
            layer_norm::cube::layer_norm_backward(x, gain, grad)
        } else {
            reference_gradients::layer_norm(x, gain, grad)
        }
    }

    fn dropout_add(residual: FloatTensor<Self>, branch: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        if runs::<Self>(Op::Dropout, &branch.device, branch.dtype) {
            dropout::cube::dropout_add(Some(residual), branch, dropout)
        } else {
            dropout::reference::dropout_add::<Self>(residual, branch, dropout)
        }
    }

    fn dropout_backward(grad: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        if runs::<Self>(Op::Dropout, &grad.device, grad.dtype) {
            dropout::cube::dropout_add(None, grad, dropout)
        } else {
            dropout::reference::masked::<Self>(grad, dropout)
        }
    }

    fn gated_recurrence(inputs: RecurrenceInputs<Self>) -> FloatTensor<Self> {
        if runs::<Self>(Op::Recurrence, &inputs.inputs.device, inputs.inputs.dtype) {
            let device = scan::cube::Device::of(&inputs.inputs);
            if let Some(states) = recurrence::cube::gated_recurrence(inputs.clone(), device) {
                return states;
            }
        }
        recurrence::reference::gated_recurrence(inputs)
    }

    fn gated_recurrence_backward(
        inputs: RecurrenceInputs<Self>,
        states: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> RecurrenceGradients<Self> {
        if runs::<Self>(Op::Recurrence, &inputs.inputs.device, inputs.inputs.dtype) {
            let device = scan::cube::Device::of(&inputs.inputs);
            if let Some(gradients) = recurrence::cube::gated_recurrence_backward(inputs.clone(), states, grad.clone(), device) {
                return gradients;
            }
        }
        reference_gradients::recurrence(inputs, grad)
    }

    fn adamw(inputs: AdamWInputs<Self>, step: AdamWStep) -> (FloatTensor<Self>, [FloatTensor<Self>; 2]) {
        if runs::<Self>(Op::Optimizer, &inputs.parameter.device, inputs.parameter.dtype) {
            optimizer::cube::adamw(inputs, step)
        } else {
            optimizer::reference::adamw(inputs, step)
        }
    }

    fn sum_of_squares(tensors: Vec<FloatTensor<Self>>) -> FloatTensor<Self> {
        if tensors.iter().all(|tensor| runs::<Self>(Op::Optimizer, &tensor.device, tensor.dtype)) {
            optimizer::cube::sum_of_squares::<R, F, I, BT>(tensors)
        } else {
            optimizer::reference::sum_of_squares::<Self>(tensors)
        }
    }

    fn selective_scan(inputs: SelectiveInputs<Self>) -> FloatTensor<Self> {
        if runs::<Self>(Op::SelectiveScan, &inputs.inputs.device, inputs.inputs.dtype)
            && let Some(packed) = selective_scan::cube::selective_scan(inputs.clone())
        {
            return packed;
        }
        selective_scan::reference::selective_scan(inputs)
    }

    fn selective_scan_backward(inputs: SelectiveInputs<Self>, grad: FloatTensor<Self>) -> SelectiveGradients<Self> {
        if runs::<Self>(Op::SelectiveScan, &inputs.inputs.device, inputs.inputs.dtype)
            && let Some(gradients) = selective_scan::cube::selective_scan_backward(inputs.clone(), grad.clone())
        {
            return gradients;
        }
        reference_gradients::selective_scan(inputs, grad)
    }
}
