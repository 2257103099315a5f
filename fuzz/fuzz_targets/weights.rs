#![no_main]
//! Weights, beside the description of a small policy.
mod small_policy;

use aaren_agents::device::{CPU, Cpu};
use aaren_policy::checkpoint;
use small_policy::FOLDER;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    std::fs::write(FOLDER.path().join(checkpoint::WEIGHTS), bytes).unwrap();
    let _ = checkpoint::load_any::<Cpu>(FOLDER.path(), &CPU);
});
