//! Timesteps on their way from the host into tokens. Training and acting fill the same buffer through the same function, so they
//! cannot normalize or pad differently.

use crate::{action::ActionValue, config::Tokens, description::Description, reset::Reset};
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

/// A batch of timesteps on the host, batch-major, encoded and normalized.
#[derive(Clone, Debug, Default)]
pub struct Timesteps {
    observations: Vec<f32>,
    previous_actions: Vec<f32>,
    is_first: Vec<f32>,
    returns_to_go: Vec<f32>,
    timesteps: Vec<i32>,
    action_timesteps: Vec<i32>,
    resets: Vec<bool>,
}

/// The same on a device, a row a timestep.
#[derive(Clone, Debug)]
pub struct TimestepTensors<B: Backend> {
    /// Normalized: `[rows, observation width]`
    pub observations: Tensor<B, 2>,
    /// In `[-1, 1]`, or one-hot: `[rows, action width]`
    pub previous_actions: Tensor<B, 2>,
    /// 1 where there is no previous action, else 0: `[rows, 1]`
    pub is_first: Tensor<B, 2>,
    /// Divided by the return scale: `[rows, 1]`
    pub returns_to_go: Tensor<B, 2>,
    /// Position in the episode, at most the last entry of the embedding: `[rows]`
    pub timesteps: Tensor<B, 1, Int>,
    /// The same of the previous action, where its token has the position that it was taken at ([`Tokens::Published`]): `[rows]`
    pub action_timesteps: Option<Tensor<B, 1, Int>>,
    /// `[batch, tokens]`
    pub reset: Reset<B>,
}

impl Timesteps {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Timesteps held.
    pub fn len(&self) -> usize {
        self.resets.len()
    }

    /// Numbers held.
    pub(crate) fn numbers(&self) -> usize {
        self.observations.len() + self.previous_actions.len() + 3 * self.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.resets.is_empty()
    }

    /// Forgets all timesteps and keeps the memory.
    pub fn clear(&mut self) {
        self.observations.clear();
        self.previous_actions.clear();
        self.is_first.clear();
        self.returns_to_go.clear();
        self.timesteps.clear();
        self.action_timesteps.clear();
        self.resets.clear();
    }

    /// Appends a timestep.
    ///
    /// - `observation`: raw, as the environment shows it
    /// - `previous_action`: raw; `None` on an episode's first timestep
    /// - `return_to_go`: in units of reward; the policy is told it within its range
    /// - `timestep`: position in the episode, from 0
    /// - `reset`: whether the policy forgets what came before
    pub fn push(
        &mut self,
        description: &Description,
        observation: &[f64],
        previous_action: Option<ActionValue<'_>>,
        return_to_go: f64,
        timestep: usize,
        reset: bool,
    ) {
        description.normalizer.push(observation, &mut self.observations);
        match previous_action {
            Some(action) => description.action.encode(action, &mut self.previous_actions),
            None => self.previous_actions.extend(std::iter::repeat_n(0.0, description.action.width())),
        }
        self.is_first.push(if previous_action.is_some() { 0.0 } else { 1.0 });
        let [least, largest] = description.config.return_range.unwrap_or([f64::NEG_INFINITY, f64::INFINITY]);
        let told = return_to_go.clamp(least, largest) / description.config.return_scale.unwrap_or(1.0);
        self.returns_to_go.push(told as f32);
        let last = description.config.max_timesteps.saturating_sub(1);
        self.timesteps.push(timestep.min(last) as i32);
        self.action_timesteps.push(timestep.saturating_sub(1).min(last) as i32);
        self.resets.push(reset);
    }

    /// Moves the batch to a device.
    ///
    /// # Panics
    /// If the timesteps are no whole number of rows of the batch.
    pub fn to_tensors<B: Backend>(&self, batch: usize, tokens: Tokens, device: &B::Device) -> TimestepTensors<B> {
        let rows = self.len();
        let matrix =
            |data: &Vec<f32>| Tensor::<B, 2>::from_data(TensorData::new(data.clone(), [rows, data.len() / rows]), device);
        let positions = |data: &Vec<i32>| Tensor::from_data(TensorData::new(data.clone(), [rows]), device);
        TimestepTensors {
            observations: matrix(&self.observations),
            previous_actions: matrix(&self.previous_actions),
            is_first: matrix(&self.is_first),
            returns_to_go: matrix(&self.returns_to_go),
            timesteps: positions(&self.timesteps),
            action_timesteps: (tokens == Tokens::Published).then(|| positions(&self.action_timesteps)),
            reset: Reset::of_tokens(&self.resets, batch, tokens.per_timestep(), tokens.first_of_sequence(), device),
        }
    }
}
