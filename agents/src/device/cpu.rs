//! The CPU, where policies act, and its backend with a graph, where they train.

use burn::backend::flex::FlexDevice;
use burn::backend::{Autodiff, Flex};

/// Where policies act: the CPU.
pub type Cpu = Flex;

/// Where policies train: the CPU, with a graph of what was done.
pub(crate) type Graph = Autodiff<Flex>;

/// The CPU.
pub const CPU: FlexDevice = FlexDevice;
