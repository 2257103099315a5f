//! What a checkpoint holds.

use burn::module::Module;
use burn::tensor::backend::Backend;

use crate::any::AnyPolicy;
use crate::sequence::SequencePolicy;

/// What a checkpoint holds: a policy that acts, or a model of sequences.
#[allow(clippy::large_enum_variant, reason = "there are never many of them")]
#[derive(Clone, Debug)]
pub enum Model<B: Backend> {
    /// Acts in an environment.
    Policy(AnyPolicy<B>),
    /// Answers a stream.
    Sequence(SequencePolicy<B>),
}

impl<B: Backend> From<AnyPolicy<B>> for Model<B> {
    fn from(policy: AnyPolicy<B>) -> Self {
        Model::Policy(policy)
    }
}

impl<B: aaren_kernels::KernelBackend> Model<B> {
    /// Name of the mixer, or `mlp`.
    pub fn mixer(&self) -> String {
        match self {
            Model::Policy(policy) => policy.mixer(),
            Model::Sequence(policy) => policy.description.config.mixer_name(),
        }
    }

    /// Trained numbers.
    pub fn parameters(&self) -> usize {
        match self {
            Model::Policy(policy) => policy.parameters(),
            Model::Sequence(policy) => policy.network.num_params(),
        }
    }
}
