//! What NVRTC has compiled, kept between processes: some hundred kernels, each of which takes it a tenth of a second or more.

use super::toolkit::Version;
use burn_cubecl::cubecl;
use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fs};

/// Has CubeCL keep what it compiles, apart for each card, each compiler and each version of the kernels: its own keys name none of
/// them. Nothing changes where the user's `cubecl.toml` says what to keep, where a device has been used before, or where nothing can be
/// written.
pub(super) fn keep_compiled(capability: Version, compiler: Version) {
    let name = format!("sm{}{}-nvrtc{compiler}-{}", capability.major, capability.minor, env!("AAREN_KERNEL_SOURCES"));
    let Some(folder) = user_folder().map(|folder| folder.join("aaren/kernels").join(name)) else { return };
    // CubeCL panics where it cannot write.
    let trial = folder.join(format!("trial-{}", std::process::id()));
    if fs::create_dir_all(&folder).and_then(|()| fs::write(&trial, "")).and_then(|()| fs::remove_file(&trial)).is_err() {
        return;
    }
    let mut stored = CubeClRuntimeConfig::storage().lock();
    let mut config = match &*stored {
        Some(config) => (**config).clone(),
        // As CubeCL would read it later.
        None => CubeClRuntimeConfig::from_current_dir().override_from_env(),
    };
    config.compilation.cache.get_or_insert(CacheConfig::File(folder));
    *stored = Some(Arc::new(config));
}

/// Where the user's programs keep what can be made again.
fn user_folder() -> Option<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME").or_else(|| set("LOCALAPPDATA")).or_else(|| Some(set("HOME")?.join(".cache")))
}
