#!/bin/sh
# Compares pquant with its rivals: benchmarks/run.sh [NAME…]; all of them without a name.
#
# Each benchmark is a folder with requirements.txt (the pinned rivals, in the order they are to be
# installed) and run.sh, which gets PYTHON, BUILD, CSV and LIBS in its environment.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
BUILD=$root/build

fail() {
    echo "benchmarks/run.sh: $*" >&2
    exit 2
}

. "$here/environment.sh"

if [ $# -eq 0 ]; then
    for folder in "$here"/*/run.sh; do
        set -- "$@" "$(basename "$(dirname "$folder")")"
    done
fi
for name in "$@"; do
    [ -x "$here/$name/run.sh" ] || fail "no benchmark '$name'; there are: $(cd "$here" && ls -d */ | grep -v '^out/' | tr -d '/\n' | tr '/' ' ')"
done
"$root/pquant.sh" build
# What the build's static libraries need, from its own .pc file.
pc=$BUILD/meson-private/pquant.pc
LIBS="$(pkg-config --cflags --libs $(sed -n 's/^Requires.private: //p' "$pc" | tr -d ,)) $(sed -n 's/^Libs.private: //p' "$pc")"
export LIBS
mkdir -p "$here/out"
for name in "$@"; do
    make_environment "$name" "$here/$name/requirements.txt" || fail "no environment for $name"
    CSV=$here/out/$name.csv
    export PYTHON BUILD CSV
    "$here/$name/run.sh"
    echo
    "$PYTHON" "$here/table.py" "$CSV"
done
