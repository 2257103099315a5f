//! The optimizer's step in plain tensor operations.

use super::inputs::{AdamWInputs, AdamWOutputs};
use crate::primitive::{float, primitive};
use burn::tensor::{Tensor, backend::Backend, ops::FloatTensor};

pub(crate) fn adamw<B: Backend>(inputs: AdamWInputs<B>, factor: FloatTensor<B>) -> AdamWOutputs<B> {
    let (tensor, step) = (float::<B, 1>, inputs.step);
    let gradient = tensor(inputs.gradient) * tensor(factor);
    let ([first, second], [beta_1, beta_2], [correction_1, correction_2]) = (inputs.moments, step.betas, step.corrections());
    let first = tensor(first) * beta_1 + gradient.clone() * (1.0 - beta_1);
    let second = tensor(second) * beta_2 + gradient.clone() * gradient * (1.0 - beta_2);
    let direction = (first.clone() / correction_1) / ((second.clone() / correction_2).sqrt() + step.epsilon);
    let parameter = tensor(inputs.parameter) * step.kept() - direction * step.learning_rate;
    AdamWOutputs { parameter: primitive(parameter), moments: [first, second].map(primitive) }
}

pub(crate) fn sum_of_squares<B: Backend>(tensors: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    let squares = tensors.into_iter().map(float::<B, 1>).map(|tensor| (tensor.clone() * tensor).sum_dim(0));
    primitive(Tensor::cat(squares.collect(), 0).sum_dim(0))
}
