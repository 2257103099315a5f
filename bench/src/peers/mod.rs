//! The peers: scripts of ours that do the same with libraries in Python, run by the Python that is there.

pub mod gymnasium;
mod python;
pub mod sequence;
pub mod stable_baselines3;
pub mod torch;
