//! The gradient over all parameters together: its norm, and clipping to it.
//!
//! Burn's own clipping takes the norm of each parameter alone; the published runs clip the norm over all.

use aaren_kernels::{KernelBackend, sum_of_squares};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor};

/// A gradient's norm and what it is clipped by, both `[1]` and still on the device.
#[derive(Clone, Debug)]
pub(crate) struct Clipping<B: Backend> {
    /// Over all parameters, before clipping.
    pub norm: Tensor<B, 1>,
    /// What the gradient is to be multiplied by: at most 1.
    pub factor: Tensor<B, 1>,
}

/// Every parameter's gradient, on one axis.
struct Collect<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    flat: Vec<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Collect<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
            let count = gradient.shape().num_elements();
            self.flat.push(gradient.reshape([count]));
        }
    }
}

impl<B: KernelBackend> Clipping<B> {
    /// Clips the gradient of a module to a norm of `largest` over all parameters. Reads nothing back.
    pub(crate) fn new<A, M>(module: &M, gradients: &GradientsParams, largest: f64) -> Self
    where
        A: AutodiffBackend<InnerBackend = B>,
        M: Module<A>,
    {
        let mut collected = Collect::<A> { gradients, flat: Vec::new() };
        module.visit(&mut collected);
        let norm = sum_of_squares(collected.flat).sqrt();
        // A norm of 0 gives an infinity, which is clamped like any factor above 1.
        let factor = (norm.clone().recip() * largest).clamp_max(1.0);
        Self { norm, factor }
    }

    /// The norm, read back.
    pub(crate) fn norm(&self) -> f64 {
        self.norm.clone().into_scalar().elem()
    }
}

/// Whether every parameter is finite.
pub(crate) fn is_finite<B: Backend, M: Module<B>>(module: &M) -> bool {
    struct Finite(bool);
    impl<B: Backend> ModuleVisitor<B> for Finite {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            // Zero times an infinity or a NaN is a NaN, and so is a sum with one in it.
            self.0 &= (param.val() * 0.0).sum().into_scalar().elem::<f32>() == 0.0;
        }
    }
    let mut finite = Finite(true);
    module.visit(&mut finite);
    finite.0
}

/// CRC-32 of every parameter's bits, in the order of a visit: tells whether two modules are the same.
pub(crate) fn checksum<B: Backend, M: Module<B>>(module: &M) -> u32 {
    struct Checksum(crc32fast::Hasher);
    impl<B: Backend> ModuleVisitor<B> for Checksum {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            self.0.update(param.val().into_data().as_bytes());
        }
    }
    let mut checksum = Checksum(crc32fast::Hasher::new());
    module.visit(&mut checksum);
    checksum.0.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{CPU, Cpu, Graph};
    use aaren_policy::{Dense, Init};

    #[test]
    fn the_norm_is_over_all_parameters() {
        let layer = Dense::<Graph>::small(2, 3, &mut Init::new(1), &CPU);
        let weight = Tensor::<Graph, 2>::from_floats([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &CPU);
        let bias = Tensor::<Graph, 1>::from_floats([2.0, 0.0, 5.0], &CPU);
        let gradients = || {
            let loss = (layer.weight.val() * weight.clone()).sum() + (layer.bias.val() * bias.clone()).sum();
            GradientsParams::from_grads(loss.backward(), &layer)
        };
        let clipped = |largest| {
            let clipping = Clipping::<Cpu>::new(&layer, &gradients(), largest);
            (clipping.norm(), clipping.factor.into_scalar())
        };
        let norm = 120f64.sqrt();
        for (largest, expected) in [(2.0, 2.0 / norm), (11.0, 1.0), (f64::INFINITY, 1.0)] {
            let (found, factor) = clipped(largest);
            assert!((found - norm).abs() < 1e-5, "{found}");
            assert!((f64::from(factor) - expected).abs() < 1e-6, "{factor}");
        }
    }

    #[test]
    fn one_number_that_is_not_finite_is_found() {
        let layer = Dense::<Cpu>::small(2, 3, &mut Init::new(1), &CPU);
        assert!(is_finite(&layer));
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut broken = layer.clone();
            broken.bias = broken.bias.map(|bias| bias + Tensor::from_floats([0.0, 0.0, number], &CPU));
            assert!(!is_finite(&broken), "{number}");
            assert_ne!(checksum(&broken), checksum(&layer));
        }
    }
}
