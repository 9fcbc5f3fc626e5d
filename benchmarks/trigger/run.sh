#!/bin/sh
# Called by benchmarks/run.sh with PYTHON (of the pinned environment), BUILD (folder), CSV (to write) and LIBS.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
library=$BUILD/benchmark_trigger.so
python=$PYTHON

# hls4ml is pinned in the environment of the interop tests; without it its rows say so.
. "$root/benchmarks/environment.sh"
hls=
if make_environment interop "$root/tests/interop/requirements.txt"; then
    hls=$PYTHON
fi
xnnpack=
if echo '#include <xnnpack.h>' | ${CC:-cc} -E -o /dev/null - 2>/dev/null; then
    xnnpack="-DHAVE_XNNPACK -lXNNPACK -lpthreadpool"
else
    echo "benchmarks/trigger: no XNNPACK (Debian: libxnnpack-dev, libpthreadpool-dev); its rows say so" >&2
fi
set -- "$BUILD"/src/libpq_*.a
${CC:-cc} -std=gnu11 -O3 -march=native -Wall -Wextra -Werror -shared -fPIC -I"$root/src" "$here/../plan.c" \
    "$here/rivals.c" "$here/runtimes.c" -o "$library" -Wl,--no-undefined -Wl,--start-group "$@" -Wl,--end-group \
    $LIBS -lopenblas -ldnnl $xnnpack -lm -lpthread -ldl

exec "$python" "$here/compare.py" "$library" "$CSV" --pquant "$BUILD/src/cli/pquant" --hls-python "$hls"
