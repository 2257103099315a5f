//! The policy that acts is the policy that was trained; sizes; checkpoints.

use crate::common::*;
use aaren_kernels::Dropout;
use aaren_policy::mixer::names;
use aaren_policy::{
    ActionBatch, ActionSpec, ActionValue, DecisionNetwork, DecisionPolicy, Description, NormPlace, Normalizer, PolicyConfig,
    PolicyError, Timesteps, Tokens, checkpoint,
};
use burn::backend::{Autodiff, Flex};
use burn::prelude::*;

type Cpu = Flex;

fn device() -> burn::backend::flex::FlexDevice {
    Default::default()
}

/// A trajectory of raw numbers: observations, actions, returns-to-go.
struct Trajectory {
    observations: Vec<f64>,
    actions: Vec<f32>,
    returns_to_go: Vec<f64>,
}

fn trajectory(length: usize, seed: u64) -> Trajectory {
    Trajectory {
        observations: random(5 * length, seed),
        actions: random(2 * length, seed + 1).into_iter().map(|a| a as f32).collect(),
        returns_to_go: random(length, seed + 2).into_iter().map(|r| 20.0 * r).collect(),
    }
}

impl Trajectory {
    fn push(&self, timesteps: &mut Timesteps, description: &Description, t: usize) {
        let previous = t.checked_sub(1).map(|t| ActionValue::Continuous(&self.actions[2 * t..2 * t + 2]));
        timesteps.push(description, &self.observations[5 * t..5 * t + 5], previous, self.returns_to_go[t], t, t == 0);
    }
}

/// Acting one timestep at a time, environments side by side that start their episodes at different times, gives what one pass over
/// the packed trajectories gives.
#[test]
fn the_policy_that_acts_is_the_policy_that_was_trained() {
    for name in names() {
        for (tokens, norm) in [
            (Tokens::Separate, NormPlace::Pre),
            (Tokens::Merged, NormPlace::Pre),
            (Tokens::Normed, NormPlace::Pre),
            (Tokens::Observation, NormPlace::Pre),
            (Tokens::Published, NormPlace::Pre),
            (Tokens::Published, NormPlace::Post),
        ] {
            let mut policy = policy(name);
            policy.description.config.tokens = tokens;
            policy.description.config.norm = norm;
            let mut weights = policy.clone();
            weights.network = DecisionNetwork::new(&policy.description, 3, &device()).unwrap();
            let policy = weights;
            let rows: Vec<Vec<Trajectory>> = vec![
                vec![trajectory(70, 1)],
                vec![trajectory(13, 10), trajectory(57, 20)],
                vec![trajectory(69, 30), trajectory(1, 40)],
            ];

            let mut packed = Timesteps::new();
            for row in &rows {
                for trajectory in row {
                    (0..trajectory.returns_to_go.len()).for_each(|t| trajectory.push(&mut packed, &policy.description, t));
                }
            }
            let inputs = packed.to_tensors::<Cpu>(3, tokens, &device());
            let (outputs, _) = policy.network.forward(&inputs, policy.initial_state(3, &device()), Dropout::OFF);
            let outputs = numbers(outputs);

            let mut state = policy.initial_state(3, &device());
            for step in 0..70 {
                let mut timesteps = Timesteps::new();
                for row in &rows {
                    let first = row[0].returns_to_go.len();
                    let (trajectory, t) = if step < first { (&row[0], step) } else { (&row[1], step - first) };
                    trajectory.push(&mut timesteps, &policy.description, t);
                }
                let (actions, next) = policy.act(&timesteps, 3, state, &device());
                state = next;
                let ActionBatch::Continuous(actions) = actions else { panic!("continuous actions") };
                for row in 0..3 {
                    let output = &outputs[2 * (70 * row + step)..][..2];
                    let expected = [output[0], -2.0 + (output[1] + 1.0) * 3.0]; // bounds -1 .. 1 and -2 .. 4
                    for (found, expected) in actions[2 * row..2 * row + 2].iter().zip(expected) {
                        assert!(
                            (f64::from(*found) - expected).abs() < 2e-5,
                            "{name}, row {row}, step {step}: {found} is not {expected}"
                        );
                    }
                }
            }
        }
    }
}

/// What the policy does after one timestep, told a return.
fn answer(policy: &DecisionPolicy<Cpu>, observation: &[f64], return_to_go: f64) -> Vec<f64> {
    let mut timesteps = Timesteps::new();
    timesteps.push(&policy.description, observation, None, return_to_go, 0, true);
    let inputs = timesteps.to_tensors::<Cpu>(1, policy.description.config.tokens, &device());
    let (outputs, _) = policy.network.forward(&inputs, policy.initial_state(1, &device()), Dropout::OFF);
    numbers(outputs)
}

fn with_config(config: PolicyConfig) -> DecisionPolicy<Cpu> {
    let description = Description { config, ..description("mlp") };
    DecisionPolicy { network: DecisionNetwork::new(&description, 3, &device()).unwrap(), description }
}

#[test]
fn a_large_return_drowns_the_observation_unless_parts_are_normed() {
    let distance = |tokens: Tokens, return_to_go: f64| {
        let policy = with_config(PolicyConfig { tokens, ..description("mlp").config });
        let answers = [0.5, -1.0].map(|number| answer(&policy, &[number; 5], return_to_go));
        answers[0].iter().zip(&answers[1]).map(|(a, b)| (a - b).abs()).sum::<f64>()
    };
    let kept = |tokens| distance(tokens, 1000.0) / distance(tokens, 1.0);
    assert!(kept(Tokens::Merged) < 0.2, "{}", kept(Tokens::Merged));
    assert!(kept(Tokens::Normed) > 0.5, "{}", kept(Tokens::Normed));
}

#[test]
fn a_return_beyond_the_range_is_told_as_the_nearest_one() {
    let config = PolicyConfig { tokens: Tokens::Merged, ..description("mlp").config };
    let told = with_config(PolicyConfig { return_range: Some([-2.0, 6.0]), ..config.clone() });
    let untold = with_config(config);
    let observation = [0.3; 5];
    for (asked, nearest) in [(7.0, 6.0), (1e12, 6.0), (-2.5, -2.0), (5.0, 5.0)] {
        assert_eq!(answer(&told, &observation, asked), answer(&untold, &observation, nearest), "{asked}");
    }
    assert_ne!(answer(&untold, &observation, 7.0), answer(&untold, &observation, 6.0));
    for range in [[1.0, 0.0], [f64::NAN, 1.0], [0.0, f64::INFINITY]] {
        let error = PolicyConfig { return_range: Some(range), ..PolicyConfig::default() }.check().unwrap_err().to_string();
        assert!(error.contains("return_range"), "{error}");
    }
}

fn block_parameters(mixer: &str) -> usize {
    let config = PolicyConfig {
        mixer: mixer.into(),
        layers: 1,
        width: 512,
        heads: 8,
        feed_forward: 2048,
        max_timesteps: 0,
        ..Default::default()
    };
    let action = ActionSpec::Discrete { n: 3, start: 0 };
    let description = Description { config, action, normalizer: Normalizer::identity(2), ..description(mixer) };
    let network = DecisionNetwork::<Cpu>::new(&description, 1, &device()).unwrap();
    network.backbone().blocks()[0].num_params()
}

#[test]
fn a_block_has_as_many_parameters_as_published() {
    assert_eq!(block_parameters("transformer"), 3_152_384);
    assert_eq!(block_parameters("aaren"), 3_152_896);
}

/// The Decision Transformer for Hopper: 11 numbers of an observation, 3 of an action, 1,000 timesteps, 3 layers of 128.
#[test]
fn the_decision_transformer_has_as_many_parameters_as_published() {
    let config = PolicyConfig { mixer: "transformer".into(), heads: 1, max_timesteps: 1000, ..PolicyConfig::default() };
    let action = ActionSpec::Continuous { low: vec![-1.0; 3], high: vec![1.0; 3] };
    let hopper = Description { config, action, normalizer: Normalizer::identity(11), ..description("transformer") };
    let network = DecisionNetwork::<Cpu>::new(&hopper, 1, &device()).unwrap();
    assert_eq!((hopper.config.layers, hopper.config.width), (3, 128));
    network.backbone().blocks().iter().for_each(|block| assert_eq!(block.num_params(), 198_272));
    // The published model also predicts observations and returns, with two linear maps that its loss leaves out, and has no token that stands for
    // the action before the first. All the rest is shared.
    let (predicted, start) = (11 * 129 + 129, 128);
    assert_eq!(network.num_params(), 726_147);
    assert_eq!(network.num_params() - start + predicted, 727_567);
}

#[test]
fn equal_seeds_give_equal_weights() {
    let outputs = |seed| {
        let network = DecisionNetwork::<Cpu>::new(&description("aaren"), seed, &device()).unwrap();
        let mut timesteps = Timesteps::new();
        trajectory(4, 1).push(&mut timesteps, &description("aaren"), 2);
        let state = network.backbone().initial_state(1, &device());
        numbers(network.forward(&timesteps.to_tensors(1, Tokens::Separate, &device()), state, Dropout::OFF).0)
    };
    assert_eq!(outputs(7), outputs(7));
    assert_ne!(outputs(7), outputs(8));
}

#[test]
fn a_loaded_policy_is_the_saved_one() {
    for name in names() {
        let folder = tempfile::tempdir().unwrap();
        let policy = policy(name);
        checkpoint::save(&policy, folder.path()).unwrap();
        let loaded = checkpoint::load::<Cpu>(folder.path(), &device()).unwrap();
        assert_eq!(loaded.description, policy.description);
        let mut timesteps = Timesteps::new();
        trajectory(9, 1).push(&mut timesteps, &policy.description, 0);
        let act = |policy: &aaren_policy::DecisionPolicy<Cpu>| {
            policy.act(&timesteps, 1, policy.initial_state(1, &device()), &device()).0
        };
        assert_eq!(act(&loaded), act(&policy));
    }
}

#[test]
fn loading_refuses_other_weights() {
    let folder = tempfile::tempdir().unwrap();
    let mut policy = policy("aaren");
    checkpoint::save(&policy, folder.path()).unwrap();
    policy.description.config.feed_forward = 36;
    let json = serde_json::to_string(&policy.description).unwrap();
    std::fs::write(folder.path().join(checkpoint::DESCRIPTION), json).unwrap();
    let error = checkpoint::load::<Cpu>(folder.path(), &device()).unwrap_err();
    assert!(matches!(error, PolicyError::Weights { .. }) && error.to_string().contains("Shape mismatch"), "{error}");

    let weights = folder.path().join(checkpoint::WEIGHTS);
    let bytes = std::fs::read(&weights).unwrap();
    for length in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&weights, &bytes[..length]).unwrap();
        let error = checkpoint::load::<Cpu>(folder.path(), &device()).unwrap_err();
        assert!(error.to_string().contains("not a file of weights"), "{length} bytes: {error}");
    }
}

#[test]
fn observation_tokens_see_the_observation_alone() {
    let mut description = description("mlp");
    description.config.tokens = Tokens::Observation;
    let network = DecisionNetwork::<Cpu>::new(&description, 7, &device()).unwrap();
    let outputs = |seen: u64, before: u64, return_to_go: f64, t: usize| {
        let mut timesteps = Timesteps::new();
        let action = trajectory(1, before).actions;
        let previous = (t > 0).then_some(ActionValue::Continuous(&action));
        timesteps.push(&description, &trajectory(1, seen).observations, previous, return_to_go, t, false);
        let state = network.backbone().initial_state(1, &device());
        numbers(network.forward(&timesteps.to_tensors(1, Tokens::Observation, &device()), state, Dropout::OFF).0)
    };
    assert_eq!(outputs(1, 2, 3.0, 0), outputs(1, 5, -30.0, 8));
    assert_ne!(outputs(1, 2, 3.0, 0), outputs(6, 2, 3.0, 0));
}

/// Every parameter of the policy gets a gradient, and a step against it lowers the loss.
#[test]
fn every_parameter_learns() {
    for name in names() {
        for action in [description(name).action, ActionSpec::Discrete { n: 4, start: -1 }] {
            let description = Description { action, ..description(name) };
            let network = DecisionNetwork::<Autodiff<Cpu>>::new(&description, 5, &device()).unwrap();
            let (mut timesteps, mut targets) = (Timesteps::new(), Vec::new());
            let data = trajectory(12, 50);
            for t in 0..12 {
                let previous = (t > 0).then(|| match &description.action {
                    ActionSpec::Continuous { .. } => ActionValue::Continuous(&data.actions[2 * t - 2..2 * t]),
                    ActionSpec::Discrete { .. } => ActionValue::Discrete((t % 4) as i64 - 1),
                });
                timesteps.push(&description, &data.observations[5 * t..5 * t + 5], previous, data.returns_to_go[t], t, t == 0);
                match &description.action {
                    ActionSpec::Continuous { .. } => {
                        description.action.encode(ActionValue::Continuous(&data.actions[2 * t..2 * t + 2]), &mut targets)
                    }
                    ActionSpec::Discrete { .. } => {
                        description.action.encode(ActionValue::Discrete(((t * 7) % 4) as i64 - 1), &mut targets)
                    }
                }
            }
            let targets: Tensor<Autodiff<Cpu>, 2> =
                Tensor::from_data(TensorData::new(targets, [12, description.action.width()]), &device());
            let inputs = timesteps.to_tensors(3, Tokens::Separate, &device());
            let state = network.backbone().initial_state(3, &device());
            let (loss, _) = network.loss(&inputs, targets, state, Dropout { probability: 0.1, seed: 3 });
            let gradients = loss.backward();
            struct Check<'a>(&'a <Autodiff<Cpu> as burn::tensor::backend::AutodiffBackend>::Gradients, usize, &'a str);
            impl burn::module::ModuleVisitor<Autodiff<Cpu>> for Check<'_> {
                fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<Autodiff<Cpu>, D>>) {
                    if !param.val().is_require_grad() {
                        self.1 += 1;
                        return; // drawn, not trained
                    }
                    let gradient = param
                        .val()
                        .grad(self.0)
                        .unwrap_or_else(|| panic!("{}: parameter {} {:?} has no gradient", self.2, self.1, param.val().dims()));
                    let largest = numbers(gradient).into_iter().fold(0.0f64, |m, g| m.max(g.abs()));
                    assert!(largest.is_finite(), "parameter {}: gradient of {largest}", self.1);
                    self.1 += 1;
                }
            }
            let mut check = Check(&gradients, 0, name);
            network.visit(&mut check);
            assert!(check.1 >= 30, "{} parameters", check.1);
        }
    }
}

/// burn-store frees a network twice where a tensor is no float, and an actor panics where it is one of another precision.
#[test]
fn only_weights_in_single_precision_are_loaded() {
    use safetensors::Dtype::{self, *};
    let folder = tempfile::tempdir().unwrap();
    let policy = policy("aaren");
    checkpoint::save(&policy, folder.path()).unwrap();
    let path = folder.path().join(checkpoint::WEIGHTS);
    let bytes = std::fs::read(&path).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let size = |dtype: Dtype| dtype.bitsize() / 8;
    for dtype in [BOOL, U8, I8, I16, U16, F16, BF16, I32, U32, F32, F64, I64, U64] {
        for changed in ["head.output.bias", "tokens.start"] {
            let zeros = vec![0; 8 * bytes.len()];
            let views = stored.iter().map(|(name, view)| {
                let dtype = if name == changed { dtype } else { view.dtype() };
                let count: usize = view.shape().iter().product();
                let data = if name == changed { &zeros[..count * size(dtype)] } else { view.data() };
                (name.to_owned(), safetensors::tensor::TensorView::new(dtype, view.shape().to_vec(), data).unwrap())
            });
            std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
            let loaded = checkpoint::load_any::<Cpu>(folder.path(), &device());
            if dtype == F32 {
                loaded.unwrap();
                continue;
            }
            let error = loaded.unwrap_err().to_string();
            assert!(error.contains(changed) && error.contains(&format!("{dtype:?}")) && error.contains("F32"), "{error}");
        }
    }
}

#[test]
fn sizes_are_held_against_the_weights_before_a_network_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let policy = policy("mamba");
    checkpoint::save(&policy, folder.path()).unwrap();
    let load = |change: &dyn Fn(&mut Description)| {
        let mut description = policy.description.clone();
        change(&mut description);
        let json = serde_json::to_string(&description).unwrap();
        std::fs::write(folder.path().join(checkpoint::DESCRIPTION), json).unwrap();
        checkpoint::load_any::<Cpu>(folder.path(), &device()).map(drop).unwrap_err().to_string()
    };
    let heads = policy.description.config.heads;
    for size in [usize::MAX >> 1, 1 << 62, 1 << 33, 1 << 31, 1 << 24] {
        for error in [
            load(&|description| description.config.feed_forward = size),
            load(&|description| description.config.layers = size),
            load(&|description| description.config.width = size / heads * heads),
            load(&|description| description.config.max_timesteps = size),
            load(&|description| description.action = ActionSpec::Discrete { n: size, start: 0 }),
            load(&|description| description.config.options.mamba.expansion = size),
        ] {
            assert!(error.contains("expected") || error.contains("at least"), "{size}: {error}");
        }
    }
    assert!(load(&|description| description.config.options.mamba.expansion = 64).contains("at least"));
    // What is counted is never more than there is.
    for name in names() {
        let policy = self::policy(name);
        checkpoint::save(&policy, folder.path()).unwrap();
        checkpoint::load_any::<Cpu>(folder.path(), &device()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn a_stored_model_is_read_with_the_options_that_it_was_trained_with() {
    let of_layers = |layers: usize, mixer: &str, change: fn(&mut serde_json::Value)| {
        let mut policy = policy("aaren");
        policy.description.config = PolicyConfig { mixer: mixer.into(), layers, ..policy.description.config };
        policy.network = DecisionNetwork::new(&policy.description, 3, &device()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        checkpoint::save(&policy, folder.path()).unwrap();
        let path = folder.path().join(checkpoint::DESCRIPTION);
        let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut json["config"]["options"]);
        std::fs::write(&path, json.to_string()).unwrap();
        checkpoint::load_description(folder.path()).unwrap_or_else(|error| panic!("{mixer}: {error}")).config
    };
    let stored = |mixer: &str, change| of_layers(3, mixer, change);
    let as_stored = |_: &mut serde_json::Value| {};
    let older = |options: &mut serde_json::Value| {
        for (mixer, key) in [("monarch", "residual"), ("perceiver", "residual"), ("window", "rotary"), ("transformer", "rotary")]
        {
            options[mixer].as_object_mut().unwrap().remove(key).unwrap();
        }
    };
    // Of what it has no block of, a model says nothing.
    assert_eq!(of_layers(2, "based", older), of_layers(2, "based", as_stored));
    assert_eq!(stored("aaren", older), stored("aaren", as_stored));
    assert_eq!(stored("transformer", older).options.transformer.rotary, None);

    assert!(!stored("perceiver", older).options.perceiver.residual && stored("perceiver", as_stored).options.perceiver.residual);
    assert!(!stored("monarch", older).options.monarch.residual && stored("monarch", as_stored).options.monarch.residual);
    for mixer in ["window", "based"] {
        assert!(!stored(mixer, older).options.window.rotary && stored(mixer, as_stored).options.window.rotary, "{mixer}");
    }
    assert_eq!(stored("striped-hyena", older).options.transformer.rotary, Some(false));
    assert_eq!(stored("striped-hyena", as_stored).options.transformer.rotary, None);
}
