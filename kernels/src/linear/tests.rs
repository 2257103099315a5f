//! The dense layer against its reference, values and gradients, and its bits against the number of threads.

use super::*;
use crate::precision::{Precision, current, within};
use crate::primitive::{float, primitive};
use crate::testing::{assert_close, random_tensor};
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

type Graph = Autodiff<Flex>;

fn reference<B: Backend>(x: Tensor<B, 2>, weight: Tensor<B, 2>, bias: Tensor<B, 1>, activation: Activation) -> Tensor<B, 2> {
    float(reference::linear::<B>(primitive(x), primitive(weight), primitive(bias), activation, current()))
}

#[test]
fn values_and_gradients_agree_with_the_reference() {
    for activation in [Activation::Identity, Activation::Relu, Activation::Tanh] {
        // One row, a few, one more than a few, one block, several blocks with a rest.
        for (rows, inputs, outputs) in
            [(1, 7, 5), (3, 129, 67), (2, 13, 300), (5, 31, 131), (7, 33, 130), (191, 13, 3), (577, 131, 193)]
        {
            let run = |use_reference: bool| {
                let [x, weight] = [([rows, inputs], 1), ([inputs, outputs], 2)]
                    .map(|(shape, seed)| random_tensor::<Graph, 2>(shape, seed).require_grad());
                let bias = random_tensor::<Graph, 1>([outputs], 3).require_grad();
                let op = if use_reference { reference } else { linear };
                let y = op(x.clone(), weight.clone(), bias.clone(), activation);
                let gradients = (y.clone() * random_tensor([rows, outputs], 4)).sum().backward();
                let [x, weight] = [x, weight].map(|leaf| leaf.grad(&gradients).unwrap());
                (y.inner(), x, weight, bias.grad(&gradients).unwrap())
            };
            let (found, expected) = (run(false), run(true));
            assert_close(found.0, expected.0, 1e-5);
            assert_close(found.1, expected.1, 1e-5);
            assert_close(found.2, expected.2, 1e-4); // sums over hundreds of rows
            assert_close(found.3, expected.3, 1e-4);
        }
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let x = random_tensor::<Graph, 2>([613, 131], 1).require_grad();
            let weight = random_tensor::<Graph, 2>([131, 257], 2).require_grad();
            let bias = random_tensor::<Graph, 1>([257], 3).require_grad();
            let y = linear(x.clone(), weight.clone(), bias.clone(), Activation::Relu);
            let gradients = (y.clone() * random_tensor([613, 257], 4)).sum().backward();
            [y.inner(), x.grad(&gradients).unwrap(), weight.grad(&gradients).unwrap()].map(Tensor::into_data)
        })
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn the_bits_of_a_row_do_not_depend_on_its_place() {
    // Three blocks, the last of one row.
    let (rows, inputs, outputs) = (2 * 192 + 1, 131, 77);
    let x = random_tensor::<Flex, 2>([rows, inputs], 1);
    let weight = random_tensor::<Flex, 2>([inputs, outputs], 2);
    let bias = random_tensor::<Flex, 1>([outputs], 3);
    let y = linear(x.clone(), weight.clone(), bias.clone(), Activation::Relu);
    let reversed = linear(x.flip([0]), weight, bias, Activation::Relu);
    assert_eq!(reversed.flip([0]).into_data(), y.into_data());
}

#[test]
fn the_bits_of_few_rows_depend_neither_on_tiles_nor_on_how_many_there_are() {
    let (inputs, outputs) = (37, 128 + 64 + 13);
    let x = random_tensor::<Flex, 2>([6, inputs], 1);
    let weight = random_tensor::<Flex, 2>([inputs, outputs], 2);
    let bias = random_tensor::<Flex, 1>([outputs], 3);
    let [x_data, weight_data, bias_data] =
        [x.to_data(), weight.to_data(), bias.to_data()].map(|data| data.to_vec::<f32>().unwrap());
    let sum = |row: usize, output: usize| {
        let terms = (0..inputs).map(|k| (weight_data[k * outputs + output], x_data[row * inputs + k]));
        terms.fold(bias_data[output], |sum, (weight, x)| weight.mul_add(x, sum))
    };
    for rows in 1..=6 {
        let y = linear(x.clone().narrow(0, 0, rows), weight.clone(), bias.clone(), Activation::Identity);
        let expected: Vec<f32> = (0..rows * outputs).map(|i| sum(i / outputs, i % outputs)).collect();
        assert_eq!(y.into_data().to_vec::<f32>().unwrap(), expected, "{rows} rows");
    }
}

/// What a layer computes, in this thread's precision or with factors rounded by plain operations, and its gradients.
fn layer_in(precision: Precision, sizes: [usize; 3], by_reference: bool) -> [Vec<f32>; 4] {
    let [rows, inputs, outputs] = sizes;
    let [x, weight, grad] = [([rows, inputs], 1), ([inputs, outputs], 2), ([rows, outputs], 4)]
        .map(|(shape, seed)| primitive(random_tensor::<Flex, 2>(shape, seed)));
    let bias = primitive(random_tensor::<Flex, 1>([outputs], 3));
    let (y, gradients) = if by_reference {
        let y = reference::linear::<Flex>(x.clone(), weight.clone(), bias, Activation::Tanh, precision);
        let saved = LinearSaved::<Flex> { x, weight, y: y.clone(), activation: Activation::Tanh, precision };
        (y, reference::linear_backward(saved, grad, true))
    } else {
        let y = Flex::linear_activated(x.clone(), weight.clone(), bias, Activation::Tanh, precision);
        let saved = LinearSaved::<Flex> { x, weight, y: y.clone(), activation: Activation::Tanh, precision };
        (y, Flex::linear_backward(saved, grad, true))
    };
    let read = |tensor| float::<Flex, 2>(tensor).into_data().to_vec().unwrap();
    let bias = float::<Flex, 1>(gradients.bias).into_data().to_vec().unwrap();
    [read(y), read(gradients.x.unwrap()), read(gradients.weight), bias]
}

fn largest_difference(found: &[f32], expected: &[f32]) -> f64 {
    let largest = expected.iter().fold(1f32, |most, x| most.max(x.abs()));
    found.iter().zip(expected).map(|(a, b)| f64::from((a - b).abs() / largest)).fold(0.0, f64::max)
}

#[test]
fn rounded_factors_agree_with_the_reference_and_are_off_by_their_roundings() {
    for precision in [Precision::Tf32, Precision::Bf16] {
        for sizes in [[1, 7, 5], [3, 129, 67], [191, 13, 3], [577, 131, 193]] {
            let found = layer_in(precision, sizes, false);
            for (index, (found, expected)) in found.iter().zip(layer_in(precision, sizes, true)).enumerate() {
                // Ties of factors, and a tanh beside a border of rounding, go the other way now and then.
                let difference = largest_difference(found, &expected);
                assert!(difference < precision.rounding(), "{precision} {sizes:?}, result {index}: off by {difference}");
            }
            let exact = layer_in(Precision::F32, sizes, false);
            let differences: Vec<_> = found.iter().zip(&exact).map(|(found, exact)| largest_difference(found, exact)).collect();
            // Each factor of a product of two adds its own rounding, and those of a sum do not all go one way.
            assert!(differences.iter().all(|&off| off < 16.0 * precision.rounding()), "{precision} {sizes:?}: {differences:?}");
            assert!(
                differences[..3].iter().all(|&off| off > 0.01 * precision.rounding()),
                "{precision} {sizes:?}: {differences:?}"
            );
        }
    }
}

#[test]
fn a_backward_pass_has_the_precision_of_its_forward_pass_on_any_thread() {
    let run = |forward: Precision, backward: Precision| {
        let x = random_tensor::<Graph, 2>([5, 7], 1).require_grad();
        let y = within(forward, || linear(x.clone(), random_tensor([7, 3], 2), random_tensor([3], 3), Activation::Identity));
        let gradients = std::thread::scope(|scope| {
            scope.spawn(|| within(backward, || (y * random_tensor([5, 3], 4)).sum().backward())).join().unwrap()
        });
        x.grad(&gradients).unwrap().into_data()
    };
    assert_eq!(run(Precision::Bf16, Precision::F32), run(Precision::Bf16, Precision::Bf16));
    assert_eq!(run(Precision::F32, Precision::Bf16), run(Precision::F32, Precision::F32));
    assert_ne!(run(Precision::Bf16, Precision::F32), run(Precision::F32, Precision::F32));
    assert_eq!(current(), Precision::F32);
}
