//! What is true of single mixers, and worked numbers.

use crate::common::*;
use aaren_kernels::{Dropout, MonarchTransform};
use aaren_policy::{
    Block, DecisionNetwork, FeedForwardKind, Init, Initialization, PolicyConfig, PolicyError, Reset, mixer::AnyMixer,
};
use burn::backend::{Autodiff, Flex};
use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use std::collections::BTreeMap;

type Cpu = Flex;

const WIDTH: usize = 21;

fn device() -> burn::backend::flex::FlexDevice {
    Default::default()
}

#[test]
fn aaren_with_a_quick_recency_sees_the_present_alone() {
    let config = config("aaren/recency");
    let mixer = AnyMixer::<Cpu>::new("aaren", config.sizes(), &config.options, &mut Init::new(1), &device()).unwrap();
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

pub fn weights(mixer: &AnyMixer<Cpu>) -> BTreeMap<String, Vec<f64>> {
    let mut weights = Weights { path: vec![], found: BTreeMap::new(), other: &|_| None };
    mixer.clone().map(&mut weights);
    weights.found
}

pub fn with_weights(mixer: AnyMixer<Cpu>, other: impl Fn(&str) -> Option<Vec<f64>>) -> AnyMixer<Cpu> {
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
    let aaren = AnyMixer::<Cpu>::new("aaren", config.sizes(), &config.options, &mut Init::new(1), &device())
        .unwrap()
        .map(&mut Times(15.0));
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
fn min_gru_writes_as_much_of_the_token_as_its_gate_says() {
    let mut config = config("min-gru");
    (config.width, config.heads) = (1, 1);
    // What is written is `g` of the token, whatever the gate, which is the same for all.
    let gated = |gate: f64| {
        let drawn = AnyMixer::<Cpu>::new("min-gru", config.sizes(), &config.options, &mut Init::new(1), &device()).unwrap();
        with_weights(drawn, |path| Some(if path == "MinGru.input.weight" { vec![0.0, 1.0] } else { vec![gate, 0.0] }))
    };
    let x = Tensor::<Cpu, 1>::from_data([1.0, -1.0, 3.0], &device()).reshape([1, 3, 1]);
    near(&numbers(outputs(&gated(200.0), x.clone())), &[1.5, 0.2689414214, 3.5], 1e-6);
    near(&numbers(outputs(&gated(0.0), x.clone())), &[0.75, 0.5094707107, 2.0047353553], 1e-6);

    let (half, reset) = (gated(0.0), Reset::none(1, 3, &device()));
    let (y, state) = half.forward(x.clone(), &reset, half.initial_state(1, &device()), Dropout::OFF);
    let kept = numbers(gated(-200.0).forward(x, &reset, state, Dropout::OFF).0);
    assert_eq!(kept, vec![numbers(y)[2]; 3]);
}

#[test]
fn gates_begin_with_times_up_to_the_longest_lag() {
    let kept = |name: &str, max_lag: usize| {
        let mut config = config(name);
        (config.width, config.heads) = (64, 1);
        (config.options.gru.max_lag, config.options.min_gru.max_lag) = (max_lag, max_lag);
        let mixer = AnyMixer::<Cpu>::new(name, config.sizes(), &config.options, &mut Init::new(1), &device()).unwrap();
        // What of a strong first token is left after a hundred weak ones, over what is left after none.
        let spike =
            Tensor::cat(vec![Tensor::<Cpu, 3>::ones([1, 1, 64], &device()) * 9.0, Tensor::zeros([1, 100, 64], &device())], 1);
        let calm = Tensor::<Cpu, 3>::zeros([1, 101, 64], &device());
        let effect = (outputs(&mixer, spike) - outputs(&mixer, calm)).abs().mean_dim(2);
        let effect = numbers(effect);
        effect[100] / effect[0]
    };
    for name in ["gru", "min-gru"] {
        let (published, lagged) = (kept(name, 0), kept(name, 1000));
        assert!(published < 0.01 && lagged > 0.5, "{name}: {published}, {lagged}");
    }
}

#[test]
fn weights_of_attention_are_as_large_as_their_inputs_ask_for_or_as_published() {
    let mut config = config("aaren");
    (config.width, config.heads) = (64, 1);
    let deviations = |init: Initialization| {
        let mixer = AnyMixer::<Cpu>::new("aaren", config.sizes(), &config.options, &mut Init::with(1, init), &device()).unwrap();
        weights(&mixer)
            .into_iter()
            .filter(|(path, _)| !path.ends_with("bias"))
            .map(|(_, weights)| (weights.iter().map(|x| x * x).sum::<f64>() / weights.len() as f64).sqrt())
            .collect::<Vec<_>>()
    };
    let ([published, fan_in], uniform) =
        ([Initialization::Published, Initialization::FanIn].map(deviations), 1.0 / (3.0 * 64f64).sqrt());
    assert_eq!((published.len(), fan_in.len()), (5, 5));
    published.iter().for_each(|found| assert!((0.017..0.023).contains(found), "{found}"));
    // Four matrices, and the query token.
    let of_matrices = fan_in.iter().filter(|found| (0.95 * uniform..1.05 * uniform).contains(*found)).count();
    let of_token = fan_in.iter().filter(|found| (0.8..1.2).contains(*found)).count();
    assert_eq!((of_matrices, of_token), (4, 1), "{fan_in:?}");
}

/// Dropped weights of attention are tokens that a head does not see from then on, and on the mean they change nothing.
#[test]
fn aaren_drops_weights_of_attention() {
    let mut config = config("aaren");
    config.heads = 1;
    let mixer = AnyMixer::<Cpu>::new("aaren", config.sizes(), &config.options, &mut Init::new(1), &device()).unwrap();
    let none = weights(&mixer)["Aaren.output.bias"].len();
    let mixer =
        with_weights(mixer, |path| (path.ends_with("output.bias") || path.ends_with("value.bias")).then(|| vec![0.0; none]));
    let x = random_tensor([1, 5, WIDTH], 3);
    let run =
        |dropout: Dropout| mixer.forward(x.clone(), &Reset::none(1, 5, &device()), mixer.initial_state(1, &device()), dropout).0;
    let seeds = 4000;
    let mut mean = Tensor::<Cpu, 3>::zeros([1, 5, WIDTH], &device());
    let mut dropped = 0;
    for seed in 1..=seeds {
        let found = run(Dropout { probability: 0.25, seed });
        // The first output has the first token alone: nothing, or as much again as is dropped of others.
        let first = numbers(found.clone().slice([0..1, 0..1, 0..WIDTH]).abs().max())[0];
        dropped += u32::from(first == 0.0);
        mean = mean + found / seeds as f64;
    }
    assert_close(mean, run(Dropout::OFF), 0.06, "mean");
    assert!((0.22..0.28).contains(&(f64::from(dropped) / seeds as f64)), "{dropped}");
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
    let perceiver = AnyMixer::<Cpu>::new("perceiver", config.sizes(), &config.options, &mut Init::new(2), &device()).unwrap();
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
fn the_order_in_a_window_is_seen_where_positions_are_rotary() {
    let x = random_tensor([1, 5, WIDTH], 2);
    for (name, order_matters) in
        [("window/small", true), ("window/plain", false), ("transformer/rotary", true), ("transformer", false)]
    {
        let mixer = mixer::<Cpu>(name, 1);
        let last = |order: [i32; 5]| {
            let x: Tensor<Cpu, 3> = x.clone().select(1, Tensor::<Cpu, 1, Int>::from_data(order, &device()));
            outputs(&mixer, x).slice([0..1, 4..5])
        };
        let distance = numbers((last([0, 1, 2, 3, 4]) - last([2, 0, 3, 1, 4])).abs().max())[0];
        assert_eq!(distance > 1e-3, order_matters, "{name}: {distance:e}");
        assert!(order_matters || distance < 1e-5, "{name}: {distance:e}");
    }
}

#[test]
fn attention_has_rotary_positions_in_striped_hyena_unless_a_config_says_otherwise() {
    let second = |mixer: &str, rotary: Option<bool>| {
        let mut config = config("transformer");
        (config.mixer, config.options.transformer.rotary) = (mixer.into(), rotary);
        config.check().unwrap();
        let block = Block::<Cpu>::new("transformer", &config, &mut Init::with(1, config.init), &device()).unwrap();
        numbers(outputs(&block.mixer().clone().map(&mut Times(15.0)), random_tensor([2, 9, WIDTH], 2)))
    };
    let [rotary, plain] = [true, false].map(|rotary| second("transformer", Some(rotary)));
    assert_ne!(rotary, plain);
    assert_eq!(second("transformer", None), plain);
    assert_eq!(second("striped-hyena", None), rotary);
    assert_eq!(second("striped-hyena", Some(false)), plain);
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
        AnyMixer::<Cpu>::new(name, config.sizes(), &config.options, &mut Init::new(1), &device()).unwrap().num_params()
    };
    let config = PolicyConfig::default(); // a width of 128, 3 layers
    assert_eq!(count("mamba", &config), 116_480);
    // The published model of 24 layers: a norm of gains before each and after the last, tied embeddings of 50,280 words.
    let wide = count("mamba", &PolicyConfig { width: 768, ..config.clone() });
    assert_eq!(24 * (wide + 768) + 768 + 50_280 * 768, 129_135_360);
    assert_eq!(count("lstm", &config), 4 * (2 * 128 * 128 + 2 * 128) + 2 * 128);
    assert_eq!(count("gru", &config), 3 * (2 * 128 * 128 + 2 * 128) + 128);
    assert_eq!(count("min-gru", &config), 2 * (128 * 128 + 128));
    assert_eq!(count("aaren", &config), count("transformer", &config) + 128);
}
