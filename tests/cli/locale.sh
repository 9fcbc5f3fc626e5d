#!/usr/bin/env bash
# A host program whose locale has a decimal comma changes nothing: what is read (YAML, JSON, CSV, HDF5), what is
# written (records, tables, pages, models), keys and messages. The library is called by a host of its own; the program
# becomes such a host by a module that sets the locale before main.
. "$(dirname "$0")/common.sh"
localedef -i de_DE -f UTF-8 "$work/de_DE.UTF-8" >"$work/log" 2>&1
[ -f "$work/de_DE.UTF-8/LC_NUMERIC" ] || { echo "skipped: localedef makes no de_DE.UTF-8 (package locales)"; exit 77; }
cat >"$work/comma.c" <<'END'
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
__attribute__((constructor)) static void comma(void)
{
    char text[8];

    (void)snprintf(text, sizeof text, "%.1f", setlocale(LC_ALL, "de_DE.UTF-8") != NULL ? 0.5 : 1.0);
    if (text[1] != ',') {
        (void)fprintf(stderr, "no decimal comma: %s\n", text);
        abort();
    }
}
END
cc -shared -fPIC "$work/comma.c" -o "$work/comma.so" || fault "the module does not compile"
comma() { env LOCPATH="$work" LD_PRELOAD="$work/comma.so" ASAN_OPTIONS="${ASAN_OPTIONS:-}:verify_asan_link_order=0" "$@"; }
comma true || fault "no decimal comma"

# A sweep from YAML over a CSV, with ranges, weights of Keras beside JSON, every table and the page.
/usr/bin/python3 - "$work/jets.csv" <<'END'
import sys
import h5py, numpy as np
with h5py.File("datasets/jets-hlf.h5") as f, open(sys.argv[1], "w") as out:
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in np.asarray(f.attrs["class_names"]).tolist()]
    x, y = f["test/x"][:400], f["test/y"][:400]
    out.write(",".join(f"f{i}" for i in range(x.shape[1])) + ",class\n")
    for row, label in zip(x, y):
        out.write(",".join(f"{v:.9g}" for v in row) + f",{names[label]}\n")
END
cat >"$work/c.yaml" <<'END'
schema: pquant/1
name: x
model: {weights: datasets/models/jsc-mlp.weights.h5, arch: datasets/models/jsc-mlp.json, classes: [g, q, w, z, t]}
dataset: {file: JETS, splits: {calib: "0:0.25", test: "0.25:1"}}
pipelines:
  reference: []
  svd: {stages: [{svd: {energy: $e}}], sweep: {e: {linspace: [0.85, 0.95, 3]}}}
  prune: {stages: [{prune: {target_sparsity: $s}}, {quantize: {average_bits: 5.5}}], sweep: {s: [12.5%, 0.5]}}
constraints: {accuracy_loss: {max: 0.015}}
output: {tables: [csv, md, tex]}
END
sed -i "s|JETS|$work/jets.csv|" "$work/c.yaml"
run() { # NAME COMMAND…: results in a folder of one name, so that nothing else differs
  local name=$1
  shift
  rm -rf "$work/out"
  "$@" "$pquant" run "$work/c.yaml" -o "$work/out" --phase eval -q >"$work/$name.log" 2>&1 || fault "$name: $(cat "$work/$name.log")"
  mv "$work/out" "$work/$name"
}
run point
run comma comma
# Times, dates and the pictures of gnuplot, which is a program of its own, may differ.
still() { sed -E 's/"(date|seconds|created)": *("[^"]*"|[0-9.e-]+)//; s/[0-9.]+ ?(us|ms|s|min)\b//g'; }
for file in table.csv table.md table.tex plan.json; do
  cmp -s <(still <"$work/point/$file") <(still <"$work/comma/$file") ||
    fault "$file differs: $(diff <(still <"$work/point/$file") <(still <"$work/comma/$file") | head -5)"
done
keys() { (cd "$1" && ls cells models cache); }
[ "$(keys "$work/point")" = "$(keys "$work/comma")" ] || fault "other keys: $(diff <(keys "$work/point") <(keys "$work/comma"))"
[ "$(ls "$work/point/cells" | wc -l)" = 6 ] || fault "not six records: $(ls "$work/point/cells")"
for record in "$work"/point/cells/*.json; do
  cmp -s <(still <"$record") <(still <"$work/comma/cells/$(basename "$record")") ||
    fault "$(basename "$record"): $(diff <(still <"$record") <(still <"$work/comma/cells/$(basename "$record")") | head -5)"
done
for script in "$work"/point/plots/*.{gp,dat}; do
  [ ! -e "$script" ] || cmp -s "$script" "$work/comma/plots/$(basename "$script")" || fault "$(basename "$script") differs"
done

# Verbs with numbers in options and answers, and messages.
for verb in "data info $work/jets.csv --format json" "model info datasets/models/jsc-mlp.h5 --format json" \
  "model eval datasets/models/jsc-mlp.h5 --data $work/jets.csv --format json" "help finetune" \
  "compress datasets/models/jsc-mlp.h5 -o $work/o.h5 --method svd:energy=0.9" \
  "compress datasets/models/jsc-mlp.h5 -o $work/o.h5 --method svd:energy=1.5" \
  "compress datasets/models/jsc-mlp.h5 -o $work/o.h5 --method svd:energy=0,5"; do
  # shellcheck disable=SC2086
  a=$("$pquant" $verb -q 2>&1 | still) b=$(comma "$pquant" $verb -q 2>&1 | still)
  [ "$a" = "$b" ] || fault "$verb: $(diff <(echo "$a") <(echo "$b") | head -5)"
done

# Generated C and HLS C++: a comma in a number is another program, or none.
/usr/bin/python3 - "$work/bends.h5" <<'END'
import sys
sys.path.insert(0, "tests/interop/lib")
import numpy as np
from pq_model import Model
m = Model((16,)).add("fc", "dense", kernel=np.random.default_rng(1).normal(size=(20, 16)) / 4, bias=np.zeros(20))
m.add("bend", "leaky_relu", attributes={"slope": 0.125}).add("cut", "clip", attributes={"lo": -0.75, "hi": 0.625})
m.add("image", "reshape", attributes={"shape": [2, 2, 5]}).add("mean", "global_avg_pool").save(sys.argv[1], list("gqwzt"))
END
expect 0 "" "$pquant" compress "$work/bends.h5" -o "$work/fixed.h5" --calib datasets/jets-hlf.h5:train -q \
  --method quantize:format=fixed,bits=6,activation_bits=7
for target in c hls; do
  for model in bends fixed; do
    [ "$target $model" != "hls bends" ] || continue
    expect 0 "" "$pquant" codegen "$work/$model.h5" -o "$work/point-$target-$model" --name net --target "$target" -q
    expect 0 "" comma "$pquant" codegen "$work/$model.h5" -o "$work/comma-$target-$model" --name net --target "$target" -q
    diff -r "$work/point-$target-$model" "$work/comma-$target-$model" >"$work/log" ||
      fault "codegen of $model as $target: $(head -5 "$work/log")"
  done
done

# The library, by its public functions alone.
lib=$root/build-gcc/src/libpquant.so
if [ -f "$lib" ] && cc examples/compress.c -Iinclude "$lib" -Wl,-rpath,"$(dirname "$lib")" -o "$work/host" 2>"$work/log"; then
  args=(datasets/models/jsc-mlp.weights.h5 datasets/models/jsc-mlp.json "$work/jets.csv" datasets/jets-hlf.h5:val)
  sed 's/svd:rank=8,clip_rank=true/svd:energy=0.9/' examples/compress.c >"$work/host.c"
  cc "$work/host.c" -Iinclude "$lib" -Wl,-rpath,"$(dirname "$lib")" -o "$work/host"
  a=$("$work/host" "${args[@]}" "$work/point.h5") b=$(comma "$work/host" "${args[@]}" "$work/comma.h5")
  [ -n "$a" ] && [ "$(tr , . <<<"$b")" = "$(tr , . <<<"$a")" ] || fault "the library: $a, and with a comma: $b"
  cmp "$work/point.h5" "$work/comma.h5" || fault "the library saves another model"
else
  fault "no host of the library: $(cat "$work/log")"
fi

# Nothing of the library prints numbers past core/text.h.
found=$(for file in src/*/*.c; do
  tr '\n' ' ' <"$file" | grep -oE '(^|[^_a-z])v?snprintf\([^;]*%[-+0-9.*]*[agfe]' | sed "s|^|$file: |"
done | grep -vE '^src/(cli|core/text)')
[ -z "$found" ] || fault "numbers printed without pq_snprintf: $found"
done_testing
