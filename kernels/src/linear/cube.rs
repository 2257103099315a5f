//! The dense layer on a GPU: Burn's matrix products, and gradients that are summed over rows in parts.
//!
//! With bfloat16 the factors are cast, and tensor cores multiply them into sums of single precision. A device that has no such cores
//! multiplies factors that were rounded by plain operations: the same numbers, and no quicker.

use super::inputs::{Activation, LinearGradients, LinearSaved};
use super::ops::LinearOps;
use super::reference::{activated, before_activation};
use crate::cube::{column_sums, multiplies, product_over_rows};
use crate::precision::{Precision, rounded};
use crate::primitive::{float, primitive};
use burn::tensor::DType;
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use burn_cubecl::cubecl::ir::FloatKind;
use burn_cubecl::kernel::cast;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

impl<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement> LinearOps for CubeBackend<R, F, I, BT> {
    fn linear_activated(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
        precision: Precision,
    ) -> FloatTensor<Self> {
        let [x, weight] = [x, weight].map(|tensor| factor::<R, F, I, BT>(tensor, precision));
        let y = float::<Self, 2>(multiply::<R, F, I, BT>(x, weight));
        primitive(activated(y + float::<Self, 1>(bias).unsqueeze(), activation))
    }

    fn linear_backward(saved: LinearSaved<Self>, grad: FloatTensor<Self>, needs_x: bool) -> LinearGradients<Self> {
        let [y, grad] = [saved.y, grad].map(float::<Self, 2>);
        let grad = before_activation(grad, y, saved.activation);
        let [x, weight, factors] = [saved.x, saved.weight, primitive(grad.clone())]
            .map(|tensor| float::<Self, 2>(factor::<R, F, I, BT>(tensor, saved.precision)));
        LinearGradients {
            x: needs_x.then(|| multiply::<R, F, I, BT>(primitive(factors.clone()), primitive(weight.transpose()))),
            weight: primitive(product_over_rows(x, factors, multiply::<R, F, I, BT>)),
            bias: primitive(column_sums(grad)),
        }
    }
}

/// A factor as a product takes it. A device that multiplies in TF32 rounds by itself.
fn factor<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    tensor: CubeTensor<R>,
    precision: Precision,
) -> CubeTensor<R> {
    match precision {
        _ if tensor.dtype != DType::F32 => tensor,
        Precision::Bf16 if multiplies(&tensor.client, FloatKind::BF16) => cast(tensor, DType::BF16),
        Precision::Tf32 if multiplies(&tensor.client, FloatKind::TF32) => tensor,
        _ => rounded::<CubeBackend<R, F, I, BT>>(tensor, precision),
    }
}

/// The product of two matrices, or of as many as a first axis says; of factors that were cast, in single precision.
fn multiply<R: CubeRuntime, F: FloatElement, I: IntElement, BT: BoolElement>(
    lhs: CubeTensor<R>,
    rhs: CubeTensor<R>,
) -> CubeTensor<R> {
    match lhs.dtype {
        DType::BF16 => matmul(lhs, rhs, None, MatmulStrategy::default(), DType::F32).expect("two matrices that fit"),
        _ => CubeBackend::<R, F, I, BT>::float_matmul(lhs, rhs),
    }
}
