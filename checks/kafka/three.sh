#!/usr/bin/env bash
# A load on a Kafka cluster of three brokers, one of which is paused or killed: what that does to the others, second by second,
# and whether the log has what the producer said. `three.sh --help` lists scenarios and options.
#
#   checks/kafka/three.sh stop --fault 60 --check              one broker is paused for a minute
#   checks/kafka/three.sh kill --keys keyless --slots 10000    one is killed; records may go anywhere
#   checks/kafka/three.sh windows --timeout 3 --fault 10       brokers are paused and killed in turn
#   checks/kafka/three.sh stop --grow 9 --set topic.metadata.refresh.interval.ms=1000
#                                                              one is paused while the topic grows
#   checks/kafka/three.sh slow --rate 60000                    the wire to one becomes slow: its answers are late
set -euo pipefail
cd "$(dirname "$0")/../.."
case " $* " in
    *" embedded "* | *=embedded* | *" --help "*) ;;
    *) . checks/kafka/jars.sh ;;
esac

# In the place of this shell, so that what ends the script ends the program, and with it all brokers.
exec cargo run --release --quiet -p aioproducer-tests --bin brokers -- "$@"
