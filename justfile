# What people type. `just` alone lists it.

_:
    @just --list

# The program, static, at target/release/berth
build:
    cargo build --release --locked -p berth

# Every test, the end-to-end ones on private machines (as root)
test *words:
    tests/run {{ words }}

# The fast ones: no root, no build of the release
unit:
    cargo nextest run --workspace --exclude berth-tests

# What has to pass before a change lands
ci:
    .ci/run

# Wall time, memory and the share of each step of 50 containers
bench *words:
    tests/bench/run {{ words }}

# One fuzz target without an end; needs a nightly compiler and cargo-fuzz
fuzz target *words:
    cd schema && cargo +nightly fuzz run {{ target }} fuzz/corpus/{{ target }} fuzz/seeds/load {{ words }}

# One of the fuzz targets of archives, `tape` or `layer` (as root, it writes below /tmp)
fuzz-archives target *words:
    cd runtime && cargo +nightly fuzz run {{ target }} fuzz/corpus/{{ target }} fuzz/seeds/tape {{ words }}

# The quick start
quickstart:
    examples/quickstart/run

# Rewrites snapshots; read the difference afterwards
snapshots *words:
    INSTA_UPDATE=always cargo nextest run --workspace --exclude berth-tests {{ words }}
