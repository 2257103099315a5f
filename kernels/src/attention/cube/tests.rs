//! Causal attention's kernels against double precision on the CPU, on whatever Vulkan device there is.

use super::launch::{causal_attention, causal_attention_backward};
use crate::attention::{AttentionGradients, AttentionInputs, AttentionOps, AttentionOutputs, reference};
use crate::cube::testing::{Numbers, Vulkan, assert_accurate, read, strided, tensor_on, vulkan};
use crate::dropout::Dropout;
use crate::testing::random;
use burn::tensor::{DType, Int, Tensor, TensorData, backend::Backend, ops::FloatTensor};
use burn_flex::Flex;

/// `[batch, heads, queries, keys, head_dim]`
type Shape = [usize; 5];

/// Row 0 is one episode, row 1 begins an episode at a third and two thirds of the keys.
fn inputs<B: Backend>(
    [batch, heads, query_time, key_time, head_dim]: Shape,
    dropout: Dropout,
    dtype: DType,
) -> AttentionInputs<B> {
    let starts = [0, key_time / 3, 2 * key_time / 3];
    let first = (0..batch * query_time).map(|i| {
        let own = key_time - query_time + i % query_time;
        if i < query_time { 0 } else { *starts.iter().rfind(|&&start| start <= own).unwrap() as i32 }
    });
    let numbers = |time: usize, seed: u64| random(batch * heads * time * head_dim, seed);
    let loud = |time: usize, seed: u64| numbers(time, seed).iter().map(|x| 2.0 * x).collect::<Vec<_>>();
    AttentionInputs {
        queries: tensor_on::<B>(&loud(query_time, 1), &[batch, heads, query_time, head_dim], dtype),
        keys: tensor_on::<B>(&loud(key_time, 2), &[batch, heads, key_time, head_dim], dtype),
        values: tensor_on::<B>(&numbers(key_time, 3), &[batch, heads, key_time, head_dim], dtype),
        first_key: Tensor::<B, 2, Int>::from_data(
            TensorData::new(first.collect::<Vec<i32>>(), [batch, query_time]),
            &Default::default(),
        )
        .into_primitive(),
        dropout,
    }
}

fn grad<B: Backend>([batch, heads, query_time, _, head_dim]: Shape, dtype: DType) -> FloatTensor<B> {
    tensor_on::<B>(&random(batch * heads * query_time * head_dim, 4), &[batch, heads, query_time, head_dim], dtype)
}

fn read_attention<B: Backend>(outputs: AttentionOutputs<B>, gradients: AttentionGradients<B>) -> Numbers {
    read::<B, 1, 3>([outputs.outputs], gradients.floats())
}

#[test]
fn agrees_with_double_precision() {
    let Some(_device) = vulkan() else { return };
    for dropout in [Dropout::OFF, Dropout { probability: 0.3, seed: 0xfedc_ba98_7654_3210 }] {
        for shape in
            [[2, 3, 1, 1, 5], [2, 1, 1, 40, 7], [2, 2, 3, 70, 33], [2, 1, 61, 61, 19], [2, 2, 37, 100, 16], [2, 1, 40, 40, 128]]
        {
            let found = inputs::<Vulkan>(shape, dropout, DType::F32);
            let outputs = causal_attention(found.clone()).expect("the shape fits");
            let gradients = causal_attention_backward(found, outputs.clone(), grad::<Vulkan>(shape, DType::F32)).unwrap();
            let found = read_attention(outputs, gradients);

            let double = inputs::<Flex>(shape, dropout, DType::F64);
            let outputs = Flex::causal_attention(double.clone());
            let gradients = Flex::causal_attention_backward(double, outputs.clone(), grad::<Flex>(shape, DType::F64));
            let truth = read_attention(outputs, gradients);
            let single = inputs::<Flex>(shape, dropout, DType::F32);
            let outputs = reference::causal_attention(single.clone());
            let gradients = reference::causal_attention_backward(single, grad::<Flex>(shape, DType::F32));
            let plain = [read_attention(outputs, gradients), truth.clone()];
            let names = ["outputs", "query gradients", "key gradients", "value gradients"];
            assert_accurate(&names, &found, &truth, &[plain], &format!("{shape:?}"));
        }
    }
}

#[test]
fn heads_cut_from_a_row_are_read_in_place() {
    let Some(_device) = vulkan() else { return };
    let shape = [2, 3, 21, 34, 12];
    let expected = inputs::<Vulkan>(shape, Dropout::OFF, DType::F32);
    let move_heads = |tensor| strided::<4>(tensor, 1, 2);
    let run = |inputs: AttentionInputs<Vulkan>, grad| {
        let outputs = causal_attention(inputs.clone()).unwrap();
        read_attention(outputs.clone(), causal_attention_backward(inputs, outputs, grad).unwrap())
    };
    let upstream = grad::<Vulkan>(shape, DType::F32);
    assert_eq!(run(expected.clone().map(move_heads), move_heads(upstream.clone())), run(expected, upstream));
}
