#!/usr/bin/env bash
# Runs a command with a container engine: deploy/with-engine.sh COMMAND...
# PODPATH_ENGINE names it (docker, podman or nerdctl); empty: the first that answers. The command
# sees the name in PODPATH_ENGINE. Where docker does not answer, on Debian as root, docker.io is
# installed and a dockerd of our own is started, with its own socket and data; afterwards it is
# stopped, and what it put into the kernel's network is taken back. 77: no engine can be had.
set -euo pipefail
wanted=${PODPATH_ENGINE:-}
for engine in ${wanted:-docker podman nerdctl}; do
  if command -v "$engine" >/dev/null && timeout 20 "$engine" ps -q >/dev/null 2>&1; then
    export PODPATH_ENGINE=$engine
    exec "$@"
  fi
done
give_up() {
  echo "with-engine: $*" >&2
  exit 77
}
case $wanted in '' | docker) ;; *) give_up "$wanted does not answer" ;; esac
[ "$(id -u)" = 0 ] || give_up "no container engine answers, and without root none is started"

missing=()
command -v dockerd >/dev/null || missing+=(docker.io)
command -v debootstrap >/dev/null || missing+=(debootstrap)
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || give_up "no dockerd, and no apt-get to install it"
  echo "==> apt: ${missing[*]}" >&2
  policy=/usr/sbin/policy-rc.d # services must not start
  made=
  [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy; chmod +x $policy; made=1; }
  apt-get update -qq || true
  installed=1
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    installed=
  [ -z "$made" ] || rm -f $policy
  [ -n "$installed" ] || give_up "docker.io cannot be installed"
fi

data=${PODPATH_CACHE:-/var/cache/podpath}/docker # images stay for the next time
run=$(mktemp -d /tmp/podpath-docker.XXXXXX)
mkdir -p "$data"

rules() { iptables -w 5 -S && iptables -w 5 -t nat -S | sed 's/^/-t nat /'; }
others_docker=$(ip link show docker0 2>/dev/null || true)
forward=$(iptables -w 5 -S FORWARD | head -n1)
take_back_network() {
  [ -z "$others_docker" ] || return 0
  ip link delete docker0 2>/dev/null || true
  # References first, then the chains. FORWARD's policy is DROP since dockerd ran.
  rules | sed -n '/-A .*\(DOCKER\|docker0\)/s/-A /-D /p' | xargs -rL1 iptables -w 5
  rules | sed -n '/-N DOCKER/s/-N /-X /p' | xargs -rL1 iptables -w 5
  # shellcheck disable=SC2086
  iptables -w 5 $forward
}

dockerd --data-root "$data" --exec-root "$run/exec" -H "unix://$run/docker.sock" \
  --pidfile "$run/pid" >"$run/log" 2>&1 &
dockerd=$!
stop() {
  kill "$dockerd" 2>/dev/null || true
  wait "$dockerd" 2>/dev/null || true
  take_back_network
  rm -rf "$run"
}
trap stop EXIT
export DOCKER_HOST="unix://$run/docker.sock" PODPATH_ENGINE=docker
until timeout 5 docker ps -q >/dev/null 2>&1; do
  kill -0 "$dockerd" 2>/dev/null || { tail -3 "$run/log" >&2; give_up "dockerd does not start"; }
  sleep 0.2
done
"$@"
