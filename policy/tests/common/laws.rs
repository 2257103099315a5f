//! The laws of mixers over any backend, so that the CPU and graphics cards are held to the same ones.

use super::{state_size::documented_bytes, *};
use aaren_kernels::Dropout;
use aaren_policy::{
    DueGap, KernelBackend, Loss, Pool, SequenceBatch, SequenceDescription, SequenceNetwork, SequencePolicy, SequenceRows,
    SequenceSpec, Stream, mixer::AnyState,
};
use burn::{module::ModuleVisitor, tensor::backend::AutodiffBackend};
use std::ops::Range;

pub const WIDTH: usize = 21;

/// What backends may differ in: how long sequences can be for the tests to stay quick, and how many rows there are.
pub struct Laws {
    pub batch: usize,
    /// The largest difference between sums of the same numbers in another order, relative to the largest of the results.
    pub rounding: f64,
    /// Law 1: tokens, how many of them to one reset (0: none), whether the first state has seen tokens before.
    pub sequences: &'static [(usize, usize, bool)],
    /// Law 1: lengths of pieces, of which the first are left out where there are 1,000 tokens or more.
    pub pieces: &'static [&'static [usize]],
    /// Law 1 for gradients, and law 6: lengths of pieces, all of which are one sequence.
    pub passes: &'static [usize],
    /// Law 5: tokens in all and at a time, for mixers whose state grows and for the others.
    pub growing: (usize, usize),
    pub constant: (usize, usize),
}

/// Some tokens of all rows.
pub fn part<B: Backend>(x: &Tensor<B, 3>, tokens: Range<usize>) -> Tensor<B, 3> {
    let [batch, _, width] = x.dims();
    x.clone().slice([0..batch, tokens, 0..width])
}

/// A state that is not the initial one: 17 tokens have gone by.
pub fn warm_state<B: KernelBackend>(mixer: &AnyMixer<B>, batch: usize, seed: u64) -> AnyState<B> {
    let x = random_tensor([batch, 17, WIDTH], seed);
    let state = mixer.initial_state(batch, &x.device());
    mixer.forward(x, &random_reset(batch, 17, 9, seed), state, Dropout::OFF).1
}

/// Runs a mixer over pieces of these lengths until the end.
pub fn in_pieces<B: KernelBackend>(
    mixer: &AnyMixer<B>,
    x: &Tensor<B, 3>,
    reset: &Reset<B>,
    mut state: AnyState<B>,
    lengths: impl IntoIterator<Item = usize>,
) -> (Tensor<B, 3>, AnyState<B>) {
    let time = x.dims()[1];
    let (mut start, mut pieces) = (0, Vec::new());
    for length in lengths {
        let tokens = start..(start + length).min(time);
        let (y, next) = mixer.forward(part(x, tokens.clone()), &reset_part(reset, tokens.clone()), state, Dropout::OFF);
        (state, start) = (next, tokens.end);
        pieces.push(y);
        if start == time {
            break;
        }
    }
    (Tensor::cat(pieces, 1), state)
}

/// Gradients of every parameter, in the order of a visit.
pub struct ParameterGradients<'a, B: AutodiffBackend> {
    pub gradients: &'a B::Gradients,
    pub found: Vec<f64>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for ParameterGradients<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let value = param.val();
        let gradient = value.grad(self.gradients).unwrap_or_else(|| value.inner().zeros_like());
        self.found.extend(numbers(gradient));
    }
}

/// Outputs, and gradients of `x` and of every parameter, all passed through the states between pieces.
pub struct Pass {
    pub outputs: Vec<f64>,
    pub of_x: Vec<f64>,
    pub of_parameters: Vec<f64>,
}

impl Pass {
    pub fn new<B: AutodiffBackend + KernelBackend>(name: &str, batch: usize, lengths: &[usize], dropout: Dropout) -> Self {
        let time = lengths.iter().sum();
        let mixer = mixer::<B>(name, 1);
        let x = random_tensor::<B, 3>([batch, time, WIDTH], 2).require_grad();
        let reset = random_reset(batch, time, time / 3, 3);
        let (mut state, mut start, mut pieces) = (mixer.initial_state(batch, &x.device()), 0, Vec::new());
        for length in lengths {
            let tokens = start..start + length;
            let (y, next) = mixer.forward(part(&x, tokens.clone()), &reset_part(&reset, tokens.clone()), state, dropout);
            (state, start) = (next, tokens.end);
            pieces.push(y);
        }
        let y = Tensor::cat(pieces, 1);
        let gradients = (y.clone() * random_tensor::<B, 3>([batch, time, WIDTH], 4)).sum().backward();
        let mut visitor = ParameterGradients::<B> { gradients: &gradients, found: Vec::new() };
        mixer.visit(&mut visitor);
        Self { outputs: numbers(y), of_x: numbers(x.grad(&gradients).unwrap()), of_parameters: visitor.found }
    }

    /// Asserts that nothing differs by more than `tolerance` times the scale of its kind.
    pub fn assert_close(&self, expected: &Self, tolerance: f64, what: &str) {
        let kinds = [
            ("outputs", &self.outputs, &expected.outputs),
            ("gradients of x", &self.of_x, &expected.of_x),
            ("gradients of parameters", &self.of_parameters, &expected.of_parameters),
        ];
        for (kind, found, expected) in kinds {
            assert_eq!(found.len(), expected.len(), "{what}: {kind}");
            let scale = expected.iter().fold(0.0f64, |scale, x| scale.max(x.abs()));
            let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
            // Not `max`, which loses what is not a number.
            let error = off.fold(0.0f64, |most, next| if next <= most { most } else { next });
            assert!(error <= tolerance * scale, "{what}: {kind} off by {error:e} at a scale of {scale:e}");
        }
    }
}

impl Laws {
    /// Law 7: what a stream says after each of some pushes is what one pass over the whole says, and a stored stream goes on as itself.
    ///
    /// - `cuts`: lengths of the pushes, again and again to the end
    pub fn a_stream_says_what_one_pass_says<B: KernelBackend>(&self, name: &str, cuts: &[&[usize]]) {
        let device = B::Device::default();
        let kinds = [(3, 0, 0, false, Pool::Mean), (2, 7, 11, false, Pool::Last), (0, 5, 40, true, Pool::Last)];
        let kinds = kinds.into_iter().map(|kind| (kind, Loss::Classes(5))).chain([
            ((3, 0, 9, false, Pool::Last), Loss::Squares(5)),
            ((2, 4, 0, false, Pool::Last), Loss::NextEvent { components: 3, marks: 4 }),
        ]);
        for ((numbers, vocabulary, positions, tied, pool), loss) in kinds {
            let spec = SequenceSpec { numbers, vocabulary, positions, tied, pool, loss };
            let (format, config, task) = (SequenceDescription::FORMAT, config(name), serde_json::Value::Null);
            let description = SequenceDescription {
                format,
                config,
                spec,
                normalizer: None,
                names: Default::default(),
                statistics: Default::default(),
                task,
            };
            let network = SequenceNetwork::<B>::new(&description, 1, &device).unwrap();
            let network = network.map(&mut Scale::by(scale(name).min(3.0)));
            let policy = SequencePolicy { network, description };
            let (time, second) = (43, 26);
            // Two sequences, one after the other.
            let tokens = |range: Range<usize>| SequenceRows {
                numbers: range.clone().flat_map(|t| random(numbers, t as u64)).map(|x| x as f32).collect(),
                ids: range.clone().map(|t| (t * t % 11) as i32 % vocabulary.max(1) as i32).collect(),
                positions: range.clone().map(|t| if t < second { t } else { t - second }).collect(),
                resets: range.clone().map(|t| t == 0 || t == second).collect(),
                ..SequenceRows::default()
            };
            let mut whole = tokens(0..time);
            (0..time).for_each(|token| match loss {
                Loss::Classes(_) => whole.expect(token, 0, 1.0),
                Loss::NextEvent { .. } => whole.expect_event(token, DueGap::ended(1.0, 0.0, 1.0), 0, 1.0),
                Loss::Squares(width) => whole.expect_numbers(token, (0..width).map(|_| (1.0, 0.0)), 1.0),
            });
            let batch = SequenceBatch::new(&whole, 1, &policy.description.spec, &device);
            let state = policy.network.initial_state(1, &device);
            let (outputs, _) = policy.network.forward(&batch, state, Dropout::OFF);
            let whole: Vec<f32> = outputs.into_data().to_vec().unwrap();
            let largest = whole.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
            for pieces in cuts {
                let (mut stream, mut said, mut start) = (Stream::new(policy.clone(), device.clone()), Vec::new(), 0);
                for (index, length) in pieces.iter().cycle().enumerate() {
                    let end = (start + length).min(time);
                    let stored = (index == 2).then(|| stream.state().to_records());
                    let found = stream.push(&tokens(start..end));
                    if let Some(stored) = stored {
                        let mut again = Stream::restore(policy.clone(), 1, stored, device.clone()).unwrap();
                        assert_eq!(again.push(&tokens(start..end)), found, "{name}: a stored stream goes on otherwise");
                    }
                    said.extend(found);
                    start = end;
                    if start == time {
                        break;
                    }
                }
                assert_eq!(said.len(), whole.len());
                for (at, (found, expected)) in said.iter().zip(&whole).enumerate() {
                    let error = f64::from((found - expected).abs() / largest);
                    assert!(
                        error < self.rounding,
                        "{name}, pieces {pieces:?}, token {}: {found}, not {expected}",
                        at / loss.width()
                    );
                }
            }
        }
    }

    fn initial_state<B: KernelBackend>(&self, mixer: &AnyMixer<B>) -> AnyState<B> {
        mixer.initial_state(self.batch, &Default::default())
    }

    fn x<B: KernelBackend>(&self, time: usize, seed: u64) -> Tensor<B, 3> {
        random_tensor([self.batch, time, WIDTH], seed)
    }

    fn none<B: KernelBackend>(&self, time: usize) -> Reset<B> {
        Reset::none(self.batch, time, &Default::default())
    }

    /// Law 1: any split gives the outputs of one pass, and states that go on alike.
    pub fn any_split_gives_the_outputs_of_one_pass<B: KernelBackend>(&self, name: &str) {
        let mixer = mixer::<B>(name, 1);
        for &(time, reset_every, warm) in self.sequences {
            let (x, reset) = (self.x::<B>(time, 2), random_reset(self.batch, time, reset_every, 3));
            let state = if warm { warm_state(&mixer, self.batch, 4) } else { self.initial_state(&mixer) };
            let (expected, last) = mixer.forward(x.clone(), &reset, state.clone(), Dropout::OFF);
            let next = self.x::<B>(4, 5);
            let (expected_next, _) = mixer.forward(next.clone(), &self.none(4), last, Dropout::OFF);
            for lengths in self.pieces {
                if time >= 1000 && lengths[0] < 3 {
                    continue;
                }
                let what = format!("{name}, {time} tokens in pieces of {lengths:?}");
                let (found, last) = in_pieces(&mixer, &x, &reset, state.clone(), lengths.iter().copied().cycle());
                assert_close(found, expected.clone(), self.rounding, &what);
                let (found, _) = mixer.forward(next.clone(), &self.none(4), last, Dropout::OFF);
                assert_close(found, expected_next.clone(), self.rounding, &format!("{what}, and on"));
            }
        }
    }

    /// Law 1 for gradients: those of one pass are those of pieces.
    pub fn any_split_gives_the_gradients_of_one_pass<B: AutodiffBackend + KernelBackend>(&self, name: &str) {
        let whole = Pass::new::<B>(name, self.batch, &[self.passes.iter().sum()], Dropout::OFF);
        let pieces = Pass::new::<B>(name, self.batch, self.passes, Dropout::OFF);
        // Gradients are sums of more terms than outputs.
        pieces.assert_close(&whole, 3.0 * self.rounding, &format!("{name}, in pieces"));
    }

    /// Law 2: a token changes no output before it, to the bit.
    pub fn a_token_changes_no_output_before_it<B: KernelBackend>(&self, name: &str, cases: &[(usize, usize)]) {
        let mixer = mixer::<B>(name, 1);
        for &(time, changed) in cases {
            let x = self.x::<B>(time, 2);
            let token = random_tensor([self.batch, 1, WIDTH], 9);
            let other = x.clone().slice_assign([0..self.batch, changed..changed + 1, 0..WIDTH], token);
            let reset = random_reset(self.batch, time, 30, 3);
            let state = warm_state(&mixer, self.batch, 4);
            let run = |x: Tensor<B, 3>| mixer.forward(x, &reset, state.clone(), Dropout::OFF).0;
            let (before, after) = (run(x), run(other));
            if changed > 0 {
                let seen = |y: &Tensor<B, 3>| numbers(part(y, 0..changed));
                assert_eq!(seen(&before), seen(&after), "{name}: token {changed} of {time} reached back");
            }
            let own = |y: &Tensor<B, 3>| numbers(part(y, changed..changed + 1));
            assert_ne!(own(&before), own(&after), "{name}: token {changed} of {time} has no effect");
        }
    }

    /// Law 3: a reset gives what a fresh sequence gives, and states that go on alike.
    pub fn a_reset_gives_what_a_fresh_sequence_gives<B: KernelBackend>(&self, name: &str, cases: &[(usize, usize)]) {
        let mixer = mixer::<B>(name, 1);
        for &(time, at) in cases {
            let x = self.x::<B>(time, 2);
            let flags = (0..self.batch * time).map(|i| i % time == at).collect();
            let reset = Reset::new(flags, self.batch, &x.device());
            let (packed, state) = mixer.forward(x.clone(), &reset, warm_state(&mixer, self.batch, 4), Dropout::OFF);
            let fresh_state = self.initial_state(&mixer);
            let (fresh, fresh_state) = mixer.forward(part(&x, at..time), &self.none(time - at), fresh_state, Dropout::OFF);
            assert_close(part(&packed, at..time), fresh, self.rounding, &format!("{name}, reset at {at} of {time}"));
            let next = self.x::<B>(4, 5);
            let (found, _) = mixer.forward(next.clone(), &self.none(4), state, Dropout::OFF);
            let (expected, _) = mixer.forward(next, &self.none(4), fresh_state, Dropout::OFF);
            assert_close(found, expected, self.rounding, &format!("{name}, after a reset at {at} of {time}"));
        }
    }

    /// Law 5: the state is as large as documented, after one token and after many.
    pub fn the_state_is_as_large_as_documented<B: KernelBackend>(&self, name: &str) {
        let mixer = mixer::<B>(name, 1);
        let device = Default::default();
        let first = random_tensor([1, 1, WIDTH], 2);
        let (_, state) = mixer.forward(first, &Reset::none(1, 1, &device), mixer.initial_state(1, &device), Dropout::OFF);
        assert_eq!(state.bytes(), documented_bytes(name, 1), "{name} after 1 token");

        // A mixer whose state grows is followed for fewer tokens: every one of its steps reads all of it. The others get many at a
        // time, which law 1 makes the same thing.
        let grows = ["transformer", "transformer/rotary", "hyena", "monarch"].contains(&name);
        let (all, chunk) = if grows { self.growing } else { self.constant };
        let mut state = mixer.initial_state(1, &device);
        let x = random_tensor([1, chunk, WIDTH], 3);
        let none = Reset::none(1, chunk, &device);
        for _ in 0..all / chunk {
            state = mixer.forward(x.clone(), &none, state, Dropout::OFF).1;
        }
        assert_eq!(state.bytes(), documented_bytes(name, all), "{name} after {all} tokens");
    }

    /// A state that was stored and read again goes on as the state itself, to the bit.
    pub fn a_stored_state_goes_on_as_the_state_itself<B: KernelBackend>(&self, name: &str) {
        let mixer = mixer::<B>(name, 1);
        let state = warm_state(&mixer, self.batch, 4);
        let stored = serde_json::to_string(&state.to_record()).unwrap();
        let restored = mixer.restore_state(serde_json::from_str(&stored).unwrap(), &Default::default()).unwrap();
        let run = |state| numbers(mixer.forward(self.x::<B>(6, 5), &self.none(6), state, Dropout::OFF).0);
        assert_eq!(run(restored), run(state), "{name}");
    }

    /// Cloning a state forks it: one branch leaves the other alone.
    pub fn cloning_a_state_forks_it<B: KernelBackend>(&self, name: &str) {
        let mixer = mixer::<B>(name, 1);
        let state = warm_state(&mixer, self.batch, 4);
        let run = |state: &AnyState<B>, seed| mixer.forward(self.x::<B>(3, seed), &self.none(3), state.clone(), Dropout::OFF);
        let (expected, _) = run(&state, 5);
        run(&run(&state, 6).1, 7);
        assert_eq!(numbers(run(&state, 5).0), numbers(expected), "{name}");
    }

    /// Rows of a batch do not see each other.
    pub fn rows_of_a_batch_do_not_see_each_other<B: KernelBackend>(&self, name: &str) {
        let mixer = mixer::<B>(name, 1);
        let (x, reset) = (self.x::<B>(23, 2), random_reset(self.batch, 23, 8, 3));
        let (all, _) = mixer.forward(x.clone(), &reset, self.initial_state(&mixer), Dropout::OFF);
        for row in 0..self.batch {
            let flags = (0..23).map(|token| reset.at(row, token)).collect();
            let own = |tensor: &Tensor<B, 3>| tensor.clone().slice([row..row + 1, 0..23, 0..WIDTH]);
            let (device, state) = (x.device(), mixer.initial_state(1, &x.device()));
            let (alone, _) = mixer.forward(own(&x), &Reset::new(flags, 1, &device), state, Dropout::OFF);
            assert_close(own(&all), alone, 0.1 * self.rounding, &format!("{name}, row {row}"));
        }
    }
}
