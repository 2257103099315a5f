//! Small text files, as configs and descriptions are: whole, and only where that comes to an end.

use std::fs::{self, File, Metadata};
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

/// Bytes of a text that is read whole, at most.
const MOST: u64 = 1 << 28;

/// Reads a text of at most 256 MiB from a regular file, or from a pipe that the process was given as `/dev/stdin` or `/dev/fd/N`.
///
/// Devices may have no end, and a pipe that nobody writes to would be waited for without one.
///
/// ```
/// let refused = aaren_envs::read_text("/".as_ref()).unwrap_err();
/// assert!(refused.to_string().contains("is a folder"));
/// ```
///
/// # Errors
/// Of the kind `NotFound` if there is nothing; if it is something else, longer, or not UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    let found = fs::metadata(path)?;
    let is_given = path == Path::new("/dev/stdin") || ["/dev/fd", "/proc/self/fd"].iter().any(|folder| path.starts_with(folder));
    if !(found.is_file() || is_given && is_pipe(&found)) {
        let what = match found.is_dir() {
            true => "is a folder, expected a file",
            false => "is not a regular file; expected one, or a pipe as /dev/stdin",
        };
        return Err(Error::new(ErrorKind::InvalidInput, what));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(Error::new(ErrorKind::FileTooLarge, format!("is longer than {} MiB", MOST >> 20)));
    }
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "is not text (UTF-8)"))
}

#[cfg(unix)]
fn is_pipe(found: &Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&found.file_type())
}

#[cfg(not(unix))]
fn is_pipe(_: &Metadata) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&pipe, Path::new("/dev/zero"), Path::new("/dev/null")] {
            assert!(read_text(path).unwrap_err().to_string().contains("not a regular file"), "{}", path.display());
        }
        let long = folder.path().join("long");
        File::create(&long).unwrap().set_len(MOST + 1).unwrap();
        assert_eq!(read_text(&long).unwrap_err().kind(), ErrorKind::FileTooLarge);
        fs::write(&long, [0xff]).unwrap();
        assert_eq!(read_text(&long).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(read_text(&folder.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
