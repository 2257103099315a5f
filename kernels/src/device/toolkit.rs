//! What CUDA's compiler needs on the machine where kernels run: found missing here, by name, rather than in the middle of a training.

use std::path::{Path, PathBuf};

/// Two numbers with a point between them: a release of CUDA, or a compute capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub major: i32,
    pub minor: i32,
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why kernels cannot be compiled or loaded, although there are a driver and a card.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Obstacle {
    #[error(
        "CUDA's headers are nowhere: CUDA_PATH is not set and there is no toolkit; install one, or the wheels {WHEELS} and set CUDA_PATH to \
         the folder nvidia/cu13 among Python's packages"
    )]
    NoHeaders,
    #[error("CUDA's headers lie in {}, where they are not looked for; set CUDA_PATH={}", .0.display(), .0.display())]
    HeadersElsewhere(PathBuf),
    #[error("{} is missing (CUDA_PATH says where it should be); install the wheel {wheel}, or the CUDA toolkit", path.display())]
    NoHeader { path: PathBuf, wheel: &'static str },
    #[error(
        "NVRTC is of CUDA {compiler} and the driver of CUDA {driver}, which loads nothing that a newer compiler makes; install NVRTC and \
         headers of CUDA {driver} or older, or a newer driver"
    )]
    OldDriver { compiler: Version, driver: Version },
    #[error(
        "{name} is of compute capability {capability}, and NVRTC {compiler} compiles for {}; install another NVRTC",
        list(known)
    )]
    UnknownCard { name: String, capability: Version, compiler: Version, known: Vec<Version> },
}

const WHEELS: &str = "nvidia-cuda-nvrtc, nvidia-cuda-runtime, nvidia-cuda-crt and nvidia-cuda-cccl";

fn list(versions: &[Version]) -> String {
    versions.iter().map(Version::to_string).collect::<Vec<_>>().join(", ")
}

/// What every kernel includes, and what matrix products do, with the wheels that have them.
const HEADERS: [(&str, &str); 2] = [("cuda_runtime.h", "nvidia-cuda-runtime"), ("crt/mma.h", "nvidia-cuda-crt")];

/// That the headers are where CubeCL looks for them, `toolkit`; if it is nowhere, a guess where they are from where NVRTC is.
pub(super) fn check_headers(toolkit: Option<PathBuf>, compiler: Option<PathBuf>) -> Result<(), Obstacle> {
    let Some(toolkit) = toolkit else {
        // Wheels and toolkits alike have `lib/libnvrtc.so` beside `include`.
        let beside = compiler.as_deref().and_then(Path::parent).and_then(Path::parent).filter(|folder| has_headers(folder));
        return Err(beside.map_or(Obstacle::NoHeaders, |folder| Obstacle::HeadersElsewhere(folder.to_owned())));
    };
    for (header, wheel) in HEADERS {
        let path = toolkit.join("include").join(header);
        if !path.is_file() {
            return Err(Obstacle::NoHeader { path, wheel });
        }
    }
    Ok(())
}

fn has_headers(toolkit: &Path) -> bool {
    HEADERS.iter().all(|(header, _)| toolkit.join("include").join(header).is_file())
}

/// That a driver loads what a compiler makes. It has to be as new: only what an older one made is compiled once more by it.
pub(super) fn check_versions(compiler: Version, driver: Version) -> Result<(), Obstacle> {
    if compiler > driver { Err(Obstacle::OldDriver { compiler, driver }) } else { Ok(()) }
}

/// That the compiler knows a card.
pub(super) fn check_card(name: &str, capability: Version, compiler: Version, known: Vec<Version>) -> Result<(), Obstacle> {
    if known.contains(&capability) {
        return Ok(());
    }
    Err(Obstacle::UnknownCard { name: name.to_owned(), capability, compiler, known })
}

/// Where the loaded library lies whose name begins so, as the system says it.
pub(super) fn loaded_library(name: &str) -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let paths = maps.lines().filter_map(|line| line.split_once('/')).map(|(_, path)| PathBuf::from(format!("/{path}")));
    paths.into_iter().find(|path| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, fs};

    const fn version(major: i32, minor: i32) -> Version {
        Version { major, minor }
    }

    /// A folder that goes when it is dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("aaren-toolkit-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("include/crt")).unwrap();
            Self(path)
        }

        fn add(&self, header: &str) {
            fs::write(self.0.join("include").join(header), "").unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_header_that_is_missing_is_named_with_its_wheel() {
        let folder = Folder::new("headers");
        let check = || check_headers(Some(folder.0.clone()), None).map_err(|obstacle| obstacle.to_string());
        let nothing = check().unwrap_err();
        assert!(nothing.contains("include/cuda_runtime.h") && nothing.contains("nvidia-cuda-runtime"), "{nothing}");
        folder.add("cuda_runtime.h");
        let products = check().unwrap_err();
        assert!(products.contains("include/crt/mma.h") && products.contains("nvidia-cuda-crt"), "{products}");
        folder.add("crt/mma.h");
        assert_eq!(check(), Ok(()));
    }

    #[test]
    fn headers_beside_the_compiler_are_found_where_no_path_is_set() {
        let folder = Folder::new("beside");
        let compiler = || Some(folder.0.join("lib/libnvrtc.so.13"));
        assert_eq!(check_headers(None, compiler()), Err(Obstacle::NoHeaders));
        folder.add("cuda_runtime.h");
        folder.add("crt/mma.h");
        assert_eq!(check_headers(None, compiler()), Err(Obstacle::HeadersElsewhere(folder.0.clone())));
        let told = check_headers(None, compiler()).unwrap_err().to_string();
        assert!(told.contains(&format!("CUDA_PATH={}", folder.0.display())), "{told}");
        assert_eq!(check_headers(None, None), Err(Obstacle::NoHeaders));
    }

    #[test]
    fn a_driver_may_be_newer_than_the_compiler_and_not_older() {
        assert_eq!(check_versions(version(13, 2), version(13, 2)), Ok(()));
        assert_eq!(check_versions(version(12, 9), version(13, 0)), Ok(()));
        let old = check_versions(version(13, 2), version(12, 4)).unwrap_err().to_string();
        assert!(old.contains("CUDA 13.2") && old.contains("CUDA 12.4"), "{old}");
        assert!(check_versions(version(12, 9), version(12, 8)).is_err());
    }

    #[test]
    fn a_card_that_the_compiler_does_not_know_is_named() {
        let known = || vec![version(7, 5), version(9, 0)];
        assert_eq!(check_card("H200", version(9, 0), version(13, 2), known()), Ok(()));
        let old = check_card("V100", version(7, 0), version(13, 2), known()).unwrap_err().to_string();
        assert!(old.contains("V100") && old.contains("7.0") && old.contains("13.2") && old.contains("7.5, 9.0"), "{old}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_loaded_library_is_found() {
        assert!(loaded_library("libc.so").is_some_and(|path| path.is_file()));
        assert_eq!(loaded_library("libnone"), None);
    }
}
