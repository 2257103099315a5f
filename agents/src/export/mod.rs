//! Policies for programs that are not ours: stepped by a handle, written for C, or as an ONNX graph.
//!
//! ```no_run
//! use aaren_agents::export::{Player, Source, write_onnx};
//!
//! let source = Source::find("runs/quickstart".as_ref())?;
//! write_onnx(&source, source.window, "quickstart.onnx".as_ref())?;
//! // One episode, step by step: the first reward is that of no action, and not read.
//! let mut player = Player::new(source)?;
//! player.begin(None)?;
//! let action = player.step(&[0.0, 1.0, 0.0], 0.0)?;
//! println!("{action:?}");
//! # Ok::<(), anyhow::Error>(())
//! ```

mod c;
mod onnx;
mod player;
mod source;

pub use c::{CExport, write_c};
pub use onnx::write_onnx;
pub use player::Player;
pub use source::Source;
