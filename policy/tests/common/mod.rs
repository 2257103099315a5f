//! What the tests of policies share.
#![allow(dead_code)]

pub mod laws;
pub mod state_size;

use aaren_policy::favor::Kernel;
use aaren_policy::mixer::{AnyMixer, Gate, Options, Recency};
use aaren_policy::{
    ActionSpec, DecisionNetwork, DecisionPolicy, Description, Init, Initialization, Normalizer, PolicyConfig, Reset,
};
use burn::backend::Flex;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Numbers in [-1, 1).
pub fn random(count: usize, seed: u64) -> Vec<f64> {
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    (0..count).map(|_| generator.random_range(-1.0..1.0)).collect()
}

/// A random tensor in single precision.
pub fn random_tensor<B: Backend, const D: usize>(shape: [usize; D], seed: u64) -> Tensor<B, D> {
    let data: Vec<f32> = random(shape.iter().product(), seed).into_iter().map(|x| x as f32).collect();
    Tensor::from_data(TensorData::new(data, shape), &Default::default())
}

/// Flags with about one reset in `every` tokens; 0 for none.
pub fn random_reset<B: Backend>(batch: usize, time: usize, every: usize, seed: u64) -> Reset<B> {
    let mut generator = Pcg64Mcg::seed_from_u64(seed);
    let flags = (0..batch * time).map(|_| every > 0 && generator.random_range(0..every) == 0).collect();
    Reset::new(flags, batch, &Default::default())
}

/// The flags of some tokens.
pub fn reset_part<B: Backend>(reset: &Reset<B>, tokens: std::ops::Range<usize>) -> Reset<B> {
    let flags = (0..reset.batch()).flat_map(|row| tokens.clone().map(move |token| (row, token)));
    Reset::new(flags.map(|(row, token)| reset.at(row, token)).collect(), reset.batch(), &Default::default())
}

/// Every mixer, and mixers with options that take other paths.
pub fn variants() -> Vec<&'static str> {
    let more = [
        "aaren/queries",
        "aaren/recency",
        "abc/recency",
        "abc/gate",
        "hyena/small",
        "monarch/plain",
        "monarch/small",
        "performer/elu",
        "performer/hyperbolic",
        "performer/relu",
        "transformer/rotary",
        "window/plain",
        "window/small",
    ];
    aaren_policy::mixer::names().into_iter().chain(more).collect()
}

/// Options of a variant.
fn options(variant: &str) -> Options {
    let mut options = Options::default();
    match variant {
        "aaren/queries" => options.aaren.queries = 2,
        "aaren/recency" => options.aaren.recency = Recency::Learned,
        "abc" => options.abc.slots = 5,
        "abc/recency" => (options.abc.slots, options.abc.recency) = (3, Recency::Learned),
        "abc/gate" => (options.abc.slots, options.abc.gate) = (3, Gate::Given),
        "hyena/small" => (options.hyena.order, options.hyena.taps) = (3, 50),
        "monarch/plain" => (options.monarch.length, options.monarch.residual) = (100, false),
        "monarch/small" => options.monarch.length = 64,
        "performer/elu" => options.performer.kernel = Kernel::Elu,
        "performer/hyperbolic" => options.performer.kernel = Kernel::Hyperbolic,
        "performer/relu" => options.performer.kernel = Kernel::Relu,
        "transformer/rotary" => options.transformer.rotary = Some(true),
        "window/plain" => options.window.rotary = false,
        "window/small" => options.window.tokens = 5,
        other => assert!(!other.contains('/'), "say here what the options of {other} are"),
    }
    options
}

/// Sizes in which no two axes agree.
pub fn config(variant: &str) -> PolicyConfig {
    PolicyConfig {
        mixer: variant.split('/').next().unwrap().into(),
        options: options(variant),
        layers: 2,
        width: 21,
        heads: 3,
        feed_forward: 35,
        // Weights that laws make larger by as much as they need.
        init: Initialization::Published,
        dropout: 0.0,
        max_timesteps: 50,
        return_scale: Some(10.0),
        ..PolicyConfig::default()
    }
}

/// Multiplies all weights but those that are drawn and not trained.
struct Scale {
    factor: f64,
    name: String,
}

impl Scale {
    fn by(factor: f64) -> Self {
        Self { factor, name: String::new() }
    }
}

impl<B: Backend> ModuleMapper<B> for Scale {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.name = name.into();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if self.name == "projection" {
            return param;
        }
        param.map(|tensor| (tensor * self.factor).detach().require_grad())
    }
}

struct Double;

impl<B: Backend> ModuleMapper<B> for Double {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| tensor.cast(DType::F64).detach().require_grad())
    }
}

/// A module in double precision.
pub fn in_double<B: Backend, M: Module<B>>(module: M) -> M {
    module.map(&mut Double)
}

/// What a mixer's weights are multiplied by, drawn as published: those of attention are so small that all scores are near 0. Those of
/// recurrences are not, and much larger ones would make them chaotic: then roundings grow to the size of the outputs.
fn scale(name: &str) -> f64 {
    match name.split('/').next().unwrap() {
        "gru" | "lstm" | "hyena" | "hyena-modal" | "monarch" => 1.0,
        "mamba" | "linear-attention" | "short-conv" => 2.0,
        "perceiver" => 5.0,
        "abc" => 1.5,
        _ => 15.0,
    }
}

/// A mixer whose weights are not as small as freshly drawn ones can be.
pub fn mixer<B: aaren_policy::KernelBackend>(name: &str, seed: u64) -> AnyMixer<B> {
    let config = config(name);
    let init = &mut Init::with(seed, config.init);
    let mixer = AnyMixer::new(&config.mixer, config.sizes(), &config.options, init, &Default::default()).unwrap();
    mixer.map(&mut Scale::by(scale(name)))
}

/// A description of a policy of odd sizes.
pub fn description(mixer: &str) -> Description {
    Description {
        format: Description::FORMAT,
        config: config(mixer),
        normalizer: Normalizer::new(vec![0.5, -1.0, 2.0, 0.0, 1.0], &[1.0, 2.0, 0.5, 1.0, 3.0]),
        action: ActionSpec::Continuous { low: vec![-1.0, -2.0], high: vec![1.0, 4.0] },
        environment: serde_json::json!({ "id": "Test-v0" }),
    }
}

/// A policy on the CPU.
pub fn policy(mixer: &str) -> DecisionPolicy<Flex> {
    let description = description(mixer);
    let network = DecisionNetwork::new(&description, 3, &Default::default()).unwrap();
    DecisionPolicy { network: network.map(&mut Scale::by(4.0)), description }
}

/// The elements of a tensor.
pub fn numbers<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    tensor.into_data().convert::<f64>().to_vec().unwrap()
}

/// Asserts that two tensors differ nowhere by more than `tolerance` times the scale of the expected one.
pub fn assert_close<B: Backend, const D: usize>(found: Tensor<B, D>, expected: Tensor<B, D>, tolerance: f64, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let (found, expected) = (numbers(found), numbers(expected));
    let scale = expected.iter().fold(0.0f64, |scale, x| scale.max(x.abs()));
    assert!(scale > 0.0, "{what}: nothing to compare");
    let error = found.iter().zip(&expected).fold(0.0f64, |error, (a, b)| error.max((a - b).abs()));
    assert!(error <= tolerance * scale, "{what}: off by {error} at a scale of {scale}");
}

/// A tensor in double precision.
pub fn double<const D: usize>(numbers: Vec<f64>, shape: [usize; D]) -> Tensor<Flex, D> {
    Tensor::from_data(TensorData::new(numbers, shape), (&Default::default(), DType::F64))
}

/// Asserts that numbers differ from what they should be by less than `tolerance`.
pub fn near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < tolerance, "element {i}: {found} is not {expected}");
    }
}

/// Softmax attention of every query over all keys, `[1, 1, time, head_dim]`.
pub fn softmax_attention(queries: Tensor<Flex, 4>, keys: Tensor<Flex, 4>, values: Tensor<Flex, 4>) -> Tensor<Flex, 4> {
    let scale = 1.0 / (queries.dims()[3] as f64).sqrt();
    burn::tensor::activation::softmax(queries.matmul(keys.swap_dims(2, 3)) * scale, 3).matmul(values)
}

/// Softmax attention of every query over the keys up to its own, `[1, 1, time, head_dim]`.
pub fn causal_softmax_attention(queries: Tensor<Flex, 4>, keys: Tensor<Flex, 4>, values: Tensor<Flex, 4>) -> Tensor<Flex, 4> {
    let [batch, heads, time, head_dim] = values.dims();
    let prefix = |tensor: &Tensor<Flex, 4>, tokens: std::ops::Range<usize>| {
        tensor.clone().slice([0..batch, 0..heads, tokens, 0..head_dim])
    };
    let rows =
        (0..time).map(|t| softmax_attention(prefix(&queries, t..t + 1), prefix(&keys, 0..t + 1), prefix(&values, 0..t + 1)));
    Tensor::cat(rows.collect(), 2)
}
