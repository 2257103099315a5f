//! What runs left behind, and what makes two of them comparable.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::config::{Changes, DataConfig, Job};
use crate::run::cache_report::{self, CacheReport};
use crate::run::data_mark::{self, DataMark, DataRecord, LeftToData};
use crate::run::files::if_there;
use crate::run::report::{EvaluationReport, NO_ENV, TrainSummary};
use crate::run::{AGENT, BEGUN_FROM, CONVERTED, EVALUATIONS, RunDir, differing_keys, is_without_effect};

/// What one run left behind.
pub(super) struct Results {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) job: Job,
    pub(super) evaluation: EvaluationReport,
    pub(super) best: Option<EvaluationReport>,
    pub(super) train: Option<TrainSummary>,
    pub(super) caches: Option<CacheReport>,
    /// What it was trained on; none for a run that learned online, or of an older version.
    pub(super) data: Option<DataMark>,
    /// What its job left to the data.
    pub(super) left: LeftToData,
    /// `metrics.jsonl`; empty without.
    pub(super) metrics: Vec<Value>,
    /// How its first weights came from another policy, and from which, if they were not drawn.
    pub(super) origin: Option<(&'static str, Value)>,
    /// Mean return of that, where the run knows it.
    pub(super) data_return: Option<f64>,
    /// What a table calls the agent, where one made the run.
    pub(super) given_name: Option<String>,
}

impl Results {
    /// - `evaluation`: which one, by its name; None for the one that training made
    pub(super) fn read(path: &Path, evaluation: Option<&str>) -> Result<Results> {
        let run = RunDir::open(path)?;
        let (file, evaluation) = read_evaluation(path, evaluation)?;
        ensure!(
            evaluation.headline().is_some(),
            "{} has neither a target return nor a loss on held-out episodes; `aaren evaluate {} --env ID` plays the policy in a task",
            file.display(),
            path.display()
        );
        let data: Option<DataRecord> = read_json(&path.join(data_mark::FILE))?;
        Ok(Results {
            path: path.to_path_buf(),
            name: run.name(),
            job: run.job(&Changes::default())?,
            evaluation,
            best: read_json(&path.join("evaluation-best.json"))?,
            train: read_json(&path.join("train.json"))?,
            caches: read_json(&path.join(cache_report::FILE))?,
            data: data.map(|record| record.mark),
            left: data.map_or_else(LeftToData::default, |record| record.left),
            origin: origin(path)?,
            metrics: read_lines(&path.join("metrics.jsonl"))?,
            data_return: data.and_then(|record| record.return_mean),
            given_name: read_json::<Value>(&path.join(AGENT))?.and_then(|note| note["name"].as_str().map(str::to_owned)),
        })
    }

    /// The task: environment, options, data.
    pub(super) fn task(&self) -> Result<(String, Value, Value)> {
        let data = match &self.job {
            // What is left out of the data is the agent's choice.
            Job::Offline(job) => serde_json::to_value(DataConfig { top_fraction: 1.0, ..job.data.clone() })?,
            Job::Sequence(job) => {
                let mut task = serde_json::to_value(&job.task)?;
                if let Some(keys) = task.as_object_mut() {
                    keys.retain(|key, _| !job.task.chosen().contains(&&**key));
                }
                task
            }
            _ => Value::from("online"),
        };
        Ok((self.evaluation.env_id.clone(), self.evaluation.env_options.clone().into(), data))
    }

    /// Whether it was trained on the same data, the agent's choice of them aside: those of one config, unless they have changed on
    /// disk between the runs, and the same numbers under another name.
    pub(super) fn has_data_of(&self, other: &Results) -> Result<bool> {
        let (Job::Offline(job), Job::Offline(other_job)) = (&self.job, &other.job) else {
            return Ok(self.task()?.2 == other.task()?.2);
        };
        let is_one_config = self.task()?.2 == other.task()?.2;
        Ok(match (self.data, other.data) {
            // Scripted data differ from seed to seed.
            (Some(mark), Some(other)) if job.data.top_fraction == other_job.data.top_fraction && job.data.scripted.is_none() => {
                mark == other
            }
            _ => is_one_config,
        })
    }

    /// All of the config that makes an agent: not its seed, its task, how it is judged and how often it is saved.
    pub(super) fn agent(&self) -> Result<Value> {
        let mut json = serde_json::to_value(&self.job)?;
        if let Job::Offline(job) = &self.job {
            json["data"] = serde_json::json!({ "top_fraction": job.data.top_fraction });
            if job.validation() > 0.0 {
                json["data"]["validation"] = job.validation().into();
            }
        }
        let chosen = if let Job::Sequence(job) = &self.job { job.task.chosen() } else { &[] };
        let chosen: serde_json::Map<String, Value> =
            chosen.iter().map(|key| ((*key).into(), json["task"][key].clone())).collect();
        let asked: Vec<f64> = self.evaluation.targets.iter().filter_map(|target| target.target_return).collect();
        json["evaluation"] = serde_json::json!({ "execution": self.evaluation.execution, "target_returns": asked });
        // What the data said is the task's and not the agent's.
        for (is_left, key) in [
            (self.left.return_scale, "/policy/return_scale"),
            (self.left.return_range, "/policy/return_range"),
            (self.left.target_returns, "/evaluation/target_returns"),
        ] {
            json.pointer_mut(key).filter(|_| is_left).into_iter().for_each(|value| *value = Value::Null);
        }
        if let Some((how, _)) = &self.origin {
            json["weights"] = (*how).into();
        }
        if let Some(sections) = json.as_object_mut() {
            sections.retain(|key, _| !["seed", "device", "env", "task"].contains(&&**key) && !is_without_effect(key));
            for section in sections.values_mut().filter_map(Value::as_object_mut) {
                section.retain(|key, _| !is_without_effect(key));
            }
        }
        if !chosen.is_empty() {
            json["task"] = chosen.into();
        }
        Ok(json)
    }

    /// As a table names the agent, or else what one of this kind is called in papers.
    pub(super) fn agent_name(&self) -> String {
        if let Some(name) = &self.given_name {
            return name.clone();
        }
        let Job::Offline(job) = &self.job else {
            let mixer = &self.evaluation.mixer;
            if matches!(self.job, Job::Sequence(_)) {
                return mixer.clone();
            }
            return if mixer == "mlp" { "PPO".into() } else { format!("PPO with {mixer}") };
        };
        let (policy, fraction) = (&job.policy, job.data.top_fraction);
        let share = if fraction == 1.0 { String::new() } else { format!("{} %-", crate::run::report::number(100.0 * fraction)) };
        match (policy.tokens.has_return_to_go(), &*policy.mixer) {
            (false, "mlp") => format!("{share}BC"),
            (false, mixer) => format!("{share}BC with {mixer}"),
            (true, mixer) => format!("{share}{mixer}"),
        }
    }

    pub(super) fn task_name(&self) -> String {
        let data = match &self.job {
            Job::Offline(job) => DataConfig { top_fraction: 1.0, ..job.data.clone() }.describe(),
            Job::Sequence(job) => job.task.describe(),
            _ => "online".into(),
        };
        let options = &self.evaluation.env_options;
        let options = if options.is_empty() { String::new() } else { format!(" {}", Value::from(options.clone())) };
        match &*self.evaluation.env_id {
            NO_ENV => data,
            id => format!("{id}{options}, {data}"),
        }
    }
}

/// How the first weights of a run came from another policy, and from which; none if they were drawn.
fn origin(run: &Path) -> Result<Option<(&'static str, Value)>> {
    for (file, how, key) in [(BEGUN_FROM, "begun from", "policy"), (CONVERTED, "converted from", "run")] {
        if let Some(note) = read_json::<Value>(&run.join(file))? {
            return Ok(Some((how, note.get(key).cloned().unwrap_or_default())));
        }
    }
    Ok(None)
}

/// An evaluation of a run and its file.
fn read_evaluation(run: &Path, name: Option<&str>) -> Result<(PathBuf, EvaluationReport)> {
    let file = |name: &str| run.join(EVALUATIONS).join(format!("{name}.json"));
    let mut names: Vec<String> = fs::read_dir(run.join(EVALUATIONS))
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.to_owned()))
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    let (path, names) = (run.display(), names);
    if let Some(name) = name {
        ensure!(
            names.iter().any(|other| other == name),
            "the run {path} has no evaluation {name:?} in {EVALUATIONS}/; found {}; make one with `aaren evaluate {path}`, which says its name",
            if names.is_empty() { "none".into() } else { names.join(", ") }
        );
        let read = read_json(&file(name))?.with_context(|| format!("cannot read {}", file(name).display()))?;
        return Ok((file(name), read));
    }
    let own = run.join("evaluation.json");
    if let Some(report) = read_json(&own)? {
        return Ok((own, report));
    }
    // A run that was converted or stopped has none of its own.
    match &names[..] {
        [only] => {
            tracing::warn!("the run {path} has no evaluation of its training; taking {EVALUATIONS}/{only}.json");
            Ok((file(only), read_json(&file(only))?.with_context(|| format!("cannot read {}", file(only).display()))?))
        }
        _ => bail!(
            "the run {path} has no evaluation.json, which the end of a training writes; go on with `aaren train --resume --run {path}`, or \
             make one with `aaren evaluate {path}`{}",
            if names.is_empty() { String::new() } else { format!(", or take one with --evaluation: {}", names.join(", ")) }
        ),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let Some(text) = if_there(path, fs::read_to_string(path))? else { return Ok(None) };
    serde_json::from_str(&text).map(Some).with_context(|| format!("{} is not a result of this version", path.display()))
}

/// Whole lines of JSON; a last line that a kill cut short is left out.
fn read_lines(path: &Path) -> Result<Vec<Value>> {
    Ok(if_there(path, fs::read_to_string(path))?
        .unwrap_or_default()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// In what the runs' tasks or data differ from the first run's.
pub(super) fn incompatibilities(results: &[Results]) -> Result<Vec<String>> {
    let first = &results[0];
    let (env_id, env_options, data) = first.task()?;
    let mut found = Vec::new();
    for other in &results[1..] {
        let (other_id, other_options, other_data) = other.task()?;
        let pair = format!("{} and {}", first.path.display(), other.path.display());
        let mut note = |what: &str, left: &Value, right: &Value| {
            if left != right {
                found.push(format!("{pair} differ in {what} ({left} and {right})"));
            }
        };
        note("the environment", &env_id.as_str().into(), &other_id.as_str().into());
        note("its options", &env_options, &other_options);
        if !first.has_data_of(other)? {
            let mark = |run: &Results| serde_json::to_value(run.data).unwrap_or_default();
            let is_one_config = data == other_data;
            let named = if is_one_config { (mark(first), mark(other)) } else { (data.clone(), other_data) };
            note("the data", &named.0, &named.1);
        }
    }
    Ok(found)
}

/// Config keys that some run has otherwise than the first, and that can change a result.
pub(super) fn differences(results: &[Results]) -> Result<BTreeMap<String, Vec<Value>>> {
    let config = |run: &Results| {
        let mut config = serde_json::to_value(&run.job)?;
        let weights = run.origin.as_ref().map(|(how, from)| format!("{how} {}", from.as_str().unwrap_or_default()));
        config["weights"] = weights.map_or_else(|| "drawn".into(), Into::into);
        anyhow::Ok(config)
    };
    let configs = results.iter().map(config).collect::<Result<Vec<_>>>()?;
    let is_same_data =
        results.iter().map(|run| run.has_data_of(&results[0])).collect::<Result<Vec<_>>>()?.iter().all(|&same| same);
    let matters = |key: &String| !(is_without_effect(key) || is_same_data && key == "data.source");
    let keys = configs[1..].iter().flat_map(|config| differing_keys(&configs[0], config)).filter(matters);
    let value = |config: &Value, key: &str| config.pointer(&format!("/{}", key.replace('.', "/"))).cloned();
    Ok(keys
        .into_iter()
        .map(|key| {
            let values = configs.iter().map(|config| value(config, &key).unwrap_or_default()).collect();
            (key, values)
        })
        .collect())
}
