//! What a policy is that is trained on a dataset: normalization, return scale and actions.

use aaren_data::{Actions, Dataset, Statistics, Trajectory};
use aaren_policy::{ActionSpec, Description, Normalizer, PolicyConfig};
use anyhow::Result;

use crate::config::{EnvConfig, OfflineJob, TargetReturn};
use crate::play::spaces::action_spec;
use crate::run::data_mark::LeftToData;

/// The largest absolute return-to-go in a dataset; 1 where there is none but 0.
pub(super) fn return_scale(dataset: &Dataset) -> f64 {
    let all = dataset.trajectories.iter().flat_map(|trajectory| trajectory.returns_to_go());
    match all.fold(0.0, |largest: f64, value| largest.max(value.abs())) {
        0.0 => 1.0,
        largest => largest,
    }
}

/// The least and the largest return-to-go in a dataset; none where there is no timestep.
pub(super) fn return_range(dataset: &Dataset) -> Option<[f64; 2]> {
    let all = dataset.trajectories.iter().flat_map(|trajectory| trajectory.returns_to_go());
    all.fold(None, |range, value| {
        let [least, largest] = range.unwrap_or([value; 2]);
        Some([f64::min(least, value), f64::max(largest, value)])
    })
}

/// Whether a job says all that [`settle`] would take from its data.
pub(super) fn is_settled(job: &OfflineJob) -> bool {
    left_to_data(job) == LeftToData::default()
}

/// Which keys [`settle`] would take from the data.
pub(super) fn left_to_data(job: &OfflineJob) -> LeftToData {
    let is_told = job.policy.tokens.has_return_to_go();
    let targets = &job.evaluation.target_returns;
    LeftToData {
        return_scale: job.policy.return_scale.is_none(),
        return_range: is_told && job.policy.return_range.is_none(),
        target_returns: is_told && (targets.is_empty() || targets.iter().any(|target| target.known().is_none())),
    }
}

/// The job with what it takes from all of its data, held-out episodes too, so that seeds do not differ in it: the scale and the range of
/// returns-to-go, and the highest return as the one to ask for. What the job says stays.
pub(crate) fn settle(job: &OfflineJob, dataset: &Dataset) -> OfflineJob {
    let mut job = job.clone();
    job.policy.return_scale.get_or_insert_with(|| return_scale(dataset));
    if !job.policy.tokens.has_return_to_go() {
        return job;
    }
    job.policy.return_range = job.policy.return_range.or_else(|| return_range(dataset));
    if let Some(best) = dataset.trajectories.iter().map(Trajectory::episode_return).reduce(f64::max) {
        let targets = &mut job.evaluation.target_returns;
        if targets.is_empty() {
            targets.push(TargetReturn::OfBest(1.0));
        }
        targets.iter_mut().for_each(|target| *target = target.of(best).into());
    }
    job
}

/// What a policy trained on a dataset for a task is.
///
/// # Errors
/// If the task is unknown to this build, or no head can act in its action space.
///
/// - `env`: the task; without one its spaces are those of the data
pub fn describe(env: &Option<EnvConfig>, policy: &PolicyConfig, dataset: &Dataset) -> Result<Description> {
    let (action, environment) = match env {
        Some(env) => {
            let task = env.make()?;
            let spec = task.spec();
            (action_spec(&spec.action_space), serde_json::json!({ "id": env.id, "options": env.options, "spec": spec }))
        }
        None => (action_of_data(dataset), environment_of_data(dataset)),
    };
    let statistics = Statistics::of(dataset, None);
    let description = Description {
        format: Description::FORMAT,
        config: PolicyConfig {
            return_scale: policy.return_scale.or(Some(return_scale(dataset))),
            return_range: policy.return_range.or_else(|| return_range(dataset)).filter(|_| policy.tokens.has_return_to_go()),
            ..policy.clone()
        },
        normalizer: Normalizer::new(statistics.observation_mean, &statistics.observation_std),
        action,
        environment,
    };
    description.check()?;
    Ok(description)
}

/// The actions of a dataset: within the bounds that it says or, where it says none, those of its numbers.
fn action_of_data(dataset: &Dataset) -> ActionSpec {
    let mut action = action_spec(&dataset.action_space);
    let ActionSpec::Continuous { low, high } = &mut action else { return action };
    let width = low.len();
    for component in 0..width {
        let is_bound = |bound: f64| bound.abs() < 1e30; // the largest float means none
        if is_bound(low[component]) && is_bound(high[component]) && low[component] < high[component] {
            continue;
        }
        let numbers = dataset.trajectories.iter().flat_map(|trajectory| match &trajectory.actions {
            Actions::Continuous(actions) => &actions[..],
            Actions::Discrete(_) => &[],
        });
        let numbers = numbers.skip(component).step_by(width).copied().map(f64::from);
        let (least, most) =
            numbers.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), number| (least.min(number), most.max(number)));
        // A number that never changes needs room too.
        (low[component], high[component]) = if least < most { (least, most) } else { (least - 1.0, least + 1.0) };
        tracing::warn!(
            "{}: component {component} of the actions has no bounds; the policy's are {} and {}, those of the data",
            dataset.id,
            low[component],
            high[component]
        );
    }
    action
}

/// What a policy says of its task that was trained without one.
fn environment_of_data(dataset: &Dataset) -> serde_json::Value {
    let mut spaces = serde_json::json!({ "observation_space": dataset.observation_space, "action_space": dataset.action_space });
    for key in ["observation_space", "action_space"] {
        let recorded = dataset.recorded_space(key);
        recorded.into_iter().for_each(|recorded| spaces[format!("recorded_{key}")] = recorded.into());
    }
    serde_json::json!({ "dataset": dataset.id, "recorded_in": dataset.task(), "spaces": spaces })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aaren_data::scripted;
    use aaren_envs::{Dtype, Space};

    #[test]
    fn what_a_job_does_not_say_is_taken_from_its_data() {
        let job = |settings: &[String]| OfflineJob::quickstart(settings).unwrap();
        let random = r#"data.scripted={"collector": "random", "episodes": 5}"#;
        let open = job(&[random.into(), r#"env={"id": "Pendulum-v1"}"#.into(), "evaluation.target_returns=[]".into()]);
        let dataset = crate::offline::trajectories(&open).unwrap();
        let highest = dataset.trajectories.iter().map(Trajectory::episode_return).fold(f64::NEG_INFINITY, f64::max);
        let settled = settle(&open, &dataset);
        assert!(!is_settled(&open) && is_settled(&settled));
        assert_eq!(settled.target_returns(), [Some(highest)]);
        let said = job(&["evaluation.target_returns=[0.5]".into()]);
        assert_eq!(settle(&said, &dataset).target_returns(), [Some(0.5)]);
        assert_eq!(settled.policy.return_range, return_range(&dataset));
        let share = job(&[random.into(), "evaluation.target_returns=[\"0.9 best\", 1]".into()]);
        assert!(!is_settled(&share) && share.target_returns() == [Some(1.0)]);
        let share = settle(&share, &dataset);
        assert_eq!((is_settled(&share), share.target_returns()[1]), (true, Some(1.0)));
        assert!((share.target_returns()[0].unwrap() - 1.1 * highest).abs() < 1e-9 * highest.abs());
        let untold = job(&["evaluation.target_returns=[]".into(), "policy.tokens=observation".into()]);
        assert_eq!(settle(&untold, &dataset).target_returns(), [None]);
    }

    #[test]
    fn without_a_task_the_actions_are_those_of_the_data() {
        let config = serde_json::json!({"env": "Pendulum-v1", "collector": "random", "episodes": 2, "seed": 1});
        let mut dataset = scripted::collect(&serde_json::from_value(config).unwrap()).unwrap();
        let description = describe(&None, &PolicyConfig::default(), &dataset).unwrap();
        assert_eq!(description.action, ActionSpec::Continuous { low: vec![-2.0], high: vec![2.0] });
        assert!(description.environment["id"].is_null() && description.environment["recorded_in"] == "Pendulum-v1");
        // Bounds that are none are those of the numbers.
        dataset.action_space = Space::uniform_box(1, f64::NEG_INFINITY, f64::INFINITY, Dtype::Float32);
        let ActionSpec::Continuous { low, high } = describe(&None, &PolicyConfig::default(), &dataset).unwrap().action else {
            panic!()
        };
        let numbers = dataset.trajectories.iter().flat_map(|trajectory| match &trajectory.actions {
            Actions::Continuous(actions) => actions.clone(),
            Actions::Discrete(_) => panic!(),
        });
        let numbers: Vec<f64> = numbers.map(f64::from).collect();
        assert_eq!(low[0], numbers.iter().copied().fold(f64::INFINITY, f64::min));
        assert_eq!(high[0], numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max));
        for trajectory in &mut dataset.trajectories {
            trajectory.actions = Actions::Continuous(vec![0.5; trajectory.len()]);
        }
        let description = describe(&None, &PolicyConfig::default(), &dataset).unwrap();
        assert_eq!(description.action, ActionSpec::Continuous { low: vec![-0.5], high: vec![1.5] });
    }
}
