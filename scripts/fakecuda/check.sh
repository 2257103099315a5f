#!/bin/sh
# Tests the emulation itself, with threads in both orders: what check.c expects of it. Prints what is wrong, and fails then.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
export FAKECUDA_BUILD="${FAKECUDA_BUILD:-${CARGO_TARGET_DIR:-$here/../../target}/fakecuda}"
unset CUDA_PATH
export FAKECUDA_FILL=255 FAKECUDA_FAULTS=report FAKECUDA_CAPABILITY=8.0
program=$(mktemp)
trap 'rm -f "$program"' EXIT
"$here/run.sh" sh -c 'cc -O1 -Wall -o "$0" "$1" -L"${LD_LIBRARY_PATH%%:*}" -lcuda -lnvrtc' "$program" "$here/check.c"
for backwards in 0 1; do
    echo "threads backwards: $backwards"
    FAKECUDA_BACKWARDS=$backwards "$here/run.sh" "$program"
done
