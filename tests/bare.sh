#!/usr/bin/env bash
# The README's two commands in a bare Debian 12, where only what their package lists name is there. Not part of
# the test run: for the hand before a release, as root, where debootstrap and a mirror are at hand:
#
#   tests/bare.sh                     the first command
#   tests/bare.sh cheap               and of the second the steps that take no more than minutes: format, layering,
#                                     the messages of the command line, and `cli generate`, which skips itself
#                                     without a network to fetch from
#   tests/bare.sh test [PATTERN]      and the second, whole or only the steps that match
#
# FOLDER=… keeps the root there; MIRROR=… names another mirror than debootstrap's own.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ "$(id -u)" = 0 ] || { echo "tests/bare.sh: error: needs root for chroot" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "tests/bare.sh: error: debootstrap is missing (apt-get install debootstrap)" >&2; exit 2; }
folder=${FOLDER:-$(mktemp -d)}
release() {
  umount "$folder/dev" "$folder/proc" 2>/dev/null || true
  [ -n "${FOLDER:-}" ] || rm -rf --one-file-system "$folder"
}
trap release EXIT
[ -x "$folder/bin/bash" ] || debootstrap --variant=minbase bookworm "$folder" ${MIRROR:+"$MIRROR"} >"$folder.log" 2>&1 ||
  { tail -5 "$folder.log" >&2; exit 75; }
cp /etc/resolv.conf "$folder/etc/resolv.conf"
mount --bind /dev "$folder/dev"
mount -t proc proc "$folder/proc"
rm -rf "$folder/pquant"
git clone -q --no-hardlinks "$repository" "$folder/pquant"
inside() { # NAME COMMAND…
  local name=$1 start=$SECONDS
  shift
  chroot "$folder" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb bash -c "cd /pquant && $*" ||
    { echo "FAIL $name, exit code $?, $((SECONDS - start)) s"; exit 1; }
  echo "ok   $name, $((SECONDS - start)) s"
}
inside "install and build" ./pquant.sh build
inside "first command" ./pquant.sh run configs/quickstart.yaml -q
case ${1:-} in
cheap)
  for pattern in format layering "cli usage" "cli generate"; do
    inside "second command, $pattern" ./pquant.sh test "'$pattern'"
  done
  ;;
test) inside "second command" ./pquant.sh test "'${2:-}'" ;;
esac
