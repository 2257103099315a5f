#!/usr/bin/env bash
# Builds the Python package, installs it into an environment of its own without Rust, and runs its tests there.
#
#     scripts/wheel.sh [--release]
#
# In the everyday profile, which shares its build of Burn with `cargo test`; with --release as it is published, and then its size and
# its use of Python's stable interface are checked too. The environment is in $CARGO_TARGET_DIR (or target/) and is kept. Skipped where
# pip cannot install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
target=${CARGO_TARGET_DIR:-$root/target}
# What other tests read with Python is none of this environment's.
unset PYTHONPATH

profile=(--profile dev)
[[ ${1:-} != --release ]] || profile=(--release)
[[ -e .mujoco/lib/libmujoco.so ]] || scripts/mujoco.sh

venv=$target/python/wheel
python=$venv/bin/python
skip() {
    echo "skipped: the Python package is not built: $*" >&2
    exit 0
}
if ! "$python" -c "import maturin, gymnasium, mujoco, imageio, pytest, minari, h5py, pandas, mypy, abi3audit" 2>/dev/null; then
    rm -rf "$venv"
    mkdir -p "$venv"
    python3 -m venv "$venv" || skip "python3 makes no virtual environment (Debian: apt install python3-venv)"
    "$python" -m pip install --quiet --disable-pip-version-check maturin==1.16.0 'gymnasium[mujoco]==1.4.0' mujoco==3.17.0 pytest \
        'minari[hdf5]==0.5.4' pandas mypy abi3audit || skip "pip cannot install what it needs"
    # Large, and needed by Minari's collector and its columnar storage alone, whose tests are skipped without them.
    "$python" -m pip install --quiet --disable-pip-version-check jax pyarrow ||
        echo "warning: jax and pyarrow cannot be installed; the tests with Minari's collector are skipped" >&2
fi

wheels=$target/python/wheels
rm -rf "$wheels"
CARGO_TARGET_DIR=$target "$python" -m maturin build --quiet "${profile[@]}" -m python/Cargo.toml --out "$wheels" --interpreter "$python"
wheel=$(echo "$wheels"/aaren-*.whl)
echo "$(basename "$wheel"): $(($(stat -c %s "$wheel") / 1024)) KiB"
"$python" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$wheel"
if [[ ${1:-} == --release ]]; then
    [[ $(stat -c %s "$wheel") -lt 25000000 ]] || { echo "error: the wheel is larger than 25 MB" >&2; exit 1; }
    "$python" -m abi3audit --strict "$wheel"
fi

# From a folder in which there is no package of that name.
cd "$(mktemp -d)"
PATH=/usr/bin:/bin "$python" -m pytest --quiet -p no:cacheprovider -rs -c "$root/python/pyproject.toml" "$root/python/tests"
