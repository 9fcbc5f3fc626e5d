#!/bin/sh
# Called by benchmarks/run.sh with PYTHON (of the pinned environment), BUILD (folder) and CSV (to write).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
library=$BUILD/benchmark_decompose.so

dnnl= # where this build has it
if echo 'int main(void){return 0;}' | ${CC:-cc} -x c - -ldnnl -o /dev/null 2>/dev/null; then
    dnnl=-ldnnl
fi
set -- "$BUILD"/src/libpq_*.a
${CC:-cc} -std=gnu11 -O3 -Wall -Wextra -Werror -shared -fPIC -I"$root/src" \
    "$here/ours.c" -o "$library" -Wl,--no-undefined -Wl,--start-group "$@" -Wl,--end-group \
    $(pkg-config --cflags --libs openblas lapacke jansson nettle hdf5 yaml-0.1 libcurl zlib) \
    $dnnl -lm -lpthread

exec "$PYTHON" "$here/compare.py" "$library" "$CSV"
