//! Random features for attention (FAVOR+): how they are drawn, and what they map queries and keys to.
//!
//! With `x` scaled by `head_dim^(-1/4)` and rows `w_r` of the projection, each normal with unit covariance, the products of
//! features estimate a kernel of `q` and `k`:
//!
//! ```text
//! softmax         m^(-1/2) exp(w_r . x - |x|^2 / 2)                              estimates exp(q . k)
//! hyperbolic      (2 m)^(-1/2) exp(-|x|^2 / 2) [exp(w_r . x), exp(-w_r . x)]     the same, with less variance for twice the features
//! trigonometric   m^(-1/2) exp(|x|^2 / 2) [cos(w_r . x), sin(w_r . x)]           the same; may be negative
//! relu            m^(-1/2) (max(w_r . x, 0) + 1e-3)                              a kernel of its own (generalised attention)
//! elu             m^(-1/2) (elu(w_r . x) + 1)                                    the same
//! ```
//!
//! In normalized attention a factor that a query's features share cancels, and is chosen so that they do not overflow. Published
//! code also subtracts the largest exponent over all keys, which leaks the future into every output; here keys get no such factor.
//! Their exponent is at most `|w|^2 / 2`, about `head_dim / 2`: keep `head_dim` at 64 or less in single precision.
//!
//! ```
//! use burn::{backend::Flex, tensor::Tensor};
//! use aaren_kernels::FeatureMap;
//! use aaren_policy::{Init, favor::{Kernel, RandomFeatures}};
//!
//! let features = RandomFeatures::<Flex>::new(Kernel::Softmax, 64, 8, true, &mut Init::new(1), &Default::default());
//! let keys = Tensor::zeros([1, 1, 5, 8], &Default::default()); // [batch, heads, time, head_dim]
//! assert_eq!(features.keys(keys).dims(), [1, 1, 5, 64]);
//! ```
//!
//! Source: Choromanski et al. 2020, arXiv:2009.14794.

use crate::init::Init;
use aaren_kernels::FeatureMap;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

/// What the products of features estimate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kernel {
    /// Softmax's, by positive features.
    #[default]
    Softmax,
    /// Softmax's, by positive features in pairs.
    Hyperbolic,
    /// Softmax's, by sines and cosines: the estimate of a small weight may be negative, so attention with it is not a mean.
    Trigonometric,
    /// Generalised attention with `max(x, 0)`.
    Relu,
    /// Generalised attention with `elu(x) + 1`.
    Elu,
}

impl Kernel {
    /// Features for each row of the projection.
    pub fn features_per_row(self) -> usize {
        match self {
            Kernel::Hyperbolic | Kernel::Trigonometric => 2,
            Kernel::Softmax | Kernel::Relu | Kernel::Elu => 1,
        }
    }
}

/// Added to keys' features, so that weights never sum to 0.
const EPSILON: f64 = 1e-6;
/// The smallest sum of weights that is divided by; trigonometric estimates can go below.
const SMALLEST_SUM: f64 = 1e-3;

/// A projection and the map that makes features of it.
#[derive(Module, Debug)]
pub struct RandomFeatures<B: Backend> {
    /// `[head_dim, rows]`: drawn, not trained.
    pub projection: Param<Tensor<B, 2>>,
    #[module(skip)]
    kernel: Kernel,
}

/// Rows for [`RandomFeatures`], row-major `[rows, head_dim]`, each normal with unit covariance. Orthogonal rows are so within blocks
/// of `head_dim`, which lowers the variance of the estimate and leaves its mean.
pub fn draw_rows(rows: usize, head_dim: usize, orthogonal: bool, init: &mut Init) -> Vec<Vec<f64>> {
    let normal = |init: &mut Init| (0..head_dim).map(|_| init.draw_normal()).collect::<Vec<f64>>();
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let mut drawn: Vec<Vec<f64>> = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut direction = normal(init);
        if orthogonal {
            // Gram-Schmidt of normal vectors is uniform over rotations. A Householder QR as it comes is not: its signs lean.
            let block = row - row % head_dim;
            for earlier in &drawn[block..row] {
                let share = dot(&direction, earlier) / dot(earlier, earlier);
                direction.iter_mut().zip(earlier).for_each(|(x, y)| *x -= share * y);
            }
            // The length of a normal vector, drawn anew: the row is then normal by itself.
            let (length, own) = (dot_self(&normal(init)), dot_self(&direction));
            direction.iter_mut().for_each(|x| *x *= (length / own).sqrt());
        }
        drawn.push(direction);
    }
    drawn
}

/// Draws all projections of a network anew.
///
/// - `orthogonal`: as in [`RandomFeatures::new`]
pub fn redraw<B: Backend, M: Module<B>>(network: M, orthogonal: bool, seed: u64) -> M {
    network.map(&mut Redraw { init: Init::new(seed), orthogonal, is_projection: false })
}

struct Redraw {
    init: Init,
    orthogonal: bool,
    is_projection: bool,
}

impl<B: Backend> ModuleMapper<B> for Redraw {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.is_projection = name == "projection" && container == "Struct:RandomFeatures";
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if !self.is_projection {
            return param;
        }
        let (id, projection, mapper) = param.consume();
        let (shape, device) = (projection.dims(), projection.device());
        let (head_dim, rows) = (shape[0], shape[1]);
        let drawn = transposed(&draw_rows(rows, head_dim, self.orthogonal, &mut self.init));
        Param::from_mapped_value(id, Tensor::from_data(TensorData::new(drawn, shape), &device), mapper)
    }
}

fn dot_self(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum()
}

impl<B: Backend> RandomFeatures<B> {
    /// Draws a projection.
    pub fn new(kernel: Kernel, rows: usize, head_dim: usize, orthogonal: bool, init: &mut Init, device: &B::Device) -> Self {
        let drawn = draw_rows(rows, head_dim, orthogonal, init);
        Self { projection: init.buffer(transposed(&drawn), [head_dim, rows], device), kernel }
    }

    /// Features of a query or key.
    pub fn features(&self) -> usize {
        self.projection.dims()[1] * self.kernel.features_per_row()
    }

    /// `w . x` for every row and `|x|^2 / 2`, of `x` scaled.
    fn projected(&self, x: Tensor<B, 4>) -> (Tensor<B, 4>, Tensor<B, 4>) {
        let [.., head_dim] = x.dims();
        let x = x * (head_dim as f64).powf(-0.25);
        let half_square = x.clone().powi_scalar(2).sum_dim(3) * 0.5;
        let [batch, heads, time, _] = x.dims();
        let [_, rows] = self.projection.dims();
        let projected = x.reshape([batch * heads * time, head_dim]).matmul(self.projection.val());
        (projected.reshape([batch, heads, time, rows]), half_square)
    }

    /// The features that the kernel's estimate is made of, `[batch, heads, time, features]`.
    pub fn exact(&self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        let scale = 1.0 / (self.features() as f64).sqrt();
        let (projected, half_square) = self.projected(x);
        match self.kernel {
            Kernel::Softmax => (projected - half_square).exp() * scale,
            Kernel::Hyperbolic => {
                let below = (projected.clone().neg() - half_square.clone()).exp();
                Tensor::cat(vec![(projected - half_square).exp(), below], 3) * scale
            }
            Kernel::Trigonometric => {
                let waves = Tensor::cat(vec![projected.clone().cos(), projected.sin()], 3);
                waves * half_square.exp() * (scale * std::f64::consts::SQRT_2)
            }
            Kernel::Relu => (activation::relu(projected) + 1e-3) * scale,
            // exp only of what is not positive: the other branch's gradient must not overflow.
            Kernel::Elu => (activation::relu(projected.clone()) + projected.clamp_max(0.0).exp()) * scale,
        }
    }
}

/// `[rows, head_dim]` to `[head_dim, rows]`, in single precision.
fn transposed(rows: &[Vec<f64>]) -> Vec<f32> {
    (0..rows[0].len()).flat_map(|column| rows.iter().map(move |row| row[column] as f32)).collect()
}

impl<B: Backend> FeatureMap<B> for RandomFeatures<B> {
    fn queries(&self, queries: Tensor<B, 4>) -> Tensor<B, 4> {
        match self.kernel {
            // Any factor of a query's own cancels in the ratio.
            Kernel::Softmax => {
                let (projected, _) = self.projected(queries);
                let largest = projected.clone().detach().max_dim(3);
                (projected - largest).exp()
            }
            Kernel::Hyperbolic => {
                let (projected, _) = self.projected(queries);
                let both = Tensor::cat(vec![projected.clone(), projected.neg()], 3);
                let largest = both.clone().detach().max_dim(3);
                (both - largest).exp()
            }
            Kernel::Trigonometric => {
                let (projected, _) = self.projected(queries);
                Tensor::cat(vec![projected.clone().cos(), projected.sin()], 3)
            }
            Kernel::Relu | Kernel::Elu => self.exact(queries),
        }
    }

    fn keys(&self, keys: Tensor<B, 4>) -> Tensor<B, 4> {
        let features = self.exact(keys);
        match self.kernel {
            Kernel::Softmax | Kernel::Hyperbolic => features + EPSILON,
            Kernel::Trigonometric | Kernel::Relu | Kernel::Elu => features,
        }
    }
}

/// Weighted means from weighted sums and, last, the sum of the weights: `[batch, heads, time, head_dim + 1]` to `[.., head_dim]`.
pub(crate) fn normalized<B: Backend>(sums: Tensor<B, 4>, kernel: Kernel) -> Tensor<B, 4> {
    let [batch, heads, time, width] = sums.dims();
    let weights = sums.clone().slice([0..batch, 0..heads, 0..time, width - 1..width]);
    let weights = if kernel == Kernel::Trigonometric { weights.clamp_min(SMALLEST_SUM) } else { weights };
    sums.slice([0..batch, 0..heads, 0..time, 0..width - 1]) / weights
}
