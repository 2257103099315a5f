#!/usr/bin/env bash
# The tests of GPU kernels and the laws as NVIDIA's cards get them, on a processor that plays two of them: the first generation that multiplies in
# TF32 where it may, and a later one, whose threads run in backward order. A kernel that fails its trial would be replaced in silence, and
# fails here.
#
#     scripts/fakecuda/tests.sh
#
# Two cores need the build of a second backend and then about half an hour.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

options=()
for crate in kernels policy envs data agents; do
    options+=(--config "profile.dev.package.aaren-$crate.opt-level=1" --config "profile.dev.package.aaren-$crate.debug=false")
done
options+=(-p aaren-policy -p aaren-kernels --features cuda --lib --test gpu)

# A compute capability, and whether threads run backwards.
on_a_card() {
    echo "--- compute capability $1"
    FAKECUDA_CAPABILITY=$1 FAKECUDA_BACKWARDS=$2 FAKECUDA_FILL=255 \
        scripts/fakecuda/run.sh cargo test "${options[@]}" -- cube device law --show-output
}

scripts/fakecuda/check.sh
cargo test "${options[@]}" --no-run
logs=$(mktemp -d)
trap 'rm -r "$logs"' EXIT
status=0
on_a_card 8.0 0 >"$logs/8.0" 2>&1 &
on_a_card 9.0 1 >"$logs/9.0" 2>&1 || status=1
wait $! || status=1
cat "$logs/8.0" "$logs/9.0"
! grep "^warning: the kernel for" "$logs"/* || status=1
exit $status
