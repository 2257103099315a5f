#![no_main]
//! The description of a Minari dataset.
use std::sync::LazyLock;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let data = FOLDER.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    std::fs::write(data.join("metadata.json"), bytes).unwrap();
    let _ = aaren_data::load(FOLDER.path().to_str().unwrap());
});
