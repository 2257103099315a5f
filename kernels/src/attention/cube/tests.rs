//! Causal attention's kernels against double precision on the CPU, on whatever GPU there is.

use super::launch::{causal_attention, causal_attention_backward};
use crate::attention::tests::case;
use crate::attention::{AttentionGradients, AttentionInputs, AttentionOps, AttentionOutputs, reference};
use crate::cube::testing::{Card, Numbers, assert_accurate, card, read, strided};
use crate::dropout::Dropout;
use crate::primitive::primitive;
use crate::testing::random_tensor;
use burn::tensor::{DType, backend::Backend, ops::FloatTensor};
use burn_flex::Flex;

fn grad<B: Backend>([heads, query_time, _, head_dim]: [usize; 4], dtype: DType) -> FloatTensor<B> {
    primitive(random_tensor::<B, 4>([2, heads, query_time, head_dim], 4).cast(dtype))
}

fn read_attention<B: Backend>(outputs: AttentionOutputs<B>, gradients: AttentionGradients<B>) -> Numbers {
    read::<B, 1, 3>([outputs.outputs], gradients.floats())
}

#[test]
fn agrees_with_double_precision() {
    let Some(_device) = card() else { return };
    for dropout in [Dropout::OFF, Dropout { probability: 0.3, seed: 0xfedc_ba98_7654_3210 }] {
        for shape in [[3, 1, 1, 5], [1, 1, 40, 7], [2, 3, 70, 33], [1, 61, 61, 19], [2, 37, 100, 16], [1, 40, 40, 128]] {
            let found = case::<Card>(shape, dropout, DType::F32);
            let outputs = causal_attention(found.clone()).expect("the shape fits");
            let gradients = causal_attention_backward(found, outputs.clone(), grad::<Card>(shape, DType::F32)).unwrap();
            let found = read_attention(outputs, gradients);

            let double = case::<Flex>(shape, dropout, DType::F64);
            let outputs = Flex::causal_attention(double.clone());
            let gradients = Flex::causal_attention_backward(double, outputs.clone(), grad::<Flex>(shape, DType::F64));
            let truth = read_attention(outputs, gradients);
            let single = case::<Flex>(shape, dropout, DType::F32);
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
    let Some(_device) = card() else { return };
    let shape = [3, 21, 34, 12];
    let expected = case::<Card>(shape, Dropout::OFF, DType::F32);
    let move_heads = |tensor| strided::<4>(tensor, 1, 2);
    let run = |inputs: AttentionInputs<Card>, grad| {
        let outputs = causal_attention(inputs.clone()).unwrap();
        read_attention(outputs.clone(), causal_attention_backward(inputs, outputs, grad).unwrap())
    };
    let upstream = grad::<Card>(shape, DType::F32);
    assert_eq!(run(expected.clone().map(move_heads), move_heads(upstream.clone())), run(expected, upstream));
}
