//! The MuJoCo tasks, one file a task; feature `mujoco`.
//!
//! A step is Gymnasium's, call by call: write the action into `ctrl` (the model clamps it, the control cost does not),
//! `mj_step` as often as frames are skipped. Observation and reward read `qpos` and `qvel` as they are then, without a further
//! `mj_forward`. Gymnasium also calls `mj_rnePostConstraint` in every step; here only the ant, which reads contact forces, does.

pub(crate) mod ant;
mod control_cost;
#[cfg(test)]
mod facts;
#[cfg(unix)]
mod gl;
pub(crate) mod half_cheetah;
pub(crate) mod hopper;
pub(crate) mod maze2d;
mod model;
#[cfg(unix)]
pub(crate) mod render;
mod robot;
pub(crate) mod robots;
mod runner;
mod simulation;
pub(crate) mod walker2d;
