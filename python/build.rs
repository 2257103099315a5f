//! With the feature `mujoco`, lets the module find the MuJoCo library: in the Python package `mujoco` beside it, and nowhere on the
//! building machine.

fn main() {
    if std::env::var_os("CARGO_FEATURE_MUJOCO").is_some() && cfg!(unix) {
        println!("cargo::rustc-link-arg-cdylib=-Wl,-rpath,$ORIGIN/../mujoco");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
