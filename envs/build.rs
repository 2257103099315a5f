//! Lets the test binaries of this crate find MuJoCo's shared library where it was found for linking.

fn main() {
    println!("cargo::rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    // An rpath reaches only the targets of the package that asks for it: the `aaren` binary's own package asks too.
    if std::env::var_os("CARGO_FEATURE_MUJOCO").is_some()
        && cfg!(unix)
        && let Ok(directory) = std::env::var("MUJOCO_DYNAMIC_LINK_DIR")
    {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{directory}");
    }
}
