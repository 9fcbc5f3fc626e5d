#!/usr/bin/env bash
# The library installs, and the example compiles against it and runs: shared and static.
. "$(dirname "$0")/common.sh"
DESTDIR=$work/dest /usr/bin/meson install -C "$root/build-gcc" --no-rebuild >"$work/log" 2>&1 ||
  fault "install failed: $(tail -3 "$work/log")"
pc=$(find "$work/dest" -name pquant.pc)
[ -n "$pc" ] || fault "no pquant.pc"
export PKG_CONFIG_PATH=$(dirname "$pc") PKG_CONFIG_SYSROOT_DIR=$work/dest
flags=$(pkg-config --cflags --libs pquant) || fault "pkg-config"
lib=$(dirname "$(find "$work/dest" -name libpquant.so)")
args=(datasets/models/jsc-mlp.weights.h5 datasets/models/jsc-mlp.json datasets/jets-hlf.h5:test
  datasets/jets-hlf.h5:val "$work/small.h5")
cc -Wall -Wextra -Werror examples/compress.c $flags -o "$work/shared" || fault "shared: does not compile"
LD_LIBRARY_PATH=$lib expect 0 "x smaller" "$work/shared" "${args[@]}"
LD_LIBRARY_PATH=$lib expect 1 "error: " "$work/shared" nothing.h5 "${args[@]:1}"
cc -Wall -Wextra -Werror examples/build.c $flags -lm -o "$work/build" || fault "build.c: does not compile"
LD_LIBRARY_PATH=$lib expect 0 "stored bytes 648 -> " "$work/build"
cc -Wall -Wextra -Werror examples/btag.c $flags -o "$work/btag" || fault "btag.c: does not compile"
LD_LIBRARY_PATH=$lib expect 0 "btag.c.0.1.efficiency 0" "$work/btag" datasets/models/btag-mlp.h5 \
  datasets/jets-btag.h5:test datasets/jets-btag.h5:val
LD_LIBRARY_PATH=$lib expect 1 "error: " "$work/btag" nothing.h5 datasets/jets-btag.h5:test datasets/jets-btag.h5:val
[ "$(wc -l <examples/compress.c)" -lt 60 ] || fault "the example has 60 lines or more"
cc examples/compress.c $(pkg-config --cflags pquant) "$lib/libpquant.a" \
  $(unset PKG_CONFIG_SYSROOT_DIR; pkg-config --libs $(pkg-config --print-requires-private pquant)) \
  $(sed -n 's/^Libs.private: //p' "$pc") \
  -o "$work/static" ||
  fault "static: does not compile"
expect 0 "x smaller" "$work/static" "${args[@]}"
# Nothing but the public names is visible.
extra=$(nm -D --defined-only "$lib/libpquant.so" | awk '$2 ~ /[TDBR]/ {print $3}' | grep -v '^pquant_' || true)
[ -z "$extra" ] || fault "visible beside the public names: $extra"
expect 0 '"kind": "dense"' "$pquant" model info "$work/small.h5" --format json
done_testing
