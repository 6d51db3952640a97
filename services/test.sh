#!/usr/bin/env bash
# The tests of events, storage and faults with a real Kafka and a real MinIO: `make test-services`. What it starts it
# ends; what runs already (`make services`) is used and left running. Takes what pytest takes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tests=(
    tests/test_histories.py tests/test_leases.py tests/test_lifecycle.py tests/test_live.py tests/test_results.py
    tests/test_runs.py tests/test_state_machine.py                                      # runs
    tests/test_accounts.py tests/test_datasets.py tests/test_paging.py tests/test_queries.py
    tests/test_stores.py tests/test_s3.py                                               # storage
    tests/test_faults.py tests/test_large_runs.py tests/test_lock_order.py tests/test_poison.py
    tests/test_worker.py tests/test_worker_batches.py                                   # workers
    tests/test_worker_pictures.py tests/test_worker_process.py
    tests/test_services.py                                                              # faults
)

started=()
end() {
    local each
    for each in "${started[@]}"; do "services/$each.sh" wipe > /dev/null 2>&1 || true; done
}
trap end EXIT

for each in kafka minio; do
    if ! "services/$each.sh" status > /dev/null; then
        started+=("$each")
        "services/$each.sh" start > /dev/null
    fi
done

installed=$(services/minio.sh install)
export BIOSCOPE_TEST_MINIO=${installed#MinIO * in }
export BIOSCOPE_TEST_KAFKA=127.0.0.1:${KAFKA_PORT:-29092}
keys=${MINIO_ROOT_USER:-bioscope}:${MINIO_ROOT_PASSWORD:-bioscope-secret}
export BIOSCOPE_TEST_S3=http://$keys@127.0.0.1:${MINIO_PORT:-29000}
export BIOSCOPE_TEST_HISTORIES=${BIOSCOPE_TEST_HISTORIES:-2000}
# One after the other: several of them freeze the broker that all of them use.
.venv/bin/python -m pytest "$@" "${tests[@]}"
