#!/usr/bin/env bash
# Gets small sets of labelled sequences of the UEA and UCR archives, into datasets/sequences/ of this checkout.
#
#     scripts/sequences.sh
#
# They come out of the Python wheel `aeon`, through pip and whatever package index pip is set up for. Nothing is installed into Python.
# The tests of the readers compare what they read with what aeon reads; without the files they are skipped.
set -euo pipefail

version=1.6.0
target=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/datasets/sequences
python=${PYTHON:-python3}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip download --quiet --no-deps --dest "$folder" "aeon==$version"
mkdir -p "$target"
"$python" - "$folder" "$target" <<'PYTHON'
import pathlib, sys, zipfile

folder, target = map(pathlib.Path, sys.argv[1:])
(wheel,) = folder.glob("*.whl")
with zipfile.ZipFile(wheel) as files:
    for name in files.namelist():
        if name.startswith("aeon/datasets/data/") and name.endswith((".ts", ".tsv")):
            (target / pathlib.PurePosixPath(name).name).write_bytes(files.read(name))
PYTHON
echo "sequences are in $target"
