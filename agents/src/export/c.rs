//! A policy in a folder for C: its files, the header, the libraries where they are at hand, and a page that says how to use them.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The header; it lies in the crate of the libraries.
const HEADER: &str = include_str!("aaren.h");

/// What the libraries are called, by kind and system.
const LIBRARIES: [&str; 5] = ["libaaren_capi.a", "libaaren_capi.so", "libaaren_capi.dylib", "aaren_capi.lib", "aaren_capi.dll"];

/// What was written.
#[derive(Clone, Debug)]
pub struct CExport {
    /// Where.
    pub folder: PathBuf,
    /// Libraries that were copied.
    pub libraries: Vec<String>,
}

/// Adds to a folder with an exported policy what a program in C needs beside it: the header, and the libraries that lie beside the
/// program.
///
/// # Errors
/// If a file cannot be written.
pub fn write_c(folder: &Path) -> Result<CExport> {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("aaren.h", HEADER)?;
    write("README.md", PAGE)?;
    let program = std::env::current_exe().context("cannot tell where the program is")?;
    let beside = program.parent().unwrap_or(Path::new("."));
    let mut libraries = Vec::new();
    for name in LIBRARIES {
        let from = beside.join(name);
        if from.is_file() {
            fs::copy(&from, folder.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
            libraries.push(name.to_owned());
        }
    }
    Ok(CExport { folder: folder.into(), libraries })
}

/// What was written, and how to come by what is missing.
impl Display for CExport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let folder = self.folder.display();
        match &self.libraries[..] {
            [] => write!(
                f,
                "wrote aaren.h and README.md beside it; no library lies beside this program, `cargo build --release -p aaren-capi` in a \
                 checkout of aaren makes target/release/{} and {}",
                LIBRARIES[0], LIBRARIES[1]
            ),
            libraries => write!(f, "wrote aaren.h, README.md and {} to {folder}", libraries.join(" and ")),
        }
    }
}

const PAGE: &str = r#"# A policy for C

`aaren.h` says what there is to call. The libraries `libaaren_capi.a` (static) and `libaaren_capi.so` (shared) are built by
`cargo build --release -p aaren-capi` in a checkout of aaren; where they lay beside the program that wrote this folder, they are here.
They need the C library and nothing else.

    #include "aaren.h"
    #include <math.h>
    #include <stdio.h>

    int main(void) {
        AarenPolicy *policy = aaren_load(".");            /* this folder */
        if (!policy) { fprintf(stderr, "%s\n", aaren_error()); return 1; }
        double observation[64], action[64], reward = 0.0;  /* at least as many as aaren_observation_size and aaren_action_size say */
        aaren_reset(policy, NAN);                          /* an episode begins; NAN asks for the usual return */
        for (int step = 0; step < 1000; step++) {
            /* observe the environment here */
            if (aaren_step(policy, observation, reward, action)) { fprintf(stderr, "%s\n", aaren_error()); return 1; }
            /* act in the environment here, and keep the reward for the next step */
        }
        aaren_free(policy);
        return 0;
    }

    cc main.c libaaren_capi.a -lm -lpthread -ldl -o main   # or: cc main.c -L. -laaren_capi -Wl,-rpath,'$ORIGIN' -o main

Observations go in as the environment shows them and actions come out within its bounds: normalization is inside.
"#;
