//! The jobs of the D4RL table: each parses, says what its name says, and makes an optimizer step on data of its robot's shapes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use aaren_data::{self, Actions, Dataset, Statistics, Trajectory};
use aaren_envs::{Dtype, Space, StepEnd};
use aaren_policy::{ActionSpec, Description, Normalizer};

use super::segments::SegmentSampler;
use super::source::SegmentSource;
use super::{DeviceBatch, Learner, trajectories};
use crate::config::{Changes, Execution, Job, OfflineJob};
use crate::exchange::Shards;

/// Robot, task, numbers in an observation and in an action.
const ROBOTS: [(&str, &str, usize, usize); 4] = [
    ("hopper", "Hopper-v5", 11, 3),
    ("halfcheetah", "HalfCheetah-v5", 17, 6),
    ("walker2d", "Walker2d-v5", 17, 6),
    ("ant", "Ant-v5", 27, 8),
];
const DATASETS: [&str; 3] = ["medium", "medium-replay", "medium-expert"];
const AGENTS: [&str; 5] = ["aaren", "aaren-episodes", "transformer", "bc", "bc10"];

/// The file of one part of a preset.
fn part(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/d4rl").join(format!("{name}.toml"))
}

fn preset(robot: &str, dataset: &str, agent: &str, changes: &Changes) -> OfflineJob {
    let job = Job::load(&[robot, dataset, agent].map(part), changes).and_then(Job::offline);
    job.unwrap_or_else(|error| panic!("{robot}, {dataset}, {agent}: {error:#}"))
}

fn is_registered(env_id: &str) -> bool {
    aaren_envs::tasks().iter().any(|task| task.id == env_id)
}

/// Twelve short episodes in the robot's shapes, with returns of their own.
fn stand_in(env_id: &str, observation_width: usize, action_width: usize, seed: u64) -> Dataset {
    let mut count = seed;
    let mut number = move || {
        count += 1;
        (count as f64 * 0.7).sin()
    };
    let mut episode = |index: usize| {
        let length = 5 + 4 * index;
        Trajectory {
            observations: (0..(length + 1) * observation_width).map(|_| number()).collect(),
            actions: Actions::Continuous((0..length * action_width).map(|_| number() as f32).collect()),
            rewards: (0..length).map(|_| number() + index as f64).collect(),
            end: StepEnd { terminated: true, truncated: false },
            seed: None,
        }
    };
    Dataset {
        id: format!("stand-in/{}", env_id.to_lowercase()),
        env_id: Some(env_id.into()),
        observation_space: Space::uniform_box(observation_width, f64::NEG_INFINITY, f64::INFINITY, Dtype::Float64),
        action_space: Space::uniform_box(action_width, -1.0, 1.0, Dtype::Float32),
        max_episode_steps: Some(1000),
        reference_scores: None,
        metadata: Default::default(),
        trajectories: (0..12).map(&mut episode).collect(),
    }
}

#[test]
fn there_is_a_preset_for_each_robot_dataset_and_agent_and_no_other() {
    for (robot, env_id, ..) in ROBOTS {
        for dataset in DATASETS {
            let jobs: BTreeMap<&str, OfflineJob> = AGENTS
                .into_iter()
                .filter(|_| is_registered(env_id))
                .map(|agent| (agent, preset(robot, dataset, agent, &Changes::default())))
                .collect();
            let Some(aaren) = jobs.get("aaren") else { continue };
            let sources = &aaren.data.source.as_ref().unwrap().0;
            let expected: Vec<String> = match dataset {
                "medium-expert" => vec![format!("{robot}/medium-v0"), format!("{robot}/expert-v0")],
                other => vec![format!("{robot}/{other}-v0")],
            };
            assert_eq!(*sources, expected);
            for (agent, job) in &jobs {
                assert_eq!(job.task().unwrap().id, env_id);
                let (is_cloning, is_of_episodes) = (agent.starts_with("bc"), *agent == "aaren-episodes");
                assert_eq!(job.policy.tokens.has_return_to_go(), !is_cloning);
                let mixer = if is_cloning { "mlp" } else { agent.trim_end_matches("-episodes") };
                assert_eq!(job.policy.mixer, mixer);
                assert_eq!(job.evaluation.execution == Execution::Window, !is_cloning && !is_of_episodes);
                assert_eq!(job.data.top_fraction, if *agent == "bc10" { 0.1 } else { 1.0 });
                // The budget is everyone's, and so are the episodes.
                assert_eq!((job.train.steps, &job.data.source), (aaren.train.steps, &aaren.data.source), "{agent}");
                assert_eq!(job.train == aaren.train, !is_of_episodes, "{agent}");
                assert_eq!(job.evaluation.final_episodes, aaren.evaluation.final_episodes);
            }
        }
    }
    let names = ROBOTS.iter().map(|robot| robot.0).chain(DATASETS).chain(AGENTS).chain(["budget"]);
    let mut expected: Vec<PathBuf> = names.map(part).collect();
    expected.sort();
    let mut found: Vec<PathBuf> = fs::read_dir(part("x").parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn every_preset_makes_a_step() {
    let folder = tempfile::tempdir().unwrap();
    let mut made = 0;
    for (robot, env_id, observation_width, action_width) in ROBOTS.into_iter().filter(|robot| is_registered(robot.1)) {
        let is_built = aaren_envs::tasks().iter().any(|task| task.id == env_id && task.missing().is_none());
        let paths = [1, 2].map(|seed| {
            let path = folder.path().join(format!("{robot}-{seed}"));
            let dataset = stand_in(env_id, observation_width, action_width, seed);
            aaren_data::save(&dataset, &path, aaren_data::Format::Minari, false).unwrap();
            path
        });
        for dataset in DATASETS {
            for agent in AGENTS {
                let name = format!("{robot}-{dataset}-{agent}");
                let files = if dataset == "medium-expert" { &paths[..] } else { &paths[..1] };
                let data = files.iter().map(|file| file.display().to_string()).collect();
                let changes = Changes { set: vec!["train.batch_size=3".into()], data, ..Changes::default() };
                let job = preset(robot, dataset, agent, &changes);
                // Without its simulator a job's data cannot be held against its task, but its policy can still learn.
                let dataset = match is_built {
                    true => trajectories(&job).unwrap_or_else(|error| panic!("{name}: {error:#}")),
                    false => stand_in(env_id, observation_width, action_width, 1),
                };
                if is_built {
                    let kept = if agent == "bc10" { files.len() as f64 * 1.2 } else { files.len() as f64 * 12.0 };
                    assert_eq!(dataset.trajectories.len(), kept.round() as usize, "{name}");
                }
                let statistics = Statistics::of(&dataset, None);
                let description = Description {
                    format: Description::FORMAT,
                    config: job.policy.clone(),
                    normalizer: Normalizer::new(statistics.observation_mean, &statistics.observation_std),
                    action: ActionSpec::Continuous { low: vec![-1.0; action_width], high: vec![1.0; action_width] },
                    environment: serde_json::Value::Null,
                };
                let mut learner: Learner = Learner::new(description.clone(), &job.train, job.seed).unwrap();
                let source = SegmentSource::new(dataset, description).unwrap();
                let sampler = SegmentSampler::new(source, &job.train, job.seed);
                learner
                    .update(DeviceBatch::copy(sampler.shared_batch(0, &[], &Shards::all(1)), learner.description()).unwrap())
                    .unwrap();
                assert!(learner.progress.interval.gradient_norm > 0.0, "{name}: {:?}", learner.progress);
                made += 1;
            }
        }
    }
    assert_eq!(made, 60);
}
