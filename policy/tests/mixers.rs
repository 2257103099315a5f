//! What is true of single mixers, and worked numbers.

mod common;

use burn::{
    backend::{Autodiff, Flex},
    module::Module,
    prelude::*,
    tensor::DType,
};
use common::*;
use kernels::{Dropout, FeatureMap, linear_attention};
use policy::{
    DecisionNetwork, DecisionPolicy, FeedForwardKind, Init, PolicyConfig, PolicyError, Reset,
    favor::{Kernel, RandomFeatures, bidirectional_attention, draw_rows},
    mixer::{AnyMixer, CachePolicy},
};

type Cpu = Flex;

const WIDTH: usize = 21;

fn device() -> burn::backend::flex::FlexDevice {
    Default::default()
}

fn double<const D: usize>(numbers: Vec<f64>, shape: [usize; D]) -> Tensor<Cpu, D> {
    Tensor::from_data(burn::tensor::TensorData::new(numbers, shape), (&device(), DType::F64))
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

#[test]
fn more_features_come_nearer_to_softmax_attention_and_any_factor_of_a_query_cancels() {
    let (time, head_dim) = (32, 16);
    let tensor = |seed, scale: f64| {
        let mut init = Init::new(seed);
        double((0..time * head_dim).map(|_| scale * init.draw_normal()).collect(), [1, 1, time, head_dim])
    };
    let (queries, keys, values) = (tensor(1, 0.5), tensor(2, 0.5), tensor(3, 1.0));
    let exact = softmax_attention(queries.clone(), keys.clone(), values.clone());
    let mut last = f64::INFINITY;
    for rows in [16, 256, 1024] {
        let mut sum = 0.0;
        for seed in 0..8 {
            let features = RandomFeatures::<Cpu>::new(Kernel::Softmax, rows, head_dim, true, &mut Init::new(seed), &device());
            let features = features.map(&mut ToDouble);
            let found = bidirectional_attention(&features, queries.clone(), keys.clone(), values.clone());
            sum += numbers((found - exact.clone()).powi_scalar(2).mean())[0] / 8.0;
        }
        println!("{rows} rows: error {:.4}", sum.sqrt());
        assert!(sum.sqrt() < last * 0.7, "{rows} rows: {}", sum.sqrt());
        last = sum.sqrt();
    }
    assert!(last < 0.04, "{last}");
}

struct ToDouble;

impl<B: Backend> burn::module::ModuleMapper<B> for ToDouble {
    fn map_float<const D: usize>(&mut self, param: burn::module::Param<Tensor<B, D>>) -> burn::module::Param<Tensor<B, D>> {
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
fn a_cache_that_holds_the_episode_is_no_bound_and_a_smaller_one_is() {
    let full = mixer::<Cpu>("transformer", 1);
    let x = random_tensor([2, 40, WIDTH], 2);
    let reset = random_reset(2, 40, 13, 3);
    let run = |mixer: &AnyMixer<Cpu>| mixer.forward(x.clone(), &reset, mixer.initial_state(2, &device()), Dropout::OFF);
    let (expected, _) = run(&full);
    for (large, small) in [("window:40", "window:3"), ("sink:2+38", "sink:1+2"), ("h2o:40", "h2o:3"), ("tova:40", "tova:3")] {
        let mut bounded = full.clone();
        assert!(bounded.set_cache(large.parse().unwrap()));
        assert_close(run(&bounded).0, expected.clone(), 1e-6, large);
        bounded.set_cache(small.parse().unwrap());
        let (found, state) = run(&bounded);
        let difference = numbers((found.clone() - expected.clone()).abs().max())[0];
        assert!(difference > 1e-3, "{small} changes nothing");
        // Two rows of three entries; H2O has a number more for each of three heads.
        let scores = if small.starts_with("h2o") { 2 * 3 * 3 * 4 } else { 0 };
        assert_eq!(state.bytes(), 2 * 8 * WIDTH * 3 + scores, "{small}");
        // In pieces, and by way of a stored state.
        let (first, state) = bounded.forward(
            x.clone().slice([0..2, 0..17]),
            &reset.part(0..17),
            bounded.initial_state(2, &device()),
            Dropout::OFF,
        );
        let state = bounded.restore_state(state.to_record(), &device()).unwrap();
        let (second, _) = bounded.forward(x.clone().slice([0..2, 17..40]), &reset.part(17..40), state, Dropout::OFF);
        assert_close(Tensor::cat(vec![first, second], 1), found, 1e-6, small);
    }
}

#[test]
fn a_window_of_entries_is_a_band_of_one_key_more() {
    let mut bounded = mixer::<Cpu>("transformer", 1);
    bounded.set_cache(CachePolicy::Window { capacity: 4 });
    let mut window = config("window/small"); // 5 tokens, the present one included
    window.mixer = "window".into();
    let window = AnyMixer::<Cpu>::new("window", &window, &mut Init::new(1), &device()).unwrap();
    // The same seed draws the same four layers.
    let window = window.map(&mut Times(15.0));
    let x = random_tensor([3, 29, WIDTH], 2);
    let reset = random_reset(3, 29, 11, 3);
    let found = bounded.forward(x.clone(), &reset, bounded.initial_state(3, &device()), Dropout::OFF).0;
    let expected = window.forward(x, &reset, window.initial_state(3, &device()), Dropout::OFF).0;
    assert_close(found, expected, 1e-6, "a window of 4 entries");
}

struct Times(f64);

impl<B: Backend> burn::module::ModuleMapper<B> for Times {
    fn map_float<const D: usize>(&mut self, param: burn::module::Param<Tensor<B, D>>) -> burn::module::Param<Tensor<B, D>> {
        param.map(|tensor| tensor * self.0)
    }
}

#[test]
fn only_a_transformer_has_a_cache_to_bound() {
    let mut policy = policy("transformer");
    policy.network.set_cache(CachePolicy::Tova { capacity: 8 }).unwrap();
    let mut policy: DecisionPolicy<Cpu> = common::policy("aaren");
    assert!(policy.network.set_cache(CachePolicy::Full).is_ok());
    let error = policy.network.set_cache(CachePolicy::Tova { capacity: 8 }).unwrap_err().to_string();
    assert!(error.contains("tova:8") && error.contains("transformer"), "{error}");
}

#[test]
fn aaren_with_a_quick_recency_sees_the_present_alone() {
    let config = config("aaren/recency");
    let mixer = AnyMixer::<Cpu>::new("aaren", &config, &mut Init::new(1), &device()).unwrap();
    struct Quick;
    impl<B: Backend> burn::module::ModuleMapper<B> for Quick {
        fn map_float<const D: usize>(&mut self, param: burn::module::Param<Tensor<B, D>>) -> burn::module::Param<Tensor<B, D>> {
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

#[test]
fn perceiver_reads_a_set_and_answers_the_last_token() {
    let mixer = mixer::<Cpu>("perceiver", 1);
    let x = random_tensor([1, 8, WIDTH], 2);
    let order = Tensor::<Cpu, 1, Int>::from_data([4, 0, 6, 2, 1, 5, 3, 7], &device());
    let run = |x: Tensor<Cpu, 3>| {
        let y = mixer.forward(x, &Reset::none(1, 8, &device()), mixer.initial_state(1, &device()), Dropout::OFF).0;
        y.slice([0..1, 7..8])
    };
    assert_close(run(x.clone().select(1, order)), run(x), 1e-5, "another order");
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
