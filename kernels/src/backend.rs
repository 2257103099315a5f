//! The one extension trait over Burn's backends, and its dispatch.
//!
//! Every op has a reference in plain tensor ops, which is what a backend without an implementation of its own runs, and whose
//! gradient Burn derives. `Flex` (the CPU) overrides all of them; `Autodiff` turns each into a node of its graph.

use crate::{
    attention::{self, AttentionGradients, AttentionInputs, AttentionOutputs},
    cache,
    convolution::{self, ConvolutionGradients, ConvolutionInputs},
    dropout::{self, Dropout},
    layer_norm::{self, LayerNormGradients},
    linear::{self, LinearGradients, LinearSaved, Rectifier},
    log_sum_exp::{self, LogSumGradients, LogSumInputs},
    optimizer::{self, AdamWInputs, AdamWStep},
    recurrence::{self, RecurrenceGradients, RecurrenceInputs},
    reference_gradients,
    scan::{self, ScanGradients, ScanInputs, ScanOutputs},
    selective_scan::{self, SelectiveGradients, SelectiveInputs},
};
use burn::{
    backend::{Autodiff, Flex, autodiff::checkpoint::strategy::CheckpointStrategy},
    tensor::{DType, TensorMetadata, backend::Backend, ops::FloatTensor},
};

/// Ops whose backward pass a backend may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Derived {
    /// [`crate::attention_scan`]
    Scan,
    /// [`crate::running_log_sum_exp`]
    LogSumExp,
    /// [`crate::causal_attention`]
    Attention,
    /// [`crate::layer_norm`]
    LayerNorm,
    /// [`crate::gated_recurrence`]
    Recurrence,
    /// [`crate::causal_convolution`]
    Convolution,
    /// [`crate::selective_scan`]
    SelectiveScan,
}

/// A Burn backend with the ops that the policies are built from.
///
/// The methods work on primitives and trust their callers about shapes; use the checked functions of the crate root.
pub trait KernelBackend: Backend {
    /// Whether the backend has a backward pass of its own for an op on numbers of this type and this width: `head_dim`, channels, or
    /// the states of a selective scan. Where it has none, `Autodiff` records the reference's operations: deriving them when the
    /// gradient is asked for would wait for itself, as Burn's autodiff locks every graph at the end of a backward pass.
    fn has_backward(op: Derived, device: &Self::Device, width: usize, dtype: DType) -> bool {
        let _ = (op, device, width, dtype);
        false
    }

    /// [`crate::attention_scan`].
    fn attention_scan(inputs: ScanInputs<Self>) -> ScanOutputs<Self> {
        scan::reference::attention_scan(inputs)
    }

    /// Gradients of the scan's outputs.
    fn attention_scan_backward(
        inputs: ScanInputs<Self>,
        outputs: ScanOutputs<Self>,
        grad: FloatTensor<Self>,
    ) -> ScanGradients<Self> {
        let _ = outputs;
        reference_gradients::scan(inputs, grad)
    }

    /// [`crate::running_log_sum_exp`].
    fn running_log_sum_exp(inputs: LogSumInputs<Self>) -> FloatTensor<Self> {
        log_sum_exp::reference::running_log_sum_exp(inputs)
    }

    /// Gradients of a running log-sum-exp, the scan's own among them.
    fn running_log_sum_exp_backward(
        inputs: LogSumInputs<Self>,
        log_sums: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> LogSumGradients<Self> {
        let _ = log_sums;
        reference_gradients::log_sum_exp(inputs, grad)
    }

    /// [`crate::causal_attention`].
    fn causal_attention(inputs: AttentionInputs<Self>) -> AttentionOutputs<Self> {
        attention::reference::causal_attention(inputs)
    }

    /// Gradients of attention.
    fn causal_attention_backward(
        inputs: AttentionInputs<Self>,
        outputs: AttentionOutputs<Self>,
        grad: FloatTensor<Self>,
    ) -> AttentionGradients<Self> {
        let _ = outputs;
        reference_gradients::attention(inputs, grad)
    }

    /// [`crate::linear`].
    fn linear_rectified(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        rectifier: Rectifier,
    ) -> FloatTensor<Self> {
        linear::reference::linear::<Self>(x, weight, bias, rectifier)
    }

    /// Gradients of a dense layer.
    fn linear_backward(saved: LinearSaved<Self>, grad: FloatTensor<Self>, needs_x: bool) -> LinearGradients<Self> {
        linear::reference::linear_backward(saved, grad, needs_x)
    }

    /// [`crate::layer_norm`].
    fn layer_norm_rows(x: FloatTensor<Self>, gain: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        layer_norm::reference::layer_norm::<Self>(x, gain, bias)
    }

    /// Gradients of layer normalisation.
    fn layer_norm_backward(x: FloatTensor<Self>, gain: FloatTensor<Self>, grad: FloatTensor<Self>) -> LayerNormGradients<Self> {
        reference_gradients::layer_norm(x, gain, grad)
    }

    /// [`crate::dropout_add`].
    fn dropout_add(residual: FloatTensor<Self>, branch: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        dropout::reference::dropout_add::<Self>(residual, branch, dropout)
    }

    /// The gradient of a dropped branch.
    fn dropout_backward(grad: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        dropout::reference::masked::<Self>(grad, dropout)
    }

    /// [`crate::gated_recurrence`].
    fn gated_recurrence(inputs: RecurrenceInputs<Self>) -> FloatTensor<Self> {
        recurrence::reference::gated_recurrence(inputs)
    }

    /// Gradients of a recurrence.
    fn gated_recurrence_backward(
        inputs: RecurrenceInputs<Self>,
        states: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> RecurrenceGradients<Self> {
        let _ = states;
        reference_gradients::recurrence(inputs, grad)
    }

    /// [`crate::causal_convolution`].
    fn causal_convolution(inputs: ConvolutionInputs<Self>) -> FloatTensor<Self> {
        convolution::reference::causal_convolution(inputs)
    }

    /// Gradients of a convolution.
    fn causal_convolution_backward(inputs: ConvolutionInputs<Self>, grad: FloatTensor<Self>) -> ConvolutionGradients<Self> {
        reference_gradients::convolution(inputs, grad)
    }

    /// [`crate::selective_scan`], outputs and last carry packed in a row: `[batch, (time + states) * channels]`.
    fn selective_scan(inputs: SelectiveInputs<Self>) -> FloatTensor<Self> {
        selective_scan::reference::selective_scan(inputs)
    }

    /// Gradients of a selective scan.
    fn selective_scan_backward(inputs: SelectiveInputs<Self>, grad: FloatTensor<Self>) -> SelectiveGradients<Self> {
        reference_gradients::selective_scan(inputs, grad)
    }

    /// [`crate::adamw`], on one axis.
    fn adamw(inputs: AdamWInputs<Self>, step: AdamWStep) -> (FloatTensor<Self>, [FloatTensor<Self>; 2]) {
        optimizer::reference::adamw(inputs, step)
    }

    /// [`crate::sum_of_squares`].
    fn sum_of_squares(tensors: Vec<FloatTensor<Self>>) -> FloatTensor<Self> {
        optimizer::reference::sum_of_squares::<Self>(tensors)
    }

    /// [`crate::write_tokens`].
    fn write_tokens(cache: FloatTensor<Self>, tokens: FloatTensor<Self>, at: usize) -> FloatTensor<Self> {
        cache::reference::<Self>(cache, tokens, at)
    }
}

impl KernelBackend for Flex {
    fn has_backward(_op: Derived, _device: &Self::Device, _width: usize, dtype: DType) -> bool {
        matches!(dtype, DType::F32 | DType::F64)
    }

    fn attention_scan(inputs: ScanInputs<Self>) -> ScanOutputs<Self> {
        match inputs.values.dtype() {
            DType::F32 => scan::cpu::attention_scan::<f32>(inputs),
            DType::F64 => scan::cpu::attention_scan::<f64>(inputs),
            _ => scan::reference::attention_scan(inputs),
        }
    }

    fn attention_scan_backward(
        inputs: ScanInputs<Self>,
        outputs: ScanOutputs<Self>,
        grad: FloatTensor<Self>,
    ) -> ScanGradients<Self> {
        match inputs.values.dtype() {
            DType::F32 => scan::cpu::attention_scan_backward::<f32>(inputs, outputs, grad),
            DType::F64 => scan::cpu::attention_scan_backward::<f64>(inputs, outputs, grad),
            _ => reference_gradients::scan(inputs, grad),
        }
    }

    fn running_log_sum_exp(inputs: LogSumInputs<Self>) -> FloatTensor<Self> {
        match inputs.scores.dtype() {
            DType::F32 => log_sum_exp::cpu::running_log_sum_exp::<f32>(inputs),
            DType::F64 => log_sum_exp::cpu::running_log_sum_exp::<f64>(inputs),
            _ => log_sum_exp::reference::running_log_sum_exp(inputs),
        }
    }

    fn running_log_sum_exp_backward(
        inputs: LogSumInputs<Self>,
        log_sums: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> LogSumGradients<Self> {
        match grad.dtype() {
            DType::F32 => log_sum_exp::cpu::running_log_sum_exp_backward::<f32>(inputs, log_sums, grad),
            DType::F64 => log_sum_exp::cpu::running_log_sum_exp_backward::<f64>(inputs, log_sums, grad),
            _ => reference_gradients::log_sum_exp(inputs, grad),
        }
    }

    fn causal_attention(inputs: AttentionInputs<Self>) -> AttentionOutputs<Self> {
        match inputs.values.dtype() {
            DType::F32 => attention::cpu::causal_attention::<f32>(inputs),
            DType::F64 => attention::cpu::causal_attention::<f64>(inputs),
            _ => attention::reference::causal_attention(inputs),
        }
    }

    fn causal_attention_backward(
        inputs: AttentionInputs<Self>,
        outputs: AttentionOutputs<Self>,
        grad: FloatTensor<Self>,
    ) -> AttentionGradients<Self> {
        match inputs.values.dtype() {
            DType::F32 => attention::cpu::causal_attention_backward::<f32>(inputs, outputs, grad),
            DType::F64 => attention::cpu::causal_attention_backward::<f64>(inputs, outputs, grad),
            _ => reference_gradients::attention(inputs, grad),
        }
    }

    fn linear_rectified(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        rectifier: Rectifier,
    ) -> FloatTensor<Self> {
        match x.dtype() {
            DType::F32 => linear::cpu::linear::<f32>(x, weight, bias, rectifier),
            DType::F64 => linear::cpu::linear::<f64>(x, weight, bias, rectifier),
            _ => linear::reference::linear::<Self>(x, weight, bias, rectifier),
        }
    }

    fn linear_backward(saved: LinearSaved<Self>, grad: FloatTensor<Self>, needs_x: bool) -> LinearGradients<Self> {
        match grad.dtype() {
            DType::F32 => linear::cpu::linear_backward::<f32>(saved, grad, needs_x),
            DType::F64 => linear::cpu::linear_backward::<f64>(saved, grad, needs_x),
            _ => linear::reference::linear_backward(saved, grad, needs_x),
        }
    }

    fn layer_norm_rows(x: FloatTensor<Self>, gain: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        match x.dtype() {
            DType::F32 => layer_norm::cpu::layer_norm::<f32>(x, gain, bias),
            DType::F64 => layer_norm::cpu::layer_norm::<f64>(x, gain, bias),
            _ => layer_norm::reference::layer_norm::<Self>(x, gain, bias),
        }
    }

    fn layer_norm_backward(x: FloatTensor<Self>, gain: FloatTensor<Self>, grad: FloatTensor<Self>) -> LayerNormGradients<Self> {
        match x.dtype() {
            DType::F32 => layer_norm::cpu::layer_norm_backward::<f32>(x, gain, grad),
            DType::F64 => layer_norm::cpu::layer_norm_backward::<f64>(x, gain, grad),
            _ => reference_gradients::layer_norm(x, gain, grad),
        }
    }

    fn dropout_add(residual: FloatTensor<Self>, branch: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        match branch.dtype() {
            DType::F32 => dropout::cpu::dropout_add::<f32>(Some(residual), branch, dropout),
            DType::F64 => dropout::cpu::dropout_add::<f64>(Some(residual), branch, dropout),
            _ => dropout::reference::dropout_add::<Self>(residual, branch, dropout),
        }
    }

    fn dropout_backward(grad: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        match grad.dtype() {
            DType::F32 => dropout::cpu::dropout_add::<f32>(None, grad, dropout),
            DType::F64 => dropout::cpu::dropout_add::<f64>(None, grad, dropout),
            _ => dropout::reference::masked::<Self>(grad, dropout),
        }
    }

    fn gated_recurrence(inputs: RecurrenceInputs<Self>) -> FloatTensor<Self> {
        match inputs.inputs.dtype() {
            DType::F32 => recurrence::cpu::gated_recurrence::<f32>(inputs),
            DType::F64 => recurrence::cpu::gated_recurrence::<f64>(inputs),
            _ => recurrence::reference::gated_recurrence(inputs),
        }
    }

    fn gated_recurrence_backward(
        inputs: RecurrenceInputs<Self>,
        states: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> RecurrenceGradients<Self> {
        match grad.dtype() {
            DType::F32 => recurrence::cpu::gated_recurrence_backward::<f32>(inputs, states, grad),
            DType::F64 => recurrence::cpu::gated_recurrence_backward::<f64>(inputs, states, grad),
            _ => reference_gradients::recurrence(inputs, grad),
        }
    }

    fn causal_convolution(inputs: ConvolutionInputs<Self>) -> FloatTensor<Self> {
        match inputs.inputs.dtype() {
            DType::F32 => convolution::cpu::causal_convolution::<f32>(inputs),
            DType::F64 => convolution::cpu::causal_convolution::<f64>(inputs),
            _ => convolution::reference::causal_convolution(inputs),
        }
    }

    fn causal_convolution_backward(inputs: ConvolutionInputs<Self>, grad: FloatTensor<Self>) -> ConvolutionGradients<Self> {
        match grad.dtype() {
            DType::F32 => convolution::cpu::causal_convolution_backward::<f32>(inputs, grad),
            DType::F64 => convolution::cpu::causal_convolution_backward::<f64>(inputs, grad),
            _ => reference_gradients::convolution(inputs, grad),
        }
    }

    fn selective_scan(inputs: SelectiveInputs<Self>) -> FloatTensor<Self> {
        match inputs.inputs.dtype() {
            DType::F32 => selective_scan::cpu::selective_scan::<f32>(inputs),
            DType::F64 => selective_scan::cpu::selective_scan::<f64>(inputs),
            _ => selective_scan::reference::selective_scan(inputs),
        }
    }

    fn selective_scan_backward(inputs: SelectiveInputs<Self>, grad: FloatTensor<Self>) -> SelectiveGradients<Self> {
        match grad.dtype() {
            DType::F32 => selective_scan::cpu::selective_scan_backward::<f32>(inputs, grad),
            DType::F64 => selective_scan::cpu::selective_scan_backward::<f64>(inputs, grad),
            _ => reference_gradients::selective_scan(inputs, grad),
        }
    }

    fn adamw(inputs: AdamWInputs<Self>, step: AdamWStep) -> (FloatTensor<Self>, [FloatTensor<Self>; 2]) {
        match inputs.parameter.dtype() {
            DType::F32 => optimizer::cpu::adamw::<f32>(inputs, step),
            DType::F64 => optimizer::cpu::adamw::<f64>(inputs, step),
            _ => optimizer::reference::adamw(inputs, step),
        }
    }

    fn sum_of_squares(tensors: Vec<FloatTensor<Self>>) -> FloatTensor<Self> {
        match tensors[0].dtype() {
            DType::F32 => optimizer::cpu::sum_of_squares::<f32>(tensors),
            DType::F64 => optimizer::cpu::sum_of_squares::<f64>(tensors),
            _ => optimizer::reference::sum_of_squares::<Self>(tensors),
        }
    }

    fn write_tokens(cache: FloatTensor<Self>, tokens: FloatTensor<Self>, at: usize) -> FloatTensor<Self> {
        match cache.dtype() {
            DType::F32 => cache::on_cpu::<f32>(cache, tokens, at),
            DType::F64 => cache::on_cpu::<f64>(cache, tokens, at),
            _ => cache::reference::<Self>(cache, tokens, at),
        }
    }
}

/// Whether the op is one node of the graph, by the tensor's type and the width of its last axis.
fn derives<B: KernelBackend, C: CheckpointStrategy>(op: Derived, tensor: &FloatTensor<Autodiff<B, C>>) -> bool {
    let width = tensor.primitive.shape().iter().last().copied().unwrap_or(1);
    B::has_backward(op, &B::float_device(&tensor.primitive), width, tensor.primitive.dtype())
}

/// Each op is one node (the scan: two). Second derivatives are not supported: the backward methods are called on the inner backend
/// only, and on this one would derive the reference's.
impl<B: KernelBackend, C: CheckpointStrategy> KernelBackend for Autodiff<B, C> {
    fn attention_scan(inputs: ScanInputs<Self>) -> ScanOutputs<Self> {
        if !derives::<B, C>(Derived::Scan, &inputs.values) {
            return scan::reference::attention_scan(inputs);
        }
        scan::autodiff::attention_scan(inputs)
    }

    fn running_log_sum_exp(inputs: LogSumInputs<Self>) -> FloatTensor<Self> {
        if !derives::<B, C>(Derived::LogSumExp, &inputs.scores) {
            return log_sum_exp::reference::running_log_sum_exp(inputs);
        }
        log_sum_exp::autodiff::running_log_sum_exp::<B, C>(inputs)
    }

    fn causal_attention(inputs: AttentionInputs<Self>) -> AttentionOutputs<Self> {
        if !derives::<B, C>(Derived::Attention, &inputs.queries) {
            return attention::reference::causal_attention(inputs);
        }
        attention::autodiff::causal_attention(inputs)
    }

    fn linear_rectified(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        rectifier: Rectifier,
    ) -> FloatTensor<Self> {
        linear::autodiff::linear::<B, C>(x, weight, bias, rectifier)
    }

    fn layer_norm_rows(x: FloatTensor<Self>, gain: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        if !derives::<B, C>(Derived::LayerNorm, &x) {
            return layer_norm::reference::layer_norm::<Self>(x, gain, bias);
        }
        layer_norm::autodiff::layer_norm::<B, C>(x, gain, bias)
    }

    fn dropout_add(residual: FloatTensor<Self>, branch: FloatTensor<Self>, dropout: Dropout) -> FloatTensor<Self> {
        dropout::autodiff::dropout_add::<B, C>(residual, branch, dropout)
    }

    fn gated_recurrence(inputs: RecurrenceInputs<Self>) -> FloatTensor<Self> {
        if !derives::<B, C>(Derived::Recurrence, &inputs.inputs) {
            return recurrence::reference::gated_recurrence(inputs);
        }
        recurrence::autodiff::gated_recurrence::<B, C>(inputs)
    }

    fn causal_convolution(inputs: ConvolutionInputs<Self>) -> FloatTensor<Self> {
        if !derives::<B, C>(Derived::Convolution, &inputs.inputs) {
            return convolution::reference::causal_convolution(inputs);
        }
        convolution::autodiff::causal_convolution::<B, C>(inputs)
    }

    fn selective_scan(inputs: SelectiveInputs<Self>) -> FloatTensor<Self> {
        if !derives::<B, C>(Derived::SelectiveScan, &inputs.writes) {
            return selective_scan::reference::selective_scan(inputs);
        }
        selective_scan::autodiff::selective_scan::<B, C>(inputs)
    }
}
