//! Whatever is wrong with what a user gives, the binary says it in one line, fails, and destroys nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{evaluation_report, target_report};
use aaren_agents::config::OfflineJob;
use aaren_agents::offline::trajectories;
use aaren_agents::run::{RunDir, write_json_atomically};
use aaren_data::{self, Format};
use hdf5_pure::{EnumTypeBuilder, FileBuilder, make_i8_type};

/// A command that must fail, in a folder of its own.
struct Case {
    name: &'static str,
    /// Split at blanks.
    command: &'static str,
    /// What the line must say.
    words: &'static [&'static str],
    /// Puts into the folder what the command needs.
    prepare: fn(&Path),
}

const fn case(name: &'static str, command: &'static str, words: &'static [&'static str], prepare: fn(&Path)) -> Case {
    Case { name, command, words, prepare }
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        // Configs.
        case("missing config", "train no.json", &["no.json", "quickstart"], nothing),
        case("a folder for a config", "train .", &["cannot read the config"], nothing),
        case("a run for a config", "inspect run", &["cannot read the config run", "run/config.json"], |to| trained(to, "run")),
        case("not JSON", "train job.json", &["job.json", "line 2", "not valid JSON"], |to| file(to, "job.json", b"{\n oops }")),
        case("not TOML", "train job.toml", &["job.toml", "line 2", "not valid TOML"], |to| {
            file(to, "job.toml", b"seed = 1\n oops ")
        }),
        case("a task in no file", "collect job.toml", &["job.toml", "env is missing", "--env"], |to| {
            file(to, "job.toml", b"[collect]\ndataset = \"random\"\n")
        }),
        case("training a collection", "train job.toml --env TMaze-v0", &["aaren collect"], |to| {
            file(to, "job.toml", b"[collect]\ndataset = \"random\"\n")
        }),
        case("a mixer by its word", "train --mixer aren", &["policy.mixer", "aren", "did you mean \"aaren\""], nothing),
        case("data by no word", "train --data=", &["data.source"], nothing),
        case("data by its word", "train --data no.hdf5", &["no.hdf5"], nothing),
        case("not text", "train job.json", &["cannot read the config job.json"], |to| file(to, "job.json", &[0xff, 0xfe])),
        case("misspelt key", "train job.json", &["job.json", "train.leraning_rate", "did you mean \"learning_rate\""], |to| {
            file(to, "job.json", br#"{"train": {"leraning_rate": 1}}"#)
        }),
        case("missing key", "train job.json", &["job.json", "env is missing"], |to| file(to, "job.json", b"{}")),
        case("value out of range", "train --set policy.dropout=1", &["policy.dropout", "found 1", "[0, 1)"], nothing),
        case("heads that do not divide", "train --set policy.heads=3", &["policy.heads", "64"], nothing),
        case("unknown mixer", "train --set policy.mixer=aren", &["policy.mixer", "aren", "did you mean \"aaren\""], nothing),
        case("unknown environment", "train --set env.id=TMaze-v9", &["TMaze-v9", "did you mean \"TMaze-v0\""], nothing),
        case("unknown option", "train --set env.options.coridor=3", &["coridor", "corridor"], nothing),
        case("override without value", "train --set train.steps", &["--set train.steps", "key.path=value"], nothing),
        case("override of no key", "train --set train.stepz=5", &["train.stepz", "did you mean \"steps\""], nothing),
        case("override of a wrong type", "train --set train.steps=many", &["train.steps", "many"], nothing),
        case("device that is not there", "train --device cuda", &["device", "cuda"], nothing),
        case("noise on discrete actions", "train --set data.scripted.noise=1", &["data.scripted", "noise"], nothing),
        case("inspect checks as well", "inspect --set train.steps=0", &["train.steps", "found 0"], nothing),
        case(
            "several mistakes",
            "train job.json --set train.steps=0 --set seed=x",
            &[
                "3 mistakes",
                "(1) job.json: there is no key sed",
                "job.json with --set seed=x: seed",
                "--set train.steps=0: train.steps: found 0",
            ],
            |to| {
                file(
                    to,
                    "job.json",
                    br#"{"sed": 1, "env": {"id": "TMaze-v0"}, "data": {"source": "x"}, "evaluation": {"target_returns": [1]}}"#,
                )
            },
        ),
        case("minibatches of no group", "inspect job.json --set ppo.minibatches=32", GROUPS, |to| {
            file(to, "job.json", br#"{"env": {"id": "CartPole-v1"}, "ppo": {"network": "recurrent"}, "evaluation": {}}"#)
        }),
        // What a second look at a job finds before it begins.
        case(
            "sizes that no machine has",
            "train --set policy.width=1048576",
            &["policy.width 1048576", "TB", "this machine has"],
            nothing,
        ),
        case("rollouts that no machine has", "inspect job.json", &["ppo.envs 65536, ppo.rollout_len 16777216"], |to| {
            let ppo = r#"{"envs": 65536, "rollout_len": 16777216}"#;
            file(to, "job.json", format!(r#"{{"env": {{"id": "CartPole-v1"}}, "ppo": {ppo}, "evaluation": {{}}}}"#).as_bytes())
        }),
        case(
            "returns of one name",
            "train --set evaluation.target_returns=[1,0.5,0.5]",
            &["evaluation.target_returns", "0.5 and 0.5"],
            nothing,
        ),
        case(
            "an evaluation without end",
            "inspect --set env.options.max_episode_steps=null",
            &["max_episode_steps: found null"],
            nothing,
        ),
        case(
            "a strict job's warm-up",
            "train --strict --set train.warmup_steps=1000",
            &["train.warmup_steps", "50 would do"],
            nothing,
        ),
        case(
            "a strict job's return scale",
            "train --strict --set policy.return_scale=1000",
            &["policy.return_scale", "reach 1;"],
            nothing,
        ),
        case("inspecting what cannot be written", "inspect --run run", &["run", "not empty"], |to| run(to, "run", &[])),
        // Data.
        case("missing dataset", DATA, &["data.h5"], nothing),
        case("no HDF5 file", DATA, &["data.h5"], |to| file(to, "data.h5", b"not HDF5 at all, but long enough for a header")),
        case("empty file", DATA, &["data.h5"], |to| file(to, "data.h5", b"")),
        case("truncated HDF5 file", DATA, &["data.h5"], |to| {
            let bytes = pendulum_file();
            file(to, "data.h5", &bytes[..bytes.len() / 2]);
        }),
        case("NaN in the data", DATA, &["data.h5", "NaN"], |to| file(to, "data.h5", &nan_file())),
        case("data of another environment", OTHER_DATA, &["data.h5", "CartPole-v1"], |to| file(to, "data.h5", &pendulum_file())),
        case("dataset info", "dataset info data.h5", &["data.h5"], |to| file(to, "data.h5", b"x")),
        case("dataset verify", "dataset verify data.h5", &["data.h5", "NaN"], |to| file(to, "data.h5", &nan_file())),
        case(
            "a dataset is not overwritten",
            "dataset convert data.h5 out --to minari",
            &["out", "already exists", "--overwrite"],
            |to| {
                file(to, "data.h5", &pendulum_file());
                save_minari(to, "out");
            },
        ),
        case(
            "a folder of something else is not overwritten",
            "dataset convert data.h5 out --to minari --overwrite",
            &["out"],
            |to| {
                file(to, "data.h5", &pendulum_file());
                file(to, "out/precious", b"do not touch");
            },
        ),
        case(
            "a config is not overwritten",
            "dataset convert data.h5 job.toml --to d4rl --overwrite",
            &["job.toml", "not HDF5", "another place"],
            |to| {
                file(to, "data.h5", &pendulum_file());
                file(to, "job.toml", b"seed = 1");
            },
        ),
        case("a run's config for a report", "evaluate run --json run/config.json", &["--json", "file of the run", "run"], |to| {
            trained(to, "run")
        }),
        case("a run's result for another", "evaluate run --json run/evaluation.json", &["--json", "file of the run"], |to| {
            trained(to, "run")
        }),
        case("a file in a run for a video", "evaluate run --video run/events/x.gif", &["--video", "file of the run"], |to| {
            trained(to, "run");
            file(to, "run/events/x.gif", b"GIF89a");
        }),
        case("a config for a report", "evaluate run --json job.json", &["--json", "job.json", "not an earlier report"], |to| {
            trained(to, "run");
            file(to, "job.json", b"{\"seed\": 1}");
        }),
        case("a format that cannot hold the data", "dataset convert in out --to d4rl", &["out", "discrete"], |to| {
            save_minari(to, "in");
        }),
        case("collecting what is not collected", "collect job.json", &["data.scripted is missing"], |to| {
            let job = r#"{"env": {"id": "TMaze-v0"}, "data": {"source": "x"}, "evaluation": {"target_returns": [1]}}"#;
            file(to, "job.json", job.as_bytes());
        }),
        case("collecting into a file's place", "collect --set data.scripted.episodes=2 --output file/out", &["file"], |to| {
            file(to, "file", b"")
        }),
        case("collecting over a dataset", "collect --set data.scripted.episodes=2 --output out", &["out", "--output"], |to| {
            save_minari(to, "out")
        }),
        // Runs.
        case("run folder below a file", "train --set data.scripted.episodes=2 --run file/run", &["file/run"], |to| {
            file(to, "file", b"")
        }),
        case("run folder taken", "train --set data.scripted.episodes=2 --run run", &["run", "not empty", "--resume"], |to| {
            run(to, "run", &[]);
        }),
        case("nothing to resume", "train --resume --run run", &["no run folder run"], nothing),
        case("resuming what is no run", "train --resume --run run", &["run", "config.json"], |to| file(to, "run/x", b"x")),
        case("resuming with another policy", "train --resume --run run --set policy.width=32", &["policy.width"], |to| {
            run(to, "run", &[]);
        }),
        case("missing run", "evaluate no/run", &["no/run"], nothing),
        case("a run without checkpoint", "evaluate run", &["run", "no checkpoint"], |to| run(to, "run", &[])),
        case("missing checkpoint", "evaluate run --checkpoint 7", &["step 7", "5"], |to| {
            run(to, "run", &[]);
            file(to, "run/checkpoints/step-00000005/policy.json", b"{}");
        }),
        case("evaluating no episode", "evaluate run --episodes 0", &["evaluation.final_episodes", "found 0"], |to| {
            run(to, "run", &[]);
        }),
        case("evaluating for no number", "evaluate run --target-return nan", &["--target-return", "NaN"], |to| {
            run(to, "run", &[]);
        }),
        case("a broken config in a run", "evaluate run", &["run/config.json"], |to| file(to, "run/config.json", b"{")),
        // Checkpoints.
        case("evaluating a checkpoint of another shape", "evaluate run", &["step-00000001", "config.json"], |to| {
            trained(to, "run");
            replace(to, "run/config.json", "\"width\": 8", "\"width\": 16");
        }),
        case("resuming from a checkpoint of another shape", "train --resume --run run", &["step-00000001", "resume"], |to| {
            trained(to, "run");
            replace(to, "run/config.json", "\"width\": 8", "\"width\": 16");
            replace(to, "run/config.json", "\"steps\": 1,", "\"steps\": 2,");
        }),
        case("weights of another shape", "evaluate run", &["step-00000001", "weights.safetensors"], |to| {
            trained(to, "run");
            for name in ["run/config.json", "run/checkpoints/step-00000001/policy.json"] {
                replace(to, name, "\"width\": 8", "\"width\": 16");
            }
        }),
        case("damaged weights", "evaluate run", &["weights.safetensors"], |to| {
            trained(to, "run");
            let weights = to.join("run/checkpoints/step-00000001/weights.safetensors");
            let bytes = fs::read(&weights).unwrap();
            fs::write(&weights, &bytes[..bytes.len() - 100]).unwrap();
        }),
        case("a checkpoint of another task", "evaluate run", &["step-00000001", "CartPole-v1"], |to| {
            trained(to, "run");
            replace(to, "run/config.json", "TMaze-v0", "CartPole-v1");
            replace(to, "run/config.json", "\"corridor\": 2", "");
        }),
        case(
            "a report beside nothing",
            "evaluate run --episodes 100000000 --json no/x.json",
            &["no/x.json", "no folder"],
            |to| trained(to, "run"),
        ),
        case("a video beside nothing", "evaluate run --episodes 100000000 --video no/x.gif", &["no/x.gif", "no folder"], |to| {
            trained(to, "run")
        }),
        case("a run in a file", "train --run file/run --set train.steps=1000000", &["file is a file", "another place"], |to| {
            file(to, "file", b"")
        }),
        case("a comparison in a file", "compare run --output file", &["file is a file"], |to| file(to, "file", b"")),
        case(
            "a collection in a file",
            "collect --output file/x --set data.scripted.episodes=100000000",
            &["file is a file"],
            |to| file(to, "file", b""),
        ),
        case(
            "discrete actions as D4RL",
            "collect --format both --output x --set data.scripted.episodes=100000000",
            &["no discrete actions", "TMaze-v0", "--format minari"],
            nothing,
        ),
        case("a dataset that is there", "dataset convert no there --to minari", &["there already exists", "--overwrite"], |to| {
            file(to, "there", b"")
        }),
        case(
            "a target return beyond all numbers",
            "evaluate run --target-return 1e308",
            &["not a number", "target return"],
            |to| trained_with(to, "run", "policy.return_range=[0, 1.7e308]"),
        ),
        case("a report where none can be", "evaluate run --json no/x.json", &["no/x.json"], |to| trained(to, "run")),
        // Comparisons.
        case("comparing what was not evaluated", "compare a b", &["a", "aaren evaluate a"], |to| {
            run(to, "a", &[]);
            run(to, "b", &[]);
        }),
        case("comparing other tasks", "compare a b", &["env", "CartPole-v1", "TMaze-v0", "--force"], |to| {
            evaluated(to, "a", &[]);
            evaluated(to, "b", &[r#"env={"id": "CartPole-v1"}"#]);
        }),
        case("comparing broken results", "compare a b", &["b/evaluation.json"], |to| {
            evaluated(to, "a", &[]);
            evaluated(to, "b", &[]);
            file(to, "b/evaluation.json", b"{\"format\": ");
        }),
        case("comparing one run", "compare a", &["at least two runs", "--cache-sizes"], |to| evaluated(to, "a", &[])),
        // Mixers that do not fit, before anything is made.
        case(
            "a matrix that is no square",
            "train --set policy.mixer=monarch --set policy.options.monarch.length=1000",
            MONARCH,
            nothing,
        ),
        case("blocks that do not divide", MONARCH_BLOCKS, &["policy.feed_forward_kind", "4 blocks", "130"], nothing),
        case(
            "unknown mixer in a list",
            r#"train --set policy.mixers=["gru","lstn"]"#,
            &["policy.mixers", "\"lstn\"", "lstm"],
            nothing,
        ),
        case("options of no mixer", "train --set policy.options.performer.rows=9", &["options.performer", "aaren"], nothing),
        // Caches.
        case("a cache for no Transformer", "evaluate run --cache tova:8", &["--cache", "tova:8", "transformer"], |to| {
            trained(to, "run")
        }),
        case("caches for no Transformer", "evaluate run --cache-sizes 8", &["--cache-sizes", "transformer"], |to| {
            trained(to, "run")
        }),
        case("a cache smaller than its sinks", "evaluate run --cache-sizes 4", &["--cache-sizes", "found 4", "sinks"], |to| {
            trained(to, "run")
        }),
        case(
            "a cache larger than all",
            "evaluate run --cache-sizes 8,99999999999",
            &["--cache-sizes", "99999999999", "2^24"],
            |to| trained(to, "run"),
        ),
        // Conversions.
        case("converting to other parameters", "convert run --mixer lstm", &["step-00000001", "mixer.query", "lstm"], |to| {
            trained(to, "run");
        }),
        case("converting to an unknown mixer", "convert run --mixer performr", &["did you mean \"performer\""], |to| {
            trained(to, "run")
        }),
        case("converting over a folder", "convert run --mixer aaren --run taken", &["taken", "not empty"], |to| {
            trained(to, "run");
            file(to, "taken/x", b"x");
        }),
        // The rest.
        case("replaying nothing", "envs replay no.json", &["no.json"], nothing),
        case("replaying something else", "envs replay x.json", &["x.json"], |to| file(to, "x.json", b"{}")),
    ];
    if cfg!(not(feature = "mujoco")) {
        cases.push(case("MuJoCo missing", "train job.toml", &["Hopper-v5", "--features mujoco"], |to| {
            file(to, "job.toml", include_bytes!("../../configs/hopper-medium.toml"))
        }));
    }
    cases
}

/// Trains on `data.h5`, recorded in the Pendulum where it is good.
const DATA: &str =
    r#"train --set env={"id":"Pendulum-v1"} --set data={"source":"data.h5"} --set evaluation.target_returns=[-200]"#;
const GROUPS: &[&str] = &["ppo.minibatches: found 32, expected 1 to 2", "ppo.envs by ppo.envs_per_group"];
const MONARCH: &[&str] = &["policy.options.monarch.length", "1000", "1024"];
const MONARCH_BLOCKS: &str =
    "train --set policy.feed_forward_kind=monarch --set policy.width=130 --set policy.feed_forward=8 --set policy.heads=1";
const OTHER_DATA: &str = r#"train --set env={"id":"CartPole-v1"} --set data={"source":"data.h5"}"#;

#[test]
fn bad_input_gives_one_line_and_leaves_files_as_they_were() {
    let mut failures = Vec::new();
    for case in cases() {
        let folder = tempfile::tempdir().unwrap();
        (case.prepare)(folder.path());
        let before = contents(folder.path());
        let output = Command::new(env!("CARGO_BIN_EXE_aaren"))
            .args(case.command.split(' '))
            .current_dir(folder.path())
            .env_remove("AAREN_LOG")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        print!("{}: {said}", case.name);
        let mut expect = |holds: bool, what: String| {
            if !holds {
                failures.push(format!("{} ({}): {what}; it said:\n{said}", case.name, case.command));
            }
        };
        expect(output.status.code() == Some(1), format!("exit code {:?}", output.status.code()));
        expect(said.lines().count() == 1 && said.starts_with("error: "), "not one line of error".into());
        expect(!said.contains("panicked"), "a panic".into());
        for word in case.words {
            expect(said.contains(word), format!("{word:?} is missing"));
        }
        let after = contents(folder.path());
        expect(before == after, format!("files changed from {:?} to {:?}", before.keys(), after.keys()));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for command in ["", "trian", "train --sett x", "compare", "dataset convert a b", "train --resume", "evaluate x --episodes y"]
    {
        let command_line = command.split(' ').filter(|word| !word.is_empty());
        let output = Command::new(env!("CARGO_BIN_EXE_aaren")).args(command_line).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}");
    }
}

#[test]
fn a_cache_that_cannot_be_is_wrong_usage_that_says_so() {
    for (cache, words) in [
        ("sink:4+0", "room for its sinks alone"),
        ("sink:4", "sink:I+N"),
        ("window:0", "at least 1"),
        ("h2o:1", "at least 2"),
        ("lru:8", "expected full, window:N"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_aaren")).args(["evaluate", "run", "--cache", cache]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(words) && said.contains(cache), "{cache}: {said}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut child =
        Command::new(env!("CARGO_BIN_EXE_aaren")).arg("envs").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take()); // closes the pipe, most likely before anything is written
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

fn nothing(_: &Path) {}

fn file(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn job(overrides: &[&str]) -> OfflineJob {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    OfflineJob::quickstart(&overrides).unwrap()
}

fn run(folder: &Path, name: &str, overrides: &[&str]) {
    RunDir::create(&folder.join(name), &job(overrides), 2).unwrap();
}

/// The smallest run that was trained, one step.
fn trained(folder: &Path, name: &str) {
    trained_with(folder, name, "evaluation.final_episodes=1");
}

fn trained_with(folder: &Path, name: &str, more: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_aaren"));
    command.args(["train", "--run", name]).current_dir(folder);
    for setting in [
        "env.options.corridor=2",
        "data.scripted.episodes=2",
        "policy.layers=1",
        "policy.width=8",
        "policy.feed_forward=16",
        "train.steps=1",
        "train.batch_size=1",
        "evaluation.final_episodes=1",
        more,
    ] {
        command.args(["--set", setting]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn replace(folder: &Path, name: &str, from: &str, to: &str) {
    let path = folder.join(name);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{name} lacks {from}: {text}");
    fs::write(path, text.replace(from, to)).unwrap();
}

fn evaluated(folder: &Path, name: &str, overrides: &[&str]) {
    let job = job(overrides);
    let run = RunDir::create(&folder.join(name), &job, 2).unwrap();
    let report = evaluation_report(name, &job, vec![target_report(Some(1.0), &[1.0], 1)]);
    write_json_atomically(&run.path().join("evaluation.json"), &report).unwrap();
}

fn save_minari(folder: &Path, name: &str) {
    let dataset = trajectories(&job(&["data.scripted.episodes=2"])).unwrap();
    aaren_data::save(&dataset, &folder.join(name), Format::Minari, false).unwrap();
}

/// A good D4RL file.
fn pendulum_file() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.h5");
    let scripted = r#"data={"scripted": {"collector": "random", "episodes": 2}}"#;
    let dataset = trajectories(&job(&[r#"env={"id": "Pendulum-v1"}"#, scripted])).unwrap();
    aaren_data::save(&dataset, &path, Format::D4rl, false).unwrap();
    fs::read(path).unwrap()
}

/// A D4RL file with one action that is not a number; our own writer refuses to make it.
fn nan_file() -> Vec<u8> {
    let mut file = FileBuilder::new();
    let mut actions = [0.5_f32; 6];
    actions[4] = f32::NAN;
    file.create_dataset("observations").with_f32_data(&[0.1; 18]).with_shape(&[6, 3]);
    file.create_dataset("actions").with_f32_data(&actions).with_shape(&[6, 1]);
    file.create_dataset("rewards").with_f32_data(&[-1.0; 6]);
    let boolean = EnumTypeBuilder::with_base(make_i8_type()).value("FALSE", 0).value("TRUE", 1).build().unwrap();
    for (name, flags) in [("terminals", [0_u8; 6]), ("timeouts", [0, 0, 1, 0, 0, 1])] {
        file.create_dataset(name).with_enum_u8_data(boolean.clone(), &flags);
    }
    file.finish().unwrap()
}

/// Every file below a folder with its bytes, every folder without.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path));
            found.insert(path, None);
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, Some(bytes));
        }
    }
    found
}
