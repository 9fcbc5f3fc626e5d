#!/bin/sh
# Called by benchmarks/run.sh with PYTHON (of the pinned environment), BUILD (folder) and CSV (to write).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
exec env KERAS_BACKEND=torch "$PYTHON" "$here/compare.py" "$CSV" --pquant "$BUILD/src/cli/pquant"
