#!/usr/bin/env bash
# Generated C of the shipped models, compiled without pquant by every compiler here, and what is refused.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wcast-align -Wcast-qual -Werror"
for model in jsc-mlp btag-mlp dips; do
  name=${model//-/_}
  expect 0 "blocks of zeros left out" "$pquant" codegen "datasets/models/$model.h5" -o "$work/$name" --name "$name"
  for cc in gcc clang clang-14; do
    command -v "$cc" >/dev/null || continue
    (cd "$work/$name" && "$cc" -O2 $warnings "$name.c" "${name}_test.c" -o test -lm) ||
      fault "$cc has something to say about $model"
    expect 0 "$name (" "$work/$name/test"
  done
done

# From C++, as an experiment's framework calls it.
if command -v g++ >/dev/null; then
  cat >"$work/call.cpp" <<'END'
#include "jsc_mlp.h"
int main() {
  float x[jsc_mlp_INPUTS] = {}, y[jsc_mlp_OUTPUTS], sum = 0;
  jsc_mlp_run1(x, y);
  for (float p : y) sum += p;
  return jsc_mlp_info().n_classes == jsc_mlp_OUTPUTS && sum > 0.999f && sum < 1.001f ? 0 : 1;
}
END
  (cd "$work/jsc_mlp" && gcc -O2 -c jsc_mlp.c && g++ -Wall -Wextra -Werror -I. ../call.cpp jsc_mlp.o -o call -lm && ./call) ||
    fault "a call from C++ fails"
fi

model=datasets/models/jsc-mlp.h5
expect 0 "" "$pquant" codegen "$model" -o "$work/portable" --isa portable -q
grep -q avx "$work/portable/model.c" && fault "--isa portable left a variant for AVX"

expect 2 "-o DIR is missing" "$pquant" codegen "$model"
expect 2 "'my net' is no name for C" "$pquant" codegen "$model" -o "$work/x" --name "my net"
expect 2 "C has a header math.h" "$pquant" codegen "$model" -o "$work/x" --name math
expect 2 "'sse' is none of portable, avx2, avxvnni, avx512, amx" "$pquant" codegen "$model" -o "$work/x" --isa sse
expect 2 "missing.h5" "$pquant" codegen "$work/missing.h5" -o "$work/x"

# Where one file finds no room, all stay as they were.
expect 0 "" "$pquant" codegen "$model" -o "$work/room" --name net --isa portable -q
cp -r "$work/room" "$work/before"
for room in 1 40 100; do # kB: no file, NAME.h, all but NAME.c
  (ulimit -f $room && trap '' XFSZ && "$pquant" codegen "$model" -o "$work/room" --name net -q) >"$work/log" 2>&1 && fault "room for $room kB was enough"
  grep -q "^pquant: error: .*net\..*File too large" "$work/log" || fault "no reason: $(cat "$work/log")"
  diff -r "$work/room" "$work/before" || fault "$room kB of room left a part"
done

# In whole numbers: int8 with its softmax, and the decision alone, which must be the engine's bit by bit.
"$pquant" compress "$model" -o "$work/int8.h5" --method quantize --calib datasets/jets-hlf.h5:val -q || fault "no int8"
"$pquant" compress "$model" -o "$work/fixed.h5" --method structured_prune:target_sparsity=0.9 \
  --method quantize:bits=6,format=fixed --calib datasets/jets-hlf.h5:val -q || fault "no fixed point"
for kind in int8 fixed; do
  for isa in portable avx2 avxvnni avx512 amx; do
    expect 0 "" "$pquant" codegen "$work/$kind.h5" -o "$work/$kind$isa" --name net --isa "$isa" --logits -q
    for cc in gcc clang; do
      command -v "$cc" >/dev/null || continue
      (cd "$work/$kind$isa" && "$cc" -O2 $warnings net.c net_test.c -o test -lm) ||
        fault "$cc has something to say about $kind, $isa"
      expect 0 "largest difference 0.0e+00" "$work/$kind$isa/test"
    done
  done
done
expect 0 "" "$pquant" codegen "$work/int8.h5" -o "$work/softmax" --name net -q
(cd "$work/softmax" && gcc -O2 $warnings net.c net_test.c -o test -lm && ./test >/dev/null) || fault "softmax"
# HLS C++: of fixed point alone, and only where nothing else lies; compiled in tests/interop/hls.py.
expect 0 "hls/jets.cpp, jets.h, jets_test.cpp" "$pquant" codegen "$work/fixed.h5" -o "$work/hls" --name jets --target hls --logits
grep -q 'jets_mean' "$work/hls/jets.h" || fault "the scaler is not in the header"
for name in double class main std int xor ap_fixed AP_TRN; do
  expect 2 "'$name' cannot be the name: C++ has a meaning" "$pquant" codegen "$work/fixed.h5" -o "$work/x" --name "$name" --target hls --logits
done
for name in v1_t v12_sum t1k t1k_t; do
  expect 2 "'$name' cannot be the name: a table of the code" "$pquant" codegen "$work/fixed.h5" -o "$work/x" --name "$name" --target hls --logits
done
for name in v2 t1 vertex t1kk; do
  expect 0 "$name.cpp" "$pquant" codegen "$work/fixed.h5" -o "$work/names" --name "$name" --target hls --logits
done
# the test's own names, with stand-ins for the types
mkdir "$work/types"
cat >"$work/types/ap_fixed.h" <<'END'
enum { AP_TRN, AP_RND_CONV, AP_WRAP, AP_SAT };
template <int, int, int, int> struct ap_fixed { ap_fixed(double = 0) {} double to_double() const { return 0; } };
template <int w, int i, int q, int o> struct ap_ufixed : ap_fixed<w, i, q, o> { ap_ufixed(double = 0) {} };
END
for name in x y e in due wrong net; do
  expect 0 "" "$pquant" codegen "$work/fixed.h5" -o "$work/hls_$name" --name "$name" --target hls --logits -q
  expect 0 "" g++ -fsyntax-only -I"$work/types" "$work/hls_$name/${name}_test.cpp"
done
expect 2 "scheme integer with 1 scales; HLS C++ holds fixed point" "$pquant" codegen "$work/int8.h5" -o "$work/x" --target hls --logits
expect 2 "softmax has no exact form in fixed point (--logits" "$pquant" codegen "$work/fixed.h5" -o "$work/x" --target hls
expect 2 "'vhdl' is none of c, hls" "$pquant" codegen "$work/fixed.h5" -o "$work/x" --target vhdl
"$pquant" compress "$model" -o "$work/per_group.h5" --method quantize:granularity=per_group,group=8 --calib datasets/jets-hlf.h5:val -q ||
  fault "no groups"
expect 2 "layer 'fc1': its kernel has several scales in one output channel" \
  "$pquant" codegen "$work/per_group.h5" -o "$work/x"
[ -e "$work/x" ] && fault "something was written for what was refused"
mkdir "$work/locked" && chmod a-w "$work/locked"
[ "$(id -u)" = 0 ] || expect 75 "locked" "$pquant" codegen "$model" -o "$work/locked"
# Where not even root may write.
[ ! -d /proc/self ] || expect 2 "/proc/locked: cannot make the folder" "$pquant" codegen "$model" -o /proc/locked
: >"$work/file"
expect 2 "file" "$pquant" codegen "$model" -o "$work/file/below"

expect 2 "the name of a folder is empty" "$pquant" codegen datasets/models/jsc-mlp.h5 -o ""
done_testing
