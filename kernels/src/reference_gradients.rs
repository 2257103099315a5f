//! Gradients of the references, derived by Burn's autodiff: what a backend without a backward pass of its own runs, and what the
//! hand-written ones are tested against.

use crate::{
    attention::{self, AttentionGradients, AttentionInputs},
    convolution::{self, ConvolutionGradients, ConvolutionInputs},
    layer_norm::{self, LayerNormGradients},
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        Derived, Dropout, KernelBackend, ScanCarry, SelectiveScan,
        testing::{flags, random},
    };
    use burn::{
        backend::Flex,
        tensor::{DType, Int, TensorData},
    };

    const BATCH: usize = 2;
    const TIME: usize = 13;

    fn tensor<B: Backend, const D: usize>(shape: [usize; D], seed: u64, dtype: DType) -> Tensor<B, D> {
        let data = TensorData::new(random(shape.iter().product(), seed), shape).convert_dtype(dtype);
        Tensor::from_data(data, (&Default::default(), dtype))
    }

    /// The gradient that arrives at the first input of every op, through the graph, of numbers of a type.
    pub(crate) fn of_every_op<B: KernelBackend>(dtype: DType) -> Vec<(&'static str, Vec<f64>)> {
        type Graph<B> = Autodiff<B>;
        fn gradient<B: KernelBackend, const D: usize, const E: usize>(
            shape: [usize; D],
            dtype: DType,
            op: impl FnOnce(Tensor<Graph<B>, D>) -> Tensor<Graph<B>, E>,
        ) -> Vec<f64> {
            let x = tensor::<Graph<B>, D>(shape, 1, dtype).require_grad();
            let y = op(x.clone());
            let upstream = tensor(y.dims(), 2, dtype);
            let gradient = x.grad(&(y * upstream).sum().backward()).expect("every op has a gradient");
            assert_eq!(gradient.dtype(), dtype);
            gradient.into_data().convert::<f64>().to_vec().unwrap()
        }
        let reset = || flags::<Graph<B>>(&[&[false; TIME], &std::array::from_fn::<bool, TIME, _>(|token| token == 5)]);
        let first = || {
            let first = (0..BATCH * TIME).map(|i| if i >= TIME + 5 { 5 } else { 0 }).collect::<Vec<i32>>();
            Tensor::<Graph<B>, 2, Int>::from_data(TensorData::new(first, [BATCH, TIME]), &Default::default())
        };
        let three = |seed: u64| tensor::<Graph<B>, 3>([BATCH, TIME, 7], seed, dtype);
        let four = |seed: u64| tensor::<Graph<B>, 4>([BATCH, 3, TIME, 5], seed, dtype);
        vec![
            (
                "scan",
                gradient::<B, 3, 4>([BATCH, 3, TIME], dtype, |scores| {
                    let carry = ScanCarry { log_sum: tensor([BATCH, 3], 3, dtype), output: tensor([BATCH, 3, 5], 4, dtype) };
                    crate::attention_scan(scores, four(5), reset(), carry).0
                }),
            ),
            (
                "log-sum",
                gradient::<B, 3, 3>([BATCH, 3, TIME], dtype, |scores| {
                    crate::running_log_sum_exp(scores, reset(), tensor([BATCH, 3], 3, dtype))
                }),
            ),
            (
                "attention",
                gradient::<B, 4, 4>([BATCH, 3, TIME, 5], dtype, |queries| {
                    crate::causal_attention(queries, four(3), four(4), first(), Dropout::OFF)
                }),
            ),
            (
                "linear",
                gradient::<B, 2, 2>([BATCH, 7], dtype, |x| {
                    crate::linear(x, tensor([7, 5], 3, dtype), tensor([5], 4, dtype), crate::Rectifier::Tanh)
                }),
            ),
            (
                "layer norm",
                gradient::<B, 2, 2>([BATCH, 7], dtype, |x| crate::layer_norm(x, tensor([7], 3, dtype), tensor([7], 4, dtype))),
            ),
            (
                "dropout",
                gradient::<B, 2, 2>([BATCH, 7], dtype, |x| {
                    crate::dropout_add(x.clone(), x, Dropout { probability: 0.3, seed: 3 })
                }),
            ),
            (
                "recurrence",
                gradient::<B, 3, 3>([BATCH, TIME, 7], dtype, |gates| {
                    crate::gated_recurrence(gates, three(3), reset(), tensor([BATCH, 7], 4, dtype))
                }),
            ),
            (
                "convolution",
                gradient::<B, 3, 3>([BATCH, TIME, 7], dtype, |x| crate::causal_convolution(x, tensor([4, 7], 3, dtype), first())),
            ),
            (
                "selective scan",
                gradient::<B, 3, 3>([BATCH, TIME, 7], dtype, |inputs| {
                    let scan = SelectiveScan {
                        inputs,
                        steps: three(3),
                        decays: tensor([3, 7], 4, dtype),
                        writes: tensor([BATCH, TIME, 3], 5, dtype),
                        reads: tensor([BATCH, TIME, 3], 6, dtype),
                    };
                    crate::selective_scan(scan, reset(), tensor([BATCH, 3, 7], 7, dtype)).0
                }),
            ),
        ]
    }

    /// Asserts that no gradient differs from those in double precision on the CPU by more than `tolerance` times their scale.
    pub(crate) fn assert_those_of_double_precision(found: Vec<(&'static str, Vec<f64>)>, tolerance: f64, what: &str) {
        let all = of_every_op::<Flex>(DType::F64);
        let errors = found.into_iter().map(|(op, found)| {
            let (_, expected) = all.iter().find(|(name, _)| *name == op).expect("the same ops");
            assert_eq!(found.len(), expected.len(), "{op}, {what}");
            let scale = expected.iter().fold(0.0f64, |most, x| most.max(x.abs()));
            let differences = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
            // Not `max`, which loses what is not a number.
            (op, differences.fold(0.0, |most, next| if next <= most { most } else { next }) / scale)
        });
        let errors: Vec<_> = errors.collect();
        assert!(errors.iter().all(|(_, error)| *error <= tolerance), "{what}: relative to their scale off by {errors:?}");
    }

    /// No implementation of the CPU's serves half precision: the graph must hold the reference's operations then, since deriving them
    /// within a backward pass would wait for ever.
    #[test]
    fn types_that_no_kernel_serves_have_gradients() {
        let device = Default::default();
        assert!(Flex::has_backward(Derived::Recurrence, &device, 7, DType::F64));
        for (dtype, rounding) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-9))] {
            assert!(!Flex::has_backward(Derived::Recurrence, &device, 7, dtype));
            // Some tens of roundings, of inputs and of intermediate results.
            assert_those_of_double_precision(of_every_op::<Flex>(dtype), 30.0 * rounding, &format!("{dtype:?}"));
        }
    }
}
