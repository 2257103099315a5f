#!/usr/bin/env bash
# Gets the MuJoCo library that `--features mujoco` links, into .mujoco/ of this checkout.
#
#     scripts/mujoco.sh
#
# The library comes out of the Python wheel `mujoco`, through pip and whatever package index pip is set up for. Nothing is
# installed into Python. Afterwards
#
#     cargo build --features mujoco
#
# works as it is: .cargo/config.toml names .mujoco/lib, and the binaries remember where they found it. The `export` lines
# printed at the end are for a build from elsewhere, or for a binary that was moved. A second run finds everything in place.
set -euo pipefail

version=3.17.0
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$repository/.mujoco

fail() {
    echo "error: $*" >&2
    exit 1
}

case $(uname -s) in
Linux) library=libmujoco.so.$version link=libmujoco.so ;;
Darwin) library=libmujoco.$version.dylib link=libmujoco.dylib ;;
*) fail "no recipe for $(uname -s); unpack MuJoCo $version yourself and set MUJOCO_DYNAMIC_LINK_DIR to its lib directory" ;;
esac

if [[ ! -f $target/lib/$library ]]; then
    python=$(command -v python3) || fail "python3 is missing; install Python 3 with pip, then run $0 again"
    "$python" -m pip --version >/dev/null 2>&1 ||
        fail "pip is missing for $python; install it (Debian: apt install python3-pip), then run $0 again"
    mkdir -p "$target/lib"
    work=$(mktemp -d "$target/download.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    "$python" -m pip download --no-deps --only-binary :all: --dest "$work" "mujoco==$version" >&2 ||
        fail "pip found no wheel of mujoco $version for this Python and machine; any CPython from 3.10 on has one"
    "$python" -m zipfile -e "$work"/mujoco-*.whl "$work/unpacked"
    [[ -f $work/unpacked/mujoco/$library ]] || fail "the wheel has no mujoco/$library; look into it with: pip download mujoco==$version"
    # Moved last, so that a run that was cut short leaves nothing that looks complete.
    mv "$work/unpacked/mujoco/$library" "$target/lib/$library"
fi
ln -sfn "$library" "$target/lib/$link"

echo "MuJoCo $version is in $target/lib" >&2
printf 'export MUJOCO_DYNAMIC_LINK_DIR=%q\n' "$target/lib"
printf 'export LD_LIBRARY_PATH=%q${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\n' "$target/lib"
