//! What holds for all ops' kernels on whatever GPU there is: gradients of every float type, and memory linear in time.

use super::testing::{Card, card};
use crate::attention::AttentionInputs;
use crate::device::Gpu;
use crate::layer_norm::LayerNormOps;
use crate::primitive::{float, primitive};
use crate::recurrence::RecurrenceOps;
use crate::scan::ScanOps;
use crate::selective_scan::SelectiveScanOps;
use crate::testing::random_tensor;
use crate::tests::{assert_those_of_double_precision, of_every_op};
use crate::{Dropout, ScanCarry};
use burn::backend::Autodiff;
use burn::tensor::backend::{Backend, DTypeUsage};
use burn::tensor::{DType, Device, Int, Tensor};

/// Whatever type the numbers are of, a gradient arrives: of the kernels where they serve it, and else of the reference.
#[test]
fn other_types_of_the_device_have_gradients() {
    let Some(device) = card() else { return };
    // They sum in single precision, which would be a loss to double precision.
    for (dtype, expected) in [(DType::F32, true), (DType::F64, false)] {
        let found = [
            <Card as ScanOps>::has_backward(&device, 5, dtype),
            Card::has_log_sum_backward(&device, dtype),
            <Card as LayerNormOps>::has_backward(&device, dtype),
            <Card as RecurrenceOps>::has_backward(&device, dtype),
            <Card as SelectiveScanOps>::has_backward(&device, 5, dtype),
        ];
        assert_eq!(found, [expected; 5], "{dtype:?}");
    }
    // Those of single precision have tests of their own.
    for (dtype, tolerance) in [(DType::F64, 1e-12), (DType::F16, 30.0 * 2f64.powi(-11)), (DType::BF16, 30.0 * 2f64.powi(-8))] {
        let usage = Card::dtype_usage(&device, dtype);
        if usage.contains(DTypeUsage::Storage) && usage.contains(DTypeUsage::Arithmetic) {
            let mut found = of_every_op::<Card>(dtype);
            if dtype == DType::F64 {
                // SPIR-V's functions are of single precision: of what needs more than sums and products, that it arrives is all.
                found.retain(|(op, _)| ["recurrence", "convolution"].contains(op));
            }
            assert_those_of_double_precision(found, tolerance, &format!("{dtype:?}"));
        } else {
            println!("skipped: the device does not compute in {dtype:?} ({usage:?})");
        }
    }
}

/// Single precision as on the CPU: 13 bits less, as tensor cores have it, would lose what the factors are beyond 1.
#[test]
fn matrix_products_are_of_single_precision() {
    let Some(device) = card() else { return };
    for [rows, inner, columns] in [[1, 40, 7], [16, 16, 16], [33, 128, 65], [128, 64, 1]] {
        let beyond = 1.0 + 1.0 / 4096.0;
        let left = Tensor::<Card, 2>::full([rows, inner], beyond, &device);
        let right = Tensor::<Card, 2>::ones([inner, columns], &device);
        let products = left.matmul(right).into_data();
        // Exact: a factor has 13 bits, and no sum more than 21.
        assert!(
            products.iter::<f64>().all(|product| product == inner as f64 * beyond),
            "{rows} x {inner} x {columns}: {products}"
        );
    }
}

/// What a loss of an op and its gradients take, in bytes.
#[derive(Debug)]
struct Taken {
    /// By inputs, output and what the graph keeps for the backward pass.
    kept: u64,
    /// From the driver, for all that there was at once; in pages of some megabytes.
    reserved: u64,
}

fn memory_of(device: &Device<Card>, loss: impl FnOnce() -> Tensor<Autodiff<Card>, 1>) -> Taken {
    let memory = || {
        Card::sync(device).unwrap();
        Card::memory(device).unwrap()
    };
    Card::release_memory(device);
    let before = memory().in_use;
    let loss = loss();
    let kept = memory().in_use - before;
    let _gradients = loss.backward();
    Taken { kept, reserved: memory().reserved }
}

/// Memory is linear in time: no buffer has a number for every query and key, forward or backward.
#[test]
fn attention_takes_memory_linear_in_time() {
    type Graph = Autodiff<Card>;
    let Some(device) = card() else { return };
    let (heads, head_dim) = (3, 16);
    let three = |time: usize| random_tensor::<Graph, 3>([1, heads, time], 1).require_grad();
    let four = |time: usize, seed: u64| random_tensor::<Graph, 4>([1, heads, time, head_dim], seed).require_grad();
    let none = |time: usize| Tensor::<Graph, 2, Int>::zeros([1, time], &device);
    let scan = |time: usize| {
        memory_of(&device, || {
            let carry = ScanCarry::empty(1, heads, head_dim, &device);
            crate::attention_scan(three(time), four(time, 2), none(time).bool(), carry).0.sum()
        })
    };
    let attention = |time: usize| {
        memory_of(&device, || {
            crate::causal_attention(four(time, 1), four(time, 2), four(time, 3), none(time), Dropout::OFF).sum()
        })
    };
    let by_reference = |time: usize| {
        memory_of(&device, || {
            let [queries, keys, values] = [1, 2, 3].map(|seed| primitive(four(time, seed)));
            let inputs = AttentionInputs { queries, keys, values, first_key: none(time).into_primitive(), dropout: Dropout::OFF };
            let outputs = crate::attention::reference::causal_attention::<Graph>(inputs).outputs;
            float::<Graph, 4>(outputs).sum()
        })
    };
    let square = |time: usize| (4 * heads * time * time) as u64;
    let longest = 2048;
    for (name, op) in [("scan", &scan as &dyn Fn(usize) -> Taken), ("attention", &attention)] {
        let taken = [256, 512, 1024, longest].map(op);
        println!("{name}, from 256 tokens doubled to {longest}: {taken:?}");
        for pair in taken.windows(2) {
            // Less than twice: a carry and a loss do not grow.
            assert!(pair[1].kept <= 2 * pair[0].kept, "{name}: {taken:?}");
        }
        assert!(taken[3].reserved < square(longest), "{name}: {taken:?}");
    }
    // The test would see it.
    let reference = by_reference(1024);
    assert!(reference.kept > square(1024) && reference.reserved > square(1024), "the reference: {reference:?}");
}
