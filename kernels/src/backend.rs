//! All ops at once.

use crate::attention::AttentionOps;
use crate::cache::CacheOps;
use crate::convolution::ConvolutionOps;
use crate::dropout::DropoutOps;
use crate::gated_cell::GatedCellOps;
use crate::layer_norm::LayerNormOps;
use crate::linear::LinearOps;
use crate::optimizer::OptimizerOps;
use crate::recurrence::RecurrenceOps;
use crate::scan::ScanOps;
use crate::selective_scan::SelectiveScanOps;
use crate::slots::SlotOps;
use burn::tensor::backend::Backend;

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
    GatedCellOps,
    LayerNormOps,
    LinearOps,
    OptimizerOps,
    RecurrenceOps,
    ScanOps,
    SelectiveScanOps,
    SlotOps,
}
