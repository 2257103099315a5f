#!/usr/bin/env bash
# Trains the D4RL table of "Attention as an RNN" and compares it: robots x datasets x agents x seeds, several runs at a time with one
# thread each. Needs the datasets as local Minari ones (MINARI_DATASETS_PATH, or ~/.minari/datasets).
#
#     scripts/table.sh [OPTION VALUE]... [-- --set KEY=VALUE ...]
#
#     --robots "hopper"                                   files of configs/d4rl/, without .toml
#     --datasets "medium medium-replay medium-expert"
#     --agents "aaren transformer bc10"
#     --seeds "1 2 3"
#     --jobs N          runs at a time (default: the number of processors)
#     --runs DIR        where the run folders and their logs go (default: runs/d4rl)
#     --binary FILE     an aaren with the feature mujoco (default: built here, with the release profile)
#
# What follows `--` goes to every `aaren train` that begins a run. Finished runs are left as they are and broken ones are resumed, so
# the script can be stopped and started again; a run that fails does not stop the others. Ends with `aaren compare`.
set -uo pipefail

fail() {
    echo "error: $*" >&2
    exit 2
}

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
robots="hopper" datasets="medium medium-replay medium-expert" agents="aaren transformer bc10" seeds="1 2 3"
jobs=$(nproc) runs=runs/d4rl binary=""
while [[ $# -gt 0 && $1 != -- ]]; do
    case $1 in
    --robots | --datasets | --agents | --seeds | --jobs | --runs | --binary)
        [[ $# -ge 2 ]] || fail "$1 needs a value"
        printf -v "${1#--}" %s "$2"
        shift 2
        ;;
    *) fail "$1 is no option; the head of $0 lists them" ;;
    esac
done
[[ ${1:-} == -- ]] && shift
settings=("$@")
[[ $jobs =~ ^[1-9][0-9]*$ ]] || fail "--jobs: found \"$jobs\", expected a number of at least 1"

if [[ -z $binary ]]; then
    scripts/mujoco.sh >/dev/null || exit 2
    cargo build --release --features mujoco || exit 2
    binary=${CARGO_TARGET_DIR:-target}/release/aaren
fi
[[ -x $binary ]] || fail "there is no program $binary"
mkdir -p "$runs" || exit 2

is_finished() {
    [[ -f $1/evaluation.json && -f $1/evaluation-best.json ]]
}

# A run: its name, its seed and its config's files. One thread, so that as many runs as there are processors do not get in each other's way.
train() {
    local name=$1 seed=$2 run=$runs/$1 log=$runs/$1.log started=$SECONDS
    shift 2
    if is_finished "$run"; then
        echo "$name: finished before"
        return
    fi
    local arguments=("$@" --run "$run" --seed "$seed" --set evaluation.actors=1 ${settings[@]+"${settings[@]}"})
    [[ -f $run/config.json ]] && arguments=(--resume --run "$run")
    if RAYON_NUM_THREADS=1 "$binary" train "${arguments[@]}" >>"$log" 2>&1; then
        echo "$name: done in $((SECONDS - started)) s"
    else
        echo "$name: FAILED: $(tail -n 1 "$log") (see $log)"
    fi
}

# Seeds outermost: after a third of the time there is one seed of everything.
names=()
for seed in $seeds; do
    for robot in $robots; do
        for dataset in $datasets; do
            for agent in $agents; do
                name=$robot-$dataset-$agent-seed$seed
                parts=("configs/d4rl/$robot.toml" "configs/d4rl/$dataset.toml" "configs/d4rl/$agent.toml")
                for part in "${parts[@]}"; do
                    [[ -f $part ]] || fail "there is no $part"
                done
                names+=("$name")
                while [[ $(jobs -rp | wc -l) -ge $jobs ]]; do
                    wait -n
                done
                train "$name" "$seed" "${parts[@]}" &
            done
        done
    done
done
wait

finished=()
for name in "${names[@]}"; do
    is_finished "$runs/$name" && finished+=("$runs/$name")
done
echo "${#finished[@]} of ${#names[@]} runs finished"
if [[ ${#finished[@]} -ge 2 ]]; then
    "$binary" compare --table "${finished[@]}" --output "$runs/compare" || exit 1
fi
[[ ${#finished[@]} -eq ${#names[@]} ]]
