//! Copying a network's weights from one backend to another.

use super::cpu::{CPU, Cpu};
use aaren_policy::Trainable;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use std::collections::VecDeque;

/// Parameters in the order of a visit.
struct Read(VecDeque<TensorData>);

impl<B: Backend> ModuleVisitor<B> for Read {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.push_back(param.val().into_data());
    }
}

/// The same order, the other way.
struct Write(VecDeque<TensorData>);

impl ModuleMapper<Cpu> for Write {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<Cpu, D>>) -> Param<Tensor<Cpu, D>> {
        let data = self.0.pop_front().expect("both networks are of one description");
        param.map(|_| Tensor::from_data(data, &CPU))
    }
}

/// A network like this one on the CPU.
///
/// # Panics
/// If the network is not of the description.
pub(crate) fn to_cpu<B: Backend, N: Module<B>, C: Trainable<Cpu>>(network: &N, description: &C::Description) -> C {
    let mut read = Read(VecDeque::new());
    network.visit(&mut read);
    let fresh = C::init(description, 0, &CPU).expect("the description has been checked");
    fresh.map(&mut Write(read.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aaren_policy::{ActionSpec, DecisionNetwork, Description, Normalizer, PolicyConfig};

    #[test]
    fn every_weight_is_copied() {
        let description = Description {
            format: Description::FORMAT,
            config: PolicyConfig { layers: 2, ..PolicyConfig::default() },
            normalizer: Normalizer::identity(11),
            action: ActionSpec::Continuous { low: vec![-1.0; 3], high: vec![1.0; 3] },
            environment: serde_json::Value::Null,
        };
        let network = DecisionNetwork::<Cpu>::new(&description, 3, &CPU).unwrap();
        let weights = |network: &DecisionNetwork<Cpu>| {
            let mut read = Read(VecDeque::new());
            network.visit(&mut read);
            read.0
        };
        assert_ne!(weights(&network), weights(&DecisionNetwork::new(&description, 0, &CPU).unwrap()));
        assert_eq!(weights(&to_cpu::<Cpu, _, DecisionNetwork<Cpu>>(&network, &description)), weights(&network));
    }
}
