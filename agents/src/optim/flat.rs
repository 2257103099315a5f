//! A gradient as one vector on the host, so that gradients can be added wherever they were computed.

use aaren_kernels::KernelBackend;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};

/// The gradient of a module: the numbers of every parameter in the order of a visit, zeros where there are none, and after them a 1 for
/// every parameter that has a gradient and a 0 for every other. The vectors of equally built modules are equally long.
pub(crate) fn flatten<B, M>(module: &M, gradients: &GradientsParams) -> Vec<f32>
where
    B: AutodiffBackend<InnerBackend: KernelBackend>,
    M: Module<B>,
{
    let mut flatten = Flatten::<B> { gradients, flat: Vec::new(), has: Vec::new() };
    module.visit(&mut flatten);
    let Flatten { flat, has, .. } = flatten;
    // One read for all of them: a GPU is waited for once.
    let mut vector = match flat.is_empty() {
        true => Vec::new(),
        false => Tensor::cat(flat, 0).into_data().convert::<f32>().into_vec().expect("gradients are numbers of 32 bits"),
    };
    vector.extend(has);
    vector
}

/// The other way: what [`flatten`] made of the gradient of an equally built module, or a mean of several. A parameter has a gradient where
/// it had one in any of them.
pub(crate) fn unflatten<B, M>(module: &M, vector: &[f32]) -> GradientsParams
where
    B: AutodiffBackend<InnerBackend: KernelBackend>,
    M: Module<B>,
{
    let mut count = Count { parameters: 0 };
    Module::<B>::visit(module, &mut count);
    let (flat, has) = vector.split_at(vector.len() - count.parameters);
    let mut unflatten = Unflatten { flat, has, gradients: GradientsParams::new() };
    Module::<B>::visit(module, &mut unflatten);
    unflatten.gradients
}

struct Flatten<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    flat: Vec<Tensor<B::InnerBackend, 1>>,
    has: Vec<f32>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Flatten<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let count = param.lazy_shape().num_elements();
        let gradient = self.gradients.get::<B::InnerBackend, D>(param.id);
        self.has.push(if gradient.is_some() { 1.0 } else { 0.0 });
        let flat = gradient.map_or_else(|| Tensor::zeros([count], &param.lazy_device()), |gradient| gradient.reshape([count]));
        self.flat.push(flat);
    }
}

struct Count {
    parameters: usize,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Count {
    fn visit_float<const D: usize>(&mut self, _: &Param<Tensor<B, D>>) {
        self.parameters += 1;
    }
}

struct Unflatten<'a> {
    flat: &'a [f32],
    has: &'a [f32],
    gradients: GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Unflatten<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let (shape, device) = (param.lazy_shape(), param.lazy_device());
        let (own, rest) = self.flat.split_at(shape.num_elements());
        let (has, others) = self.has.split_at(1);
        (self.flat, self.has) = (rest, others);
        if has[0] > 0.0 {
            let gradient = Tensor::<B::InnerBackend, D>::from_data(TensorData::new(own.to_vec(), shape), &device);
            self.gradients.register(param.id, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{CPU, Cpu, Graph};
    use aaren_policy::{Dense, Init};

    #[test]
    fn a_gradient_comes_back_to_the_bit_and_only_where_there_was_one() {
        let layer = Dense::<Graph>::small(2, 3, &mut Init::new(1), &CPU);
        let weight = Tensor::<Graph, 2>::from_floats([[1.0, 2.1, -3.0], [4.0, 1e-9, 6.0]], &CPU);
        let of = |loss: Tensor<Graph, 1>| GradientsParams::from_grads(loss.backward(), &layer);
        let some = of((layer.weight.val() * weight.clone()).sum());
        let all = of((layer.weight.val() * weight).sum() + layer.bias.val().sum());
        let flat = |gradients: &GradientsParams| flatten::<Graph, _>(&layer, gradients);
        assert_eq!((flat(&some).len(), flat(&all).len()), (6 + 3 + 2, 6 + 3 + 2));
        for (gradients, has_bias) in [(&some, false), (&all, true)] {
            let back = unflatten::<Graph, _>(&layer, &flat(gradients));
            let data = |of: &GradientsParams| of.get::<Cpu, 2>(layer.weight.id).unwrap().into_data();
            assert_eq!(data(&back), data(gradients));
            assert_eq!(
                back.get::<Cpu, 1>(layer.bias.id).map(|bias| bias.into_data().to_vec::<f32>().unwrap()),
                has_bias.then(|| vec![1.0; 3])
            );
        }
    }
}
