//! Policies that are trained in parallel over trajectories and executed as recurrent policies: one function for both.
//!
//! ```text
//! previous action ─┐
//! return-to-go ────┼─ tokens ── block ── block ── ... ── norm ── head ── action
//! observation ─────┘             │
//!                                └─ norm, mixer, norm, feed-forward; the mixer alone looks back in time
//! ```
//!
//! A [`mixer`] maps tokens and a state to outputs and the next state, for any number of tokens:
//! `(y, state') = mixer.forward(x, reset, state)`. With a whole trajectory and the initial state that is training; with the three
//! tokens of one environment step and the state carried along it is acting. The tests in `tests/laws.rs` hold every mixer to it.
//!
//! A [`DecisionPolicy`] is a [`DecisionNetwork`] (the weights) and a [`Description`] (sizes, normalisation, bounds): together all
//! that is needed to act, and what a [`checkpoint`] holds. So is an [`ActorCriticPolicy`], which policy gradients train: the same
//! backbone over observations alone, or an MLP, under a head for actions and one for values. [`AnyPolicy`] is either. A [`TokenModel`]
//! is the backbone over tokens of a vocabulary, for tasks that compare mixers.
//! This crate never sees an environment, only sizes and tensors.

mod actor_critic;
mod backbone;
mod block;
pub mod checkpoint;
mod config;
pub mod convert;
mod convolution;
mod decision;
mod distribution;
mod error;
pub mod favor;
mod head;
mod init;
mod layers;
mod long_convolution;
pub mod mixer;
mod mlp;
mod normalizer;
mod reset;
mod saved;
mod state;
mod timesteps;
mod token_model;
mod tokens;

pub use actor_critic::{ActorCriticConfig, ActorCriticDescription, ActorCriticNetwork, ActorCriticPolicy};
pub use backbone::{Backbone, Keep};
pub use block::Block;
pub use config::{Activation, FEED_FORWARD_BLOCKS, FeedForwardKind, PolicyConfig, Tokens};
pub use convolution::ShortConvolution;
pub use decision::{ActionBatch, ActionSpec, ActionValue, DecisionNetwork, DecisionPolicy, Description};
pub use distribution::{ActionDistributions, ActionTensors};
pub use error::PolicyError;
pub use head::Head;
pub use init::Init;
pub use layers::{BlockDiagonal, Dense, Norm, Projection};
pub use mlp::{HiddenActivation, Mlp};
pub use normalizer::Normalizer;
pub use reset::Reset;
pub use saved::{AnyDescription, AnyPolicy};
pub use state::{PolicyState, StateRecord};
pub use timesteps::{TimestepTensors, Timesteps};
pub use token_model::TokenModel;
pub use tokens::TokenEmbedding;

pub use aaren_kernels::KernelBackend;
