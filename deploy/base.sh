#!/usr/bin/env bash
# Makes the base image's root file system without a registry: deploy/base.sh OUT.tar
# The same packages as Dockerfile.base. Needs root and debootstrap.
set -euo pipefail
out=$1
mirror=${PODPATH_DEBIAN_MIRROR:-http://deb.debian.org/debian}
packages=$(sed -n '/^# packages:/,/^# end/p' "$(dirname "$0")/Dockerfile.base" |
  sed -n 's/^ *\([a-z0-9-]\+\) *\\\{0,1\}$/\1/p' | paste -sd, -)
command -v debootstrap >/dev/null || { echo "deploy/base.sh: apt-get install debootstrap" >&2; exit 1; }
mkdir -p "$(dirname "$out")"
root=$(mktemp -d "$out.root.XXXXXX")
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include="$packages" bookworm "$root" "$mirror" >"$out.log" 2>&1 ||
  { tail -5 "$out.log" >&2; exit 1; }
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale} \
  "$root"/var/log/*.log "$root"/dev/*
tar -C "$root" -cf "$out.tmp" .
mv "$out.tmp" "$out"
rm -f "$out.log"
