//! The laws: what every mixer must obey for acting and training to be the same function.

mod common;

use burn::{
    backend::{Autodiff, Flex},
    module::{AutodiffModule, ModuleVisitor, Param},
    prelude::*,
    tensor::DType,
};
use common::*;
use kernels::Dropout;
use policy::{
    Reset,
    mixer::{AnyMixer, AnyState},
};
use proptest::prelude::*;

type Cpu = Flex;
type Graph = Autodiff<Flex>;

const BATCH: usize = 5;
const WIDTH: usize = 21;
/// Law 1's bound: f32 sums in another order.
const CHUNKED: f64 = 1e-5;

fn device() -> burn::backend::flex::FlexDevice {
    Default::default()
}

/// A state that is not the initial one: 17 tokens have gone by.
fn warm_state(mixer: &AnyMixer<Cpu>, seed: u64) -> AnyState<Cpu> {
    let state = mixer.initial_state(BATCH, &device());
    let x = random_tensor([BATCH, 17, WIDTH], seed);
    mixer.forward(x, &random_reset(BATCH, 17, 9, seed), state, Dropout::OFF).1
}

fn tokens(x: &Tensor<Cpu, 3>, part: std::ops::Range<usize>) -> Tensor<Cpu, 3> {
    x.clone().slice([0..BATCH, part, 0..WIDTH])
}

fn in_chunks(
    mixer: &AnyMixer<Cpu>,
    x: &Tensor<Cpu, 3>,
    reset: &Reset<Cpu>,
    mut state: AnyState<Cpu>,
    lengths: impl Iterator<Item = usize>,
) -> Tensor<Cpu, 3> {
    let time = x.dims()[1];
    let (mut start, mut pieces) = (0, Vec::new());
    for length in lengths {
        let part = start..(start + length).min(time);
        let (y, next) = mixer.forward(tokens(x, part.clone()), &reset_part(reset, part.clone()), state, Dropout::OFF);
        (state, start) = (next, part.end);
        pieces.push(y);
        if start == time {
            break;
        }
    }
    Tensor::cat(pieces, 1)
}

#[test]
fn law_1_any_split_gives_the_outputs_of_one_pass() {
    for name in variants() {
        let mixer = mixer::<Cpu>(name, 1);
        for (time, reset_every, warm) in
            [(1, 0, true), (31, 0, false), (31, 7, true), (257, 40, true), (3000, 700, false), (1100, 0, true)]
        {
            let x = random_tensor([BATCH, time, WIDTH], 2);
            let reset = random_reset(BATCH, time, reset_every, 3);
            let state = if warm { warm_state(&mixer, 4) } else { mixer.initial_state(BATCH, &device()) };
            let (expected, _) = mixer.forward(x.clone(), &reset, state.clone(), Dropout::OFF);
            let chunks: &[usize] = if time < 1000 { &[1, 3, 10, 64] } else { &[3, 611] };
            for &chunk in chunks {
                let found = in_chunks(&mixer, &x, &reset, state.clone(), std::iter::repeat(chunk));
                assert_close(found, expected.clone(), CHUNKED, &format!("{name}, {time} tokens in chunks of {chunk}"));
            }
            let uneven = [1, 2, 30, 5, 1, 100, 7].into_iter().cycle();
            let found = in_chunks(&mixer, &x, &reset, state, uneven);
            assert_close(found, expected, CHUNKED, &format!("{name}, {time} tokens in uneven chunks"));
        }
    }
}

#[test]
fn law_2_a_token_changes_no_output_before_it() {
    for name in variants() {
        let mixer = mixer::<Cpu>(name, 1);
        for (time, changed) in [(9, 4), (97, 0), (97, 50), (97, 96)] {
            let x = random_tensor([BATCH, time, WIDTH], 2);
            let other = x.clone().slice_assign([0..BATCH, changed..changed + 1, 0..WIDTH], random_tensor([BATCH, 1, WIDTH], 9));
            let run =
                |x: Tensor<Cpu, 3>| mixer.forward(x, &random_reset(BATCH, time, 30, 3), warm_state(&mixer, 4), Dropout::OFF).0;
            let (before, after) = (run(x), run(other));
            if changed > 0 {
                let part = |y: &Tensor<Cpu, 3>| tokens(y, 0..changed).into_data();
                assert_eq!(part(&before), part(&after), "{name}: token {changed} of {time} reached back");
            }
            let own = |y: &Tensor<Cpu, 3>| numbers(tokens(y, changed..changed + 1));
            assert_ne!(own(&before), own(&after), "{name}: token {changed} of {time} has no effect");
        }
    }
}

#[test]
fn law_3_a_reset_gives_what_a_fresh_sequence_gives() {
    for name in variants() {
        let mixer = mixer::<Cpu>(name, 1);
        for (time, at) in [(1, 0), (13, 0), (13, 12), (131, 77)] {
            let x = random_tensor([BATCH, time, WIDTH], 2);
            let flags = (0..BATCH * time).map(|i| i % time == at).collect();
            let (packed, state) =
                mixer.forward(x.clone(), &Reset::new(flags, BATCH, &device()), warm_state(&mixer, 4), Dropout::OFF);
            let (fresh, fresh_state) = mixer.forward(
                tokens(&x, at..time),
                &Reset::none(BATCH, time - at, &device()),
                mixer.initial_state(BATCH, &device()),
                Dropout::OFF,
            );
            assert_close(tokens(&packed, at..time), fresh, CHUNKED, &format!("{name}, reset at {at} of {time}"));
            // And the states go on alike.
            let next = random_tensor([BATCH, 4, WIDTH], 5);
            let none = Reset::none(BATCH, 4, &device());
            let found = mixer.forward(next.clone(), &none, state, Dropout::OFF).0;
            let expected = mixer.forward(next, &none, fresh_state, Dropout::OFF).0;
            assert_close(found, expected, CHUNKED, &format!("{name}, after a reset at {at} of {time}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Laws 1 to 3 at once, for any length, any split, any resets, and either kind of first state: run in pieces, with another
    /// token after `seen`, from any state, the outputs up to `seen` are those of one pass, and from the last reset on they are those
    /// of a fresh sequence.
    #[test]
    fn laws_1_to_3_for_any_length_split_and_resets(
        time in 1usize..260,
        lengths in prop::collection::vec(1usize..90, 1..12),
        reset_every in prop_oneof![Just(0usize), 2usize..60],
        warm in any::<bool>(),
        seen in 0usize..260,
        seed in 0u64..1000,
    ) {
        let seen = seen % time + 1;
        for name in variants() {
            let mixer = mixer::<Cpu>(name, seed);
            let (x, reset) = (random_tensor([BATCH, time, WIDTH], seed + 1), random_reset(BATCH, time, reset_every, seed + 2));
            let state = if warm { warm_state(&mixer, seed + 3) } else { mixer.initial_state(BATCH, &device()) };
            let (whole, _) = mixer.forward(x.clone(), &reset, state.clone(), Dropout::OFF);

            let mut other = x.clone();
            if seen < time {
                let later = random_tensor([BATCH, time - seen, WIDTH], seed + 4);
                other = other.slice_assign([0..BATCH, seen..time, 0..WIDTH], later);
            }
            let pieces = in_chunks(&mixer, &other, &reset, state, lengths.iter().copied().cycle());
            let what = format!("{name}, {time} tokens, {seen} of them alike");
            assert_close(tokens(&pieces, 0..seen), tokens(&whole, 0..seen), CHUNKED, &what);

            for row in 0..BATCH {
                let Some(start) = (0..time).rfind(|&token| reset.at(row, token)) else { continue };
                let part = |tensor: &Tensor<Cpu, 3>| tensor.clone().slice([row..row + 1, start..time, 0..WIDTH]);
                let none = Reset::none(1, time - start, &device());
                let fresh = mixer.forward(part(&x), &none, mixer.initial_state(1, &device()), Dropout::OFF).0;
                assert_close(part(&whole), fresh, CHUNKED, &format!("{what}, row {row} from {start}"));
            }
        }
    }
}

/// Gradients of every parameter, in the order of a visit.
struct ParameterGradients<'a> {
    gradients: &'a <Graph as burn::tensor::backend::AutodiffBackend>::Gradients,
    found: Vec<f64>,
}

impl ModuleVisitor<Graph> for ParameterGradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Graph, D>>) {
        let value = param.val();
        let gradient = value.grad(self.gradients).unwrap_or_else(|| value.inner().zeros_like());
        self.found.extend(numbers(gradient));
    }
}

/// Adds `step` to the parameter of a given number, counted in the order of a visit.
struct Nudge {
    index: usize,
    step: f64,
}

impl<B: Backend> burn::module::ModuleMapper<B> for Nudge {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let count = param.val().shape().num_elements();
        let index = self.index;
        self.index = self.index.wrapping_sub(count);
        if index >= count {
            return param;
        }
        let step = self.step;
        param.map(|tensor| {
            let (shape, device) = (tensor.dims(), tensor.device());
            let mut data = tensor.into_data().convert::<f64>().to_vec::<f64>().unwrap();
            data[index] += step;
            Tensor::from_data(burn::tensor::TensorData::new(data, shape), (&device, DType::F64))
        })
    }
}

#[test]
fn law_4_gradients_agree_with_finite_differences() {
    let (batch, time) = (2, 9);
    for name in variants() {
        let mixer = in_double(mixer::<Graph>(name, 1));
        let double = |tensor: Tensor<Graph, 3>| tensor.cast(DType::F64);
        let (x, weights) = (double(random_tensor([batch, time, WIDTH], 2)), double(random_tensor([batch, time, WIDTH], 3)));
        let flags = (0..batch * time).map(|i| i == 4).collect::<Vec<_>>();
        // Two chunks, so that gradients pass through the carried state as well.
        fn loss<B: policy::KernelBackend>(
            mixer: &AnyMixer<B>,
            x: Tensor<B, 3>,
            weights: Tensor<B, 3>,
            flags: &[bool],
        ) -> Tensor<B, 1> {
            let [batch, time, width] = x.dims();
            let part = |tensor: &Tensor<B, 3>, tokens: std::ops::Range<usize>| tensor.clone().slice([0..batch, tokens, 0..width]);
            let reset: Reset<B> = Reset::new(flags.to_vec(), batch, &x.device());
            let cut = 6;
            let state = mixer.initial_state(batch, &x.device());
            let (first, state) = mixer.forward(part(&x, 0..cut), &reset_part(&reset, 0..cut), state, Dropout::OFF);
            let (second, _) = mixer.forward(part(&x, cut..time), &reset_part(&reset, cut..time), state, Dropout::OFF);
            (Tensor::cat(vec![first, second], 1) * weights).sum()
        }
        let x = x.require_grad();
        let gradients = loss(&mixer, x.clone(), weights.clone(), &flags).backward();
        let mut visitor = ParameterGradients { gradients: &gradients, found: Vec::new() };
        mixer.visit(&mut visitor);
        let of_parameters = visitor.found;
        let of_x = numbers(x.grad(&gradients).unwrap());

        let (inner, x, weights) = (mixer.valid(), x.inner(), weights.inner());
        let step = 1e-6;
        let value = |mixer: &AnyMixer<Cpu>, x: Tensor<Cpu, 3>| numbers(loss(mixer, x, weights.clone(), &flags))[0];
        let check = |what: &str, found: f64, above: f64, below: f64| {
            let expected = (above - below) / (2.0 * step);
            assert!((found - expected).abs() < 1e-7 * (1.0 + expected.abs()), "{name}, {what}: {found} is not {expected}");
        };
        for index in (0..of_x.len()).step_by(7) {
            let moved = |step: f64| {
                let mut data = numbers(x.clone());
                data[index] += step;
                Tensor::from_data(burn::tensor::TensorData::new(data, [batch, time, WIDTH]), (&device(), DType::F64))
            };
            check(&format!("x {index}"), of_x[index], value(&inner, moved(step)), value(&inner, moved(-step)));
        }
        for index in (0..of_parameters.len()).step_by(41) {
            let moved = |step: f64| inner.clone().map(&mut Nudge { index, step });
            let (above, below) = (value(&moved(step), x.clone()), value(&moved(-step), x.clone()));
            check(&format!("parameter {index}"), of_parameters[index], above, below);
        }
    }
}

/// What the documentation of each mixer says its state holds after `tokens` tokens, in one batch row; a growing state is fed three at a time.
fn documented_bytes(name: &str, tokens: usize) -> usize {
    let (width, heads) = (WIDTH, 3);
    match name {
        "aaren" => 4 * (width + heads),
        "mlp" => 0,
        "transformer" if tokens <= 3 => 8 * width * tokens + 8,
        "transformer" => 8 * width * tokens.next_multiple_of(64) + 8,
        "gru" => 4 * width,
        "lstm" => 8 * width,
        "hyena" => 4 * width * tokens.min(1023) + 8 * 3 * width + 8,
        "hyena-modal" => 8 * width * (8 + 3),
        "monarch" => 4 * width * tokens.min(511) + 8 * 3 * width + 8,
        "linear-attention" => 4 * heads * (1 + 16 + 16 * 17 / 2) * (width / heads + 1),
        "mamba" => 4 * 2 * width * (16 + 4 - 1),
        "aaren/queries" => 2 * 4 * (width + heads),
        "aaren/recency" => 4 * (width + heads),
        "hyena/small" => 2 * 4 * width * tokens.min(49) + 8 * 4 * width + 8,
        "monarch/small" => 4 * width * tokens.min(31) + 8 * 3 * width + 8,
        "performer/hyperbolic" => 2 * 4 * heads * 13 * (width / heads + 1),
        "performer/elu" | "performer/relu" => documented_bytes("performer", tokens),
        "window/small" => 8 * width * (5 - 1) + 8,
        "performer" => 4 * heads * 13 * (width / heads + 1), // 13 = 7 ln 7, rounded down
        "perceiver" => 4 * 8 * (width + heads),
        "short-conv" => 8 * width * (3 - 1),
        "window" => 8 * width * (64 - 1) + 8,
        other => panic!("say here how many bytes the state of \"{other}\" holds"),
    }
}

#[test]
fn law_5_the_state_is_as_large_as_documented() {
    for name in variants() {
        let mixer = mixer::<Cpu>(name, 1);
        let first = random_tensor([1, 1, WIDTH], 2);
        let state = mixer.initial_state(1, &device());
        let (_, state) = mixer.forward(first, &Reset::none(1, 1, &device()), state, Dropout::OFF);
        assert_eq!(state.bytes(), documented_bytes(name, 1), "{name} after 1 token");

        // A mixer whose state grows is followed for fewer tokens: every one of its steps reads all of it. The others get many at a
        // time, which law 1 makes the same thing.
        let grows = ["transformer", "hyena", "monarch"].contains(&name);
        let (all, chunk) = if grows { (3_000, 3) } else { (99_999, 369) };
        let mut state = mixer.initial_state(1, &device());
        let x = random_tensor([1, chunk, WIDTH], 3);
        let none = Reset::none(1, chunk, &device());
        for _ in 0..all / chunk {
            state = mixer.forward(x.clone(), &none, state, Dropout::OFF).1;
        }
        assert_eq!(state.bytes(), documented_bytes(name, all), "{name} after {all} tokens");
    }
}

#[test]
fn a_stored_state_goes_on_as_the_state_itself() {
    for name in variants() {
        let mixer = mixer::<Cpu>(name, 1);
        let state = warm_state(&mixer, 4);
        let stored = serde_json::to_string(&state.to_record()).unwrap();
        let restored = mixer.restore_state(serde_json::from_str(&stored).unwrap(), &device()).unwrap();
        let x = random_tensor([BATCH, 6, WIDTH], 5);
        let none = Reset::none(BATCH, 6, &device());
        let expected = mixer.forward(x.clone(), &none, state, Dropout::OFF).0;
        assert_eq!(mixer.forward(x, &none, restored, Dropout::OFF).0.into_data(), expected.into_data(), "{name}");
    }
}

#[test]
fn cloning_a_state_forks_it() {
    for name in variants() {
        let mixer = mixer::<Cpu>(name, 1);
        let state = warm_state(&mixer, 4);
        let none = Reset::none(BATCH, 3, &device());
        let run = |state: &AnyState<Cpu>, seed| {
            mixer.forward(random_tensor([BATCH, 3, WIDTH], seed), &none, state.clone(), Dropout::OFF)
        };
        let (expected, _) = run(&state, 5);
        run(&run(&state, 6).1, 7); // another branch, which must leave the first alone
        assert_eq!(run(&state, 5).0.into_data(), expected.into_data(), "{name}");
    }
}

#[test]
fn rows_of_a_batch_do_not_see_each_other() {
    for name in variants() {
        let mixer = mixer::<Cpu>(name, 1);
        let (x, reset) = (random_tensor([BATCH, 23, WIDTH], 2), random_reset(BATCH, 23, 8, 3));
        let (all, _) = mixer.forward(x.clone(), &reset, mixer.initial_state(BATCH, &device()), Dropout::OFF);
        for row in 0..BATCH {
            let flags = (0..23).map(|token| reset.at(row, token)).collect();
            let part = |tensor: &Tensor<Cpu, 3>| tensor.clone().slice([row..row + 1, 0..23, 0..WIDTH]);
            let alone =
                mixer.forward(part(&x), &Reset::new(flags, 1, &device()), mixer.initial_state(1, &device()), Dropout::OFF).0;
            assert_close(part(&all), alone, 1e-6, &format!("{name}, row {row}"));
        }
    }
}
