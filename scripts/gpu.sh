#!/usr/bin/env bash
# What to measure on an NVIDIA card, from one folder and in one call of less than eight minutes: the tests of kernels and the laws, the scan's
# bandwidth, the time of an optimizer step beside PyTorch's, a real training in every precision, launches and memory.
#
#     scripts/gpu.sh build                      here, without a card: makes target/gpu, all that the card's machine needs of this one
#     scripts/gpu.sh run --out FOLDER           on the card's machine
#     scripts/gpu.sh publish FOLDER             here again: docs/results/<date>-<card>/
#
# Options of build: --profile release|dev (release), and --folder FOLDER of build and run (target/gpu, or $GPU_FOLDER). --small of run cuts
# the shapes down to what a processor can play: scripts/fakecuda/run.sh scripts/gpu.sh run --small --out FOLDER. publish takes --docs FOLDER
# in place of docs/results.
#
# The card's machine needs bash, coreutils, tar and gzip, the driver, and NVRTC with CUDA's headers: of the environment, of a toolkit in
# /usr/local, or of Python's wheels. Peers are timed where python3 has PyTorch.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() {
    echo "error: $*" >&2
    exit 1
}

usage() {
    sed -n '2,/^set -euo/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"
}

# --- build

# The programs, and the tests as programs, without what debuggers read, in one archive.
build() {
    local profile=release folder=${GPU_FOLDER:-$root/target/gpu}
    while [[ $# -gt 0 ]]; do
        case $1 in
            --profile) profile=${2:?} && shift 2 ;;
            --folder) folder=${2:?} && shift 2 ;;
            *) fail "build does not know $1" ;;
        esac
    done
    cd "$root"
    local target=${CARGO_TARGET_DIR:-$root/target} options=() crate built executable program
    # As scripts/fakecuda/tests.sh builds them, so that what one has compiled serves the other.
    for crate in kernels policy envs data agents; do
        options+=(--config "profile.dev.package.aaren-$crate.opt-level=1" --config "profile.dev.package.aaren-$crate.debug=false")
    done
    case $profile in
        release) cargo build --release -p aaren -p aaren-bench --features cuda ;;
        dev) cargo build "${options[@]}" -p aaren -p aaren-bench --features cuda ;;
        *) fail "--profile: found $profile, expected release or dev" ;;
    esac
    built=$(mktemp -d)
    trap 'rm -rf "$built"' RETURN
    [[ $profile == release ]] && target+=/release || target+=/debug
    cp "$target/aaren" "$target/aaren-bench" "$built"
    for program in "kernels --lib" "policy --test=gpu"; do
        read -r crate program <<<"$program"
        executable=$(cargo test "${options[@]}" -p aaren-policy -p aaren-kernels --features cuda --lib --test gpu --no-run \
            --message-format json | sed -n "s|.*\"manifest_path\":\"[^\"]*/$crate/Cargo.toml\".*\"test\":true.*\"executable\":\"\([^\"]*\)\".*|\1|p" |
            if [[ $program == --lib ]]; then grep '/aaren_kernels-'; else grep '/gpu-'; fi | tail -n 1)
        [[ -x $executable ]] || fail "cargo names no test program of $crate"
        cp "$executable" "$built/$crate-tests"
    done
    strip "$built"/*
    {
        echo "commit=$(git rev-parse --short HEAD)$(git diff --quiet HEAD || echo ' with changes')"
        echo "profile=$profile"
        echo "rust=$(rustc --version | cut -d' ' -f2)"
    } >"$built/build"
    mkdir -p "$folder"
    tar -C "$built" -cf - . | gzip -9 >"$folder/aaren.tar.gz"
    cp "${BASH_SOURCE[0]}" "$folder/gpu.sh"
    echo "$folder: $(du -m "$folder/aaren.tar.gz" | cut -f1) MB to carry, $(du -sm "$built" | cut -f1) MB unpacked:"
    (cd "$built" && du -m -- * | sort -rn)
}

# --- run

# Seconds of all steps together.
total=465

# A step by its name and the seconds it may take, and its command. What it prints goes to the log; what becomes of it into steps.json. A step
# that fails or takes too long is no reason to leave out the next.
step() {
    local name=$1 limit=$2 started=$SECONDS status=0
    shift 2
    local left=$((total - SECONDS))
    [[ $limit -le $left ]] || limit=$left
    if [[ $limit -lt 5 ]]; then
        status=124
        echo "--- $name: no time is left" | tee -a "$out/log.txt"
    else
        echo "--- $name, at most $limit s: $*" >>"$out/log.txt"
        timeout --kill-after=5 "$limit" "$@" >>"$out/log.txt" 2>&1 </dev/null || status=$?
    fi
    [[ $status == 0 ]] || failed+=("$name")
    echo "$name: $([[ $status == 0 ]] && echo done || echo "FAILED ($status)") after $((SECONDS - started)) s" | tee -a "$out/log.txt"
    steps+=("{\"step\": \"$name\", \"status\": $status, \"seconds\": $((SECONDS - started))}")
    return 0
}

# Whether the program finds the card with these folders of the compiler and of the headers; empty ones leave the environment as it is.
finds_card() {
    local libraries=$1 headers=$2
    (
        [[ -z $libraries ]] || export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
        [[ -z $headers ]] || export CUDA_PATH=$headers
        timeout 60 "$programs/aaren" devices 2>&1
    ) >"$programs/devices.txt" || true
    { echo "--- devices, NVRTC in ${libraries:-the environment}, headers in ${headers:-the environment}" && cat "$programs/devices.txt"; } >>"$out/log.txt"
    [[ -n $(card) ]]
}

# What the program calls the card, if it can use it.
card() {
    sed -nE 's/^[^a-z]*cuda[^a-z]+yes[^A-Za-z0-9]+(.*[A-Za-z0-9)]).*$/\1/p' "$programs/devices.txt" | head -n 1
}

# Sets the environment in which the card is found: of the caller, a toolkit, or Python's wheels.
find_card() {
    local folder wheels
    finds_card "" "" && return
    wheels=$(python3 -c 'import nvidia; print("\n".join(nvidia.__path__))' 2>/dev/null || true)
    for folder in /usr/local/cuda /usr/local/cuda-* $(printf '%s/cu13\n' $wheels); do
        for libraries in "$folder/lib64" "$folder/lib"; do
            [[ -d $libraries ]] || continue
            # The wheels of PyTorch lack a header that a toolkit has.
            for headers in "$folder" /usr/local/cuda; do
                if finds_card "$libraries" "$headers"; then
                    export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} CUDA_PATH=$headers
                    return
                fi
            done
        done
    done
    cat "$programs/devices.txt" >&2
    fail "no usable card; $out/log.txt has every attempt"
}

# One training by its name and changes, and what it reached, as a line of trainings.json.
training() {
    local name=$1
    shift
    local run=$programs/runs/$name started=$SECONDS
    step "train-$name" 60 "$programs/aaren" train "${job[@]}" --run "$run" "$@"
    [[ ! -f $run/train.json ]] || trainings+=("{\"training\": \"$name\", \"seconds\": $((SECONDS - started)), \"result\": $(cat "$run/train.json")}")
}

join() {
    local IFS=,
    echo "[$*]"
}

run() {
    local folder=${GPU_FOLDER:-$root/target/gpu} small=0
    out=
    [[ -f $folder/aaren.tar.gz ]] || folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    while [[ $# -gt 0 ]]; do
        case $1 in
            --out) out=${2:?} && shift 2 ;;
            --folder) folder=${2:?} && shift 2 ;;
            --small) small=1 && shift ;;
            *) fail "run does not know $1" ;;
        esac
    done
    [[ -n $out ]] || fail "--out names the folder that results go to"
    [[ -f $folder/aaren.tar.gz ]] || fail "$folder/aaren.tar.gz is missing; scripts/gpu.sh build makes it"
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    programs=$(mktemp -d)
    trap 'rm -rf "$programs"' EXIT
    tar -C "$programs" -xzf "$folder/aaren.tar.gz"
    : >"$out/log.txt"
    steps=() failed=() trainings=()
    find_card
    echo "card: $(card)"

    # What a processor can play in a few minutes: less of everything, and no test that takes long there.
    local sizes=(--size 64x20 --size 1024x20 --size 64x1000) mixers=(--mixer aaren --mixer transformer) shapes=() repeats=10
    local kernel_tests=(cube device) laws=(law)
    job=(--device cuda --set train.steps=300 --set evaluation.every=0 --set evaluation.final_episodes=50)
    if [[ $small == 1 ]]; then
        total=1200
        sizes=(--size 2x3) mixers=(--mixer aaren) shapes=(--shape 2x1x5x8 --shape 1x2x65x16) repeats=1
        kernel_tests=(linear::cube) laws=(law_5)
        job=(--device cuda --set train.steps=20 --set train.batch_size=2 --set evaluation.every=0 --set evaluation.final_episodes=1)
        job+=(--set env.options.corridor=3 --set data.scripted.episodes=5 --set policy.width=8 --set policy.feed_forward=8 --set policy.layers=1)
    fi
    local bench=$programs/aaren-bench peer=--no-peer bf16_peer=--no-peer timed=(--device cuda --threads 2 --repeats "$repeats" "${sizes[@]}" "${mixers[@]}")
    if python3 -c 'import torch; torch.zeros(1, device="cuda")' >>"$out/log.txt" 2>&1; then peer= && bf16_peer=--peer-bf16; else echo "no PyTorch with CUDA: no peers"; fi
    nvidia-smi >>"$out/log.txt" 2>&1 || true

    # What most depends on comes first: that answers are right, then the figures that nothing else can give.
    step kernels 90 "$programs/kernels-tests" "${kernel_tests[@]}" --show-output
    step laws 110 "$programs/policy-tests" "${laws[@]}" --show-output
    step train 70 "$bench" train "${timed[@]}" $peer --json "$out/train.json"
    step train-bf16 60 "$bench" train "${timed[@]}" --precision bf16 "${bf16_peer}" --json "$out/train-bf16.json"
    training f32
    training bf16 --set train.precision=bf16
    training tf32 --set train.precision=tf32
    # The same on the processor: its loss is what the card's should be.
    training cpu --device cpu
    step launches 40 "$bench" launches --device cuda "${sizes[@]}" "${mixers[@]}" --json "$out/launches.json"
    step scan 90 "$bench" scan --device cuda --repeats "$repeats" "${shapes[@]}" $peer --json "$out/scan.json"
    [[ -n $peer ]] || step train-compiled 100 "$bench" train "${timed[@]}" --peer-compile --json "$out/train-compiled.json"

    join "${trainings[@]}" >"$out/trainings.json"
    join "${steps[@]}" >"$out/steps.json"
    {
        cat "$programs/build"
        echo "card=$(card)"
        echo "driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 || true)"
        echo "date=$(date -u +%F)"
        echo "system=$(sed -n 's/^PRETTY_NAME="\(.*\)"/\1/p' /etc/os-release 2>/dev/null || uname -sr)"
        echo "processor=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
        echo "cores=$(nproc)"
        echo "load=$(cut -d' ' -f1 /proc/loadavg 2>/dev/null || echo unknown)"
        echo "is_small=$small"
    } >"$out/machine.txt"
    echo "$out: ${#steps[@]} steps in $SECONDS s, ${#failed[@]} failed${failed[*]:+: ${failed[*]}}"
    [[ ${#failed[@]} == 0 ]]
}

# --- publish

publish() {
    local docs=$root/docs/results folder=
    while [[ $# -gt 0 ]]; do
        case $1 in
            --docs) docs=${2:?} && shift 2 ;;
            -*) fail "publish does not know $1" ;;
            *) folder=$1 && shift ;;
        esac
    done
    [[ -f $folder/machine.txt ]] || fail "publish takes the folder that run --out made; ${folder:-none} has no machine.txt"
    python3 - "$folder" "$docs" <<'PYTHON'
import json, pathlib, re, sys

out, docs = map(pathlib.Path, sys.argv[1:])
said = dict(line.split("=", 1) for line in (out / "machine.txt").read_text().splitlines())
steps = json.loads((out / "steps.json").read_text())
state = {step["step"]: step["status"] for step in steps}
card = re.sub(r"[^a-z0-9]+", "-", said["card"].lower()).strip("-") or "card"
folder = docs / f"{said['date']}-{card}"
folder.mkdir(parents=True, exist_ok=True)
machine = {
    "processor": said["processor"], "cores": int(said["cores"]), "system": said["system"], "rust": said["rust"],
    "load": said["load"], "card": said["card"], "driver": said["driver"] or "unknown",
}
small = ["Shapes cut down for an emulated card: no figure here says how fast anything is."] if said["is_small"] == "1" else []


def number(x):
    return f"{x:,}" if isinstance(x, int) else f"{x:.4g}"


def cell(x):
    """A value as a page quotes it; nothing for what is not one number."""
    if isinstance(x, dict) and {"median", "min", "max"} <= x.keys():
        return f"{number(x['median'])} ({number(x['min'])}, {number(x['max'])})"
    if isinstance(x, dict) and "batch" in x:
        return "x".join(str(part) for part in x.values())
    if x is None:
        return ""
    return x if isinstance(x, str) else number(x)


def flat(row):
    """A row of figures without what is a table of its own."""
    for key, value in row.items():
        if key == "kernels":
            continue
        if isinstance(value, dict) and not {"median", "batch"} & value.keys():
            yield from ((f"{key} {inner}", part) for inner, part in value.items())
        else:
            yield key, value


def write(name, title, command, rows, spread, notes):
    rows = [dict(flat(row)) for row in rows]
    columns = [key for key in rows[0] if any(row.get(key) is not None for row in rows)]
    result = {
        "title": title, "command": command, "commit": said["commit"], "machine": machine, "profile": said["profile"], "seeds": [1],
        "spread": spread,
        "figures": {"columns": [column.replace("_", " ") for column in columns], "rows": [[cell(row.get(key)) for key in columns] for row in rows]},
        "notes": notes + small,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(path)


for name, title in {
    "train": "An optimizer step on the card", "train-bf16": "An optimizer step on the card, dense layers in bfloat16",
    "train-compiled": "An optimizer step on the card beside PyTorch compiled", "scan": "The scan's bandwidth on the card",
    "launches": "Kernels and memory of an optimizer step on the card",
}.items():
    path = out / f"{name}.json"
    if not path.is_file():
        print(f"{name}: no figures (status {state.get(name, 'not run')})", file=sys.stderr)
        continue
    measured = json.loads(path.read_text())
    notes = [f"PyTorch {measured['torch']}."] if measured.get("torch") else []
    command = [" ".join(word if "/" not in word else pathlib.Path(word).name for word in measured["command"])]
    write(name, title, command, measured["rows"], "median (least, most) of repetitions", notes)

trainings = json.loads((out / "trainings.json").read_text())
if trainings:
    rows = [{"training": one["training"], "seconds": one["seconds"], **one["result"]} for one in trainings]
    rows = [{key: value for key, value in row.items() if key != "format"} for row in rows]
    write("trainings", "The quickstart in every precision, and on the CPU", ["scripts/gpu.sh run"], rows, "one seed", [
        "f32, bf16 and tf32 on the card; seconds are those of the whole command, the compilation of kernels included.",
    ])
checks = [step for step in steps if step["step"] in ("kernels", "laws")]
write("checks", "Kernels and laws on the card", ["scripts/gpu.sh run"], [
    {"tests": step["step"], "seconds": step["seconds"], "outcome": "passed" if step["status"] == 0 else f"FAILED ({step['status']})"} for step in checks
], "one run", ["The tests that cargo test runs on a card, from programs that were carried there."])
print("name these files on a page of docs/src/results")
PYTHON
}

case ${1:-} in
    build | run | publish) "$@" ;;
    -h | --help) usage ;;
    *) usage >&2 && exit 2 ;;
esac
