use std::fs;

use super::*;
use crate::config::{ContextLength, Execution, assert_says};

fn changes(settings: &[&str]) -> Changes {
    Changes { set: settings.iter().map(|text| text.to_string()).collect(), ..Changes::default() }
}

#[test]
fn three_keys_are_a_job_that_learns_online() {
    let text = r#"{"env": {"id": "CartPole-v1"}, "ppo": {"network": "recurrent", "env_steps": 20480}}"#;
    let job = Job::parse(text, &Changes::default()).and_then(Job::ppo).unwrap();
    assert_eq!(job.evaluation, crate::config::EvaluationConfig::default());
    job.env.make().unwrap();
}

fn load(text: &str, settings: &[&str]) -> Result<OfflineJob> {
    from_text("job.json", text, &changes(settings))?.offline()
}

fn message(text: &str, overrides: &[&str]) -> String {
    format!("{:#}", load(text, overrides).expect_err("must be refused"))
}

const SMALLEST: &str = r#"{"env": {"id": "TMaze-v0"}, "data": {"source": "x"}, "evaluation": {"target_returns": [1]}}"#;

#[test]
fn every_file_in_configs_parses() {
    fn visit(folder: &Path, files: &mut usize) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with("tables") || path.ends_with("evidence") {
                // These are no jobs.
            } else if path.is_dir() {
                visit(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                // Parts of a job are laid over each other; alone each has known keys.
                let mut wrong = Vec::new();
                read_over(&path, &known(), &mut Vec::new(), &mut wrong).unwrap_or_else(|error| panic!("{error:#}"));
                assert_eq!(wrong, Vec::<String>::new());
                *files += 1;
            }
        }
    }
    let mut files = 0;
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs"), &mut files);
    assert!(files >= 5, "found only {files} configs");
}

/// Writes files into a folder and loads one of them.
fn load_files(files: &[(&str, &str)], path: &str, overrides: &[&str]) -> Result<OfflineJob> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    Job::load(&[folder.path().join(path)], &changes(overrides))?.offline()
}

#[test]
fn a_config_is_laid_over_its_base_key_by_key() {
    let root = r#"{"env": {"id": "TMaze-v0", "options": {"corridor": 7}}, "train": {"steps": 30, "batch_size": 3},
                  "evaluation": {"target_returns": [1, 2]}}"#;
    let middle = r#"{"base": "../root.json", "train": {"steps": 20}, "policy": {"tokens": "merged", "mixer": "aaren"}}"#;
    let job = r#"{"base": "deep/middle.json", "data": {"source": "x"}, "policy": {"mixer": "transformer"},
                 "env": {"options": {"max_episode_steps": 90}}, "evaluation": {"target_returns": [3]}}"#;
    let files = [("root.json", root), ("deep/middle.json", middle), ("job.json", job)];
    let job = load_files(&files, "job.json", &["train.batch_size=9", "env.options.corridor=8"]).unwrap();
    assert_eq!((job.train.steps, job.train.batch_size), (20, 9));
    assert_eq!((&*job.policy.mixer, job.policy.tokens), ("transformer", aaren_policy::Tokens::Merged));
    assert_eq!(job.evaluation.target_returns, [3.0.into()]);
    assert_eq!(Value::Object(job.env.unwrap().options), serde_json::json!({"corridor": 8, "max_episode_steps": 90}));
}

#[test]
fn what_is_wrong_with_a_base_names_the_file() {
    let own = r#"{"base": "./job.json"}"#;
    let left = r#"{"base": "right.json"}"#;
    let right = r#"{"base": "left.json"}"#;
    let mut deep: Vec<(String, String)> =
        (0..8).map(|file| (format!("{file}.json"), format!(r#"{{"base": "{}.json"}}"#, file + 1))).collect();
    deep.push(("8.json".into(), SMALLEST.into()));
    let deep: Vec<(&str, &str)> = deep.iter().map(|(name, text)| (&**name, &**text)).collect();
    assert!(load_files(&deep, "1.json", &[]).is_ok());
    for (files, path, words) in [
        (&[("job.json", own)][..], "job.json", &["job.json: base", "its own base"][..]),
        (&[("left.json", left), ("right.json", right)], "left.json", &["right.json: base", "left.json is laid over"]),
        (&deep, "0.json", &["0.json: base", "more than 8 files"]),
        (&[("job.json", r#"{"base": 5}"#)], "job.json", &["base: found 5", "path"]),
        (&[("job.json", r#"{"base": "no.json"}"#)], "job.json", &["no.json, the base of", "job.json"]),
        (&[("job.json", left), ("right.json", "[]")], "job.json", &["right.json: expected a JSON object"]),
        (&[("job.json", left), ("right.json", r#"{"sed": 1}"#)], "job.json", &["right.json", "no key sed", "\"seed\""]),
    ] {
        assert_says(&format!("{:#}", load_files(files, path, &[]).expect_err("must be refused")), words, path);
    }
    assert!(message(SMALLEST, &["base=x"]).contains("no key base"));
}

#[test]
fn a_resolved_config_reads_back_as_itself() {
    let job = load(SMALLEST, &[]).unwrap();
    let text = serde_json::to_string(&job).unwrap();
    assert_eq!(load(&text, &[]).unwrap(), job);
    assert_eq!(job.train.context_length, ContextLength::Timesteps(20));
    assert_eq!(job.evaluation.final_episodes(), 10);
    let joined = load(SMALLEST, &[r#"data.source=["x", "y"]"#]).unwrap();
    assert_eq!(load(&serde_json::to_string(&joined).unwrap(), &[]).unwrap(), joined);
    assert_eq!(joined.data.describe(), "x + y");
}

#[test]
fn an_override_wins_over_the_file() {
    let job = load(
        SMALLEST,
        &[
            "train.context_length=episode",
            "env.options.corridor=7",
            "policy.mixer=transformer",
            "seed=9",
            r#"data={"scripted": {"episodes": 3}}"#,
            "evaluation.target_returns=[2, 3.5]",
        ],
    )
    .unwrap();
    assert_eq!(job.train.context_length, ContextLength::Episode);
    assert_eq!(job.task().unwrap().options["corridor"], 7);
    assert_eq!(job.policy.mixer, "transformer");
    assert_eq!(job.seed, 9);
    assert_eq!(job.data.source, None);
    assert_eq!(job.data.scripted.unwrap().episodes, 3);
    assert_eq!(job.evaluation.target_returns, [2.0.into(), 3.5.into()]);
    assert_eq!(job.evaluation.execution, Execution::Streaming);
}

#[test]
fn what_is_wrong_is_named_with_its_key() {
    let misspelt = SMALLEST.replacen('{', r#"{"train": {"leraning_rate": 1}, "#, 1);
    for (text, overrides, words) in [
        (&*misspelt, &[][..], &["job.json", "train.leraning_rate", "did you mean \"learning_rate\"?"][..]),
        (SMALLEST, &["train.leraning_rate=1"], &["--set train.leraning_rate=1", "did you mean \"learning_rate\"?"]),
        (SMALLEST, &[r#"train={"stepz": 1}"#], &["--set", "train.stepz", "did you mean \"steps\"?"]),
        (SMALLEST, &["zzz=1"], &["no key zzz", "the keys here are seed, strict, device, env"]),
        (SMALLEST, &["train.steps"], &["--set train.steps", "key.path=value"]),
        (SMALLEST, &["seed.x=1"], &["seed is a single value", "\"x\""]),
        (SMALLEST, &["train.steps=many"], &["job.json", "train.steps", "\"many\"", "a whole number"]),
        (SMALLEST, &["train.steps=-1"], &["train.steps", "-1"]),
        (SMALLEST, &["train.steps=1.5"], &["train.steps", "1.5", "a whole number"]),
        (SMALLEST, &["train.context_length=epoch"], &["train.context_length", "epoch", "or \"episode\""]),
        (SMALLEST, &["evaluation.execution=fast"], &["evaluation.execution", "fast", "streaming"]),
        (SMALLEST, &["train=5"], &["train", "5"]),
        (SMALLEST, &["data.source=5"], &["data.source", "5", "or a list of them"]),
        (SMALLEST, &["env.options=5"], &["env.options", "5"]),
        ("{}", &[], &["job.json", "env is missing"]),
        (r#"{"env": {}}"#, &[], &["env.id is missing"]),
        ("[]", &[], &["job.json", "expected a JSON object"]),
        ("", &[], &["job.json: the file is empty", "a JSON object with the keys seed, "]),
        ("{\n\"seed\": 1,\n}", &[], &["job.json, line 3, column 1"]),
        ("{\"seed\": 1, \"seed\": 2}", &[], &["\"seed\" is there twice"]),
        ("{\"seed\": 1e999}", &[], &["job.json, line 1", "out of range"]),
    ] {
        assert_says(&message(text, overrides), words, overrides);
    }
}

#[test]
fn a_missing_file_is_named_and_points_at_the_quickstart() {
    let message = format!("{:#}", Job::load(&["no/such.json".into()], &Changes::default()).unwrap_err());
    assert!(message.contains("no/such.json") && message.contains("quickstart"), "{message}");
}

#[test]
fn toml_and_json_are_the_same_job() {
    let toml = "train = { steps = 100_000, learning_rate = 1e-3 }\n[env]\nid = \"TMaze-v0\"\n[data]\nsource = \"x\"\n\
                [evaluation]\ntarget_returns = [1]\n";
    let job = load(toml, &["train.warmup_steps=1e3"]).unwrap();
    let json = load(SMALLEST, &["train.steps=1e5", "train.learning_rate=0.001", "train.warmup_steps=1000"]).unwrap();
    assert_eq!(job, json);
    assert_eq!((job.train.steps, job.train.warmup_steps), (100_000, 1000));
    assert_eq!(load(&serde_json::to_string(&job).unwrap(), &[]).unwrap(), job);
    for (text, words) in [
        ("[env]\nid = \n", &["job.json, line 2", "not valid TOML"][..]),
        ("seed = 1\nseed = 2\n", &["job.json, line 2", "duplicate key"]),
        ("[trian]\nsteps = 1\n", &["trian", "did you mean \"train\"?"]),
        ("seed = 1.5\n[env]\nid = \"TMaze-v0\"\n[data]\nsource = \"x\"\n[evaluation]\n", &["seed", "1.5", "a whole number"]),
    ] {
        assert_says(&message(text, &[]), words, text);
    }
}

#[test]
fn files_are_laid_over_each_other_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let task =
        file("task.toml", "seed = 3\n[env]\nid = \"TMaze-v0\"\noptions = { corridor = 7 }\n[evaluation]\ntarget_returns = [1]\n");
    let data = file("data.json", r#"{"data": {"source": "x"}, "train": {"steps": 30, "batch_size": 3}}"#);
    let agent = file("agent.toml", "[policy]\nmixer = \"transformer\"\n[train]\nsteps = 20\n");
    let files = [task.clone(), data.clone(), agent];
    let job = Job::load(&files, &Changes::default()).unwrap().offline().unwrap();
    assert_eq!((job.seed, job.train.steps, job.train.batch_size, &*job.policy.mixer), (3, 20, 3, "transformer"));
    assert!(!job.strict);
    let changes = Changes {
        set: vec!["seed=9".into()],
        env: Some("Pendulum-v1".into()),
        env_options: Vec::new(),
        data: vec!["y".into(), "z".into()],
        max_episode_steps: Some(60),
        mixer: Some("gru".into()),
        seed: Some(4),
        device: None,
        strict: true,
    };
    let job = Job::load(&files, &changes).unwrap().offline().unwrap();
    assert_eq!(
        (&*job.task().unwrap().id, job.task().unwrap().options.len(), &*job.policy.mixer, job.seed),
        ("Pendulum-v1", 0, "gru", 9)
    );
    assert!(job.strict);
    assert_eq!((job.data.source.unwrap().0, job.data.max_episode_steps), (vec!["y".into(), "z".into()], Some(60)));
    // The same task keeps its options, and `set` has the last word.
    let same =
        Changes { env: Some("TMaze-v0".into()), ..self::changes(&["env.options.max_episode_steps=50", "train.steps=100_000"]) };
    let job = Job::load(&files, &same).unwrap().offline().unwrap();
    assert_eq!(Value::Object(job.env.unwrap().options), serde_json::json!({"corridor": 7, "max_episode_steps": 50}));
    assert_eq!(job.train.steps, 100_000);
    let message = format!("{:#}", Job::load(&[task, data], &self::changes(&["env.id=No-v0"])).unwrap_err());
    assert!(message.contains("task.toml") && message.contains("data.json") && message.contains("No-v0"), "{message}");
}

#[test]
fn a_job_has_the_keys_of_its_kind() {
    let refused = |text: &str, settings: &[&str]| format!("{:#}", from_text("job", text, &changes(settings)).unwrap_err());
    let online = r#"{"env": {"id": "TMaze-v0"}, "ppo": {}, "evaluation": {}}"#;
    assert!(matches!(from_text("job", online, &changes(&["data=null"])).unwrap(), Job::Ppo(_)));
    for (settings, words) in [
        (&["train.steps=3"][..], &["train: not read by a job that learns online", "leave out ppo"][..]),
        (&["policy.mixer=aaren"], &["policy: it says how a recurrent network is built"]),
        (&["ppo.network=recurrent", "policy.dropout=0.1"], &["policy.dropout: not read by a job that learns online"]),
        (&["evaluation.target_returns=[1]"], &["evaluation.target_returns: not read"]),
        (&["ppo.envs=3", "ppo.envs_per_group=2"], &["ppo.envs_per_group", "divisor"]),
        (&["collect.dataset=random"], &["ppo: not read by a job that makes a dataset"]),
        (&["ppo.entropy=0"], &["no key ppo.entropy"]),
    ] {
        assert_says(&refused(online, settings), words, settings);
    }
    let Job::Ppo(job) = from_text("job", online, &changes(&["ppo.network=recurrent", "ppo.minibatches=1"])).unwrap() else {
        unreachable!()
    };
    assert_eq!(job.policy, Some(aaren_policy::PolicyConfig::default()));
}

#[test]
fn what_the_command_line_changed_is_named_in_its_errors() {
    let error = |changes: Changes| format!("{:#}", Job::load(&[], &changes).unwrap_err());
    let set = Changes { set: vec!["train.steps=abc".into()], ..Changes::default() };
    assert!(error(set).starts_with("the built-in quickstart with --set train.steps=abc: train.steps: "));
    let words = Changes { mixer: Some("transfomer".into()), ..Changes::default() };
    assert!(error(words).starts_with("the built-in quickstart with --mixer transfomer: policy.mixer: "));
}
