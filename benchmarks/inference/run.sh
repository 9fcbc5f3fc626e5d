#!/bin/sh
# Called by benchmarks/run.sh with PYTHON (of the pinned environment), BUILD (folder) and CSV (to write).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
library=$BUILD/benchmark_inference.so

set -- "$BUILD"/src/libpq_*.a
${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -Werror -shared -fPIC -I"$root/src" \
    "$here/../plan.c" -o "$library" -Wl,--no-undefined -Wl,--start-group "$@" -Wl,--end-group $LIBS

exec "$PYTHON" "$here/compare.py" "$library" "$CSV" \
    --weights "${PQUANT_RESNET8:-${PQUANT_REAL_DATA:-$root/../shared/data}/models/mlperf_tiny_resnet8.h5}"
