//! A runtime of ONNX plays policies as they are played here, for two episodes at once and with resets.

use std::fs;
use std::process::Command;

use aaren_policy::mixer::{Recency, names};
use aaren_policy::{
    ActionBatch, ActionSpec, Activation, ActorCriticConfig, ActorCriticDescription, ActorCriticNetwork, ActorCriticPolicy,
    AnyPolicy, DecisionNetwork, DecisionPolicy, Description, FeedForwardKind, HiddenActivation, Inputs, NormPlace, Normalizer,
    PolicyConfig, Tokens,
};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Tensor, backend::Backend};
use serde_json::{Value, json};

use super::super::{Player, Source};
use super::model;
use crate::device::{CPU, Cpu};

const STEPS: usize = 500;

/// Makes weights so large that every part shows in the actions, and no larger: recurrences would blow up roundings.
struct Louder;

impl<B: Backend> ModuleMapper<B> for Louder {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        param.map(|tensor| tensor * 1.3)
    }
}

fn config(mixer: &str) -> PolicyConfig {
    PolicyConfig {
        mixer: mixer.into(),
        layers: 2,
        width: 12,
        heads: 3,
        feed_forward: 20,
        dropout: 0.0,
        max_timesteps: 15, // episodes are longer
        return_scale: Some(10.0),
        ..PolicyConfig::default()
    }
}

fn normalizer() -> Normalizer {
    Normalizer::new(vec![0.5, -1.0, 1000.0], &[1.0, 2.0, 0.5])
}

fn continuous() -> ActionSpec {
    ActionSpec::Continuous { low: vec![-1.0, -2.0], high: vec![1.0, 4.0] }
}

fn choices() -> ActionSpec {
    ActionSpec::Discrete { n: 4, start: -1 }
}

fn decision(config: PolicyConfig, action: ActionSpec) -> AnyPolicy<Cpu> {
    let environment = json!({ "id": "Test-v0", "options": { "size": 3 } });
    let description = Description { format: Description::FORMAT, config, normalizer: normalizer(), action, environment };
    let network = DecisionNetwork::new(&description, 3, &CPU).unwrap().map(&mut Louder);
    DecisionPolicy { network, description }.into()
}

fn actor_critic(network: ActorCriticConfig, inputs: Inputs, action: ActionSpec) -> AnyPolicy<Cpu> {
    let description = ActorCriticDescription {
        format: ActorCriticDescription::FORMAT,
        network,
        normalizer: normalizer(),
        observation_clip: 1.5,
        inputs,
        action,
        environment: Value::Null,
    };
    let network = ActorCriticNetwork::new(&description, 0.0, 3, &CPU).unwrap().map(&mut Louder);
    ActorCriticPolicy { network, description }.into()
}

/// Policies that have a graph, with their windows.
fn policies() -> Vec<(String, AnyPolicy<Cpu>, Option<usize>)> {
    let mut all = Vec::new();
    let mut add = |name: &str, policy, window| all.push((name.to_owned(), policy, window));
    for mixer in ["aaren", "gru", "lstm", "mlp"] {
        add(mixer, decision(config(mixer), continuous()), None);
        add(&format!("{mixer}, choices"), decision(config(mixer), choices()), None);
    }
    let mut far = config("aaren");
    (far.options.aaren.queries, far.options.aaren.recency) = (2, Recency::Learned);
    add("aaren with two fading queries", decision(far, continuous()), None);
    for tokens in [Tokens::Merged, Tokens::Normed, Tokens::Observation, Tokens::Published] {
        add(&format!("gru, {tokens:?}"), decision(PolicyConfig { tokens, ..config("gru") }, continuous()), None);
        add(&format!("window, {tokens:?}"), decision(PolicyConfig { tokens, ..config("transformer") }, continuous()), Some(4));
    }
    let post = PolicyConfig { norm: NormPlace::Post, activation: Activation::Gelu, max_timesteps: 0, ..config("lstm") };
    add("post-norm and GELU without timesteps", decision(post, continuous()), None);
    add("a window", decision(config("transformer"), continuous()), Some(5));
    add("a window and choices", decision(config("transformer"), choices()), Some(3));
    let tanh = PolicyConfig { activation: Activation::GeluTanh, tokens: Tokens::Published, ..config("transformer") };
    add("a published window", decision(tanh, continuous()), Some(6));
    // Returns that are asked for are 5 to 8, and what is left of them falls below 0.
    let told = PolicyConfig { return_range: Some([-1.5, 5.5]), ..config("gru") };
    add("a range of returns", decision(told.clone(), continuous()), None);
    add("a window and a range of returns", decision(PolicyConfig { mixer: "transformer".into(), ..told }, continuous()), Some(4));
    let mixed = PolicyConfig { mixer: "aaren".into(), mixers: vec!["lstm".into(), "aaren".into()], ..config("aaren") };
    add("two mixers", decision(mixed, continuous()), None);
    let mlp = |activation| ActorCriticConfig::Mlp { hidden: vec![9, 7], activation };
    add("PPO's MLP", actor_critic(mlp(HiddenActivation::Tanh), Inputs::default(), continuous()), None);
    add("PPO's MLP, choices", actor_critic(mlp(HiddenActivation::Relu), Inputs::default(), choices()), None);
    for mixer in ["aaren", "gru", "lstm"] {
        let config = PolicyConfig { max_timesteps: 0, ..config(mixer) };
        let network = ActorCriticConfig::Recurrent(config);
        add(&format!("PPO's {mixer}"), actor_critic(network.clone(), Inputs::default(), continuous()), None);
        for (parts, inputs) in [
            ("the last action", Inputs { action: true, reward: false }),
            ("the last reward", Inputs { action: false, reward: true }),
            ("both", Inputs { action: true, reward: true }),
        ] {
            add(&format!("PPO's {mixer}, shown {parts}"), actor_critic(network.clone(), inputs, continuous()), None);
            add(&format!("PPO's {mixer}, choices, shown {parts}"), actor_critic(network.clone(), inputs, choices()), None);
        }
    }
    all
}

const READER: &str = r#"
import json, sys
import numpy as np
import onnxruntime
try:
    import onnx
except ImportError:
    onnx = None
DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
worst = {}
for case in json.load(open(sys.argv[1])):
    if onnx:
        onnx.checker.check_model(onnx.load(case["file"]), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(case["file"], options, providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    states = json.loads(meta["states"])
    inputs = {i.name: i for i in session.get_inputs()}
    outputs = [o.name for o in session.get_outputs()]
    assert sorted(outputs) == sorted(["action"] + ["next." + s for s in states]), outputs
    for i in inputs.values():
        assert i.shape[0] == "batch", i.shape
    zeros = lambda i: np.zeros([2] + i.shape[1:], DTYPES[i.type])
    carried = {"state." + s: zeros(inputs["state." + s]) for s in states}
    distance, exact = 0.0, True
    for step in case["steps"]:
        given = {"observation": np.array(step["observation"]), "reset": np.array(step["reset"])[:, None]}
        given |= {"reward": np.array(step["reward"])[:, None], "target_return": np.array(step["target"])[:, None]}
        given = {k: v for k, v in given.items() if k in inputs}
        found = dict(zip(outputs, session.run(outputs, given | carried)))
        carried = {"state." + s: found["next." + s] for s in states}
        distance = max(distance, abs(found["action"] - np.array(step["action"])).max())
    worst[case["name"]] = float(distance)
print(json.dumps(worst))
"#;

#[test]
fn a_runtime_of_onnx_plays_policies_as_they_are_played_here() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    if !Command::new(&python).args(["-c", "import onnxruntime"]).output().is_ok_and(|output| output.status.success()) {
        println!("skipped: {python} has no onnxruntime");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut cases = Vec::new();
    let mut differ = Vec::new();
    for (index, (name, policy, window)) in policies().into_iter().enumerate() {
        let file = folder.path().join(format!("{index}.onnx"));
        fs::write(&file, model(&policy, window, Some(4.0)).unwrap()).unwrap();
        let source = Source { path: "test".into(), policy, window, target_return: None };
        let mut players = [Player::new(source.clone()).unwrap(), Player::new(source).unwrap()];
        let mut steps = Vec::new();
        for step in 0..STEPS {
            let (mut observations, mut rewards, mut resets, mut targets, mut actions) = (vec![], vec![], vec![], vec![], vec![]);
            for (row, player) in players.iter_mut().enumerate() {
                let at = (step * (row + 2)) as f64;
                let observation = [(at * 0.37).sin() * 2.0, (at * 0.21).cos() - 1.0, 1000.0 + (step % 7) as f64 * 0.3];
                let (reset, target) = (step == 0 || step % (23 + 40 * row) == 11, 5.0 + row as f64 + (step % 3) as f64);
                if reset {
                    player.begin(Some(target)).unwrap();
                }
                let reward = 0.1 * (step % 5) as f64;
                actions.push(match player.step(&observation, reward).unwrap() {
                    ActionBatch::Continuous(action) => json!(action),
                    ActionBatch::Discrete(action) => json!(action[0]),
                });
                observations.push(observation);
                rewards.push(reward);
                resets.push(reset);
                targets.push(target);
            }
            let keys =
                json!({ "observation": observations, "reward": rewards, "reset": resets, "target": targets, "action": actions });
            steps.push(keys);
        }
        let first = &steps[1]["action"];
        differ.push((name.clone(), steps.iter().any(|step| step["action"] != *first)));
        cases.push(json!({ "name": name, "file": file, "steps": steps }));
    }
    let (script, data) = (folder.path().join("reader.py"), folder.path().join("cases.json"));
    fs::write(&script, READER).unwrap();
    fs::write(&data, Value::from(cases).to_string()).unwrap();
    let output = Command::new(&python).arg(&script).arg(&data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let worst: Value = serde_json::from_slice(&output.stdout).unwrap();
    println!("{worst:#}");
    for (name, differs) in differ {
        assert!(differs, "{name}: every action is the same");
        let distance = worst[&name].as_f64().unwrap();
        assert!(distance <= 1e-5, "{name}: off by {distance}");
    }
}

#[test]
fn what_has_no_graph_is_refused_by_name() {
    let error = |policy: &AnyPolicy<Cpu>, window| format!("{:#}", model(policy, window, None).unwrap_err());
    for mixer in names() {
        let policy = decision(config(mixer), continuous());
        match mixer {
            "aaren" | "gru" | "lstm" => assert!(error(&policy, Some(4)).contains("--window 0")),
            "mlp" => assert!(model(&policy, Some(4), None).is_ok()),
            "transformer" => assert!(error(&policy, None).contains("--window N")),
            _ => assert!(error(&policy, None).contains(&format!("\"{mixer}\"")), "{}", error(&policy, None)),
        }
    }
    let mut rotary = config("transformer");
    rotary.options.transformer.rotary = Some(true);
    assert!(error(&decision(rotary, continuous()), Some(4)).contains("policy.options.transformer.rotary"));
    let monarch = PolicyConfig { feed_forward_kind: FeedForwardKind::Monarch, ..config("aaren") };
    assert!(error(&decision(monarch, continuous()), None).contains("feed_forward_kind"));
    let recurrent = ActorCriticConfig::Recurrent(PolicyConfig { max_timesteps: 0, ..config("transformer") });
    assert!(error(&actor_critic(recurrent, Inputs::default(), continuous()), None).contains("Transformer"));
}
