//! Transformers that act with KV caches of bounded size.

use crate::common::*;
use aaren_kernels::Dropout;
use aaren_policy::mixer::{AnyMixer, AnyState, CachePolicy};
use aaren_policy::{AnyPolicy, Init, Reset};
use burn::backend::Flex;
use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;

type Cpu = Flex;

const WIDTH: usize = 21;

fn device() -> burn::backend::flex::FlexDevice {
    Default::default()
}

/// Window attention over `tokens` tokens with the weights of `mixer("transformer", seed)`, or of `mixer("transformer/rotary", seed)`.
fn band(tokens: usize, rotary: bool, seed: u64) -> AnyMixer<Cpu> {
    struct Times(f64);
    impl<B: Backend> ModuleMapper<B> for Times {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            param.map(|tensor| tensor * self.0)
        }
    }
    let mut config = config("window");
    (config.options.window.tokens, config.options.window.rotary) = (tokens, rotary);
    AnyMixer::new("window", config.sizes(), &config.options, &mut Init::with(seed, config.init), &device())
        .unwrap()
        .map(&mut Times(15.0))
}

#[test]
fn a_cache_that_holds_the_episode_is_no_bound_and_a_smaller_one_is() {
    let full = mixer::<Cpu>("transformer", 1);
    let x = random_tensor([2, 40, WIDTH], 2);
    let reset = random_reset(2, 40, 13, 3);
    let (expected, _) = full.forward(x.clone(), &reset, full.initial_state(2, &device()), Dropout::OFF);
    for (large, small) in [("window:40", "window:3"), ("sink:2+38", "sink:1+2"), ("h2o:40", "h2o:3"), ("tova:40", "tova:3")] {
        let start = |cache: &str| full.bounded_state(cache.parse().unwrap(), 2).unwrap();
        let run = |cache| full.forward(x.clone(), &reset, start(cache), Dropout::OFF);
        assert_close(run(large).0, expected.clone(), 1e-6, large);
        let (found, state) = run(small);
        let difference = numbers((found.clone() - expected.clone()).abs().max())[0];
        assert!(difference > 1e-3, "{small} changes nothing");
        // Two rows of three entries; H2O has a number more for each of three heads.
        let scores = if small.starts_with("h2o") { 2 * 3 * 3 * 4 } else { 0 };
        assert_eq!(state.bytes(), 2 * 8 * WIDTH * 3 + scores, "{small}");
        // In pieces, and by way of a stored state.
        let (first, state) = full.forward(x.clone().slice([0..2, 0..17]), &reset.part(0..17), start(small), Dropout::OFF);
        let state = full.restore_state(state.to_record(), &device()).unwrap();
        let (second, _) = full.forward(x.clone().slice([0..2, 17..40]), &reset.part(17..40), state, Dropout::OFF);
        assert_close(Tensor::cat(vec![first, second], 1), found, 1e-6, small);
    }
}

#[test]
fn a_window_of_entries_is_a_band_of_one_key_more() {
    for (name, rotary) in [("transformer", false), ("transformer/rotary", true)] {
        let full = mixer::<Cpu>(name, 1);
        let bounded = full.bounded_state(CachePolicy::Window { capacity: 4 }, 3).unwrap();
        // 5 tokens, the present one included. The same seed draws the same four layers.
        let window = band(5, rotary, 1);
        let x = random_tensor([3, 29, WIDTH], 2);
        let reset = random_reset(3, 29, 11, 3);
        let expected = window.forward(x.clone(), &reset, window.initial_state(3, &device()), Dropout::OFF).0;
        // In pieces, by way of a stored state.
        let (first, state) = full.forward(x.clone().slice([0..3, 0..17]), &reset.part(0..17), bounded, Dropout::OFF);
        let state = full.restore_state(state.to_record(), &device()).unwrap();
        let (second, _) = full.forward(x.slice([0..3, 17..29]), &reset.part(17..29), state, Dropout::OFF);
        assert_close(Tensor::cat(vec![first, second], 1), expected, 1e-5, &format!("{name} with a window of 4 entries"));
    }
}

#[test]
fn only_a_transformer_has_a_cache_to_bound() {
    let state = |mixer, cache| AnyPolicy::from(policy(mixer)).bounded_state(cache, 2, &device());
    state("transformer", CachePolicy::Tova { capacity: 8 }).unwrap();
    state("aaren", CachePolicy::Full).unwrap();
    let error = state("aaren", CachePolicy::Tova { capacity: 8 }).unwrap_err().to_string();
    assert!(error.contains("tova:8") && error.contains("transformer"), "{error}");
}

/// Layers one after another, each added to its input, over pieces of one sequence from the states that `start` gives for a batch.
fn run(
    layers: &[AnyMixer<Cpu>],
    start: impl Fn(&AnyMixer<Cpu>, usize) -> AnyState<Cpu>,
    x: &Tensor<Cpu, 3>,
    piece: usize,
) -> Tensor<Cpu, 3> {
    let [batch, time, width] = x.dims();
    let mut states: Vec<_> = layers.iter().map(|layer| start(layer, batch)).collect();
    let pieces = (0..time).step_by(piece).map(|start| {
        let tokens = start..(start + piece).min(time);
        let reset = Reset::none(batch, tokens.len(), &device());
        layers.iter().zip(&mut states).fold(x.clone().slice([0..batch, tokens, 0..width]), |x, (layer, state)| {
            let (y, next) = layer.forward(x.clone(), &reset, state.clone(), Dropout::OFF);
            *state = next;
            x + y
        })
    });
    Tensor::cat(pieces.collect(), 1)
}

const CAPACITY: usize = 4;

fn transformers(layers: u64) -> Vec<AnyMixer<Cpu>> {
    (1..=layers).map(|seed| mixer("transformer", seed)).collect()
}

/// The state of a Transformer whose cache holds the last [`CAPACITY`] tokens.
fn bounded(layer: &AnyMixer<Cpu>, batch: usize) -> AnyState<Cpu> {
    layer.bounded_state(CachePolicy::Window { capacity: CAPACITY }, batch).unwrap()
}

#[test]
fn two_layers_with_windows_of_entries_are_two_bands_of_one_key_more() {
    let x = random_tensor([3, 29, WIDTH], 2);
    let found = run(&transformers(2), bounded, &x, 1);
    let bands = [band(CAPACITY + 1, false, 1), band(CAPACITY + 1, false, 2)];
    assert_close(found, run(&bands, |layer, batch| layer.initial_state(batch, &device()), &x, 29), 1e-6, "two layers");
}

#[test]
fn two_layers_look_back_twice_as_far_as_one_and_no_further() {
    let (time, layers) = (20, transformers(2));
    let x = random_tensor([1, time, WIDTH], 2);
    let last = |x: &Tensor<Cpu, 3>| numbers(run(&layers, bounded, x, 1).slice([0..1, time - 1..time]));
    let expected = last(&x);
    for back in 1..time {
        let place = time - 1 - back;
        let other = x.clone().slice_assign([0..1, place..place + 1, 0..WIDTH], random_tensor([1, 1, WIDTH], 9));
        let distance = last(&other).iter().zip(&expected).fold(0.0f64, |most, (a, b)| most.max((a - b).abs()));
        if back <= 2 * CAPACITY {
            assert!(distance > 1e-4, "the token {back} back has no effect: {distance:e}");
        } else {
            assert_eq!(distance, 0.0, "the token {back} back has an effect");
        }
    }
}

#[test]
fn what_is_in_the_window_encoded_anew_is_the_same_for_one_layer_and_not_for_two() {
    let time = 20;
    let x = random_tensor([2, time, WIDTH], 2);
    let seen = x.clone().slice([0..2, time - 1 - CAPACITY..time]);
    for layers in [1, 2] {
        let layers = transformers(layers);
        let stepped = run(&layers, bounded, &x, 1).slice([0..2, time - 1..time]);
        let anew = run(&layers, bounded, &seen, 1).slice([0..2, CAPACITY..CAPACITY + 1]);
        let distance = numbers((stepped - anew).abs().max())[0];
        let is_same = distance < 1e-5;
        assert_eq!(is_same, layers.len() == 1, "{} layers: {distance:e}", layers.len());
        assert!(is_same || distance > 1e-2, "{} layers: {distance:e}", layers.len());
    }
}
