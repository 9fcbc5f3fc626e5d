#!/usr/bin/env bash
# pquant latency: models against each other on an engine and as generated code, targets, and what is refused.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

model=datasets/models/jsc-mlp.h5
export XDG_CACHE_HOME=$work/cache TMPDIR=$work/tmp && mkdir "$TMPDIR"
expect 0 "engine float32" "$pquant" latency "$model" --batch 4
"$pquant" latency "$model" "$model" --batch 1,16,256 --cold 5 --format json >"$work/sizes.json" || fault "three batch sizes"
/usr/bin/python3 - "$work/sizes.json" <<'END' || fault "the JSON of three batch sizes is not what it should be"
import json, sys
rows = json.load(open(sys.argv[1]))
assert [r["batch"] for r in rows] == [1, 1, 16, 16, 256, 256]
for r in rows:
    shots = r["shots_s"]
    assert len(shots) == 1000 and shots == sorted(shots) and shots[499] == r["p50_s"]
    assert len(r["l1_evicted_shots_s"]) == 5 and r["idle_1ms_s"] > 0 and "flushed_s" not in r
    assert r["ratio_lo"] <= r["ratio"] <= r["ratio_hi"]
END
for bad in 0 -1 65537 99999999999999999999 many 1,0 1,,2 1,x ""; do
  expect 2 "--batch: '" "$pquant" latency "$model" --batch "$bad"
done
expect 2 "--batch: 16 stands there twice" "$pquant" latency "$model" --batch 16,1,16
expect 2 "--batch: 17 sizes are given, not 1 to 16" "$pquant" latency "$model" --batch 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17
expect 0 "idle_1ms" "$pquant" latency "$model" --cold 5
expect 2 "--cold" "$pquant" latency "$model" --cold -1
expect 0 "met" "$pquant" latency "$model" --target 10s
expect 1 "missed" "$pquant" latency "$model" --target 0.1ns
"$pquant" latency "$model" "$model" --format json --target 1h >"$work/two.json" || fault "two models"
/usr/bin/python3 - "$work/two.json" <<'END' || fault "the JSON of two models is not what it should be"
import json, sys
rows = json.load(open(sys.argv[1]))
assert len(rows) == 2
for r in rows:
    assert r["engine"] == "float32" and r["batch"] == 1 and r["threads"] == 1 and r["met"] is True
    assert 0 < r["p50_s"] <= r["p90_s"] <= r["p99_s"] <= r["p999_s"]
    assert 0 < r["throughput_lo"] <= r["throughput_s"] <= r["throughput_hi"] and r["chain_s"] > 0
    assert len(r["samples_s"]) >= 2 and isinstance(r["noisy"], bool)
END
# The distribution as a picture, with the target and both names; standard output stays JSON.
for end in svg png pdf; do
  expect 0 "calls.$end" "$pquant" latency "$model" "$model" --target 1ms --plot "$work/calls.$end"
done
if command -v gnuplot >/dev/null; then
  picture=$(<"$work/calls.svg")
  for text in "target 1e+06 ns" "jsc-mlp.h5" "batch size 1" "part of calls that take at least so long"; do
    [[ $picture == *"$text"* ]] || fault "no '$text' in the picture"
  done
  [[ $(head -c 4 "$work/calls.png") == $'\x89PNG' && $(head -c 4 "$work/calls.pdf") == %PDF ]] || fault "no PNG, or no PDF"
  "$pquant" latency "$model" --batch 4,16 --format json --plot "$work/calls.svg" 2>/dev/null |
    /usr/bin/python3 -c 'import json, sys; assert [r["batch"] for r in json.load(sys.stdin)] == [4, 16]' || fault "a picture beside JSON"
  [[ $(<"$work/calls.svg") == *"batch size 4"* ]] || fault "not the first batch size is drawn"
  expect 2 "nowhere/calls.svg: cannot be written" "$pquant" latency "$model" --plot "$work/nowhere/calls.svg"
fi
expect 0 "calls.svg is not drawn, there is no gnuplot" env PATH=/nowhere "$pquant" latency "$model" --plot "$work/calls.svg"
expect 2 "--plot: '$work/calls.gif' does not end in .svg, .png or .pdf" "$pquant" latency "$model" --plot "$work/calls.gif"
if command -v "${CC:-cc}" >/dev/null; then
  "$pquant" compress "$model" -o "$work/int8.h5" --method quantize --calib datasets/jets-hlf.h5:val -q || fault "no int8"
  expect 0 "engine generated" "$pquant" latency "$model" "$work/int8.h5" --engine generated --logits
  "$pquant" latency "$work/int8.h5" --engine generated --cold 5 --format json >"$work/code.json" || fault "code size"
  /usr/bin/python3 -c '
import json, sys
(row,) = json.load(open(sys.argv[1]))
assert 4389 < row["code_bytes"] < 100_000, row["code_bytes"]  # at least its weights, a byte each
assert len(row["flushed_shots_s"]) == 5 and row["flushed_s"] > 0' "$work/code.json" || fault "code size or flushed calls"
  expect 0 "flushed" "$pquant" latency "$work/int8.h5" --engine generated --logits --cold 20
fi
expect 2 "the compiler '/nowhere/cc' cannot be started" env CC=/nowhere/cc "$pquant" latency "$model" --engine generated
printf '#!/bin/sh\necho "no room for this" >&2\nexit 3\n' >"$work/cc" && chmod +x "$work/cc"
expect 75 "failed with code 3: no room for this" env CC="$work/cc" "$pquant" latency "$model" --engine generated
expect 75 "the compiler '/bin/false' failed with code 1 and said nothing" env CC=/bin/false "$pquant" latency "$model" --engine generated
for bad in "5 apples" 0ns -1ns 100 1e-7 inf nan ""; do
  expect 2 "--target: '$bad' is no time above 0 with a unit, such as 100ns" "$pquant" latency "$model" --target "$bad"
done
expect 2 "--threads: generated code runs in one thread" "$pquant" latency "$model" --engine generated --threads 2
# A file's name may hold bytes that are no UTF-8.
odd=$work/$'odd\xff.h5' && cp "$model" "$odd"
expect 0 '/odd\\xff.h5",' "$pquant" latency "$odd" --format json
expect 0 '/odd\\xff.h5",' "$pquant" model info "$odd" --format json
expect 0 '/odd\\xff.h5",' "$pquant" compare "$model" "$odd" --data datasets/jets-hlf.h5:test --limit 100 --format json
expect 2 "unknown engine 'fast'" "$pquant" latency "$model" --engine fast
expect 2 "missing.h5" "$pquant" latency "$work/missing.h5"
expect 2 "error: $model: holds its own architecture" "$pquant" latency "$model" --arch datasets/models/jsc-mlp.json
# One of several outputs.
/usr/bin/python3 - "$work/two-outputs.json" <<'END'
import json, sys
net = json.load(open("datasets/models/jsc-mlp.json"))
net["config"]["output_layers"] = [["fc3_relu", 0, 0], ["output_softmax", 0, 0]]
json.dump(net, open(sys.argv[1], "w"))
END
two=(datasets/models/jsc-mlp.weights.h5 --arch "$work/two-outputs.json")
expect 2 "--output-layer" "$pquant" latency "${two[@]}"
expect 0 "engine float32" "$pquant" latency "${two[@]}" --output-layer fc3_relu

# Instructions: of one net more than of a part of it, alike in two runs, and of engines and generated C alike.
expect 2 "--calls: '0' is not a whole number in 1.." "$pquant" latency "$model" --calls 0
expect 0 "" "$pquant" latency "$model" --calls 3 --batch 1,4
for more in "--target 1s" "--plot $work/c.svg" "--cold 3" "--instructions" "--format json"; do
  read -ra words <<<"$more"
  expect 2 "--calls: nothing is timed, so leave ${words[0]} away" "$pquant" latency "$model" --calls 3 "${words[@]}"
done
[ -z "$("$pquant" latency "$model" --calls 3)" ] || fault "calls alone print something"
expect 2 "--instructions: they are counted in one thread" "$pquant" latency "$model" --instructions --threads 2
expect 2 "valgrind, which counts instructions, is not installed" env PATH=/nowhere "$pquant" latency "$model" --instructions
printf '#!/bin/sh\necho "no such tool" >&2\nexit 1\n' >"$work/valgrind" && chmod +x "$work/valgrind"
expect 75 "counting instructions failed under valgrind: no such tool" env PATH="$work:$PATH" "$pquant" latency "$model" --instructions
printf '#!/bin/sh\nprintf "%%s\\n" "--7-- warning: of a cache" "pquant: error: no room" >&2\nexit 75\n' >"$work/valgrind"
expect 75 "failed under valgrind: no room" env PATH="$work:$PATH" "$pquant" latency "$model" --instructions
cp "$model" "$work/-x.h5"
printf '#!/bin/sh\nshift $(($# - 2))\necho "it ends in $*" >&2\nexit 1\n' >"$work/valgrind"
expect 75 "valgrind: it ends in -- -x.h5" env -C "$work" PATH="$work:$PATH" "$(realpath "$pquant")" latency --instructions -- -x.h5
rm "$work/valgrind" "$work/-x.h5"
if command -v valgrind >/dev/null && [[ $(strings -a "$pquant" 2>/dev/null | grep -c __asan_init) = 0 ]]; then
  engine=float32
  command -v "${CC:-cc}" >/dev/null && engine=generated
  "$pquant" latency "$model" "$model" --engine $engine --logits --instructions --format json >"$work/i.json" || fault "instructions"
  /usr/bin/python3 - "$work/i.json" <<'END' || fault "instructions of a call"
import json, sys
a, b = (r["instructions"] for r in json.load(open(sys.argv[1])))
# 4256 products, 8 at a time at best, and twice as many instructions as products at worst
assert abs(a - b) <= 0.001 * a and 4256 / 8 < a < 2 * 4256, (a, b)
END
else
  echo "skipped: instructions of a call, for want of valgrind (or under sanitizers)"
fi

# The same states in a sweep: columns, notes and the distribution with the target.
sweep() { cat >"$work/s.yaml" <<YAML
schema: pquant/1
name: states
model: {weights: $model}
dataset: {file: datasets/jets-hlf.h5, calib: val, calib_events: 500, test: test}
evaluate: {limit: 500}
pipelines: {reference: [], int8: [{quantize: {bits: 8}}]}
metrics: [accuracy, size, ebops]
constraints: {target_latency: 10us, $2}
latency: {engine: $1, batch: [1, 16], warmup: {seconds: 5ms}, samples: {count: 3, sample_time: 1ms, rounds: 1}, single_shots: 50$3}
YAML
}
if command -v "${CC:-cc}" >/dev/null; then
  sweep generated "latency.b1.flushed_s: {max: 1s}" ", cold: 10"
  expect 0 "2 computed" "$pquant" run "$work/s.yaml" -o "$work/states"
  /usr/bin/python3 - "$work/states" <<'END' || fault "cold states of a sweep"
import csv, json, pathlib, sys
root = pathlib.Path(sys.argv[1])
rows = list(csv.DictReader(open(root / "table.csv")))
assert len(rows) == 2
for r in rows:
    assert r["status"] == "ok"
    for b in (1, 16):
        for name in ("l1_evicted_s", "flushed_s", "idle_1ms_s", "code_bytes", "call_s"):
            assert float(r[f"latency.b{b}.{name}"]) > 0, (b, name)
for word in ("L1 evicted / ", "flushed / ", "after 1 ms idle / ", "code / B", "EBOPs", "Target: 1e+04 ns a call"):
    assert word in (root / "table.md").read_text(), word
    assert word in (root / "report.html").read_text(), word
assert "# target\n10000 " in (root / "plots/latency_calls.dat").read_text()
shots = [json.loads(p.read_text())["timing"]["shots"] for p in (root / "cells").glob("*.json") if '"phase": "latency"' in p.read_text()]
assert len(shots) == 4, len(shots)
for s in shots:
    assert {k: sum(n for _, n in v["ns_calls"]) for k, v in s.items()} == {"hot": 50, "l1_evicted": 10, "flushed": 10, "idle_1ms": 10}
END
  sed -i 's/cold: 10/cold: -1/' "$work/s.yaml"
  expect 2 "cold = -1 is not in 0..1000000" "$pquant" validate "$work/s.yaml"
fi
sweep float32 "latency.b1.flushed_s: {max: 1s}" ""
expect 2 "'latency.b1.flushed_s' is not measured: latency leaves it out" "$pquant" validate "$work/s.yaml"
for bad in "[0]" "[-1]" "[65537]" "[1.5]" "[]" "[1, 1]"; do
  sweep float32 "accuracy: {min: 0.1}" "" && sed -i "s/batch: \[1, 16\]/batch: $bad/" "$work/s.yaml"
  expect 2 "batch" "$pquant" validate "$work/s.yaml"
done
[ -z "$(ls "$TMPDIR")" ] || fault "left in the folder of temporary files: $(ls "$TMPDIR")"

done_testing
