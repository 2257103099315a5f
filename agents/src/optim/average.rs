//! The exponential moving average of a module's weights.

use std::collections::VecDeque;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorPrimitive};

/// Moves an average of weights towards those of a module of the same shape: `decay * average + (1 - decay) * weight`.
///
/// Early on the decay is `(1 + steps) / (10 + steps)` where that is smaller, as in TensorFlow's moving averages: what the weights were
/// before the training is then soon forgotten. What is not trained is taken as it is.
///
/// - `steps`: that the module has made
pub(crate) fn average<B: AutodiffBackend, M: Module<B>>(average: M, module: &M, decay: f64, steps: u64) -> M {
    let mut weights = Read(VecDeque::new());
    module.visit(&mut weights);
    let decay = decay.min((1 + steps) as f64 / (10 + steps) as f64);
    average.map(&mut Blend::<B> { weights: weights.0, decay })
}

/// Weights in the order of a visit, and whether each is trained.
struct Read<B: AutodiffBackend>(VecDeque<(TensorPrimitive<B::InnerBackend>, bool)>);

impl<B: AutodiffBackend> ModuleVisitor<B> for Read<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let weight = param.val();
        self.0.push_back((weight.clone().inner().into_primitive(), weight.is_require_grad()));
    }
}

/// The same order, the other way.
struct Blend<B: AutodiffBackend> {
    weights: VecDeque<(TensorPrimitive<B::InnerBackend>, bool)>,
    decay: f64,
}

impl<B: AutodiffBackend> ModuleMapper<B> for Blend<B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, average, mapper) = param.consume();
        let (weight, is_trained) = self.weights.pop_front().expect("both modules are of one shape");
        let weight = Tensor::<B::InnerBackend, D>::from_primitive(weight);
        let blended = if is_trained { average.inner() * self.decay + weight * (1.0 - self.decay) } else { weight };
        Param::from_mapped_value(id, Tensor::from_inner(blended), mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{CPU, Graph};
    use aaren_policy::{Dense, Init};

    #[test]
    fn an_average_moves_by_its_decay_and_early_on_faster() {
        let layer = |value: f64| {
            let layer = Dense::<Graph>::small(1, 1, &mut Init::new(1), &CPU);
            Dense { weight: layer.weight.map(|weight| weight.detach().zeros_like().add_scalar(value).require_grad()), ..layer }
        };
        let weight = |layer: &Dense<Graph>| f64::from(layer.weight.val().into_scalar());
        for (steps, expected) in [(1, 8.0 - 6.0 * 2.0 / 11.0), (10_000, 2.0 + 6.0 * 0.1)] {
            let found = weight(&average(layer(2.0), &layer(8.0), 0.9, steps));
            assert!((found - expected).abs() < 1e-6, "{steps}: {found}, not {expected}");
        }
    }
}
