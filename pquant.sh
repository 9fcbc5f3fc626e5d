#!/usr/bin/env bash
# pquant.sh: installs and builds what is missing, then is `pquant`.
#
#   ./pquant.sh run configs/quickstart.yaml     any verb of pquant, see ./pquant.sh help
#   ./pquant.sh test                            all tests
#   ./pquant.sh build                           only install and build
#
# Needs Debian 12 (apt; sudo only if not root). What is there is neither
# reinstalled nor rebuilt; without network everything still works once installed.
set -euo pipefail
cd_from=$PWD
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

run_packages=(gcc libc6-dev pkg-config meson ninja-build libhdf5-dev libopenblas-dev liblapacke-dev
  libyaml-dev libjansson-dev libdnnl-dev nettle-dev libsqlite3-dev libcurl4-openssl-dev zlib1g-dev gnuplot-nox
  fonts-dejavu-core ca-certificates)

# need PACKAGE…: installs those that are missing.
need() {
  local missing
  missing=$(comm -23 <(printf '%s\n' "$@" | sort -u) \
    <(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' 2>/dev/null | sed -n 's/^ii //p' | sort -u))
  [ -z "$missing" ] && return 0
  echo "pquant.sh: installing" $missing >&2
  local sudo=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || { echo "pquant.sh: error: not root, and no sudo; install as root:" $missing >&2; exit 75; }
    sudo=(sudo)
  fi
  "${sudo[@]}" apt-get update -qq >&2 || true # an old list may still do
  if ! "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    $missing >&2; then
    echo "pquant.sh: error: apt could not install" $missing >&2
    exit 75
  fi
}

# build FOLDER OPTION…: configures once, then brings the folder up to date, quietly unless it fails.
build() {
  local folder=$1 log
  shift
  log=$(mktemp)
  if ! {
    { [ -f "$folder/build.ninja" ] || /usr/bin/meson setup "$folder" "$root" "$@"; } &&
      if ninja -C "$folder" -n 2>/dev/null | grep -q 'no work to do'; then :; else
        echo "pquant.sh: building in ${folder#"$root"/}/" >&3
        ninja -C "$folder"
      fi
  } 3>&2 >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    echo "pquant.sh: error: the build failed; the reason stands above" >&2
    exit 75
  fi
  rm -f "$log"
}

stamp=$root/build/.packages # newer than this script: the packages are there
prepare() {
  if [ ! "$stamp" -nt "$root/pquant.sh" ]; then
    need "${run_packages[@]}"
  fi
  build "$root/build" -Dtests=false
  touch "$stamp"
}

case ${1:-} in
test)
  shift
  prepare
  # shellcheck source=tests/run.sh
  . "$root/tests/run.sh"
  ;;
build)
  prepare
  ;;
*)
  prepare
  [ "${1:-} ${2:-}" != "data generate" ] || need python3 python3-venv
  cd "$cd_from"
  exec "$root/build/src/cli/pquant" "$@"
  ;;
esac
