//! What is made of weights alone, kept beside a state so that acting does not make it anew at every step.

use aaren_kernels::KernelBackend;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// What was made of some weights. It counts for as long as the weights are those very tensors: a state may be carried into another
/// policy, or outlive a change of the weights.
#[derive(Clone, Debug)]
pub(crate) struct Prepared<B: Backend, T> {
    weights: Vec<B::FloatTensorPrimitive>,
    made: T,
}

impl<B: KernelBackend, T: Clone> Prepared<B, T> {
    /// What is kept if it is of these weights; else what `make` makes of them. Backends that do not know a tensor again, and all that
    /// record gradients, make it every time.
    pub(crate) fn of(kept: Option<Self>, weights: Vec<B::FloatTensorPrimitive>, make: impl FnOnce() -> T) -> Self {
        let is_of_them = |kept: &Self| {
            let mut pairs = kept.weights.iter().zip(&weights);
            kept.weights.len() == weights.len() && pairs.all(|(kept, weight)| B::is_same(kept, weight))
        };
        match kept.filter(is_of_them) {
            Some(kept) => kept,
            None => Self { weights, made: make() },
        }
    }

    /// What was made.
    pub(crate) fn made(&self) -> T {
        self.made.clone()
    }
}

/// A weight as [`Prepared::of`] knows it again.
pub(crate) fn weight<B: Backend, const D: usize>(weight: Tensor<B, D>) -> B::FloatTensorPrimitive {
    weight.into_primitive().tensor()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::{Autodiff, Flex};

    fn made_times<B: KernelBackend>(device: &B::Device) -> usize {
        let mut times = 0;
        let mut ask = |kept, weights: [&Tensor<B, 1>; 2]| {
            Prepared::<B, usize>::of(kept, weights.map(|tensor| weight(tensor.clone())).into(), || {
                times += 1;
                times
            })
        };
        let [first, second, third] = [1.0, 2.0, 2.0].map(|number| Tensor::<B, 1>::from_floats([number], device));
        let kept = ask(None, [&first, &second]);
        let kept = ask(Some(kept), [&first, &second]);
        // Equal numbers are another tensor.
        let kept = ask(Some(kept), [&first, &third]);
        ask(Some(kept), [&first, &third]).made()
    }

    #[test]
    fn what_is_made_of_weights_is_kept_until_a_weight_is_another() {
        let device = Default::default();
        assert_eq!(made_times::<Flex>(&device), 2);
        assert_eq!(made_times::<Autodiff<Flex>>(&device), 4, "where gradients are recorded, nothing is kept");
    }
}
