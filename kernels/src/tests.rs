//! What holds for every op: whatever type the numbers are of, gradients arrive.

use crate::recurrence::RecurrenceOps;
use crate::testing::{flags, random};
use crate::{Activation, Dropout, KernelBackend, ScanCarry, SelectiveScan};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor, TensorData};

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
                crate::linear(x, tensor([7, 5], 3, dtype), tensor([5], 4, dtype), Activation::Tanh)
            }),
        ),
        (
            "layer norm",
            gradient::<B, 2, 2>([BATCH, 7], dtype, |x| crate::layer_norm(x, tensor([7], 3, dtype), tensor([7], 4, dtype))),
        ),
        (
            "dropout",
            gradient::<B, 2, 2>([BATCH, 7], dtype, |x| crate::dropout_add(x.clone(), x, Dropout { probability: 0.3, seed: 3 })),
        ),
        (
            "recurrence",
            gradient::<B, 3, 3>([BATCH, TIME, 7], dtype, |gates| {
                crate::gated_recurrence(gates, three(3), reset(), tensor([BATCH, 7], 4, dtype))
            }),
        ),
        (
            "gated cell",
            gradient::<B, 3, 3>([BATCH, TIME, 12], dtype, |x| {
                let (weight, bias, fresh) = (tensor([3, 12], 3, dtype), tensor([12], 4, dtype), tensor([2, 3], 5, dtype));
                crate::gated_cell(crate::Cell::Lstm, x, weight, bias, fresh, reset(), tensor([BATCH, 2, 3], 6, dtype)).0
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
    assert!(<Flex as RecurrenceOps>::has_backward(&device, DType::F64));
    for (dtype, rounding) in [(DType::F16, 2f64.powi(-11)), (DType::BF16, 2f64.powi(-8))] {
        assert!(!<Flex as RecurrenceOps>::has_backward(&device, dtype));
        // Some tens of roundings, of inputs and of intermediate results.
        assert_those_of_double_precision(of_every_op::<Flex>(dtype), 30.0 * rounding, &format!("{dtype:?}"));
    }
}
