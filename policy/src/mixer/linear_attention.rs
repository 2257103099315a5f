//! Linear attention with the second-order Taylor map of the exponential: Based's global half.
//!
//! ```text
//! f(x) = [1, x / f^(1/4), x_i^2 / sqrt(2 f), x_i x_j / sqrt(f) for i > j]        f(q) . f(k) = 1 + s + s^2 / 2,  s = q . k / sqrt(f)
//! ```
//!
//! with narrow queries and keys, `feature_width = f` channels a head. Every weight is at least one half, so the sum that is divided
//! by never vanishes. Inside a chunk the polynomial is evaluated on the matrix of scores; features are made for the state alone.
//!
//! State: sums of features times values and of features, `4 heads F (head_dim + 1)` bytes a sequence and layer, with
//! `F = 1 + f + f (f + 1) / 2`: the map without the symmetric half, 153 features for `f = 16`. The weights' sum grows with time;
//! single precision is good for about a million tokens of an episode.
//!
//! Source: Arora et al. 2024, arXiv:2402.18668.

use super::common::{merge_heads, split_heads};
use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::favor::{Kernel, normalized};
use crate::init::Init;
use crate::layers::Projection;
use crate::reset::Reset;
use crate::state::tensor_state;
use aaren_kernels::{Dropout, FeatureMap, KernelBackend, linear_attention};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

mixer_options! {
    /// `policy.options.linear-attention`
    "linear-attention" LinearAttentionOptions {
        /// Channels of a head's queries and keys.
        feature_width: usize = 16, (1..=256).contains(feature_width), "1 to 256";
    }
}

/// The module. No biases, as published; weights of the size that 0.02 is at the published widths of about 1024.
#[derive(Module, Debug)]
pub struct LinearAttention<B: Backend> {
    /// `[width, heads feature_width]`
    query: Projection<B>,
    /// `[width, heads feature_width]`
    key: Projection<B>,
    value: Projection<B>,
    output: Projection<B>,
    heads: usize,
}

tensor_state! {
    /// Sums over the tokens so far.
    LinearAttentionState {
        /// `[batch, heads, features, head_dim + 1]`: features times values, and last the features.
        sums: 4,
    }
}

/// The Taylor map of inputs of some width.
#[derive(Clone, Copy, Debug)]
pub struct TaylorMap {
    /// Channels of a query or key.
    pub width: usize,
}

impl TaylorMap {
    /// Features that the map makes.
    pub fn features(self) -> usize {
        1 + self.width + self.width * (self.width + 1) / 2
    }

    /// `[batch, heads, time, width]` to `[batch, heads, time, features]`.
    pub fn map<B: Backend>(self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let [batch, heads, time, width] = x.dims();
        let (device, dtype) = (x.device(), x.dtype());
        // Products with themselves, gathered side by side: a product of stretched tensors would be read number by number.
        let pairs = || (0..width).flat_map(|i| (0..=i).map(move |j| (i, j)));
        let count = self.features() - 1 - width;
        let scales: Vec<f64> = pairs().map(|(i, j)| 1.0 / (width as f64 * if i == j { 2.0 } else { 1.0 }).sqrt()).collect();
        let rows = x.clone().reshape([batch * heads * time, width]);
        let gathered = |indices: Vec<i32>| {
            rows.clone().select(1, Tensor::<B, 1, Int>::from_data(TensorData::new(indices, [count]), &device))
        };
        let scales = Tensor::<B, 1>::from_data(TensorData::new(scales, [count]), (&device, dtype));
        let products = gathered(pairs().map(|(i, _)| i as i32).collect()) * gathered(pairs().map(|(_, j)| j as i32).collect());
        let products = (products * scales.unsqueeze::<2>()).reshape([batch, heads, time, count]);
        let one = Tensor::ones([batch, heads, time, 1], (&device, dtype));
        Tensor::cat(vec![one, x * (width as f64).powf(-0.25), products], 3)
    }
}

impl<B: Backend> FeatureMap<B> for TaylorMap {
    fn queries(&self, queries: Tensor<B, 4>) -> Tensor<B, 4> {
        self.map(queries)
    }

    fn keys(&self, keys: Tensor<B, 4>) -> Tensor<B, 4> {
        self.map(keys)
    }

    fn scores(&self, queries: Tensor<B, 4>, keys: Tensor<B, 4>) -> Tensor<B, 4> {
        let scores = queries.matmul(keys.swap_dims(2, 3)) * (1.0 / (self.width as f64).sqrt());
        (scores + 1.0).powi_scalar(2) * 0.5 + 0.5
    }
}

impl<B: Backend> LinearAttention<B> {
    fn taylor_map(&self) -> TaylorMap {
        TaylorMap { width: self.query.weight.dims()[1] / self.heads }
    }
}

impl<B: KernelBackend> Mixer<B> for LinearAttention<B> {
    type State = LinearAttentionState<B>;
    type Options = LinearAttentionOptions;

    fn new(sizes: Sizes, options: &LinearAttentionOptions, init: &mut Init, device: &B::Device) -> Self {
        let (width, narrow) = (sizes.width, sizes.heads * options.feature_width);
        Self {
            query: Projection::uniform(width, narrow, 1.0, init, device),
            key: Projection::uniform(width, narrow, 1.0, init, device),
            value: Projection::uniform(width, width, 1.0, init, device),
            output: Projection::uniform(width, width, 1.0, init, device),
            heads: sizes.heads,
        }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> LinearAttentionState<B> {
        let head_dim = self.value.weight.dims()[1] / self.heads;
        LinearAttentionState { sums: Tensor::zeros([batch, self.heads, self.taylor_map().features(), head_dim + 1], device) }
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, _: Dropout) -> (Tensor<B, 3>, Self::State) {
        let [batch, time, width] = x.dims();
        let x = x.reshape([batch * time, width]);
        let [queries, keys, values] =
            [&self.query, &self.key, &self.value].map(|layer| split_heads(layer.forward(x.clone()), batch, self.heads));
        let (sums, carry) = linear_attention(&self.taylor_map(), queries, keys, values, reset.flags(), state.sums);
        // Any kernel whose weights are positive.
        let y = self.output.forward(merge_heads(normalized(sums, Kernel::Softmax)));
        (y.reshape([batch, time, width]), LinearAttentionState { sums: carry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::{backend::Flex, tensor::DType};

    fn tensor<const D: usize>(numbers: &[f64], shape: [usize; D]) -> Tensor<Flex, D> {
        Tensor::from_data(TensorData::new(numbers.to_vec(), shape), (&Default::default(), DType::F64))
    }

    fn near<const D: usize>(found: Tensor<Flex, D>, expected: &[f64]) {
        let found = found.into_data().to_vec::<f64>().unwrap();
        assert_eq!(found.len(), expected.len());
        found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-9, "{found:?} is not {expected:?}"));
    }

    const MAP: TaylorMap = TaylorMap { width: 2 };

    fn attend(queries: &[f64], keys: &[f64], values: &[f64]) -> Tensor<Flex, 4> {
        let time = values.len();
        let [queries, keys] = [queries, keys].map(|numbers| tensor(numbers, [1, 1, time, 2]));
        let values = tensor(values, [1, 1, time, 1]);
        let carry = Tensor::zeros([1, 1, MAP.features(), 2], (&Default::default(), DType::F64));
        normalized(linear_attention(&MAP, queries, keys, values, &vec![false; time], carry).0, Kernel::Softmax)
    }

    #[test]
    fn features_of_the_worked_example() {
        let (query, key) = (tensor(&[1.0, 2.0], [1, 1, 1, 2]), tensor(&[0.5, -1.0], [1, 1, 1, 2]));
        let root = 2f64.sqrt();
        // The full map's [1, .84, 1.68, .5, 1, 1, 2], its two equal products as one that is longer by the root of 2.
        near(MAP.map(query.clone()), &[1.0, 0.8408964153, 1.6817928305, 0.5, root, 2.0]);
        near(MAP.map(query.clone()).matmul(MAP.map(key.clone()).swap_dims(2, 3)), &[0.5018398282]);
        near(MAP.scores(query, key), &[0.5018398282]);
    }

    #[test]
    fn attention_of_the_worked_example() {
        let (queries, keys) = ([1.0, 0.0, 0.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 2.0, -1.0, 1.0]);
        near(attend(&queries, &keys, &[1.0, 2.0, 4.0]), &[1.0, 1.7734590803, 2.0067322339]);
        let [queries, keys] = [queries, keys].map(|numbers| tensor(&numbers, [1, 1, 3, 2]));
        let scores = MAP.scores(queries, keys).into_data().to_vec::<f64>().unwrap();
        for (place, expected) in [(0, 1.9571067812), (3, 1.0), (4, 3.4142135624), (6, 1.9571067812), (7, 3.4142135624), (8, 1.0)]
        {
            assert!((scores[place] - expected).abs() < 1e-9, "{scores:?}");
        }
    }

    #[test]
    fn no_weight_is_below_a_half_and_a_query_of_0_takes_the_mean() {
        // s = q . k / sqrt(f) goes from -3 to 1 in steps of 1/100.
        let ones = tensor(&[1.0, 0.0], [1, 1, 1, 2]);
        let keys: Vec<f64> = (0..=400).flat_map(|i| [2f64.sqrt() * (f64::from(i) / 100.0 - 3.0), 0.0]).collect();
        let weights = MAP.scores(ones, tensor(&keys, [1, 1, 401, 2])).into_data().to_vec::<f64>().unwrap();
        let least = (0..401).min_by(|&i, &j| weights[i].total_cmp(&weights[j])).unwrap();
        assert!(least == 200 && (weights[least] - 0.5).abs() < 1e-12, "{least}: {}", weights[least]);
        near(attend(&[0.0; 8], &[1.0, 2.0, -3.0, 0.5, 4.0, 4.0, 0.0, -1.0], &[1.0, 3.0, 8.0, 0.0]), &[1.0, 2.0, 4.0, 3.0]);
    }
}
