//! Training on trajectories of one's own, with a bar and a run folder as `aaren train` has them.
//!
//!     cargo run --example train_offline

use aaren::data::{Actions, Dataset};
use aaren::prelude::*;

/// Episodes of the T-maze that turn to the side of the cue in 80 %; their return says which.
fn episodes_of_a_script(job: &OfflineJob, count: u64) -> anyhow::Result<Dataset> {
    let mut env = job.task()?.make()?;
    let spec = env.spec().clone();
    let mut observation = vec![0.0; spec.observation_space.width()];
    let mut trajectories = Vec::new();
    for seed in 0..count {
        env.reset(Some(seed), &mut observation)?;
        let follows = Generator::from_seed(seed).double() < 0.8;
        let turn = if (observation[0] > 0.0) == follows { 2 } else { 1 }; // right, or left
        let (mut shown, mut actions, mut rewards, mut end) = (observation.clone(), vec![], vec![], StepEnd::default());
        while !end.is_end() {
            let action = if observation[2] == 1.0 { turn } else { 0 }; // forward until the junction
            let step = env.step(Action::Discrete(action), &mut observation)?;
            actions.push(action);
            rewards.push(step.reward);
            shown.extend_from_slice(&observation);
            end = step.end;
        }
        let actions = Actions::Discrete(actions);
        trajectories.push(Trajectory { observations: shown, actions, rewards, end, seed: Some(seed) });
    }
    Ok(Dataset {
        id: "my/script-v0".into(),
        env_id: Some(spec.id),
        observation_space: spec.observation_space,
        action_space: spec.action_space,
        max_episode_steps: spec.max_episode_steps,
        reference_scores: None,
        metadata: Default::default(),
        trajectories,
    })
}

fn main() -> anyhow::Result<()> {
    let settings = ["env.options.corridor=10", "train.steps=200", "evaluation.every=0"];
    let job = OfflineJob::quickstart(&settings.map(String::from))?;
    let dataset = episodes_of_a_script(&job, 500)?;
    let folder = std::env::temp_dir().join(format!("aaren-train-offline-{}", std::process::id()));
    let run = RunDir::create(&folder, &job, job.train.keep_checkpoints)?;
    let (summary, evaluation) = train_offline(&job, dataset, &run, false)?;
    println!("{summary}\n{evaluation}");
    std::fs::remove_dir_all(&folder)?;
    anyhow::ensure!(evaluation.targets[0].return_mean > 0.8, "asked for the return 1, it did not turn to the cue's side");
    Ok(())
}
