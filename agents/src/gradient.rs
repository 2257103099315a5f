//! The gradient over all parameters together: its norm, and clipping to it.
//!
//! Burn's own clipping takes the norm of each parameter alone; the published runs clip the norm over all.

use burn::{
    module::{Module, ModuleVisitor, Param},
    optim::GradientsParams,
    tensor::{
        ElementConversion, Tensor,
        backend::{AutodiffBackend, Backend},
    },
};
use std::marker::PhantomData;

/// Sums of squares, one a parameter, still on the device.
struct Squares<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    sums: Vec<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Squares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
            self.sums.push((gradient.clone() * gradient).sum());
        }
    }
}

struct Scale<'a, B: Backend> {
    gradients: &'a mut GradientsParams,
    factor: f64,
    backend: PhantomData<B>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}

/// Scales gradients down to a norm of `largest` over all parameters, if theirs is larger. Returns the norm they had.
pub fn clip_norm<B: AutodiffBackend, M: Module<B>>(module: &M, gradients: &mut GradientsParams, largest: f64) -> f64 {
    let mut squares = Squares::<B> { gradients, sums: Vec::new() };
    module.visit(&mut squares);
    let sums = Tensor::cat(squares.sums, 0).into_data().convert::<f64>().to_vec::<f64>().expect("sums of squares");
    let norm = sums.iter().sum::<f64>().sqrt();
    if norm > largest {
        module.visit(&mut Scale::<B> { gradients, factor: largest / norm, backend: PhantomData });
    }
    norm
}

struct ScaleOnDevice<'a, B: AutodiffBackend> {
    gradients: &'a mut GradientsParams,
    factor: Tensor<B::InnerBackend, 1>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for ScaleOnDevice<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            let factor = self.factor.clone().reshape([1; D]);
            self.gradients.register(param.id, gradient * factor);
        }
    }
}

/// [`clip_norm`] without reading anything back: the norm stays on the device, `[1]`.
pub fn clip_norm_on_device<B: AutodiffBackend, M: Module<B>>(
    module: &M,
    gradients: &mut GradientsParams,
    largest: f64,
) -> Tensor<B::InnerBackend, 1> {
    let mut squares = Squares::<B> { gradients, sums: Vec::new() };
    module.visit(&mut squares);
    let norm = Tensor::cat(squares.sums, 0).sum().sqrt();
    // A norm of 0 gives an infinity, which is clamped like any factor above 1.
    let factor = (norm.clone().recip() * largest).clamp_max(1.0);
    module.visit(&mut ScaleOnDevice::<B> { gradients, factor });
    norm
}

/// Whether every parameter is finite.
pub fn is_finite<B: Backend, M: Module<B>>(module: &M) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{CPU, Cpu, Graph};
    use policy::{Dense, Init};

    #[test]
    fn the_norm_is_over_all_parameters() {
        let layer = Dense::<Graph>::in_block(2, 3, &mut Init::new(1), &CPU);
        let weight = Tensor::<Graph, 2>::from_floats([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &CPU);
        let bias = Tensor::<Graph, 1>::from_floats([2.0, 0.0, 5.0], &CPU);
        let gradients = || {
            let loss = (layer.weight.val() * weight.clone()).sum() + (layer.bias.val() * bias.clone()).sum();
            GradientsParams::from_grads(loss.backward(), &layer)
        };
        let read = |gradients: &GradientsParams| -> Vec<f32> {
            gradients.get::<Cpu, 1>(layer.bias.id).unwrap().into_data().to_vec().unwrap()
        };
        let mut clipped = gradients();
        assert!((clip_norm(&layer, &mut clipped, 2.0) - 120f64.sqrt()).abs() < 1e-6);
        let factor = (2.0 / 120f64.sqrt()) as f32;
        assert_eq!(read(&clipped), [2.0 * factor, 0.0, 5.0 * factor]);
        let mut on_device = gradients();
        let norm = clip_norm_on_device(&layer, &mut on_device, 2.0).into_scalar();
        assert!((norm - 120f32.sqrt()).abs() < 1e-5);
        assert!(read(&on_device).iter().zip(read(&clipped)).all(|(a, b)| (a - b).abs() < 1e-6));
        let mut left = gradients();
        clip_norm_on_device(&layer, &mut left, 11.0);
        assert_eq!(read(&left), [2.0, 0.0, 5.0]);
        let mut left = gradients();
        clip_norm(&layer, &mut left, 11.0);
        assert_eq!(read(&left), [2.0, 0.0, 5.0]);
    }

    #[test]
    fn one_number_that_is_not_finite_is_found() {
        let layer = Dense::<Cpu>::in_block(2, 3, &mut Init::new(1), &CPU);
        assert!(is_finite(&layer));
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut broken = layer.clone();
            broken.bias = broken.bias.map(|bias| bias + Tensor::from_floats([0.0, 0.0, number], &CPU));
            assert!(!is_finite(&broken), "{number}");
        }
    }
}
