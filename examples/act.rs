//! Acting with a saved policy in a loop of one's own: the state is a value that is passed in and returned.
//!
//!     cargo run --example act

use aaren::policy::{ActionValue, Timesteps};
use aaren::prelude::*;

fn main() -> anyhow::Result<()> {
    // A policy to load: any folder of a checkpoint will do.
    let settings = ["env.options.corridor=10", "train.steps=150", "evaluation.every=0"];
    let job = OfflineJob::quickstart(&settings.map(String::from))?;
    let folder = std::env::temp_dir().join(format!("aaren-act-{}", std::process::id()));
    let run = RunDir::create(&folder, &job, job.train.keep_checkpoints)?;
    train_offline(&job, trajectories(&job)?, &run, false)?;
    let (_, saved) = run.latest_checkpoint()?.expect("a training ends with a checkpoint");

    let policy = checkpoint::load::<Cpu>(&saved, &CPU)?;
    let mut env = job.task()?.make()?;
    let mut observation = vec![0.0; env.spec().observation_space.width()];
    env.reset(Some(7), &mut observation)?;
    let (mut state, mut return_to_go, mut previous) = (policy.initial_state(1, &CPU), 1.0, None::<i64>);
    for t in 0.. {
        let mut shown = Timesteps::new();
        let action = previous.map(ActionValue::Discrete);
        shown.push(&policy.description, &observation, action, return_to_go, t, t == 0);
        let (actions, next) = policy.act(&shown, 1, state, &CPU);
        state = next;
        let ActionValue::Discrete(action) = actions.row(0, 1) else { unreachable!("the maze has discrete actions") };
        let step = env.step(Action::Discrete(action), &mut observation)?;
        (return_to_go, previous) = (return_to_go - step.reward, Some(action));
        println!("step {t}: action {action}, reward {}, state of {} bytes", step.reward, state.bytes());
        if step.end.is_end() {
            break;
        }
    }
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
