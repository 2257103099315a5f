//! Causal attention against its reference, values and gradients.

use super::*;
use crate::Dropout;
use crate::primitive::{float, primitive};
use crate::testing::{assert_close, random_tensor, upstream};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

type Cpu = Flex;
type Graph = Autodiff<Flex>;

/// First keys of a batch of 2: row 0 is one episode, row 1 begins an episode at a third and two thirds of the keys.
fn first_keys<B: Backend>(query_time: usize, key_time: usize) -> Tensor<B, 2, Int> {
    let own = |i: usize| key_time - query_time + i;
    let starts = [0, key_time / 3, 2 * key_time / 3];
    let row_1 = (0..query_time).map(|i| *starts.iter().rfind(|&&start| start <= own(i)).unwrap() as i32);
    let data: Vec<i32> = std::iter::repeat_n(0, query_time).chain(row_1).collect();
    Tensor::from_data(TensorData::new(data, [2, query_time]), &Default::default())
}

fn case<B: Backend>(query_time: usize, key_time: usize, head_dim: usize) -> ([Tensor<B, 4>; 3], Tensor<B, 2, Int>) {
    let queries = random_tensor([2, 3, query_time, head_dim], 1) * 2.0;
    let keys = random_tensor([2, 3, key_time, head_dim], 2) * 2.0;
    let values = random_tensor([2, 3, key_time, head_dim], 3);
    ([queries, keys, values], first_keys(query_time, key_time))
}

fn reference<B: Backend>(
    [queries, keys, values]: [Tensor<B, 4>; 3],
    first_key: Tensor<B, 2, Int>,
    dropout: Dropout,
) -> Tensor<B, 4> {
    let outputs = reference::causal_attention::<B>(AttentionInputs {
        queries: primitive(queries),
        keys: primitive(keys),
        values: primitive(values),
        first_key: first_key.into_primitive(),
        dropout,
    });
    float(outputs.outputs)
}

const SIZES: [(usize, usize, usize); 7] =
    [(1, 1, 5), (1, 40, 7), (3, 300, 33), (5, 5, 19), (61, 61, 33), (70, 333, 11), (131, 131, 17)];

#[test]
fn cpu_agrees_with_the_reference() {
    for dropout in [Dropout::OFF, Dropout { probability: 0.3, seed: 9 }] {
        for (query_time, key_time, head_dim) in SIZES {
            let (inputs, first_key) = case::<Cpu>(query_time, key_time, head_dim);
            let expected = reference(inputs.clone(), first_key.clone(), dropout);
            let [queries, keys, values] = inputs;
            // f32 softmax sums in another order.
            assert_close(causal_attention(queries, keys, values, first_key, dropout), expected, 3e-6);
        }
    }
}

#[test]
fn gradients_agree_with_the_reference() {
    for dropout in [Dropout::OFF, Dropout { probability: 0.3, seed: 9 }] {
        for (query_time, key_time, head_dim) in SIZES {
            let gradients = |use_reference: bool| {
                let (inputs, first_key) = case::<Graph>(query_time, key_time, head_dim);
                let inputs = inputs.map(Tensor::require_grad);
                let outputs = if use_reference {
                    reference(inputs.clone(), first_key, dropout)
                } else {
                    let [queries, keys, values] = inputs.clone();
                    causal_attention(queries, keys, values, first_key, dropout)
                };
                let gradients = (outputs * upstream([2, 3, query_time, head_dim], 4)).sum().backward();
                inputs.map(|input| input.grad(&gradients).unwrap())
            };
            for (found, expected) in gradients(false).into_iter().zip(gradients(true)) {
                assert_close(found, expected, 3e-5);
            }
        }
    }
}

#[test]
fn packed_episodes_do_not_see_each_other() {
    let ([queries, keys, values], _) = case::<Cpu>(90, 90, 21);
    let first: Vec<i32> = (0..180).map(|i| if i % 90 < 37 { 0 } else { 37 }).collect();
    let first = Tensor::from_data(TensorData::new(first, [2, 90]), &Default::default());
    let packed = causal_attention(queries.clone(), keys.clone(), values.clone(), first, Dropout::OFF);
    let part = |tensor: Tensor<Cpu, 4>| tensor.slice([0..2, 0..3, 37..90]);
    let alone =
        causal_attention(part(queries), part(keys), part(values), Tensor::zeros([2, 53], &Default::default()), Dropout::OFF);
    assert_close(part(packed), alone, 1e-6);
}
