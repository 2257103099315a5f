#!/usr/bin/env bash
# The tests of GPU kernels and the laws as NVIDIA's cards get them, on a processor that plays two of them: the first generation that multiplies in
# TF32 where it may, and a later one, whose threads run in backward order. A kernel that fails its trial would be replaced in silence, and
# fails here.
#
#     scripts/fakecuda/tests.sh
#
# Takes the build of another backend, and then about half an hour of processor time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

options=()
for crate in kernels policy envs data agents; do
    options+=(--config "profile.dev.package.aaren-$crate.opt-level=1" --config "profile.dev.package.aaren-$crate.debug=false")
done
crates=(-p aaren-policy -p aaren-kernels --features cuda)

# A compute capability, whether threads run backwards, and which tests.
on_a_card() {
    echo "--- compute capability $1 $3"
    FAKECUDA_CAPABILITY=$1 FAKECUDA_BACKWARDS=$2 FAKECUDA_FILL=255 \
        scripts/fakecuda/run.sh cargo test "${options[@]}" "${crates[@]}" "${@:3}" -- cube device law --show-output
}

scripts/fakecuda/check.sh
bash -n scripts/gpu.sh
cargo test "${options[@]}" "${crates[@]}" --lib --test gpu --no-run
# Both cards are compiled much the same code for; so the laws, which take longest, are beside the kernels first.
logs=$(mktemp -d)
trap 'rm -r "$logs"' EXIT
status=0
on_a_card 8.0 0 --test gpu >"$logs/laws-8.0" 2>&1 &
on_a_card 8.0 0 --lib >"$logs/kernels-8.0" 2>&1 || status=1
on_a_card 9.0 1 --lib >"$logs/kernels-9.0" 2>&1 || status=1
on_a_card 9.0 1 --test gpu >"$logs/laws-9.0" 2>&1 || status=1
wait $! || status=1
# A training in bfloat16 beside one in single precision, and what is measured on a card, whole but small.
FAKECUDA_CAPABILITY=9.0 scripts/fakecuda/run.sh cargo test "${options[@]}" -p aaren-agents --features cuda --lib -- law_of_precision \
    --show-output >"$logs/training-9.0" 2>&1 || status=1
GPU_FOLDER=$logs/carried scripts/gpu.sh build --profile dev >"$logs/build" 2>&1 &&
    GPU_FOLDER=$logs/carried scripts/fakecuda/run.sh scripts/gpu.sh run --small --out "$logs/measured" >"$logs/run" 2>&1 &&
    scripts/gpu.sh publish "$logs/measured" --docs "$logs/published" >"$logs/publish" 2>&1 || status=1
cat "$logs"/* 2>/dev/null || true
grep -hs '^skipped' "$logs"/* | sort -u || true
! grep "^warning: the kernel for .* cannot be used on Cuda" "$logs"/*[^d] "$logs/measured/log.txt" || status=1
exit $status
