#!/bin/sh
# Called by benchmarks/run.sh with PYTHON (of the pinned environment), BUILD (folder) and CSV (to write).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
weights=${PQUANT_RESNET8:-${PQUANT_REAL_DATA:-$root/../shared/data}/models/mlperf_tiny_resnet8.h5}
library=$BUILD/benchmark_quantize.so

if [ ! -f "$weights" ]; then
    echo "benchmarks/quantize: no $weights; set PQUANT_RESNET8 to MLPerf Tiny's pretrainedResnet.h5" >&2
    exit 75
fi
set -- "$BUILD"/src/libpq_*.a
# The two sides of oneDNN live in one library, so that both have its instruction set capped.
${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -Werror -shared -fPIC -I"$root/src" \
    "$here/../plan.c" "$here/bare.c" -o "$library" -Wl,--no-undefined -Wl,--start-group "$@" -Wl,--end-group \
    $(pkg-config --cflags --libs openblas jansson nettle hdf5 yaml-0.1 libcurl zlib) -lhdf5_hl \
    -ldnnl -lm -lpthread -ldl

exec "$PYTHON" "$here/compare.py" "$library" "$CSV" --weights "$weights" --pquant "$BUILD/src/cli/pquant"
