//! The optimizer's step in plain tensor operations.

use super::{AdamWInputs, AdamWStep};
use burn::tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

pub(crate) fn adamw<B: Backend>(inputs: AdamWInputs<B>, step: AdamWStep) -> (FloatTensor<B>, [FloatTensor<B>; 2]) {
    let tensor = |primitive| Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(primitive));
    let gradient = tensor(inputs.gradient) * tensor(inputs.factor);
    let ([first, second], [beta_1, beta_2], [correction_1, correction_2]) = (inputs.moments, step.betas, step.corrections());
    let first = tensor(first) * beta_1 + gradient.clone() * (1.0 - beta_1);
    let second = tensor(second) * beta_2 + gradient.clone() * gradient * (1.0 - beta_2);
    let direction = (first.clone() / correction_1) / ((second.clone() / correction_2).sqrt() + step.epsilon);
    let parameter = tensor(inputs.parameter) * step.kept() - direction * step.learning_rate;
    (parameter.into_primitive().tensor(), [first, second].map(|moment| moment.into_primitive().tensor()))
}

pub(crate) fn sum_of_squares<B: Backend>(tensors: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    let sums = tensors.into_iter().map(|primitive| {
        let tensor = Tensor::<B, 1>::from_primitive(TensorPrimitive::Float(primitive));
        (tensor.clone() * tensor).sum_dim(0)
    });
    Tensor::cat(sums.collect(), 0).sum_dim(0).into_primitive().tensor()
}
