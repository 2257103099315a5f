//! Runs side by side: what they reached, what they cost, and in what their jobs differ.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use comfy_table::{Table, presets};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    config::JobConfig,
    report::{self, EvaluationReport, FORMAT, LatencyReport, TrainSummary},
    run::{RunDir, differing_keys, write_atomically, write_json_atomically},
};

/// Several runs on one task, `compare.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// [`FORMAT`].
    pub format: u32,
    /// The runs in the order they were given.
    pub runs: Vec<ComparedRun>,
    /// Config keys that are not the same in all runs, with each run's value in the same order.
    pub differences: BTreeMap<String, Vec<Value>>,
    /// What makes the comparison unfair, if it was forced.
    pub incompatible: Vec<String>,
}

/// One run's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedRun {
    /// The run folder's name, or its path where two have the same name.
    pub run: String,
    /// Name of the mixer.
    pub mixer: String,
    /// Timesteps of a training segment, or `episode`.
    pub context_length: String,
    /// `streaming` or `window`.
    pub execution: String,
    /// Optimizer steps behind the evaluated weights.
    pub checkpoint_step: u64,
    /// Root of the evaluated episodes' seeds.
    pub evaluation_seed: u64,
    /// Trained numbers in the policy.
    pub parameters: usize,
    /// One for each target return.
    pub targets: Vec<ComparedTarget>,
    /// Seconds that training took; None without `train.json`.
    pub train_seconds: Option<f64>,
    /// Timesteps a second while training; None without `train.json`.
    pub train_timesteps_per_second: Option<f64>,
    /// Cost of a single step, where it was measured.
    pub latency: Option<LatencyReport>,
}

/// What a run reached for one target return.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedTarget {
    /// What was asked for; None of a policy that is not told a return.
    pub target_return: Option<f64>,
    /// Number of episodes.
    pub episodes: usize,
    /// Mean undiscounted return.
    pub return_mean: f64,
    /// Population standard deviation of the returns.
    pub return_std: f64,
    /// 0 is a random policy, 100 an expert; None where the task has no reference returns.
    pub normalised_score: Option<f64>,
}

/// Reads the results of the runs and writes `compare.md` and `compare.json` to `output`.
///
/// Without `output` they go to the folder `compare` beside the runs: in the deepest folder that holds them all. An older
/// comparison there is replaced. Runs on another task, with other options or on other data are refused unless `force` is set.
///
/// # Errors
/// Names the run and the file that is missing or broken, and the command that makes it; says in what runs are incompatible.
pub fn compare(runs: &[PathBuf], output: Option<&Path>, force: bool) -> Result<Comparison> {
    ensure!(runs.len() >= 2, "a comparison takes at least two runs, found {}", runs.len());
    let results = runs.iter().map(|path| Results::read(path)).collect::<Result<Vec<_>>>()?;

    let incompatible = incompatibilities(&results)?;
    if !(incompatible.is_empty() || force) {
        bail!("these runs cannot be compared: {}; compare them all the same with --force", incompatible.join("; "));
    }
    let comparison = Comparison { format: FORMAT, runs: named(&results), differences: differences(&results)?, incompatible };

    let folder = match output {
        Some(folder) => folder.to_path_buf(),
        None => common_parent(runs)?.join("compare"),
    };
    fs::create_dir_all(&folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    write_json_atomically(&folder.join("compare.json"), &comparison)?;
    write_atomically(&folder.join("compare.md"), comparison.markdown().as_bytes())?;
    tracing::info!("wrote {} and {}", folder.join("compare.md").display(), folder.join("compare.json").display());
    Ok(comparison)
}

/// What one run left behind.
struct Results {
    path: PathBuf,
    name: String,
    config: JobConfig,
    evaluation: EvaluationReport,
    train: Option<TrainSummary>,
}

impl Results {
    fn read(path: &Path) -> Result<Results> {
        let run = RunDir::open(path)?;
        let evaluation = read_json(&path.join("evaluation.json"))?.ok_or_else(|| {
            let path = path.display();
            anyhow!("the run {path} has no evaluation.json; make it with `aaren evaluate {path}`")
        })?;
        Ok(Results {
            path: path.to_path_buf(),
            name: run.name(),
            config: run.config(&[])?,
            evaluation,
            train: read_json(&path.join("train.json"))?,
        })
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read {}", path.display()))?,
    };
    serde_json::from_str(&text).map(Some).with_context(|| format!("{} is not a result of this version", path.display()))
}

/// In what the runs' tasks or data differ from the first run's.
fn incompatibilities(results: &[Results]) -> Result<Vec<String>> {
    let first = &results[0];
    let mut found = Vec::new();
    for other in &results[1..] {
        let pair = format!("{} and {}", first.path.display(), other.path.display());
        let mut note = |what: &str, left: &Value, right: &Value| {
            if left != right {
                found.push(format!("{pair} differ in {what} ({left} and {right})"));
            }
        };
        let (left, right) = (&first.evaluation, &other.evaluation);
        note("the environment", &left.env_id.as_str().into(), &right.env_id.as_str().into());
        note("its options", &left.env_options.clone().into(), &right.env_options.clone().into());
        note("the data", &serde_json::to_value(&first.config.data)?, &serde_json::to_value(&other.config.data)?);
    }
    Ok(found)
}

fn named(results: &[Results]) -> Vec<ComparedRun> {
    let shared = |name: &str| results.iter().filter(|other| other.name == name).count() > 1;
    let compared = |run: &Results| ComparedRun {
        run: if shared(&run.name) { run.path.display().to_string() } else { run.name.clone() },
        mixer: run.evaluation.mixer.clone(),
        context_length: run.config.train.context_length.to_string(),
        execution: run.evaluation.execution.clone(),
        checkpoint_step: run.evaluation.checkpoint_step,
        evaluation_seed: run.evaluation.seed,
        parameters: run.evaluation.parameters,
        targets: run
            .evaluation
            .targets
            .iter()
            .map(|target| ComparedTarget {
                target_return: target.target_return,
                episodes: target.episodes,
                return_mean: target.return_mean,
                return_std: target.return_std,
                normalised_score: target.normalised_score,
            })
            .collect(),
        train_seconds: run.train.as_ref().map(|train| train.wall_seconds),
        train_timesteps_per_second: run.train.as_ref().map(|train| train.timesteps_per_second),
        latency: run.evaluation.latency.clone(),
    };
    results.iter().map(compared).collect()
}

/// Config keys that some run has otherwise than the first.
fn differences(results: &[Results]) -> Result<BTreeMap<String, Vec<Value>>> {
    let configs = results.iter().map(|run| serde_json::to_value(&run.config)).collect::<Result<Vec<_>, _>>()?;
    let keys = configs[1..].iter().flat_map(|config| differing_keys(&configs[0], config));
    let value = |config: &Value, key: &str| config.pointer(&format!("/{}", key.replace('.', "/"))).cloned();
    Ok(keys
        .map(|key| {
            let values = configs.iter().map(|config| value(config, &key).unwrap_or_default()).collect();
            (key, values)
        })
        .collect())
}

/// The deepest folder that holds all the runs.
fn common_parent(runs: &[PathBuf]) -> Result<PathBuf> {
    let mut common: Option<PathBuf> = None;
    for run in runs {
        let full = run.canonicalize().with_context(|| format!("cannot read {}", run.display()))?;
        let parent = full.parent().unwrap_or(&full);
        common = Some(match common {
            None => parent.to_path_buf(),
            Some(so_far) => so_far.components().zip(parent.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect(),
        });
    }
    common.context("there are no runs")
}

impl Comparison {
    /// The table for a terminal, with what differs between the jobs below it.
    pub fn render(&self) -> String {
        format!("{}\n{}", self.table(presets::UTF8_FULL_CONDENSED), self.notes(""))
    }

    /// The same as a Markdown page.
    pub fn markdown(&self) -> String {
        let mut table = self.table(presets::ASCII_MARKDOWN);
        table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
        format!("# Comparison\n\n{table}\n\n{}", self.notes("- "))
    }

    fn targets(&self) -> Vec<Option<f64>> {
        let mut targets: Vec<Option<f64>> = Vec::new();
        for target in self.runs.iter().flat_map(|run| &run.targets) {
            if !targets.contains(&target.target_return) {
                targets.push(target.target_return);
            }
        }
        targets
    }

    fn table(&self, style: comfy_table::TableStyle) -> Table {
        let targets = self.targets();
        let mut header: Vec<String> = ["run", "mixer", "context", "execution", "steps", "parameters"].map(String::from).to_vec();
        header.extend(targets.iter().map(|target| match target {
            Some(target) => format!("return, asked for {}", report::number(*target)),
            None => "return, asked for none".into(),
        }));
        header.extend(["training", "act, first", "act, last", "state, first", "state, last"].map(String::from));
        let mut table = report::table(&header.iter().map(String::as_str).collect::<Vec<_>>());
        table.load_style(style);
        for run in &self.runs {
            let mut cells = vec![
                run.run.replace('|', "\\|"),
                run.mixer.clone(),
                run.context_length.clone(),
                run.execution.clone(),
                run.checkpoint_step.to_string(),
                run.parameters.to_string(),
            ];
            cells.extend(targets.iter().map(|target| {
                let reached = run.targets.iter().find(|reached| reached.target_return == *target);
                reached.map_or("-".into(), ComparedTarget::cell)
            }));
            cells.push(run.train_seconds.map_or("-".into(), report::duration));
            let latency = |show: fn(&LatencyReport) -> String| run.latency.as_ref().map_or("-".into(), show);
            cells.push(latency(|latency| report::microseconds(latency.first_microseconds)));
            cells.push(latency(|latency| report::microseconds(latency.last_microseconds)));
            cells.push(latency(|latency| report::bytes(latency.state_bytes_first)));
            cells.push(latency(|latency| report::bytes(latency.state_bytes_last)));
            table.add_row(cells);
        }
        report::align_right(&mut table, 4);
        table
    }

    fn notes(&self, bullet: &str) -> String {
        let mut text = String::new();
        let mut line = |note: String| text += &format!("{bullet}{note}\n");
        for reason in &self.incompatible {
            line(format!("Not a fair comparison: {reason}."));
        }
        line("Returns are mean ± population standard deviation over episodes, in brackets the normalised score.".into());
        line("Act is the time of one step, state the memory of one environment's policy, at the first and last step.".into());
        // Evaluations may be run again by hand, with other episodes than the job says.
        let episodes = |run: &ComparedRun| run.targets.iter().map(|target| target.episodes).collect::<Vec<_>>();
        for (what, values) in [
            ("seed", self.runs.iter().map(|run| run.evaluation_seed.to_string()).collect::<Vec<_>>()),
            ("number of episodes", self.runs.iter().map(|run| format!("{:?}", episodes(run))).collect()),
        ] {
            if values.iter().any(|value| *value != values[0]) {
                line(format!("The evaluations differ in their {what}: {}.", values.join(", ")));
            }
        }
        match self.differences.is_empty() {
            true => line("The jobs do not differ.".into()),
            false => line("The jobs differ in:".into()),
        }
        let indent = if bullet.is_empty() { "  " } else { "  - " };
        for (key, values) in &self.differences {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            text += &format!("{indent}{key}: {}\n", values.join(", "));
        }
        text
    }
}

impl ComparedTarget {
    fn cell(&self) -> String {
        let reached = report::mean_std(self.return_mean, self.return_std);
        match self.normalised_score {
            Some(score) => format!("{reached} ({score:.1})"),
            None => reached,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::TargetReport;

    fn run(folder: &Path, name: &str, overrides: &[&str]) -> PathBuf {
        let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
        let config = JobConfig::quickstart(&overrides).unwrap();
        let path = folder.join(name);
        let run = RunDir::create(&path, &config).unwrap();
        let evaluation = EvaluationReport {
            format: FORMAT,
            run: name.into(),
            checkpoint_step: 500,
            env_id: config.env.id.clone(),
            env_options: config.env.options.clone(),
            data: config.data.describe(),
            mixer: config.policy.mixer.clone(),
            execution: config.evaluation.execution.to_string(),
            seed: 1,
            parameters: 123_456,
            targets: vec![TargetReport::new(Some(1.0), vec![1.0, 0.5], vec![41, 41], 2, |mean| Some(mean * 100.0))],
            env_steps: 82,
            wall_seconds: 1.0,
            env_steps_per_second: 82.0,
            latency: None,
        };
        run.write_json("evaluation.json", &evaluation).unwrap();
        path
    }

    #[test]
    fn evaluations_of_other_episodes_are_pointed_out() {
        let folder = tempfile::tempdir().unwrap();
        let (left, right) = (run(folder.path(), "left", &[]), run(folder.path(), "right", &[]));
        let note = "The evaluations differ in their number of episodes: [2], [3].";
        assert!(!compare(&[left.clone(), right.clone()], None, false).unwrap().markdown().contains("evaluations differ"));
        let path = right.join("evaluation.json");
        let text = fs::read_to_string(&path).unwrap().replace("\"episodes\": 2", "\"episodes\": 3");
        fs::write(path, text).unwrap();
        assert!(compare(&[left, right], None, false).unwrap().markdown().contains(note));
    }

    fn message(runs: &[PathBuf]) -> String {
        format!("{:#}", compare(runs, None, false).unwrap_err())
    }

    #[test]
    fn runs_stand_side_by_side_with_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let left = run(folder.path(), "left", &[]);
        let right = run(folder.path(), "right", &["policy.mixer=transformer"]);
        let comparison = compare(&[left, right], None, false).unwrap();
        assert_eq!(comparison.differences["policy.mixer"], ["aaren", "transformer"]);
        assert_eq!(comparison.differences.len(), 1);
        let page = fs::read_to_string(folder.path().join("compare/compare.md")).unwrap();
        for words in ["| left ", "transformer", "0.75 ± 0.25 (75.0)", "123456", "policy.mixer: \"aaren\", \"transformer\""] {
            assert!(page.contains(words), "{page}\nlacks {words}");
        }
        let json = fs::read_to_string(folder.path().join("compare/compare.json")).unwrap();
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["runs"][1]["mixer"], "transformer");
        assert!(comparison.render().contains("right"));
    }

    #[test]
    fn runs_on_other_tasks_or_data_are_refused_unless_forced() {
        let folder = tempfile::tempdir().unwrap();
        let left = run(folder.path(), "left", &[]);
        let options = run(folder.path(), "options", &["env.options.corridor=9"]);
        let data = run(folder.path(), "data", &["data.scripted.episodes=9"]);
        let said = message(&[left.clone(), options.clone()]);
        assert!(said.contains("its options") && said.contains("40") && said.contains("--force"), "{said}");
        assert!(message(&[left.clone(), data.clone()]).contains("the data"));
        assert!(!folder.path().join("compare").exists());
        let forced = compare(&[left, options, data], Some(&folder.path().join("out")), true).unwrap();
        assert_eq!(forced.incompatible.len(), 2);
        assert!(forced.render().contains("Not a fair comparison"));
        assert!(folder.path().join("out/compare.json").is_file());
    }

    #[test]
    fn a_run_without_results_says_what_to_type() {
        let folder = tempfile::tempdir().unwrap();
        let left = run(folder.path(), "left", &[]);
        let right = run(folder.path(), "right", &[]);
        fs::remove_file(right.join("evaluation.json")).unwrap();
        let said = message(&[left.clone(), right.clone()]);
        assert!(said.contains(&format!("aaren evaluate {}", right.display())), "{said}");
        fs::write(right.join("evaluation.json"), "{}").unwrap();
        assert!(message(&[left.clone(), right]).contains("not a result of this version"));
        assert!(message(&[left]).contains("at least two"));
    }
}
