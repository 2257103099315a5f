//! Kernels beside the same in plain tensor operations, forward alone and with the backward pass, on the CPU:
//! `cargo bench -p aaren-bench --features criterion -- scan`.
//!
//! The sizes are those of `aaren-bench train`: 64 rows of 20 timesteps and 4 rows of 1,000, three tokens each, in layers of 128.

use aaren_agents::device::{CPU, Cpu};
use aaren_kernels::{Activation, Dropout, ScanCarry, attention_scan, causal_attention, layer_norm, linear};
use burn::backend::Autodiff;
use burn::tensor::activation::{relu, softmax};
use burn::tensor::{Bool, Distribution, Int, Tensor};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

type Graph = Autodiff<Cpu>;

/// Rows and tokens of a row.
const SIZES: [[usize; 2]; 2] = [[64, 60], [4, 3000]];
const WIDTH: usize = 128;

fn random<const D: usize>(shape: [usize; D]) -> Tensor<Graph, D> {
    Tensor::random(shape, Distribution::Uniform(-1.0, 1.0), &CPU).require_grad()
}

/// Measures a kernel and the tensor operations that it stands for, once both give the same.
fn compare<const D: usize>(
    criterion: &mut Criterion,
    name: &str,
    size: [usize; 2],
    kernel: impl Fn() -> Tensor<Graph, D>,
    reference: impl Fn() -> Tensor<Graph, D>,
) {
    let size = format!("{}x{}", size[0], size[1]);
    let error = (kernel() - reference()).abs().max().into_scalar();
    assert!(error < 1e-4, "{name} at {size}: the kernel is wrong by {error}");
    let mut group = criterion.benchmark_group(name);
    for (who, op) in [("kernel", &kernel as &dyn Fn() -> Tensor<Graph, D>), ("tensor operations", &reference)] {
        let id = |pass| BenchmarkId::new(format!("{who}, {pass}"), &size);
        group.bench_function(id("forward"), |bencher| bencher.iter(|| black_box(op())));
        group.bench_function(id("forward and backward"), |bencher| bencher.iter(|| black_box(op().sum().backward())));
    }
}

/// Weights over earlier tokens and the token itself, from scores that broadcast to `[batch, 1, time, time]`.
fn causal_weights(scores: Tensor<Graph, 4>, [batch, time]: [usize; 2]) -> Tensor<Graph, 4> {
    let later = Tensor::<Graph, 2, Bool>::tril_mask([time, time], 0, &CPU).unsqueeze::<4>();
    let shape = [batch, 1, time, time];
    softmax(scores.expand(shape).mask_fill(later.expand(shape), f32::MIN), 3)
}

fn scan(criterion: &mut Criterion) {
    for size @ [batch, time] in SIZES {
        let (scores, values) = (random([batch, 1, time]), random([batch, 1, time, WIDTH]));
        let no_reset = || Tensor::<Graph, 2, Int>::zeros([batch, time], &CPU).bool();
        let carry = || ScanCarry::empty(batch, 1, WIDTH, &CPU);
        compare(
            criterion,
            "scan",
            size,
            || attention_scan(scores.clone(), values.clone(), no_reset(), carry()).0,
            || causal_weights(scores.clone().unsqueeze_dim(2), size).matmul(values.clone()),
        );
    }
}

fn attention(criterion: &mut Criterion) {
    for size @ [batch, time] in SIZES {
        let [queries, keys, values] = [(); 3].map(|()| random([batch, 1, time, WIDTH]));
        let first_key = || Tensor::<Graph, 2, Int>::zeros([batch, time], &CPU);
        compare(
            criterion,
            "causal attention",
            size,
            || causal_attention(queries.clone(), keys.clone(), values.clone(), first_key(), Dropout::OFF),
            || {
                let scores = queries.clone().matmul(keys.clone().transpose()) / (WIDTH as f64).sqrt();
                causal_weights(scores, size).matmul(values.clone())
            },
        );
    }
}

fn layer_normalization(criterion: &mut Criterion) {
    for size in SIZES {
        let (x, gain, bias) = (random([size[0] * size[1], WIDTH]), random([WIDTH]), random([WIDTH]));
        compare(
            criterion,
            "layer norm",
            size,
            || layer_norm(x.clone(), gain.clone(), bias.clone()),
            || {
                let centred = x.clone() - x.clone().mean_dim(1);
                let variance = centred.clone().powi_scalar(2).mean_dim(1);
                centred / (variance + 1e-5).sqrt() * gain.clone().unsqueeze() + bias.clone().unsqueeze()
            },
        );
    }
}

fn dense_layer(criterion: &mut Criterion) {
    for size in SIZES {
        let (x, weight, bias) = (random([size[0] * size[1], WIDTH]), random([WIDTH, 4 * WIDTH]), random([4 * WIDTH]));
        compare(
            criterion,
            "linear",
            size,
            || linear(x.clone(), weight.clone(), bias.clone(), Activation::Relu),
            || relu(x.clone().matmul(weight.clone()) + bias.clone().unsqueeze()),
        );
    }
}

criterion_group!(kernels, scan, attention, layer_normalization, dense_layer);
criterion_main!(kernels);
