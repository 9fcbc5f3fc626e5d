#!/usr/bin/env bash
# The recipe `trigger`, and the constraint target_latency.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

command -v "${CC:-cc}" >/dev/null || { echo "skipped: no C compiler"; exit 77; }
export XDG_CACHE_HOME=$work/cache
write() { cat >"$work/t.yaml" <<YAML
schema: pquant/1
name: trigger
model: {weights: datasets/models/jsc-mlp.h5}
dataset: {file: datasets/jets-hlf.h5, train: val, calib: val, calib_events: 500, test: test}
seeds: {base: 7, repeats: 1}
pipelines:
  reference: []
  trigger:
    - trigger: {$1, epochs: 1, rounded_epochs: 1}
metrics: [accuracy, macs]
constraints: {target_latency: $2}
latency: {engine: generated, logits: true, warmup: {seconds: 5ms}, samples: {count: 3, sample_time: 1ms, rounds: 1}, single_shots: 50}
YAML
}
table() { /usr/bin/python3 -c 'import csv, sys
for r in csv.DictReader(open(sys.argv[1])):
    if r["label"].startswith(sys.argv[2]): print(r["status"], r["macs.total"] if "macs.total" in r else "")' "$work/out/table.csv" "$1"; }

# A target that any processor reaches: the first candidate, with half of the multiplications.
write "target_latency: 1ms, target_sparsity: 0.5" 1ms
expect 0 "2 computed" "$pquant" run "$work/t.yaml" -S output.dir="$work/out"
expect 0 "2 cached" "$pquant" run "$work/t.yaml" -S output.dir="$work/out"
grep -rq "the candidate number 1" "$work/out" || fault "not the first candidate"
[[ $(table trigger) == ok* ]] || fault "the table has: $(table trigger)"

# One that none reaches: the cell fails, with the number that was measured.
write "target_latency: 1ns, target_sparsity: 0.97, least_bits: 6" 1ms
expect 3 "target_latency 1 ns is out of reach: of " "$pquant" run "$work/t.yaml" -S output.dir="$work/none"
expect 3 "beyond, layer" "$pquant" run "$work/t.yaml" -S output.dir="$work/none"
# The constraint alone marks what is slower.
write "target_latency: 1ms, target_sparsity: 0.5" 1ns
expect 0 "Outside the constraints, or with a recall below its floor (2 of 2 cells)" "$pquant" run "$work/t.yaml" -S output.dir="$work/out"

# Without a compiler there is nothing to time.
write "target_latency: 1ms" 1ms
expect 3 "generated C cannot be timed: no compiler '/nowhere/cc'" env CC=/nowhere/cc "$pquant" run "$work/t.yaml" -S output.dir="$work/cc"

# What cannot be.
write "target_latency: 1ms, bits: 4, least_bits: 5" 1ms
expect 2 "least_bits = 5 is above bits = 4" "$pquant" validate "$work/t.yaml"
write "target_latency: soon" 1ms
expect 2 "target_latency" "$pquant" validate "$work/t.yaml"
for bad in soon 0ns -100ns 100 inf nan '""' "{max: 100ns}"; do
  write "target_latency: 1ms" "$bad"
  expect 2 "target_latency: a time above 0 with a unit is due here, such as 100ns" "$pquant" validate "$work/t.yaml"
done
for bad in 0 0ns -1ns 2s 100; do
  write "target_latency: $bad" 1ms
  expect 2 "target_latency = " "$pquant" validate "$work/t.yaml"
done
write "target_latency: 1ms" 100ns
sed -i '/^latency:/d' "$work/t.yaml"
expect 2 "target_latency is not measured: latency leaves it out" "$pquant" validate "$work/t.yaml"
expect 2 "fit_latency needs events to train on" "$pquant" compress datasets/models/jsc-mlp.h5 -o "$work/x.h5" --method trigger --calib datasets/jets-hlf.h5:val

done_testing
