//! Hyena with filters that are sums of complex exponentials, whose recurrence is exact and constant: the form that StripedHyena runs.
//!
//! ```text
//! [x_0, x_1, v] = conv3(x W + b)        h[n] = Re sum over j of r_j p_j^n        y = (x_0 (h * (x_1 v) + beta x_1 v)) W_out + b_out
//! X_t = p X_{t-1} + x_{1,t} v_t         (h * (x_1 v))_t = Re sum over j of r_j X_{t,j}
//! ```
//!
//! `poles` complex `p` and `r` a channel, `|p| = exp(-exp(a))` below 1. A chunk is convolved with the taps of `h`; what came before
//! it is read from the state, and the state is moved on by the powers of the poles: the same filter either way.
//!
//! State: `X`, and the inputs that the short convolution still sees, `8 width poles + 24 width` bytes a sequence and layer; besides, the filter
//! for chunks of the last one's length, which the weights alone decide and acting would make anew at every step. Laws: all
//! hold; rounding of a pole counts once for every token that it remembers, so law 1's 1e-5 holds for memories of some hundred
//! tokens in single precision, and less for longer ones.
//!
//! Source: Massaroli et al. 2023, arXiv:2310.18780; Poli et al. 2023, StripedHyena. Poles start with memories from 1 to 100 tokens and
//! spread over all frequencies, which is ours.

use super::common::like;
use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::convolution::{ShortConvolution, cleared, first_inputs};
use crate::error::PolicyError;
use crate::init::Init;
use crate::layers::Dense;
use crate::reset::Reset;
use crate::state::{MixerState, StateRecord};
use aaren_kernels::{Dropout, KernelBackend, causal_convolution};
use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// Tokens that are convolved at once.
const CHUNK: usize = 64;

mixer_options! {
    /// `policy.options.hyena-modal`
    "hyena-modal" HyenaModalOptions {
        /// Complex exponentials in the filter of a channel.
        poles: usize = 8, (1..=256).contains(poles), "1 to 256";
    }
}

/// The module.
#[derive(Module, Debug)]
pub struct HyenaModal<B: Backend> {
    /// `[width, 3 width]`
    input: Dense<B>,
    short: ShortConvolution<B>,
    /// `a`, of `|p| = exp(-exp(a))`: `[width, poles]`
    decay_log: Param<Tensor<B, 2>>,
    /// `[width, poles]`, radians a token
    angle: Param<Tensor<B, 2>>,
    /// Real and imaginary part of `r`: `[width, 2 poles]`
    residues: Param<Tensor<B, 2>>,
    /// `beta`: `[width]`
    skip: Param<Tensor<B, 1>>,
    output: Dense<B>,
}

/// The modes, the inputs that the short convolution still sees, and the filter.
#[derive(Clone, Debug)]
pub struct HyenaModalState<B: Backend> {
    /// Real and imaginary parts: `[width, batch, 2 poles]`
    modes: Tensor<B, 3>,
    /// `[batch, 2, 3 width]`
    history: Tensor<B, 3>,
    /// For chunks as long as the last was, made once: it depends on the weights alone.
    filter: Option<Filter<B>>,
}

/// What a chunk of some length is convolved with, reads the modes with and leaves in them.
#[derive(Clone, Debug)]
struct Filter<B: Backend> {
    /// `h`: `[time, width]`
    taps: Tensor<B, 2>,
    /// `r p^n` of `n` from 1 on, and minus its imaginary part: `[width, 2 poles, time]`
    read: Tensor<B, 3>,
    /// `p^n`, with `n` counted from the last token: `[width, time, 2 poles]`
    write: Tensor<B, 3>,
    /// `p^time`: both `[width, 1, poles]`
    last: Complex<B, 3>,
}

impl<B: Backend> Filter<B> {
    /// Tokens of a chunk.
    fn length(&self) -> usize {
        self.taps.dims()[0]
    }
}

/// A complex tensor: real and imaginary part.
type Complex<B, const D: usize> = [Tensor<B, D>; 2];

fn product<B: Backend, const D: usize>([a, b]: Complex<B, D>, [c, d]: Complex<B, D>) -> Complex<B, D> {
    [a.clone() * c.clone() - b.clone() * d.clone(), a * d + b * c]
}

impl<B: KernelBackend> HyenaModal<B> {
    /// `p^0 .. p^count`, each `[width, count + 1, poles]`. By products, not by multiples of the angle: those would round differently
    /// from one token at a time.
    fn powers(&self, count: usize) -> Complex<B, 3> {
        let [width, poles] = self.angle.dims();
        let modulus = self.decay_log.val().exp().neg().exp();
        let pole =
            [modulus.clone() * self.angle.val().cos(), modulus * self.angle.val().sin()].map(|part| part.unsqueeze_dim::<3>(1));
        let (device, dtype) = (pole[0].device(), pole[0].dtype());
        let one = || Tensor::ones([width, 1, poles], (&device, dtype));
        let mut powers = [one(), one().zeros_like()];
        let mut step = pole; // the pole to the number of powers that there are
        let mut length = 1;
        while length <= count {
            let further = product(powers.clone(), step.clone().map(|part| part.expand([width, length, poles])));
            let ([real, imaginary], [further_real, further_imaginary]) = (powers, further);
            powers = [Tensor::cat(vec![real, further_real], 1), Tensor::cat(vec![imaginary, further_imaginary], 1)];
            step = product(step.clone(), step);
            length *= 2;
        }
        powers.map(|part| part.slice([0..width, 0..count + 1, 0..poles]))
    }

    /// The filter for chunks of `time` tokens.
    fn filter(&self, time: usize) -> Filter<B> {
        let [width, poles] = self.angle.dims();
        let powers = self.powers(time);
        let [real, imaginary] = powers.clone();
        let residues = |part: usize| {
            let residues = self.residues.val().slice([0..width, part * poles..(part + 1) * poles]);
            residues.unsqueeze_dim::<3>(1).expand([width, time + 1, poles])
        };
        // r p^n: its real part summed over poles is the filter, and one power on it is what the state is read with.
        let [read_real, read_imaginary] = product([residues(0), residues(1)], powers);
        // Permuted while it has three axes: of `[width, 1]` with its axes swapped, which is the gradient of a single tap, Burn 0.21
        // makes `[width, 1, 1]` with wrong strides on GPUs. A leading axis of one is safe.
        let taps = read_real.clone().slice([0..width, 0..time]).sum_dim(2).permute([2, 1, 0]).reshape([time, width]);
        let read = Tensor::cat(vec![read_real, read_imaginary.neg()], 2).slice([0..width, 1..time + 1]).swap_dims(1, 2);
        let write = Tensor::cat(vec![real.clone(), imaginary.clone()], 2).slice([0..width, 0..time]).flip([1]);
        let last = [real, imaginary].map(|part| part.slice([0..width, time..time + 1]));
        Filter { taps, read, write, last }
    }

    /// The long convolution of one chunk, `[batch, time, width]`, and the modes after it.
    fn convolve(
        &self,
        signal: Tensor<B, 3>,
        reset: &Reset<B>,
        modes: Tensor<B, 3>,
        filter: &Filter<B>,
    ) -> (Tensor<B, 3>, Tensor<B, 3>) {
        let [batch, time, width] = signal.dims();
        let [_, poles] = self.angle.dims();
        let firsts = first_inputs(reset, 0, &signal.device());
        let mut y = causal_convolution(signal.clone(), filter.taps.clone(), firsts);

        let begun = |row: usize, token: usize| (0..=token).any(|token| reset.at(row, token));
        if !(0..batch).all(|row| reset.at(row, 0)) {
            let past = modes.clone().matmul(filter.read.clone()).permute([1, 2, 0]); // [batch, time, width]
            let cut: Vec<bool> = (0..batch * time).map(|i| begun(i / time, i % time)).collect();
            y = y + cleared(past, cut, [batch, time, 1]);
        }

        // What every token leaves in the state by the end of the chunk: its power counted from the last token.
        let ended: Vec<bool> = (0..batch * time).map(|i| reset.last(i / time).is_some_and(|last| i % time < last)).collect();
        let left = cleared(signal, ended, [batch, time, 1]);
        let written = left.permute([2, 0, 1]).matmul(filter.write.clone()); // [width, batch, 2 poles]
        let part =
            |tensor: &Tensor<B, 3>, part: usize| tensor.clone().slice([0..width, 0..batch, part * poles..(part + 1) * poles]);
        let last = filter.last.clone().map(|part| part.expand([width, batch, poles]));
        let [real, imaginary] = product(last, [part(&modes, 0), part(&modes, 1)]);
        let gone: Vec<bool> = (0..batch).map(|row| reset.last(row).is_some()).collect();
        let kept = cleared(Tensor::cat(vec![real, imaginary], 2), gone, [1, batch, 1]);
        (y, kept + written)
    }
}

impl<B: KernelBackend> Mixer<B> for HyenaModal<B> {
    type State = HyenaModalState<B>;
    type Options = HyenaModalOptions;

    fn new(sizes: Sizes, options: &HyenaModalOptions, init: &mut Init, device: &B::Device) -> Self {
        let (width, poles) = (sizes.width, options.poles);
        let spread = |pole: usize| pole as f32 / (poles.max(2) - 1) as f32;
        let of_poles = |number: &dyn Fn(usize) -> f32| (0..width).flat_map(|_| (0..poles).map(number)).collect::<Vec<f32>>();
        let decays = of_poles(&|pole| 1e-2f32.ln() * (1.0 - spread(pole)));
        let angles = of_poles(&|pole| std::f32::consts::PI * spread(pole));
        Self {
            input: Dense::uniform(width, 3 * width, init, device),
            short: ShortConvolution::new(3, 3 * width, init, device),
            decay_log: init.given(decays, [width, poles], device),
            angle: init.given(angles, [width, poles], device),
            residues: init.normal([width, 2 * poles], 1.0 / (poles as f32).sqrt(), device),
            skip: init.normal([width], 1.0, device),
            output: Dense::uniform(width, width, init, device),
        }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> HyenaModalState<B> {
        let [width, poles] = self.angle.dims();
        HyenaModalState {
            modes: Tensor::zeros([width, batch, 2 * poles], device),
            history: self.short.initial_history(batch, device),
            filter: None,
        }
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, _: Dropout) -> (Tensor<B, 3>, Self::State) {
        let [batch, time, width] = x.dims();
        let projected = self.input.forward(x.reshape([batch * time, width])).reshape([batch, time, 3 * width]);
        let (projected, history) = self.short.forward(projected, reset, state.history);
        let part = |index: usize| projected.clone().slice([0..batch, 0..time, index * width..(index + 1) * width]);
        let signal = part(1) * part(2);
        let (mut modes, mut filter) = (like(state.modes, &signal), state.filter);
        let mut pieces = Vec::with_capacity(time.div_ceil(CHUNK));
        for start in (0..time).step_by(CHUNK) {
            let tokens = start..(start + CHUNK).min(time);
            let reset = if tokens.len() == time { reset.clone() } else { reset.part(tokens.clone()) };
            let of_length = filter.take().filter(|filter| filter.length() == tokens.len());
            let of_length = of_length.unwrap_or_else(|| self.filter(tokens.len()));
            let (y, next) = self.convolve(signal.clone().slice([0..batch, tokens, 0..width]), &reset, modes, &of_length);
            (modes, filter) = (next, Some(of_length));
            pieces.push(y);
        }
        let convolved = if pieces.len() == 1 { pieces.remove(0) } else { Tensor::cat(pieces, 1) };
        let y = part(0) * (convolved + signal * self.skip.val().reshape([1, 1, width]));
        let y = self.output.forward(y.reshape([batch * time, width]));
        (y.reshape([batch, time, width]), HyenaModalState { modes, history, filter })
    }
}

impl<B: KernelBackend> MixerState<B> for HyenaModalState<B> {
    fn bytes(&self) -> usize {
        [&self.modes, &self.history].map(|tensor| 4 * tensor.dims().iter().product::<usize>()).into_iter().sum()
    }

    fn to_record(&self) -> StateRecord {
        StateRecord::new([("modes", self.modes.to_data()), ("history", self.history.to_data())])
    }

    fn from_record(mut record: StateRecord, device: &B::Device) -> Result<Self, PolicyError> {
        Ok(Self { modes: record.take("modes", device)?, history: record.take("history", device)?, filter: None })
    }

    fn detach(self) -> Self {
        // Without the filter: the weights may change before the next call.
        Self { modes: self.modes.detach(), history: self.history.detach(), filter: None }
    }

    fn to_device(self, device: &B::Device) -> Self {
        Self { modes: self.modes.to_device(device), history: self.history.to_device(device), filter: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::tests::near;
    use super::*;
    use burn::backend::Flex;

    #[test]
    fn the_worked_example_of_one_pole() {
        let device = Default::default();
        let (sizes, options) = (Sizes { width: 1, heads: 1, layers: 1 }, HyenaModalOptions { poles: 1 });
        let mut mixer = HyenaModal::<Flex>::new(sizes, &options, &mut Init::new(1), &device);
        // A pole of i/2 and a residue of 2.
        mixer.decay_log = mixer.decay_log.map(|_| Tensor::from_data([[2f32.ln().ln()]], &Default::default()));
        mixer.angle = mixer.angle.map(|_| Tensor::from_data([[std::f32::consts::FRAC_PI_2]], &Default::default()));
        mixer.residues = mixer.residues.map(|_| Tensor::from_data([[2.0, 0.0]], &Default::default()));
        let run = |inputs: &[f32]| {
            // At once, and one token at a time: filter and recurrence.
            let time = inputs.len();
            let signal = Tensor::<Flex, 1>::from_data(inputs, &device).reshape([1, time, 1]);
            let start = Tensor::zeros([1, 1, 2], &device);
            let (whole, prefilled) =
                mixer.convolve(signal.clone(), &Reset::none(1, time, &device), start.clone(), &mixer.filter(time));
            let (mut state, mut stepped) = (start, Vec::new());
            for token in 0..time {
                let token = signal.clone().slice([0..1, token..token + 1]);
                let (y, next) = mixer.convolve(token, &Reset::none(1, 1, &device), state, &mixer.filter(1));
                state = next;
                stepped.push(y.into_scalar());
            }
            [
                whole.into_data().to_vec::<f32>().unwrap(),
                stepped,
                [prefilled, state].map(|x| x.into_data().to_vec::<f32>().unwrap()).concat(),
            ]
        };
        for (inputs, expected) in
            [([1.0, 0.0, 0.0, 0.0, 0.0], [2.0, 0.0, -0.5, 0.0, 0.125]), ([1.0, 0.0, 0.0, 0.0, 1.0], [2.0, 0.0, -0.5, 0.0, 2.125])]
        {
            let [whole, stepped, states] = run(&inputs);
            near(&whole, &expected);
            near(&stepped, &expected);
            near(&states[..2], &states[2..]);
        }
    }
}
