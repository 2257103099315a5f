//! With the feature `mujoco`, lets the program find the MuJoCo library: beside itself, or else where it was linked from.
//!
//! The second is a path of the building machine, and the only one in what is built. Without the feature there is none.

fn main() {
    println!("cargo::rerun-if-env-changed=MUJOCO_DYNAMIC_LINK_DIR");
    // An rpath reaches only the targets of the package that asks for it, so every package with a program or tests has this file.
    if std::env::var_os("CARGO_FEATURE_MUJOCO").is_some()
        && cfg!(unix)
        && let Ok(folder) = std::env::var("MUJOCO_DYNAMIC_LINK_DIR")
    {
        println!("cargo::rustc-link-arg=-Wl,-rpath,$ORIGIN:{folder}");
    }
}
