//! Performer: softmax attention estimated with random features, which makes it a recurrence.
//!
//! ```text
//! S_t = S_{t-1} + f(k_t) [v_t, 1]        [n_t, d_t] = f(q_t) S_t        o_t = n_t / d_t
//! ```
//!
//! with the features of [`favor`](crate::favor), one projection a layer, shared by its heads. The weights have the Transformer's
//! names and shapes; the projection is drawn, saved with them and not trained.
//!
//! State: `S`, `4 heads features (head_dim + 1)` bytes a sequence and layer; `features` is the number of rows, or twice that for
//! kernels with two features a row. Laws: all hold for a given projection.
//! Attention weights are never made, so dropout of them does not exist here.
//!
//! Source: Choromanski et al. 2020, arXiv:2009.14794.

use super::common::{merge_heads, split_heads};
use super::contract::{Mixer, Sizes};
use super::options::mixer_options;
use crate::favor::{Kernel, RandomFeatures, normalized};
use crate::init::Init;
use crate::layers::Dense;
use crate::reset::Reset;
use crate::state::tensor_state;
use aaren_kernels::{Dropout, KernelBackend, linear_attention};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

mixer_options! {
    /// `policy.options.performer`
    "performer" PerformerOptions {
        /// Rows of the projection; 0 for `head_dim ln(head_dim)`, rounded down, as in published code.
        rows: usize = 0, (*rows <= 1 << 16), "at most 65536";
        /// What the features estimate.
        kernel: Kernel = Kernel::Softmax;
        /// Whether rows are orthogonal within blocks of `head_dim`.
        orthogonal: bool = true;
        /// Optimizer steps after which a training draws the rows anew, so that it does not fit itself to one draw (published code: 1000);
        /// 0: never. Only a training from data does.
        redraw: usize = 0, (*redraw <= 1 << 32), "at most 4294967296";
    }
}

impl PerformerOptions {
    fn rows(&self, head_dim: usize) -> usize {
        match self.rows {
            0 => ((head_dim as f64 * (head_dim as f64).ln()) as usize).max(1),
            rows => rows,
        }
    }
}

/// The module: the Transformer's four dense layers, and the projection.
#[derive(Module, Debug)]
pub struct Performer<B: Backend> {
    query: Dense<B>,
    key: Dense<B>,
    value: Dense<B>,
    output: Dense<B>,
    features: RandomFeatures<B>,
    heads: usize,
    #[module(skip)]
    options: PerformerOptions,
}

tensor_state! {
    /// Sums over the tokens so far.
    PerformerState {
        /// `[batch, heads, features, head_dim + 1]`: features times values, and last the features.
        sums: 4,
    }
}

impl<B: KernelBackend> Mixer<B> for Performer<B> {
    type State = PerformerState<B>;
    type Options = PerformerOptions;

    fn new(sizes: Sizes, options: &PerformerOptions, init: &mut Init, device: &B::Device) -> Self {
        let (width, head_dim, options) = (sizes.width, sizes.width / sizes.heads, options.clone());
        let mut dense = || Dense::in_mixer(width, width, init, device);
        let (query, key, value, output) = (dense(), dense(), dense(), dense());
        let features = RandomFeatures::new(options.kernel, options.rows(head_dim), head_dim, options.orthogonal, init, device);
        Self { query, key, value, output, features, heads: sizes.heads, options }
    }

    fn initial_state(&self, batch: usize, device: &B::Device) -> PerformerState<B> {
        let [head_dim, _] = self.features.projection.dims();
        PerformerState { sums: Tensor::zeros([batch, self.heads, self.features.features(), head_dim + 1], device) }
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: Self::State, _: Dropout) -> (Tensor<B, 3>, Self::State) {
        let [batch, time, width] = x.dims();
        let x = x.reshape([batch * time, width]);
        let [queries, keys, values] =
            [&self.query, &self.key, &self.value].map(|layer| split_heads(layer.forward(x.clone()), batch, self.heads));
        let (sums, carry) = linear_attention(&self.features, queries, keys, values, reset.flags(), state.sums);
        let y = self.output.forward(merge_heads(normalized(sums, self.options.kernel)));
        (y.reshape([batch, time, width]), PerformerState { sums: carry })
    }
}
