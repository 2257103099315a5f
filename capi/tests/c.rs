//! A program in C gets, to the bit, the actions that a player gives here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aaren_agents::device::{CPU, Cpu};
use aaren_agents::export::{Player, Source};
use aaren_policy::{
    ActionBatch, ActionSpec, ActorCriticConfig, ActorCriticDescription, ActorCriticNetwork, ActorCriticPolicy, DecisionNetwork,
    DecisionPolicy, Description, HiddenActivation, Inputs, Normalizer, PolicyConfig, checkpoint,
};

/// The libraries lie where this test does; what built it built them.
fn library(name: &str) -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name(name);
    assert!(path.is_file(), "there is no {}", path.display());
    path
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program, linked to a library.
fn compile(folder: &Path, name: &str, link: &[&str]) -> PathBuf {
    let program = folder.join(name);
    let output = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(here().join("include"))
        .arg(here().join("tests/play.c"))
        .args(link)
        .args(["-lm", "-lpthread", "-ldl", "-o"])
        .arg(&program)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// Folders with policies of both kinds.
fn policies(folder: &Path) -> Vec<PathBuf> {
    let normalizer = Normalizer::new(vec![0.5, -1.0, 0.1], &[1.0, 2.0, 0.5]);
    let continuous = ActionSpec::Continuous { low: vec![-1.0, -2.0], high: vec![1.0, 4.0] };
    let choices = ActionSpec::Discrete { n: 3, start: -1 };
    let mut folders = Vec::new();
    let mut place = |name: &str| {
        let path = folder.join(name);
        fs::create_dir(&path).unwrap();
        folders.push(path.clone());
        path
    };
    for (mixer, action) in [("aaren", &continuous), ("transformer", &continuous), ("mamba", &choices)] {
        let config =
            PolicyConfig { mixer: mixer.into(), layers: 2, width: 16, heads: 2, feed_forward: 24, ..PolicyConfig::default() };
        let description = Description {
            format: Description::FORMAT,
            config,
            normalizer: normalizer.clone(),
            action: action.clone(),
            environment: serde_json::Value::Null,
        };
        let network = DecisionNetwork::<Cpu>::new(&description, 3, &CPU).unwrap();
        checkpoint::save(&DecisionPolicy { network, description }, &place(mixer)).unwrap();
    }
    let description = ActorCriticDescription {
        format: ActorCriticDescription::FORMAT,
        network: ActorCriticConfig::Mlp { hidden: vec![8, 8], activation: HiddenActivation::Tanh },
        normalizer,
        observation_clip: 1.0,
        inputs: Inputs::default(),
        action: continuous,
        environment: serde_json::Value::Null,
    };
    let network = ActorCriticNetwork::<Cpu>::new(&description, 0.0, 3, &CPU).unwrap();
    checkpoint::save(&ActorCriticPolicy { network, description }, &place("mlp")).unwrap();
    folders
}

/// What play.c prints.
fn expected(folder: &Path) -> String {
    let mut player = Player::new(Source::find(folder).unwrap()).unwrap();
    let mut seed = 1u64;
    let mut draw = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / 4_503_599_627_370_496.0 - 1.0
    };
    let (mut text, mut state) = (String::new(), Vec::new());
    for step in 0..500 {
        if step % 37 == 0 {
            player.begin(Some(3.0 + f64::from(step % 2))).unwrap();
        }
        if step == 100 {
            state = player.save().unwrap();
        }
        let observation = [draw(), draw(), draw()];
        let numbers: Vec<f64> = match player.step(&observation, 0.25 * f64::from(step % 3)).unwrap() {
            ActionBatch::Continuous(action) => action.iter().map(|&number| number.into()).collect(),
            ActionBatch::Discrete(action) => action.iter().map(|&number| number as f64).collect(),
        };
        text += &(numbers.iter().map(|number| format!("{:016x} ", number.to_bits())).collect::<String>() + "\n");
        if step == 103 {
            player.restore(&state).unwrap();
        }
    }
    text
}

#[test]
fn a_program_in_c_gets_the_actions_of_a_player_to_the_bit() {
    if Command::new("cc").arg("--version").output().is_err() {
        return println!("skipped: there is no C compiler `cc`");
    }
    let folder = tempfile::tempdir().unwrap();
    let shared = library("libaaren_capi.so");
    let runpath = format!("-Wl,-rpath,{}", shared.parent().unwrap().display());
    let programs = [
        compile(folder.path(), "static", &[library("libaaren_capi.a").to_str().unwrap()]),
        compile(folder.path(), "shared", &[shared.to_str().unwrap(), &runpath]),
    ];
    for policy in policies(folder.path()) {
        let expected = expected(&policy);
        let lines: std::collections::BTreeSet<&str> = expected.lines().collect();
        assert!(lines.len() > 1, "{}: every action is the same", policy.display());
        for program in &programs {
            let mut command = Command::new(program);
            if policy.ends_with("mlp") {
                command.env("HAS_RETURN", "1"); // it is not told any
            }
            let output = command.arg(&policy).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{} {}: {:?} {said}", program.display(), policy.display(), output.status.code());
            assert!(String::from_utf8(output.stdout).unwrap() == expected, "{}, {}", program.display(), policy.display());
        }
    }
    let output = Command::new(&programs[0]).arg(folder.path().join("none")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("none: there is no run folder or policy"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn the_header_has_what_the_library_has() {
    let header = fs::read_to_string(here().join("include/aaren.h")).unwrap();
    let source = fs::read_to_string(here().join("src/lib.rs")).unwrap();
    let functions = |text: &str, before: &str, after: char| -> Vec<String> {
        let names = text.split(before).skip(1).filter_map(|rest| Some(format!("aaren_{}", rest.split_once(after)?.0)));
        let mut names: Vec<String> = names.filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_')).collect();
        names.sort();
        names.dedup();
        names
    };
    let declared: String =
        header.lines().filter(|line| !line.starts_with("/*") && !line.starts_with(" *")).collect::<Vec<_>>().join("\n");
    let in_header = functions(&declared, "aaren_", '(');
    assert_eq!(in_header, functions(&source, "extern \"C\" fn aaren_", '('));
    assert!(in_header.len() >= 10, "{in_header:?}");
}
