#!/usr/bin/env bash
# Installs what podpath starts or tests with: Debian packages where apt and root are at hand, and,
# from the pinned modules beside this file, what Debian lacks or has too old. Run: `make setup`.
# Programs go to .tools/bin, which wins over the PATH. What is there already is kept.
# `tools/install.sh critest` adds the CRI validation suite (`make critest`).
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.tools/bin
mkdir -p "$bin"

say() { printf '==> %s\n' "$*"; }

packages() { # what of the list is not installed
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
  done
}

install_packages() {
  local missing
  missing=$(packages containerd runc containernetworking-plugins iptables iproute2 busybox-static \
    docker-registry)
  [ -n "$missing" ] || return 0
  say "apt: $(echo $missing)"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # Services must not start: podpath starts its own containerd.
  printf '#!/bin/sh\nexit 101\n' > /tmp/podpath-policy-rc.d && chmod +x /tmp/podpath-policy-rc.d
  local policy=/usr/sbin/policy-rc.d
  [ -e "$policy" ] || { cp /tmp/podpath-policy-rc.d "$policy"; trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

build() { # name, module folder, package, more arguments of go
  local name=$1 module=$2 package=$3
  shift 3
  [ -x "$bin/$name" ] && return 0
  if ! command -v go >/dev/null; then
    echo "tools/install.sh: Go >= 1.23 is needed to build $name; install it and run make setup again" >&2
    return 1
  fi
  say "go build $name (the first time takes a minute or two)"
  # shellcheck disable=SC2086
  (cd "tools/$module" &&
    CGO_ENABLED=0 GOSUMDB=off GOFLAGS=-mod=mod go ${go_verb:-build} -buildvcs=false "$@" -o "$bin/$name" "$package")
}

at_least() { # installed version, wanted version
  [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -1)" = "$2" ]
}

have_etcd() {
  command -v etcd >/dev/null || return 1
  at_least "$(etcd --version | sed -n 's/^etcd Version: //p')" 3.5.13
}

have_kubectl() {
  command -v kubectl >/dev/null || return 1
  at_least "$(kubectl version --client 2>/dev/null | sed -n 's/^Client Version: v//p')" 1.28
}

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  install_packages
else
  say "not root on Debian: no packages installed; containers need containerd, runc and CNI plugins"
fi
have_etcd || build etcd etcd go.etcd.io/etcd/server/v3 -ldflags '-s -w'
have_kubectl || build kubectl kubectl k8s.io/kubernetes/cmd/kubectl \
  -ldflags '-s -w -X k8s.io/component-base/version.gitVersion=v1.32.4 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=32'
if [ "$(id -u)" = 0 ]; then
  command -v nerdctl >/dev/null || build nerdctl nerdctl github.com/containerd/nerdctl/v2/cmd/nerdctl -ldflags '-s -w'
  command -v crictl >/dev/null || build crictl cri-tools sigs.k8s.io/cri-tools/cmd/crictl -ldflags '-s -w'
fi
# critest is a Go test compiled to a program.
[ "${1:-}" != critest ] || go_verb='test -c' build critest cri-tools sigs.k8s.io/cri-tools/cmd/critest -ldflags '-s -w'
say "ready"
