//! Reading a job: TOML or JSON files laid over each other, changes from the command line, and errors that name the key.

use std::path::{Path, PathBuf};

use aaren_envs::read_text;
use aaren_policy::checkpoint::say_older_options;
use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;
use serde_json::{Map, Value};

use super::mistakes::{self, Mistakes, concerns};
use super::text::{self, typed, value};
use super::{
    Classify, CollectJob, Device, EnvConfig, EvaluationConfig, Events, Forecast, Hawkes, Job, JudgeConfig, LogConfig, Mqar,
    OfflineJob, PpoConfig, PpoJob, ScriptedConfig, SequenceJob, StopConfig, TaskConfig, defaults, keys,
};

/// The job that `aaren train` runs without a config.
pub(super) const QUICKSTART: &str = include_str!("quickstart.toml");

/// Names the file that a file's keys are laid over, by a path relative to the file.
const BASE: &str = "base";

/// Files in a row of which each is the base of the one before; more than this is no layering but a slip.
const MOST_FILES: usize = 8;

/// What the command line changes in a job.
#[derive(Clone, Debug, Default, Args)]
pub struct Changes {
    /// Set any key of the job, for example --set train.steps=500; the value is read as JSON or TOML, and as a string where it is neither.
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    pub set: Vec<String>,
    /// Sequence mixer; `aaren mixers` lists them [sets policy.mixer, in place of policy.mixers].
    #[arg(long, value_name = "NAME")]
    pub mixer: Option<String>,
    /// Task; `aaren envs` lists them [sets env.id; the options of another task go].
    #[arg(long, value_name = "ID")]
    pub env: Option<String>,
    /// Options of the task, `name=value`; only some commands have the flag.
    #[arg(skip)]
    pub env_options: Vec<String>,
    /// Dataset to train on, a path or the id of a local Minari dataset; may be repeated [sets data.source, in place of data.scripted].
    #[arg(long, value_name = "SOURCE")]
    pub data: Vec<String>,
    /// Steps after which every episode of the datasets is cut, and their time limit [sets data.max_episode_steps].
    #[arg(long, value_name = "N")]
    pub max_episode_steps: Option<usize>,
    /// Root of every random number [sets seed].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// `device`; only some commands have the flag.
    #[arg(skip)]
    pub device: Option<Device>,
    /// Refuse what looks wrong with the job or its data, in place of a warning [sets strict].
    #[arg(long)]
    pub strict: bool,
}

impl From<&[String]> for Changes {
    fn from(set: &[String]) -> Self {
        Self { set: set.to_vec(), ..Self::default() }
    }
}

impl Changes {
    /// The flags as they were typed, each with the key that it sets and the value; `set` comes last and so has the last word.
    fn flags(&self) -> Vec<(String, String, Value)> {
        let flag = |flag: &str, key: &str, value: String| (format!("{flag} {value}"), key.to_string(), Value::from(value));
        let mut flags = Vec::new();
        flags.extend(self.mixer.clone().map(|mixer| flag("--mixer", "policy.mixer", mixer)));
        let data = self.data.join(" --data ");
        flags.extend((!self.data.is_empty()).then(|| (format!("--data {data}"), "data.source".into(), self.data.clone().into())));
        let limit = self.max_episode_steps;
        flags.extend(limit.map(|steps| (format!("--max-episode-steps {steps}"), "data.max_episode_steps".into(), steps.into())));
        flags.extend(self.seed.map(|seed| (format!("--seed {seed}"), "seed".into(), seed.into())));
        flags.extend(self.strict.then(|| ("--strict".into(), "strict".into(), true.into())));
        flags.extend(self.device.map(|device| flag("--device", "device", device.to_string())));
        flags.extend(self.env.clone().map(|id| flag("--env", "env.id", id)));
        flags.extend(self.env_options.iter().filter_map(|option| {
            let (name, text) = option.split_once('=')?;
            Some((format!("--env-option {option}"), format!("env.options.{}", name.trim()), value(text.trim())))
        }));
        flags.extend(self.set.iter().filter_map(|setting| {
            let (path, text) = setting.split_once('=')?;
            Some((format!("--set {setting}"), path.to_string(), value(text)))
        }));
        flags
    }

    /// Makes the changes in a job; gives what is wrong with them.
    fn apply(&self, json: &mut Value, known: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        for setting in self.set.iter().filter(|setting| !setting.contains('=')) {
            wrong.push(format!("--set {setting}: expected key.path=value, for example train.steps=500"));
        }
        for (flag, path, value) in self.flags() {
            // What a flag takes the place of goes: other mixers, scripted data, the options of another task.
            let instead = match flag.split(' ').next() {
                Some("--mixer") => Some(("policy.mixers", Value::Array(Vec::new()))),
                Some("--data") => Some(("data.scripted", Value::Null)),
                Some("--env") if keys::get(json, "env.id") != Some(&value) => Some(("env", Value::Object(Map::new()))),
                _ => None,
            };
            for (path, value) in instead.into_iter().chain([(&*path, value)]) {
                wrong.extend(keys::set(json, path, value, known).err().map(|error| format!("{flag}: {error:#}")));
            }
        }
        wrong
    }

    /// A mistake with the file `name`, and with the flags that have to do with it.
    fn blame(&self, name: &str, mistake: &str) -> String {
        let flags = self.flags().into_iter().filter(|(_, key, _)| concerns(key, mistake));
        let flags = flags.map(|(flag, ..)| format!(" {flag}")).collect::<String>();
        if flags.is_empty() { format!("{name}: {mistake}") } else { format!("{name} with{flags}: {mistake}") }
    }
}

impl Job {
    /// Reads config files, lays each over those before it, makes `changes`, and checks the result. Without a file it is the
    /// built-in quickstart, which needs no download; or, where a task on sequences is set, nothing but what is set.
    ///
    /// A file is TOML, or JSON if its name ends in `.json`. Objects are merged key by key; any other value, lists and null included,
    /// replaces what was there. A file may name in its key `base` another one, by a path relative to itself, that it is laid over.
    ///
    /// # Errors
    /// All that is wrong, a line each that names the file or the flag, the key, and what to do about it.
    pub fn load(files: &[PathBuf], changes: &Changes) -> Result<Job> {
        Self::load_over(None, files, changes)
    }

    /// - `stored`: the job of a run, below the files
    pub(super) fn load_over(stored: Option<&Path>, files: &[PathBuf], changes: &Changes) -> Result<Job> {
        let known = known();
        let files: &[PathBuf] = &stored.map(Path::to_path_buf).into_iter().chain(files.iter().cloned()).collect::<Vec<_>>();
        // The quickstart is a maze, of which a task on sequences has nothing.
        if files.is_empty() && changes.set.iter().any(|set| set.starts_with("task.") || set.starts_with("task=")) {
            return from_text("the job", "{}", changes);
        }
        if files.is_empty() {
            return from_text("the built-in quickstart", QUICKSTART, changes);
        }
        let (mut json, mut wrong) = (Value::Object(Map::new()), Vec::new());
        for file in files {
            keys::merge(&mut json, read_over(file, &known, &mut Vec::new(), &mut wrong)?);
            if stored == Some(file) {
                json.get_mut("policy").into_iter().for_each(say_older_options);
            }
        }
        let name = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" + ");
        let mut job = from_json(&name, json, changes, wrong)?;
        if let Job::Collect(job) = &mut job {
            files.iter().for_each(|file| job.find_paths_beside(file.parent().unwrap_or(Path::new(""))));
        }
        Ok(job)
    }

    /// A job from the text of a config, TOML or JSON.
    ///
    /// # Errors
    /// As [`Job::load`].
    pub fn parse(text: &str, changes: &Changes) -> Result<Job> {
        from_text("the job", text, changes)
    }

    /// The job, if it learns from trajectories.
    ///
    /// # Errors
    /// If it is of another kind.
    pub fn offline(self) -> Result<OfflineJob> {
        match self {
            Job::Offline(job) => Ok(job),
            other => bail!("expected a job that learns from data, this one {}", other.does()),
        }
    }

    /// The job, if it learns online.
    ///
    /// # Errors
    /// If it is of another kind.
    pub fn ppo(self) -> Result<PpoJob> {
        match self {
            Job::Ppo(job) => Ok(job),
            other => bail!("expected a job with the key ppo, which learns online; this one {}", other.does()),
        }
    }

    fn does(&self) -> &'static str {
        match self {
            Job::Offline(_) => "learns from data",
            Job::Ppo(_) => "learns online",
            Job::Collect(_) => "makes a dataset; run it with `aaren collect`",
            Job::Sequence(_) => "learns a task on sequences",
        }
    }
}

impl OfflineJob {
    /// The quickstart with settings, each `key.path=value`.
    ///
    /// # Errors
    /// As [`Job::load`].
    pub fn quickstart(settings: &[String]) -> Result<OfflineJob> {
        from_text("the built-in quickstart", QUICKSTART, &settings.into())?.offline()
    }
}

pub(super) fn from_text(name: &str, text: &str, changes: &Changes) -> Result<Job> {
    let is_json = text.is_empty() || text.trim_start().starts_with('{') || serde_json::from_str::<Value>(text).is_ok();
    let (mut json, mut wrong) = (parse(name, text, is_json)?, Vec::new());
    keys::check_known(&mut json, &known(), &mut wrong);
    wrong.iter_mut().for_each(|mistake| *mistake = format!("{name}: {mistake}"));
    from_json(name, json, changes, wrong)
}

/// A job from JSON whose keys are those of some kind of job.
///
/// - `wrong`: what is wrong already
fn from_json(name: &str, mut json: Value, changes: &Changes, mut wrong: Vec<String>) -> Result<Job> {
    wrong.extend(changes.apply(&mut json, &known()));
    name_robot(&mut json);
    let kind = Kind::of(&json);
    let known = kind.all_keys();
    let required = kind.required(&json);
    let job = mistakes::make(json, required, &known, |json| kind.job(json, required, &known));
    let job = job.map_err(|mistakes| wrong.extend(mistakes.iter().map(|mistake| changes.blame(name, mistake))));
    Mistakes::none_of(wrong)?;
    Ok(job.expect("what is no job has a mistake"))
}

/// Puts the task's name, `hopper` for `Hopper-v5`, in the place of `{robot}` in the names of data: so one file serves all tasks.
fn name_robot(json: &mut Value) {
    fn replace(value: &mut Value, robot: &str) {
        match value {
            Value::String(text) => *text = text.replace("{robot}", robot),
            Value::Array(items) => items.iter_mut().for_each(|item| replace(item, robot)),
            Value::Object(object) => object.values_mut().for_each(|value| replace(value, robot)),
            _ => {}
        }
    }
    let Some(id) = keys::get(json, "env.id").and_then(Value::as_str) else { return };
    let robot = EnvConfig { id: id.into(), options: Map::new() }.robot();
    for key in ["data", "collect"] {
        json.get_mut(key).into_iter().for_each(|section| replace(section, &robot));
    }
}

/// Which kind of job a config asks for, told by its keys before its values are looked at, so that errors name the key.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Offline,
    Ppo,
    Collect,
    Sequence,
}

impl Kind {
    fn of(json: &Value) -> Kind {
        let is_there = |key: &str| !json[key].is_null();
        match () {
            () if is_there("collect") => Kind::Collect,
            () if is_there("ppo") => Kind::Ppo,
            () if is_there("task") => Kind::Sequence,
            () => Kind::Offline,
        }
    }

    /// Keys without a default. Data on disk can be learnt from without an environment.
    fn required(self, json: &Value) -> &'static [&'static str] {
        let is_absent = |key: &str| keys::get(json, key).is_none_or(Value::is_null);
        match self {
            Kind::Offline if is_absent("env") && !is_absent("data.source") => &["data"],
            Kind::Offline => &["env", "env.id", "data"],
            Kind::Ppo => &["env", "env.id"],
            Kind::Collect => &["env", "env.id", "collect", "collect.dataset"],
            Kind::Sequence => &["task", "task.kind"],
        }
    }

    /// A valid job of the kind in which every key is present.
    fn all_keys(self) -> Value {
        let env = EnvConfig { id: "TMaze-v0".into(), options: Map::new() };
        let evaluation = EvaluationConfig { every: 1, stop: Some(StopConfig::default()), ..EvaluationConfig::default() };
        let job = match self {
            Kind::Offline => Job::Offline(OfflineJob {
                seed: 1,
                strict: true,
                device: Device::Cpu,
                env: Some(env),
                data: super::DataConfig { scripted: Some(ScriptedConfig::default()), ..Default::default() },
                policy: aaren_policy::PolicyConfig::default(),
                train: super::TrainConfig::default(),
                evaluation: EvaluationConfig { target_returns: vec![1.0.into()], ..evaluation },
                log: LogConfig { csv: true },
            }),
            Kind::Ppo => Job::Ppo(PpoJob {
                seed: 1,
                strict: true,
                device: Device::Cpu,
                env,
                ppo: PpoConfig { anneal: true, ..PpoConfig::default() },
                policy: Some(aaren_policy::PolicyConfig::default()),
                evaluation,
                log: LogConfig { csv: true },
            }),
            Kind::Collect => Job::Collect(CollectJob { strict: true, ..CollectJob::new(env, super::DatasetKind::Random) }),
            Kind::Sequence => Job::Sequence(SequenceJob {
                seed: 1,
                strict: true,
                device: Device::Cpu,
                task: TaskConfig::Mqar(Mqar::default()),
                policy: aaren_policy::PolicyConfig::default(),
                train: super::TrainConfig::default(),
                evaluation: JudgeConfig { every: 1, stop: Some(StopConfig::of_loss()), ..JudgeConfig::default() },
                log: LogConfig { csv: true },
            }),
        };
        let mut keys = serde_json::to_value(job).expect("a config is plain data");
        if self == Kind::Sequence {
            // Which keys a kind of task has is found when it is read.
            let events = Events { hawkes: Some(Hawkes::default()), ..Events::default() };
            let others = [
                serde_json::to_value(Classify::default()),
                serde_json::to_value(Forecast::default()),
                serde_json::to_value(events),
            ];
            others.into_iter().for_each(|other| keys::merge(&mut keys["task"], other.expect("a config is plain data")));
        }
        if let Some(options) = keys.pointer_mut("/policy/options") {
            options["custom"] = Value::Object(Map::new());
        }
        keys
    }

    /// A job of the kind, or the first thing that is wrong with it.
    fn job(self, mut json: Value, required: &[&str], known: &Value) -> Result<Job> {
        self.only_its_keys(&mut json, known)?;
        for key in required {
            let hint = if key.starts_with("env") { "; --env names the task; data.source alone needs none" } else { "" };
            ensure!(keys::get(&json, key).is_some(), "{key} is missing, and it has no default{hint}");
        }
        defaults::derive(&mut json);
        let job = match self {
            Kind::Offline => Job::Offline(typed(json)?),
            Kind::Ppo => {
                let mut job: PpoJob = typed(json)?;
                if job.ppo.network == super::Network::Recurrent {
                    job.policy.get_or_insert_default();
                }
                job.ppo.read_anneal()?;
                Job::Ppo(job)
            }
            Kind::Collect => Job::Collect(typed(json)?),
            Kind::Sequence => {
                TaskConfig::check_types(&json["task"])?;
                Job::Sequence(typed(json)?)
            }
        };
        job.check()?;
        Ok(job)
    }

    /// Refuses keys that only jobs of another kind have. One that is null asks for nothing and goes.
    fn only_its_keys(self, json: &mut Value, known: &Value) -> Result<()> {
        if let Some(object) = json.as_object_mut() {
            object.retain(|key, value| !value.is_null() || known.get(key).is_some());
        }
        let (what, instead) = match self {
            Kind::Offline => ("learns from data", "ppo, collect or task"),
            Kind::Ppo => ("learns online", "ppo"),
            Kind::Collect => ("makes a dataset", "collect"),
            Kind::Sequence => ("learns a task on sequences", "task"),
        };
        for key in json.as_object().into_iter().flat_map(Map::keys) {
            ensure!(known.get(key).is_some(), "{key}: not read by a job that {what}; leave it out, or leave out {instead}");
        }
        if self == Kind::Ppo && json["ppo"]["network"] != "recurrent" {
            ensure!(
                json["policy"].as_object().is_none_or(Map::is_empty),
                "policy: it says how a recurrent network is built, but ppo.network is \"mlp\"; set it to \"recurrent\", or leave policy out"
            );
            json.as_object_mut().map(|object| object.remove("policy"));
        }
        for (key, value) in json.as_object_mut().into_iter().flatten().filter(|(key, _)| *key != "env") {
            let (Some(section), Some(below)) = (value.as_object_mut(), known[key].as_object()) else { continue };
            section.retain(|key, value| !value.is_null() || below.contains_key(key));
            if let Some(other) = section.keys().find(|other| !below.contains_key(*other)) {
                bail!("{key}.{other}: not read by a job that {what}; leave it out");
            }
        }
        Ok(())
    }
}

/// The keys of jobs of every kind.
pub(crate) fn known() -> Value {
    let mut known = Kind::Ppo.all_keys();
    keys::merge(&mut known, Kind::Offline.all_keys());
    keys::merge(&mut known, Kind::Collect.all_keys());
    keys::merge(&mut known, Kind::Sequence.all_keys());
    known
}

/// The text of a job as JSON.
fn parse(name: &str, text: &str, is_json: bool) -> Result<Value> {
    text::parse(name, text, is_json, &|| keys::list(known().as_object().expect("an object")))
}

/// A file, laid over its bases. `above` holds the files that led here.
///
/// - `wrong`: receives what is wrong with its keys
fn read_over(path: &Path, known: &Value, above: &mut Vec<PathBuf>, wrong: &mut Vec<String>) -> Result<Value> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|error| {
        let hint = match (above.last(), error.kind()) {
            (Some(file), _) => format!(", the base of {}", file.display()),
            (None, std::io::ErrorKind::NotFound) => "; `aaren train` without a config runs the quickstart".into(),
            (None, _) if path.join("config.json").is_file() => format!("; the job of this run is in {name}/config.json"),
            (None, _) => String::new(),
        };
        anyhow!(error).context(format!("cannot read the config {name}{hint}"))
    })?;
    let mut json = parse(&name, &text, path.extension().is_some_and(|extension| extension == "json"))?;
    let base = json.as_object_mut().and_then(|object| object.shift_remove(BASE));
    let mut unknown = Vec::new();
    keys::check_known(&mut json, known, &mut unknown);
    wrong.extend(unknown.iter().map(|mistake| format!("{name}: {mistake}")));
    let Some(base) = base else { return Ok(json) };
    let base = base.as_str().with_context(|| format!("{name}: base: found {base}, expected the path of another config"))?;
    let base = path.parent().unwrap_or(Path::new("")).join(base);

    above.push(path.to_path_buf());
    let same = |file: &PathBuf| match (file.canonicalize(), base.canonicalize()) {
        (Ok(file), Ok(base)) => file == base,
        _ => false, // a file that is not there is reported when it is read
    };
    if above.iter().any(same) {
        bail!("{name}: base: {} is laid over this file already; a config cannot be its own base", base.display());
    }
    if above.len() == MOST_FILES {
        bail!("{}: base: more than {MOST_FILES} files are laid over each other", above[0].display());
    }
    let mut merged = read_over(&base, known, above, wrong)?;
    keys::merge(&mut merged, json);
    Ok(merged)
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
