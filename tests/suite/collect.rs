//! Datasets made the D4RL way: what is in them, that they are the same however they came about, and what is refused.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::common::{aaren, json, stdout};
use aaren_agents::collect::{Provenance, Summary, collect};
use aaren_agents::config::{Changes, CollectJob, Job};
use aaren_agents::device::{CPU, Cpu};
use aaren_agents::play::action_spec;
use aaren_agents::run::write_json_atomically;
use aaren_data::{Actions, Loaded, Statistics, load};
use aaren_envs::{Action, make};
use aaren_policy::{
    ActorCriticConfig, ActorCriticDescription, ActorCriticNetwork, ActorCriticPolicy, HiddenActivation, Inputs, Normalizer,
    PolicyConfig, PreviousStep, checkpoint,
};
use anyhow::Result;
use serde_json::Value;

const ENV: &str = "Pendulum-v1";

/// Writes a policy with drawn weights for a task, and gives the folder.
fn save_policy(folder: &Path, env: &str, network: ActorCriticConfig, seed: u64) -> PathBuf {
    save_policy_in(folder, &serde_json::json!({ "id": env }), network, seed)
}

/// The same, in a task with options.
fn save_policy_in(folder: &Path, environment: &Value, network: ActorCriticConfig, seed: u64) -> PathBuf {
    let options = environment["options"].as_object().cloned().unwrap_or_default();
    let spec = make(environment["id"].as_str().unwrap(), &options).unwrap().spec().clone();
    let description = ActorCriticDescription {
        format: ActorCriticDescription::FORMAT,
        network,
        normalizer: Normalizer::identity(spec.observation_space.width()),
        observation_clip: 10.0,
        inputs: Inputs::default(),
        action: action_spec(&spec.action_space),
        environment: environment.clone(),
    };
    let network = ActorCriticNetwork::<Cpu>::new(&description, -0.5, seed, &CPU).unwrap();
    let path = folder.join(format!("policy-{seed}"));
    let provenance = Provenance { algorithm: Some("PPO".into()), env_steps: Some(4096), ..Provenance::default() };
    fs::create_dir(&path).unwrap();
    checkpoint::save(&ActorCriticPolicy { network, description }, &path).unwrap();
    write_json_atomically(&path.join("provenance.json"), &provenance).unwrap();
    path
}

fn mlp() -> ActorCriticConfig {
    ActorCriticConfig::Mlp { hidden: vec![7, 5], activation: HiddenActivation::Tanh }
}

fn recurrent() -> ActorCriticConfig {
    let config = PolicyConfig { layers: 1, width: 6, heads: 2, feed_forward: 9, dropout: 0.0, ..PolicyConfig::default() };
    ActorCriticConfig::Recurrent(config)
}

/// A config file of a collection, with its overrides written into it.
fn config(folder: &Path, kind: &str, overrides: &[String]) -> (PathBuf, CollectJob) {
    let path = folder.join("collect.json");
    let text = format!(r#"{{"seed": 3, "env": {{"id": "{ENV}"}}, "collect": {{"dataset": "{kind}", "steps": 900}}}}"#);
    fs::write(&path, text).unwrap();
    let Job::Collect(job) = Job::load(std::slice::from_ref(&path), &overrides.into()).unwrap() else { unreachable!() };
    fs::write(&path, serde_json::to_string(&job).unwrap()).unwrap();
    (path, job)
}

fn job(folder: &Path, kind: &str, overrides: &[String]) -> CollectJob {
    config(folder, kind, overrides).1
}

fn policies(medium: &Path, expert: &Path) -> Vec<String> {
    vec![format!("collect.policies.medium={}", medium.display()), format!("collect.policies.expert={}", expert.display())]
}

fn load_path(path: &Path) -> Loaded {
    load(path.to_str().unwrap()).unwrap_or_else(|error| panic!("{error}"))
}

/// All that a collection wrote, by name.
fn files(output: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn visit(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { visit(&path, files) } else { files.push((path.clone(), fs::read(&path).unwrap())) }
        }
    }
    let mut found = Vec::new();
    visit(output, &mut found);
    found.iter_mut().for_each(|(path, _)| *path = path.strip_prefix(output).unwrap().into());
    found.sort();
    found
}

fn assert_same_files(one: &Path, other: &Path, what: &str) {
    let (one, other) = (files(one), files(other));
    assert_eq!(one.iter().map(|(path, _)| path).collect::<Vec<_>>(), other.iter().map(|(path, _)| path).collect::<Vec<_>>());
    for ((path, one), (_, other)) in one.iter().zip(&other) {
        assert!(one == other, "{what}: {} differs", path.display());
    }
}

#[test]
fn random_episodes_are_whole_seeded_and_replay() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("pendulum/random-v0");
    let summary = collect(&job(folder.path(), "random", &[]), &output).unwrap();
    // 900 steps are 4.5 episodes of 200.
    assert_eq!((summary.parts[0].episodes, summary.parts[0].steps), (5, 1000));
    assert!(!output.join("journal").exists());

    let minari = load_path(&output);
    let statistics = Statistics::of(&minari.dataset, None);
    assert_eq!(statistics.returns, summary.parts[0].returns);
    assert_eq!((statistics.episodes, statistics.terminated, statistics.truncated), (5, 0, 5));
    let seeds: BTreeSet<_> = minari.dataset.trajectories.iter().map(|trajectory| trajectory.seed.unwrap()).collect();
    assert_eq!(seeds.len(), 5);
    let mut env = make(ENV, &Default::default()).unwrap();
    for trajectory in &minari.dataset.trajectories {
        let Actions::Continuous(actions) = &trajectory.actions else { unreachable!() };
        let mut observation = [0.0; 3];
        env.reset(trajectory.seed, &mut observation).unwrap();
        for (step, action) in actions.iter().enumerate() {
            assert_eq!(observation.map(|x| x as f32), [0, 1, 2].map(|i| trajectory.observations[3 * step + i] as f32));
            assert_eq!(env.step(Action::F32(&[*action]), &mut observation).unwrap().reward, trajectory.rewards[step]);
        }
    }

    let flat = load_path(&output.join("pendulum_random-v0.hdf5"));
    assert_eq!(flat.dataset.trajectories.len(), 5);
    for (flat, minari) in flat.dataset.trajectories.iter().zip(&minari.dataset.trajectories) {
        assert_eq!((flat.len(), &flat.actions, flat.end), (minari.len(), &minari.actions, minari.end));
        assert!(flat.rewards.iter().zip(&minari.rewards).all(|(a, b)| *a == f64::from(*b as f32)));
    }
    for loaded in [minari, flat] {
        assert_eq!((loaded.dataset.id.as_str(), loaded.dataset.env_id.as_deref()), ("pendulum/random-v0", Some(ENV)));
        let collection = &loaded.dataset.metadata["collection"];
        assert_eq!(collection["job"]["seed"], 3);
        assert_eq!(collection["versions"]["aaren"], env!("CARGO_PKG_VERSION"));
        assert_eq!((&collection["parts"][0]["actions"], &collection["parts"][0]["steps"]), (&"uniform".into(), &1000.into()));
    }
}

#[test]
fn the_dataset_does_not_depend_on_the_threads_or_on_being_made_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let medium = save_policy(folder.path(), ENV, mlp(), 11);
    let expert = save_policy(folder.path(), ENV, recurrent(), 12);
    let [one, three] = ["1", "3"].map(|actors| {
        let more = ["collect.steps=2000".into(), "collect.envs_per_actor=3".into(), format!("collect.actors={actors}")];
        let job = job(folder.path(), "medium-expert", &[policies(&medium, &expert), more.to_vec()].concat());
        let output = folder.path().join(format!("actors-{actors}"));
        let summary = collect(&job, &output).unwrap();
        assert_eq!(summary.parts.iter().map(|part| (part.episodes, part.steps)).collect::<Vec<_>>(), [(10, 2000), (10, 2000)]);
        output
    });
    assert_same_files(&one, &three, "actors");

    // The parts are the datasets that they would be alone.
    let whole = load_path(&one).dataset.trajectories;
    for (kind, part, policy) in [("medium", &whole[..10], &medium), ("expert", &whole[10..], &expert)] {
        let settings = [format!("collect.policies.{kind}={}", policy.display()), "collect.steps=2000".into()];
        let job = job(folder.path(), kind, &[&settings[..], &["collect.envs_per_actor=3".into()]].concat());
        let output = folder.path().join(kind);
        collect(&job, &output).unwrap();
        assert_eq!(load_path(&output).dataset.trajectories, part, "{kind}");
    }
    assert_ne!(whole[0], whole[10]);
}

#[test]
fn actions_are_stored_as_executed_with_the_density_of_their_draws() {
    let folder = tempfile::tempdir().unwrap();
    let medium = save_policy(folder.path(), ENV, mlp(), 11);
    let settings = [format!("collect.policies.medium={}", medium.display())];
    let [sampled, modes] = ["true", "false"].map(|sampled| {
        let settings = [&settings[..], &[format!("collect.sampled={sampled}")]].concat();
        let output = folder.path().join(sampled);
        collect(&job(folder.path(), "medium", &settings), &output).unwrap();
        output
    });
    let arrays = |output: &Path| {
        let file = hdf5_pure::File::open(output.join("pendulum_medium-v0.hdf5")).unwrap();
        let read = |name: &str| file.dataset(name).ok().map(|array| array.read_f32().unwrap());
        [read("observations"), read("actions"), read("infos/action_log_probs"), read("infos/qpos")]
    };
    let [observations, actions, log_probs, qpos] = arrays(&sampled);
    let (observations, actions, log_probs) = (observations.unwrap(), actions.unwrap(), log_probs.unwrap());
    assert_eq!((actions.len(), log_probs.len(), qpos), (1000, 1000, None));
    let policy = aaren_policy::checkpoint::load_any::<Cpu>(&medium, &CPU).unwrap();
    let aaren_policy::AnyPolicy::ActorCritic(policy) = policy else { unreachable!() };
    let mut at_bounds = 0;
    for step in 0..1000 {
        // Torques are twice the draw, held to -2 .. 2.
        if actions[step].abs() == 2.0 {
            at_bounds += 1;
            continue;
        }
        let mut normalised = Vec::new();
        let observation: Vec<f64> = observations[3 * step..][..3].iter().map(|&x| x.into()).collect();
        policy.description.push_input(&observation, &PreviousStep::default(), &mut normalised);
        let (distributions, _) = policy.act(&normalised, &[true], policy.initial_state(1, &CPU), &CPU);
        let expected = distributions.log_prob(0, &[actions[step] / 2.0]);
        assert!((log_probs[step] - expected).abs() < 1e-4, "step {step}: {} and {expected}", log_probs[step]);
    }
    assert!((1..300).contains(&at_bounds), "{at_bounds}");
    let [_, likeliest, log_probs, _] = arrays(&modes);
    assert_eq!(log_probs, None, "what is not drawn has no density");
    assert_ne!(likeliest.unwrap(), actions);
    let metadata = load_path(&sampled).dataset.metadata;
    assert_eq!((&metadata["algorithm_name"], &metadata["iteration"]), (&"PPO".into(), &4096.into()));
    assert_eq!(metadata["collection"]["parts"][0]["policy"]["provenance"]["env_steps"], 4096);
}

/// Kills a collection once its journal has grown to some bytes, and gives the journal's length; `None` if it ended before.
fn kill(folder: &Path, config: &Path, output: &Path, part: &str, bytes: u64) -> Option<u64> {
    let path = output.join("journal").join(format!("{part}.episodes"));
    let mut child = aaren(folder, &["collect", config.to_str().unwrap(), "--output", output.to_str().unwrap()], &[])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    loop {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > bytes) {
            child.kill().unwrap();
            child.wait().unwrap();
            return Some(fs::metadata(&path).unwrap().len());
        }
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_killed_collection_keeps_its_episodes_and_ends_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let medium = save_policy(folder.path(), ENV, mlp(), 11);
    let settings = [format!("collect.policies.medium={}", medium.display()), "collect.steps=60000".into()];
    let (config, job) = config(folder.path(), "medium", &settings);
    let [whole, killed] = ["whole", "killed"].map(|name| folder.path().join(name));
    collect(&job, &whole).unwrap();

    let first = kill(folder.path(), &config, &killed, "medium", 50_000).expect("the collection is long enough to be killed");
    let journal = killed.join("journal/medium.episodes");
    let before = fs::read(&journal).unwrap();
    let refused = format!("{}", load(killed.to_str().unwrap()).unwrap_err());
    assert!(refused.contains("run the same `aaren collect` again"), "{refused}");
    // Every record that was whole is still there when the next process is killed in turn.
    if let Some(second) = kill(folder.path(), &config, &killed, "medium", first + 50_000) {
        assert!(second > first);
        let after = fs::read(&journal).unwrap();
        let episode = 8 * 3 * 201 + 8 * 200; // at least
        assert!(after.starts_with(&before[..before.len().saturating_sub(2 * episode)]));
    }
    let said = stdout(&mut aaren(folder.path(), &["collect", config.to_str().unwrap(), "--output", "killed"], &[]));
    assert!(said.contains("wrote killed as Minari") && said.contains("300"), "{said}");
    assert_same_files(&whole, &killed, "killed and resumed");

    // Half of a file, as a kill in the middle of writing leaves it under a temporary name, is refused with advice.
    let file = whole.join("pendulum_medium-v0.hdf5");
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let refused = format!("{}", load(file.to_str().unwrap()).unwrap_err());
    assert!(refused.contains("truncated") && refused.contains("aaren collect"), "{refused}");
}

#[test]
fn a_collection_goes_on_only_as_it_was_begun() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let random = job(folder.path(), "random", &["collect.steps=1000000".into()]);
    let (config, _) = config(folder.path(), "random", &["collect.steps=1000000".into()]);
    kill(folder.path(), &config, &output, "random", 20_000).expect("a million steps take a while");
    let message = |job: &CollectJob| format!("{:#}", collect(job, &output).unwrap_err());
    let mut other = random.clone();
    (other.seed, other.collect.steps) = (4, 400);
    let refused = message(&other);
    assert!(refused.contains("begun with another seed and collect.steps"), "{refused}");
    // What changes no episode may change.
    let mut shorter = random.clone();
    shorter.collect.actors += 1;
    shorter.collect.steps = 400;
    assert!(message(&shorter).contains("begun with another collect.steps"));
    let lock = fs::File::options().append(true).open(output.join("journal/lock")).unwrap();
    lock.lock().unwrap();
    assert!(message(&random).contains("another process is collecting in"));
}

#[test]
fn a_collection_acts_in_the_environment_that_its_policies_were_trained_in() {
    let folder = tempfile::tempdir().unwrap();
    let options = serde_json::json!({ "hide_velocity": true });
    let hidden = save_policy_in(folder.path(), &serde_json::json!({ "id": ENV, "options": options }), mlp(), 11);
    let given = format!("collect.policies.medium={}", hidden.display());
    let output = folder.path().join("out");
    collect(&job(folder.path(), "medium", std::slice::from_ref(&given)), &output).unwrap();
    let dataset = load_path(&output).dataset;
    assert_eq!(dataset.observation_space.width(), 2);
    assert_eq!(dataset.metadata["env_options"], options);
    // So are those that a job does not say beside others.
    let limited = job(folder.path(), "medium", &[given.clone(), "env.options.max_episode_steps=50".into()]);
    collect(&limited, &folder.path().join("limited")).unwrap();
    assert_eq!(load_path(&folder.path().join("limited")).dataset.metadata["env_options"]["hide_velocity"], true);
    // Options that a job says itself are its own.
    let said = job(folder.path(), "medium", &[given, "env.options.hide_velocity=false".into()]);
    let error = format!("{:#}", collect(&said, &folder.path().join("other")).unwrap_err());
    assert!(error.contains("takes 2 numbers and gives 1") && error.contains("shows 3 and takes 1"), "{error}");
}

#[test]
fn what_cannot_be_collected_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let medium = save_policy(root, ENV, mlp(), 11);
    let cartpole = save_policy(root, "CartPole-v1", mlp(), 13);
    let maze = save_policy(root, "PointMaze-v0", mlp(), 14);
    // A policy that says it is the pendulum's, and is not.
    let (unfit, text) = (root.join("policy-14/policy.json"), fs::read_to_string(root.join("policy-14/policy.json")).unwrap());
    fs::write(&unfit, text.replace("PointMaze-v0", ENV)).unwrap();
    let empty = root.join("empty");
    fs::create_dir(&empty).unwrap();
    let with = |path: &Path| job(root, "medium", &[format!("collect.policies.medium={}", path.display())]);
    let ready = root.join("ready");
    collect(&with(&medium), &ready).unwrap();
    // What is left where the last step of a collection, the removal of its journal, is killed.
    let half_removed = ready.join(format!(".{}.removed", aaren_data::JOURNAL));
    fs::create_dir(&half_removed).unwrap();
    fs::write(half_removed.join("begun.json"), "{}").unwrap();
    fs::write(root.join("file"), "").unwrap();
    fs::create_dir(root.join("full")).unwrap();
    fs::write(root.join("full/notes.txt"), "").unwrap();

    let message = |result: Result<Summary>| format!("{:#}", result.expect_err("must be refused"));
    for (what, job, output, words) in [
        ("a policy of another robot", with(&cartpole), "out", &["collect.policies.medium", "CartPole-v1", ENV][..]),
        ("a policy of other widths", with(&maze), "out", &["takes 4 numbers and gives 2", "shows 3 and takes 1"]),
        ("no policy", with(&empty), "out", &["empty", "there is no policy in it", "policy.json"]),
        ("no folder", with(&root.join("nowhere")), "out", &["nowhere", "there is nothing"]),
        ("no committed policy", job(root, "expert", &[]), "out", &["collect.policies.expert", "policies/pendulum-expert"]),
        ("a dataset in place", with(&medium), "ready", &["ready already holds a dataset", "--output"]),
        ("a file in place", with(&medium), "file", &["file is a file", "--output"]),
        ("something else in place", with(&medium), "full", &["full is not empty", "notes.txt", "--output"]),
    ] {
        let message = message(collect(&job, &root.join(output)));
        for word in words {
            assert!(message.contains(word), "{what}: {message:?} lacks {word:?}");
        }
        assert!(!root.join("out").exists(), "{what}");
    }
    assert!(!half_removed.exists(), "the dataset stands alone");
    let output = aaren(root, &["collect", "collect.json"], &["collect.dataset=medum"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.starts_with("error: ") && said.contains("medum") && said.lines().count() == 1, "{said}");
}

#[test]
fn the_official_library_gives_the_same_statistics() {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let probe = Command::new(&python).args(["-c", "import minari.dataset._storages.hdf5_storage"]).output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        println!("skipped: {python} cannot import minari with its HDF5 storage (pip install 'minari[hdf5]' pillow)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let medium = save_policy(folder.path(), ENV, mlp(), 11);
    let expert = save_policy(folder.path(), ENV, mlp(), 12);
    let job = job(folder.path(), "medium-expert", &policies(&medium, &expert));
    let output = folder.path().join(job.default_output());
    let summary = collect(&job, &output).unwrap();
    let script = r#"
import json, minari, numpy, sys
d = minari.load_dataset("pendulum/medium-expert-v0")
e = list(d.iterate_episodes())
returns = [float(x.rewards.sum()) for x in e]
o = numpy.concatenate([x.observations[:-1] for x in e]).astype(numpy.float64)
print(json.dumps({
    "episodes": int(d.total_episodes), "steps": int(d.total_steps), "env": d.env_spec.id,
    "return_mean": float(numpy.mean(returns)), "return_std": float(numpy.std(returns)),
    "observation_mean": o.mean(0).tolist(), "observation_std": o.std(0).tolist(),
    "steps_of_parts": [p["steps"] for p in d.storage.metadata["collection"]["parts"]],
    "inside": all(d.action_space.contains(a) for x in e for a in x.actions),
    "listed": sorted(minari.list_local_datasets()),
    "stored": [float(m["rewards_sum"]) for m in d.storage.get_episode_metadata([0])], "first": returns[0],
}))
"#;
    let root = folder.path().join("datasets");
    let output_of = Command::new(&python).args(["-c", script]).env("MINARI_DATASETS_PATH", &root).output().unwrap();
    assert!(output_of.status.success(), "{}", String::from_utf8_lossy(&output_of.stderr));
    let theirs: Value = serde_json::from_slice(&output_of.stdout).unwrap();
    let ours = Statistics::of(&load_path(&output).dataset, None);
    assert_eq!((&theirs["episodes"], &theirs["steps"], &theirs["env"]), (&10.into(), &2000.into(), &ENV.into()));
    assert_eq!((ours.episodes, ours.steps), (10, 2000));
    assert_eq!(theirs["steps_of_parts"], serde_json::json!(summary.parts.iter().map(|part| part.steps).collect::<Vec<_>>()));
    assert_eq!((&theirs["inside"], &theirs["listed"]), (&true.into(), &serde_json::json!(["pendulum/medium-expert-v0"])));
    let close = |ours: f64, theirs: &Value| {
        let theirs = theirs.as_f64().unwrap();
        assert!((ours - theirs).abs() <= 1e-9 * (1.0 + theirs.abs()), "{ours} and {theirs}");
    };
    close(ours.returns.mean, &theirs["return_mean"]);
    close(ours.returns.std, &theirs["return_std"]);
    close(theirs["first"].as_f64().unwrap(), &theirs["stored"][0]);
    for column in 0..3 {
        close(ours.observation_mean[column], &theirs["observation_mean"][column]);
        close(ours.observation_std[column], &theirs["observation_std"][column]);
    }
}

#[test]
fn a_policy_is_exported_with_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    let policy = save_policy(folder.path(), ENV, mlp(), 11);
    let said = stdout(&mut aaren(folder.path(), &["export", "policy-11", "policies/pendulum-medium"], &[]));
    assert!(said.contains("policies/pendulum-medium, 4096 environment steps"), "{said}");
    let copy = folder.path().join("policies/pendulum-medium");
    assert_same_files(&policy, &copy, "export");
    assert_eq!(json(&copy.join("provenance.json"))["algorithm"], "PPO");
    let taken = aaren(folder.path(), &["export", "policy-11", "policies/pendulum-medium"], &[]).output().unwrap();
    assert!(String::from_utf8_lossy(&taken.stderr).contains("already exists"));
    // The policies of the current folder are the default ones.
    let (config, _) = config(folder.path(), "medium", &[]);
    let said = stdout(&mut aaren(folder.path(), &["collect", config.to_str().unwrap(), "--format", "d4rl"], &[]));
    assert!(said.contains("wrote datasets/pendulum/medium-v0/pendulum_medium-v0.hdf5 as D4RL"), "{said}");
    assert!(!folder.path().join("datasets/pendulum/medium-v0/data").exists());
}

#[test]
fn every_collection_in_configs_is_one() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/collect");
    let mut found = BTreeSet::new();
    for (robot, id) in
        [("hopper", "Hopper-v5"), ("halfcheetah", "HalfCheetah-v5"), ("walker2d", "Walker2d-v5"), ("ant", "Ant-v5")]
    {
        for kind in ["random", "medium", "medium-replay", "expert", "medium-expert"] {
            let path = configs.join(format!("{kind}.toml"));
            let changes = Changes { env: Some(id.into()), ..Changes::default() };
            let job = Job::load(std::slice::from_ref(&path), &changes).unwrap_or_else(|error| panic!("{error:#}"));
            let Job::Collect(job) = job else { panic!("{}", path.display()) };
            assert_eq!(job.default_output(), Path::new("datasets").join(robot).join(format!("{kind}-v0")));
            assert_eq!((job.collect.dataset.to_string().as_str(), job.collect.steps), (kind, 1_000_000));
            assert!(job.collect.train.is_none_or(|train| train.is_file()), "{}", path.display());
            found.insert(path);
        }
    }
    for entry in fs::read_dir(configs).unwrap() {
        let path = entry.unwrap().path();
        assert!(found.contains(&path), "{} is not tested", path.display());
    }
}

/// With the simulator: the states that D4RL keeps, and policies that the collection trains itself.
#[cfg(feature = "mujoco")]
mod robots {
    use super::*;

    fn hopper(folder: &Path, kind: &str, overrides: &[&str]) -> (PathBuf, CollectJob) {
        let train = r#"{"seed": 5, "env": {"id": "Hopper-v5"}, "evaluation": {"every": 512, "episodes": 2},
            "ppo": {"env_steps": 2048, "envs": 2, "envs_per_group": 1, "rollout_len": 128, "epochs": 2, "minibatches": 2,
                    "hidden": [8], "checkpoint_every": 256, "keep_checkpoints": 100}}"#;
        fs::write(folder.join("train.json"), train).unwrap();
        let path = folder.join("collect.json");
        let text = format!(r#"{{"seed": 3, "env": {{"id": "Hopper-v5"}}, "collect": {{"dataset": "{kind}", "steps": 900}}}}"#);
        fs::write(&path, text).unwrap();
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        let Job::Collect(job) = Job::load(std::slice::from_ref(&path), &overrides[..].into()).unwrap() else { unreachable!() };
        fs::write(&path, serde_json::to_string(&job).unwrap()).unwrap();
        (path, job)
    }

    #[test]
    fn states_of_the_simulator_are_those_before_each_step() {
        let folder = tempfile::tempdir().unwrap();
        for (env, nq, nv, seen, file) in
            [("Hopper-v5", 6, 6, 5, "hopper_random-v0.hdf5"), ("Ant-v5", 15, 14, 13, "ant_random-v0.hdf5")]
        {
            let env_setting = format!("env.id={env}");
            let (_, job) = hopper(folder.path(), "random", &[&env_setting, "collect.steps=300"]);
            let output = folder.path().join(env);
            collect(&job, &output).unwrap();
            let file = hdf5_pure::File::open(output.join(file)).unwrap();
            let read = |name: &str| file.dataset(name).unwrap().read_f32().unwrap();
            let (observations, qpos, qvel) = (read("observations"), read("infos/qpos"), read("infos/qvel"));
            let rows = read("rewards").len();
            assert!(rows >= 300);
            assert_eq!((qpos.len(), qvel.len()), (rows * nq, rows * nv));
            let width = observations.len() / rows;
            for row in 0..rows {
                assert_eq!(observations[row * width..][..seen], qpos[(row + 1) * nq - seen..][..seen], "row {row}");
            }
            let log_prob = read("infos/action_log_probs");
            let expected = -(read("actions").len() as f32 / rows as f32) * std::f32::consts::LN_2;
            assert!(log_prob.iter().all(|log_prob| (log_prob - expected).abs() < 1e-5));
        }
    }

    #[test]
    fn a_collection_trains_its_policies_and_keeps_what_the_training_saw() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        // Any policy is medium at this fraction, so the first evaluation ends the training.
        let settings = ["collect.train=train.json", "collect.fraction=0.0001", "collect.steps=300"];
        let train = format!("collect.train={}", root.join("train.json").display());
        let settings = [&train, settings[1], settings[2]];
        let (_, replay) = hopper(root, "medium-replay", &settings);
        let summary = collect(&replay, &root.join("replay")).unwrap();
        let part = &summary.parts[0];
        assert!(part.steps <= 512 && part.steps > 400 && part.episodes > 3, "{part:?}");
        let replay = load_path(&root.join("replay"));
        assert_eq!(replay.dataset.trajectories.len() as u64, part.episodes);
        assert_eq!(replay.dataset.metadata["iteration"], 512);
        assert_eq!(replay.dataset.metadata["collection"]["parts"][0]["policy"]["provenance"]["env_steps"], 512);

        let (_, both) = hopper(root, "medium-expert", &settings);
        let summary = collect(&both, &root.join("both")).unwrap();
        assert_eq!(summary.parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>(), ["medium", "expert"]);
        assert!(summary.parts.iter().all(|part| part.steps >= 300 && part.normalised_score.is_some()));
        let provenance = |level: &str| json(&root.join("both/policies").join(level).join("provenance.json"));
        assert_eq!(provenance("medium")["env_steps"], 512);
        let best = json(&root.join("both/policies/expert/provenance.json"));
        assert!(best["return_mean"].as_f64() >= provenance("medium")["return_mean"].as_f64(), "{best}");
        assert!(root.join("both/run/metrics.jsonl").is_file());

        // The expert that was trained is a policy like any other.
        let policy = format!("collect.policies.expert={}", root.join("both/policies/expert").display());
        let (_, again) = hopper(root, "expert", &[&policy, "collect.steps=300"]);
        collect(&again, &root.join("again")).unwrap();
        let (both, again) = (load_path(&root.join("both")).dataset, load_path(&root.join("again")).dataset);
        let medium = summary.parts[0].episodes as usize;
        assert_eq!(both.trajectories[medium..], again.trajectories);

        // So is the medium one, and a run has both.
        let run = root.join("both/run");
        let policy = format!("collect.policies.medium={}", run.display());
        let (_, again) = hopper(root, "medium", &[&policy, settings[1], settings[2]]);
        collect(&again, &root.join("medium")).unwrap();
        assert_eq!(both.trajectories[..medium], load_path(&root.join("medium")).dataset.trajectories);
        let (_, far) = hopper(root, "medium", &[&policy]);
        let message = format!("{:#}", collect(&far, &root.join("far")).unwrap_err());
        assert!(message.contains("no evaluation of the run") && message.contains("1065"), "{message}");
        let run = run.to_str().unwrap();
        stdout(&mut aaren(root, &["export", run, "policies/hopper-medium", "--medium", "0.0001"], &[]));
        let exported = json(&root.join("policies/hopper-medium/provenance.json"));
        assert_eq!((&exported["env_steps"], &exported["job"]), (&512.into(), &provenance("medium")["job"]));

        let (_, never) = hopper(root, "medium", &[&train, "collect.fraction=1"]);
        let message = format!("{:#}", collect(&never, &root.join("never")).unwrap_err());
        assert!(message.contains("ended before an evaluation reached 3234") && message.contains("fraction"), "{message}");
        let (_, other) = hopper(root, "medium", &[&train, "env.id=Walker2d-v5"]);
        let message = format!("{:#}", collect(&other, &root.join("other")).unwrap_err());
        assert!(message.contains("trains in Hopper-v5, this collection is in Walker2d-v5"), "{message}");
        assert!(!root.join("other").exists());
    }

    #[test]
    fn a_killed_replay_ends_with_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let train = format!("collect.train={}", root.join("train.json").display());
        let (config, job) = hopper(root, "medium-replay", &[&train, "collect.fraction=0.0001"]);
        // The first evaluation is far off, so that there is time for a kill.
        let longer = fs::read_to_string(root.join("train.json")).unwrap().replace("512", "8192").replace("2048", "16384");
        fs::write(root.join("train.json"), longer).unwrap();
        let [whole, killed] = ["whole", "killed"].map(|name| root.join(name));
        collect(&job, &whole).unwrap();
        kill(root, &config, &killed, "replay", 100_000).expect("the training is long enough to be killed");
        stdout(&mut aaren(root, &["collect", config.to_str().unwrap(), "--output", "killed"], &[]));
        let dataset = |output: &Path| fs::read(output.join("data/main_data.hdf5")).unwrap();
        assert!(dataset(&whole) == dataset(&killed));
        let file = |output: &Path| fs::read(output.join("hopper_medium-replay-v0.hdf5")).unwrap();
        assert!(file(&whole) == file(&killed));
    }
}

#[test]
fn a_scripted_collection_of_both_formats_that_was_killed_between_them_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let job = "env.id = \"Pendulum-v1\"\n[evaluation]\ntarget_returns = [0.0]\n[data.scripted]\nepisodes = 3\nnoise = 0.5\n";
    fs::write(at("job.toml"), job).unwrap();
    let command = |seed: &'static str| {
        aaren(folder.path(), &["collect", "job.toml", "--format", "both", "--output", "out/x", "--seed", seed], &[])
    };
    stdout(&mut command("1"));
    let whole = fs::read(at("out/x.hdf5")).unwrap();
    fs::rename(at("out/x.hdf5"), at("out/.x.hdf5.4194305.tmp")).unwrap();
    let refused = command("2").output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && said.contains("out/x already exists"), "{said}");
    stdout(&mut command("1"));
    assert!(fs::read(at("out/x.hdf5")).unwrap() == whole);
    assert_eq!(fs::read_dir(at("out")).unwrap().count(), 2, "nothing is left behind");
}
