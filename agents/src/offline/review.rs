//! A second look at a job beside its data, before anything is trained.

use aaren_data::{Dataset, Trajectory};
use anyhow::{Result, ensure};

use super::describe::{return_scale, settle};
use crate::config::{ContextLength, Device, OfflineJob, caution, memory};
use crate::run::report::number;

/// So many times larger or smaller than the data a return scale is a slip; the published ones are up to 12 times smaller.
const FAR_OFF: f64 = 30.0;

/// Looks at a job beside its data. What is odd is a warning, or an error where the job is strict.
///
/// # Errors
/// Data without a transition, or rows of whole episodes that take more memory than there is.
pub fn review(job: &OfflineJob, dataset: &Dataset) -> Result<()> {
    let longest = dataset.trajectories.iter().map(|trajectory| trajectory.len()).max().unwrap_or(0);
    ensure!(longest > 0, "data: the dataset {} holds no transition to train on", dataset.id);
    if job.train.context_length == ContextLength::Episode && job.train.row_length.is_none() && job.device == Device::Cpu {
        let rows = job.train.batch_size;
        let asked = memory::activations(&job.policy, rows as u128 * longest as u128);
        let there = memory::there().unwrap_or(u128::MAX);
        ensure!(
            asked <= there,
            "train.batch_size: found {rows} rows as long as the longest episode ({longest} timesteps, train.context_length is \
             \"episode\"): the job takes at least {}, this machine has {}; lower it, or set train.row_length",
            memory::gigabytes(asked),
            memory::gigabytes(there)
        );
    }
    let of_data = return_scale(dataset);
    let odd = job
        .policy
        .return_scale
        .filter(|scale| job.policy.tokens.has_return_to_go() && !(1.0 / FAR_OFF..=FAR_OFF).contains(&(of_data / scale)));
    let scale = odd.map(|scale| {
        format!("policy.return_scale: found {scale}, returns-to-go in the data reach {of_data}; that would do, or null")
    });
    let window = job.train.context_length.window().filter(|&window| window as f64 > FAR_OFF * longest as f64);
    let window = window.map(|window| {
        format!(
            "train.context_length: found {window}, the longest episode has {longest} timesteps: nearly all of a row is empty, and costs \
             as much as what is learnt from; {longest} would do"
        )
    });
    let target = unlearnt(job, dataset).map(|said| format!("evaluation.target_returns: {said}"));
    caution(&scale.into_iter().chain(window).chain(target).collect::<Vec<_>>(), job.strict)
}

/// What is said of a return that is asked for and that nothing was learnt of: the policy is not told it, or no episode of the data reached
/// it. Where returns are negative, that can be one which an episode has still to come at its end.
fn unlearnt(job: &OfflineJob, dataset: &Dataset) -> Option<String> {
    const REMEDY: &str = "\"best\" asks for the highest return of the data";
    let settled = settle(job, dataset);
    let said = job.policy.return_range;
    let targets = settled.target_returns();
    if let Some([target, least, largest]) = said.and_then(|said| outside(said, &targets)) {
        return Some(format!(
            "found {target}, and the policy is told returns from {least} to {largest} (policy.return_range); ask for one of these, or \
             widen the range"
        ));
    }
    if let Some(beyond) = settled.policy.return_range.and_then(|range| beyond(range, &targets)) {
        return Some(format!("{beyond}; {REMEDY}"));
    }
    let highest = dataset.trajectories.iter().map(Trajectory::episode_return).reduce(f64::max)?;
    let above = targets.into_iter().flatten().find(|target| said.is_none() && *target > highest)?;
    Some(format!("found {}, and the highest return of the data is {}; {REMEDY}", number(above), number(highest)))
}

/// The first return that is outside of a range, and the range, in words.
fn outside([least, largest]: [f64; 2], asked: &[Option<f64>]) -> Option<[String; 3]> {
    let target = asked.iter().flatten().find(|target| !(least..=largest).contains(*target))?;
    Some([*target, least, largest].map(number))
}

/// What is said of a return that is asked for and that a policy is not told, because it is told those of a range.
pub(crate) fn beyond(range: [f64; 2], asked: &[Option<f64>]) -> Option<String> {
    let [target, least, largest] = outside(range, asked)?;
    Some(format!("found {target}, and the policy is told returns from {least} to {largest}, as in its data"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TargetReturn;
    use crate::offline::describe::return_range;
    use crate::offline::{describe, trajectories};

    #[test]
    fn the_return_scale_is_that_of_the_data_unless_it_is_said() {
        let job = |scale: &str| {
            let random = r#"data={"scripted": {"collector": "random", "episodes": 3}}"#;
            let settings = [r#"env={"id": "Pendulum-v1"}"#, random, "strict=true", &format!("policy.return_scale={scale}")];
            OfflineJob::quickstart(&settings.map(String::from)).unwrap()
        };
        let dataset = trajectories(&job("null")).unwrap();
        let least = dataset.trajectories.iter().map(|trajectory| trajectory.episode_return()).fold(0.0, f64::min);
        let scale = |scale| describe(&job(scale).env, &job(scale).policy, &dataset).unwrap().config.return_scale.unwrap();
        assert!(least < -100.0 && (scale("null") + least).abs() < 1e-6, "{least}, {}", scale("null"));
        assert_eq!(scale("7"), 7.0);
        review(&job("null"), &dataset).unwrap();
        review(&job("100"), &dataset).unwrap();
        let message = review(&job("1"), &dataset).unwrap_err().to_string();
        assert!(message.contains("policy.return_scale: found 1, ") && message.contains("null"), "{message}");
        assert!(review(&job("1e6"), &dataset).is_err());
        let windowed = |length: usize| {
            let mut job = job("null");
            job.train.context_length = ContextLength::Timesteps(length);
            job
        };
        review(&windowed(6000), &dataset).unwrap(); // 30 times the longest
        let message = review(&windowed(6001), &dataset).unwrap_err().to_string();
        assert!(message.contains("train.context_length: found 6001") && message.contains("200 would do"), "{message}");
        let mut asked = job("null");
        asked.evaluation.target_returns = vec![1.0.into()];
        let message = review(&asked, &dataset).unwrap_err().to_string();
        assert!(message.contains("evaluation.target_returns: found 1, and the policy is told returns from -"), "{message}");
        asked.policy.return_range = Some([-1e9, 1e9]);
        review(&asked, &dataset).unwrap();
        // Returns-to-go reach up to the last reward, returns do not.
        let highest = dataset.trajectories.iter().map(Trajectory::episode_return).fold(f64::NEG_INFINITY, f64::max);
        let near_0 = return_range(&dataset).unwrap()[1];
        assert!(highest < near_0);
        (asked.policy.return_range, asked.evaluation.target_returns) = (None, vec![near_0.into()]);
        let message = review(&asked, &dataset).unwrap_err().to_string();
        assert!(message.contains("and the highest return of the data is -") && message.contains("\"best\""), "{message}");
        asked.evaluation.target_returns = vec![highest.into()];
        review(&asked, &dataset).unwrap();
        // The best of the data may be outside of what a job says.
        for targets in [vec![], vec![TargetReturn::OfBest(1.0)]] {
            (asked.policy.return_range, asked.evaluation.target_returns) = (Some([-10.0, 0.0]), targets);
            let message = review(&asked, &dataset).unwrap_err().to_string();
            assert!(message.contains("told returns from -10 to 0 (policy.return_range)"), "{message}");
        }
        // One return in two ways is asked for once.
        asked.evaluation.target_returns = vec![TargetReturn::OfBest(1.0), highest.into(), TargetReturn::OfBest(0.9)];
        assert_eq!(settle(&asked, &dataset).target_returns(), [Some(highest), Some(TargetReturn::OfBest(0.9).of(highest))]);
        let empty = Dataset { trajectories: Vec::new(), ..dataset };
        assert_eq!(return_scale(&empty), 1.0);
        assert!(review(&job("null"), &empty).unwrap_err().to_string().contains("no transition"));
    }
}
