//! A trained Transformer with bounded KV caches: every kind of them at several sizes, in the same episodes.

use super::evaluate::{Evaluation, evaluate};
use crate::device::{CPU, Cpu};
use crate::run::cache_report::{CacheEvaluation, CacheReport};
use crate::run::report::FORMAT;
use aaren_policy::{AnyPolicy, mixer::CachePolicy};
use anyhow::{Context, Result, ensure};

/// First entries of an episode that a cache with sinks keeps, as published.
pub(crate) const SINKS: usize = 4;

/// Every kind of bounded cache that keeps so many entries.
///
/// # Errors
/// If they are too few for one of the kinds, or more than can be asked for.
pub fn bounded_caches(entries: usize) -> Result<[CachePolicy; 4]> {
    ensure!(
        (SINKS + 1..=CachePolicy::MOST_ENTRIES).contains(&entries),
        "--cache-sizes: found {entries}, expected at least {}, {SINKS} sinks and one recent entry, and at most {} (2^24)",
        SINKS + 1,
        CachePolicy::MOST_ENTRIES
    );
    Ok([
        CachePolicy::Window { capacity: entries },
        CachePolicy::Sink { sinks: SINKS, recent: entries - SINKS },
        CachePolicy::H2o { capacity: entries },
        CachePolicy::Tova { capacity: entries },
    ])
}

/// Plays the same episodes with the full cache and with every kind of cache of each size.
///
/// # Errors
/// A size that is too small or too large, a policy without a KV cache, an environment that fails, or an interrupt.
pub fn evaluate_caches(
    policy: &AnyPolicy<Cpu>,
    run: &str,
    step: u64,
    sizes: &[usize],
    evaluation: &Evaluation,
) -> Result<CacheReport> {
    let bounded = sizes.iter().map(|&entries| bounded_caches(entries)).collect::<Result<Vec<_>>>()?.concat();
    let mut evaluations = Vec::with_capacity(1 + bounded.len());
    // Bounded ones first to fail early: a policy without a cache to bound says so.
    for cache in bounded.into_iter().chain([CachePolicy::Full]) {
        policy.bounded_state(cache, 1, &CPU).context("--cache-sizes")?;
        tracing::info!(%cache, "evaluating");
        let report = evaluate(policy, run, step, &Evaluation { cache, ..evaluation.clone() })?;
        let latency = report.latency.context("the cost of a step was not measured")?;
        evaluations.push(CacheEvaluation {
            cache,
            entries: cache.capacity(),
            targets: report.targets,
            state_bytes: latency.state_bytes_last,
            microseconds: latency.last_microseconds,
        });
    }
    evaluations.rotate_right(1);
    Ok(CacheReport { format: FORMAT, run: run.into(), checkpoint_step: step, seed: evaluation.seed, evaluations })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OfflineJob;
    use crate::device::Graph;
    use crate::offline::data;
    use crate::offline::learner::Learner;
    use crate::run::cache_report::kind;
    use aaren_policy::DecisionPolicy;
    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::Tensor;

    /// Makes weights so large that attention is far from uniform.
    struct Times(f64);

    impl ModuleMapper<Cpu> for Times {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<Cpu, D>>) -> Param<Tensor<Cpu, D>> {
            param.map(|tensor| tensor * self.0)
        }
    }

    #[test]
    fn every_kind_of_cache_keeps_as_many_entries() {
        let caches = bounded_caches(64).unwrap();
        assert_eq!(caches.map(|cache| cache.to_string()), ["window:64", "sink:4+60", "h2o:64", "tova:64"]);
        assert_eq!(caches.map(kind), ["window", "sink", "h2o", "tova"]);
    }

    #[test]
    fn a_cache_as_large_as_the_episode_is_the_full_one() {
        let settings = [
            "env={\"id\": \"Pendulum-v1\"}",
            "data={\"scripted\": {\"collector\": \"random\", \"episodes\": 2}}",
            "policy.mixer=transformer",
            "policy.init=published",
            "policy.width=8",
            "policy.feed_forward=8",
            "policy.max_timesteps=200",
            "policy.return_scale=100",
            "evaluation.target_returns=[-200]",
        ];
        let job = OfflineJob::quickstart(&settings.map(String::from)).unwrap();
        let description = crate::offline::describe(&job.env, &job.policy, &data::trajectories(&job).unwrap()).unwrap();
        let network = Learner::<Graph>::new(description.clone(), &job.train, 1).unwrap().network().map(&mut Times(5.0));
        let policy = DecisionPolicy { network, description }.into();
        let evaluation = Evaluation { episodes: 2, seed: 3, latency_steps: Some(200), ..Evaluation::try_from(&job).unwrap() };
        // Three tokens in each of 200 timesteps.
        let report = evaluate_caches(&policy, "run", 0, &[6, 600], &evaluation).unwrap();
        let caches: Vec<String> = report.evaluations.iter().map(|one| one.cache.to_string()).collect();
        let sizes = ["full", "window:6", "sink:4+2", "h2o:6", "tova:6", "window:600", "sink:4+596", "h2o:600", "tova:600"];
        assert_eq!(caches, sizes);
        let full = &report.evaluations[0];
        for one in &report.evaluations[1..] {
            // Returns of a continuous task: any other action shows.
            let distance = (one.targets[0].returns.iter().zip(&full.targets[0].returns))
                .map(|(one, full)| (one - full).abs() / full.abs())
                .fold(0.0, f64::max);
            let is_whole = one.entries == Some(600);
            println!("{}: {distance:.2e}", one.cache);
            assert!(if is_whole { distance < 1e-5 } else { distance > 1e-3 }, "{}: {distance}", one.cache);
            assert!(is_whole || one.state_bytes < full.state_bytes / 10, "{}: {} bytes", one.cache, one.state_bytes);
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        assert!(bounded_caches(4).unwrap_err().to_string().contains("found 4, expected at least 5"));
        assert_eq!(bounded_caches(5).unwrap()[1], CachePolicy::Sink { sinks: 4, recent: 1 });
        // What is written is read again.
        for cache in bounded_caches(CachePolicy::MOST_ENTRIES).unwrap() {
            assert_eq!(cache.to_string().parse::<CachePolicy>().unwrap(), cache);
        }
        assert!(bounded_caches(CachePolicy::MOST_ENTRIES + 1).unwrap_err().to_string().contains("at most 16777216"));
    }
}
