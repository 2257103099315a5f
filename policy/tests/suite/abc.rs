//! Attention with bounded memory.

use std::collections::BTreeMap;

use aaren_policy::mixer::{AnyMixer, Options, Sizes};
use aaren_policy::{Dropout, Init, PolicyConfig, Reset};
use burn::backend::{Autodiff, Flex};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData, backend::Backend};

use crate::common::{assert_close, numbers, random, random_reset, random_tensor};
use crate::mixers::{weights, with_weights};

type Cpu = Flex;

const WIDTH: usize = 12;
const HEADS: usize = 3;
const SLOTS: usize = 5;

fn device() -> burn::backend::flex::FlexDevice {
    Default::default()
}

fn sizes(width: usize, heads: usize) -> Sizes {
    PolicyConfig { width, heads, ..Default::default() }.sizes()
}

fn abc(width: usize, heads: usize, slots: usize, seed: u64) -> AnyMixer<Cpu> {
    let mut options = Options::default();
    options.abc.slots = slots;
    AnyMixer::new("abc", sizes(width, heads), &options, &mut Init::new(seed), &device()).unwrap()
}

fn outputs(mixer: &AnyMixer<Cpu>, x: Tensor<Cpu, 3>, reset: &Reset<Cpu>) -> Tensor<Cpu, 3> {
    let rows = x.dims()[0];
    mixer.forward(x, reset, mixer.initial_state(rows, &device()), Dropout::OFF).0
}

/// Rows times a dense layer of weights by name.
fn dense(x: &[f64], weights: &BTreeMap<String, Vec<f64>>, name: &str, outputs: usize) -> Vec<f64> {
    let (weight, bias) = (&weights[&format!("Abc.{name}.weight")], &weights[&format!("Abc.{name}.bias")]);
    (0..outputs).map(|to| bias[to] + x.iter().enumerate().map(|(from, x)| x * weight[from * outputs + to]).sum::<f64>()).collect()
}

/// The formulas, token by token in f64.
fn plain(x: &[f64], resets: &[bool], weights: &BTreeMap<String, Vec<f64>>, slots: usize) -> Vec<f64> {
    let head_dim = WIDTH / HEADS;
    let mut y = Vec::new();
    let mut begun = 0;
    let tokens: Vec<&[f64]> = x.chunks_exact(WIDTH).collect();
    for (t, token) in tokens.iter().enumerate() {
        begun = if resets[t] { t } else { begun };
        let query = dense(token, weights, "query", WIDTH);
        let mut joined = Vec::new();
        for head in 0..HEADS {
            let own = head * head_dim..(head + 1) * head_dim;
            let (mut asked, mut values) = (Vec::new(), Vec::new());
            for slot in 0..slots {
                let column = head * slots + slot;
                let score = |token: &[f64]| {
                    let weight = &weights["Abc.score"];
                    token.iter().enumerate().map(|(from, x)| x * weight[from * HEADS * slots + column]).sum::<f64>()
                        + weights["Abc.score_offset"][column]
                };
                let scores: Vec<f64> = tokens[begun..=t].iter().map(|token| score(token)).collect();
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = scores.iter().map(|score| (score - most).exp()).sum();
                let (mut key, mut value) = (vec![0.0; head_dim], vec![0.0; head_dim]);
                for (token, score) in tokens[begun..=t].iter().zip(&scores) {
                    let share = (score - most).exp() / sum;
                    let (k, v) = (dense(token, weights, "key", WIDTH), dense(token, weights, "value", WIDTH));
                    for at in 0..head_dim {
                        key[at] += share * k[own.start + at];
                        value[at] += share * v[own.start + at];
                    }
                }
                let product: f64 = query[own.clone()].iter().zip(&key).map(|(q, k)| q * k).sum();
                asked.push(product / (head_dim as f64).sqrt());
                values.push(value);
            }
            let most = asked.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = asked.iter().map(|asked| (asked - most).exp()).sum();
            joined.extend(
                (0..head_dim).map(|at| {
                    asked.iter().zip(&values).map(|(asked, value)| (asked - most).exp() / sum * value[at]).sum::<f64>()
                }),
            );
        }
        y.extend(dense(&joined, weights, "output", WIDTH));
    }
    y
}

#[test]
fn outputs_are_those_of_the_formulas() {
    let mixer = abc(WIDTH, HEADS, SLOTS, 3);
    let time = 17;
    let (x, reset) = (random_tensor::<Cpu, 3>([1, time, WIDTH], 4), random_reset::<Cpu>(1, time, 6, 5));
    let resets: Vec<bool> = (0..time).map(|t| reset.at(0, t)).collect();
    assert!(resets.iter().filter(|reset| **reset).count() > 1);
    let expected = plain(&numbers(x.clone()), &resets, &weights(&mixer), SLOTS);
    let expected = Tensor::<Cpu, 3>::from_data(
        TensorData::new(expected.into_iter().map(|x| x as f32).collect::<Vec<_>>(), [1, time, WIDTH]),
        &device(),
    );
    assert_close(outputs(&mixer, x, &reset), expected, 1e-5, "abc");
}

#[test]
fn one_slot_is_aaren() {
    let aaren = AnyMixer::<Cpu>::new("aaren", sizes(WIDTH, HEADS), &Options::default(), &mut Init::new(1), &device()).unwrap();
    let aaren = with_weights(aaren, |path| {
        // Scores that tell tokens apart.
        path.ends_with("query_token").then(|| random(WIDTH, 9).into_iter().map(|x| 40.0 * x).collect())
    });
    let of_aaren = weights(&aaren);
    let weight = |name: &str| of_aaren[&format!("Aaren.{name}")].clone();
    let (head_dim, token) = (WIDTH / HEADS, weight("query_token"));
    let query: Vec<f64> = (0..WIDTH)
        .map(|to| {
            weight("query.bias")[to] + (0..WIDTH).map(|from| token[from] * weight("query.weight")[from * WIDTH + to]).sum::<f64>()
        })
        .collect();
    let scale = 1.0 / (head_dim as f64).sqrt();
    let of_head = |keys: &dyn Fn(usize) -> f64, head: usize| {
        (head * head_dim..(head + 1) * head_dim).map(|at| scale * query[at] * keys(at)).sum::<f64>()
    };
    let (keys, offsets) = (weight("key.weight"), weight("key.bias"));
    let map: Vec<f64> = (0..WIDTH * HEADS).map(|at| of_head(&|column| keys[at / HEADS * WIDTH + column], at % HEADS)).collect();
    let offset: Vec<f64> = (0..HEADS).map(|head| of_head(&|column| offsets[column], head)).collect();
    let mixer = with_weights(abc(WIDTH, HEADS, 1, 2), |path| match path.strip_prefix("Abc.").unwrap() {
        "score" => Some(map.clone()),
        "score_offset" => Some(offset.clone()),
        own if own.starts_with("value.") || own.starts_with("output.") => Some(weight(own)),
        _ => None,
    });
    let (x, reset) = (random_tensor::<Cpu, 3>([2, 13, WIDTH], 3), random_reset(2, 13, 6, 4));
    assert_close(outputs(&mixer, x.clone(), &reset), outputs(&aaren, x, &reset), 1e-5, "one slot");
}

#[test]
fn the_order_of_slots_is_nothing_and_who_asks_nothing_gets_their_mean() {
    let mixer = abc(WIDTH, HEADS, SLOTS, 3);
    let (x, reset) = (random_tensor::<Cpu, 3>([2, 9, WIDTH], 4), random_reset(2, 9, 4, 5));
    let expected = outputs(&mixer, x.clone(), &reset);
    let score = weights(&mixer)["Abc.score"].clone();
    let turned = |at: usize| {
        let (row, column) = (at / (HEADS * SLOTS), at % (HEADS * SLOTS));
        score[row * HEADS * SLOTS + column / SLOTS * SLOTS + (column + 2) % SLOTS]
    };
    let permuted =
        with_weights(abc(WIDTH, HEADS, SLOTS, 3), |path| (path == "Abc.score").then(|| (0..score.len()).map(turned).collect()));
    assert_close(outputs(&permuted, x.clone(), &reset), expected, 1e-5, "another order of slots");
    // Without a query the read is the mean of the slots: of mixers with one slot each.
    let silent = |slots: usize, of: &dyn Fn(usize) -> f64| {
        with_weights(abc(WIDTH, HEADS, slots, 3), |path| match path {
            "Abc.query.weight" => Some(vec![0.0; WIDTH * WIDTH]),
            "Abc.query.bias" => Some(vec![0.0; WIDTH]),
            "Abc.score" => Some((0..WIDTH * HEADS * slots).map(of).collect()),
            _ => None,
        })
    };
    let mean = outputs(&silent(SLOTS, &|at| score[at]), x.clone(), &reset);
    let parts = (0..SLOTS).map(|slot| {
        let of = |at: usize| score[at / HEADS * HEADS * SLOTS + at % HEADS * SLOTS + slot];
        outputs(&silent(1, &of), x.clone(), &reset)
    });
    let sum = parts.reduce(|sum, part| sum + part).unwrap();
    assert_close(mean, sum / SLOTS as f64, 1e-5, "the mean of the slots");
}

#[test]
fn sharp_slots_are_a_table_that_is_looked_up() {
    // Four tokens that each belong to a slot of their own, and a fifth that asks for one of them.
    let (width, slots) = (8, 4);
    let one_hot = |at: usize| (0..width).map(move |column| if column == at { 1.0 } else { 0.0 });
    let square = |of: &dyn Fn(usize, usize) -> f64| (0..width * width).map(|at| of(at / width, at % width)).collect::<Vec<f64>>();
    let values = random(width * width, 7);
    for asked in 0..4 {
        let mixer = with_weights(abc(width, 1, slots, 1), |path| match path.strip_prefix("Abc.").unwrap() {
            "score" => Some((0..width * slots).map(|at| if at / slots == at % slots { 5000.0 } else { 0.0 }).collect()),
            "key.weight" => Some(square(&|from, to| if from == to { 1.0 } else { 0.0 })),
            // The fifth token has the key of none, and asks for one.
            "query.weight" => Some(square(&|from, to| if from == 4 && to == asked { 5000.0 } else { 0.0 })),
            "value.weight" => Some(values.clone()),
            "output.weight" => Some(square(&|from, to| if from == to { 1.0 } else { 0.0 })),
            _ => Some(vec![0.0; width]).filter(|_| path.ends_with("bias")),
        });
        let x: Vec<f32> = [2, 0, 3, 1, 4].into_iter().flat_map(one_hot).map(|x: f64| x as f32).collect();
        let x = Tensor::<Cpu, 3>::from_data(TensorData::new(x, [1, 5, width]), &device());
        let found = numbers(outputs(&mixer, x, &Reset::none(1, 5, &device())).slice([0..1, 4..5]));
        let expected: Vec<f64> = values[asked * width..(asked + 1) * width].iter().map(|x| f64::from(*x as f32)).collect();
        assert_eq!(found, expected, "{asked}");
    }
}

/// Sums of absolute gradients by the end of a parameter's name.
struct Gradients<'a, B: burn::tensor::backend::AutodiffBackend> {
    gradients: &'a B::Gradients,
    path: Vec<String>,
    found: BTreeMap<String, f64>,
}

impl<B: burn::tensor::backend::AutodiffBackend> ModuleVisitor<B> for Gradients<'_, B> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = param.val().grad(self.gradients) {
            let sum = numbers(gradient.abs().sum())[0];
            self.found.insert(self.path.join("."), sum);
        }
    }
}

/// Gives all four slots of a head the score of the first.
#[derive(Default)]
struct EqualSlots {
    name: String,
}

impl<B: Backend> ModuleMapper<B> for EqualSlots {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.name = name.into();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        if self.name != "score" {
            return param;
        }
        param.map(|tensor| {
            let shape = tensor.dims();
            let first = tensor.reshape([WIDTH, HEADS, 4]).slice([0..WIDTH, 0..HEADS, 0..1]);
            first.expand([WIDTH, HEADS, 4]).reshape(shape).detach().require_grad()
        })
    }
}

#[test]
fn equal_slots_teach_a_query_nothing() {
    type B = Autodiff<Cpu>;
    let mut options = Options::default();
    options.abc.slots = 4;
    let of_query = |is_equal: bool| {
        let mixer = AnyMixer::<B>::new("abc", sizes(WIDTH, HEADS), &options, &mut Init::new(1), &Default::default()).unwrap();
        let mixer = if is_equal { mixer.map(&mut EqualSlots::default()) } else { mixer };
        let x = random_tensor::<B, 3>([2, 7, WIDTH], 3);
        let (y, _) =
            mixer.forward(x, &Reset::none(2, 7, &Default::default()), mixer.initial_state(2, &Default::default()), Dropout::OFF);
        let gradients = (y * random_tensor::<B, 3>([2, 7, WIDTH], 5)).sum().backward();
        let mut visitor = Gradients::<B> { gradients: &gradients, path: Vec::new(), found: BTreeMap::new() };
        mixer.visit(&mut visitor);
        let of = |name: &str| visitor.found.iter().filter(|(path, _)| path.contains(name)).map(|(_, sum)| sum).sum::<f64>();
        assert!(of("value") > 0.0);
        of("query")
    };
    assert_eq!(of_query(true), 0.0);
    assert!(of_query(false) > 0.01);
}

#[test]
fn a_state_is_right_after_99_999_tokens() {
    let (width, slots, piece) = (4, 3, 3333);
    let mixer = abc(width, 1, slots, 8);
    let of = weights(&mixer);
    let mut state = mixer.initial_state(1, &device());
    let bytes = state.bytes();
    let (mut sums, mut memory) = (vec![f64::NEG_INFINITY; slots], vec![vec![0.0; 2 * width]; slots]);
    for round in 0..30 {
        let x = random_tensor::<Cpu, 3>([1, piece, width], 100 + round);
        for token in numbers(x.clone()).chunks_exact(width) {
            let both = [dense(token, &of, "key", width), dense(token, &of, "value", width)].concat();
            for slot in 0..slots {
                let score: f64 = (0..width).map(|from| token[from] * of["Abc.score"][from * slots + slot]).sum::<f64>()
                    + of["Abc.score_offset"][slot];
                let share = 1.0 / (1.0 + (sums[slot] - score).exp());
                memory[slot].iter_mut().zip(&both).for_each(|(memory, token)| *memory += share * (token - *memory));
                let most = sums[slot].max(score);
                sums[slot] = most + ((sums[slot] - most).exp() + (score - most).exp()).ln();
            }
        }
        state = mixer.forward(x, &Reset::none(1, piece, &device()), state, Dropout::OFF).1;
    }
    assert_eq!(state.bytes(), bytes);
    let found = numbers(state.to_record().take::<Cpu, 3>("output", &device()).unwrap());
    let expected = memory.concat();
    let scale = expected.iter().fold(0.0f64, |scale, x| scale.max(x.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-3 * scale, "{found}, not {expected}");
    }
}

#[test]
fn slots_that_a_gate_fills_take_no_recency() {
    let options = |gate: &str| serde_json::from_value(serde_json::json!({"abc": {"recency": "learned", "gate": gate}})).unwrap();
    let check = |gate: &str| PolicyConfig { mixer: "abc".into(), options: options(gate), ..Default::default() }.check();
    check("counted").unwrap();
    let error = check("given").unwrap_err().to_string();
    assert!(error.contains("options.abc.recency: \"learned\", expected \"none\" with options.abc.gate"), "{error}");
}
