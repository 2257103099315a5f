//! The trajectories of a job: read from disk or made by a scripted policy, and held against the job's task.

use anyhow::{Context, Result, bail, ensure};
use envs::{
    Space, Spec,
    dataset::{self, Dataset, scripted},
};

use crate::config::{Collector, JobConfig};

/// The place of data collection in the tree of seeds.
const COLLECTION: u64 = 0x6461_7461; // "data"

/// Loads or collects what a job trains on. Warnings about the data go to the log.
///
/// # Errors
/// Names the dataset and what is wrong with it, or the key of the scripted collector; says how the task differs if the
/// data is another task's.
pub fn trajectories(job: &JobConfig) -> Result<Dataset> {
    let env = envs::make(&job.env.id, &job.env.options).context("env")?;
    let dataset = match (&job.data.source, &job.data.scripted) {
        (Some(source), _) => {
            let loaded = dataset::load(source).context("data.source")?;
            for warning in &loaded.warnings {
                tracing::warn!("{}: {warning}", loaded.path.display());
            }
            loaded.dataset
        }
        (None, Some(_)) => scripted::collect(&collection(job)?).context("data.scripted")?,
        (None, None) => bail!("data: found neither \"source\" nor \"scripted\", expected exactly one of them"),
    };
    belongs(&dataset, env.spec()).with_context(|| format!("{} does not belong to the job's task", job.data.describe()))?;
    Ok(dataset)
}

/// What the scripted collector is asked for.
///
/// # Errors
/// If the job's data is not scripted.
pub fn collection(job: &JobConfig) -> Result<scripted::ScriptedConfig> {
    let scripted = job.data.scripted.as_ref().context("data.scripted is missing: this job's data is not collected")?;
    Ok(scripted::ScriptedConfig {
        env: job.env.id.clone(),
        options: job.env.options.clone(),
        collector: match scripted.collector {
            Collector::Expert => scripted::Collector::Scripted,
            Collector::Random => scripted::Collector::Random,
        },
        episodes: scripted.episodes,
        quality: scripted.quality,
        noise: scripted.noise,
        seed: envs::derive_seed(job.seed, &[COLLECTION]),
    })
}

/// Refuses data of another task. Another version of the same task has the same name up to `-v` and is let through with a warning.
fn belongs(dataset: &Dataset, spec: &Spec) -> Result<()> {
    let name = |id: &str| id.rsplit_once("-v").map_or(id, |(name, _)| name).to_string();
    if let Some(env_id) = dataset.env_id.as_ref().filter(|env_id| **env_id != spec.id) {
        ensure!(
            name(env_id) == name(&spec.id),
            "the dataset {} was recorded in {env_id}, the job's task is {}",
            dataset.id,
            spec.id
        );
        tracing::warn!("the dataset {} was recorded in {env_id}, the job's task is {}", dataset.id, spec.id);
    }
    for (what, of_data, of_env) in [
        ("observations", &dataset.observation_space, &spec.observation_space),
        ("actions", &dataset.action_space, &spec.action_space),
    ] {
        ensure!(
            shape(of_data) == shape(of_env),
            "the dataset {} has {what} of {}, {} has {}",
            dataset.id,
            shape(of_data),
            spec.id,
            shape(of_env)
        );
    }
    Ok(())
}

fn shape(space: &Space) -> String {
    match space {
        Space::Box { low, .. } => format!("{} numbers", low.len()),
        Space::Discrete { n, start } => format!("{n} choices from {start}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(overrides: &[&str]) -> JobConfig {
        let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
        JobConfig::quickstart(&overrides).unwrap()
    }

    #[test]
    fn collected_data_is_a_function_of_the_seed() {
        let few = |seed: u64| trajectories(&job(&["data.scripted.episodes=3", &format!("seed={seed}")])).unwrap();
        assert_eq!(few(1), few(1));
        assert_ne!(few(1).trajectories, few(2).trajectories);
        assert_eq!(few(1).trajectories.len(), 3);
    }

    #[test]
    fn what_the_collector_cannot_do_is_said_with_the_key() {
        let message = format!("{:#}", trajectories(&job(&["data.scripted.noise=1"])).unwrap_err());
        assert!(message.contains("data.scripted") && message.contains("noise"), "{message}");
    }

    #[test]
    fn data_of_another_task_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let dataset = trajectories(&job(&["data.scripted.episodes=3"])).unwrap();
        dataset::save(&dataset, &path, dataset::Format::Minari, false).unwrap();
        let data = format!(r#"data={{"source": "{}"}}"#, path.display());
        assert_eq!(trajectories(&job(&[&data])).unwrap().trajectories, dataset.trajectories);
        let other = r#"env={"id": "Pendulum-v1"}"#;
        let message = format!("{:#}", trajectories(&job(&[&data, other])).unwrap_err());
        assert!(message.contains("TMaze-v0") && message.contains("Pendulum-v1"), "{message}");
    }
}
