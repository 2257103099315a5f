//! All ops at once, and the convolution's trait.

use crate::{
    attention::AttentionOps,
    cache::CacheOps,
    convolution::{ConvolutionGradients, ConvolutionInputs, autodiff, cpu, reference},
    cpu::{by_float, serves},
    dropout::DropoutOps,
    layer_norm::LayerNormOps,
    linear::LinearOps,
    optimizer::OptimizerOps,
    recurrence::RecurrenceOps,
    scan::ScanOps,
    selective_scan::SelectiveScanOps,
};
use burn::{
    backend::{
        Flex,
        autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy},
    },
    tensor::{DType, Device, backend::Backend, ops::FloatTensor},
};

/// Declares [`KernelBackend`] and implements it for every backend that has all the ops.
macro_rules! kernel_backend {
    ($($op:ident,)*) => {
        /// A Burn backend with the ops that the policies are built from, put together from a trait an op as Burn's own
        /// [`Backend`] is. `Flex` (the CPU), the backends of GPUs, and `Autodiff` around either are such backends.
        ///
        /// The traits' methods work on primitives and trust their callers about shapes; use the checked functions of the crate
        /// root. What a method does where a backend has no implementation of its own is the reference in plain tensor operations.
        pub trait KernelBackend: Backend $(+ $op)* {}

        impl<B: Backend $(+ $op)*> KernelBackend for B {}
    };
}

kernel_backend! {
    AttentionOps,
    CacheOps,
    ConvolutionOps,
    DropoutOps,
    LayerNormOps,
    LinearOps,
    OptimizerOps,
    RecurrenceOps,
    ScanOps,
    SelectiveScanOps,
}

/// Convolutions of a backend.
pub trait ConvolutionOps: Backend {
    /// Whether the backend has a backward pass of its own for numbers of this type; else `Autodiff` records the reference.
    fn has_backward(device: &Device<Self>, dtype: DType) -> bool {
        let _ = (device, dtype);
        false
    }

    /// [`crate::causal_convolution`].
    fn causal_convolution(inputs: ConvolutionInputs<Self>) -> FloatTensor<Self> {
        reference::causal_convolution(inputs)
    }

    /// Gradients of a convolution.
    fn causal_convolution_backward(inputs: ConvolutionInputs<Self>, grad: FloatTensor<Self>) -> ConvolutionGradients<Self> {
        reference::causal_convolution_backward(inputs, grad)
    }
}

impl ConvolutionOps for Flex {
    fn has_backward(_device: &Device<Self>, dtype: DType) -> bool {
        serves(dtype)
    }

    fn causal_convolution(inputs: ConvolutionInputs<Self>) -> FloatTensor<Self> {
        by_float!(
            inputs.inputs.dtype(),
            R => cpu::causal_convolution::<R>(inputs),
            _ => reference::causal_convolution(inputs),
        )
    }

    fn causal_convolution_backward(inputs: ConvolutionInputs<Self>, grad: FloatTensor<Self>) -> ConvolutionGradients<Self> {
        by_float!(
            grad.dtype(),
            R => cpu::causal_convolution_backward::<R>(inputs, grad),
            _ => reference::causal_convolution_backward(inputs, grad),
        )
    }
}

impl<B: ConvolutionOps, C: CheckpointStrategy> ConvolutionOps for Autodiff<B, C> {
    fn causal_convolution(inputs: ConvolutionInputs<Self>) -> FloatTensor<Self> {
        autodiff::causal_convolution(inputs)
    }
}

#[cfg(feature = "cube")]
impl<R, F, I, BT> ConvolutionOps for burn_cubecl::CubeBackend<R, F, I, BT>
where
    R: burn_cubecl::CubeRuntime,
    F: burn_cubecl::FloatElement,
    I: burn_cubecl::IntElement,
    BT: burn_cubecl::BoolElement,
{
}
