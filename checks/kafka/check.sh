#!/usr/bin/env bash
# What only a real broker shows: the tests that a plain run ignores, on an Apache Kafka broker of their own on loopback.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() {
    echo "SKIPPED a real Kafka broker: $*"
    exit 0
}

missing() {
    need=()
    version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p') || true
    [ "${version:-0}" -ge 17 ] || need+=(openjdk-17-jre-headless)
    command -v mvn >/dev/null || need+=(maven)
    [ ${#need[@]} -gt 0 ]
}

if missing; then
    sudo=; [ "$(id -u)" = 0 ] || sudo=sudo
    { $sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq "${need[@]}"; } >&2 || true
    missing && skip "${need[*]} could not be installed"
fi

jars=$(realpath -m "${CARGO_TARGET_DIR:-target}")/kafka
mkdir -p "$jars"
# A list of jars is complete when it is named after the pom that it came from.
mark=$jars/$(cksum <checks/kafka/pom.xml | tr ' ' -)
if [ ! -e "$mark" ]; then
    rm -f "$jars"/*
    if ! said=$(mvn -q -B -Dstyle.color=never -f checks/kafka/pom.xml dependency:copy-dependencies \
        -DoutputDirectory="$jars" -DincludeScope=runtime 2>&1); then
        skip "no jars: $(printf '%s' "$said" | head -n 1)"
    fi
    touch "$mark"
fi

AIOPRODUCER_KAFKA_JARS=$jars cargo test -p aioproducer-tests --test real_broker -- --ignored --test-threads=3
