#!/usr/bin/env bash
# The engine `generated`: evaluations, sweeps, without a compiler, and the folder of compiled networks.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

command -v "${CC:-cc}" >/dev/null || { echo "skipped: no C compiler"; exit 77; }
export TMPDIR=$work/tmp XDG_CACHE_HOME=$work/cache
mkdir "$TMPDIR"
kept=$XDG_CACHE_HOME/pquant/compiled
model=datasets/models/jsc-mlp.h5 data=datasets/jets-hlf.h5:test
"$pquant" compress "$model" -o "$work/int8.h5" --method quantize --calib datasets/jets-hlf.h5:val -q || fault "no int8"
scores() { "$pquant" model eval "$1" --data $data --engine "$2" --format json | /usr/bin/python3 -c '
import json, sys
print(*sorted((name, m["value"]) for name, m in json.load(sys.stdin)["metrics"].items() if name.startswith(("accuracy", "auc"))))'; }

# The numbers are those of the engine that defines the model.
[ "$(scores "$work/int8.h5" generated)" = "$(scores "$work/int8.h5" integer)" ] || fault "other numbers than integer"
expect 0 "generated C, whole numbers" "$pquant" model eval "$work/int8.h5" --data $data --engine generated
expect 0 "generated C, float32" "$pquant" model eval "$model" --data $data --engine generated
expect 0 "generated C, whole numbers, portable" env PQUANT_ISA=portable "$pquant" model eval "$work/int8.h5" --data $data --engine generated

# The folder of compiled networks: of this user alone, by hash, each file checked.
[ "$(stat -c %a "$kept")" = 700 ] || fault "the folder is open to others"
[ "$(find "$kept" -name '*.so' | wc -l)" = 3 ] || fault "not three compiled networks: $(ls "$kept")"
[ "$(stat -c %a "$kept"/*.so | sort -u)" = 600 ] || fault "compiled networks are open to others"
printf '#!/bin/sh\ntouch %s/compiled-again\nexec cc "$@"\n' "$work" >"$work/cc" && chmod +x "$work/cc"
again() { rm -f "$work/compiled-again"; CC=$work/cc "$pquant" model eval "$model" --data $data --engine generated -q >/dev/null || fault "no evaluation"; [ -e "$work/compiled-again" ]; }
again || fault "another compiler, and nothing was compiled"
again && fault "compiled twice"
find "$kept" -name '*.so' -exec sh -c 'printf damaged | dd of="$1" bs=1 seek=5000 conv=notrunc 2>/dev/null' _ {} \;
again || fault "a damaged object was used"
find "$kept" -name '*.so' -exec truncate -s 4000 {} \;
again || fault "a short object was used"
chmod 666 "$kept"/*.so
again || fault "an object that others may write was used"
for so in "$kept"/*.so; do mv "$so" "$work/moved.so" && ln -s "$work/moved.so" "$so"; done
again || fault "a link was followed"
again && fault "compiled twice"
chmod 755 "$kept"
expect 2 "it is not a folder of this user alone" "$pquant" model eval "$model" --data $data --engine generated
rm -r "$kept" && mkdir -m 700 "$work/elsewhere" && ln -s "$work/elsewhere" "$kept"
expect 2 "it is not a folder of this user alone" "$pquant" model eval "$model" --data $data --engine generated
rm "$kept"
# Without a folder for it nothing is kept, and all goes on.
expect 0 "generated C" env XDG_CACHE_HOME=/dev/null/none "$pquant" model eval "$model" --data $data --engine generated

# Without a compiler an interpreter runs, and everything says so.
expect 0 "no compiler '/nowhere/cc' for generated C, so engine int8 runs" env CC=/nowhere/cc "$pquant" model eval "$work/int8.h5" --data $data --engine generated
cat >"$work/sweep.yaml" <<'YAML'
schema: pquant/1
name: generated
model: {weights: datasets/models/jsc-mlp.h5}
dataset: {file: datasets/jets-hlf.h5, calib: val, test: test}
pipelines:
  reference: []
  int8: [{quantize: {bits: 8}}]
evaluate: {engine: generated}
metrics: [accuracy]
latency:
  engine: generated
  batch: [1, 4]
  warmup: {seconds: 5ms}
  samples: {count: 3, sample_time: 1ms, rounds: 1}
  single_shots: 50
YAML
expect 0 "2 computed" "$pquant" run "$work/sweep.yaml" -S output.dir="$work/out"
expect 0 "2 cached" "$pquant" run "$work/sweep.yaml" -S output.dir="$work/out"
grep -qr interpreted "$work/out" && fault "interpreted, with a compiler there"
expect 0 "Not of generated C, for want of a compiler" env CC=/nowhere/cc "$pquant" run "$work/sweep.yaml" -S output.dir="$work/none"
# What the compiler prints is not among our results; what it says, and what has no generated form.
printf '#!/bin/sh\necho compiling\nexec cc "$@"\n' >"$work/cc"
CC=$work/cc scores "$model" generated >/dev/null || fault "the compiler speaks among the results"
printf '#!/bin/sh\necho "no room for this" >&2\nexit 3\n' >"$work/cc"
expect 75 "failed with code 3: no room for this" env CC="$work/cc" "$pquant" model eval "$model" --data $data --engine generated
for call in 'chosen(x + .*, \(y + .*\));' 'chosen_block(x + .*, \(y + .*\));' 'chosen(x, \(y\));'; do # of runN, and of run1
  cat >"$work/cc" <<CC
#!/bin/sh
for word; do case \$word in *.c) sed -i 's/ $call/& (\1)[0] += 1;/' "\$word" ;; esac; done
exec cc "\$@"
CC
  expect 2 "it is not used" env CC="$work/cc" "$pquant" model eval "$model" --data $data --engine generated
  expect 2 "it is not used" env CC="$work/cc" "$pquant" latency "$model" --engine generated
done
[ -z "$(ls "$TMPDIR")" ] || fault "left in the folder of temporary files: $(ls "$TMPDIR")"

done_testing
