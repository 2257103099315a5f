#!/usr/bin/env bash
# What the gate tries a little of, tried a lot: kills and failures at every change that a command makes to the disk, mutants of every
# kind of file that is read, and the parsers under `cargo fuzz`.
#
#     scripts/torture.sh [kill] [mutants] [fuzz]          all three unless some are named
#
#     AAREN_KILL_EVERY=1         how far apart the changes are that are tried
#     AAREN_KILL_COMMAND=        only the commands that contain this word
#     AAREN_MUTANTS=10000        mutants of each kind of file
#     AAREN_FUZZ_SECONDS=60      for each target
#
# Ends with 1 where something panicked, hung, was stuck or came out different; the output names the kill point or keeps the mutant.
# `cargo fuzz` needs a nightly toolchain and `cargo install cargo-fuzz`; without them that part is skipped.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export AAREN_KILL_EVERY=${AAREN_KILL_EVERY:-1} AAREN_MUTANTS=${AAREN_MUTANTS:-10000}
failed=0

suite() {
    cargo test --package aaren --test suite -- --include-ignored --nocapture "$1" || failed=1
}

fuzz() {
    if ! cargo +nightly fuzz --version >/dev/null 2>&1; then
        echo "skipped: cargo fuzz; \`rustup toolchain install nightly && cargo install cargo-fuzz\` adds it"
        return
    fi
    # What each target begins with: files as they should be.
    local target
    local -A seeds=([config]=configs [dataset]=data/tests/fixtures [metadata]=data/tests/fixtures/minari [policy]=policies
        [recording]=envs/tests/fixtures [weights]=policies)
    for target in fuzz/fuzz_targets/*.rs; do
        target=$(basename "$target" .rs)
        mkdir -p "fuzz/corpus/$target"
        # No file of 64 KB may take 2 GB.
        cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "${seeds[$target]}" -- \
            -max_total_time="${AAREN_FUZZ_SECONDS:-60}" -rss_limit_mb=2048 -max_len=65536 -timeout=30 || failed=1
    done
}

for part in "${@:-kill mutants fuzz}"; do
    for part in $part; do
        case $part in
            kill) suite kill_points ;;
            mutants) suite mutants ;;
            fuzz) fuzz ;;
            *) echo "error: found $part, expected kill, mutants or fuzz" >&2 && exit 2 ;;
        esac
    done
done
exit $failed
