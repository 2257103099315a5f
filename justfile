# The everyday commands: `just` lists them. Each is one line, to be typed without `just` too.

_default:
    @just --list

# Build the `aaren` binary
build:
    cargo build

# Run the quickstart: train, evaluate, print a table
quickstart *ARGS:
    cargo run -- train {{ ARGS }}

# Run the tests of all crates, or of those named: `just test -p aaren-kernels --lib scan`
test *ARGS="--workspace":
    cargo test {{ ARGS }}

# Check formatting and lints
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Build the API documentation and open it
docs:
    cargo doc --no-deps --workspace --open

# Print which file imports which, and check that there is no circle
house:
    cargo test --test house -- --nocapture

# Check that the same jobs still end with the same bits
bits:
    scripts/same_bits.sh

# Try thousands of damaged files, and kills at every change of the disk (hours)
torture *ARGS:
    scripts/torture.sh {{ ARGS }}

# Measure one part; `just bench --help` lists them
bench *ARGS:
    cargo run --release -p aaren-bench -- {{ ARGS }}

# Build the Python package and run its tests
wheel *ARGS:
    scripts/wheel.sh {{ ARGS }}

# Check licences, sources and advisories of what is built in
deny:
    cargo deny check

# Run everything that must pass before a change is merged
gate:
    .ci/run
