#![no_main]
//! Weights, beside the description of a small policy.
use aaren_agents::device::{CPU, Cpu};
use aaren_policy::{ActionSpec, DecisionNetwork, DecisionPolicy, Description, Normalizer, PolicyConfig, checkpoint};
use std::sync::LazyLock;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let description = Description {
        format: Description::FORMAT,
        config: PolicyConfig { layers: 1, width: 4, feed_forward: 4, max_timesteps: 4, ..Default::default() },
        normalizer: Normalizer::identity(3),
        action: ActionSpec::Discrete { n: 2, start: 0 },
        environment: serde_json::Value::Null,
    };
    let network = DecisionNetwork::<Cpu>::new(&description, 1, &CPU).unwrap();
    checkpoint::save(&DecisionPolicy { network, description }, folder.path()).unwrap();
    folder
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    std::fs::write(FOLDER.path().join(checkpoint::WEIGHTS), bytes).unwrap();
    let _ = checkpoint::load_any::<Cpu>(FOLDER.path(), &CPU);
});
