#!/usr/bin/env bash
# curl: the journey from a shell. Needs curl and jq, and LOGIN and PASSWORD; URL if it is not this machine.
set -euo pipefail
umask 077
: "${LOGIN:?Set LOGIN and PASSWORD.}" "${PASSWORD:?Set LOGIN and PASSWORD.}"
url=${URL:-http://127.0.0.1:8000/graphql}
pictures=24 page=10
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

say() { echo "curl: $*"; }
fail() { echo "curl: $*" >&2; exit 1; }

# snippet
tokens='__typename ... on AuthTokens { accessToken refreshToken } ... on Problem { message }'

# Asks MUTATION with the input that comes in, and keeps the tokens of the answer. Neither they nor the password are ever
# arguments of a program: those can be read by everybody on the machine.
accept() {
  local answer
  answer=$(jq --arg query "$1" '{$query, variables: {input: .}}' |
    curl -sS "$url" -H 'content-type: application/json' -d @- | jq '.data | to_entries[0].value')
  refresh=$(jq -er .refreshToken <<< "$answer") || fail "$(jq -r .message <<< "$answer")"
  jq -r '"authorization: Bearer " + .accessToken' <<< "$answer" > "$folder/header"
}
sign_in() {
  accept "mutation (\$input: LoginInput!) { login(input: \$input) { $tokens } }" < <(
    jq -n '{login: env.LOGIN, password: env.PASSWORD}')
}
renew() {
  accept "mutation (\$input: RefreshInput) { refreshSession(input: \$input) { $tokens } }" < <(
    jq -R '{refreshToken: .}' <<< "$refresh")
}

# Sends a request; one whose token was refused for its age is sent again with a new one. Leaves what came in $answer.
send() {
  answer=$(curl -sS "$url" -H "@$folder/header" "$@")
  if jq -e 'any(.errors[]?; .extensions.reason == "EXPIRED")' <<< "$answer" > /dev/null; then
    renew
    answer=$(curl -sS "$url" -H "@$folder/header" "$@")
  fi
}

# What the one root field of an operation answers, in $answer: ask QUERY VARIABLES
ask() {
  send -H 'content-type: application/json' \
    -d "$(jq -n --arg query "$1" --argjson variables "$2" '{$query, $variables}')"
  answer=$(jq -e '.data | to_entries[0].value' <<< "$answer") || fail "$answer"
}

# Files go as they are, one part each: upload DATASET FILE...
upload() {
  local dataset=$1 query parts=() number=0
  shift
  query='mutation ($dataset: ID!, $files: [Upload!]!) { uploadImages(input: {datasetId: $dataset, files: $files}) {
    ... on UploadReport { files { __typename } } ... on Problem { message } } }'
  for file; do parts+=(-F "$number=@$file"); number=$((number + 1)); done
  send -H 'graphql-require-preflight: 1' \
    -F "operations=$(jq -n --arg query "$query" --arg dataset "$dataset" --argjson count "$number" \
      '{$query, variables: {$dataset, files: [range($count) | null]}}')" \
    -F "map=$(jq -n --argjson count "$number" '[range($count) | {(tostring): ["variables.files.\(.)"]}] | add')" \
    "${parts[@]}"
}

# The updates of a run, as server-sent events, after a cursor: watch RUN CURSOR
watch() {
  curl -sN "$url" -H "@$folder/header" -H 'content-type: application/json' \
    -H 'accept: text/event-stream' ${2:+-H "last-event-id: $2"} \
    -d "$(jq -n --arg id "$1" '{variables: {$id}, query: "subscription ($id: ID!) { classificationUpdated(id: $id) {
      cursor classification { status } items { id status } } }"}')"
}
# end

# Small BMPs of noise. Each is another one: a dataset takes the same bytes once.
bitmap() {
  printf 'BM\x36\x30\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x40\0\0\0\x40\0\0\0\x01\0\x18\0'
  head -c 24 /dev/zero
  head -c $((64 * 64 * 3)) /dev/urandom
}

sign_in
renew
say 'signed in, and renewed the session'

ask 'mutation ($name: String!) { createDataset(input: {name: $name}) { ... on Dataset { id } ... on Problem { message } } }' \
  "$(jq -n --arg name "curl $(date -Ins)" '{$name}')"
dataset=$(jq -er .id <<< "$answer") || fail "$answer"

for ((number = 0; number < pictures; number++)); do bitmap > "$folder/smear-$number.bmp"; done
upload "$dataset" "$folder"/*.bmp
uploaded=$(jq '[.data.uploadImages.files[]? | select(.__typename == "UploadedImage")] | length' <<< "$answer")
[ "$uploaded" = "$pictures" ] || fail "$answer"
say "uploaded $uploaded pictures"

ask 'mutation ($id: ID!) { runClassification(input: {target: {datasetId: $id}}) { ... on Classification { id } ... on Problem { message } } }' \
  "$(jq -n --arg id "$dataset" '{$id}')"
run=$(jq -er .id <<< "$answer") || fail "$answer"

# The first connection is cut after its first update; each later one goes on after the newest cursor.
cursor='' status='' connections=0
while [[ ! $status =~ ^(COMPLETED|PARTIAL|FAILED|CANCELLED)$ ]]; do
  connections=$((connections + 1))
  ((connections == 1)) || renew # a stream also ends with its token
  ((connections < 5)) || fail 'The connection broke five times.'
  while IFS= read -r line; do
    case $line in
      id:*) cursor=${line#id:}; cursor=${cursor# } ;;
      data:*classificationUpdated*)
        update=$(jq '.data.classificationUpdated' <<< "${line#data:}")
        status=$(jq -r .classification.status <<< "$update")
        jq -r '.items[] | select(.status | IN("SUCCEEDED", "FAILED", "CANCELLED")) | .id' <<< "$update" >> "$folder/told"
        [ "$connections" = 1 ] && break ;;
    esac
  done < <(watch "$run" "$cursor")
done
told=$(wc -l < "$folder/told") different=$(sort -u "$folder/told" | wc -l)
say "watched $different of $pictures pictures to the end, over $connections connections"
[ "$told $different $connections" = "$pictures $pictures 2" ] || fail 'Each picture is told once, over two connections.'

after=null names=0
while :; do
  ask 'query ($dataset: ID!, $first: Int!, $after: String) { images(filter: {datasetId: $dataset}, first: $first, after: $after) {
    nodes { filename latestResult { label confidence } } pageInfo { hasNextPage endCursor } } }' \
    "$(jq -n --arg dataset "$dataset" --argjson first "$page" --argjson after "$after" '{$dataset, $first, $after}')"
  names=$((names + $(jq '.nodes | length' <<< "$answer")))
  [ "$(jq .pageInfo.hasNextPage <<< "$answer")" = true ] || break
  after=$(jq .pageInfo.endCursor <<< "$answer")
done
[ "$names" = "$pictures" ] || fail "There were $names pictures on all pages."
say "read $names pictures in pages of $page"
say 'done'
