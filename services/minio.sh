#!/usr/bin/env bash
# One MinIO server on one directory of this machine, on loopback, without a container.
#
#   minio.sh install | start | stop | status | pid | wipe
#
# BIOSCOPE_SERVICES    where everything lies    (~/.cache/bioscope-services)
# MINIO_PORT           the S3 API               (29000); each port is a server of its own
# MINIO_ROOT_USER, MINIO_ROOT_PASSWORD          (bioscope, bioscope-secret)
# MINIO_WAIT_SECONDS   longest wait for start and for stop (60)
# Every other MINIO_* variable reaches the server as it is.
#
# `stop` keeps the data, `wipe` stops and deletes it. `install` builds it: that takes minutes, and Go.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/server.sh"
server minio MinIO "${MINIO_PORT:-29000}" "${MINIO_WAIT_SECONDS:-60}"

version=v0.0.0-20260212201848-7aac2a2c5b7c   # the last one: the project was archived
program=$root/minio-$version/minio

# 200 only when it can write: its "live" and "ready" say yes before that.
answers() {
    local line
    line=$( { exec 3<> "/dev/tcp/127.0.0.1/$port" &&
        printf 'GET /minio/health/cluster HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$address" >&3 &&
        timeout 2 head -n 1 <&3; } 2> /dev/null) && [[ $line == *" 200 "* ]]
}

build() {
    local build=$1
    # Caches of its own: 1.4 GB that nobody needs afterwards.
    export GOPATH=$build GOMODCACHE=$build/mod GOCACHE=$build/cache GOBIN=$build/bin GOFLAGS=-modcacherw
    export CGO_ENABLED=0 GOTOOLCHAIN=auto
    cd "$build"
    nice -n 10 go install -trimpath -ldflags '-s -w' "github.com/minio/minio@$version"
}

install() {
    if [[ ! -x $program ]]; then
        need go "install Go 1.21 or newer; it fetches the version that MinIO needs by itself."
        (( $(go env GOVERSION | sed -n 's/^go1\.\([0-9]*\).*/\1/p') >= 21 )) ||
            fail "Go $(go env GOVERSION) is too old: install 1.21 or newer."
        echo "Building MinIO, once; this takes minutes ..." >&2
        local build=$root/minio-build
        rm -rf "$build"
        mkdir -p "$build"
        (build "$build") > "$root/minio-build.log" 2>&1 ||
            { rm -rf "$build"; fail "the build failed: see $root/minio-build.log."; }
        mkdir -p "${program%/*}"
        mv "$build/bin/minio" "$program"
        rm -rf "$build"
    fi
    echo "MinIO $version in $program"
}

start() {
    local pid
    if ! pid=$(alive); then
        install > /dev/null
        ! answers || fail "port $port is taken by a server that this script did not start: choose a MINIO_PORT."
        mkdir -p "$data"
        pid=$(MINIO_ROOT_USER=${MINIO_ROOT_USER:-bioscope} \
            MINIO_ROOT_PASSWORD=${MINIO_ROOT_PASSWORD:-bioscope-secret} \
            MINIO_BROWSER=${MINIO_BROWSER:-off} MINIO_UPDATE=off \
            launch "$program" server "$data" --address "$address")
    fi
    await_ready "$pid" answers
}

main "$@"
