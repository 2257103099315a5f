#![no_main]
//! A recording of an environment, as `aaren envs replay` takes it.
use std::sync::LazyLock;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.path().join("recording.json");
    std::fs::write(&path, bytes).unwrap();
    let _ = aaren_envs::replay(&path);
});
