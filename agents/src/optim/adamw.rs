//! AdamW over a module, whose weight decay leaves some parameters alone, as mixers ask for by `Mixer::no_decay`.

use super::moments::{Moments, stored_moments};
use aaren_kernels::{AdamWStep, KernelBackend, Stepped, adamw};
use anyhow::Result;
use burn::module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::record::AdaptorRecord;
use burn::optim::{AdamWState, AdaptiveMomentumState, GradientsParams};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use std::collections::HashMap;
use std::path::Path;

/// Decays of the moments: Adam's own.
const BETAS: [f64; 2] = [0.9, 0.999];

/// What to do, and the moments.
pub struct AdamW<B: AutodiffBackend, M: AutodiffModule<B>> {
    betas: [f64; 2],
    epsilon: f64,
    weight_decay: f64,
    no_decay: Vec<ParamId>,
    moments: Moments<B, M>,
}

impl<B, M> AdamW<B, M>
where
    B: AutodiffBackend<InnerBackend: KernelBackend>,
    M: AutodiffModule<B>,
{
    /// Without moments. Weight decay leaves the parameters of `no_decay` alone.
    pub fn new(epsilon: f64, weight_decay: f64, no_decay: Vec<ParamId>) -> Self {
        Self { betas: BETAS, epsilon, weight_decay, no_decay, moments: Moments::<B, M>::default() }
    }

    /// The same with another decay of the second moments, below 1: how long the size of gradients is remembered.
    #[must_use]
    pub fn with_beta2(mut self, beta2: f64) -> Self {
        self.betas[1] = beta2;
        self
    }

    /// One step on the gradients times a factor, `[1]`, which clips them. Parameters without a gradient stay as they are.
    pub fn step(&mut self, learning_rate: f64, module: M, gradients: GradientsParams, factor: Tensor<B::InnerBackend, 1>) -> M {
        let mut gathered = Gather { optimizer: self, learning_rate, gradients, ids: Vec::new(), parameters: Vec::new() };
        module.visit(&mut gathered);
        let Gather { ids, parameters, .. } = gathered;
        let times: Vec<usize> = parameters.iter().map(|(.., step)| step.time).collect();
        let after = times.into_iter().zip(adamw(parameters, factor));
        module.map(&mut Scatter { optimizer: self, after: ids.into_iter().zip(after).collect() })
    }

    /// The moments of all parameters.
    pub(crate) fn to_record(&self) -> Moments<B, M> {
        self.moments.clone()
    }

    /// With the moments that [`AdamW::to_record`] gave, from the file that they were written to.
    ///
    /// # Errors
    /// If the file cannot be read, or holds anything but moments of the module's parameters.
    pub(crate) fn load(mut self, path: &Path, module: &M) -> Result<Self> {
        self.moments = stored_moments(path, module)?;
        Ok(self)
    }
}

/// With its gradient and the numbers of its step.
type Parameter<B> = (Stepped<B>, Tensor<B, 1>, AdamWStep);

/// Takes what a step reads of all parameters of a module that have a gradient.
struct Gather<'a, B: AutodiffBackend, M: AutodiffModule<B>> {
    optimizer: &'a mut AdamW<B, M>,
    learning_rate: f64,
    gradients: GradientsParams,
    ids: Vec<ParamId>,
    parameters: Vec<Parameter<B::InnerBackend>>,
}

impl<B, M> ModuleVisitor<B> for Gather<'_, B, M>
where
    B: AutodiffBackend<InnerBackend: KernelBackend>,
    M: AutodiffModule<B>,
{
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) else { return };
        let AdamW { betas, epsilon, weight_decay, no_decay, moments } = &mut *self.optimizer;
        let parameter = param.val().inner();
        let state = moments.remove(&param.id).map(|record| record.into_state::<D>().momentum);
        let (time, moments) = match state {
            Some(state) => (state.time + 1, [state.moment_1, state.moment_2]),
            None => (1, [parameter.zeros_like(), parameter.zeros_like()]),
        };
        let count = parameter.shape().num_elements();
        let flat = |tensor: Tensor<B::InnerBackend, D>| tensor.reshape([count]);
        let step = AdamWStep {
            learning_rate: self.learning_rate,
            betas: *betas,
            epsilon: *epsilon,
            weight_decay: if no_decay.contains(&param.id) { 0.0 } else { *weight_decay },
            time,
        };
        self.ids.push(param.id);
        self.parameters.push((Stepped { parameter: flat(parameter), moments: moments.map(flat) }, flat(gradient), step));
    }
}

/// Gives every parameter what a step has made of it, and the optimizer its moments.
struct Scatter<'a, B: AutodiffBackend, M: AutodiffModule<B>> {
    optimizer: &'a mut AdamW<B, M>,
    after: HashMap<ParamId, (usize, Stepped<B::InnerBackend>)>,
}

impl<B, M> ModuleMapper<B> for Scatter<'_, B, M>
where
    B: AutodiffBackend<InnerBackend: KernelBackend>,
    M: AutodiffModule<B>,
{
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let (id, before, mapper) = param.consume();
        let Some((time, after)) = self.after.remove(&id) else {
            return Param::from_mapped_value(id, before, mapper);
        };
        let shape = before.shape();
        let [first, second] = after.moments.map(|moment| moment.reshape(shape.clone()));
        let state = AdamWState::new(AdaptiveMomentumState::<_, D>::new(time, first, second));
        self.optimizer.moments.insert(id, AdaptorRecord::from_state(state));
        let parameter = Tensor::<B, D>::from_inner(after.parameter.reshape(shape));
        Param::from_mapped_value(id, if before.is_require_grad() { parameter.require_grad() } else { parameter }, mapper)
    }
}
