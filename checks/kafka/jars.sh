# Sourced from the workspace's folder: fetches Kafka into the build folder, and names it in AIOPRODUCER_KAFKA_JARS. Ends the
# script that sources it where that is impossible.

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

export AIOPRODUCER_KAFKA_JARS=$jars
