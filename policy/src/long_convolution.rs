//! Gated long convolutions, the operator of Hyena and Monarch Mixer: filters given by a small network, and the inputs that they
//! still see.
//!
//! ```text
//! [x_0, .., x_{N-1}, v] = conv(x W + b)        for i = N-1 .. 1:  v <- h_i * (x_i v) + beta_i (x_i v)        y = (x_0 v) W_out + b_out
//! ```
//!
//! `*` is causal convolution over time. The filter of tap `n` is a network of sines of `n`'s position times a window that decays, at
//! a rate of its own in every channel. With a residual filter `g`, made in the same way, `y = (x_0 v + g * x + gamma x) W_out + b_out`.

use crate::convolution::ShortConvolution;
use crate::error::PolicyError;
use crate::init::Init;
use crate::layers::{Dense, Projection};
use crate::reset::Reset;
use crate::state::{MixerState, StateRecord, indices};
use aaren_kernels::{KernelBackend, MonarchTransform, causal_convolution};
use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use std::f64::consts::TAU;

/// Taps of the convolution in front.
const SHORT_TAPS: usize = 3;
/// Widths of the network that makes the filter.
const FILTER_WIDTH: usize = 64;

/// Sizes of the operator.
#[derive(Clone, Debug)]
pub(crate) struct OperatorSizes {
    pub width: usize,
    /// Projections that gate, at least 2.
    pub order: usize,
    /// Taps of the long filters: how far back a token sees.
    pub taps: usize,
    /// Sines and cosines of a tap's position, and the position itself: an odd number.
    pub embedding: usize,
    /// Initial frequency of the sine activations.
    pub frequency: f64,
    /// Whether the tokens themselves are convolved as well, past the gates.
    pub residual: bool,
}

/// How the long convolution is computed. All ways give the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Tap by tap where few tokens are in sight or episodes are packed, by a transform that fits where many are.
    Shortest,
    /// By a transform of this many points a side, in pieces of half its length. Tap by tap where episodes are packed.
    Square(usize),
}

/// The share of the taps after which the window has fallen to 1%: in the first channel, and in the last.
const RATES: [f64; 2] = [1.5, 0.3];

/// From this many tokens on a transform is quicker.
const MANY_TOKENS: usize = 512;

/// The module.
#[derive(Module, Debug)]
pub struct LongConvolution<B: Backend> {
    /// `[width, (order + 1) width]`
    input: Dense<B>,
    short: ShortConvolution<B>,
    first: Dense<B>,
    second: Dense<B>,
    third: Dense<B>,
    /// `[FILTER_WIDTH, (order - 1) width]`
    last: Projection<B>,
    /// `[FILTER_WIDTH]`, shared by the three sine activations
    frequency: Param<Tensor<B, 1>>,
    /// `beta`: `[order - 1, width]`
    skip: Param<Tensor<B, 2>>,
    output: Dense<B>,
    residual: Option<Filter<B>>,
    order: usize,
    taps: usize,
    embedding: usize,
    #[module(skip)]
    way: Way,
}

/// The network that makes filters, and what passes by them. The operator's own is a part of it, under the names that stored weights have.
#[derive(Module, Debug)]
struct Filter<B: Backend> {
    first: Dense<B>,
    second: Dense<B>,
    third: Dense<B>,
    /// `[FILTER_WIDTH, channels]`
    last: Projection<B>,
    /// `[FILTER_WIDTH]`
    frequency: Param<Tensor<B, 1>>,
    /// `[channels / width, width]`
    skip: Param<Tensor<B, 2>>,
}

/// The inputs that the convolutions still see, and the filters.
#[derive(Clone, Debug)]
pub struct LongConvolutionState<B: Backend> {
    /// `[batch, SHORT_TAPS - 1, (order + 1) width]`
    short: Tensor<B, 3>,
    /// The inputs of every long filter, the residual one last, `[batch, tokens, width]`; absent before the first token.
    long: Option<Vec<Tensor<B, 3>>>,
    /// For each row, the first of them that is of its episode.
    first: Vec<usize>,
    /// Filters `[taps, (order - 1) width]`, and `width` more with a residual one, made once for a state: they depend on the weights
    /// alone.
    filters: Option<Tensor<B, 2>>,
}

impl<B: Backend> LongConvolution<B> {
    pub(crate) fn new(sizes: &OperatorSizes, way: Way, init: &mut Init, device: &B::Device) -> Self {
        let &OperatorSizes { width, order, taps, embedding, frequency, residual } = sizes;
        let mut dense = |inputs, outputs| Dense::uniform(inputs, outputs, init, device);
        let (first, second, third) =
            (dense(embedding, FILTER_WIDTH), dense(FILTER_WIDTH, FILTER_WIDTH), dense(FILTER_WIDTH, FILTER_WIDTH));
        Self {
            input: Dense::uniform(width, (order + 1) * width, init, device),
            short: ShortConvolution::new(SHORT_TAPS, (order + 1) * width, init, device),
            first,
            second,
            third,
            last: Projection::uniform(FILTER_WIDTH, (order - 1) * width, 1.0, init, device),
            frequency: init.constant([FILTER_WIDTH], frequency as f32, device),
            skip: init.normal([order - 1, width], 1.0, device),
            output: Dense::uniform(width, width, init, device),
            // Drawn last, so that the rest begins as it does without.
            residual: residual.then(|| Filter {
                first: Dense::uniform(embedding, FILTER_WIDTH, init, device),
                second: Dense::uniform(FILTER_WIDTH, FILTER_WIDTH, init, device),
                third: Dense::uniform(FILTER_WIDTH, FILTER_WIDTH, init, device),
                last: Projection::uniform(FILTER_WIDTH, width, 1.0, init, device),
                frequency: init.constant([FILTER_WIDTH], frequency as f32, device),
                skip: init.normal([1, width], 1.0, device),
            }),
            order,
            taps,
            embedding,
            way,
        }
    }

    pub(crate) fn initial_state(&self, batch: usize, device: &B::Device) -> LongConvolutionState<B> {
        LongConvolutionState {
            short: self.short.initial_history(batch, device),
            long: None,
            first: vec![0; batch],
            filters: None,
        }
    }
}

impl<B: KernelBackend> Filter<B> {
    /// `[taps, channels]`
    ///
    /// - `embedding`: numbers that describe a tap's position
    fn taps(&self, taps: usize, embedding: usize) -> Tensor<B, 2> {
        let (device, dtype) = (self.first.weight.val().device(), self.first.weight.val().dtype());
        let channels: usize = self.skip.dims().iter().product();
        let span = (taps - 1).max(1) as f64;
        let bands = (embedding - 1) / 2;
        let position = (0..taps).flat_map(|tap| {
            let angle = move |band: usize| {
                let frequency =
                    if bands == 1 { 1e-4 } else { 1e-4 + band as f64 * (bands as f64 - 1.0 - 1e-4) / (bands as f64 - 1.0) };
                frequency * TAU * tap as f64 / taps as f64
            };
            let waves = (0..bands).map(move |band| angle(band).cos()).chain((0..bands).map(move |band| -angle(band).sin()));
            std::iter::once(tap as f64 / span).chain(waves)
        });
        let position = TensorData::new(position.collect::<Vec<f64>>(), [taps, embedding]);
        let position = Tensor::<B, 2>::from_data(position, (&device, dtype));
        let frequency = self.frequency.val().unsqueeze::<2>();
        let sine = |x: Tensor<B, 2>| (x * frequency.clone()).sin();
        let x = sine(self.first.forward(position));
        let x = sine(self.second.forward(x));
        let x = sine(self.third.forward(x));
        let [slow, quick] = RATES.map(|share| 100f64.ln() / share);
        let rate = |channel: usize| slow + (quick - slow) * channel as f64 / (channels.max(2) - 1) as f64;
        let window = (0..taps).flat_map(|tap| (0..channels).map(move |channel| (-rate(channel) * tap as f64 / span).exp()));
        let window = TensorData::new(window.collect::<Vec<f64>>(), [taps, channels]);
        self.last.forward(x) * Tensor::<B, 2>::from_data(window, (&device, dtype))
    }
}

impl<B: KernelBackend> LongConvolution<B> {
    /// All filters, as a state holds them.
    fn filters(&self) -> Tensor<B, 2> {
        let own = Filter {
            first: self.first.clone(),
            second: self.second.clone(),
            third: self.third.clone(),
            last: self.last.clone(),
            frequency: self.frequency.clone(),
            skip: self.skip.clone(),
        };
        let own = own.taps(self.taps, self.embedding);
        match &self.residual {
            Some(residual) => Tensor::cat(vec![own, residual.taps(self.taps, self.embedding)], 1),
            None => own,
        }
    }

    /// The operator over a chunk.
    pub(crate) fn forward(
        &self,
        x: Tensor<B, 3>,
        reset: &Reset<B>,
        state: LongConvolutionState<B>,
    ) -> (Tensor<B, 3>, LongConvolutionState<B>) {
        let [batch, time, width] = x.dims();
        let filters = state.filters.unwrap_or_else(|| self.filters());
        let projected = self.input.forward(x.clone().reshape([batch * time, width]));
        let projected = projected.reshape([batch, time, (self.order + 1) * width]);
        let (projected, short) = self.short.forward(projected, reset, state.short);
        let part = |index: usize| projected.clone().slice([0..batch, 0..time, index * width..(index + 1) * width]);

        let mut first = state.first;
        let mut held = state.long.as_ref().map_or(0, |long| long[0].dims()[1]);
        let mut long = state.long;
        // Inputs that no row will look at again: all of them where every row begins anew, as in training.
        if (0..batch).all(|row| reset.at(row, 0) || first[row] == held) {
            (long, held) = (None, 0);
            first.fill(0);
        }
        let firsts = reset.firsts(held, &mut first);
        let is_whole = firsts.iter().all(|&first| first == 0); // every output sees all inputs
        let firsts = Tensor::<B, 2, Int>::from_data(TensorData::new(firsts, [batch, time]), &projected.device());

        let kept = (held + time).min(self.taps - 1);
        let mut next = Vec::with_capacity(self.order);
        let mut filtered = |new: Tensor<B, 3>, place: usize, skip: Tensor<B, 2>| {
            let inputs = match &long {
                Some(long) => Tensor::cat(vec![long[place].clone(), new.clone()], 1),
                None => new.clone(),
            };
            let taps = filters.clone().slice([0..self.taps, place * width..(place + 1) * width]);
            let convolved = self.convolve(inputs.clone(), taps, firsts.clone(), time, is_whole);
            next.push(inputs.slice([0..batch, held + time - kept..held + time]));
            convolved + new * skip.unsqueeze::<3>()
        };
        let mut signal = part(self.order);
        for index in (1..self.order).rev() {
            let place = self.order - 1 - index;
            signal = filtered(part(index) * signal, place, self.skip.val().slice([place..place + 1, 0..width]));
        }
        let mut signal = part(0) * signal;
        if let Some(residual) = &self.residual {
            signal = signal + filtered(x, self.order - 1, residual.skip.val());
        }
        first.iter_mut().for_each(|first| *first = first.saturating_sub(held + time - kept));
        let y = self.output.forward(signal.reshape([batch * time, width]));
        let long = (kept > 0).then_some(next);
        (y.reshape([batch, time, width]), LongConvolutionState { short, long, first, filters: Some(filters) })
    }

    /// The last `time` outputs of one filter over `inputs`, `[batch, held + time, width]`.
    fn convolve(
        &self,
        inputs: Tensor<B, 3>,
        taps: Tensor<B, 2>,
        firsts: Tensor<B, 2, Int>,
        time: usize,
        is_whole: bool,
    ) -> Tensor<B, 3> {
        let [batch, length, width] = inputs.dims();
        let (device, dtype) = (inputs.device(), inputs.dtype());
        if !is_whole {
            return causal_convolution(inputs, taps, firsts);
        }
        match self.way {
            Way::Shortest if time < MANY_TOKENS => causal_convolution(inputs, taps, firsts),
            Way::Shortest => {
                let in_sight = self.taps.min(length);
                let taps = taps.slice([0..in_sight, 0..width]);
                let transform = MonarchTransform::at_least(length + in_sight - 1, &device, dtype);
                transform.convolve(inputs, taps).slice([0..batch, length - time..length])
            }
            // Few tokens do not pay for a transform of all points: acting, and training on short segments.
            Way::Square(side) if 8 * time < side * side => causal_convolution(inputs, taps, firsts),
            Way::Square(side) => {
                let transform = MonarchTransform::new(side, side, &device, dtype);
                let mut pieces = Vec::new();
                // A piece and the history before it: where the convolution wraps around, there is history, which is cut off.
                let step = transform.points() + 1 - self.taps;
                for start in (length - time..length).step_by(step) {
                    let (before, end) = (start.min(self.taps - 1), (start + step).min(length));
                    let piece = inputs.clone().slice([0..batch, start - before..end]);
                    pieces.push(transform.convolve(piece, taps.clone()).slice([0..batch, before..before + end - start]));
                }
                if pieces.len() == 1 { pieces.remove(0) } else { Tensor::cat(pieces, 1) }
            }
        }
    }
}

impl<B: KernelBackend> MixerState<B> for LongConvolutionState<B> {
    fn bytes(&self) -> usize {
        let elements = |tensor: &Tensor<B, 3>| 4 * tensor.dims().iter().product::<usize>();
        let long: usize = self.long.iter().flatten().map(elements).sum();
        elements(&self.short) + long + self.first.len() * size_of::<usize>()
    }

    fn to_record(&self) -> StateRecord {
        let mut record = StateRecord::new([("first", indices(&self.first)), ("short", self.short.to_data())]);
        for (index, inputs) in self.long.iter().flatten().enumerate() {
            record.insert(&format!("long{index}"), inputs.to_data());
        }
        record
    }

    fn from_record(mut record: StateRecord, device: &B::Device) -> Result<Self, PolicyError> {
        let (first, short) = (record.take_indices("first")?, record.take("short", device)?);
        let mut long: Vec<Tensor<B, 3>> = Vec::new();
        while record.has(&format!("long{}", long.len())) {
            long.push(record.take(&format!("long{}", long.len()), device)?);
        }
        let length = long.first().map_or(0, |inputs| inputs.dims()[1]);
        let fits = |inputs: &Tensor<B, 3>| inputs.dims() == long[0].dims() && inputs.dims()[0] == first.len();
        if !long.iter().all(fits) || first.iter().any(|&first| first > length) {
            return Err(PolicyError::State("inputs of long convolutions that do not fit each other".into()));
        }
        Ok(Self { short, long: (!long.is_empty()).then_some(long), first, filters: None })
    }

    fn detach(self) -> Self {
        // The filters go: the weights may change before the next call.
        let long = self.long.map(|long| long.into_iter().map(Tensor::detach).collect());
        Self { short: self.short.detach(), long, first: self.first, filters: None }
    }

    fn to_device(self, device: &B::Device) -> Self {
        let long = self.long.map(|long| long.into_iter().map(|inputs| inputs.to_device(device)).collect());
        Self { short: self.short.to_device(device), long, first: self.first, filters: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    const SIZES: OperatorSizes = OperatorSizes { width: 3, order: 2, taps: 1200, embedding: 9, frequency: 14.0, residual: false };

    fn operator(way: Way) -> LongConvolution<Flex> {
        LongConvolution::new(&SIZES, way, &mut Init::new(1), &Default::default())
    }

    fn signal(time: usize) -> Tensor<Flex, 3> {
        let count = (2 * time * 3) as i64;
        Tensor::<Flex, 1, Int>::arange(0..count, &Default::default()).float().sin().reshape([2, time, 3])
    }

    #[test]
    fn windows_fall_at_the_published_rates() {
        let operator = operator(Way::Shortest);
        let filters = operator.filters();
        let rates = RATES.map(|rate| 100f64.ln() / rate);
        assert!((rates[0] - 3.0701134573).abs() < 1e-9 && (rates[1] - 15.3505672866).abs() < 1e-9, "{rates:?}");
        // The last tap has the window e^(-rate), and what the network says of a position is no larger than its weights.
        let last = filters.slice([SIZES.taps - 1..SIZES.taps, 0..3]).into_data().to_vec::<f32>().unwrap();
        let bounds = [rates[0], (rates[0] + rates[1]) / 2.0, rates[1]].map(|rate| (FILTER_WIDTH as f64).sqrt() * (-rate).exp());
        assert!(last.iter().zip(bounds).all(|(last, bound)| *last != 0.0 && f64::from(last.abs()) < bound), "{last:?}");
    }

    #[test]
    fn a_filter_that_is_an_impulse_passes_its_input_on() {
        let device = Default::default();
        for (way, time) in [(Way::Shortest, 9), (Way::Shortest, 600), (Way::Square(64), 600)] {
            let mut operator = operator(way);
            operator.skip = operator.skip.map(|skip| skip.zeros_like());
            let x = signal(time);
            let impulse = Tensor::cat(vec![Tensor::ones([1, 3], &device), Tensor::zeros([SIZES.taps - 1, 3], &device)], 0);
            let state = LongConvolutionState { filters: Some(impulse), ..operator.initial_state(2, &device) };
            let found = operator.forward(x.clone(), &Reset::none(2, time, &device), state).0;
            // y = (x_0 . x_1 . v) W_o + b_o
            let projected = operator.input.forward(x.reshape([2 * time, 3])).reshape([2, time, 9]);
            let history = operator.short.initial_history(2, &device);
            let projected = operator.short.forward(projected, &Reset::none(2, time, &device), history).0;
            let part = |index: usize| projected.clone().slice([0..2, 0..time, 3 * index..3 * index + 3]);
            let expected = operator.output.forward((part(0) * part(1) * part(2)).reshape([2 * time, 3])).reshape([2, time, 3]);
            let scale = expected.clone().abs().max().into_scalar();
            let error = (found - expected).abs().max().into_scalar();
            assert!(scale > 0.0 && error < 1e-5 * scale, "{time} tokens: {error} at a scale of {scale}");
        }
    }

    #[test]
    fn a_residual_filter_that_is_an_impulse_adds_the_tokens_past_the_gates() {
        let device = Default::default();
        for (way, time) in [(Way::Shortest, 9), (Way::Shortest, 600), (Way::Square(64), 600)] {
            let plain = operator(way);
            let sizes = OperatorSizes { residual: true, ..SIZES };
            let mut operator = LongConvolution::<Flex>::new(&sizes, way, &mut Init::new(1), &device);
            let filters = operator.filters();
            assert_eq!(filters.dims(), [SIZES.taps, 6]);
            operator.residual.iter_mut().for_each(|filter| filter.skip = filter.skip.clone().map(|skip| skip.zeros_like()));
            let impulse = Tensor::cat(vec![Tensor::ones([1, 3], &device), Tensor::zeros([SIZES.taps - 1, 3], &device)], 0);
            let filters = Tensor::cat(vec![filters.slice([0..SIZES.taps, 0..3]), impulse], 1);
            let run = |operator: &LongConvolution<Flex>, filters: Option<Tensor<Flex, 2>>| {
                let state = LongConvolutionState { filters, ..operator.initial_state(2, &device) };
                operator.forward(signal(time), &Reset::none(2, time, &device), state).0
            };
            let added = run(&operator, Some(filters)) - run(&plain, None);
            let expected = signal(time).reshape([2 * time, 3]).matmul(plain.output.weight.val()).reshape([2, time, 3]);
            let error = (added - expected.clone()).abs().max().into_scalar();
            assert!(error < 1e-5, "{time} tokens: {error}");
            assert!(expected.abs().max().into_scalar() > 0.1);
        }
    }

    #[test]
    fn a_token_reaches_no_output_before_it_by_way_of_the_transform() {
        let device = Default::default();
        for way in [Way::Shortest, Way::Square(64)] {
            let (operator, time, changed) = (operator(way), 700, 350);
            assert!(time >= MANY_TOKENS);
            let run =
                |x: Tensor<Flex, 3>| operator.forward(x, &Reset::none(2, time, &device), operator.initial_state(2, &device)).0;
            let x = signal(time);
            let other = x.clone().slice_assign([0..2, changed..changed + 1, 0..3], Tensor::full([2, 1, 3], 5.0, &device));
            let (before, after) = (run(x), run(other));
            let scale = before.clone().abs().max().into_scalar();
            let distance = |tokens: std::ops::Range<usize>| {
                let part = |y: &Tensor<Flex, 3>| y.clone().slice([0..2, tokens.clone(), 0..3]);
                (part(&before) - part(&after)).abs().max().into_scalar() / scale
            };
            // Rounding of the transform, as the documentation says.
            assert!(distance(0..changed) < 1e-5, "{}", distance(0..changed));
            assert!(distance(changed..changed + 1) > 1e-3 && distance(changed + 1..time) > 1e-4);
        }
    }
}
