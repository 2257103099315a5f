//! A stored policy of a few numbers, a file of which a target replaces.
use aaren_agents::device::{CPU, Cpu};
use aaren_policy::{ActionSpec, DecisionNetwork, DecisionPolicy, Description, Normalizer, PolicyConfig, checkpoint};
use std::sync::LazyLock;

/// The folder that it is in.
pub static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
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
