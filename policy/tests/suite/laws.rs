//! The laws on the CPU: what every mixer must obey for acting and training to be the same function.

use crate::common::{laws::*, *};
use aaren_kernels::Dropout;
use aaren_policy::{Reset, mixer::AnyMixer};
use burn::backend::{Autodiff, Flex};
use burn::module::{AutodiffModule, Param};
use burn::prelude::*;
use burn::tensor::DType;
use proptest::prelude::*;

type Cpu = Flex;
type Graph = Autodiff<Flex>;

const LAWS: Laws = Laws {
    batch: 5,
    rounding: 1e-5,
    sequences: &[(1, 0, true), (31, 0, false), (31, 7, true), (257, 40, true), (3000, 700, false), (1100, 0, true)],
    pieces: &[&[1], &[3], &[10], &[64], &[611], &[1, 2, 30, 5, 1, 100, 7]],
    passes: &[44, 1, 30],
    growing: (3_000, 3),
    constant: (99_999, 369),
};
const BATCH: usize = LAWS.batch;

fn device() -> burn::backend::flex::FlexDevice {
    Default::default()
}

#[test]
fn law_1_any_split_gives_the_outputs_of_one_pass() {
    variants().into_iter().for_each(|name| LAWS.any_split_gives_the_outputs_of_one_pass::<Cpu>(name));
}

#[test]
fn law_1_single_steps_give_one_pass_to_double_precision() {
    for name in variants() {
        let mixer = in_double(mixer::<Cpu>(name, 1));
        let (x, reset) = (random_tensor::<Cpu, 3>([BATCH, 71, WIDTH], 2).cast(DType::F64), random_reset(BATCH, 71, 20, 3));
        let start = || mixer.initial_state(BATCH, &device());
        let (whole, _) = mixer.forward(x.clone(), &reset, start(), Dropout::OFF);
        let (steps, _) = in_pieces(&mixer, &x, &reset, start(), std::iter::repeat(1));
        assert_close(steps, whole, 1e-12, name);
    }
}

#[test]
fn law_1_any_split_gives_the_gradients_of_one_pass() {
    variants().into_iter().for_each(|name| LAWS.any_split_gives_the_gradients_of_one_pass::<Graph>(name));
}

#[test]
fn law_2_a_token_changes_no_output_before_it() {
    let cases = [(9, 4), (97, 0), (97, 50), (97, 96)];
    variants().into_iter().for_each(|name| LAWS.a_token_changes_no_output_before_it::<Cpu>(name, &cases));
}

#[test]
fn law_3_a_reset_gives_what_a_fresh_sequence_gives() {
    let cases = [(1, 0), (13, 0), (13, 12), (131, 77)];
    variants().into_iter().for_each(|name| LAWS.a_reset_gives_what_a_fresh_sequence_gives::<Cpu>(name, &cases));
}

/// Gradients of the tokens from `from` on and of every parameter, where the loss is over the tokens from `from` on alone.
fn gradients_from(name: &str, x: &Tensor<Cpu, 3>, from: usize, episodes: &[usize]) -> (Tensor<Cpu, 3>, Vec<f64>) {
    let mixer = mixer::<Graph>(name, 1);
    let [batch, time, _] = x.dims();
    let weights = part(&random_tensor::<Graph, 3>([batch, 13, WIDTH], 8), 13 - time + from..13);
    let x = Tensor::<Graph, 3>::from_inner(x.clone()).require_grad();
    let flags = (0..batch * time).map(|i| episodes.contains(&(i % time))).collect();
    let (y, _) =
        mixer.forward(x.clone(), &Reset::new(flags, batch, &device()), mixer.initial_state(batch, &device()), Dropout::OFF);
    let gradients = (part(&y, from..time) * weights).sum().backward();
    let mut visitor = ParameterGradients::<Graph> { gradients: &gradients, found: Vec::new() };
    mixer.visit(&mut visitor);
    (x.grad(&gradients).unwrap(), visitor.found)
}

#[test]
fn law_3_gradients_of_an_episode_are_those_it_has_alone_and_reach_no_other() {
    let begins = 5;
    for name in variants() {
        let x = random_tensor::<Cpu, 3>([BATCH, 13, WIDTH], 2);
        let (packed, of_parameters) = gradients_from(name, &x, begins, &[begins]);
        let (alone, expected) = gradients_from(name, &part(&x, begins..13), 0, &[]);
        // To the bit: what is before an episode is like padding.
        assert!(
            numbers(part(&packed, 0..begins)).iter().all(|&gradient| gradient == 0.0),
            "{name}: the episode before gets a gradient"
        );
        assert_close(part(&packed, begins..13), alone, 1e-5, name);
        let scale = expected.iter().fold(0.0f64, |scale, x| scale.max(x.abs()));
        let error = of_parameters.iter().zip(&expected).fold(0.0f64, |error, (a, b)| error.max((a - b).abs()));
        assert!(error <= 1e-5 * scale, "{name}: gradients of parameters off by {error:e} at a scale of {scale:e}");
    }
}

#[test]
fn large_inputs_and_many_of_them_give_finite_numbers() {
    for name in variants() {
        let mixer = mixer::<Cpu>(name, 1);
        let grows = ["transformer", "transformer/rotary", "hyena", "monarch"].contains(&name);
        let (all, chunk) = if grows { (3_000, 750) } else { (100_000, 1_000) };
        let mut state = mixer.initial_state(1, &device());
        for start in (0..all).step_by(chunk) {
            let x = random_tensor::<Cpu, 3>([1, chunk, WIDTH], start as u64) * 100.0;
            let (y, next) = mixer.forward(x, &Reset::none(1, chunk, &device()), state, Dropout::OFF);
            state = next;
            assert!(numbers(y).iter().all(|y| y.is_finite()), "{name}, tokens from {start} on");
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
            let state = if warm { warm_state(&mixer, BATCH, seed + 3) } else { mixer.initial_state(BATCH, &device()) };
            let (whole, _) = mixer.forward(x.clone(), &reset, state.clone(), Dropout::OFF);

            let mut other = x.clone();
            if seen < time {
                let later = random_tensor([BATCH, time - seen, WIDTH], seed + 4);
                other = other.slice_assign([0..BATCH, seen..time, 0..WIDTH], later);
            }
            let (pieces, _) = in_pieces(&mixer, &other, &reset, state, lengths.iter().copied().cycle());
            let what = format!("{name}, {time} tokens, {seen} of them alike");
            assert_close(part(&pieces, 0..seen), part(&whole, 0..seen), LAWS.rounding, &what);

            for row in 0..BATCH {
                let Some(start) = (0..time).rfind(|&token| reset.at(row, token)) else { continue };
                let own = |tensor: &Tensor<Cpu, 3>| tensor.clone().slice([row..row + 1, start..time, 0..WIDTH]);
                let none = Reset::none(1, time - start, &device());
                let fresh = mixer.forward(own(&x), &none, mixer.initial_state(1, &device()), Dropout::OFF).0;
                assert_close(own(&whole), fresh, LAWS.rounding, &format!("{what}, row {row} from {start}"));
            }
        }
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
        fn loss<B: aaren_policy::KernelBackend>(
            mixer: &AnyMixer<B>,
            x: Tensor<B, 3>,
            weights: Tensor<B, 3>,
            flags: &[bool],
        ) -> Tensor<B, 1> {
            let [batch, time, _] = x.dims();
            let reset: Reset<B> = Reset::new(flags.to_vec(), batch, &x.device());
            let cut = 6;
            let state = mixer.initial_state(batch, &x.device());
            let (first, state) = mixer.forward(part(&x, 0..cut), &reset_part(&reset, 0..cut), state, Dropout::OFF);
            let (second, _) = mixer.forward(part(&x, cut..time), &reset_part(&reset, cut..time), state, Dropout::OFF);
            (Tensor::cat(vec![first, second], 1) * weights).sum()
        }
        let x = x.require_grad();
        let gradients = loss(&mixer, x.clone(), weights.clone(), &flags).backward();
        let mut visitor = ParameterGradients::<Graph> { gradients: &gradients, found: Vec::new() };
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

#[test]
fn law_7_a_stream_says_what_one_pass_says() {
    variants().into_iter().for_each(|name| LAWS.a_stream_says_what_one_pass_says::<Cpu>(name, &[&[1], &[3], &[10, 1, 30, 2]]));
}

#[test]
fn law_5_the_state_is_as_large_as_documented() {
    variants().into_iter().for_each(|name| LAWS.the_state_is_as_large_as_documented::<Cpu>(name));
}

#[test]
fn a_stored_state_goes_on_as_the_state_itself() {
    variants().into_iter().for_each(|name| LAWS.a_stored_state_goes_on_as_the_state_itself::<Cpu>(name));
}

#[test]
fn cloning_a_state_forks_it() {
    variants().into_iter().for_each(|name| LAWS.cloning_a_state_forks_it::<Cpu>(name));
}

#[test]
fn rows_of_a_batch_do_not_see_each_other() {
    variants().into_iter().for_each(|name| LAWS.rows_of_a_batch_do_not_see_each_other::<Cpu>(name));
}
