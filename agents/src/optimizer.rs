//! AdamW whose weight decay leaves some parameters alone, as mixers ask for by `Mixer::undecayed`.

use burn::{
    module::{AutodiffModule, ModuleVisitor, Param, ParamId},
    optim::{AdamW as BurnAdamW, AdamWConfig, GradientsParams, Optimizer, adaptor::OptimizerAdaptor},
    tensor::{Tensor, backend::AutodiffBackend},
};
use std::marker::PhantomData;

/// Moments by parameter: what an optimizer has to find again.
pub type Moments<B, M> = <OptimizerAdaptor<BurnAdamW, M, B> as Optimizer<M, B>>::Record;

/// Two of Burn's, the second without decay. Stored they are one.
pub struct AdamW<B: AutodiffBackend, M: AutodiffModule<B>> {
    decayed: OptimizerAdaptor<BurnAdamW, M, B>,
    undecayed: OptimizerAdaptor<BurnAdamW, M, B>,
    left_alone: Vec<ParamId>,
}

impl<B: AutodiffBackend, M: AutodiffModule<B>> AdamW<B, M> {
    /// As configured, but without weight decay for the parameters `left_alone`.
    pub fn new(config: &AdamWConfig, left_alone: Vec<ParamId>) -> Self {
        Self { decayed: config.init(), undecayed: config.clone().with_weight_decay(0.0).init(), left_alone }
    }

    /// One step.
    pub fn step(&mut self, learning_rate: f64, module: M, mut gradients: GradientsParams) -> M {
        let mut taken =
            Take::<B> { ids: &self.left_alone, from: &mut gradients, to: GradientsParams::new(), backend: PhantomData };
        if !taken.ids.is_empty() {
            module.visit(&mut taken);
        }
        let undecayed = taken.to;
        // Parameters without a gradient stay as they are.
        let module = self.decayed.step(learning_rate, module, gradients);
        if undecayed.is_empty() { module } else { self.undecayed.step(learning_rate, module, undecayed) }
    }

    /// The moments of all parameters.
    pub fn to_record(&self) -> Moments<B, M> {
        let mut record = self.decayed.to_record();
        record.extend(self.undecayed.to_record());
        record
    }

    /// With the moments that [`AdamW::to_record`] gave.
    pub fn load_record(self, mut record: Moments<B, M>) -> Self {
        let Self { decayed, undecayed, left_alone } = self;
        let of_the_undecayed = left_alone.iter().filter_map(|id| record.remove_entry(id)).collect();
        Self { decayed: decayed.load_record(record), undecayed: undecayed.load_record(of_the_undecayed), left_alone }
    }
}

/// Moves the gradients of some parameters elsewhere.
struct Take<'a, B: AutodiffBackend> {
    ids: &'a [ParamId],
    from: &'a mut GradientsParams,
    to: GradientsParams,
    backend: PhantomData<B>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Take<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if self.ids.contains(&param.id)
            && let Some(gradient) = self.from.remove::<B::InnerBackend, D>(param.id)
        {
            self.to.register(param.id, gradient);
        }
    }
}
