//! What the ops share of Burn's autodiff: recording an op as one node of the graph, and deriving the gradient of a reference.
//!
//! Second derivatives are not supported: the backward methods are called on the inner backend only.

use crate::primitive::{float, primitive};
use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::ops::FloatTensor;
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
pub(crate) fn leaf<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<Autodiff<B>, D> {
    Tensor::from_inner(float::<B, D>(primitive)).require_grad()
}

/// A leaf as an op's input.
pub(crate) fn tracked<B: Backend, const D: usize>(leaf: &Tensor<Autodiff<B>, D>) -> FloatTensor<Autodiff<B>> {
    primitive(leaf.clone())
}

/// Backpropagates `upstream` into `output`.
pub(crate) fn backward<B: Backend, const D: usize>(output: Tensor<Autodiff<B>, D>, upstream: FloatTensor<B>) -> Derived<B> {
    (output * Tensor::from_inner(float::<B, D>(upstream))).sum().backward()
}

/// What arrived at a leaf; zero if nothing did.
pub(crate) fn arrived<B: Backend, const D: usize>(leaf: &Tensor<Autodiff<B>, D>, gradients: &Derived<B>) -> FloatTensor<B> {
    primitive(leaf.grad(gradients).unwrap_or_else(|| leaf.clone().inner().zeros_like()))
}
