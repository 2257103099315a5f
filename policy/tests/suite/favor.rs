//! Linear attention and the Performer's random features, against softmax attention and worked numbers.

use crate::common::*;
use aaren_kernels::{Dropout, FeatureMap, linear_attention};
use aaren_policy::favor::{Kernel, RandomFeatures, draw_rows};
use aaren_policy::mixer::AnyMixer;
use aaren_policy::{Init, Reset};
use burn::backend::{Autodiff, Flex};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::DType;
use burn::tensor::TensorData;
use burn::tensor::backend::AutodiffBackend;

type Cpu = Flex;

const WIDTH: usize = 21;

fn device() -> burn::backend::flex::FlexDevice {
    Default::default()
}

#[test]
fn random_features_of_the_worked_example() {
    let features = |kernel| {
        let mut features = RandomFeatures::<Cpu>::new(kernel, 3, 2, true, &mut Init::new(1), &device());
        features.projection = features.projection.map(|_| double(vec![1.0, 0.0, 1.0, 0.0, 1.0, -1.0], [2, 3]));
        features
    };
    let (query, key) = (double(vec![0.5, -0.25], [1, 1, 1, 2]), double(vec![1.0, 0.5], [1, 1, 1, 2]));
    let positive = features(Kernel::Softmax);
    let (of_query, of_key) = (numbers(positive.exact(query.clone())), numbers(positive.exact(key.clone())));
    near(&of_query, &[0.7871445531, 0.4189449790, 0.9713006130], 1e-9);
    near(&of_key, &[0.8604055189, 0.5650733829, 0.5650733829], 1e-9);
    let dot = |features: RandomFeatures<Cpu>| {
        numbers(features.exact(query.clone()).matmul(features.exact(key.clone()).swap_dims(2, 3)))
    };
    near(&dot(positive), &[1.4628542975], 1e-9);
    near(&dot(features(Kernel::Trigonometric)), &[1.5628622468], 1e-9);
}

/// Mean and variance of the kernel's estimate over draws of four rows, of `q = (.5, 0, .5, 0)` and `k = (0, .5, .5, -.5)`.
fn estimates(kernel: Kernel, orthogonal: bool) -> (f64, f64) {
    let draws = 20_000;
    let mut init = Init::new(7);
    let (query, key) = ([0.5, 0.0, 0.5, 0.0], [0.0, 0.5, 0.5, -0.5]);
    let mut rows = Vec::with_capacity(draws * 16);
    for _ in 0..draws {
        rows.extend(draw_rows(4, 4, orthogonal, &mut init).concat());
    }
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let (q2, k2) = (dot(&query, &query) / 2.0, dot(&key, &key) / 2.0);
    let estimate = |rows: &[f64]| -> f64 {
        let of_row = |row: &[f64]| {
            let (q, k) = (dot(row, &query), dot(row, &key));
            match kernel {
                Kernel::Hyperbolic => ((q + k).exp() + (-q - k).exp()) / 2.0 * (-q2 - k2).exp(),
                Kernel::Trigonometric => (q - k).cos() * (q2 + k2).exp(),
                _ => (q + k - q2 - k2).exp(),
            }
        };
        rows.chunks_exact(4).map(of_row).sum::<f64>() / 4.0
    };
    let estimates: Vec<f64> = rows.chunks_exact(16).map(estimate).collect();
    let mean = estimates.iter().sum::<f64>() / draws as f64;
    (mean, estimates.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws as f64)
}

#[test]
fn estimates_are_unbiased_and_orthogonal_rows_lower_their_variance() {
    let exact = 1.2840254167_f64;
    for (kernel, orthogonal, variance) in [
        (Kernel::Softmax, false, 1.9597536414_f64),
        (Kernel::Softmax, true, 1.8195917639),
        (Kernel::Hyperbolic, false, 0.8095997615),
        (Kernel::Trigonometric, false, 0.1214626499),
    ] {
        let (mean, found) = estimates(kernel, orthogonal);
        println!(
            "{kernel:?}, orthogonal {orthogonal}: mean {mean:.4} (exact {exact:.4}), variance {found:.4} (bound {variance:.4})"
        );
        let deviation = (variance / 20_000.0).sqrt();
        assert!((mean - exact).abs() < 5.0 * deviation, "{kernel:?}, orthogonal {orthogonal}: mean {mean}");
        // Heavy tails: the variance itself is known to a few parts in ten.
        assert!(found < 1.4 * variance && (orthogonal || found > 0.6 * variance), "{kernel:?}, {orthogonal}: variance {found}");
    }
    assert!(estimates(Kernel::Softmax, true).1 < estimates(Kernel::Softmax, false).1);
}

#[test]
fn rows_of_a_block_are_orthogonal_and_as_long_as_normal_ones() {
    let (rows, head_dim) = (11, 5);
    let mut squares = 0.0;
    for seed in 0..200 {
        let drawn = draw_rows(rows, head_dim, true, &mut Init::new(seed));
        for (i, x) in drawn.iter().enumerate() {
            squares += x.iter().map(|x| x * x).sum::<f64>();
            for y in &drawn[i - i % head_dim..i] {
                let cosine = x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / x.iter().chain(y).map(|x| x * x).sum::<f64>();
                assert!(cosine.abs() < 1e-6, "{cosine}");
            }
        }
    }
    let mean = squares / (200 * rows) as f64;
    // The squared length has mean 5 and variance 10.
    assert!((mean - 5.0).abs() < 5.0 * (10.0f64 / (200 * rows) as f64).sqrt(), "{mean}");
}

/// The mean of what features say each query sees, given a factor of its own that each query's features are multiplied by.
fn causal_performer(
    features: &RandomFeatures<Cpu>,
    [queries, keys, values]: [Tensor<Cpu, 4>; 3],
    factors: &[f64],
) -> Tensor<Cpu, 4> {
    struct Multiplied<'a>(&'a RandomFeatures<Cpu>, Tensor<Cpu, 4>);
    impl FeatureMap<Cpu> for Multiplied<'_> {
        fn queries(&self, queries: Tensor<Cpu, 4>) -> Tensor<Cpu, 4> {
            self.0.queries(queries) * self.1.clone()
        }

        fn keys(&self, keys: Tensor<Cpu, 4>) -> Tensor<Cpu, 4> {
            self.0.keys(keys)
        }
    }
    let [_, _, time, head_dim] = values.dims();
    let map = Multiplied(features, double(factors.to_vec(), [1, 1, time, 1]));
    let carry = double(vec![0.0; features.features() * (head_dim + 1)], [1, 1, features.features(), head_dim + 1]);
    let (sums, _) = linear_attention(&map, queries, keys, values, &vec![false; time], carry);
    let part = |columns: std::ops::Range<usize>| sums.clone().slice([0..1, 0..1, 0..time, columns]);
    part(0..head_dim) / part(head_dim..head_dim + 1)
}

/// Attention that looks both ways, `f(Q) (f(K)^T V) / (f(Q) (f(K)^T 1))`: the paper's other form.
fn bidirectional_attention(
    features: &RandomFeatures<Cpu>,
    queries: Tensor<Cpu, 4>,
    keys: Tensor<Cpu, 4>,
    values: Tensor<Cpu, 4>,
) -> Tensor<Cpu, 4> {
    let (queries, keys) = (features.queries(queries), features.keys(keys).swap_dims(2, 3));
    queries.clone().matmul(keys.clone().matmul(values)) / queries.matmul(keys.sum_dim(3))
}

/// Normal queries, keys and values, and features in double precision.
fn normal_case(rows: usize, scale: f64, seed: u64) -> ([Tensor<Cpu, 4>; 3], RandomFeatures<Cpu>) {
    let (time, head_dim, mut init) = (32, 16, Init::new(seed));
    let inputs = [scale, scale, 1.0]
        .map(|scale| double((0..time * head_dim).map(|_| scale * init.draw_normal()).collect(), [1, 1, time, head_dim]));
    let features = RandomFeatures::<Cpu>::new(Kernel::Softmax, rows, head_dim, true, &mut init, &device());
    (inputs, features.map(&mut ToDouble))
}

#[test]
fn more_features_come_nearer_to_softmax_attention_as_fast_as_worked_out() {
    for (scale, figures) in [(0.5, [0.097, 0.057, 0.035, 0.018]), (1.0, [0.35, 0.29, 0.25, 0.20])] {
        for (rows, figure) in [16, 64, 256, 1024].into_iter().zip(figures) {
            let (mut causal, mut both_ways) = (0.0, 0.0);
            let draws = 16;
            for seed in 0..draws {
                let (inputs, features) = normal_case(rows, scale, seed);
                let [queries, keys, values] = inputs.clone();
                let mean_square = |found: Tensor<Cpu, 4>, exact: Tensor<Cpu, 4>| {
                    numbers((found - exact).powi_scalar(2).mean())[0] / draws as f64
                };
                let found = bidirectional_attention(&features, queries.clone(), keys.clone(), values.clone());
                both_ways += mean_square(found, softmax_attention(queries.clone(), keys.clone(), values.clone()));
                causal +=
                    mean_square(causal_performer(&features, inputs, &[1.0; 32]), causal_softmax_attention(queries, keys, values));
            }
            let (causal, both_ways) = (causal.sqrt(), both_ways.sqrt());
            println!("{rows} rows, scale {scale}: causal {causal:.4}, expected about {figure}; both ways {both_ways:.4}");
            assert!((0.8..1.25).contains(&(causal / figure)), "{rows} rows, scale {scale}: {causal} is not about {figure}");
            assert!(both_ways < causal, "{rows} rows, scale {scale}: {both_ways}, causally {causal}");
        }
    }
}

#[test]
fn any_factor_of_a_query_cancels() {
    let (inputs, features) = normal_case(37, 1.0, 1);
    let factors: Vec<f64> = (0..32).map(|token| 10f64.powi(token % 7 - 3)).collect();
    let expected = causal_performer(&features, inputs.clone(), &[1.0; 32]);
    near(&numbers(causal_performer(&features, inputs, &factors)), &numbers(expected), 1e-12);
}

struct ToDouble;

impl<B: Backend> ModuleMapper<B> for ToDouble {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| tensor.cast(DType::F64))
    }
}

/// Products of features as weights, worked by hand.
struct Identity;

impl FeatureMap<Cpu> for Identity {
    fn queries(&self, queries: Tensor<Cpu, 4>) -> Tensor<Cpu, 4> {
        queries
    }

    fn keys(&self, keys: Tensor<Cpu, 4>) -> Tensor<Cpu, 4> {
        keys
    }
}

#[test]
fn linear_attention_sums_what_its_tokens_see() {
    let time = 150; // more than two chunks
    let tensor = |seed, width| double(random(time * width, seed), [1, 1, time, width]);
    let (queries, keys, values) = (tensor(1, 3), tensor(2, 3), tensor(3, 2));
    let reset: Vec<bool> = (0..time).map(|token| token == 70 || token == 71).collect();
    let carry = double(random(9, 4), [1, 1, 3, 3]);
    let (found, next) = linear_attention(&Identity, queries.clone(), keys.clone(), values.clone(), &reset, carry.clone());
    let [queries, keys] = [queries, keys].map(numbers);
    let (values, found, carry) = (numbers(values), numbers(found), numbers(carry));
    let mut sums = carry.clone();
    for token in 0..time {
        if reset[token] {
            sums.fill(0.0);
        }
        for feature in 0..3 {
            let key = keys[3 * token + feature];
            for (column, value) in [values[2 * token], values[2 * token + 1], 1.0].into_iter().enumerate() {
                sums[3 * feature + column] += key * value;
            }
        }
        let expected: Vec<f64> =
            (0..3).map(|column| (0..3).map(|f| queries[3 * token + f] * sums[3 * f + column]).sum()).collect();
        near(&found[3 * token..3 * token + 3], &expected, 1e-11);
    }
    near(&numbers(next), &sums, 1e-11);
}

/// The projection, and whether it has a gradient.
struct Projection<'a> {
    gradients: &'a <Autodiff<Flex> as AutodiffBackend>::Gradients,
    name: String,
    found: Option<(TensorData, bool)>,
}

impl ModuleVisitor<Autodiff<Flex>> for Projection<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.name = name.into();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<Flex>, D>>) {
        if self.name == "projection" {
            self.found = Some((param.val().into_data(), param.val().grad(self.gradients).is_some()));
        }
    }
}

/// Draws every projection anew, as published training does now and then: another function, so only where no state is alive.
struct Redraw {
    seed: u64,
    name: String,
}

impl<B: Backend> ModuleMapper<B> for Redraw {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.name = name.into();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if self.name != "projection" {
            return param;
        }
        let (shape, device) = (param.val().dims(), param.val().device());
        let rows = draw_rows(shape[1], shape[0], true, &mut Init::new(self.seed));
        let data = (0..shape[0]).flat_map(|column| rows.iter().map(move |row| row[column])).collect();
        param.map(|_| Tensor::from_data(burn::tensor::TensorData::new::<f64, _>(data, shape), &device))
    }
}

#[test]
fn a_projection_is_not_trained_and_can_be_drawn_anew() {
    type Graph = Autodiff<Flex>;
    let config = config("performer");
    let mixer = AnyMixer::<Graph>::new("performer", config.sizes(), &config.options, &mut Init::new(1), &device()).unwrap();
    let x = random_tensor([1, 5, WIDTH], 2);
    let run = |mixer: &AnyMixer<Graph>| {
        mixer.forward(x.clone(), &Reset::none(1, 5, &device()), mixer.initial_state(1, &device()), Dropout::OFF).0
    };
    let gradients = run(&mixer).sum().backward();
    let projection = |mixer: &AnyMixer<Graph>| {
        let mut projection = Projection { gradients: &gradients, name: String::new(), found: None };
        mixer.visit(&mut projection);
        projection.found.expect("a Performer has a projection")
    };
    let (before, has_gradient) = projection(&mixer);
    assert!(!has_gradient);
    let redrawn = mixer.clone().map(&mut Redraw { seed: 9, name: String::new() });
    assert_ne!(projection(&redrawn).0, before);
    assert_ne!(run(&redrawn).into_data(), run(&mixer).into_data());
}
