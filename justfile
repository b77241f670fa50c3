# Shortcuts; `.ci/run` is what must pass.

# What there is.
default:
    @just --list

# All tests, as the README says.
test:
    cargo test --workspace

# The tests of the workspace whose names contain NAME.
test-one NAME:
    cargo test --workspace --lib --bins --tests -- {{NAME}}

# Side by side with the peers, in a minute or two; `benches/RESULTS.md` says how to measure in full.
bench:
    cargo run --release -p aioproducer-benches --bin compare -- --quick

# The tests that need a real Kafka broker, which this starts.
kafka:
    bash checks/kafka/check.sh

# The gate, or some of its stages: `just ci docs lints`, `just ci --list`.
ci *STAGES:
    .ci/run {{STAGES}}

# The documentation of the workspace, in a browser.
docs:
    cargo doc --workspace --no-deps --open
