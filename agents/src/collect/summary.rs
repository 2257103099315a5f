//! What a collection made: its parts, and everything about the dataset but its episodes.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;

use aaren_data::statistics::{Spread, Statistics};
use aaren_data::{Dataset, Format, score};
use aaren_envs::Spec;
use anyhow::Result;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::journal::Journal;
use super::policies::{FoundPolicy, versions};
use crate::config::{CollectJob, Collector, DatasetKind, Part};
use crate::run::report::{self, mean_std, number};

/// What a collection made.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The dataset's id.
    pub id: String,
    /// Its parts in order.
    pub parts: Vec<PartSummary>,
    /// What was written, by format.
    pub written: Vec<(Format, PathBuf)>,
}

/// The episodes of one behaviour.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartSummary {
    /// Its name.
    pub name: String,
    /// Episodes.
    pub episodes: u64,
    /// Environment steps.
    pub steps: u64,
    /// Undiscounted returns.
    pub returns: Spread,
    /// Steps of an episode.
    pub lengths: Spread,
    /// Episodes that the task itself ended.
    pub terminated: u64,
    /// Episodes that ended because the simulation diverged; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diverged: Option<u64>,
    /// Normalised score of the mean return, in percent, where references are known.
    pub normalised_score: Option<f64>,
    /// `uniform`, `sampled` or `most likely`; of a training `sampled`.
    pub actions: String,
    /// Who acted, and where that policy comes from.
    pub policy: Option<Value>,
}

impl Summary {
    /// What a scripted dataset is, in one part.
    ///
    /// - `written`: where it is, by format
    pub fn of_scripted(dataset: &Dataset, collector: Collector, written: Vec<(Format, PathBuf)>) -> Self {
        let statistics = Statistics::of(dataset, None);
        let (name, actions) = match collector {
            Collector::Expert => ("expert", "scripted"),
            Collector::Random => (Part::Random.name(), "uniform"),
        };
        let part = PartSummary {
            name: name.into(),
            episodes: statistics.episodes as u64,
            steps: statistics.steps as u64,
            returns: statistics.returns,
            lengths: statistics.lengths,
            terminated: statistics.terminated as u64,
            diverged: None,
            normalised_score: statistics.score,
            actions: actions.into(),
            policy: None,
        };
        Self { id: dataset.id.clone(), parts: vec![part], written }
    }
}

/// As a table.
impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut table = report::table(&["part", "episodes", "steps", "return", "min", "max", "length", "terminated", "score"]);
        report::align_right(&mut table, 1);
        for part in &self.parts {
            table.add_row([
                part.name.clone(),
                part.episodes.to_string(),
                part.steps.to_string(),
                mean_std(part.returns.mean, part.returns.std),
                number(part.returns.min),
                number(part.returns.max),
                mean_std(part.lengths.mean, part.lengths.std),
                part.terminated.to_string(),
                part.normalised_score.map_or("-".into(), |score| format!("{score:.1}")),
            ]);
        }
        let written = self.written.iter().map(|(format, path)| format!("\nwrote {} as {format}", path.display()));
        let diverged = self.parts.iter().filter_map(|part| part.diverged).sum();
        let diverged = if diverged > 0 { format!("\n{}", report::diverged_episodes(diverged)) } else { String::new() };
        write!(f, "{}\n{table}{diverged}{}", self.id, written.collect::<String>())
    }
}

/// What a part's episodes were like.
pub(super) fn summarize(job: &CollectJob, part: Part, journal: &Journal, count: u64, found: Option<&FoundPolicy>) -> PartSummary {
    let records = journal.records().range(..count).map(|(_, record)| record);
    let returns = Spread::of(records.clone().map(|record| record.episode_return));
    let reference = score::of_env(&job.env.id, &job.env.options);
    let actions = match part {
        Part::Random => "uniform",
        Part::Replay => "sampled",
        _ if job.collect.sampled => "sampled",
        _ => "most likely",
    };
    PartSummary {
        name: part.name().into(),
        episodes: count,
        steps: records.clone().map(|record| record.steps as u64).sum(),
        lengths: Spread::of(records.clone().map(|record| record.steps as f64)),
        terminated: records.clone().filter(|record| record.terminated).count() as u64,
        diverged: Some(records.filter(|record| record.diverged).count() as u64).filter(|&count| count > 0),
        normalised_score: reference.map(|reference| score::normalised_score(returns.mean, reference.min, reference.max)),
        returns,
        actions: actions.into(),
        policy: found.map(|found| {
            let provenance = serde_json::to_value(&found.provenance).unwrap_or_default();
            json!({ "weights_crc32": found.checksum, "provenance": provenance })
        }),
    }
}

/// Everything about the dataset but its episodes.
pub(super) fn describe(job: &CollectJob, spec: &Spec, parts: &[PartSummary]) -> Result<Dataset> {
    let kind = job.collect.dataset;
    let mut metadata = Map::new();
    let policies: Vec<&Value> = parts.iter().filter_map(|part| part.policy.as_ref()).collect();
    let algorithm = policies.first().and_then(|policy| policy["provenance"]["algorithm"].as_str());
    metadata.insert(
        "algorithm_name".into(),
        if kind == DatasetKind::Random { "uniform random actions" } else { algorithm.unwrap_or("a saved policy") }.into(),
    );
    if let [policy] = &policies[..]
        && let Some(step) = policy["provenance"]["env_steps"].as_u64()
    {
        metadata.insert("iteration".into(), step.into());
    }
    metadata.insert("description".into(), format!("{kind} episodes of {}, collected by aaren", spec.id).into());
    if let Some(spec) = aaren_envs::gymnasium_spec(&spec.id, &job.env.options) {
        metadata.insert("env_spec".into(), spec.to_string().into());
    }
    if !job.env.options.is_empty() {
        metadata.insert("env_options".into(), job.env.options.clone().into());
    }
    let mut asked = serde_json::to_value(job)?;
    // The dataset is the same whatever these are.
    if let Some(collect) = asked["collect"].as_object_mut() {
        collect.retain(|key, _| key != "actors" && key != "format");
    }
    let stop_rule = match kind {
        DatasetKind::MediumReplay => "every episode that ended before the training reached medium",
        _ => "each part: episodes in the order of their numbers until they have collect.steps steps; the last one whole",
    };
    metadata.insert(
        "collection".into(),
        json!({ "job": asked, "versions": versions(), "stop_rule": stop_rule, "parts": serde_json::to_value(parts)? }),
    );
    let reference = score::of_env(&job.env.id, &job.env.options);
    if let Some(reference) = reference {
        metadata.insert("reference_scores_from".into(), reference.source.into());
    }
    Ok(Dataset {
        id: job.id(),
        env_id: Some(spec.id.clone()),
        observation_space: spec.observation_space.clone(),
        action_space: spec.action_space.clone(),
        max_episode_steps: spec.max_episode_steps,
        reference_scores: reference.map(|reference| (reference.min, reference.max)),
        metadata,
        trajectories: Vec::new(),
    })
}
