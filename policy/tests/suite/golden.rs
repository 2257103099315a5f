//! Mixers against the same layers of public Python packages, weights carried across: `golden/make.py` made the files.

use crate::common::numbers;
use aaren_kernels::Dropout;
use aaren_policy::{Init, PolicyConfig, Reset, mixer::AnyMixer};
use burn::backend::Flex;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Plain {
    shape: Vec<usize>,
    data: Vec<f32>,
}

#[derive(Deserialize)]
struct Case {
    mixer: String,
    width: usize,
    heads: usize,
    options: aaren_policy::mixer::Options,
    weights: BTreeMap<String, Plain>,
    x: Plain,
    y: Plain,
}

impl Plain {
    fn tensor<const D: usize>(&self) -> Tensor<Flex, D> {
        Tensor::from_data(TensorData::new(self.data.clone(), self.shape.clone()), &Default::default())
    }
}

/// Replaces every parameter by the weight of its path.
struct Load<'a> {
    weights: &'a BTreeMap<String, Plain>,
    path: Vec<String>,
    loaded: usize,
}

impl<B: Backend> ModuleMapper<B> for Load<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let path = self.path.join(".");
        let (_, weight) = self
            .weights
            .iter()
            .find(|(name, _)| path == **name || path.ends_with(&format!(".{name}")))
            .unwrap_or_else(|| panic!("no weight for {path}"));
        self.loaded += 1;
        param.map(|tensor| {
            assert_eq!(tensor.dims().to_vec(), weight.shape, "{path}");
            Tensor::from_data(TensorData::new(weight.data.clone(), weight.shape.clone()), &tensor.device())
        })
    }
}

#[test]
fn layers_of_public_packages_give_the_same() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../golden/golden.json")).unwrap();
    assert_eq!(cases.iter().map(|case| &*case.mixer).collect::<Vec<_>>(), ["lstm", "gru", "mamba", "performer", "performer"]);
    for case in cases {
        let Case { mixer: name, width, heads, options, weights, x, y } = case;
        let config = PolicyConfig { mixer: name.clone(), width, heads, options, ..PolicyConfig::default() };
        config.check().unwrap();
        let mixer =
            AnyMixer::<Flex>::new(&name, config.sizes(), &config.options, &mut Init::new(0), &Default::default()).unwrap();
        let mut load = Load { weights: &weights, path: vec![], loaded: 0 };
        let mixer = mixer.map(&mut load);
        assert_eq!(load.loaded, weights.len(), "{name}");

        let [batch, time] = [x.shape[0], x.shape[1]];
        let state = mixer.initial_state(batch, &Default::default());
        let found = mixer.forward(x.tensor(), &Reset::none(batch, time, &Default::default()), state, Dropout::OFF).0;
        for (index, (found, expected)) in numbers(found).into_iter().zip(&y.data).enumerate() {
            let error = (found - f64::from(*expected)).abs();
            assert!(error < 1e-5, "{name}, output {index}: {found} is not {expected}");
        }
    }
}
