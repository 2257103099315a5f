//! With the feature `cuda`, gives the sources of kernels a name: what a compiler has made of others must not be taken for theirs.

use std::path::Path;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    let mut sum = Sum(0xcbf2_9ce4_8422_2325);
    sum.add(env::var("CARGO_PKG_VERSION").unwrap_or_default().as_bytes());
    sum.add_folder(Path::new("src"));
    println!("cargo::rustc-env=AAREN_KERNEL_SOURCES={:016x}", sum.0);
}

/// FNV-1a.
struct Sum(u64);

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    /// Without the tests, so that a change to one builds nothing but tests.
    fn add_folder(&mut self, folder: &Path) {
        let mut paths: Vec<_> =
            fs::read_dir(folder).expect("a package has its sources").flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                self.add_folder(&path);
            } else if !path.file_stem().is_some_and(|name| name.to_string_lossy().contains("test")) {
                println!("cargo::rerun-if-changed={}", path.display());
                self.add(path.to_string_lossy().as_bytes());
                self.add(&fs::read(&path).expect("a package has its sources"));
            }
        }
    }
}
