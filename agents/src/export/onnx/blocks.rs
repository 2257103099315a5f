//! The blocks of a policy as operators: of one token after another with states carried along, or of a whole window at once.

use aaren_policy::mixer::Sizes;
use aaren_policy::{Activation, FeedForwardKind, NormPlace, PolicyConfig};
use anyhow::{Result, bail, ensure};

use super::graph::{Graph, Value};

/// A log-sum-exp of nothing, as a number: minus infinity would make NaN of differences.
const EMPTY: f32 = -1e30;

/// A state that the graph carries: its name, what follows the axis of rows, and its value now.
pub(super) struct State {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) value: Value,
}

/// The mask of a window, over all of its tokens.
pub(super) struct Window {
    /// `[batch, 1, tokens, tokens]`, whether a token attends to another.
    pub(super) can_attend: Value,
}

/// Refuses blocks that no graph is written for, by name. A Transformer needs a window, and only it has one.
pub(super) fn check(config: &PolicyConfig, has_window: bool) -> Result<()> {
    ensure!(
        config.feed_forward_kind == FeedForwardKind::Dense,
        "policy.feed_forward_kind \"monarch\" has no ONNX graph here; \"dense\" has one"
    );
    for mixer in config.mixer_of_blocks()? {
        match mixer {
            "mlp" => {}
            "transformer" if config.options.transformer.rotary == Some(true) => {
                bail!("policy.options.transformer.rotary has no ONNX graph here; a Transformer without rotary positions has one")
            }
            "transformer" if has_window => {}
            "transformer" => bail!(
                "this Transformer carries a KV cache that grows with the episode, which an ONNX graph here does not; say with --window N \
                 over how many timesteps it shall attend instead, for example those of its training"
            ),
            "aaren" | "gru" | "lstm" if !has_window => {}
            "aaren" | "gru" | "lstm" => bail!(
                "the ONNX graph of the mixer \"{mixer}\" carries its state along, and this policy is executed on a window; say --window 0 \
                 to carry the state instead"
            ),
            other => bail!(
                "the mixer \"{other}\" has no ONNX graph here; \"aaren\", \"gru\", \"lstm\", \"mlp\" and on a window \"transformer\" have \
                 one (`aaren export RUN --c FOLDER` takes every mixer)"
            ),
        }
    }
    Ok(())
}

/// Empty states of all blocks, as inputs of the graph.
pub(super) fn states(graph: &mut Graph, config: &PolicyConfig, backbone: &str) -> Result<Vec<Vec<State>>> {
    let Sizes { width, heads, .. } = config.sizes();
    let mut all = Vec::new();
    for (block, mixer) in config.mixer_of_blocks()?.into_iter().enumerate() {
        let shapes: Vec<(&str, Vec<usize>)> = match mixer {
            "aaren" => {
                let queries = graph.weight(&format!("{backbone}.blocks.{block}.mixer.query_token"))?.0[0] / width;
                vec![("log_sum", vec![heads * queries]), ("output", vec![heads * queries, width / heads])]
            }
            "gru" => vec![("hidden", vec![width])],
            "lstm" => vec![("hidden", vec![width]), ("cell", vec![width])],
            _ => Vec::new(),
        };
        let mut state = |(part, shape): (&str, Vec<usize>)| {
            let name = format!("block{block}.{part}");
            let value = graph.input(&format!("state.{name}"), super::proto::FLOAT, &shape, "what the block carries");
            State { name, shape, value }
        };
        all.push(shapes.into_iter().map(&mut state).collect());
    }
    Ok(all)
}

/// One token through all blocks, `[batch, width]`; states are replaced by the next ones. Where `reset` (`[batch, 1]`) is true, what came
/// before is forgotten.
pub(super) fn token(
    graph: &mut Graph,
    config: &PolicyConfig,
    backbone: &str,
    x: Value,
    reset: Option<&str>,
    states: &mut [Vec<State>],
    is_read: bool,
) -> Result<Value> {
    let mixers = config.mixer_of_blocks()?;
    let last = mixers.len() - 1;
    let mut x = x;
    for (block, mixer) in mixers.into_iter().enumerate() {
        let name = format!("{backbone}.blocks.{block}");
        let state = &mut states[block];
        // After the last mixer nothing is computed for tokens that nobody reads.
        let is_needed = is_read || block < last;
        let mix = |graph: &mut Graph, x: &str| match mixer {
            "aaren" => aaren(graph, config, &format!("{name}.mixer"), x, reset, state),
            "gru" => gru(graph, &format!("{name}.mixer"), x, reset, state),
            "lstm" => lstm(graph, &format!("{name}.mixer"), x, reset, state),
            _ => Ok(x.to_owned()),
        };
        x = halves(graph, config, &name, x, mix, is_needed)?;
    }
    last_norm(graph, config, backbone, x)
}

/// All tokens of a window through all blocks, `[batch, tokens, width]`.
pub(super) fn window(graph: &mut Graph, config: &PolicyConfig, backbone: &str, x: Value, window: &Window) -> Result<Value> {
    let mut x = x;
    for (block, mixer) in config.mixer_of_blocks()?.into_iter().enumerate() {
        let name = format!("{backbone}.blocks.{block}");
        let mix = |graph: &mut Graph, x: &str| match mixer {
            "transformer" => attention(graph, config, &format!("{name}.mixer"), x, window),
            _ => Ok(x.to_owned()),
        };
        x = halves(graph, config, &name, x, mix, true)?;
    }
    last_norm(graph, config, backbone, x)
}

fn last_norm(graph: &mut Graph, config: &PolicyConfig, backbone: &str, x: Value) -> Result<Value> {
    match config.norm {
        NormPlace::Pre => graph.norm(&format!("{backbone}.norm"), &x),
        NormPlace::Post => Ok(x),
    }
}

/// Both halves of a block, or the mixer's alone.
fn halves(
    graph: &mut Graph,
    config: &PolicyConfig,
    block: &str,
    x: Value,
    mix: impl FnOnce(&mut Graph, &str) -> Result<Value>,
    is_needed: bool,
) -> Result<Value> {
    let is_post = config.norm == NormPlace::Post;
    let [first, second] = ["mixer_norm", "feed_forward_norm"].map(|norm| format!("{block}.{norm}"));
    let input = if is_post { x.clone() } else { graph.norm(&first, &x)? };
    let mixed = mix(graph, &input)?;
    if !is_needed {
        return Ok(x);
    }
    let mut x = graph.op("Add", &[&x, &mixed]);
    if is_post {
        x = graph.norm(&first, &x)?;
    }
    let input = if is_post { x.clone() } else { graph.norm(&second, &x)? };
    let hidden = graph.dense(&format!("{block}.up"), &input)?;
    let hidden = match config.activation {
        Activation::Relu => graph.op("Relu", &[&hidden]),
        Activation::Gelu => {
            let scale = graph.float(std::f32::consts::FRAC_1_SQRT_2);
            let scaled = graph.op("Mul", &[&hidden, &scale]);
            let erf = graph.op("Erf", &[&scaled]);
            half_of_one_more(graph, &erf, &hidden)
        }
        Activation::GeluTanh => {
            let [cubic, one, scale] = [0.044715, 1.0, (2.0 / std::f32::consts::PI).sqrt()].map(|number| graph.float(number));
            let square = graph.op("Mul", &[&hidden, &hidden]);
            let inner = graph.op("Mul", &[&square, &cubic]);
            let inner = graph.op("Add", &[&inner, &one]);
            let inner = graph.op("Mul", &[&inner, &hidden]);
            let inner = graph.op("Mul", &[&inner, &scale]);
            let tanh = graph.op("Tanh", &[&inner]);
            half_of_one_more(graph, &tanh, &hidden)
        }
    };
    let down = graph.dense(&format!("{block}.down"), &hidden)?;
    x = graph.op("Add", &[&x, &down]);
    if is_post { graph.norm(&second, &x) } else { Ok(x) }
}

/// `(1 + gate) x / 2`
fn half_of_one_more(graph: &mut Graph, gate: &str, x: &str) -> Value {
    let [one, half] = [1.0, 0.5].map(|number| graph.float(number));
    let gate = graph.op("Add", &[gate, &one]);
    let product = graph.op("Mul", &[&gate, x]);
    graph.op("Mul", &[&product, &half])
}

/// A state, or where a sequence begins what it begins with.
fn restart(graph: &mut Graph, reset: Option<&str>, fresh: &str, state: &str) -> Value {
    match reset {
        Some(reset) => graph.op("Where", &[reset, fresh, state]),
        None => state.to_owned(),
    }
}

/// Attention of learned queries over every token so far, as a recurrence over the log-sum-exp of the scores and their mean.
fn aaren(
    graph: &mut Graph,
    config: &PolicyConfig,
    mixer: &str,
    x: &str,
    reset: Option<&str>,
    state: &mut [State],
) -> Result<Value> {
    let Sizes { width, heads, .. } = config.sizes();
    let head_dim = width / heads;
    let queries = state[0].shape[0] / heads;
    // The map from a token to its scores, with the queries in it: `[width, heads * queries]` and `[heads * queries]`.
    let (map, offset) = score_map(graph, mixer, [width, heads, queries])?;
    let (map, offset) = (graph.floats(&[width, heads * queries], &map), graph.floats(&[heads * queries], &offset));
    let scores = graph.op("MatMul", &[x, &map]);
    let scores = graph.op("Add", &[&scores, &offset]);
    let values = graph.dense(&format!("{mixer}.value"), x)?;
    let mut values = graph.reshape(&values, &[0, heads as i64, head_dim as i64]);
    if queries > 1 {
        let heads_of_queries: Vec<i64> = (0..heads * queries).map(|index| (index / queries) as i64).collect();
        let indices = graph.ints(&[heads * queries], &heads_of_queries);
        values = graph.op_with("Gather", &[&values, &indices], vec![super::graph::int("axis", 1)]);
    }
    let empty = graph.float(EMPTY);
    let mut log_sum = restart(graph, reset, &empty, &state[0].value);
    if graph.has_weight(&format!("{mixer}.rate")) {
        let rate: Vec<f32> = graph.weight(&format!("{mixer}.rate"))?.1.iter().map(|&x| softplus(x)).collect();
        let rate = graph.floats(&[rate.len()], &rate);
        log_sum = graph.op("Sub", &[&log_sum, &rate]);
    }
    let largest = graph.op("Max", &[&log_sum, &scores]);
    let [past, present] = [&log_sum, &scores].map(|of| {
        let shifted = graph.op("Sub", &[of, &largest]);
        graph.op("Exp", &[&shifted])
    });
    let sum = graph.op("Add", &[&past, &present]);
    let log = graph.op("Log", &[&sum]);
    let next_log_sum = graph.op("Add", &[&largest, &log]);
    let [past, present, sum] = [&past, &present, &sum].map(|weight| graph.unsqueeze(weight, 2));
    let past = graph.op("Mul", &[&state[1].value, &past]);
    let present = graph.op("Mul", &[&values, &present]);
    let output = graph.op("Add", &[&past, &present]);
    let output = graph.op("Div", &[&output, &sum]);
    (state[0].value, state[1].value) = (next_log_sum, output.clone());
    let merged = graph.reshape(&output, &[0, (queries * width) as i64]);
    graph.dense(&format!("{mixer}.output"), &merged)
}

/// With the query `q` of a head fixed, `score = q . (x W_k + b_k) / sqrt(head_dim)` is linear in `x`.
fn score_map(graph: &Graph, mixer: &str, [width, heads, queries]: [usize; 3]) -> Result<(Vec<f32>, Vec<f32>)> {
    let of =
        |name: &str| Ok::<_, anyhow::Error>(graph.weight(&format!("{mixer}.{name}"))?.1.iter().map(|&x| f64::from(x)).collect());
    let (tokens, query, query_bias): (Vec<f64>, Vec<f64>, Vec<f64>) =
        (of("query_token")?, of("query.weight")?, of("query.bias")?);
    let (key, key_bias): (Vec<f64>, Vec<f64>) = (of("key.weight")?, of("key.bias")?);
    let head_dim = width / heads;
    let (mut map, mut offset) = (vec![0.0; width * heads * queries], vec![0.0; heads * queries]);
    for index in 0..heads * queries {
        let (head, token) = (index / queries, &tokens[index % queries * width..][..width]);
        let channels = head * head_dim..(head + 1) * head_dim;
        let scaled = |channel: usize| {
            let product: f64 = token.iter().enumerate().map(|(i, x)| x * query[i * width + channel]).sum();
            (product + query_bias[channel]) / (head_dim as f64).sqrt()
        };
        let q: Vec<f64> = channels.clone().map(scaled).collect();
        let dot = |row: &[f64]| row[channels.clone()].iter().zip(&q).map(|(a, b)| a * b).sum::<f64>() as f32;
        offset[index] = dot(&key_bias);
        (0..width).for_each(|row| map[row * heads * queries + index] = dot(&key[row * width..][..width]));
    }
    Ok((map, offset))
}

fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Cuts `[batch, parts * width]` into its parts.
fn parts<const N: usize>(graph: &mut Graph, x: &str, width: usize) -> [Value; N] {
    std::array::from_fn(|part| graph.slice(x, 1, (part * width) as i64, ((part + 1) * width) as i64))
}

fn gru(graph: &mut Graph, mixer: &str, x: &str, reset: Option<&str>, state: &mut [State]) -> Result<Value> {
    let width = state[0].shape[0];
    let fresh = graph.weight_constant(&format!("{mixer}.initial_hidden"))?;
    let hidden = restart(graph, reset, &fresh, &state[0].value);
    let input = graph.dense(&format!("{mixer}.input"), x)?;
    let recurrent = graph.dense(&format!("{mixer}.recurrent"), &hidden)?;
    let input: [Value; 3] = parts(graph, &input, width);
    let recurrent: [Value; 3] = parts(graph, &recurrent, width);
    let [restart, update] = [0, 1].map(|gate| {
        let sum = graph.op("Add", &[&input[gate], &recurrent[gate]]);
        graph.op("Sigmoid", &[&sum])
    });
    let candidate = graph.op("Mul", &[&restart, &recurrent[2]]);
    let candidate = graph.op("Add", &[&input[2], &candidate]);
    let candidate = graph.op("Tanh", &[&candidate]);
    let kept = graph.op("Sub", &[&hidden, &candidate]);
    let kept = graph.op("Mul", &[&update, &kept]);
    state[0].value = graph.op("Add", &[&candidate, &kept]);
    Ok(state[0].value.clone())
}

fn lstm(graph: &mut Graph, mixer: &str, x: &str, reset: Option<&str>, state: &mut [State]) -> Result<Value> {
    let width = state[0].shape[0];
    let [hidden, cell] = ["initial_hidden", "initial_cell"].map(|name| graph.weight_constant(&format!("{mixer}.{name}")));
    let hidden = restart(graph, reset, &hidden?, &state[0].value);
    let cell = restart(graph, reset, &cell?, &state[1].value);
    let input = graph.dense(&format!("{mixer}.input"), x)?;
    let recurrent = graph.dense(&format!("{mixer}.recurrent"), &hidden)?;
    let gates = graph.op("Add", &[&input, &recurrent]);
    let [write, forget, new, read]: [Value; 4] = parts(graph, &gates, width);
    let [write, forget, read] = [write, forget, read].map(|gate| graph.op("Sigmoid", &[&gate]));
    let new = graph.op("Tanh", &[&new]);
    let written = graph.op("Mul", &[&write, &new]);
    let kept = graph.op("Mul", &[&forget, &cell]);
    let cell = graph.op("Add", &[&kept, &written]);
    let shown = graph.op("Tanh", &[&cell]);
    let hidden = graph.op("Mul", &[&read, &shown]);
    (state[0].value, state[1].value) = (hidden.clone(), cell);
    Ok(hidden)
}

/// Softmax attention over the tokens of a window.
fn attention(graph: &mut Graph, config: &PolicyConfig, mixer: &str, x: &str, window: &Window) -> Result<Value> {
    let Sizes { width, heads, .. } = config.sizes();
    let head_dim = width / heads;
    let mut split = |layer: &str, axes: &[i64]| -> Result<Value> {
        let x = graph.dense(&format!("{mixer}.{layer}"), x)?;
        let x = graph.reshape(&x, &[0, 0, heads as i64, head_dim as i64]);
        Ok(graph.transpose(&x, axes))
    };
    let (queries, keys) = (split("query", &[0, 2, 1, 3])?, split("key", &[0, 2, 3, 1])?);
    let values = split("value", &[0, 2, 1, 3])?;
    let scale = graph.float(1.0 / (head_dim as f32).sqrt());
    let scores = graph.op("MatMul", &[&queries, &keys]);
    let scores = graph.op("Mul", &[&scores, &scale]);
    let masked = graph.float(EMPTY);
    let scores = graph.op("Where", &[&window.can_attend, &scores, &masked]);
    let weights = graph.op_with("Softmax", &[&scores], vec![super::graph::int("axis", -1)]);
    let mixed = graph.op("MatMul", &[&weights, &values]);
    let mixed = graph.transpose(&mixed, &[0, 2, 1, 3]);
    let mixed = graph.reshape(&mixed, &[0, 0, width as i64]);
    graph.dense(&format!("{mixer}.output"), &mixed)
}
