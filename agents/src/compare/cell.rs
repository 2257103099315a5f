//! Cells: the runs of one agent in one task, and what they say together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::Value;

use super::comparison::{
    Aggregate, BestCheckpoint, Cell, CellTarget, ComparedCache, ComparedRun, Comparison, CurvePoint, Improvement, RETURN, Spread,
    Task,
};
use super::results::{Results, differences};
use super::statistics::{self, mean, standard_deviation};
use crate::config::Job;
use crate::run::differing_keys;
use crate::run::report::{Better, FORMAT, LatencyPoint, Score, TargetReport};

/// Evaluations while training that are taken together.
pub(super) const RECENT: usize = 5;

/// Root of the bootstrap's random numbers: the same runs give the same intervals.
const BOOTSTRAP_SEED: u64 = 1;

impl Comparison {
    pub(super) fn new(results: &[Results], incompatible: Vec<String>) -> Result<Self> {
        let (tasks, task_of) = tasks(results)?;
        let (agents, agent_of) = agents(results, &task_of)?;
        let run_of = |(index, run): (usize, &Results)| {
            let task = task_of[index];
            compared(results, run, (task, &tasks[task]), agent_of[index])
        };
        let runs = results.iter().enumerate().map(run_of).collect::<Result<Vec<ComparedRun>>>()?;
        let mut cells = Vec::new();
        for (task, about) in tasks.iter().enumerate() {
            for agent in 0..agents.len() {
                let of_cell: Vec<usize> = (0..runs.len()).filter(|&run| (task_of[run], agent_of[run]) == (task, agent)).collect();
                if !of_cell.is_empty() {
                    cells.push(cell(&runs, of_cell, about));
                }
            }
        }
        let mut comparison = Self {
            format: FORMAT,
            runs,
            tasks,
            agents,
            cells,
            aggregates: Vec::new(),
            improvements: Vec::new(),
            differences: differences(results)?,
            incompatible,
            columns: Vec::new(),
            folder: PathBuf::new(),
        };
        (comparison.aggregates, comparison.improvements) = aggregate(&comparison);
        Ok(comparison)
    }
}

/// The tasks, and the task of each run.
fn tasks(results: &[Results]) -> Result<(Vec<Task>, Vec<usize>)> {
    let mut tasks: Vec<Task> = Vec::new();
    let mut firsts: Vec<&Results> = Vec::new();
    let mut task_of = Vec::new();
    for run in results {
        let (env_id, env_options, data) = run.task()?;
        let mut found = None;
        for (index, task) in tasks.iter().enumerate() {
            if (&task.env_id, &task.env_options) == (&env_id, &env_options) && run.has_data_of(firsts[index])? {
                found = found.or(Some(index));
            }
        }
        let index = match found {
            Some(index) => index,
            None => {
                firsts.push(run);
                let references = aaren_data::score::of_env(&env_id, &run.evaluation.env_options);
                let references = references.map(|reference| (reference.min, reference.max));
                let (name, data_return) = (run.task_name(), run.data_return);
                let is_played = !run.evaluation.targets.is_empty();
                let sequences = run.evaluation.sequences.as_ref();
                let headline = run.evaluation.scores().into_iter().next().filter(|_| !is_played);
                tasks.push(Task {
                    name,
                    env_id,
                    env_options,
                    data,
                    is_loss: !is_played && sequences.is_none(),
                    measure: headline.as_ref().map_or_else(|| RETURN.into(), Score::title),
                    better: headline.map_or(Better::Higher, |score| score.better),
                    baselines: sequences.map_or_else(Vec::new, |report| report.baselines.clone()),
                    is_normalised: is_played,
                    references,
                    data_return,
                });
                tasks.len() - 1
            }
        };
        let task = &mut tasks[index];
        task.is_normalised &= run.evaluation.targets.iter().all(|target| target.normalised_score.is_some());
        task_of.push(index);
    }
    let names = told_apart(tasks.iter().map(|task| task.name.clone()).collect());
    tasks.iter_mut().zip(names).for_each(|(task, name)| task.name = name);
    Ok((tasks, task_of))
}

/// Names with a number where they are the same.
fn told_apart(names: Vec<String>) -> Vec<String> {
    let count = |index: usize| names[..index].iter().filter(|name| **name == names[index]).count();
    let name =
        |index: usize| if count(index) == 0 { names[index].clone() } else { format!("{} #{}", names[index], count(index) + 1) };
    (0..names.len()).map(name).collect()
}

/// Names of the agents, and the agent of each run. Where a name does not tell two agents apart, what they differ in is added.
fn agents(results: &[Results], task_of: &[usize]) -> Result<(Vec<String>, Vec<usize>)> {
    let configs = results.iter().map(Results::agent).collect::<Result<Vec<Value>>>()?;
    // The runs of each name that a table gave.
    let mut named: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (run, name) in results.iter().enumerate().filter_map(|(run, result)| Some((run, result.given_name.as_deref()?))) {
        named.entry(name).or_default().push(run);
    }
    named.retain(|_, runs| is_one_agent(runs, &configs, task_of));
    let mut agents: Vec<(String, Value)> = Vec::new();
    let mut agent_of = Vec::new();
    for (run, config) in results.iter().zip(configs) {
        let is_named = run.given_name.as_deref().is_some_and(|name| named.contains_key(name));
        let is_same = |(name, other): &(String, Value)| *other == config || is_named && run.given_name.as_ref() == Some(name);
        let index = agents.iter().position(is_same).unwrap_or_else(|| {
            agents.push((run.agent_name(), config));
            agents.len() - 1
        });
        agent_of.push(index);
    }
    let name = |(name, config): &(String, Value)| {
        let namesakes = agents.iter().filter(|(other, _)| other == name);
        let mut keys: Vec<String> = namesakes.flat_map(|(_, other)| differing_keys(config, other)).collect();
        keys.sort();
        keys.dedup();
        // The last part of a key, where no other key ends so.
        let short = |key: &'_ String| key.rsplit('.').next().unwrap_or_default().to_string();
        let is_short = |key: &String| keys.iter().filter(|other| short(other) == short(key)).count() == 1;
        let value = |key: &String| {
            let value = config.pointer(&format!("/{}", key.replace('.', "/"))).cloned().unwrap_or_default();
            format!("{}={}", if is_short(key) { short(key) } else { key.clone() }, value.to_string().trim_matches('"'))
        };
        match keys.is_empty() {
            true => name.clone(),
            false => format!("{name} ({})", keys.iter().map(value).collect::<Vec<_>>().join(", ")),
        }
    };
    Ok((told_apart(agents.iter().map(name).collect()), agent_of))
}

/// Whether these runs, which a table calls by one name, are of one agent: no task has two of them. Rows of a table may say keys of the jobs,
/// so that an agent's jobs are others from row to row.
fn is_one_agent(runs: &[usize], configs: &[Value], task_of: &[usize]) -> bool {
    let mut in_task: BTreeMap<usize, &Value> = BTreeMap::new();
    runs.iter().all(|&run| in_task.entry(task_of[run]).or_insert(&configs[run]) == &&configs[run])
}

fn compared(results: &[Results], run: &Results, (task, of_task): (usize, &Task), agent: usize) -> Result<ComparedRun> {
    let is_shared = results.iter().filter(|other| other.name == run.name).count() > 1;
    let evaluation = &run.evaluation;
    let curve = run.metrics.iter().filter_map(|line| {
        let score = match (of_task.is_loss, of_task.is_played()) {
            (true, _) => line.get("validation/loss")?,
            (_, true) => line.get("evaluation/normalised_score").or(line.get("evaluation/return_mean"))?,
            _ => line.get(Score::logged("validation", &of_task.measure))?,
        };
        let std = line.get("evaluation/return_std").and_then(Value::as_f64).unwrap_or(0.0);
        Some(((line["step"].as_u64()?, score.as_f64()?), of_task.spread(std)))
    });
    let (curve, curve_std) = curve.unzip();
    Ok(ComparedRun {
        run: if is_shared { run.path.display().to_string() } else { run.name.clone() },
        task,
        agent,
        seed: run.job.seed(),
        config: serde_json::to_value(&run.job)?,
        mixer: evaluation.mixer.clone(),
        context_length: match &run.job {
            Job::Offline(job) => job.train.context_length.to_string(),
            Job::Sequence(job) => job.train.context_length.to_string(),
            _ => "online".into(),
        },
        execution: evaluation.execution.clone(),
        checkpoint_step: evaluation.checkpoint_step,
        evaluation_seed: evaluation.seed,
        parameters: evaluation.parameters,
        targets: evaluation.targets.clone(),
        asks_as_data_say: run.left.target_returns,
        validation: evaluation.validation,
        scores: evaluation.scores(),
        best: run.best.as_ref().map(|best| BestCheckpoint {
            step: best.checkpoint_step,
            targets: best.targets.clone(),
            validation: best.validation,
            scores: best.scores(),
        }),
        curve,
        curve_std,
        train_seconds: run.train.as_ref().map(|train| train.wall_seconds),
        train_timesteps_per_second: run.train.as_ref().map(|train| train.timesteps_per_second),
        latency: evaluation.latency.clone(),
        caches: run.caches.iter().flat_map(|report| &report.evaluations).map(ComparedCache::new).collect(),
    })
}

/// Which of a run's target returns is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    /// The one that asked for this; None of a policy that is not told a return.
    Return(Option<f64>),
    /// The one at this place, where the data said which returns they are.
    Place(usize),
}

impl Asked {
    fn of(self, targets: &[TargetReport]) -> Option<&TargetReport> {
        match self {
            Asked::Return(asked) => targets.iter().find(|target| target.target_return == asked),
            Asked::Place(place) => targets.get(place),
        }
    }
}

/// What the runs of a cell were asked for.
fn asked(members: &[&ComparedRun]) -> Vec<Asked> {
    let returns = |run: &ComparedRun| run.targets.iter().map(|target| target.target_return).collect::<Vec<_>>();
    let is_data_s = members.iter().all(|run| run.asks_as_data_say && run.targets.len() == members[0].targets.len());
    if is_data_s && members.iter().any(|run| returns(run) != returns(members[0])) {
        return (0..members[0].targets.len()).map(Asked::Place).collect();
    }
    let mut asked: Vec<Asked> = Vec::new();
    for target in members.iter().flat_map(|run| returns(run)).map(Asked::Return) {
        if !asked.contains(&target) {
            asked.push(target);
        }
    }
    asked
}

/// The mean of the last evaluations while training; none where there are fewer.
fn recent(curve: &[(u64, f64)]) -> Option<f64> {
    let scores: Vec<f64> = curve.iter().rev().take(RECENT).map(|(_, score)| *score).collect();
    (scores.len() == RECENT).then(|| mean(&scores))
}

fn cell(runs: &[ComparedRun], of_cell: Vec<usize>, task: &Task) -> Cell {
    let members: Vec<&ComparedRun> = of_cell.iter().map(|&run| &runs[run]).collect();
    let score = |target: &TargetReport| match target.normalised_score {
        Some(score) if task.is_normalised => score,
        _ => target.return_mean,
    };
    let asked = asked(&members);
    let reached = |targets: &[TargetReport], asked: Asked| asked.of(targets).map(score);
    let mut titles: Vec<String> = Vec::new();
    for title in members.iter().filter(|_| !task.is_played()).flat_map(|run| &run.scores).map(Score::title) {
        if !titles.contains(&title) {
            titles.push(title);
        }
    }
    let scores = titles.into_iter().map(|title| {
        let of = |scores: &[Score]| scores.iter().find(|score| score.title() == title).map(|score| score.value);
        let best: Option<Vec<f64>> = members.iter().map(|run| of(&run.best.as_ref()?.scores)).collect();
        let last = Spread::new(members.iter().filter_map(|run| of(&run.scores)).collect());
        CellTarget {
            target_return: None,
            asked: None,
            score: Some(title),
            episodes_std: None,
            last,
            best: best.map(Spread::new),
            recent: None,
        }
    });
    let targets = asked.into_iter().map(|asked| {
        let best: Option<Vec<f64>> =
            members.iter().map(|run| run.best.as_ref().and_then(|best| reached(&best.targets, asked))).collect();
        let alone = if let [run] = &members[..] { Some(run) } else { None };
        let episodes = alone.and_then(|run| asked.of(&run.targets));
        let (target_return, words) = match asked {
            Asked::Return(target) => (target, None),
            Asked::Place(place) => (None, Some(format!("asked for return {} of its data", place + 1))),
        };
        CellTarget {
            target_return,
            asked: words,
            score: None,
            episodes_std: episodes.map(|target| task.spread(target.return_std)),
            last: Spread::new(members.iter().filter_map(|run| reached(&run.targets, asked)).collect()),
            best: best.map(Spread::new),
            recent: None,
        }
    });
    let mut targets: Vec<CellTarget> = targets.chain(scores).collect();
    // The curve is of the headline.
    let recent: Option<Vec<f64>> = members.iter().map(|run| recent(&run.curve)).collect();
    targets.iter_mut().take(1).for_each(|target| target.recent = recent.clone().map(Spread::new));

    let mut curve: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (step, score) in members.iter().flat_map(|run| &run.curve) {
        curve.entry(*step).or_default().push(*score);
    }
    let curve = curve.into_iter().filter(|(_, scores)| scores.len() == members.len());
    let episodes: BTreeMap<u64, f64> = match &members[..] {
        [run] => run.curve.iter().zip(&run.curve_std).map(|((step, _), std)| (*step, *std)).collect(),
        _ => BTreeMap::new(),
    };
    let spread = |step: u64, scores: &[f64]| episodes.get(&step).copied().unwrap_or_else(|| standard_deviation(scores));
    let curve = curve.map(|(step, scores)| CurvePoint { step, mean: mean(&scores), std: spread(step, &scores) });

    let mut latency: BTreeMap<usize, (Vec<f64>, usize)> = BTreeMap::new();
    for point in members.iter().filter_map(|run| run.latency.as_ref()).flat_map(|latency| &latency.points) {
        let entry = latency.entry(point.step).or_default();
        entry.0.push(point.microseconds);
        entry.1 = entry.1.max(point.state_bytes);
    }
    let latency = latency.into_iter().map(|(step, (microseconds, state_bytes))| LatencyPoint {
        step,
        microseconds: crate::run::report::median(&microseconds),
        state_bytes,
    });
    let seconds: Vec<f64> = members.iter().filter_map(|run| run.train_seconds).collect();

    Cell {
        task: members[0].task,
        agent: members[0].agent,
        seeds: members.iter().map(|run| run.seed).collect(),
        targets,
        curve: curve.collect(),
        latency: latency.collect(),
        train_seconds: (!seconds.is_empty()).then(|| mean(&seconds)),
        runs: of_cell,
    }
}

/// Agents over the tasks that all of them have runs of. Raw returns of different tasks are never put together.
fn aggregate(comparison: &Comparison) -> (Vec<Aggregate>, Vec<Improvement>) {
    let (agents, common) = (comparison.agents.len(), comparison.common_tasks());
    let is_comparable = match &common[..] {
        [] => false,
        [_] => true,
        many => many.iter().all(|&task| comparison.tasks[task].is_normalised),
    };
    if !is_comparable {
        return Default::default();
    }
    let headline = |agent: usize, task: usize| comparison.cell(task, agent).map(|cell| &cell.targets[0]);
    let headlines: Vec<Vec<&CellTarget>> =
        (0..agents).map(|agent| common.iter().filter_map(|&task| headline(agent, task)).collect()).collect();
    let scores = |agent: usize| -> Vec<Vec<f64>> { headlines[agent].iter().map(|target| target.last.values.clone()).collect() };
    let better = common.first().map_or(Better::Higher, |&task| comparison.tasks[task].better);
    let merits = |agent: usize| -> Vec<Vec<f64>> {
        scores(agent).into_iter().map(|values| values.into_iter().map(|value| better.merit(value)).collect()).collect()
    };
    let of_agent = |agent: usize| {
        let means = |of: &dyn Fn(&CellTarget) -> Option<f64>| {
            let means: Option<Vec<f64>> = headlines[agent].iter().map(|target| of(target)).collect();
            means.map(|means| mean(&means))
        };
        Aggregate {
            agent,
            mean: mean(&headlines[agent].iter().map(|target| target.last.mean).collect::<Vec<_>>()),
            best_mean: means(&|target| Some(target.best.as_ref()?.mean)),
            recent_mean: means(&|target| Some(target.recent.as_ref()?.mean)),
            interquartile_mean: statistics::estimate_interquartile_mean(&scores(agent), BOOTSTRAP_SEED),
        }
    };
    let pairs = (0..agents).flat_map(|agent| (0..agents).map(move |over| (agent, over))).filter(|(agent, over)| agent != over);
    let improvement = |(agent, over)| Improvement {
        agent,
        over,
        probability: statistics::estimate_improvement(&merits(agent), &merits(over), BOOTSTRAP_SEED),
    };
    ((0..agents).map(of_agent).collect(), pairs.map(improvement).collect())
}
