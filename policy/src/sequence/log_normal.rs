//! When the next event is and of which kind: a mixture of log-normals over the gap until it, and a distribution over marks.
//!
//! An output is `components` logits of weights, as many means and as many logarithms of deviations, all on the scale
//! `z = (ln gap - center) / scale`, and then a logit a mark where there are two at least:
//!
//! ```text
//! ln p(gap) = ln sum_k w_k exp(-x_k^2 / 2) / s_k  -  ln(2 pi) / 2  -  ln scale  -  ln gap,      x_k = (z - m_k) / s_k
//! ln P(none until gap) = ln sum_k w_k erfc(x_k / sqrt 2) / 2
//! ```
//!
//! Source: Shchur et al. 2020, arXiv:1909.12127 (intensity-free learning of temporal point processes).

use std::f64::consts::{LN_2, PI, SQRT_2};

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, backend::Backend};

/// Logarithms of deviations are kept between these; the gradient goes on beyond them.
const LOG_DEVIATIONS: (f64, f64) = (-5.0, 3.0);

/// From here on a tail is told by its asymptote, well before `erfc` comes to 0.
const FAR: f64 = 30.0;

/// Halvings of the interval that a quantile lies in.
const HALVINGS: usize = 40;

/// An interval that a quantile lies in reaches so many deviations to both sides.
const REACH: f64 = 10.0;

/// What is known of the gap after an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DueGap {
    /// `(ln gap - center) / scale`
    z: f32,
    /// What the density has beside the mixture over `z`, in nats.
    constant: f32,
    /// Whether there was no event until then, and nobody looked later.
    is_survived: bool,
}

impl DueGap {
    /// The next event came after a gap, which is above 0.
    pub fn ended(gap: f64, center: f64, scale: f64) -> Self {
        let constant = scale.ln() + gap.ln() + 0.5 * (2.0 * PI).ln();
        Self { z: ((gap.ln() - center) / scale) as f32, constant: constant as f32, is_survived: false }
    }

    /// None came for so long, which is above 0.
    pub fn survived(gap: f64, center: f64, scale: f64) -> Self {
        Self { z: ((gap.ln() - center) / scale) as f32, constant: 0.0, is_survived: true }
    }

    /// For other programs: `z`, what the density has beside the mixture over `z` in nats, and 1 where an event came or 0 where none did.
    pub fn numbers(self) -> [f32; 3] {
        [self.z, self.constant, if self.is_survived { 0.0 } else { 1.0 }]
    }

    /// The gap, to the rounding of f32.
    pub fn gap(self, center: f64, scale: f64) -> f64 {
        (center + scale * f64::from(self.z)).exp()
    }

    /// Whether none came.
    pub fn is_survived(self) -> bool {
        self.is_survived
    }
}

/// What is due of gaps, on a device.
#[derive(Clone, Debug)]
pub struct GapTensors<B: Backend> {
    /// `[due, 1]`
    z: Tensor<B, 2>,
    /// `[due, 1]`
    constants: Tensor<B, 2>,
    /// 1 where an event came and 0 where none did: `[due, 1]`; none where all came
    ended: Option<Tensor<B, 2>>,
}

impl<B: Backend> GapTensors<B> {
    /// Moves gaps to a device.
    pub(super) fn new(gaps: &[DueGap], device: &B::Device) -> Self {
        let column = |of: &dyn Fn(&DueGap) -> f32| {
            let numbers: Vec<f32> = gaps.iter().map(of).collect();
            Tensor::<B, 1>::from_floats(&*numbers, device).reshape([gaps.len(), 1])
        };
        let ended = gaps.iter().any(|gap| gap.is_survived).then(|| column(&|gap| if gap.is_survived { 0.0 } else { 1.0 }));
        Self { z: column(&|gap| gap.z), constants: column(&|gap| gap.constant), ended }
    }

    /// 1 where an event came, `[due, 1]`; none where all did.
    pub(super) fn ended(&self) -> Option<Tensor<B, 2>> {
        self.ended.clone()
    }

    /// Minus the logarithm of each gap's density, or of the probability that it is longer, in nats: `[due, 1]`.
    ///
    /// # Shapes
    /// - `outputs`: `[due, 3 * components + ...]`
    pub(super) fn nats(&self, outputs: Tensor<B, 2>, components: usize) -> Tensor<B, 2> {
        let due = outputs.dims()[0];
        let part = |at: usize| outputs.clone().slice([0..due, at * components..(at + 1) * components]); // [due, components]
        let (log_weights, means, free) = (log_softmax(part(0), 1), part(1), part(2));
        let kept = free.clone().clamp(LOG_DEVIATIONS.0, LOG_DEVIATIONS.1);
        let log_deviations = free.clone() + (kept - free).detach();
        let x = (self.z.clone() - means) * log_deviations.clone().neg().exp(); // [due, components]
        let densities = (x.clone() * x.clone()).mul_scalar(-0.5) - log_deviations;
        let terms = log_weights
            + match &self.ended {
                None => densities,
                Some(ended) => densities * ended.clone() + log_tails(x) * (ended.clone().neg() + 1.0),
            };
        let most = terms.clone().max_dim(1).detach(); // [due, 1]
        let sums = (terms - most.clone()).exp().sum_dim(1).log() + most;
        self.constants.clone() - sums
    }
}

/// The logarithm of the probability that a standard normal is above `x`, to about 1e-7 of the probability wherever `x` is: also where it is
/// no number of f32 any more, and with the gradient of that.
///
/// Source: `erfc` by the Chebyshev fit of Press et al. 1992 (Numerical Recipes, section 6.2), of which the logarithm is taken here.
fn log_tails<B: Backend>(x: Tensor<B, 2>) -> Tensor<B, 2> {
    // Of t^9 down to t^0.
    const FIT: [f64; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let y = x.mul_scalar(1.0 / SQRT_2);
    let is_above = y.clone().greater_equal_elem(0.0).float();
    let t = (y.clone().abs().mul_scalar(0.5) + 1.0).recip();
    let fit = FIT[1..].iter().fold(t.clone().mul_scalar(0.0) + FIT[0], |sum, factor| sum * t.clone() + *factor);
    let far = t.log() - y.clone() * y + fit - LN_2; // ln erfc(|y|) / 2
    let near = (far.clone().exp().neg() + 1.0).log();
    far * is_above.clone() + near * (is_above.neg() + 1.0)
}

/// The logarithm of the probability that a standard normal is above `x`.
fn log_tail(x: f64) -> f64 {
    if x < 0.0 {
        return (-0.5 * libm::erfc(-x / SQRT_2)).ln_1p();
    }
    if x < FAR {
        return (0.5 * libm::erfc(x / SQRT_2)).ln();
    }
    let inverse = 1.0 / (x * x);
    -0.5 * x * x - (x * (2.0 * PI).sqrt()).ln() + (-inverse * (1.0 - inverse * (3.0 - 15.0 * inverse))).ln_1p()
}

fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let most = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if most.is_infinite() { most } else { terms.map(|term| (term - most).exp()).sum::<f64>().ln() + most }
}

/// The next event by one output, on the host: what scores and predictions are computed of.
#[derive(Clone, Debug, PartialEq)]
pub struct NextEvent {
    /// `[components]`, as are the next two
    log_weights: Vec<f64>,
    means: Vec<f64>,
    deviations: Vec<f64>,
    center: f64,
    scale: f64,
    /// Logarithms of the marks' probabilities; empty where nothing tells events apart.
    log_marks: Vec<f64>,
}

impl NextEvent {
    /// What an output says.
    ///
    /// - `center`, `scale`: those of the logarithms of gaps, the second above 0
    ///
    /// # Panics
    /// If the output has not three numbers a component.
    pub fn new(output: &[f32], components: usize, center: f64, scale: f64) -> Self {
        let log_softmax = |logits: &[f32]| {
            let logits: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
            let sum = log_sum_exp(logits.iter().copied());
            logits.into_iter().map(|logit| logit - sum).collect::<Vec<f64>>()
        };
        let (gap, marks) = output.split_at(3 * components);
        let parts: Vec<&[f32]> = gap.chunks_exact(components).collect();
        Self {
            log_weights: log_softmax(parts[0]),
            means: parts[1].iter().map(|mean| f64::from(*mean)).collect(),
            deviations: parts[2].iter().map(|log| f64::from(*log).clamp(LOG_DEVIATIONS.0, LOG_DEVIATIONS.1).exp()).collect(),
            center,
            scale,
            log_marks: log_softmax(marks),
        }
    }

    /// Logarithms of weights, means and deviations.
    fn components(&self) -> impl Iterator<Item = (f64, f64, f64)> + Clone {
        let others = self.means.iter().zip(&self.deviations);
        self.log_weights.iter().zip(others).map(|(weight, (mean, deviation))| (*weight, *mean, *deviation))
    }

    fn z(&self, gap: f64) -> f64 {
        (gap.ln() - self.center) / self.scale
    }

    /// The logarithm of the density of a gap above 0, in nats of the gap's unit.
    pub fn log_density(&self, gap: f64) -> f64 {
        let z = self.z(gap);
        let terms = self.components().map(|(log_weight, mean, deviation)| {
            let x = (z - mean) / deviation;
            log_weight - 0.5 * x * x - deviation.ln()
        });
        log_sum_exp(terms) - 0.5 * (2.0 * PI).ln() - self.scale.ln() - gap.ln()
    }

    /// The logarithm of the probability that nothing comes for so long, which is above 0.
    pub fn log_survival(&self, gap: f64) -> f64 {
        let z = self.z(gap);
        log_sum_exp(self.components().map(|(log_weight, mean, deviation)| log_weight + log_tail((z - mean) / deviation)))
    }

    /// The probability that the next event comes within a gap, which is above 0.
    pub fn probability_within(&self, gap: f64) -> f64 {
        self.below(self.z(gap))
    }

    fn below(&self, z: f64) -> f64 {
        let of = |(log_weight, mean, deviation): (f64, f64, f64)| {
            log_weight.exp() * 0.5 * libm::erfc((mean - z) / (deviation * SQRT_2))
        };
        self.components().map(of).sum()
    }

    /// The gap within which the next event comes with a probability, which is above 0 and below 1.
    pub fn quantile(&self, probability: f64) -> f64 {
        let ends = self.components().map(|(_, mean, deviation)| (mean - REACH * deviation, mean + REACH * deviation));
        let (mut low, mut high) =
            ends.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (a, b)| (f64::min(low, a), f64::max(high, b)));
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            *(if self.below(middle) < probability { &mut low } else { &mut high }) = middle;
        }
        (self.center + self.scale * 0.5 * (low + high)).exp()
    }

    /// The gap that is as likely to be shorter as to be longer.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The mean gap, none where it is above `most`: one wide component is enough for a mean beyond anything that was ever seen.
    pub fn mean(&self, most: f64) -> Option<f64> {
        let log = |(log_weight, mean, deviation): (f64, f64, f64)| {
            log_weight + self.center + self.scale * (mean + 0.5 * self.scale * deviation * deviation)
        };
        let mean = log_sum_exp(self.components().map(log)).exp();
        (mean <= most).then_some(mean)
    }

    /// Logarithms of the marks' probabilities; empty where nothing tells events apart.
    pub fn log_marks(&self) -> &[f64] {
        &self.log_marks
    }

    /// The likeliest mark.
    pub fn mark(&self) -> usize {
        (0..self.log_marks.len()).max_by(|&a, &b| self.log_marks[a].total_cmp(&self.log_marks[b])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, Flex};
    use burn::tensor::TensorData;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;

    const CENTER: f64 = 0.7;
    const SCALE: f64 = 1.9;

    fn random(count: usize, seed: u64) -> Vec<f32> {
        let mut generator = Pcg64Mcg::seed_from_u64(seed);
        (0..count).map(|_| generator.random_range(-1.5..1.5f32)).collect()
    }

    fn next(seed: u64) -> NextEvent {
        NextEvent::new(&random(3 * 5 + 7, seed), 5, CENTER, SCALE)
    }

    /// By Simpson's rule over `ln gap`.
    fn integral(next: &NextEvent, from: f64, to: f64) -> f64 {
        let (steps, (from, to)) = (20_000, (from.ln(), to.ln()));
        let width = (to - from) / steps as f64;
        let at = |step: usize| {
            let gap = (from + width * step as f64).exp();
            next.log_density(gap).exp() * gap
        };
        let sum: f64 = (1..steps).map(|step| at(step) * if step % 2 == 1 { 4.0 } else { 2.0 }).sum();
        (at(0) + sum + at(steps)) * width / 3.0
    }

    #[test]
    fn a_density_integrates_to_one_and_to_its_probabilities() {
        for seed in 0..6 {
            let next = next(seed);
            let [from, to] = [-1.0, 1.0].map(|side| (CENTER + SCALE * side * 45.0).exp());
            assert!((integral(&next, from, to) - 1.0).abs() < 1e-9);
            for gap in [0.01, 0.4, 3.0, 50.0] {
                let within = next.probability_within(gap);
                assert!((integral(&next, from, gap) - within).abs() < 1e-6, "{gap}");
                assert!((within + next.log_survival(gap).exp() - 1.0).abs() < 1e-12, "{gap}");
            }
            for probability in [0.1, 0.25, 0.5, 0.9, 0.999] {
                assert!((next.probability_within(next.quantile(probability)) - probability).abs() < 1e-8, "{probability}");
            }
            assert_eq!(next.median(), next.quantile(0.5));
        }
    }

    #[test]
    fn survival_falls_by_the_density() {
        for gap in [1e-4f64, 0.3, 7.0, 1e4, 1e12, 1e30, 1e80] {
            let (next, step) = (next(3), 1e-4);
            // Over ln gap, which both are multiplied by.
            let slope = (next.log_survival(gap * f64::exp(step)) - next.log_survival(gap * f64::exp(-step))) / (2.0 * step);
            let expected = -(next.log_density(gap) + gap.ln() - next.log_survival(gap)).exp();
            assert!((slope - expected).abs() < 1e-5 * expected.abs().max(1e-3), "{gap}: {slope}, not {expected}");
        }
    }

    #[test]
    fn the_asymptote_meets_erfc() {
        let erfc = |x: f64| (0.5 * libm::erfc(x / SQRT_2)).ln();
        for x in [FAR, FAR + 1.0, FAR + 5.0] {
            assert!((log_tail(x) - erfc(x)).abs() < 1e-9, "{x}: {} and {}", log_tail(x), erfc(x));
        }
        // Without its series, where `erfc` in f64 is 0 already.
        let (x, far) = (60.0f64, log_tail(60.0));
        assert!((far + 0.5 * x * x + (x * (2.0 * PI).sqrt()).ln()).abs() < 3e-4 && far < erfc(38.0), "{far}");
        // Tensors, from one end to the other.
        for x in (-400..=400).map(|x| f64::from(x) * 0.1) {
            let tensor = Tensor::<Flex, 2>::from_floats([[x as f32]], &Default::default());
            let found = f64::from(log_tails(tensor).into_scalar());
            let expected = log_tail(f64::from(x as f32));
            assert!((found - expected).abs() < 1e-6 + 3e-7 * expected.abs(), "{x}: {found}, not {expected}");
        }
    }

    #[test]
    fn a_mean_is_that_of_the_mixture_or_beyond_what_is_asked_for() {
        // One component: exp(m + s^2 / 2).
        let one = NextEvent::new(&[0.3, 0.5, -0.2], 1, CENTER, SCALE);
        let deviation = SCALE * f64::from(-0.2f32).exp();
        let expected = (CENTER + SCALE * 0.5 + 0.5 * deviation * deviation).exp();
        assert!((one.mean(1e9).unwrap() / expected - 1.0).abs() < 1e-12);
        assert_eq!(one.mean(expected * 0.999), None);
        assert!((one.median() / (CENTER + SCALE * 0.5).exp() - 1.0).abs() < 1e-9);
        let wide = NextEvent::new(&[0.0, 0.0, 5.0, 9.0, 900.0, 900.0], 2, CENTER, SCALE);
        assert_eq!(wide.mean(1e300), None);
        assert!(wide.median().is_finite());
        assert_eq!((one.log_marks().len(), one.mark()), (0, 0));
        let marked = NextEvent::new(&[0.3, 0.5, -0.2, 1.0, 3.0, 3.0 - 1e-3], 1, CENTER, SCALE);
        assert_eq!(marked.mark(), 1);
        assert!((marked.log_marks().iter().map(|log| log.exp()).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    /// Values and gradients of tensors, against finite differences of the host's formulas in f64.
    #[test]
    fn tensors_have_the_gradients_of_the_host() {
        type B = Autodiff<Flex>;
        let (due, components, rest) = (7, 5, 3);
        let width = 3 * components + rest;
        let mut outputs = random(due * width, 9);
        // Deviations beyond the bounds, where the gradient is that at the bound.
        (outputs[2 * components], outputs[width + 2 * components + 3]) = (-5.5, 3.25);
        let gaps: Vec<f64> = [0.02, 0.7, 1.0, 3.5, 40.0, 1e3, 1e9].to_vec();
        let dues: Vec<DueGap> = (0..due)
            .map(|at| if at % 3 == 1 || at == 6 { DueGap::survived } else { DueGap::ended }(gaps[at], CENTER, SCALE))
            .collect();
        assert!(dues[6].is_survived() && !dues[5].is_survived());
        let device = Default::default();
        let tensor = Tensor::<B, 2>::from_data(TensorData::new(outputs.clone(), [due, width]), &device).require_grad();
        let nats = GapTensors::<B>::new(&dues, &device).nats(tensor.clone(), components);
        let found: Vec<f32> = nats.clone().into_data().to_vec().unwrap();
        let gradients = tensor.grad(&nats.sum().backward()).unwrap().into_data().to_vec::<f32>().unwrap();
        for row in 0..due {
            let own = &outputs[row * width..(row + 1) * width];
            // The host's formulas with one number moved, in f64 and past the bounds.
            let of = |moved: usize, step: f64| {
                let mut next = NextEvent::new(own, components, CENTER, SCALE);
                let at = moved % components;
                match moved / components {
                    0 => {
                        next.log_weights[at] += step;
                        let sum = log_sum_exp(next.log_weights.iter().copied());
                        next.log_weights.iter_mut().for_each(|weight| *weight -= sum);
                    }
                    1 => next.means[at] += step,
                    _ => next.deviations[at] *= step.exp(),
                }
                -if dues[row].is_survived { next.log_survival(gaps[row]) } else { next.log_density(gaps[row]) }
            };
            let expected = of(0, 0.0);
            assert!(
                (f64::from(found[row]) - expected).abs() < 2e-5 * expected.abs().max(1.0),
                "{row}: {} {expected}",
                found[row]
            );
            for moved in 0..3 * components {
                let slope = (of(moved, 1e-5) - of(moved, -1e-5)) / 2e-5;
                let gradient = f64::from(gradients[row * width + moved]);
                assert!((gradient - slope).abs() < 1e-4 * slope.abs().max(1.0), "{row}, {moved}: {gradient}, not {slope}");
            }
            assert!(gradients[row * width + 3 * components..(row + 1) * width].iter().all(|gradient| *gradient == 0.0));
        }
    }
}
