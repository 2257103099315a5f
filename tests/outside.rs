//! A crate outside of the workspace depends on `aaren` by its path, and trains in an environment and with a mixer of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
#[ignore = "builds the library once more, which takes minutes; .ci/run runs it"]
fn a_stranger_trains_with_an_own_environment_and_an_own_mixer() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let stranger = folder.path();
    fs::create_dir_all(stranger.join("src/bin")).unwrap();
    for program in ["own_env.rs", "own_mixer.rs"] {
        fs::copy(root.join("examples").join(program), stranger.join("src/bin").join(program)).unwrap();
    }
    // The same versions and levels as here, so that Burn is not compiled anew.
    fs::copy(root.join("Cargo.lock"), stranger.join("Cargo.lock")).unwrap();
    let workspace = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let profiles = &workspace[workspace.find("[profile.dev]").unwrap()..];
    let manifest = format!(
        "[package]\nname = \"stranger\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\naaren = {{ path = {root:?} }}\n\
         anyhow = \"1\"\nburn = {{ version = \"=0.21.0\", default-features = false }}\n\n{profiles}"
    );
    fs::write(stranger.join("Cargo.toml"), manifest).unwrap();
    for program in ["own_env", "own_mixer"] {
        let mut command = Command::new(env!("CARGO"));
        command.args(["run", "--quiet", "--offline", "--bin", program]).current_dir(stranger);
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), Into::into);
        let output = command.env("CARGO_TARGET_DIR", target).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {said}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("return"), "{program}: {said}");
    }
}
