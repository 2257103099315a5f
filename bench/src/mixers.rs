//! Every mixer beside the others, at one size: what it costs to train, to act with and to carry.

use crate::act::{Point, measure};
use crate::measure::{Column, Graph, Size, Spread, description, library, or_dash, publish, table, with_threads};
use crate::peers::torch;
use crate::products;
use crate::train::time_steps;
use aaren_agents::config::{Device, Precision};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::run::interrupt;
use aaren_agents::run::report::{bytes, number};
use aaren_policy::{DecisionNetwork, DecisionPolicy, Description, PolicyConfig, mixer};
use anyhow::{Context, Result};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::{num::NonZeroUsize, path::Path};

/// Options of `aaren-bench mixers`.
#[derive(Debug, Args)]
pub struct MixersArgs {
    /// Mixers and stacks, separated by commas [default: all that `aaren mixers` lists]
    #[arg(long, value_delimiter = ',')]
    mixers: Vec<String>,
    /// Width of the policies
    #[arg(long, default_value_t = 128)]
    width: usize,
    /// Blocks of the policies
    #[arg(long, default_value_t = 3)]
    layers: usize,
    /// Attention heads, where a mixer has some
    #[arg(long, default_value_t = 4)]
    heads: usize,
    /// Rows of a training batch
    #[arg(long, default_value = "64")]
    batch: NonZeroUsize,
    /// Timesteps of a row, three tokens each
    #[arg(long, default_value = "20")]
    context: NonZeroUsize,
    /// Timed optimizer steps of each mixer
    #[arg(long, default_value = "10")]
    repeats: NonZeroUsize,
    /// Threads for tensor operations
    #[arg(long, default_value = "1")]
    threads: NonZeroUsize,
    /// Time a training step of the same mixers in PyTorch too, each behind ours
    #[arg(long)]
    peers: bool,
}

/// The environment step at which acting is measured, besides the first.
const LATE: usize = 1000;

#[derive(Debug, Serialize)]
struct Row {
    mixer: String,
    /// Those that are trained: drawn features and the like are left out.
    parameters: usize,
    training_milliseconds: Spread,
    timesteps_per_second: f64,
    /// What the products of dense layers and of attention would take alone, at the best rate that a product had in this run.
    products_milliseconds: f64,
    torch_milliseconds: Option<Spread>,
    /// Our median divided by PyTorch's: below 1 we are faster.
    ratio: Option<f64>,
    first: Point,
    late: Point,
}

const COLUMNS: &[Column<Row>] = &[
    ("mixer", |row| row.mixer.clone()),
    ("parameters", |row| number(row.parameters as f64)),
    ("training, ms a step (min, max)", |row| row.training_milliseconds.to_string()),
    ("PyTorch ms (min, max)", |row| or_dash(row.torch_milliseconds, |spread| spread.to_string())),
    ("ratio", |row| or_dash(row.ratio, |ratio| format!("{ratio:.2}"))),
    ("acting, µs: first", |row| number(row.first.microseconds_per_step.median)),
    ("1,000th step", |row| number(row.late.microseconds_per_step.median)),
    ("state: first", |row| bytes(row.first.state_bytes_per_env)),
    ("1,000th step", |row| bytes(row.late.state_bytes_per_env)),
];

pub fn run(args: &MixersArgs, json: Option<&Path>) -> Result<()> {
    let all = || mixer::choices().into_iter().map(String::from).collect();
    let names = if args.mixers.is_empty() { all() } else { args.mixers.clone() };
    let config = |name: &str| PolicyConfig {
        mixer: name.into(),
        width: args.width,
        layers: args.layers,
        heads: args.heads,
        feed_forward: 4 * args.width,
        ..PolicyConfig::default()
    };
    let descriptions: Vec<Description> =
        names.iter().map(|name| Description { config: config(name), ..description(name) }).collect();
    // What does not fit shows before the first minutes are spent.
    for description in &descriptions {
        description.check().with_context(|| description.config.mixer.clone())?;
    }
    let size = Size { batch: args.batch.get(), context: args.context.get() };
    let torch = if args.peers { torch::version(Device::Cpu) } else { None };
    if args.peers && torch.is_none() {
        tracing::warn!("PyTorch is not installed for python3 (or $PYTHON); its column stays empty");
    }
    let peer = torch.is_some();
    let mut rows = Vec::new();
    // What has been measured is shown, whatever ends the rest.
    let end = descriptions.into_iter().try_for_each(|description| {
        rows.push(row(description, size, args, peer)?);
        Ok(())
    });
    let &MixersArgs { threads, width, layers, heads, .. } = args;
    let table = table(&rows, 1, COLUMNS);
    let shown = library("PyTorch", torch.as_ref());
    let text = format!(
        "{threads} threads; {layers} layers of {width}, {heads} heads, batches of {size} timesteps, medians; {shown}, ratio below 1: aaren is \
         faster\n{table}"
    );
    let figures =
        json!({"threads": threads, "width": width, "layers": layers, "heads": heads, "size": size, "torch": torch, "rows": rows});
    if !rows.is_empty() {
        publish(&figures, &text, json)?;
    }
    end
}

fn row(description: Description, size: Size, args: &MixersArgs, peer: bool) -> Result<Row> {
    interrupt::check()?;
    let mixer = description.config.mixer.clone();
    tracing::info!(mixer, "measuring");
    let training =
        with_threads(args.threads.get(), || time_steps::<Graph>(description.clone(), size, Precision::F32, args.repeats.get()))??;
    let &MixersArgs { width, layers, heads, .. } = args;
    let options = torch::Options { width, layers, heads, device: Device::Cpu, compile: false, bf16: false };
    let (threads, repeats) = (args.threads.get(), args.repeats.get());
    let theirs = if peer { torch::train(&mixer, size, threads, repeats, options)? } else { None };
    let rate = with_threads(threads, products::best_rate)?;
    let products_milliseconds = 1e3 * products::operations(&description, size)? / rate;
    let parameters = trained_parameters(&DecisionNetwork::<Graph>::new(&description, 1, &CPU)?);
    let policy = DecisionPolicy { network: DecisionNetwork::<Cpu>::new(&description, 1, &CPU)?, description };
    let mut points = with_threads(args.threads.get(), || measure(&policy, &mixer, None, 1, LATE))??;
    let mut at = |step: usize| {
        let place = points.iter().position(|point| point.step == step);
        Ok(points.swap_remove(place.with_context(|| format!("no measurement of step {step}"))?)) as Result<Point>
    };
    Ok(Row {
        mixer,
        parameters,
        training_milliseconds: training,
        timesteps_per_second: (size.batch * size.context) as f64 / (training.median / 1e3),
        products_milliseconds,
        torch_milliseconds: theirs,
        ratio: theirs.map(|theirs| training.median / theirs.median),
        first: at(1)?,
        late: at(LATE)?,
    })
}

/// Numbers that the optimizer changes.
fn trained_parameters(network: &impl Module<Graph>) -> usize {
    struct Count(usize);
    impl ModuleVisitor<Graph> for Count {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Graph, D>>) {
            let tensor = param.val();
            if tensor.is_require_grad() {
                self.0 += tensor.shape().num_elements();
            }
        }
    }
    let mut count = Count(0);
    network.visit(&mut count);
    count.0
}
