//! aaren: reinforcement learning with recurrent attention, as a library.

pub use {aaren_agents as agents, aaren_data as data, aaren_envs as envs, aaren_kernels as kernels, aaren_policy as policy};
