//! Initial weights from one seed, the same on every backend: numbers are drawn on the host, in the order layers are made.

use burn::module::{Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

/// How large the weights of attention are before training.
///
/// Feed-forward halves begin small either way: as large as their inputs ask for, they hold up what mixers have to learn (recall by linear
/// attention, 64 wide, after 200 steps: 0.62 in place of 1.00).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Initialization {
    /// By what they are multiplied with: uniform within `1 / sqrt(inputs)`, and learned tokens with a deviation of 1, so that scores
    /// are of one size at every width.
    #[default]
    FanIn,
    /// GPT-2's, as the Decision Transformer and Aaren are published: normal with a deviation of 0.02. At widths below some hundred, scores
    /// are then next to nothing, and learning begins late.
    Published,
}

/// Draws parameters and numbers them.
///
/// Numbered (not random) parameter ids are what lets a resumed optimizer find its moments again.
#[derive(Debug)]
pub struct Init {
    generator: Pcg64Mcg,
    next_id: u64,
    initialization: Initialization,
    /// Whether nothing is drawn, because the parameters will be replaced.
    is_blank: bool,
}

impl Init {
    /// The same seed gives the same weights.
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Initialization::default())
    }

    /// The same, with weights of attention as large as `initialization` says.
    pub fn with(seed: u64, initialization: Initialization) -> Self {
        Self { generator: Pcg64Mcg::seed_from_u64(seed), next_id: 1, initialization, is_blank: false }
    }

    /// How large weights of attention are.
    pub fn initialization(&self) -> Initialization {
        self.initialization
    }

    /// Zeros where numbers would be drawn, for parameters that others replace at once.
    pub(crate) fn blank() -> Self {
        Self { is_blank: true, ..Self::new(0) }
    }

    /// Normal numbers of mean 0.
    pub fn normal<B: Backend, const D: usize>(
        &mut self,
        shape: [usize; D],
        standard_deviation: f32,
        device: &B::Device,
    ) -> Param<Tensor<B, D>> {
        if self.is_blank {
            return self.constant(shape, 0.0, device);
        }
        let draw = |generator: &mut Pcg64Mcg| -> f32 { StandardNormal.sample(generator) };
        let data = (0..shape.iter().product()).map(|_| standard_deviation * draw(&mut self.generator)).collect();
        self.given(data, shape, device)
    }

    /// Tokens that are learned and that a mixer's layers read, such as queries.
    pub fn tokens<B: Backend, const D: usize>(&mut self, shape: [usize; D], device: &B::Device) -> Param<Tensor<B, D>> {
        let deviation = match self.initialization {
            Initialization::FanIn => 1.0,
            Initialization::Published => 0.02,
        };
        self.normal(shape, deviation, device)
    }

    /// Uniform numbers in `[-bound, bound)`.
    pub fn uniform<B: Backend, const D: usize>(
        &mut self,
        shape: [usize; D],
        bound: f32,
        device: &B::Device,
    ) -> Param<Tensor<B, D>> {
        if self.is_blank {
            return self.constant(shape, 0.0, device);
        }
        let data = (0..shape.iter().product()).map(|_| bound * self.generator.random_range(-1.0f32..1.0)).collect();
        self.given(data, shape, device)
    }

    /// A matrix `[inputs, outputs]` whose shorter side's vectors are orthogonal and of length `gain` (Saxe et al. 2014,
    /// arXiv:1312.6120).
    pub fn orthogonal<B: Backend>(
        &mut self,
        inputs: usize,
        outputs: usize,
        gain: f64,
        device: &B::Device,
    ) -> Param<Tensor<B, 2>> {
        if self.is_blank {
            return self.constant([inputs, outputs], 0.0, device);
        }
        let (count, length) = (inputs.min(outputs), inputs.max(outputs));
        let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
        while vectors.len() < count {
            let mut vector: Vec<f64> = (0..length).map(|_| StandardNormal.sample(&mut self.generator)).collect();
            // Twice, because once leaves errors of the size that cancellation makes.
            for _ in 0..2 {
                for other in &vectors {
                    let along: f64 = vector.iter().zip(other).map(|(x, y)| x * y).sum();
                    vector.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
                }
            }
            let norm = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
            vector.iter_mut().for_each(|x| *x /= norm);
            vectors.push(vector);
        }
        let at = |input: usize, output: usize| if inputs <= outputs { vectors[input][output] } else { vectors[output][input] };
        let data = (0..inputs).flat_map(|input| (0..outputs).map(move |output| (input, output)));
        let data = data.map(|(input, output)| (gain * at(input, output)) as f32).collect();
        self.given(data, [inputs, outputs], device)
    }

    /// Biases of gates that keep what a unit remembers for about as many tokens as it may have to: the logarithms of numbers from 1 to
    /// `max_lag - 1`.
    ///
    /// Source: Tallec and Ollivier 2018, arXiv:1804.11188.
    pub(crate) fn lags(&mut self, units: usize, max_lag: usize) -> Vec<f32> {
        (0..units).map(|_| self.draw(1.0, max_lag as f32 - 1.0).ln()).collect()
    }

    /// A uniform number in `[low, high)`.
    pub fn draw(&mut self, low: f32, high: f32) -> f32 {
        self.generator.random_range(low..high)
    }

    /// A standard normal number.
    pub fn draw_normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.generator)
    }

    /// Given numbers that no optimizer changes but that belong to the weights.
    pub fn buffer<B: Backend, const D: usize>(
        &mut self,
        data: Vec<f32>,
        shape: [usize; D],
        device: &B::Device,
    ) -> Param<Tensor<B, D>> {
        self.given(data, shape, device).map(|tensor| tensor.set_require_grad(false))
    }

    /// One number everywhere.
    pub fn constant<B: Backend, const D: usize>(
        &mut self,
        shape: [usize; D],
        value: f32,
        device: &B::Device,
    ) -> Param<Tensor<B, D>> {
        self.given(vec![value; shape.iter().product()], shape, device)
    }

    /// Given numbers, row-major.
    pub fn given<B: Backend, const D: usize>(
        &mut self,
        data: Vec<f32>,
        shape: [usize; D],
        device: &B::Device,
    ) -> Param<Tensor<B, D>> {
        let id = ParamId::from(self.next_id);
        self.next_id += 1;
        Param::initialized(id, Tensor::from_data(TensorData::new(data, shape), device).require_grad())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;

    #[test]
    fn the_shorter_side_of_an_orthogonal_matrix_is_orthogonal_and_of_the_gains_length() {
        for (inputs, outputs) in [(5, 9), (9, 5), (7, 7), (4, 1)] {
            let matrix = Init::new(3).orthogonal::<Flex>(inputs, outputs, 1.5, &Default::default()).val();
            let matrix = if inputs <= outputs { matrix } else { matrix.transpose() };
            let products = matrix.clone().matmul(matrix.transpose()).into_data().to_vec::<f32>().unwrap();
            let count = inputs.min(outputs);
            for (i, product) in products.iter().enumerate() {
                let expected = if i / count == i % count { 2.25 } else { 0.0 };
                assert!((product - expected).abs() < 1e-5, "{inputs} x {outputs}, {i}: {product}");
            }
        }
    }
}
