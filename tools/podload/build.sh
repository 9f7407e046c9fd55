#!/usr/bin/env bash
# Builds podload, the load client of `make bench`, from the sources beside this file into .tools/bin.
# It is no part of `make setup`: nothing but the benchmark needs it. Go builds only what changed.
set -euo pipefail
cd "$(dirname "$0")"
bin=$(cd ../.. && pwd)/.tools/bin
if ! command -v go >/dev/null; then
  echo "tools/podload/build.sh: Go >= 1.23 is needed to build podload; install it and run make bench again" >&2
  exit 1
fi
mkdir -p "$bin"
echo "==> go build podload (the first time takes a minute or two)"
CGO_ENABLED=0 GOSUMDB=off go build -buildvcs=false -ldflags '-s -w' -o "$bin/podload" .
