//! The laws on a Vulkan device (software will do), and that it gives the CPU's answers: values, states and gradients.
#![cfg(feature = "vulkan")]

mod common;

use burn::{
    backend::{Autodiff, Flex},
    module::{Module, ModuleVisitor, Param},
    prelude::*,
    tensor::backend::AutodiffBackend,
};
use common::*;
use kernels::{Dropout, device::Vulkan};
use policy::{
    KernelBackend, Reset,
    mixer::{AnyMixer, names},
};

const BATCH: usize = 3;
const WIDTH: usize = 21;
/// Law 1's bound: f32 sums in another order.
const CHUNKED: f64 = 1e-5;
/// Law 6: backends sum in their own orders, products of matrices among them.
const SAME: f64 = 2e-5;

/// Whether there is a device; a printed reason if not.
fn is_there() -> bool {
    kernels::device::vulkan().map_err(|reason| println!("skipped: {reason}")).is_ok()
}

fn part<B: Backend>(x: &Tensor<B, 3>, tokens: std::ops::Range<usize>) -> Tensor<B, 3> {
    let [batch, _, width] = x.dims();
    x.clone().slice([0..batch, tokens, 0..width])
}

/// Runs a mixer over pieces of these lengths, again and again until the end.
fn in_chunks<B: KernelBackend>(mixer: &AnyMixer<B>, x: &Tensor<B, 3>, reset: &Reset<B>, lengths: &[usize]) -> Tensor<B, 3> {
    let [batch, time, _] = x.dims();
    let mut state = mixer.initial_state(batch, &x.device());
    let (mut start, mut pieces) = (0, Vec::new());
    for &length in lengths.iter().cycle() {
        let tokens = start..(start + length).min(time);
        let (y, next) = mixer.forward(part(x, tokens.clone()), &reset_part(reset, tokens.clone()), state, Dropout::OFF);
        (state, start) = (next, tokens.end);
        pieces.push(y);
        if start == time {
            break;
        }
    }
    Tensor::cat(pieces, 1)
}

#[test]
fn law_1_any_split_gives_the_outputs_of_one_pass() {
    if !is_there() {
        return;
    }
    for name in names() {
        let mixer = mixer::<Vulkan>(name, 1);
        for (time, reset_every) in [(1, 0), (31, 7), (131, 0), (257, 40)] {
            let x = random_tensor([BATCH, time, WIDTH], 2);
            let reset = random_reset(BATCH, time, reset_every, 3);
            let expected = in_chunks(&mixer, &x, &reset, &[time]);
            for lengths in [&[10][..], &[64], &[1, 2, 30, 5, 100]] {
                let found = in_chunks(&mixer, &x, &reset, lengths);
                assert_close(found, expected.clone(), CHUNKED, &format!("{name}, {time} tokens in pieces of {lengths:?}"));
            }
        }
    }
}

#[test]
fn law_2_a_token_changes_no_output_before_it() {
    if !is_there() {
        return;
    }
    let (time, changed) = (97, 50);
    for name in names() {
        let mixer = mixer::<Vulkan>(name, 1);
        let x = random_tensor::<Vulkan, 3>([BATCH, time, WIDTH], 2);
        let other = x.clone().slice_assign([0..BATCH, changed..changed + 1, 0..WIDTH], random_tensor([BATCH, 1, WIDTH], 9));
        let reset = random_reset(BATCH, time, 30, 3);
        let (before, after) = (in_chunks(&mixer, &x, &reset, &[time]), in_chunks(&mixer, &other, &reset, &[time]));
        assert_eq!(part(&before, 0..changed).into_data(), part(&after, 0..changed).into_data(), "{name}");
        let own = |y: &Tensor<Vulkan, 3>| numbers(part(y, changed..changed + 1));
        assert_ne!(own(&before), own(&after), "{name}: the token has no effect");
    }
}

#[test]
fn law_3_a_reset_gives_what_a_fresh_sequence_gives() {
    if !is_there() {
        return;
    }
    for name in names() {
        let mixer = mixer::<Vulkan>(name, 1);
        for (time, at) in [(13, 0), (13, 12), (131, 77)] {
            let x = random_tensor::<Vulkan, 3>([BATCH, time, WIDTH], 2);
            let flags = (0..BATCH * time).map(|i| i % time == at).collect();
            let packed = in_chunks(&mixer, &x, &Reset::new(flags, BATCH, &x.device()), &[time]);
            let fresh = in_chunks(&mixer, &part(&x, at..time), &Reset::none(BATCH, time - at, &x.device()), &[time]);
            assert_close(part(&packed, at..time), fresh, CHUNKED, &format!("{name}, reset at {at} of {time}"));
        }
    }
}

/// Gradients of every parameter, in the order of a visit.
struct ParameterGradients<'a, B: AutodiffBackend> {
    gradients: &'a B::Gradients,
    found: Vec<f64>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for ParameterGradients<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let value = param.val();
        let gradient = value.grad(self.gradients).unwrap_or_else(|| value.inner().zeros_like());
        self.found.extend(numbers(gradient));
    }
}

/// Outputs of two chunks, the state carried and differentiated through, and the gradients of `x` and of every parameter.
fn pass<B: AutodiffBackend + KernelBackend>(name: &str, dropout: Dropout) -> [(&'static str, Vec<f64>); 3]
where
    B::InnerBackend: KernelBackend,
{
    let (time, cut) = (75, 44);
    let mixer = mixer::<B>(name, 1);
    let x = random_tensor::<B, 3>([BATCH, time, WIDTH], 2).require_grad();
    let reset = random_reset(BATCH, time, 25, 3);
    let state = mixer.initial_state(BATCH, &x.device());
    let (first, state) = mixer.forward(part(&x, 0..cut), &reset_part(&reset, 0..cut), state, dropout);
    let (second, _) = mixer.forward(part(&x, cut..time), &reset_part(&reset, cut..time), state, dropout);
    let y = Tensor::cat(vec![first, second], 1);
    let gradients = (y.clone() * random_tensor::<B, 3>([BATCH, time, WIDTH], 4)).sum().backward();
    let mut visitor = ParameterGradients::<B> { gradients: &gradients, found: Vec::new() };
    mixer.visit(&mut visitor);
    [
        ("outputs", numbers(y)),
        ("gradients of x", numbers(x.grad(&gradients).unwrap())),
        ("gradients of parameters", visitor.found),
    ]
}

#[test]
fn law_6_the_answers_are_those_of_the_cpu() {
    if !is_there() {
        return;
    }
    for name in names() {
        for dropout in [Dropout::OFF, Dropout { probability: 0.3, seed: 9 }] {
            let (found, expected) = (pass::<Autodiff<Vulkan>>(name, dropout), pass::<Autodiff<Flex>>(name, dropout));
            for ((what, found), (_, expected)) in found.iter().zip(&expected) {
                let scale = expected.iter().fold(0.0f64, |scale, x| scale.max(x.abs()));
                assert_eq!(found.len(), expected.len());
                let error = found.iter().zip(expected).fold(0.0f64, |error, (a, b)| error.max((a - b).abs()));
                assert!(error <= SAME * scale, "{name}: {what} off by {error} at a scale of {scale}");
            }
        }
    }
}
