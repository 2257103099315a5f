//! Decision Transformers of other programs give their own answers here. tests/fixtures/decision_transformer has tiny ones, made by make.py
//! there; larger ones with the answers of the original code lie in ../shared beside the checkout.

use crate::common::*;
use aaren_kernels::Dropout;
use aaren_policy::published::{Program, Published};
use aaren_policy::{
    ActionBatch, ActionSpec, ActionValue, DecisionNetwork, DecisionPolicy, Description, Normalizer, PolicyError, Timesteps,
    Tokens,
};
use burn::backend::Flex;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// What the issue allows.
const TOLERANCE: f64 = 1e-5;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/decision_transformer")
}

/// Models, what wrote them, and their answers.
fn models() -> Vec<(PathBuf, Program, Value)> {
    let mut found = Vec::new();
    let mut add = |folder: &Path, model: &str, program, answers: &str| {
        let answers = fs::read_to_string(folder.join(answers)).unwrap();
        found.push((folder.join(model), program, serde_json::from_str(&answers).unwrap()));
    };
    let here = here();
    add(&here, "hf", Program::Hf, "hf.json");
    add(&here, "corl.pt", Program::Corl, "corl.json");
    add(&here, "min-dt.pt", Program::MinDt, "min-dt.json");
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/fixtures/decision_transformer");
    if shared.is_dir() {
        for (model, program, answers) in [
            ("hf-relu", Program::Hf, "hf-relu.json"),
            ("hf-gelu_new", Program::Hf, "hf-gelu_new.json"),
            ("hf-relu/model.safetensors", Program::Hf, "hf-relu.json"),
            ("corl.pt", Program::Corl, "corl.json"),
            ("corl.safetensors", Program::Corl, "corl.json"),
            ("min-dt.pt", Program::MinDt, "min-dt.json"),
            ("min-dt.safetensors", Program::MinDt, "min-dt.json"),
        ] {
            add(&shared, model, program, answers);
        }
    } else {
        println!("skipped: {} is not here", shared.display());
    }
    found
}

/// A model as a policy of numbers that are normalized already.
fn policy_of(model: &Path, program: Program, answers: &Value) -> DecisionPolicy<Flex> {
    let published = Published::read(model, program, answers["heads"].as_u64().map(|heads| heads as usize)).unwrap();
    let description = Description {
        normalizer: Normalizer::identity(published.observation_width),
        action: ActionSpec::Continuous { low: vec![-1.0; published.action_width], high: vec![1.0; published.action_width] },
        config: published.config.clone(),
        ..description("transformer")
    };
    DecisionPolicy { network: published.network(&description, &Default::default()).unwrap(), description }
}

fn floats(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(floats).collect(),
        number => vec![number.as_f64().unwrap()],
    }
}

/// Whether a timestep of a window is the policy's `at`, and which action it is told of before the first.
#[derive(Clone, Copy)]
struct Way {
    shift: usize,
    garbage: f32,
    tokens: Tokens,
}

const AS_PUBLISHED: Way = Way { shift: 0, garbage: 0.7, tokens: Tokens::Published };

/// The largest distance from the answers over all windows.
fn distance(policy: &DecisionPolicy<Flex>, answers: &Value, way: Way, streams: bool) -> f64 {
    let device = Default::default();
    let (width, actions) = (policy.description.normalizer.width(), policy.description.action.width());
    let mut worst = 0.0f64;
    let windows = answers["windows"].as_array().unwrap();
    assert!(windows.iter().any(|window| window["timesteps"].as_array().unwrap().len() > 2));
    for window in windows {
        let [states, taken, returns, expected] =
            ["states", "actions", "returns_to_go", "action_preds"].map(|key| floats(&window[key]));
        let mut whole = Timesteps::new();
        let push = |timesteps: &mut Timesteps, i: usize| {
            // What was done before the window is known to whoever acts, and must not matter.
            let before: Vec<f32> = match i.checked_sub(1) {
                Some(i) => taken[actions * i..][..actions].iter().map(|&a| a as f32).collect(),
                None => vec![way.garbage; actions],
            };
            let timestep = window["timesteps"][i].as_u64().unwrap() as usize + way.shift;
            let state = &states[width * i..][..width];
            timesteps.push(&policy.description, state, Some(ActionValue::Continuous(&before)), returns[i], timestep, i == 0);
        };
        let outputs = if streams {
            let mut state = policy.initial_state(1, &device);
            let mut outputs = Vec::new();
            for i in 0..returns.len() {
                let mut one = Timesteps::new();
                push(&mut one, i);
                let (action, next) = policy.act(&one, 1, state, &device);
                state = next;
                let ActionBatch::Continuous(action) = action else { panic!("continuous actions") };
                outputs.extend(action.into_iter().map(f64::from));
            }
            outputs
        } else {
            (0..returns.len()).for_each(|i| push(&mut whole, i));
            let inputs = whole.to_tensors(1, way.tokens, &device);
            numbers(policy.network.forward(&inputs, policy.initial_state(1, &device), Dropout::OFF).0)
        };
        assert_eq!(outputs.len(), expected.len());
        worst = outputs.iter().zip(&expected).fold(worst, |worst, (a, b)| worst.max((a - b).abs()));
    }
    worst
}

/// The return scale of the answers' windows is 1: they are what the model is told.
fn told(mut policy: DecisionPolicy<Flex>) -> DecisionPolicy<Flex> {
    policy.description.config.return_scale = Some(1.0);
    policy
}

#[test]
fn published_models_give_their_own_answers() {
    for (model, program, answers) in models() {
        let policy = told(policy_of(&model, program, &answers));
        for streams in [false, true] {
            let found = distance(&policy, &answers, AS_PUBLISHED, streams);
            assert!(found <= TOLERANCE, "{}: off by {found}", model.display());
        }
    }
}

/// A test that would not see a mistake says nothing.
#[test]
fn what_is_special_about_published_models_matters() {
    for (model, program, answers) in models() {
        let policy = told(policy_of(&model, program, &answers));
        let shifted = distance(&policy, &answers, Way { shift: 1, ..AS_PUBLISHED }, false);
        assert!(shifted > 10.0 * TOLERANCE, "{}: the timestep does not matter", model.display());
        // The action token with its neighbours' timestep, and what was done before the window seen.
        let mut separate = policy.description.clone();
        separate.config.tokens = Tokens::Separate;
        let published = Published::read(&model, program, answers["heads"].as_u64().map(|heads| heads as usize)).unwrap();
        let error = published.network::<Flex>(&separate, &Default::default()).unwrap_err();
        assert!(error.to_string().contains("tokens.start"), "{error}");
    }
}

#[test]
fn without_the_first_position_a_model_of_hugging_face_answers_otherwise() {
    let (model, program, answers) = models().remove(0);
    let folder = tempfile::tempdir().unwrap();
    fs::copy(model.join("config.json"), folder.path().join("config.json")).unwrap();
    edit(&model.join("model.safetensors"), &folder.path().join("model.safetensors"), |name, _, numbers| {
        if name == "encoder.wpe.weight" {
            numbers.fill(0.0);
        }
    });
    let policy = told(policy_of(folder.path(), program, &answers));
    assert!(distance(&policy, &answers, AS_PUBLISHED, false) > 10.0 * TOLERANCE);
}

/// Writes a file of tensors with changes.
fn edit(from: &Path, to: &Path, mut change: impl FnMut(&mut String, &mut Vec<usize>, &mut Vec<f32>)) {
    let bytes = fs::read(from).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = Vec::new();
    for (name, view) in stored.iter() {
        let numbers = view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
        let (mut name, mut shape, mut numbers): (_, _, Vec<f32>) = (name.to_owned(), view.shape().to_vec(), numbers);
        change(&mut name, &mut shape, &mut numbers);
        if !name.is_empty() {
            tensors.push((name, shape, numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>()));
        }
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    fs::write(to, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn refused(path: &Path, program: Program) -> String {
    match Published::read(path, program, None) {
        Err(error @ (PolicyError::Weights { .. } | PolicyError::Size { .. } | PolicyError::File { .. })) => error.to_string(),
        other => panic!("{}: {other:?}", path.display()),
    }
}

#[test]
fn what_cannot_be_mapped_is_refused_by_name() {
    let source = here().join("hf");
    let folder = tempfile::tempdir().unwrap();
    let [config, weights] = ["config.json", "model.safetensors"].map(|name| folder.path().join(name));
    fs::copy(source.join("model.safetensors"), &weights).unwrap();
    let json: Value = serde_json::from_str(&fs::read_to_string(source.join("config.json")).unwrap()).unwrap();
    for (key, value) in [
        ("activation_function", Value::from("silu")),
        ("scale_attn_by_inverse_layer_idx", true.into()),
        ("scale_attn_weights", false.into()),
        ("layer_norm_epsilon", 1e-6.into()),
        ("action_tanh", false.into()),
        ("add_cross_attention", true.into()),
        ("model_type", "gpt2".into()),
    ] {
        let mut changed = json.clone();
        changed[key] = value;
        fs::write(&config, changed.to_string()).unwrap();
        let error = refused(folder.path(), Program::Hf);
        assert!(error.contains(key) && error.contains("expected"), "{error}");
    }
    fs::write(&config, json.to_string()).unwrap();

    type Change = fn(&mut String, &mut Vec<usize>, &mut Vec<f32>);
    let changes: [(&str, Change); 5] = [
        ("encoder.h.0.more.weight", |name, _, _| *name = name.replace("predict_state.weight", "encoder.h.0.more.weight")),
        ("encoder.h.1.ln_2.bias", |name, _, _| *name = name.replace("encoder.h.1.ln_2.bias", "")),
        ("embed_state.weight", |name, shape, _| shape.rotate_left(usize::from(name == "embed_state.weight"))),
        ("predict_action.0.bias", |name, _, numbers| {
            numbers[0] = if name == "predict_action.0.bias" { f32::NAN } else { numbers[0] }
        }),
        ("encoder.h.2.ln_1.bias", |name, _, _| *name = name.replace("predict_return.bias", "encoder.h.2.ln_1.bias")),
    ];
    for (tensor, change) in changes {
        edit(&source.join("model.safetensors"), &weights, change);
        let error = refused(folder.path(), Program::Hf);
        assert!(error.contains(&format!("\"{tensor}\"")), "{tensor}: {error}");
    }
    fs::remove_file(&config).unwrap();
    assert!(refused(folder.path(), Program::Hf).contains("config.json"));
    fs::remove_file(&weights).unwrap();
    fs::copy(source.join("config.json"), &config).unwrap();
    assert!(refused(folder.path(), Program::Hf).contains("pytorch_model.bin"));

    // One program's file is not another's.
    let error = refused(&here().join("min-dt.pt"), Program::Corl);
    assert!(error.contains("\"state_emb.weight\" is missing") && error.contains("--from"), "{error}");
    let uneven = Published::read(&here().join("corl.pt"), Program::Corl, Some(5)).unwrap_err().to_string();
    assert!(uneven.contains("policy.heads"), "{uneven}");
}

#[test]
fn a_damaged_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for (file, program) in [("corl.pt", Program::Corl), ("min-dt.pt", Program::MinDt)] {
        let whole = fs::read(here().join(file)).unwrap();
        for length in [0, 1, 3, 100, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            refused(&path, program);
        }
        // A bit here and there: what is read is refused or a model, and never a panic.
        for at in (0..whole.len()).step_by(61) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x41;
            fs::write(&path, &flipped).unwrap();
            drop(Published::read(&path, program, None));
        }
    }
    fs::write(&path, b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.").unwrap();
    let error = refused(&path, Program::MinDt);
    assert!(error.contains("before 1.6") && error.contains("state_dict()"), "{error}");
}

#[test]
fn a_file_says_how_long_its_windows_were_and_how_states_are_normalized() {
    let corl = Published::read(&here().join("corl.pt"), Program::Corl, Some(3)).unwrap();
    assert_eq!((corl.context_length, corl.observation_width, corl.action_width), (Some(5), 4, 2));
    assert_eq!(corl.statistics, Some((vec![0.1, -0.2, 0.3, 0.0], vec![0.5, 2.0, 1.5, 1.0])));
    assert_eq!(corl.left_out, ["blocks.0.causal_mask", "blocks.1.causal_mask"]);
    let min_dt = Published::read(&here().join("min-dt.pt"), Program::MinDt, Some(3)).unwrap();
    assert_eq!((min_dt.context_length, min_dt.statistics), (Some(5), None));
    let hf = Published::read(&here().join("hf"), Program::Hf, None).unwrap();
    assert_eq!((hf.context_length, hf.statistics, hf.config.heads), (None, None, 3));
    assert!(hf.left_out.contains(&"predict_return.weight".to_owned()));
}

/// A policy with published tokens that has weights of every mixer: its first action is that of a sequence without a past.
#[test]
fn published_tokens_begin_with_a_return_whatever_was_done_before() {
    for name in aaren_policy::mixer::names() {
        let mut description = description(name);
        description.config.tokens = Tokens::Published;
        let network = DecisionNetwork::<Flex>::new(&description, 3, &Default::default()).unwrap();
        let outputs = |before: Option<f32>, past: bool| {
            let mut timesteps = Timesteps::new();
            let push = |timesteps: &mut Timesteps, action: Option<f32>, t: usize, reset| {
                let action = action.map(|action| [action; 2]);
                let action = action.as_ref().map(|action| ActionValue::Continuous(action));
                timesteps.push(&description, &[0.3 * t as f64; 5], action, 4.0, t, reset);
            };
            if past {
                (5..9).for_each(|t| push(&mut timesteps, Some(0.9), t, t == 5));
            }
            (9..13).for_each(|t| push(&mut timesteps, if t == 9 { before } else { Some(-0.4) }, t, t == 9));
            let inputs = timesteps.to_tensors(1, Tokens::Published, &Default::default());
            let state = network.backbone().initial_state(1, &Default::default());
            let outputs = numbers(network.forward(&inputs, state, Dropout::OFF).0);
            outputs[outputs.len() - 8..].to_vec()
        };
        let expected = outputs(None, false);
        for found in [outputs(Some(0.5), false), outputs(None, true), outputs(Some(-0.8), true)] {
            near(&found, &expected, 1e-5);
        }
    }
}
