//! The optimizer's step on the CPU: one pass over parameter, gradient and moments.

use super::inputs::{AdamWInputs, AdamWOutputs};
use super::ops::OptimizerOps;
use super::reference;
use crate::cpu::{Real, by_float, dot, tensor, vectorize, view, viewable, whole};
use burn::tensor::ops::FloatTensor;
use burn_flex::{Flex, FlexTensor};
use num_traits::ToPrimitive;
use rayon::prelude::*;

/// Elements that one task takes, and whose squares are added up in the tensor's own precision.
const CHUNK: usize = 1 << 13;

impl OptimizerOps for Flex {
    fn adamw(inputs: Vec<AdamWInputs<Self>>, factor: FloatTensor<Self>) -> Vec<AdamWOutputs<Self>> {
        let one = |inputs: AdamWInputs<Self>| {
            let factor = factor.clone();
            by_float!(inputs.parameter.dtype(), R => adamw::<R>(inputs, factor), _ => reference::adamw(inputs, factor))
        };
        inputs.into_iter().map(one).collect()
    }

    fn sum_of_squares(tensors: Vec<FloatTensor<Self>>) -> FloatTensor<Self> {
        by_float!(
            tensors[0].dtype(),
            R => sum_of_squares::<R>(tensors),
            _ => reference::sum_of_squares::<Self>(tensors),
        )
    }
}

fn adamw<R: Real>(inputs: AdamWInputs<Flex>, factor: FloatTensor<Flex>) -> AdamWOutputs<Flex> {
    let step = inputs.step;
    let number = |x: f64| R::from(x).expect("an optimizer's numbers are finite");
    let [mut first, mut second] = inputs.moments.map(whole);
    let (parameter, gradient, factor) = (viewable(inputs.parameter), viewable(inputs.gradient), viewable(factor));
    let (parameter, gradient) = (view::<R, 1>(&parameter), view::<R, 1>(&gradient));
    let [count] = parameter.shape;
    let (parameter, gradient) = (parameter.row([0], count), gradient.row([0], count));
    let factor = view::<R, 1>(&factor).at([0]);
    let ([beta_1, beta_2], [new_1, new_2]) = (step.betas.map(number), step.betas.map(|beta| number(1.0 - beta)));
    let [scale_1, scale_2] = step.corrections().map(|correction| number(1.0 / correction));
    let (rate, kept, epsilon) = (number(step.learning_rate), number(step.kept()), number(step.epsilon));

    let mut updated = vec![R::zero(); count];
    let (firsts, seconds): (&mut [R], &mut [R]) = (first.storage_mut(), second.storage_mut());
    let chunks = updated
        .par_chunks_mut(CHUNK)
        .zip(firsts[..count].par_chunks_mut(CHUNK))
        .zip(seconds[..count].par_chunks_mut(CHUNK))
        .zip(parameter.par_chunks(CHUNK).zip(gradient.par_chunks(CHUNK)));
    chunks.for_each(|(((updated, first), second), (parameter, gradient))| {
        vectorize(
            #[inline(always)]
            || {
                for i in 0..updated.len() {
                    let gradient = gradient[i] * factor;
                    first[i] = first[i] * beta_1 + gradient * new_1;
                    second[i] = second[i] * beta_2 + gradient * gradient * new_2;
                    let direction = first[i] * scale_1 / ((second[i] * scale_2).sqrt() + epsilon);
                    updated[i] = parameter[i] * kept - direction * rate;
                }
            },
        );
    });
    AdamWOutputs { parameter: tensor(updated, [count]), moments: [first, second] }
}

fn sum_of_squares<R: Real>(tensors: Vec<FloatTensor<Flex>>) -> FloatTensor<Flex> {
    let of_one = |tensor: FlexTensor| -> f64 {
        let tensor = viewable(tensor);
        let numbers = view::<R, 1>(&tensor);
        let numbers = numbers.row([0], numbers.shape[0]);
        numbers.chunks(CHUNK).map(|chunk| <R as ToPrimitive>::to_f64(&dot(chunk, chunk)).expect("a sum is a number")).sum()
    };
    let sum: f64 = tensors.into_iter().map(of_one).sum();
    tensor(vec![R::from(sum).expect("a sum is a number")], [1])
}
