//! The trajectories of a job: read from disk or made by a scripted policy, and checked against the job's task.

use aaren_data::{
    self, Check, Dataset, LoadOptions, Loaded, Strictness, Trajectory, load_with, rescale_actions, scripted, task_differences,
};
use aaren_envs::{EnvError, Space, Spec};
use anyhow::{Context, Error, Result, anyhow, bail, ensure};

use crate::config::{ActionUnits, Collector, EnvConfig, OfflineJob, caution};
use crate::exchange::Ranks;
use crate::run::data_mark::DataMark;
use crate::run::interrupt::{self, Interrupted};

/// The place of data collection in the tree of seeds.
const COLLECTION: u64 = 0x6461_7461; // "data"

/// Loads or collects what a job trains on: datasets joined in order, and of all episodes the best share. Warnings about the data, and
/// where they were made in another task than the job's, go to the log.
///
/// # Errors
/// Names the dataset and what is wrong with it, or the key of the scripted collector; says how the task differs if the
/// data is another task's, or two datasets from each other.
pub fn trajectories(job: &OfflineJob) -> Result<Dataset> {
    let env = job.env.as_ref().map(EnvConfig::make).transpose()?;
    let mut cautions = Vec::new();
    let dataset = match (&job.data.source, &job.data.scripted) {
        (Some(sources), _) => {
            let mut datasets = Vec::new();
            for source in &sources.0 {
                let (max_episode_steps, incomplete) = (job.data.max_episode_steps, job.data.incomplete.into());
                let task_limit = env.as_ref().and_then(|env| env.spec().max_episode_steps);
                let options = LoadOptions { max_episode_steps, task_limit, incomplete, ..LoadOptions::default() };
                let loaded = load_with(source, &options).context("data.source")?;
                let dataset = match &env {
                    Some(env) => in_task(loaded, job, env.spec(), &mut cautions)?,
                    None => {
                        let path = loaded.path.display().to_string();
                        cautions.extend(loaded.warnings.iter().map(|warning| format!("{path}: {warning}")));
                        loaded.dataset
                    }
                };
                datasets.push((source.clone(), dataset));
            }
            join(datasets).context("data.source")?
        }
        (None, Some(_)) => {
            let check = || interrupt::check().map_err(anyhow::Error::from);
            scripted::collect_checked(&collection(job)?, check).map_err(of_scripted)?
        }
        (None, None) => bail!("data: found neither \"source\" nor \"scripted\", expected exactly one of them"),
    };
    if let Some(env) = &env {
        let belongs = belongs(&dataset, env.spec()).map_err(|error| match &cautions[..] {
            [] => error,
            // An option may be what it takes.
            cautions => anyhow!("{error}; {}", cautions.join("; ")),
        });
        cautions.extend(belongs.with_context(|| format!("{} does not belong to the job's task", job.data.describe()))?);
    }
    caution(&cautions, job.strict)?;
    Ok(best(dataset, job.data.top_fraction))
}

/// A dataset with its actions in the units of the job's task, where it is asked for. Notes what the loader warns of, and what the data
/// say of their task that is otherwise in the job's.
fn in_task(loaded: Loaded, job: &OfflineJob, spec: &Spec, cautions: &mut Vec<String>) -> Result<Dataset> {
    let Loaded { mut dataset, path, mut warnings, .. } = loaded;
    // Data of another task are refused later, and whatever else differs is beside the point.
    if job.data.actions.is_some() && shape(&dataset.action_space) == shape(&spec.action_space) && !spec.action_space.is_discrete()
    {
        if job.data.actions == Some(ActionUnits::Rescale) {
            rescale_actions(&mut dataset, &spec.action_space).map_err(|problem| anyhow!("data.actions: {problem}"))?;
        } else {
            dataset.action_space = spec.action_space.clone();
            warnings.retain(|warning| warning.check != Check::ActionBounds);
            let outside = aaren_data::verify(&dataset, Strictness::Normal).warnings.into_iter();
            warnings.extend(outside.filter(|warning| warning.check == Check::ActionBounds));
        }
    }
    cautions.extend(warnings.iter().map(|warning| format!("{}: {warning}", path.display())));
    if dataset.env_id.as_ref().is_none_or(|env_id| task_name(env_id) == task_name(&spec.id)) {
        cautions.extend(task_differences(&dataset, spec, &job.task()?.options));
    }
    Ok(dataset)
}

/// One dataset with the trajectories of several, each with the name it was asked for, in order. What only the parts know of themselves (metadata) is left out.
///
/// # Errors
/// Names the first two datasets that are of different tasks or have different spaces, and how they differ.
fn join(datasets: Vec<(String, Dataset)>) -> Result<Dataset> {
    let mut datasets = datasets.into_iter();
    let (first, mut joined) = datasets.next().context("there is no dataset to join")?;
    for (name, dataset) in datasets {
        let differ = |what: &str, left: String, right: String| {
            anyhow!("the datasets {first} and {name} cannot be joined: they differ in {what} ({left} and {right})")
        };
        match (&joined.env_id, &dataset.env_id) {
            (Some(left), Some(right)) if left != right => return Err(differ("the environment", left.clone(), right.clone())),
            (None, Some(right)) => joined.env_id = Some(right.clone()),
            _ => {}
        }
        for (what, left, right) in [
            ("observations", &joined.observation_space, &dataset.observation_space),
            ("actions", &joined.action_space, &dataset.action_space),
        ] {
            // Bounds of one task may be written with other digits or another dtype; what the network sees is the shape.
            if shape(left) != shape(right) {
                return Err(differ(what, shape(left), shape(right)));
            }
        }
        for key in ["observation_space", "action_space"] {
            // Choices of other spaces may be as many.
            let recorded = |dataset: &Dataset| dataset.recorded_space(key).unwrap_or_else(|| "as it is".into());
            if recorded(&joined) != recorded(&dataset) {
                return Err(differ(&format!("the recorded {key}"), recorded(&joined), recorded(&dataset)));
            }
        }
        joined.id += &format!(" + {}", dataset.id);
        joined.max_episode_steps = joined.max_episode_steps.max(dataset.max_episode_steps);
        joined.reference_scores = joined.reference_scores.filter(|scores| Some(*scores) == dataset.reference_scores);
        joined.metadata.retain(|key, _| key.starts_with("recorded_"));
        joined.trajectories.extend(dataset.trajectories);
    }
    Ok(joined)
}

/// The share of the episodes with the highest returns, in their order: the number of episodes times `fraction`, rounded to the
/// nearest whole number, at least 1. Of equal returns the earlier episode is taken; episodes without a step do not count.
fn best(mut dataset: Dataset, fraction: f64) -> Dataset {
    if fraction == 1.0 {
        return dataset;
    }
    dataset.trajectories.retain(|trajectory| !trajectory.is_empty());
    let returns: Vec<f64> = dataset.trajectories.iter().map(Trajectory::episode_return).collect();
    let kept = ((fraction * returns.len() as f64).round() as usize).max(1);
    let mut order: Vec<usize> = (0..returns.len()).collect();
    order.sort_by(|&a, &b| returns[b].total_cmp(&returns[a])); // stable, so equals keep their order
    let mut is_kept = vec![false; returns.len()];
    order.iter().take(kept).for_each(|&index| is_kept[index] = true);
    let mut is_kept = is_kept.into_iter();
    dataset.trajectories.retain(|_| is_kept.next() == Some(true));
    dataset
}

/// An error of a scripted collection, with what to do about it for who has not written the key: the quickstart may have.
fn of_scripted(error: Error) -> Error {
    match error.downcast_ref() {
        Some(EnvError::Option { key, problem, .. }) if problem.ends_with("leave it out") => {
            anyhow!("data.scripted: {error:#} (--set data.scripted.{key}=null)")
        }
        _ if error.is::<Interrupted>() => error,
        _ => error.context("data.scripted"),
    }
}

/// What the scripted collector is asked for.
///
/// # Errors
/// If the job's data is not scripted.
fn collection(job: &OfflineJob) -> Result<scripted::ScriptedConfig> {
    let scripted = job.data.scripted.as_ref().context("data.scripted is missing: this job's data is not collected")?;
    Ok(scripted::ScriptedConfig {
        env: job.task()?.id.clone(),
        options: job.task()?.options.clone(),
        collector: match scripted.collector {
            Collector::Expert => scripted::Collector::Scripted,
            Collector::Random => scripted::Collector::Random,
        },
        episodes: scripted.episodes,
        quality: scripted.quality,
        noise: scripted.noise,
        seed: aaren_envs::derive_seed(job.seed, &[COLLECTION]),
    })
}

/// Refuses data of another task. Another version of the same task has the same name up to `-v` and is let through with a caution;
/// so is D4RL's maze with other walls.
fn belongs(dataset: &Dataset, spec: &Spec) -> Result<Option<String>> {
    let mut caution = None;
    if let Some(env_id) = dataset.env_id.as_ref().filter(|env_id| full_name(env_id) != full_name(&spec.id)) {
        ensure!(
            task_name(env_id) == task_name(&spec.id),
            "the dataset {} was recorded in {env_id}, the job's task is {}; --env {env_id} evaluates in that one where this build has it, \
             --set env=null trains on the data alone",
            dataset.id,
            spec.id
        );
        caution = Some(format!("the dataset {} was recorded in {env_id}, the job's task is {}", dataset.id, spec.id));
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
    Ok(caution)
}

/// A task's name, wherever it runs: `gymnasium:CartPole-v1` is CartPole-v1.
fn full_name(id: &str) -> &str {
    id.rsplit(':').next().unwrap_or(id)
}

/// A task's name without its version. D4RL's mazes have one name, with MuJoCo and without.
fn task_name(id: &str) -> &str {
    let id = full_name(id);
    match id.rsplit_once("-v").map_or(id, |(name, _)| name) {
        "PointMaze" => "Maze2D",
        name => name,
    }
}

fn shape(space: &Space) -> String {
    match space {
        Space::Box { low, .. } => format!("{} numbers", low.len()),
        Space::Discrete { n, start } => format!("{n} choices from {start}"),
    }
}

/// Refuses to train where the processes of a job have different data.
///
/// # Errors
/// Names the first that has other data than rank 0; or a rank that does not come.
pub(crate) fn expect_alike(dataset: &Dataset, ranks: &Ranks) -> Result<()> {
    if ranks.size() == 1 {
        return Ok(());
    }
    let mark = DataMark::of(dataset);
    mark.expect_alike(&ranks.gather_values(mark)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(overrides: &[&str]) -> OfflineJob {
        let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
        OfflineJob::quickstart(&overrides).unwrap()
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
        // Of another task than the quickstart's, by flags alone.
        let settings = ["env={\"id\": \"Pendulum-v1\"}", "data.scripted.episodes=2"];
        let message = format!("{:#}", trajectories(&job(&settings)).unwrap_err());
        assert!(message.ends_with("leave it out (--set data.scripted.quality=null)"), "{message}");
        trajectories(&job(&[&settings[..], &["data.scripted.quality=null"]].concat())).unwrap();
    }

    #[test]
    fn the_best_share_is_rounded_and_ties_go_to_the_earlier_episode() {
        let dataset = trajectories(&job(&["data.scripted.episodes=1"])).unwrap();
        let with = |returns: &[f64]| {
            let episode = |(index, &value): (usize, &f64)| Trajectory {
                seed: Some(index as u64),
                rewards: if value.is_nan() { vec![] } else { vec![value - 1.0, 1.0] },
                ..dataset.trajectories[0].clone()
            };
            Dataset { trajectories: returns.iter().enumerate().map(episode).collect(), ..dataset.clone() }
        };
        let kept = |returns: &[f64], fraction: f64| -> Vec<u64> {
            best(with(returns), fraction).trajectories.iter().map(|trajectory| trajectory.seed.unwrap()).collect()
        };
        let empty = f64::NAN;
        assert_eq!(kept(&[1.0, 5.0, 3.0, 5.0, 5.0], 0.4), [1, 3]);
        assert_eq!(kept(&[-1.0, empty, -2.0, -3.0, empty, -4.0], 0.5), [0, 2]);
        assert_eq!(kept(&[1.0, 2.0, 3.0], 1e-9), [2]);
        let many: Vec<f64> = (0..30).map(f64::from).collect();
        assert_eq!(kept(&many, 0.1), [27, 28, 29]); // 0.1 * 30 is a little more than 3
        assert_eq!(kept(&many[..25], 0.1), [22, 23, 24]);
        assert_eq!(kept(&many[..24], 0.1), [22, 23]);
        assert_eq!(kept(&many, 1.0).len(), 30);
    }

    #[test]
    fn datasets_are_joined_in_order_and_only_if_they_agree() {
        let folder = tempfile::tempdir().unwrap();
        let saved = |name: &str, overrides: &[&str]| {
            let path = folder.path().join(name);
            let dataset = trajectories(&job(overrides)).unwrap();
            aaren_data::save(&dataset, &path, aaren_data::Format::Minari, false).unwrap();
            (path, dataset)
        };
        let (left, a) = saved("left", &["data.scripted.episodes=3"]);
        let (right, b) = saved("right", &["data.scripted.episodes=2", "seed=2"]);
        let (other, _) =
            saved("other", &[r#"data={"scripted": {"collector": "random", "episodes": 2}}"#, r#"env={"id": "Pendulum-v1"}"#]);
        let load =
            |paths: &[&std::path::PathBuf]| trajectories(&job(&[&format!("data={}", serde_json::json!({ "source": paths }))]));
        let joined = load(&[&left, &right]).unwrap();
        assert_eq!(joined.trajectories, [a.trajectories.clone(), b.trajectories].concat());
        assert_eq!(load(&[&left]).unwrap().trajectories, a.trajectories);
        let message = format!("{:#}", load(&[&left, &other]).unwrap_err());
        for words in ["data.source", "left", "other", "TMaze-v0", "Pendulum-v1"] {
            assert!(message.contains(words), "{message:?} lacks {words:?}");
        }
        assert!(format!("{:#}", load(&[&left, &folder.path().join("none")]).unwrap_err()).contains("none"));
    }

    #[test]
    fn data_of_another_task_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let dataset = trajectories(&job(&["data.scripted.episodes=3"])).unwrap();
        aaren_data::save(&dataset, &path, aaren_data::Format::Minari, false).unwrap();
        let data = format!(r#"data={{"source": "{}"}}"#, path.display());
        assert_eq!(trajectories(&job(&[&data])).unwrap().trajectories, dataset.trajectories);
        let other = r#"env={"id": "Pendulum-v1"}"#;
        let message = format!("{:#}", trajectories(&job(&[&data, other])).unwrap_err());
        assert!(message.contains("TMaze-v0") && message.contains("Pendulum-v1"), "{message}");
    }

    /// A job of the pendulum on a dataset, with more settings, and what it is refused for if it is strict.
    fn pendulum(path: &std::path::Path, settings: &[&str]) -> (Dataset, String) {
        let data = format!(r#"data={{"source": "{}"}}"#, path.display());
        let settings = [&[&*data, r#"env={"id": "Pendulum-v1"}"#], settings].concat();
        let strict = trajectories(&job(&[&settings[..], &["strict=true"]].concat()));
        (trajectories(&job(&settings)).unwrap(), strict.map_or_else(|error| format!("{error:#}"), |_| String::new()))
    }

    fn saved(folder: &std::path::Path, change: impl FnOnce(&mut Dataset)) -> (std::path::PathBuf, Dataset) {
        let config = serde_json::json!({"env": "Pendulum-v1", "collector": "random", "episodes": 2, "seed": 1});
        let mut dataset = scripted::collect(&serde_json::from_value(config).unwrap()).unwrap();
        change(&mut dataset);
        let path = folder.join("data");
        aaren_data::save(&dataset, &path, aaren_data::Format::Minari, true).unwrap();
        (path, dataset)
    }

    #[test]
    fn data_of_a_task_made_otherwise_are_said_and_refused_when_strict() {
        let folder = tempfile::tempdir().unwrap();
        let (path, _) = saved(folder.path(), |_| ());
        assert_eq!(pendulum(&path, &[]).1, "");
        let (_, refused) = pendulum(&path, &["env.options.g=3"]);
        assert!(
            refused.contains("made with g = 10, the task Pendulum-v1 has g = 3; --set env.options.g=10 sets it"),
            "{refused}"
        );
        assert!(refused.contains("a warning without --strict"), "{refused}");
        let (pieces, refused) = pendulum(&path, &["data.max_episode_steps=50"]);
        assert_eq!(pieces.trajectories.iter().map(Trajectory::len).collect::<Vec<_>>(), [50; 8]);
        assert!(refused.contains("time limit of 50 steps, the task Pendulum-v1 has one of 200"), "{refused}");
        assert_eq!(pendulum(&path, &["data.max_episode_steps=50", "env.options.max_episode_steps=50"]).1, "");
    }

    #[test]
    fn data_of_other_widths_name_the_option_that_makes_them() {
        let folder = tempfile::tempdir().unwrap();
        let config = serde_json::json!({"env": "Pendulum-v1", "options": {"hide_velocity": true}, "episodes": 1, "seed": 1,
                                        "collector": "random"});
        let dataset = scripted::collect(&serde_json::from_value(config).unwrap()).unwrap();
        let path = folder.path().join("data");
        aaren_data::save(&dataset, &path, aaren_data::Format::Minari, true).unwrap();
        let data = format!(r#"data={{"source": "{}"}}"#, path.display());
        let message = format!("{:#}", trajectories(&job(&[&data, r#"env={"id": "Pendulum-v1"}"#])).unwrap_err());
        assert!(
            message.contains("--set env.options.hide_velocity=true") && message.contains("numbers, Pendulum-v1 has"),
            "{message}"
        );
    }

    #[test]
    fn actions_change_their_units_only_if_asked() {
        let folder = tempfile::tempdir().unwrap();
        let one = Space::uniform_box(1, -1.0, 1.0, aaren_envs::Dtype::Float32);
        let actions = |dataset: &Dataset| match &dataset.trajectories[1].actions {
            aaren_data::Actions::Continuous(numbers) => numbers.clone(),
            other => panic!("{other:?}"),
        };
        // Torques from -2 to 2, stored in units of 2.
        let mut torques = Vec::new();
        let (path, dataset) = saved(folder.path(), |dataset| {
            torques = actions(dataset);
            rescale_actions(dataset, &one).unwrap();
        });
        let (as_they_are, refused) = pendulum(&path, &[]);
        assert_eq!(actions(&as_they_are), actions(&dataset));
        assert!(refused.contains("actions in [-1, 1], the task Pendulum-v1 in [-2, 2]; --set data.actions=rescale"), "{refused}");
        let (rescaled, refused) = pendulum(&path, &["data.actions=rescale"]);
        assert_eq!((actions(&rescaled), refused), (torques.clone(), String::new()));

        // Torques that the file says are from -1 to 1.
        let (path, dataset) = saved(folder.path(), |dataset| dataset.action_space = one.clone());
        assert!(pendulum(&path, &[]).1.contains("actions outside the bounds"));
        let (kept, refused) = pendulum(&path, &["data.actions=keep"]);
        assert_eq!((actions(&kept), refused), (actions(&dataset), String::new()));
    }

    #[test]
    fn mazes_with_and_without_mujoco_share_their_data() {
        let maze = aaren_envs::make("PointMaze-v0", &Default::default()).unwrap();
        let config = serde_json::json!({"env": "PointMaze-v0", "episodes": 1, "seed": 1});
        let mut dataset = scripted::collect(&serde_json::from_value(config).unwrap()).unwrap();
        dataset.env_id = Some("Maze2D-v1".into());
        belongs(&dataset, maze.spec()).unwrap();
        dataset.env_id = Some("Maze3D-v1".into());
        assert!(belongs(&dataset, maze.spec()).unwrap_err().to_string().contains("was recorded in Maze3D-v1"));
    }
}
