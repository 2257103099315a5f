#!/usr/bin/env bash
# Compares one process that has all cores with as many processes as there are cores, on this machine: milliseconds of a step, and the share
# of them that the processes waited for each other and for what they exchanged.
#
#     scripts/processes.sh             a table in Markdown
#
# $AAREN is the binary, built with `cargo build --release --features mpi` (and mujoco for HalfCheetah); $MPIRUN is the launcher that belongs
# to its MPI library, $PROCESSES how many are compared (a power of two; 2), $STEPS the optimizer steps that are timed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
AAREN=$(realpath "${AAREN:-${CARGO_TARGET_DIR:-$root/target}/release/aaren}")
MPIRUN=${MPIRUN:-mpirun} PROCESSES=${PROCESSES:-2} STEPS=${STEPS:-120}
threads=$(nproc)
export HYDRA_LAUNCHER=fork OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_rmaps_base_oversubscribe=1

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# Means of the second half of a run's log: milliseconds of a step (PPO: of an iteration), and percent of them in the exchange.
means() {
    python3 - "$1/metrics.jsonl" <<'PYTHON'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1])]
lines = [line for line in lines if "train/learning_rate" in line]
mean = lambda values: sum(values) / len(values)
half, steps = lines[len(lines) // 2 :], lines[1]["step"] - lines[0]["step"]
if "train/step_milliseconds" in half[0]:
    milliseconds = mean([line["train/step_milliseconds"] for line in half])
else:
    milliseconds, steps = 1e3 * mean([line["time/collect_seconds"] + line["time/update_seconds"] for line in half]), 1
exchange = 1e3 * mean([line.get("time/exchange_seconds", 0.0) for line in half]) / steps
print(f"{milliseconds:.1f} {100 * exchange / milliseconds:.0f}")
PYTHON
}

compare() {
    local name=$1 key=$2 one several share
    shift 2
    RAYON_NUM_THREADS=$threads "$AAREN" -q train --run one "$@" >/dev/null
    RAYON_NUM_THREADS=$((threads / PROCESSES > 0 ? threads / PROCESSES : 1)) "$MPIRUN" -n "$PROCESSES" \
        "$AAREN" -q train --run several --distributed mpi --set "$key=$PROCESSES" "$@" >/dev/null
    read -r one _ < <(means one)
    read -r several share < <(means several)
    echo "| $name | $one | $several | $share % |"
    rm -r one several
}

echo "| job | 1 process, $threads threads (ms) | $PROCESSES processes (ms) | of them in the exchange |"
echo "|---|---:|---:|---:|"
for size in 64x20 64x100 256x20; do
    settings=("env.options.corridor=${size#*x}" "policy.width=128" "policy.layers=3" "policy.feed_forward=512" "policy.heads=4"
        "train.batch_size=${size%x*}" "train.context_length=${size#*x}" "train.steps=$STEPS" "train.log_every=$((STEPS / 6))"
        "evaluation.every=0" "evaluation.final_episodes=1")
    compare "offline, $size" train.shards "${settings[@]/#/--set=}"
done
for robot in HalfCheetah-v5 Pendulum-v1; do
    echo "{\"env\": {\"id\": \"$robot\"}, \"ppo\": {\"env_steps\": 40960, \"envs\": 8}, \"evaluation\": {\"episodes\": 1}}" >ppo.json
    "$AAREN" -q inspect ppo.json >/dev/null 2>&1 || continue # the build has no simulator
    compare "PPO, $robot" ppo.shards ppo.json
done
