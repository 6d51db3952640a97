#!/usr/bin/env bash
# One Apache Kafka broker (KRaft: broker and controller in one process) on loopback, without a container.
#
#   kafka.sh install | start | stop | status | pid | wipe
#
# BIOSCOPE_SERVICES      where everything lies    (~/.cache/bioscope-services)
# KAFKA_PORT             its clients' port        (29092); each port is a broker of its own
# KAFKA_CONTROLLER_PORT  its own                  (KAFKA_PORT + 1)
# KAFKA_HEAP             Java heap                (256m)
# KAFKA_PROPERTIES       more broker properties, separated by blanks: "a.b=1 c.d=2"
# KAFKA_WAIT_SECONDS     longest wait for start and for stop (60)
#
# `stop` keeps the data, `wipe` stops and deletes it. Needs java 17 or newer, and mvn for `install`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/server.sh"
server kafka Kafka "${KAFKA_PORT:-29092}" "${KAFKA_WAIT_SECONDS:-60}"

controller_port=${KAFKA_CONTROLLER_PORT:-$((port + 1))}
version=$(sed -n '/<artifactId>kafka_2.13</{n;s/.*<version>\(.*\)<.*/\1/p;}' "$here/pom.xml")
libs=$root/kafka-$version
properties=$run/server.properties

# Asks for the versions of its requests (ApiVersions, v0); one that serves answers with a length first.
answers() {
    local length
    length=$( { exec 3<> "/dev/tcp/127.0.0.1/$port" &&
        printf '\0\0\0\12\0\22\0\0\0\0\0\1\377\377' >&3 &&
        timeout 2 head -c 4 <&3 | od -An -tx1; } 2> /dev/null) && [[ $length ]]
}

serves() { grep -q 'Kafka Server started' "$log" && answers; }

install() {
    if [[ ! -d $libs ]]; then
        need mvn "install it, on Debian and Ubuntu with apt install maven."
        local fresh=$libs.$$
        mvn --batch-mode --strict-checksums --file "$here/pom.xml" \
            dependency:copy-dependencies -DoutputDirectory="$fresh" > "$root/kafka-install.log" 2>&1 ||
            { rm -rf "$fresh"; fail "Maven could not fetch Kafka: see $root/kafka-install.log."; }
        mv "$fresh" "$libs"
    fi
    echo "Kafka $version in $libs"
}

configure() {
    mkdir -p "$run"
    cat > "$properties" << END
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://$address,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://$address
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:$controller_port
log.dirs=$data
# One broker, so one copy of everything.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Topics are made by whoever needs them, with the partitions that they need; asking for one makes none.
auto.create.topics.enable=false
# Small and quick, for tests; in brackets what a production broker has.
# [50 each] fewer partitions to make for the first group, transaction and share group
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.num.partitions=1
# [3000, 6000] how long the first member of a group waits, how quickly a dead one may be noticed
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
# [9000, 2000] after kill -9 a broker cannot register again before its old session has ended
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# [128 MiB] half of the heap of a small broker
log.cleaner.dedupe.buffer.size=4194304
END
    tr ' ' '\n' <<< "${KAFKA_PROPERTIES:-}" | grep . >> "$properties" || true
}

start() {
    local pid
    if ! pid=$(alive); then
        need java "install version 17 or newer, on Debian and Ubuntu with apt install openjdk-17-jre-headless."
        install > /dev/null
        ! answers || fail "port $port is taken by a broker that this script did not start: choose a KAFKA_PORT."
        configure
        if [[ ! -f $data/meta.properties ]]; then
            java -Xmx128m -XX:TieredStopAtLevel=1 -cp "$libs/*" kafka.tools.StorageTool \
                format -t bioscope_kafka_test_00 -c "$properties" > "$run/format.log" 2>&1 ||
                fail "the data directory $data could not be formatted: $(head -2 "$run/format.log")"
        fi
        pid=$(launch java -Xmx"${KAFKA_HEAP:-512m}" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
            -Dorg.slf4j.simpleLogger.showDateTime=true \
            -Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS \
            -cp "$libs/*" kafka.Kafka "$properties")
    fi
    await_ready "$pid" serves
}

main "$@"
