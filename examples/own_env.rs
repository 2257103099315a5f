//! An environment of one's own, trained in with PPO: walk to the end of a line and stop there.
//!
//!     cargo run --example own_env

use aaren::prelude::*;

/// The position is 0 to 1. Action 0 walks on; action 1 stops, and is worth the position.
struct Line(f64);

impl Task for Line {
    fn observation_space(&self) -> Space {
        Space::uniform_box(1, 0.0, 1.0, Dtype::Float32)
    }
    fn action_space(&self) -> Space {
        Space::Discrete { n: 2, start: 0 }
    }
    fn max_episode_steps(&self) -> Option<usize> {
        Some(30)
    }

    fn reset(&mut self, generator: &mut Generator, observation: &mut [f64]) -> Result<(), EnvError> {
        self.0 = 0.5 * generator.double();
        observation[0] = self.0;
        Ok(())
    }

    fn step(&mut self, action: Action<'_>, observation: &mut [f64]) -> Result<Outcome, EnvError> {
        let terminated = action == Action::Discrete(1);
        self.0 = (self.0 + if terminated { 0.0 } else { 0.1 }).min(1.0);
        observation[0] = self.0;
        Ok(Outcome { reward: if terminated { self.0 } else { -0.01 }, terminated })
    }

    // PPO stores where every environment is, so that a run that was stopped continues to the same bits.
    fn state_width(&self) -> Option<usize> {
        Some(1)
    }
    fn state(&self, state: &mut Vec<f64>) {
        state.push(self.0);
    }
    fn set_state(&mut self, state: &[f64], observation: &mut [f64]) -> Result<(), EnvError> {
        (self.0, observation[0]) = (state[0], state[0]);
        Ok(())
    }
}

fn main() -> anyhow::Result<()> {
    aaren::envs::register("my/Line-v0", "walk to the end of a line and stop there", |options| {
        TimeLimit::boxed(Line(0.0), &aaren::envs::Options::new("my/Line-v0", &[], options)?)
    })?;
    let text = "[env]\nid = \"my/Line-v0\"\n[ppo]\nenv_steps = 20_000\nrollout_len = 256\nminibatches = 4\n[evaluation]\n";
    let job = Job::parse(text, &Changes::default())?.ppo()?;
    let folder = std::env::temp_dir().join(format!("aaren-own-env-{}", std::process::id()));
    let run = RunDir::create(&folder, &job, 1)?;
    let (_, evaluation) = train_ppo(&job, &run, false, &mut NoObserver)?;
    println!("{evaluation}");
    std::fs::remove_dir_all(&folder)?;
    anyhow::ensure!(evaluation.targets[0].return_mean > 0.8, "it did not learn to stop at the end");
    Ok(())
}
