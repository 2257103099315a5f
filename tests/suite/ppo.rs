//! Online learning from outside: it learns, its bits depend on nothing but the job, it resumes, and acting is training.

use std::{ops::ControlFlow, path::Path};

use crate::common::*;
use aaren_agents::config::{Job, PpoJob};
use aaren_agents::device::Cpu;
use aaren_agents::ppo;
use aaren_agents::run::RunDir;
use aaren_agents::run::report::EvaluationReport;
use aaren_agents::session::{NoObserver, Observer};
use aaren_data::Trajectory;
use aaren_policy::AnyPolicy;
use anyhow::Result;

fn job(text: &str, overrides: &[&str]) -> PpoJob {
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let job = Job::parse(text, &overrides[..].into()).and_then(Job::ppo);
    job.unwrap_or_else(|error| panic!("{error:#}"))
}

fn train(path: &Path, job: &PpoJob, observer: &mut dyn Observer) -> EvaluationReport {
    ppo::train(job, &RunDir::create(path, job, job.ppo.keep_checkpoints).unwrap(), false, observer).unwrap().1
}

fn resume(path: &Path, overrides: &[&str], observer: &mut dyn Observer) {
    // A process that another test starts holds what this one had locked until it has become another program.
    let mut run = (0..50)
        .find_map(|_| RunDir::resume(path).inspect_err(|_| std::thread::sleep(std::time::Duration::from_millis(20))).ok())
        .expect("the run is free");
    let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
    let job = run.job(&overrides[..].into()).unwrap();
    run.update_job(&job).unwrap();
    ppo::train(&job.ppo().unwrap(), &run, true, observer).unwrap();
}

/// MLPs on a continuous task whose episodes are truncated inside rollouts, and at their last row.
const MLP: &str = r#"{
    "env": {"id": "Pendulum-v1", "options": {"max_episode_steps": 20}},
    "ppo": {"hidden": [7, 5], "env_steps": 480, "envs": 6, "envs_per_group": 2, "rollout_len": 16, "minibatches": 3, "epochs": 2,
            "learning_rate": 0.01, "checkpoint_every": 96, "keep_checkpoints": 99},
    "evaluation": {"episodes": 2}
}"#;

/// A recurrent policy on a discrete task whose episodes terminate.
const RECURRENT: &str = r#"{
    "env": {"id": "CartPole-v1", "options": {"hide_velocity": true}},
    "policy": {"mixer": "aaren", "layers": 2, "width": 12, "heads": 2, "feed_forward": 10},
    "ppo": {"network": "recurrent", "env_steps": 480, "envs": 6, "envs_per_group": 2, "rollout_len": 16, "minibatches": 3,
            "epochs": 2, "learning_rate": 0.01, "checkpoint_every": 96, "keep_checkpoints": 99},
    "evaluation": {"episodes": 2}
}"#;

/// What a recurrent policy is shown besides the observation.
const SHOWN: &str = r#"ppo.inputs=["observation", "action", "reward"]"#;

#[test]
fn cartpole_is_learned_in_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let job = job(
        r#"{"env": {"id": "CartPole-v1"},
            "ppo": {"env_steps": 40960, "envs": 8, "envs_per_group": 4, "rollout_len": 128, "minibatches": 4, "epochs": 4,
                    "learning_rate": 0.001},
            "evaluation": {"episodes": 10}}"#,
        &[],
    );
    let report = train(&folder.path().join("run"), &job, &mut NoObserver);
    let first = lines_with(&folder.path().join("run"), "rollout/return_mean")[0]["rollout/return_mean"].as_f64().unwrap();
    assert!(first < 60.0, "an untrained policy reached {first}");
    assert!(report.targets[0].return_mean > 300.0, "{}", report.targets[0].return_mean);
}

/// Which arm was pulled is nowhere in the observation, so only a policy that is shown its last action can tell which one paid.
#[test]
fn a_bandit_is_played_by_what_was_done_last() {
    let folder = tempfile::tempdir().unwrap();
    let reached = |inputs: &str| {
        let job = job(
            r#"{"env": {"id": "MultiarmedBandit-v0", "options": {"arms": 3, "pulls": 30}},
                "policy": {"mixer": "aaren", "layers": 1, "width": 16, "heads": 2, "feed_forward": 16},
                "ppo": {"network": "recurrent", "env_steps": 92160, "envs": 32, "envs_per_group": 16, "rollout_len": 60, "minibatches": 2,
                        "epochs": 4, "learning_rate": 0.003, "gamma": 0.9},
                "evaluation": {"episodes": 200}}"#,
            &[&format!("ppo.inputs={inputs}")],
        );
        train(&folder.path().join(inputs.len().to_string()), &job, &mut NoObserver).targets[0].return_mean
    };
    let (shown, alone) = (reached(r#"["observation", "action", "reward"]"#), reached(r#"["observation"]"#));
    // Four seeds reached 0.23 to 0.31, and -0.04 to 0.01; who knew the best arm would get 0.5.
    assert!(shown > 0.18 && alone < 0.1, "{shown} and {alone}");
}

/// The law of this project, for a distribution: the policy that is trained is the policy that acted. Before the first update of an
/// iteration the replay gives the probabilities that acting had, in episodes that began before the rollout too.
#[test]
fn the_first_ratios_are_one_for_every_mixer() {
    let recurrent = aaren_policy::mixer::names().into_iter().map(|name| {
        let mixer = format!("policy.mixer={name}");
        (name.to_owned(), job(RECURRENT, &[&mixer]))
    });
    let continuous = RECURRENT.replace(
        r#""CartPole-v1", "options": {"hide_velocity": true}"#,
        r#""Pendulum-v1", "options": {"max_episode_steps": 20}"#,
    );
    let others =
        [("mlps", job(MLP, &[])), ("shown", job(RECURRENT, &[SHOWN])), ("shown, continuous", job(&continuous, &[SHOWN]))];
    for (name, job) in recurrent.chain(others.map(|(name, job)| (name.to_owned(), job))) {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        train(&run, &job, &mut NoObserver);
        let lines = lines_with(&run, "train/first_ratio_distance");
        assert_eq!(lines.len(), 5);
        for line in &lines {
            let distance = line["train/first_ratio_distance"].as_f64().unwrap();
            assert!(distance < 1e-5, "{name}: a ratio is {distance} from 1 in {line}");
        }
        let moved = lines.last().unwrap()["train/approx_kl"].as_f64().unwrap();
        assert!(moved > 1e-5, "{name}: later ratios move, or the test would say nothing ({moved})");
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_actors() {
    for text in [MLP, RECURRENT] {
        let folder = tempfile::tempdir().unwrap();
        let run = |actors: &str| {
            let path = folder.path().join(actors);
            train(&path, &job(text, &[&format!("ppo.actors={actors}")]), &mut NoObserver);
            (weights(&path, 480), lines_with(&path, "train/policy_loss"))
        };
        assert!(run("1") == run("3"), "{text}");
    }
}

/// Remembers everything that it is told.
#[derive(Default)]
struct Diary {
    begun: Vec<u64>,
    episodes: Vec<(u64, Trajectory)>,
    evaluated: Vec<(u64, f64)>,
    most: Option<usize>,
}

impl Observer for Diary {
    fn begins(&mut self, env_steps: u64) -> Result<()> {
        self.begun.push(env_steps);
        self.episodes.retain(|(at, _)| *at <= env_steps);
        self.evaluated.retain(|(at, _)| *at <= env_steps);
        Ok(())
    }

    fn wants_episodes(&self) -> bool {
        true
    }

    fn episode(&mut self, env_steps: u64, trajectory: Trajectory) -> Result<()> {
        self.episodes.push((env_steps, trajectory));
        Ok(())
    }

    fn evaluated(&mut self, env_steps: u64, _policy: &AnyPolicy<Cpu>, report: &EvaluationReport) -> Result<ControlFlow<()>> {
        self.evaluated.push((env_steps, report.targets[0].return_mean));
        let is_enough = self.most.is_some_and(|most| self.evaluated.len() >= most);
        Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

#[test]
fn a_resumed_training_is_the_unbroken_one() {
    let hopper = MLP.replace(r#""Pendulum-v1", "options": {"max_episode_steps": 20}"#, r#""Hopper-v5""#);
    let shown = RECURRENT
        .replace(r#""network": "recurrent""#, r#""network": "recurrent", "inputs": ["observation", "action", "reward"]"#);
    let texts = [MLP, RECURRENT, &shown, &RECURRENT.replace("\"aaren\"", "\"transformer\""), &hopper];
    for text in texts {
        let job = |overrides: &[&str]| job(text, overrides);
        if aaren_envs::tasks().iter().any(|task| text.contains(task.id) && task.missing().is_some()) {
            println!("skipped: resuming in a simulator that is not there");
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let (broken, unbroken) = (folder.path().join("broken"), folder.path().join("unbroken"));
        let (mut told, mut expected) = (Diary::default(), Diary::default());
        train(&unbroken, &job(&["evaluation.every=192"]), &mut expected);
        train(&broken, &job(&["evaluation.every=192", "ppo.env_steps=192"]), &mut told);
        // Killed after its last checkpoint, while it went on.
        resume(&broken, &["ppo.env_steps=384", "ppo.actors=1"], &mut told);
        std::fs::remove_dir_all(checkpoint(&broken, 384)).unwrap();
        resume(&broken, &["ppo.env_steps=480"], &mut told);

        assert!(weights(&broken, 480) == weights(&unbroken, 480), "{text}");
        assert_eq!(lines_with(&broken, "train/policy_loss"), lines_with(&unbroken, "train/policy_loss"));
        assert_eq!(told.begun, [0, 192, 288]);
        assert_eq!(told.episodes, expected.episodes, "{text}");
        assert_eq!(told.evaluated.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [192, 384, 480]);
        assert_eq!(told.evaluated, expected.evaluated);
        // The best checkpoint is evaluated at the end, as after learning from trajectories.
        let best = json(&broken.join("evaluation-best.json"));
        let steps = [192, 384, 480].map(serde_json::Value::from);
        assert!(steps.contains(&best["checkpoint_step"]), "{best}");
    }
}

#[test]
fn an_observer_sees_every_episode_and_may_end_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut diary = Diary { most: Some(2), ..Diary::default() };
    train(&run, &job(MLP, &["evaluation.every=96"]), &mut diary);
    // Ended at the second evaluation, which the evaluation at the end repeats.
    assert_eq!(steps_with(&run, "train/policy_loss"), [96, 192]);
    let lengths: Vec<usize> = diary.episodes.iter().map(|(_, trajectory)| trajectory.len()).collect();
    assert_eq!(lengths, [20; 6], "32 timesteps of 6 environments end an episode each");
    for (at, trajectory) in &diary.episodes {
        assert_eq!((*at, trajectory.observations.len()), (192, 3 * 21));
        assert!(trajectory.end.truncated && !trajectory.end.terminated);
        // What is recorded is what was executed: played again it gives the same.
        let mut env = aaren_envs::make("Pendulum-v1", &Default::default()).unwrap();
        let mut observation = [0.0; 3];
        env.reset(trajectory.seed, &mut observation).unwrap();
        let aaren_data::Actions::Continuous(actions) = &trajectory.actions else { panic!("continuous actions") };
        for t in 0..16 {
            assert_eq!(observation, trajectory.observations[3 * t..3 * t + 3]);
            assert!(actions[t].abs() <= 2.0);
            let step = env.step(aaren_envs::Action::F32(&actions[t..=t]), &mut observation).unwrap();
            assert_eq!(step.reward, trajectory.rewards[t]);
        }
    }
    let mean = diary.episodes.iter().map(|(_, trajectory)| trajectory.episode_return()).sum::<f64>() / 6.0;
    let logged = lines_with(&run, "rollout/return_mean")[0]["rollout/return_mean"].as_f64().unwrap();
    assert!((mean - logged).abs() < 1e-9);
}

#[test]
fn a_saved_policy_is_evaluated_by_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("job.json"), RECURRENT).unwrap();
    stdout(&mut aaren(folder.path(), &["train", "job.json", "--run", "run"], &["ppo.env_steps=96"]));
    let returns = |arguments: &[&str]| {
        let arguments = [&["evaluate", "run", "--episodes", "5", "--json", "out.json"], arguments].concat();
        stdout(&mut aaren(folder.path(), &arguments, &[]));
        let report = json(&folder.path().join("out.json"));
        (report["targets"][0]["returns"].clone(), report["execution"].clone(), report["mixer"].clone())
    };
    let likeliest = returns(&[]);
    assert_eq!((&likeliest.1, &likeliest.2), (&"deterministic".into(), &"aaren".into()));
    assert_eq!(returns(&["--actors", "1", "--envs-per-actor", "4"]), returns(&["--actors", "3", "--envs-per-actor", "4"]));
    let drawn = returns(&["--stochastic"]);
    assert_eq!(drawn.1, "stochastic");
    assert_ne!(drawn.0, likeliest.0);
    assert_eq!(returns(&["--stochastic", "--actors", "1"]), returns(&["--stochastic", "--actors", "3"]));
    assert_ne!(returns(&["--stochastic", "--seed", "9"]).0, drawn.0);
}

#[test]
fn an_online_job_has_the_keys_that_it_reads_and_no_others() {
    let message = |text: &str, overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
        format!("{:#}", Job::parse(text, &overrides[..].into()).expect_err("must be refused"))
    };
    for (text, overrides, words) in [
        (MLP, &["train.steps=5"][..], &["train", "learns online"][..]),
        (MLP, &["data.source=x"], &["data", "learns online"]),
        (MLP, &["policy.mixer=aaren"], &["policy", "ppo.network", "\"recurrent\""]),
        (RECURRENT, &["policy.return_scale=5"], &["policy.return_scale", "learns online"]),
        (RECURRENT, &["policy.dropout=0.1"], &["policy.dropout"]),
        (MLP, &["evaluation.target_returns=[1]"], &["evaluation.target_returns"]),
        (MLP, &["evaluation.execution=window"], &["evaluation.execution"]),
        (MLP, &["ppo.envs_per_group=4"], &["ppo.envs_per_group", "found 4", "divisor of ppo.envs", "6"]),
        (MLP, &["ppo.minibatches=7"], &["ppo.minibatches", "found 7", "96"]),
        (RECURRENT, &["ppo.minibatches=6"], &["ppo.minibatches", "found 6", "1 to 3"]),
        (MLP, &[SHOWN], &["ppo.inputs", r#"found ["observation","action","reward"]"#, "\"recurrent\""]),
        (RECURRENT, &[r#"ppo.inputs=["action"]"#], &["ppo.inputs", r#"found ["action"]"#, "\"observation\""]),
        (RECURRENT, &[r#"ppo.inputs=["observation", "rewards"]"#], &["ppo.inputs", "rewards"]),
        (MLP, &["ppo.gamma=1.5"], &["ppo.gamma", "1.5"]),
        (MLP, &["ppo.clip=0"], &["ppo.clip", "above 0"]),
        (MLP, &["ppo.learning_rat=1"], &["ppo.learning_rat", "did you mean \"learning_rate\"?"]),
        (MLP, &["ppo.hidden=[3,0]"], &["ppo.hidden.1", "found 0"]),
    ] {
        let message = message(text, overrides);
        for word in words {
            assert!(message.contains(word), "{overrides:?}: {message:?} lacks {word:?}");
        }
    }
    // What is written reads back as itself.
    for text in [MLP, RECURRENT] {
        let written = serde_json::to_string(&job(text, &[])).unwrap();
        assert_eq!(job(&written, &[]), job(text, &[]));
        assert!(!written.contains("target_returns") && !written.contains("\"train\""), "{written}");
    }
}
