#!/bin/sh
# Called by benchmarks/run.sh with PYTHON (of the pinned environment), BUILD (folder) and CSV (to write).
set -eu
here=$(cd "$(dirname "$0")" && pwd)

exec "$PYTHON" "$here/growth.py" --pquant "$BUILD/src/cli/pquant" --csv "$CSV"
