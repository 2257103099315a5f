//! The matrix products of an optimizer step, and how long they alone would take: what no training can be quicker than.

use crate::measure::Size;
use aaren_agents::device::{CPU, Cpu};
use aaren_kernels::KernelBackend;
use aaren_policy::{DecisionNetwork, Description};
use anyhow::Result;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Distribution, Tensor};
use std::time::Instant;

/// Floating-point operations of the matrix products in one optimizer step, forward and backward: of the dense layers, and of causal
/// attention where a mixer has it. Products that a mixer makes out of its tokens alone (features, filters, states) are not among them.
///
/// # Errors
/// If there is no such network.
pub fn operations(description: &Description, size: Size) -> Result<f64> {
    let network = DecisionNetwork::<Cpu>::new(description, 1, &CPU)?;
    let timesteps = (size.batch * size.context) as f64;
    let tokens_each = description.config.tokens.per_timestep();
    let mut dense =
        DenseLayers { path: Vec::new(), timesteps, tokens: timesteps * tokens_each as f64, operations: 0.0, description };
    network.visit(&mut dense);
    let attentions =
        description.config.mixer_of_blocks()?.into_iter().filter(|mixer| ["transformer", "window"].contains(mixer)).count();
    // Scores and weighted sums over half of the pairs, and twice as much for the gradients.
    let time = (size.context * tokens_each) as f64;
    let attention = 3.0 * 2.0 * size.batch as f64 * time * time * description.config.width as f64;
    Ok(dense.operations + attentions as f64 * attention)
}

/// Sums the products with the weights of dense layers: one forward, two backward, two operations a multiply-add.
struct DenseLayers<'a> {
    path: Vec<String>,
    timesteps: f64,
    tokens: f64,
    operations: f64,
    description: &'a Description,
}

impl DenseLayers<'_> {
    /// Rows that a weight is applied to.
    fn rows(&self) -> f64 {
        let has = |name: &str| self.path.iter().any(|part| part == name);
        let latents = self.description.config.options.perceiver.latents as f64;
        match () {
            // The network that makes a filter sees its lags, which are few.
            () if has("operator") && ["first", "second", "third", "last"].iter().any(|name| has(name)) => 0.0,
            () if self.description.config.mixer == "perceiver"
                && (has("read") || has("feed_forward") || has("among") || (has("answer") && (has("key") || has("value"))))
                && has("mixer") =>
            {
                self.tokens * latents
            }
            () if has("backbone") => self.tokens,
            () => self.timesteps,
        }
    }
}

impl<B: KernelBackend> ModuleVisitor<B> for DenseLayers<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let shape = param.val().dims();
        // Tables are looked up.
        let is_table = shape[0] == self.description.config.max_timesteps;
        if D == 2 && !is_table {
            self.operations += 6.0 * self.rows() * shape[0] as f64 * shape[1] as f64;
        }
    }
}

/// Floating-point operations a second of this processor's matrix products, with as many threads as the pool has that this runs in: the
/// best of several square ones that stay in the cache.
pub fn best_rate() -> f64 {
    const SIDE: usize = 512;
    let square = || Tensor::<Cpu, 2>::random([SIDE, SIDE], Distribution::Default, &CPU);
    let (one, other) = (square(), square());
    let operations = 2.0 * (SIDE as f64).powi(3);
    let times = (0..30).map(|_| {
        let started = Instant::now();
        std::hint::black_box(one.clone().matmul(other.clone()));
        started.elapsed().as_secs_f64()
    });
    operations / times.fold(f64::INFINITY, f64::min)
}
