#![no_main]
//! A D4RL file. The HDF5 reader's panics are errors to us, so the fuzzer must not abort at them: see `aaren_data`'s `contain`.
use std::sync::LazyLock;

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    std::panic::set_hook(Box::new(|_| {}));
    tempfile::tempdir().unwrap()
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.path().join("hopper_fuzz-v2.hdf5");
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let read = std::panic::catch_unwind(move || {
        let _ = aaren_data::load(&path);
    });
    if read.is_err() {
        std::process::abort();
    }
});
