//! What is true of single mixers, and worked numbers.

mod common;

use burn::{
    backend::{Autodiff, Flex},
    module::{Module, ModuleMapper, Param},
    prelude::*,
    tensor::{DType, TensorData},
};
use common::*;
use kernels::{Dropout, FeatureMap, MonarchTransform, linear_attention};
use policy::{
    DecisionNetwork, FeedForwardKind, Init, PolicyConfig, PolicyError, Reset,
    favor::{Kernel, RandomFeatures, bidirectional_attention, draw_rows},
    mixer::AnyMixer,
};
use std::collections::BTreeMap;

type Cpu = Flex;

const WIDTH: usize = 21;

fn device() -> burn::backend::flex::FlexDevice {
    Default::default()
}

fn double<const D: usize>(numbers: Vec<f64>, shape: [usize; D]) -> Tensor<Cpu, D> {
    Tensor::from_data(TensorData::new(numbers, shape), (&device(), DType::F64))
}

fn near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < tolerance, "element {i}: {found} is not {expected}");
    }
}

/// Softmax attention of every query over all keys, `[1, 1, time, head_dim]`.
fn softmax_attention(queries: Tensor<Cpu, 4>, keys: Tensor<Cpu, 4>, values: Tensor<Cpu, 4>) -> Tensor<Cpu, 4> {
    let scale = 1.0 / (queries.dims()[3] as f64).sqrt();
    burn::tensor::activation::softmax(queries.matmul(keys.swap_dims(2, 3)) * scale, 3).matmul(values)
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

/// Softmax attention of every query over the keys up to its own, `[1, 1, time, head_dim]`.
fn causal_softmax_attention(queries: Tensor<Cpu, 4>, keys: Tensor<Cpu, 4>, values: Tensor<Cpu, 4>) -> Tensor<Cpu, 4> {
    let [batch, heads, time, head_dim] = values.dims();
    let prefix =
        |tensor: &Tensor<Cpu, 4>, tokens: std::ops::Range<usize>| tensor.clone().slice([0..batch, 0..heads, tokens, 0..head_dim]);
    let rows =
        (0..time).map(|t| softmax_attention(prefix(&queries, t..t + 1), prefix(&keys, 0..t + 1), prefix(&values, 0..t + 1)));
    Tensor::cat(rows.collect(), 2)
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

#[test]
fn aaren_with_a_quick_recency_sees_the_present_alone() {
    let config = config("aaren/recency");
    let mixer = AnyMixer::<Cpu>::new("aaren", &config, &mut Init::new(1), &device()).unwrap();
    struct Quick;
    impl<B: Backend> ModuleMapper<B> for Quick {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            // The rates are the only parameter of as many numbers as there are heads.
            param.map(|tensor| if tensor.dims().iter().product::<usize>() == 3 { tensor * 0.0 + 60.0 } else { tensor })
        }
    }
    let run = |mixer: &AnyMixer<Cpu>, x: Tensor<Cpu, 3>| {
        let [batch, time, _] = x.dims();
        mixer.forward(x, &Reset::none(batch, time, &device()), mixer.initial_state(batch, &device()), Dropout::OFF).0
    };
    let quick = mixer.map(&mut Quick);
    let x = random_tensor([2, 9, WIDTH], 5);
    let whole = run(&quick, x.clone());
    let alone: Vec<_> = (0..9).map(|token| run(&quick, x.clone().slice([0..2, token..token + 1]))).collect();
    assert_close(whole, Tensor::cat(alone, 1), 1e-5, "tokens alone");
}

/// The parameters of a mixer by their paths, and others in their place.
struct Weights<'a> {
    path: Vec<String>,
    found: BTreeMap<String, Vec<f64>>,
    other: &'a dyn Fn(&str) -> Option<Vec<f64>>,
}

impl<B: Backend> ModuleMapper<B> for Weights<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let path = self.path.join(".");
        self.found.insert(path.clone(), numbers(param.val()));
        match (self.other)(&path) {
            Some(data) => {
                param.map(|tensor| Tensor::from_data(TensorData::new(data, tensor.dims()), (&tensor.device(), tensor.dtype())))
            }
            None => param,
        }
    }
}

fn weights(mixer: &AnyMixer<Cpu>) -> BTreeMap<String, Vec<f64>> {
    let mut weights = Weights { path: vec![], found: BTreeMap::new(), other: &|_| None };
    mixer.clone().map(&mut weights);
    weights.found
}

fn with_weights(mixer: AnyMixer<Cpu>, other: impl Fn(&str) -> Option<Vec<f64>>) -> AnyMixer<Cpu> {
    mixer.map(&mut Weights { path: vec![], found: BTreeMap::new(), other: &other })
}

/// Outputs of one pass from the initial state, without resets.
fn outputs(mixer: &AnyMixer<Cpu>, x: Tensor<Cpu, 3>) -> Tensor<Cpu, 3> {
    let [batch, time, _] = x.dims();
    mixer.forward(x, &Reset::none(batch, time, &device()), mixer.initial_state(batch, &device()), Dropout::OFF).0
}

#[test]
fn aaren_is_softmax_attention_of_its_query_over_every_prefix() {
    let mut config = config("aaren");
    config.heads = 1;
    let aaren = AnyMixer::<Cpu>::new("aaren", &config, &mut Init::new(1), &device()).unwrap().map(&mut Times(15.0));
    let weights = weights(&aaren);
    let matrix = |name: &str, rows: usize| double(weights[name].clone(), [rows, WIDTH]);
    let x = random_tensor::<Cpu, 3>([1, 13, WIDTH], 2);
    let tokens = x.clone().cast(DType::F64).reshape([13, WIDTH]);
    let layer = |x: Tensor<Cpu, 2>, name: &str| {
        let y = x.matmul(matrix(&format!("Aaren.{name}.weight"), WIDTH)) + matrix(&format!("Aaren.{name}.bias"), 1);
        let rows = y.dims()[0];
        y.reshape([1, 1, rows, WIDTH])
    };
    let query = layer(matrix("Aaren.query_token", 1), "query").expand([1, 1, 13, WIDTH]);
    let attended = causal_softmax_attention(query, layer(tokens.clone(), "key"), layer(tokens, "value"));
    let expected = layer(attended.reshape([13, WIDTH]), "output").reshape([1, 13, WIDTH]);
    assert_close(outputs(&aaren, x).cast(DType::F64), expected, 1e-5, "attention");
}

struct Times(f64);

impl<B: Backend> ModuleMapper<B> for Times {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| tensor * self.0)
    }
}

#[test]
fn aaren_with_a_query_of_0_takes_the_mean_and_the_bias_of_its_keys_does_nothing() {
    let aaren = mixer::<Cpu>("aaren", 1);
    let x = random_tensor::<Cpu, 3>([2, 9, WIDTH], 2);
    let expected = outputs(&aaren, x.clone());
    let other_bias = with_weights(aaren.clone(), |path| (path == "Aaren.key.bias").then(|| random(WIDTH, 3)));
    assert_ne!(weights(&other_bias)["Aaren.key.bias"], weights(&aaren)["Aaren.key.bias"]);
    assert_close(outputs(&other_bias, x.clone()), expected.clone(), 1e-5, "another bias of the keys");

    let of_0 = with_weights(aaren, |path| (path == "Aaren.query_token").then(|| vec![0.0; WIDTH]));
    assert_eq!(weights(&of_0)["Aaren.query.bias"], vec![0.0; WIDTH]);
    // The mean of values, and what the output layer makes of it: it is affine, so the mean of what it makes of single values.
    let alone = |token: usize| outputs(&of_0, x.clone().slice([0..2, token..token + 1]));
    let mut sum = alone(0).zeros_like();
    let means = (0..9).map(|token| {
        sum = sum.clone() + alone(token);
        sum.clone() / (token + 1) as f64
    });
    let means = Tensor::cat(means.collect(), 1);
    let distance = numbers((expected - means.clone()).abs().max())[0];
    assert!(distance > 1e-3, "a query takes the mean whatever it is");
    assert_close(outputs(&of_0, x), means, 1e-5, "a query of 0");
}

#[test]
fn perceiver_with_one_latent_reads_as_aaren_does() {
    let aaren = mixer::<Cpu>("aaren", 1);
    let of_aaren = weights(&aaren);
    let (token, map) = (
        double(of_aaren["Aaren.query_token"].clone(), [1, WIDTH]),
        double(of_aaren["Aaren.query.weight"].clone(), [WIDTH, WIDTH]),
    );
    let query = numbers(token.matmul(map) + double(of_aaren["Aaren.query.bias"].clone(), [1, WIDTH]));
    let mut config = config("perceiver");
    config.options.perceiver.latents = 1;
    let perceiver = AnyMixer::<Cpu>::new("perceiver", &config, &mut Init::new(2), &device()).unwrap();
    let perceiver = with_weights(perceiver, |path| match path.strip_prefix("Perceiver.").unwrap() {
        "latents" => Some(query.clone()),
        own if own.starts_with("key.") || own.starts_with("value.") => Some(of_aaren[&format!("Aaren.{own}")].clone()),
        _ => None,
    });
    let (x, reset) = (random_tensor::<Cpu, 3>([2, 11, WIDTH], 3), random_reset(2, 11, 6, 4));
    let [mut read, mut expected] = [perceiver.initial_state(2, &device()), aaren.initial_state(2, &device())];
    for token in 0..11 {
        let (x, reset) = (x.clone().slice([0..2, token..token + 1]), reset.part(token..token + 1));
        read = perceiver.forward(x.clone(), &reset, read, Dropout::OFF).1;
        expected = aaren.forward(x, &reset, expected, Dropout::OFF).1;
        let (mut read, mut expected) = (read.to_record(), expected.to_record());
        let [found, log_sum] = [&mut read, &mut expected].map(|record| record.take::<Cpu, 2>("log_sum", &device()).unwrap());
        assert_close(found, log_sum, 1e-5, &format!("log-sums after {token}"));
        let [found, mean] = [&mut read, &mut expected].map(|record| record.take::<Cpu, 3>("output", &device()).unwrap());
        assert_close(found, mean, 1e-5, &format!("means after {token}"));
    }
}

#[test]
fn perceiver_reads_a_set_and_answers_the_last_token() {
    let mixer = mixer::<Cpu>("perceiver", 1);
    let x = random_tensor([1, 8, WIDTH], 2);
    let run = |order: [i32; 8]| {
        let x: Tensor<Cpu, 3> = x.clone().select(1, Tensor::<Cpu, 1, Int>::from_data(order, &device()));
        let (y, state) = mixer.forward(x, &Reset::none(1, 8, &device()), mixer.initial_state(1, &device()), Dropout::OFF);
        (y.slice([0..1, 7..8]), state.to_record().take::<Cpu, 3>("output", &device()).unwrap())
    };
    let (expected, read) = run([0, 1, 2, 3, 4, 5, 6, 7]);
    assert_close(run([4, 0, 6, 2, 1, 5, 3, 7]).0, expected, 1e-5, "another order");
    assert_close(run([7, 0, 6, 2, 1, 5, 3, 4]).1, read, 1e-5, "another token last");
}

#[test]
fn a_convolution_of_seven_by_transforms_needs_sixteen_points_and_not_eight() {
    let tensor = |seed| double(random(7, seed), [1, 7, 1]);
    let (x, filter) = (tensor(1), tensor(2).reshape([7, 1]));
    let [signal, taps] = [x.clone(), tensor(2)].map(numbers);
    let direct: Vec<f64> = (0..7).map(|t| (0..=t).map(|lag| taps[lag] * signal[t - lag]).sum()).collect();
    let error = |n1, n2| {
        let transform = MonarchTransform::<Cpu>::new(n1, n2, &device(), DType::F64);
        let found = numbers(transform.convolve(x.clone(), filter.clone()));
        found.iter().zip(&direct).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()))
    };
    assert!(error(4, 4) < 5e-15, "{:e}", error(4, 4));
    assert!(error(2, 4) > 0.1, "{:e}", error(2, 4));
}

#[test]
fn stacks_and_lists_say_the_mixer_of_every_block() {
    let with = |mixer: &str, mixers: &[&str], layers| PolicyConfig {
        mixer: mixer.into(),
        mixers: mixers.iter().map(|name| name.to_string()).collect(),
        layers,
        ..PolicyConfig::default()
    };
    let blocks = |config: PolicyConfig| config.mixer_of_blocks().unwrap();
    assert_eq!(blocks(with("aaren", &["aaren", "attention", "aaren"], 3)), ["aaren", "transformer", "aaren"]);
    assert_eq!(blocks(with("aaren", &["gru", "aaren"], 4)), ["gru", "aaren", "gru", "aaren"]);
    assert_eq!(blocks(with("based", &[], 4)), ["short-conv", "linear-attention", "window", "short-conv"]);
    assert_eq!(blocks(with("striped-hyena", &[], 3)), ["hyena-modal", "transformer", "hyena-modal"]);
    for config in [with("aaren", &["aaren", "attention", "gru"], 3), with("based", &[], 3)] {
        let mut description = description("aaren");
        description.config = PolicyConfig { width: 12, heads: 3, feed_forward: 8, ..config };
        description.config.feed_forward_kind = FeedForwardKind::Monarch;
        DecisionNetwork::<Autodiff<Flex>>::new(&description, 1, &device()).unwrap();
    }
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let error = |change: fn(&mut PolicyConfig)| {
        let mut config = PolicyConfig::default();
        change(&mut config);
        config.check().unwrap_err()
    };
    let cases: [(PolicyError, &[&str]); 9] = [
        (error(|c| c.mixer = "aren".into()), &["\"aren\"", "aaren", "based"]),
        (error(|c| c.mixers = vec!["gru".into(), "lstm".into()]), &["policy.mixers", "2 mixers", "which is 3"]),
        (error(|c| (c.mixer, c.mixers) = ("gru".into(), vec!["lstm".into()])), &["policy.mixers", "besides", "\"gru\""]),
        (error(|c| c.mixers = vec!["based".into()]), &["policy.mixers", "\"based\" is a stack"]),
        (error(|c| c.options.performer.rows = 9), &["options.performer", "no block is \"performer\""]),
        (error(|c| (c.mixer, c.options.monarch.length) = ("monarch".into(), 1000)), &["options.monarch.length", "1000", "1024"]),
        (error(|c| (c.mixer, c.options.hyena.embedding) = ("hyena".into(), 4)), &["options.hyena.embedding", "odd"]),
        (error(|c| (c.width, c.feed_forward_kind) = (130, FeedForwardKind::Monarch)), &["feed_forward_kind", "130"]),
        (error(|c| c.heads = 3), &["policy.heads", "3 heads", "128"]),
    ];
    for (error, words) in cases {
        let text = error.to_string();
        words.iter().for_each(|word| assert!(text.contains(word), "{text} lacks {word}"));
    }
}

#[test]
fn parameters_are_as_many_as_published() {
    let count = |name: &str, config: &PolicyConfig| {
        AnyMixer::<Cpu>::new(name, config, &mut Init::new(1), &device()).unwrap().num_params()
    };
    let config = PolicyConfig::default(); // a width of 128, 3 layers
    assert_eq!(count("mamba", &config), 116_480);
    // The published model of 24 layers: a norm of gains before each and after the last, tied embeddings of 50,280 words.
    let wide = count("mamba", &PolicyConfig { width: 768, ..config.clone() });
    assert_eq!(24 * (wide + 768) + 768 + 50_280 * 768, 129_135_360);
    assert_eq!(count("lstm", &config), 4 * (2 * 128 * 128 + 2 * 128) + 2 * 128);
    assert_eq!(count("gru", &config), 3 * (2 * 128 * 128 + 2 * 128) + 128);
    assert_eq!(count("aaren", &config), count("transformer", &config) + 128);
}

#[test]
fn a_projection_is_not_trained_and_can_be_drawn_anew() {
    type Graph = Autodiff<Flex>;
    let mixer = AnyMixer::<Graph>::new("performer", &config("performer"), &mut Init::new(1), &device()).unwrap();
    let AnyMixer::Performer(before) = &mixer else { panic!("another mixer") };
    let x = random_tensor([1, 5, WIDTH], 2);
    let run = |mixer: &AnyMixer<Graph>| {
        mixer.forward(x.clone(), &Reset::none(1, 5, &device()), mixer.initial_state(1, &device()), Dropout::OFF).0
    };
    let gradients = run(&mixer).sum().backward();
    let projection = before.projection();
    assert!(projection.grad(&gradients).is_none());
    let redrawn = mixer.clone().redrawn(&mut Init::new(9));
    let AnyMixer::Performer(after) = &redrawn else { panic!("another mixer") };
    assert_ne!(after.projection().into_data(), projection.into_data());
    assert_ne!(run(&redrawn).into_data(), run(&mixer).into_data());
}
