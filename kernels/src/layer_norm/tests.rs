//! Layer normalization against its reference, values and gradients.

use super::*;
use crate::primitive::{float, primitive};
use crate::testing::{assert_close, random_tensor};
use burn::backend::{Autodiff, Flex};

type Graph = Autodiff<Flex>;

#[test]
fn values_and_gradients_agree_with_the_reference() {
    for (rows, width) in [(1, 3), (3, 128), (131, 19), (300, 67)] {
        let run = |use_reference: bool| {
            // A large mean is where a one-pass variance fails.
            let x = (random_tensor::<Graph, 2>([rows, width], 1) + 50.0).require_grad();
            let gain = random_tensor::<Graph, 1>([width], 2).require_grad();
            let bias = random_tensor::<Graph, 1>([width], 3).require_grad();
            let op = if use_reference { reference::layer_norm::<Graph> } else { <Graph as LayerNormOps>::layer_norm_rows };
            let y = float::<Graph, 2>(op(primitive(x.clone()), primitive(gain.clone()), primitive(bias.clone())));
            let gradients = (y.clone() * random_tensor([rows, width], 4)).sum().backward();
            (y.inner(), x.grad(&gradients).unwrap(), gain.grad(&gradients).unwrap(), bias.grad(&gradients).unwrap())
        };
        let (found, expected) = (run(false), run(true));
        // x has a mean of 50: one rounding there is 4e-6, and rows of 3 divide it by their small standard deviation.
        assert_close(found.0, expected.0, 1e-4);
        assert_close(found.1, expected.1, 2e-4);
        assert_close(found.2, expected.2, 1e-3);
        assert_close(found.3, expected.3, 1e-4);
    }
}
