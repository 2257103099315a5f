//! [`KernelBackend`] for the backends of graphics cards.
//!
//! An op runs its kernel if the device passed the op's trial ([`super::trial`]) and the shape fits; else the reference.

use super::trial::{self, Op};
use crate::{
    attention::{self, AttentionGradients, AttentionInputs, AttentionOutputs},
    backend::{Derived, KernelBackend},
    dropout::{self, Dropout},
    layer_norm::{self, LayerNormGradients},
    linear::{LinearGradients, LinearSaved, Rectifier},
    log_sum_exp::{self, LogSumGradients, LogSumInputs},
    recurrence::{self, RecurrenceGradients, RecurrenceInputs},
    reference_gradients,
    scan::{self, ScanGradients, ScanInputs, ScanOutputs},
    selective_scan::{self, SelectiveGradients, SelectiveInputs},
};
use burn::tensor::{Tensor, TensorPrimitive, ops::FloatTensor};
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

impl<R, F, I, BT> KernelBackend for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    fn has_backward(op: Derived, device: &Self::Device, width: usize) -> bool {
        match op {
            Derived::Scan => trial::passed::<Self>(Op::Scan, device) && scan::cube::fits(width),
            Derived::LogSumExp => trial::passed::<Self>(Op::LogSumExp, device),
            Derived::Attention => trial::passed::<Self>(Op::Attention, device) && attention::cube::fits::<R>(device, width),
            Derived::LayerNorm => trial::passed::<Self>(Op::LayerNorm, device),
            Derived::Recurrence => trial::passed::<Self>(Op::Recurrence, device),
            Derived::SelectiveScan => {
                trial::passed::<Self>(Op::SelectiveScan, device) && selective_scan::cube::fits::<R>(device, width)
            }
            Derived::Convolution => false,
        }
    }

    fn attention_scan(inputs: ScanInputs<Self>) -> ScanOutputs<Self> {
        if trial::passed::<Self>(Op::Scan, &inputs.values.device) {
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
        if trial::passed::<Self>(Op::Scan, &inputs.values.device) {
            let device = scan::cube::Device::of(&inputs.values);
            if let Some(gradients) = scan::cube::attention_scan_backward(inputs.clone(), outputs, grad.clone(), device) {
                return gradients;
            }
        }
        reference_gradients::scan(inputs, grad)
    }

    fn running_log_sum_exp(inputs: LogSumInputs<Self>) -> FloatTensor<Self> {
        if trial::passed::<Self>(Op::LogSumExp, &inputs.scores.device) {
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
        if trial::passed::<Self>(Op::LogSumExp, &inputs.scores.device) {
            let device = scan::cube::Device::of(&inputs.scores);
            let gradients = log_sum_exp::cube::running_log_sum_exp_backward(inputs.clone(), log_sums, grad.clone(), device);
            if let Some(gradients) = gradients {
                return gradients;
            }
        }
        reference_gradients::log_sum_exp(inputs, grad)
    }

    fn causal_attention(inputs: AttentionInputs<Self>) -> AttentionOutputs<Self> {
        if trial::passed::<Self>(Op::Attention, &inputs.queries.device)
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
        if trial::passed::<Self>(Op::Attention, &inputs.queries.device)
            && let Some(gradients) = attention::cube::causal_attention_backward(inputs.clone(), outputs, grad.clone())
        {
            return gradients;
        }
        reference_gradients::attention(inputs, grad)
    }

    /// Three launches: a matrix product each for input and weight, a sum for the bias.
    fn linear_backward(saved: LinearSaved<Self>, grad: FloatTensor<Self>, needs_x: bool) -> LinearGradients<Self> {
        let [x, weight, y, grad] = [saved.x, saved.weight, saved.y, grad]
            .map(|primitive| Tensor::<Self, 2>::from_primitive(TensorPrimitive::Float(primitive)));
        let grad = match saved.rectifier {
            Rectifier::None => grad,
            Rectifier::Relu => grad.mask_fill(y.lower_equal_elem(0.0), 0.0),
            Rectifier::Tanh => grad.clone() - grad * y.clone() * y,
        };
        LinearGradients {
            x: needs_x.then(|| grad.clone().matmul(weight.transpose()).into_primitive().tensor()),
            weight: x.transpose().matmul(grad.clone()).into_primitive().tensor(),
            bias: grad.sum_dim(0).squeeze_dim::<1>(0).into_primitive().tensor(),
        }
    }

    fn layer_norm_rows(x: FloatTensor<Self>, gain: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        if trial::passed::<Self>(Op::LayerNorm, &x.device) {
            layer_norm::cube::layer_norm(x, gain, bias)
        } else {
            layer_norm::reference::layer_norm::<Self>(x, gain, bias)
        }
    }

    fn layer_norm_backward(x: FloatTensor<Self>, gain: FloatTensor<Self>, grad: FloatTensor<Self>) -> LayerNormGradients<Self> {
        if trial::passed::<Self>(Op::LayerNorm, &x.device) {
            layer_norm::cube::layer_norm_backward(x, gain, grad)
        } else {
            reference_gradients::layer_norm(x, gain, grad)
        }
    }

    fn dropout_add(residual: FloatTensor<Self>, branch: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        if trial::passed::<Self>(Op::Dropout, &branch.device) {
            dropout::cube::dropout_add(Some(residual), branch, dropout)
        } else {
            dropout::reference::dropout_add::<Self>(residual, branch, dropout)
        }
    }

    fn dropout_backward(grad: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        if trial::passed::<Self>(Op::Dropout, &grad.device) {
            dropout::cube::dropout_add(None, grad, dropout)
        } else {
            dropout::reference::masked::<Self>(grad, dropout)
        }
    }

    fn gated_recurrence(inputs: RecurrenceInputs<Self>) -> FloatTensor<Self> {
        if trial::passed::<Self>(Op::Recurrence, &inputs.inputs.device) {
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
        if trial::passed::<Self>(Op::Recurrence, &inputs.inputs.device) {
            let device = scan::cube::Device::of(&inputs.inputs);
            if let Some(gradients) = recurrence::cube::gated_recurrence_backward(inputs.clone(), states, grad.clone(), device) {
                return gradients;
            }
        }
        reference_gradients::recurrence(inputs, grad)
    }

    fn selective_scan(inputs: SelectiveInputs<Self>) -> FloatTensor<Self> {
        if trial::passed::<Self>(Op::SelectiveScan, &inputs.inputs.device)
            && let Some(packed) = selective_scan::cube::selective_scan(inputs.clone())
        {
            return packed;
        }
        selective_scan::reference::selective_scan(inputs)
    }

    fn selective_scan_backward(inputs: SelectiveInputs<Self>, grad: FloatTensor<Self>) -> SelectiveGradients<Self> {
        if trial::passed::<Self>(Op::SelectiveScan, &inputs.inputs.device)
            && let Some(gradients) = selective_scan::cube::selective_scan_backward(inputs.clone(), grad.clone())
        {
            return gradients;
        }
        reference_gradients::selective_scan(inputs, grad)
    }
}
