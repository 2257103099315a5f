//! What the ops share of Burn's autodiff: recording an op as one node of the graph, and deriving the gradient of a reference.
//!
//! Second derivatives are not supported: the backward methods are called on the inner backend only.

pub(crate) use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
pub(crate) use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::TensorMetadata;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::{FloatTensor, FloatTensorOps};
use std::fmt::Debug;

/// The gradients of `N` parents from what the forward pass saved and the gradient of the output; the flags say which parents need
/// theirs.
type BackwardPass<B, S, const N: usize> = fn(S, FloatTensor<B>, [bool; N]) -> [Option<FloatTensor<B>>; N];

#[derive(Debug)]
struct Node<B: Backend, S, const N: usize>(BackwardPass<B, S, N>);

impl<B: Backend, S: Clone + Send + Debug + 'static, const N: usize> Backward<B, N> for Node<B, S, N> {
    type State = S;

    fn backward(self, ops: Ops<S, N>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let is_needed = ops.parents.each_ref().map(Option::is_some);
        for (parent, grad) in ops.parents.into_iter().zip(self.0(ops.state, grad, is_needed)) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

/// Records that `output` was computed from `parents`. `state` makes what the backward pass reads, if any parent needs a gradient.
pub(crate) fn node<B: Backend, C: CheckpointStrategy, S: Clone + Send + Debug + 'static, const N: usize>(
    parents: [&FloatTensor<Autodiff<B, C>>; N],
    output: FloatTensor<B>,
    state: impl FnOnce(&FloatTensor<B>) -> S,
    backward: BackwardPass<B, S, N>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes = parents.map(|parent| parent.node.clone());
    match Node(backward).prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(state(&output), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}

type Derived<B> = <Autodiff<B> as AutodiffBackend>::Gradients;

/// A leaf of a new graph.
pub(crate) fn leaf<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<Autodiff<B>> {
    Autodiff::<B>::float_set_require_grad(Autodiff::<B>::from_inner(tensor), true)
}

/// Backpropagates `upstream` into `output`.
pub(crate) fn backward<B: Backend>(output: FloatTensor<Autodiff<B>>, upstream: FloatTensor<B>) -> Derived<B> {
    let product = Autodiff::<B>::float_mul(output, Autodiff::<B>::from_inner(upstream));
    Autodiff::<B>::backward(Autodiff::<B>::float_sum(product))
}

/// What arrived at a leaf; zero if nothing did.
pub(crate) fn arrived<B: Backend>(leaf: &FloatTensor<Autodiff<B>>, gradients: &Derived<B>) -> FloatTensor<B> {
    Autodiff::<B>::grad(leaf, gradients).unwrap_or_else(|| {
        let inner = &leaf.primitive;
        B::float_zeros(inner.shape(), &B::float_device(inner), inner.dtype().into())
    })
}
