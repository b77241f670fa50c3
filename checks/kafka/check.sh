#!/usr/bin/env bash
# What only a real broker shows: the tests that a plain run ignores, on an Apache Kafka broker of their own on loopback.
set -euo pipefail
cd "$(dirname "$0")/../.."

. checks/kafka/jars.sh

cargo test -p aioproducer-tests --test real_broker -- --ignored --test-threads=3
