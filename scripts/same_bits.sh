#!/usr/bin/env bash
# Trains and collects four small jobs and compares the SHA-256 of what they leave with the sums that are recorded in
# scripts/same_bits.txt: a change that is not meant to change what is learned must not change a bit of it.
#
#     scripts/same_bits.sh             compares; fails where a sum differs
#     scripts/same_bits.sh --record    writes the sums of this kind of processor anew
#
# $AAREN is the binary; without it, `cargo build` makes it. Sums belong to a kind of processor, for other vector instructions round
# otherwise: on a kind that has none recorded, the script prints its own and says so.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
recorded=$root/scripts/same_bits.txt

if [[ -z ${AAREN:-} ]]; then
    cargo build --quiet --manifest-path "$root/Cargo.toml"
    AAREN=${CARGO_TARGET_DIR:-$root/target}/debug/aaren
fi
AAREN=$(realpath "$AAREN")

processor() {
    local flags
    flags=$(grep -m1 '^flags' /proc/cpuinfo || true)
    case $flags in
        *avx512f*) echo "$(uname -m)-avx512" ;;
        *avx2*) echo "$(uname -m)-avx2" ;;
        *) uname -m ;;
    esac
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

ppo='"env_steps": 512, "envs": 4, "envs_per_group": 2, "rollout_len": 64, "epochs": 2, "minibatches": 2'
evaluation='"evaluation": {"episodes": 2}'
cat >mlp.json <<JSON
{"env": {"id": "Pendulum-v1"}, "ppo": {$ppo}, $evaluation}
JSON
cat >recurrent.json <<JSON
{"env": {"id": "TMaze-v0", "options": {"corridor": 5}}, "ppo": {"network": "recurrent", $ppo},
 "policy": {"init": "published", "mixer": "aaren", "width": 16, "heads": 2, "layers": 2, "feed_forward": 32}, $evaluation}
JSON
cat >collect.json <<JSON
{"env": {"id": "Pendulum-v1"},
 "collect": {"dataset": "medium", "steps": 1000, "actors": 2, "envs_per_actor": 2, "policies": {"medium": "mlp"}}}
JSON

run() {
    "$AAREN" "$@" >log.txt 2>&1 || { cat log.txt >&2 && exit 1; }
}
# As it began: weights as published, and nothing dropped but branches.
run train --run quickstart --set policy.init=published --set policy.attention_dropout=0 --set policy.embedding_dropout=0
run train mlp.json --run mlp
run train recurrent.json --run recurrent
run collect collect.json --output dataset

sums() {
    local run kind
    kind=$(processor)
    for run in quickstart mlp recurrent; do
        echo "$kind $run $(cat "$run"/checkpoints/step-*/weights.safetensors | sha256sum | cut -d' ' -f1)"
    done
    echo "$kind collection $(sha256sum <dataset/data/main_data.hdf5 | cut -d' ' -f1)"
}
sums >found.txt
cat found.txt

kind=$(processor)
if [[ ${1:-} == --record ]]; then
    { grep -v "^$kind " "$recorded" 2>/dev/null || true; cat found.txt; } | sort >sums.txt
    cp sums.txt "$recorded"
elif ! grep -q "^$kind " "$recorded"; then
    echo "skipped: scripts/same_bits.txt has no sums of $kind; record them at a commit that is known to be right" >&2
elif ! diff <(grep "^$kind " "$recorded" | sort) <(sort found.txt) >&2; then
    echo "error: these bits are not those of scripts/same_bits.txt (< recorded, > found)" >&2
    exit 1
fi
