//! What the binary says of itself, and with the feature `mujoco`, where it finds the MuJoCo library: beside itself, or
//! else where it was linked from, the only path of the building machine in what is built.

use std::{env, process::Command};

fn main() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    // A package of the sources has no history.
    let commit = git(&["rev-parse", "--short=10", "HEAD"]).unwrap_or_else(|| "no commit".into());
    if let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={head}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    let has = |feature: &str| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    let features = [("MUJOCO", "mujoco"), ("CUDA", "cuda"), ("VULKAN", "vulkan"), ("MPI", "mpi")];
    let features: Vec<&str> = features.iter().filter(|(variable, _)| has(variable)).map(|(_, name)| *name).collect();
    let features = if features.is_empty() { "no features".to_owned() } else { features.join(" ") };
    // Cargo's own variable calls the profile `dev` by its folder's name, `debug`.
    let profile = env::var("PROFILE").map(|profile| profile.replace("debug", "dev")).unwrap_or_default();
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    println!("cargo::rustc-env=AAREN_COMMIT={commit}");
    println!("cargo::rustc-env=AAREN_VERSION={version} ({commit}, {features}, {profile} build)");

    println!("cargo::rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    if has("MUJOCO")
        && let Ok(folder) = env::var("MUJOCO_DYNAMIC_LINK_DIR")
    {
        println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN:{folder}");
    }
}
