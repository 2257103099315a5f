//! Stacks of mixers by name, with about as many parameters each.

use crate::measure::nearest_width;
use aaren_agents::config::Mqar;
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::sequence::{MqarTask, SequenceTask};
use aaren_policy::{PolicyConfig, SequenceDescription, SequenceNames, SequenceNetwork, mixer};
use anyhow::{Context, Result, ensure};
use burn::module::Module;
use serde_json::{Map, Value};

/// The sizes that all stacks share.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Heads of mixers that have some.
    pub heads: usize,
}

/// A stack of mixers and its sizes for a task.
#[derive(Clone, Debug)]
pub struct Stack {
    /// As it is written on the command line.
    pub name: String,
    /// Its sizes.
    pub config: PolicyConfig,
}

/// The stack whose number of parameters others are given, block by block.
const MEASURE: [&str; 2] = ["short-conv", "transformer"];

impl Stack {
    /// A stack from its name: mixers joined by `+`, one a block and in turn, each with options such as `mamba:states=8`. Options
    /// hold for all blocks of a mixer. The MLP is twice as wide as the rest.
    ///
    /// Long convolutions see a whole example unless an option says how far.
    ///
    /// # Errors
    /// If there is no such mixer or option, or sizes do not fit each other.
    pub fn new(name: &str, task: &Mqar, sizes: Sizes) -> Result<Self> {
        let mut mixers = Vec::new();
        let mut options = Map::new();
        for part in name.split('+') {
            let mut fields = part.split(':');
            let mixer = fields.next().unwrap_or_default();
            mixers.push(mixer.to_owned());
            for field in fields {
                let (key, value) = field
                    .split_once('=')
                    .with_context(|| format!("\"{field}\" is no option; expected MIXER:KEY=VALUE, for example mamba:states=8"))?;
                // What is no JSON is a word.
                let value: Value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
                let of_mixer = options.entry(mixer).or_insert_with(|| Map::new().into());
                let earlier = of_mixer.as_object_mut().expect("options are an object").insert(key.to_owned(), value.clone());
                ensure!(
                    earlier.as_ref().is_none_or(|earlier| *earlier == value),
                    "{mixer}:{key} is given twice; it holds for all blocks of a mixer"
                );
            }
        }
        let mut config = PolicyConfig {
            layers: sizes.layers,
            width: sizes.width,
            heads: sizes.heads,
            feed_forward: sizes.width.saturating_mul(2),
            dropout: 0.0,
            ..PolicyConfig::default()
        };
        match <[String; 1]>::try_from(mixers) {
            Ok([mixer]) => config.mixer = mixer,
            Err(mixers) => config.mixers = mixers,
        }
        let used = config.mixer_of_blocks()?;
        for (mixer, key, least) in [("hyena", "taps", task.length), ("monarch", "length", square_of_at_least(2 * task.length))] {
            if used.contains(&mixer) {
                let of_mixer = options.entry(mixer).or_insert_with(|| Map::new().into());
                of_mixer.as_object_mut().expect("options are an object").entry(key).or_insert_with(|| least.into());
            }
        }
        for mixer in options.keys() {
            ensure!(used.contains(&mixer.as_str()), "\"{mixer}\" is no mixer that options can be given to");
        }
        config.options = serde_json::from_value(Value::Object(options)).context("options")?;
        config.check()?;
        Ok(Self { name: name.to_owned(), config })
    }

    /// Numbers that the model of a task consists of, features that a Performer does not train included.
    ///
    /// # Errors
    /// If the stack does not check.
    pub fn parameters(&self, task: &Mqar) -> Result<usize> {
        let spec = MqarTask { config: *task, seed: 0 }.spec(&self.config);
        let (format, config, task) = (SequenceDescription::FORMAT, self.config.clone(), Value::Null);
        let names = SequenceNames::default();
        Ok(SequenceNetwork::<Cpu>::new(
            &SequenceDescription { format, config, spec, normalizer: None, names, statistics: Default::default(), task },
            0,
            &CPU,
        )?
        .num_params())
    }

    /// With MLPs of the width that brings the number of parameters nearest to one.
    ///
    /// # Errors
    /// As [`Stack::parameters`].
    pub fn with_parameters(mut self, parameters: usize, task: &Mqar) -> Result<Self> {
        self.config.feed_forward = nearest_width(parameters, |feed_forward| {
            self.config.feed_forward = feed_forward;
            self.parameters(task)
        })?;
        Ok(self)
    }

    /// The number of parameters that stacks are given: that of short convolutions and attention in turn.
    ///
    /// # Errors
    /// If the sizes do not fit each other.
    pub fn usual_parameters(task: &Mqar, sizes: Sizes) -> Result<usize> {
        let mixers: Vec<&str> = MEASURE.into_iter().cycle().take(sizes.layers).collect();
        Self::new(&mixers.join("+"), task, sizes)?.parameters(task)
    }

    /// All mixers and stacks there are, and all mixers under a short convolution.
    pub fn all_names() -> Vec<String> {
        let alone = mixer::choices().into_iter().map(str::to_owned);
        let below = mixer::names().into_iter().filter(|name| !["short-conv", "mlp"].contains(name));
        alone.chain(below.map(|name| format!("short-conv+{name}"))).collect()
    }
}

fn square_of_at_least(number: usize) -> usize {
    let side = (1..).find(|side| side * side >= number).expect("squares have no bound");
    side * side
}
