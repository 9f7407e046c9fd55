#!/usr/bin/env bash
# Runs a command with a container engine: deploy/with-engine.sh COMMAND...
# One that answers is used as it is. Otherwise, on Debian as root, docker.io is installed and a
# dockerd of our own is started, with its own socket and data, and stopped afterwards.
# 77: no engine can be had (what test runners read as "skipped").
set -euo pipefail
for engine in docker podman nerdctl; do
  if command -v "$engine" >/dev/null && timeout 20 "$engine" ps -q >/dev/null 2>&1; then
    exec "$@"
  fi
done
[ "$(id -u)" = 0 ] || { echo "no container engine answers, and without root none is started" >&2; exit 77; }

missing=()
command -v dockerd >/dev/null || missing+=(docker.io)
command -v debootstrap >/dev/null || missing+=(debootstrap)
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || { echo "no dockerd, and no apt-get to install it" >&2; exit 77; }
  echo "==> apt: ${missing[*]}" >&2
  policy=/usr/sbin/policy-rc.d # services must not start
  made=
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; made=1; }
  apt-get update -qq || true
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    { [ -z "$made" ] || rm -f $policy; echo "docker.io cannot be installed" >&2; exit 77; }
  [ -z "$made" ] || rm -f $policy
fi

data=${PODPATH_CACHE:-/var/cache/podpath}/docker # images stay for the next time
run=$(mktemp -d /tmp/podpath-docker.XXXXXX)
mkdir -p "$data"
dockerd --data-root "$data" --exec-root "$run/exec" -H "unix://$run/docker.sock" \
  --pidfile "$run/pid" >"$run/log" 2>&1 &
dockerd=$!
stop() {
  kill "$dockerd" 2>/dev/null || true
  wait "$dockerd" 2>/dev/null || true
  rm -rf "$run"
}
trap stop EXIT
export DOCKER_HOST="unix://$run/docker.sock"
until timeout 5 docker ps -q >/dev/null 2>&1; do
  kill -0 "$dockerd" 2>/dev/null || { tail -3 "$run/log" >&2; echo "dockerd does not start" >&2; exit 77; }
  sleep 0.2
done
"$@"
