#!/bin/sh
# Compares pquant with its rivals: benchmarks/run.sh [NAME…]; all of them without a name.
#
# Each benchmark is a folder with requirements.txt (the pinned rivals, in the order they are to be
# installed) and run.sh, which gets PYTHON, BUILD, CSV and LIBS in its environment. Its virtual environment
# lies in the cache folder and is made anew only when the requirements change.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pquant
BUILD=$root/build

fail() {
    echo "benchmarks/run.sh: $*" >&2
    exit 2
}

make_environment() { # name
    environment=$cache/venv-$1
    wanted=$here/$1/requirements.txt
    if ! cmp -s "$wanted" "$environment/requirements.txt"; then
        echo "installing the rivals of $1 into $environment …" >&2
        rm -rf "$environment"
        python3 -m venv "$environment"
        # One at a time, in order: what comes first decides which variant the others find.
        while read -r package; do
            case $package in '' | '#'*) continue ;; esac
            "$environment/bin/pip" install --quiet --disable-pip-version-check "$package" ||
                fail "cannot install $package"
        done <"$wanted"
        cp "$wanted" "$environment/requirements.txt"
    fi
    PYTHON=$environment/bin/python
}

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
    make_environment "$name"
    CSV=$here/out/$name.csv
    export PYTHON BUILD CSV
    "$here/$name/run.sh"
    echo
    "$PYTHON" "$here/table.py" "$CSV"
done
