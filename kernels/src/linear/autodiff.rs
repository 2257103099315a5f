//! The dense layer as a node of Burn's autodiff graph.

use super::{LinearGradients, LinearSaved, Rectifier};
use crate::backend::KernelBackend;
use burn::backend::autodiff::{
    Autodiff,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::tensor::ops::FloatTensor;

#[derive(Debug)]
struct Linear;

impl<B: KernelBackend> Backward<B, 3> for Linear {
    type State = LinearSaved<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let needs_x = ops.parents[0].is_some();
        let LinearGradients { x, weight, bias } = B::linear_backward(ops.state, grad, needs_x);
        for (parent, grad) in ops.parents.into_iter().zip([x, Some(weight), Some(bias)]) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}

pub(crate) fn linear<B: KernelBackend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: FloatTensor<Autodiff<B, C>>,
    rectifier: Rectifier,
) -> FloatTensor<Autodiff<B, C>> {
    let y = B::linear_rectified(x.primitive.clone(), weight.primitive.clone(), bias.primitive, rectifier);
    match Linear.prepare::<C>([x.node, weight.node, bias.node]).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let saved = LinearSaved { x: x.primitive, weight: weight.primitive, y: y.clone(), rectifier };
            prepared.finish(saved, y)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(y),
    }
}
