//! Causal attention against its reference, values and gradients.

use super::*;
use crate::Dropout;
use crate::primitive::{float, primitive};
use crate::testing::{assert_all_close, assert_close, random_tensor};
use burn::backend::{Autodiff, Flex};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor, TensorData};

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

/// A batch of 2 with the given heads, queries, keys and `head_dim`.
pub(super) fn case<B: Backend>(
    [heads, query_time, key_time, head_dim]: [usize; 4],
    dropout: Dropout,
    dtype: DType,
) -> AttentionInputs<B> {
    let tensor = |time: usize, seed: u64| random_tensor::<B, 4>([2, heads, time, head_dim], seed).cast(dtype);
    let (queries, keys) = (tensor(query_time, 1) * 2.0, tensor(key_time, 2) * 2.0);
    let first_key = first_keys::<B>(query_time, key_time).into_primitive();
    AttentionInputs::new(queries, keys, tensor(key_time, 3), first_key, dropout)
}

const SIZES: [(usize, usize, usize); 7] =
    [(1, 1, 5), (1, 40, 7), (3, 300, 33), (5, 5, 19), (61, 61, 33), (70, 333, 11), (131, 131, 17)];

#[test]
fn cpu_and_its_gradients_agree_with_the_reference() {
    for dropout in [Dropout::OFF, Dropout { probability: 0.3, seed: 9 }] {
        for (query_time, key_time, head_dim) in SIZES {
            let inputs = case::<Cpu>([3, query_time, key_time, head_dim], dropout, DType::F32);
            // f32 softmax sums in another order.
            let expected = reference::causal_attention(inputs.clone()).outputs;
            assert_all_close::<Cpu, 1>([Cpu::causal_attention(inputs.clone()).outputs], [expected], 3e-6);
            let upstream = primitive(random_tensor::<Cpu, 4>([2, 3, query_time, head_dim], 4));
            let expected = inputs.clone().derive(|inputs| reference::causal_attention(inputs).outputs, upstream.clone());
            let found = inputs.derive(|inputs| Graph::causal_attention(inputs).outputs, upstream);
            assert_all_close::<Cpu, 3>(found.floats(), expected.floats(), 3e-5);
        }
    }
}

#[test]
fn packed_episodes_do_not_see_each_other() {
    let [queries, keys, values] = case::<Cpu>([3, 90, 90, 21], Dropout::OFF, DType::F32).floats().map(float::<Cpu, 4>);
    let first: Vec<i32> = (0..180).map(|i| if i % 90 < 37 { 0 } else { 37 }).collect();
    let first = Tensor::from_data(TensorData::new(first, [2, 90]), &Default::default());
    let packed = causal_attention(queries.clone(), keys.clone(), values.clone(), first, Dropout::OFF);
    let part = |tensor: Tensor<Cpu, 4>| tensor.slice([0..2, 0..3, 37..90]);
    let alone =
        causal_attention(part(queries), part(keys), part(values), Tensor::zeros([2, 53], &Default::default()), Dropout::OFF);
    assert_close(part(packed), alone, 1e-6);
}
