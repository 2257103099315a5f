//! Gradients of the references, derived by Burn's autodiff: what a backend without a backward pass of its own runs, and what the
//! hand-written ones are tested against.

use crate::{
    attention::{self, AttentionGradients, AttentionInputs},
    convolution::{self, ConvolutionGradients, ConvolutionInputs},
    layer_norm::{self, LayerNormGradients},
    linear::{self, LinearGradients, LinearSaved, Rectifier},
    log_sum_exp::{self, LogSumGradients, LogSumInputs},
    recurrence::{self, RecurrenceGradients, RecurrenceInputs},
    scan::{self, ScanGradients, ScanInputs},
    selective_scan::{self, SelectiveGradients, SelectiveInputs},
};
use burn::{
    backend::Autodiff,
    tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor},
};

type Gradients<B> = <Autodiff<B> as burn::tensor::backend::AutodiffBackend>::Gradients;

/// A leaf of a new graph.
fn leaf<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<Autodiff<B>, D> {
    let inner = Tensor::<B, D>::from_primitive(TensorPrimitive::Float(primitive));
    Tensor::from_inner(inner).require_grad()
}

fn constant<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<Autodiff<B>, D> {
    Tensor::from_inner(Tensor::<B, D>::from_primitive(TensorPrimitive::Float(primitive)))
}

fn tracked<B: Backend, const D: usize>(tensor: &Tensor<Autodiff<B>, D>) -> FloatTensor<Autodiff<B>> {
    tensor.clone().into_primitive().tensor()
}

fn output<B: Backend, const D: usize>(primitive: FloatTensor<Autodiff<B>>) -> Tensor<Autodiff<B>, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// Backpropagates `upstream` into `output`.
fn backward<B: Backend, const D: usize>(output: Tensor<Autodiff<B>, D>, upstream: FloatTensor<B>) -> Gradients<B> {
    (output * constant::<B, D>(upstream)).sum().backward()
}

/// What arrived at a leaf; zero if nothing did.
fn arrived<B: Backend, const D: usize>(leaf: &Tensor<Autodiff<B>, D>, gradients: &Gradients<B>) -> FloatTensor<B> {
    let gradient = leaf.grad(gradients).unwrap_or_else(|| leaf.clone().inner().zeros_like());
    gradient.into_primitive().tensor()
}

/// Gradients of the scan's outputs.
pub(crate) fn scan<B: Backend>(inputs: ScanInputs<B>, upstream: FloatTensor<B>) -> ScanGradients<B> {
    let (scores, values) = (leaf::<B, 3>(inputs.scores), leaf::<B, 4>(inputs.values));
    let (carry_log_sum, carry_output) = (leaf::<B, 2>(inputs.carry_log_sum), leaf::<B, 3>(inputs.carry_output));
    let forward = scan::reference::attention_scan::<Autodiff<B>>(ScanInputs {
        scores: tracked(&scores),
        values: tracked(&values),
        reset: inputs.reset,
        carry_log_sum: tracked(&carry_log_sum),
        carry_output: tracked(&carry_output),
    });
    let gradients = backward::<B, 4>(output(forward.outputs), upstream);
    ScanGradients {
        scores: arrived(&scores, &gradients),
        values: arrived(&values, &gradients),
        carry_log_sum: arrived(&carry_log_sum, &gradients),
        carry_output: arrived(&carry_output, &gradients),
    }
}

pub(crate) fn log_sum_exp<B: Backend>(inputs: LogSumInputs<B>, upstream: FloatTensor<B>) -> LogSumGradients<B> {
    let (scores, carry) = (leaf::<B, 3>(inputs.scores), leaf::<B, 2>(inputs.carry));
    let log_sums = log_sum_exp::reference::running_log_sum_exp::<Autodiff<B>>(LogSumInputs {
        scores: tracked(&scores),
        reset: inputs.reset,
        carry: tracked(&carry),
    });
    // A log-sum of -inf is a constant, and its product with the upstream gradient would be no number.
    let log_sums = output::<B, 3>(log_sums);
    let is_empty = log_sums.clone().lower_elem(f32::MIN);
    let gradients = backward::<B, 3>(log_sums.mask_fill(is_empty, 0.0), upstream);
    LogSumGradients { scores: arrived(&scores, &gradients), carry: arrived(&carry, &gradients) }
}

pub(crate) fn attention<B: Backend>(inputs: AttentionInputs<B>, upstream: FloatTensor<B>) -> AttentionGradients<B> {
    let [queries, keys, values] = [inputs.queries, inputs.keys, inputs.values].map(leaf::<B, 4>);
    let forward = attention::reference::causal_attention::<Autodiff<B>>(AttentionInputs {
        queries: tracked(&queries),
        keys: tracked(&keys),
        values: tracked(&values),
        first_key: inputs.first_key,
        dropout: inputs.dropout,
    });
    let gradients = backward::<B, 4>(output(forward.outputs), upstream);
    AttentionGradients {
        queries: arrived(&queries, &gradients),
        keys: arrived(&keys, &gradients),
        values: arrived(&values, &gradients),
    }
}

pub(crate) fn linear<B: Backend>(saved: LinearSaved<B>, upstream: FloatTensor<B>) -> LinearGradients<B> {
    let y = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(saved.y));
    let upstream = Tensor::<B, 2>::from_primitive(TensorPrimitive::Float(upstream));
    let upstream = match saved.rectifier {
        Rectifier::None => upstream,
        Rectifier::Relu => upstream.mask_fill(y.clone().lower_equal_elem(0.0), 0.0),
        Rectifier::Tanh => upstream * (y.clone() * y.clone()).neg().add_scalar(1.0),
    };
    let (x, weight) = (leaf::<B, 2>(saved.x), leaf::<B, 2>(saved.weight));
    // The bias's value has no part in any gradient once the rectifier has been accounted for.
    let bias = Tensor::<B, 1>::zeros([y.dims()[1]], (&y.device(), y.dtype()));
    let bias = leaf::<B, 1>(bias.into_primitive().tensor());
    let y = linear::reference::linear::<Autodiff<B>>(tracked(&x), tracked(&weight), tracked(&bias), Rectifier::None);
    let gradients = backward::<B, 2>(output(y), upstream.into_primitive().tensor());
    LinearGradients { x: Some(arrived(&x, &gradients)), weight: arrived(&weight, &gradients), bias: arrived(&bias, &gradients) }
}

pub(crate) fn layer_norm<B: Backend>(x: FloatTensor<B>, gain: FloatTensor<B>, upstream: FloatTensor<B>) -> LayerNormGradients<B> {
    let (x, gain) = (leaf::<B, 2>(x), leaf::<B, 1>(gain));
    let bias = gain.clone().inner().zeros_like(); // its value has no part in any gradient
    let bias = leaf::<B, 1>(bias.into_primitive().tensor());
    let y = layer_norm::reference::layer_norm::<Autodiff<B>>(tracked(&x), tracked(&gain), tracked(&bias));
    let gradients = backward::<B, 2>(output(y), upstream);
    LayerNormGradients { x: arrived(&x, &gradients), gain: arrived(&gain, &gradients), bias: arrived(&bias, &gradients) }
}

pub(crate) fn recurrence<B: Backend>(inputs: RecurrenceInputs<B>, upstream: FloatTensor<B>) -> RecurrenceGradients<B> {
    let [gates, x] = [inputs.gates, inputs.inputs].map(leaf::<B, 3>);
    let carry = leaf::<B, 2>(inputs.carry);
    let states = recurrence::reference::gated_recurrence::<Autodiff<B>>(RecurrenceInputs {
        gates: tracked(&gates),
        inputs: tracked(&x),
        reset: inputs.reset,
        carry: tracked(&carry),
    });
    let gradients = backward::<B, 3>(output(states), upstream);
    RecurrenceGradients {
        gates: arrived(&gates, &gradients),
        inputs: arrived(&x, &gradients),
        carry: arrived(&carry, &gradients),
    }
}

pub(crate) fn convolution<B: Backend>(inputs: ConvolutionInputs<B>, upstream: FloatTensor<B>) -> ConvolutionGradients<B> {
    let (x, taps) = (leaf::<B, 3>(inputs.inputs), leaf::<B, 2>(inputs.taps));
    let outputs = convolution::reference::causal_convolution::<Autodiff<B>>(ConvolutionInputs {
        inputs: tracked(&x),
        taps: tracked(&taps),
        first: inputs.first,
    });
    let gradients = backward::<B, 3>(output(outputs), upstream);
    ConvolutionGradients { inputs: arrived(&x, &gradients), taps: arrived(&taps, &gradients) }
}

pub(crate) fn selective_scan<B: Backend>(inputs: SelectiveInputs<B>, upstream: FloatTensor<B>) -> SelectiveGradients<B> {
    let [x, steps, writes, reads, carry] =
        [inputs.inputs, inputs.steps, inputs.writes, inputs.reads, inputs.carry].map(leaf::<B, 3>);
    let decays = leaf::<B, 2>(inputs.decays);
    let packed = selective_scan::reference::selective_scan::<Autodiff<B>>(SelectiveInputs {
        inputs: tracked(&x),
        steps: tracked(&steps),
        decays: tracked(&decays),
        writes: tracked(&writes),
        reads: tracked(&reads),
        carry: tracked(&carry),
        reset: inputs.reset,
    });
    let gradients = backward::<B, 2>(output(packed), upstream);
    let [x, steps, writes, reads, carry] = [x, steps, writes, reads, carry].map(|leaf| arrived(&leaf, &gradients));
    SelectiveGradients([x, steps, arrived(&decays, &gradients), writes, reads, carry])
}
