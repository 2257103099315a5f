//! A mixer of one's own, trained and executed by its name: an exponential moving average with a learned rate for every channel.
//!
//!     cargo run --example own_mixer

use aaren::policy::burn::module::{Module, Param};
use aaren::policy::burn::tensor::{Tensor, activation::sigmoid, backend::Backend};
use aaren::policy::state::tensor_state;
use aaren::prelude::*;

#[derive(Module, Debug)]
struct Average<B: Backend> {
    rate: Param<Tensor<B, 1>>,
}

tensor_state! {
    /// What it carries along: a tensor of two axes, `[batch, width]`.
    AverageState { mean: 2 }
}

impl<B: KernelBackend> Mixer<B> for Average<B> {
    type State = AverageState<B>;
    type Options = ();
    fn new(sizes: Sizes, _: &(), init: &mut Init, device: &B::Device) -> Self {
        Self { rate: init.constant([sizes.width], 1.0, device) }
    }
    fn initial_state(&self, batch: usize, device: &B::Device) -> AverageState<B> {
        AverageState { mean: Tensor::zeros([batch, self.rate.dims()[0]], device) }
    }

    fn forward(&self, x: Tensor<B, 3>, reset: &Reset<B>, state: AverageState<B>, _: Dropout) -> (Tensor<B, 3>, AverageState<B>) {
        let [batch, time, width] = x.dims();
        let kept = sigmoid(self.rate.val()).unsqueeze::<2>();
        let (mut mean, mut outputs) = (state.mean, Vec::new());
        for t in 0..time {
            let begins = reset.tensor().slice([0..batch, t..t + 1]).expand([batch, width]);
            let token = x.clone().slice([0..batch, t..t + 1]).reshape([batch, width]);
            mean = mean.mask_fill(begins, 0.0) * kept.clone() + token * (kept.clone().neg() + 1.0);
            outputs.push(mean.clone());
        }
        (Tensor::stack(outputs, 1), AverageState { mean })
    }
}

struct Averages;
impl MixerFamily for Averages {
    type Mixer<B: KernelBackend> = Average<B>;
}

fn main() -> anyhow::Result<()> {
    aaren::policy::mixer::register::<Averages>("average", "Exponential moving average: 4 width bytes a layer")?;
    let settings = ["policy.mixer=average", "env.options.corridor=3", "train.steps=150", "evaluation.every=0"];
    let job = OfflineJob::quickstart(&settings.map(String::from))?;
    let folder = std::env::temp_dir().join(format!("aaren-own-mixer-{}", std::process::id()));
    let run = RunDir::create(&folder, &job, 1)?;
    let (_, evaluation) = train_offline(&job, trajectories(&job)?, &run, false)?;
    std::fs::remove_dir_all(&folder)?;
    println!("{evaluation}");
    anyhow::ensure!(evaluation.targets[0].return_mean > 0.8, "it did not remember the cue");
    Ok(())
}
