//! Initial weights from one seed, the same on every backend: numbers are drawn on the host, in the order layers are made.

use burn::{
    module::{Param, ParamId},
    tensor::{Tensor, TensorData, backend::Backend},
};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg64Mcg;

/// Draws parameters and numbers them.
///
/// Numbered (not random) parameter ids are what lets a resumed optimizer find its moments again.
#[derive(Debug)]
pub struct Init {
    generator: Pcg64Mcg,
    next_id: u64,
}

impl Init {
    /// The same seed gives the same weights.
    pub fn new(seed: u64) -> Self {
        Self { generator: Pcg64Mcg::seed_from_u64(seed), next_id: 1 }
    }

    /// Normal numbers of mean 0.
    pub fn normal<B: Backend, const D: usize>(
        &mut self,
        shape: [usize; D],
        deviation: f32,
        device: &B::Device,
    ) -> Param<Tensor<B, D>> {
        let draw = |generator: &mut Pcg64Mcg| -> f32 { StandardNormal.sample(generator) };
        let data = (0..shape.iter().product()).map(|_| deviation * draw(&mut self.generator)).collect();
        self.parameter(data, shape, device)
    }

    /// Uniform numbers in `[-bound, bound)`.
    pub fn uniform<B: Backend, const D: usize>(
        &mut self,
        shape: [usize; D],
        bound: f32,
        device: &B::Device,
    ) -> Param<Tensor<B, D>> {
        let data = (0..shape.iter().product()).map(|_| bound * self.generator.random_range(-1.0f32..1.0)).collect();
        self.parameter(data, shape, device)
    }

    /// One number everywhere.
    pub fn constant<B: Backend, const D: usize>(
        &mut self,
        shape: [usize; D],
        value: f32,
        device: &B::Device,
    ) -> Param<Tensor<B, D>> {
        self.parameter(vec![value; shape.iter().product()], shape, device)
    }

    fn parameter<B: Backend, const D: usize>(
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
