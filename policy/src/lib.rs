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
//! `(y, state') = mixer.forward(x, reset, state)`. With a whole trajectory and the initial state that is training; with the tokens of one
//! environment step and the state of the step before it is acting:
//!
//! ```
//! use burn::backend::Flex;
//! use aaren_policy::{ActionSpec, ActionValue, DecisionNetwork, DecisionPolicy, Description, Dropout, Normalizer, PolicyConfig, Timesteps};
//!
//! let description = Description {
//!     format: Description::FORMAT,
//!     config: PolicyConfig { mixer: "aaren".into(), width: 16, feed_forward: 32, ..Default::default() },
//!     normalizer: Normalizer::identity(2), // observations of two numbers, as they are
//!     action: ActionSpec::Continuous { low: vec![-1.0], high: vec![1.0] },
//!     environment: serde_json::Value::Null,
//! };
//! let device = Default::default();
//! let network = DecisionNetwork::<Flex>::new(&description, 1, &device)?;
//! let policy = DecisionPolicy { network, description };
//!
//! // An episode of five timesteps at once, as in training.
//! let push = |timesteps: &mut Timesteps, t: usize| {
//!     let previous = (t > 0).then_some(ActionValue::Continuous(&[0.5]));
//!     timesteps.push(&policy.description, &[t as f64, 1.0], previous, 100.0, t, t == 0);
//! };
//! let mut episode = Timesteps::new();
//! (0..5).for_each(|t| push(&mut episode, t));
//! let inputs = episode.to_tensors(1, policy.description.config.tokens, &device);
//! let (outputs, _) = policy.network.forward(&inputs, policy.initial_state(1, &device), Dropout::OFF);
//! let outputs = outputs.into_data().to_vec::<f32>().unwrap();
//!
//! // The same episode one timestep at a time, as in an environment.
//! let mut state = policy.initial_state(1, &device);
//! for (t, output) in outputs.into_iter().enumerate() {
//!     let mut timestep = Timesteps::new();
//!     push(&mut timestep, t);
//!     let (actions, next) = policy.act(&timestep, 1, state, &device);
//!     state = next;
//!     let ActionValue::Continuous(action) = actions.row(0, 1) else { unreachable!() };
//!     assert!((action[0] - output).abs() < 1e-5);
//! }
//! # Ok::<(), aaren_policy::PolicyError>(())
//! ```
//!
//! The tests in `tests/suite/laws.rs` check for every mixer that both are one function.
//!
//! A [`DecisionPolicy`] is a [`DecisionNetwork`] (the weights) and a [`Description`] (sizes, normalization, bounds): together all
//! that acting needs, and what a [`checkpoint`] holds. An [`ActorCriticPolicy`] is trained by policy gradients: the same backbone over
//! its [`Inputs`], or an MLP, under a head for actions and one for values. [`AnyPolicy`] is either.
//! A [`SequencePolicy`] acts in nothing: it answers sequences. [`Model`] is it or a policy, and [`Trainable`] what is trained alike.
//! This crate never sees an environment, only sizes and tensors.

mod action;
mod actor_critic;
mod any;
mod backbone;
mod block;
pub mod checkpoint;
mod config;
mod convolution;
mod decision;
mod description;
mod distribution;
mod error;
pub mod favor;
mod head;
mod init;
mod inputs;
mod keep;
mod layers;
mod long_convolution;
pub mod mixer;
mod mlp;
mod model;
mod normalizer;
mod policy_state;
mod prepared;
pub mod published;
mod reset;
mod rotary;
mod sequence;
pub mod state;
mod timesteps;
mod tokens;
mod trainable;
pub mod transfer;

pub use action::{ActionBatch, ActionSpec, ActionValue, NO_CHOICE};
pub use actor_critic::{ActorCriticConfig, ActorCriticDescription, ActorCriticNetwork, ActorCriticPolicy};
pub use any::{AnyDescription, AnyPolicy};
pub use backbone::Backbone;
pub use block::Block;
pub use config::{Activation, FEED_FORWARD_BLOCKS, FeedForwardKind, NormPlace, PolicyConfig, Tokens};
pub use convolution::ShortConvolution;
pub use decision::{DecisionNetwork, DecisionPolicy, DecisionRows};
pub use description::Description;
pub use distribution::{ActionDistributions, ActionTensors};
pub use error::PolicyError;
pub use init::{Init, Initialization};
pub use inputs::{Input, Inputs, PreviousStep};
pub use keep::Keep;
pub use layers::{BlockDiagonal, Dense, Norm, Projection};
pub use mlp::HiddenActivation;
pub use model::Model;
pub use normalizer::Normalizer;
pub use policy_state::PolicyState;
pub use reset::Reset;
pub use sequence::{
    DueGap, DueTensors, GapTensors, Loss, NextEvent, Pool, Scaler, Scaling, SequenceBatch, SequenceDescription, SequenceNames,
    SequenceNetwork, SequencePolicy, SequenceRows, SequenceSpec, Stream,
};
pub use state::StateRecord;
pub use timesteps::{TimestepTensors, Timesteps};
pub use trainable::{Described, Rows, Trainable};

pub use aaren_kernels::{Dropout, KernelBackend};
/// The tensor library, in the one version whose types the policies are made of.
pub use burn;
