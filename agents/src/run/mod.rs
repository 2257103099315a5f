//! What is left on disk and said: run folders, metrics, reports, and Ctrl-C.

pub mod cache_report;
mod folder;
pub mod interrupt;
pub mod metrics;
pub mod process;
pub mod progress;
pub mod report;
mod tensorboard;

pub use folder::*;
