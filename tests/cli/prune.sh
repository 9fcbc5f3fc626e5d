#!/usr/bin/env bash
# Structured pruning from outside: both forms predict the same, what is left is a smaller
# network for every later stage and file, in any order; bad input is one sentence.
. "$(dirname "$0")/common.sh"
model=datasets/models/jsc-mlp.h5 data=datasets/jets-hlf.h5
small=structured_prune:target_sparsity=0.25
correct() { "$pquant" model eval "$1" --data $data:test --limit 4000 --format json -q | sed -n 's/.*"correct": \([0-9]*\).*/\1/p'; }

expect 0 "x smaller" "$pquant" compress $model -o "$work/shrunk.h5" --method $small
expect 0 "fc1" "$pquant" compress $model -o "$work/masked.h5" --method $small,form=mask
shrunk=$(correct "$work/shrunk.h5") masked=$(correct "$work/masked.h5")
echo "shrunk $shrunk, masked $masked of 4000"
[ -n "$shrunk" ] && [ "$shrunk" = "$masked" ] || fault "shrunk gets $shrunk, masked $masked of 4000"
expect 0 "2616 MACs a sample" "$pquant" model info "$work/shrunk.h5"
expect 0 "4256 MACs a sample" "$pquant" model info "$work/masked.h5"

calib=(--calib $data:train --calib-events 500)
for order in "$small quantize" "quantize $small" "svd:rank=8,clip_rank=true $small" "$small svd:rank=4" "prune $small" \
  "$small,criterion=activation prune" "$small,criterion=taylor quantize" "$small,criterion=whitened prune:criterion=taylor" "$small,scope=global,align=8 quantize:bits=4,activations=no"; do
  methods=()
  for stage in $order; do methods+=(--method "$stage"); done
  rm -f "$work/order.h5"
  expect 0 "x smaller" "$pquant" compress $model -o "$work/order.h5" "${methods[@]}" "${calib[@]}"
  got=$(correct "$work/order.h5")
  echo "$order: ${got:-none} of 4000"
  [ "${got:-0}" -gt 1200 ] || fault "$order: ${got:-none} of 4000"
done

# Inputs that no weight reads leave, and what is left of the model takes its own by name: beside the whole one in a
# sweep, and in training.
few=prune:target_sparsity=0.97,layers=fc1
expect 0 "7 of 16 inputs leave, no weight reads them: c2_b2_mmdt, d2_b1_mmdt" "$pquant" compress $model -o "$work/few.h5" --method $few --method structured_prune:target_sparsity=0 "${calib[@]}"
expect 0 "features zlogz,c1_b0_mmdt,c1_b1_mmdt,c1_b2_mmdt,c2_b1_mmdt,d2_b2_mmdt,d2_a1_b2_mmdt,mass_mmdt,multiplicity" "$pquant" model info "$work/few.h5"
expect 0 "7 of 16 inputs are read by no weight but stay: without names, events cannot be read for the rest" "$pquant" compress $model -o "$work/all.h5" --method $few --method structured_prune:target_sparsity=0
few_right=$(correct "$work/few.h5") all_right=$(correct "$work/all.h5")
[ -n "$few_right" ] && [ "$few_right" = "$all_right" ] || fault "with 9 inputs $few_right, with all $all_right of 4000"
expect 0 "events have the same largest output" "$pquant" model diff "$work/all.h5" "$work/few.h5" --data $data:test
cat >"$work/few.yaml" <<END
schema: pquant/1
name: few
model: {weights: $PWD/$model}
dataset: {file: $PWD/$data, calib: train, calib_events: 500, train: train, test: test}
metrics: [accuracy]
evaluate: {engine: float32, limit: 4000}
latency: {batch: [1], engine: float32, samples: {count: 3, sample_time: 1ms}}
pipelines:
  reference: []
  few: [prune: {target_sparsity: 97%, layers: fc1}, structured_prune: {target_sparsity: 0.1, criterion: taylor}]
  tuned: [prune: {target_sparsity: 97%, layers: fc1}, structured_prune: {target_sparsity: 0.1, criterion: taylor}, finetune: {epochs: 1}]
  taught: [prune: {target_sparsity: 97%, layers: fc1}, structured_prune: {target_sparsity: 0.1, criterion: taylor}, distill: {epochs: 1}]
END
expect 3 "the teacher has 16 inputs and 5 outputs, the graph 9 and 5" "$pquant" run "$work/few.yaml" -o "$work/few" -q
/usr/bin/python3 - "$work/few/table.csv" <<'END' || fault "the sweep: $(cat "$work/few/table.csv")"
import csv, sys
rows = {r["pipeline"]: r for r in csv.DictReader(open(sys.argv[1]))}
accuracy = {name: float(rows[name]["accuracy"]) for name in ("reference", "few", "tuned")}
assert accuracy["few"] < accuracy["tuned"] < accuracy["reference"], accuracy
END

# Blocks that float32 skips: as many right as an engine that skips none.
expect 0 "512 of 1024 weights are zero" "$pquant" compress $model -o "$work/blocks.h5" --method prune:target_sparsity=0.5,block=[4,16],scope=per_layer
plain=$("$pquant" model eval "$work/blocks.h5" --data $data:test --limit 4000 --engine reference --format json -q | sed -n 's/.*"correct": \([0-9]*\).*/\1/p')
[ -n "$plain" ] && [ "$plain" = "$(correct "$work/blocks.h5")" ] || fault "blocks: $plain of 4000 by reference"
expect 0 "160 of 160 weights are zero: nothing passes this layer" "$pquant" compress $model -o "$work/none.h5" --method prune:target_sparsity=0.999,scope=per_layer,layers=output

# A single event is multiplied by the two of every four weights that are left, many by all: records say so.
cat >"$work/fours.yaml" <<END
schema: pquant/1
name: fours
model: {weights: $PWD/$model}
dataset: {file: $PWD/$data, test: test}
metrics: [accuracy]
evaluate: {engine: float32, limit: 2000}
latency: {batch: [1, 64], engine: float32, samples: {count: 3, sample_time: 1ms}}
pipelines:
  reference: []
  few: [prune: {N: 2, M: 4}]
END
expect 0 "" "$pquant" run "$work/fours.yaml" -o "$work/fours" -q
case $(cat "$work/fours/cells/"*.json) in
*float32:portable* | *'4 x float32:avx'*', 2 of 4;'*) ;;
*) fault "no record names 2 of 4: $(grep -ho '"kernels": *"[^"]*"' "$work/fours/cells/"*.json)" ;;
esac

refused() { expect "$1" "$2" "$pquant" compress $model -o "$work/no.h5" --method "$3"; }
for method in prune structured_prune gradual activation_pruning autosparse cs dst pdp mdmm; do
  for value in 1 1.5 -0.1; do
    refused 2 "$method: target_sparsity = $value is not in 0..0.999999" $method:target_sparsity=$value
  done
  refused 2 "$method: target_sparsity = 'nan' is not a number" $method:target_sparsity=nan
  refused 2 "$method: unknown parameter 'sparsity'" $method:sparsity=0.5
done
refused 2 "did you mean" pdp:temprature=1
refused 2 "exactly one of target_sparsity and channels must be given" structured_prune
refused 2 "did you mean" structured_prune:target_sparsty=0.5
refused 2 "layer 'fc2': target_sparsity = 0.99 would take 32 of the 32 channels that can go, but every layer must keep one: at most 31 can" structured_prune:target_sparsity=0.99,layers=fc2
refused 2 "layer 'fc1': channel 64 is not in 0..63" structured_prune:channels=[64],layers=fc1
refused 2 "channel 0 cannot go: layer 'softmax' needs all of its inputs" structured_prune:channels=[0],layers=output
refused 2 "selects nothing it can work on" structured_prune:target_sparsity=0.5,layers=softmax
for criterion in activation whitened taylor; do
  refused 2 "needs calibration events" structured_prune:target_sparsity=0.5,criterion=$criterion
done
for criterion in wanda sparsegpt,scope=per_layer taylor; do
  refused 2 "needs calibration events" prune:target_sparsity=0.5,criterion=$criterion
done
refused 2 "N = 5 is not in 1..4: N of every M weights stay" prune:N=5,M=4
refused 2 "N and M go together: N of every M weights stay" prune:N=2
refused 2 "block has 1 numbers, not [inputs, outputs]" prune:block=[4]
refused 2 "block and N, M exclude each other" prune:block=[4,16],N=2,M=4
# A layer that cannot be cut, by name and by glob; a mask of another size than its weight.
expect 0 "ranks 4 4" "$pquant" compress $model -o "$work/cores.h5" --method tensor_train:rank=4,keep_dense=false,layers=fc1
expect 0 "left: structured_prune is not for tt_dense" "$pquant" compress "$work/cores.h5" -o "$work/cut.h5" --method structured_prune:target_sparsity=0.25
expect 2 "selects nothing it can work on; it could work on: fc2, fc3, output" "$pquant" compress "$work/cores.h5" -o "$work/no.h5" --method structured_prune:target_sparsity=0.25,layers=fc1
expect 0 "x smaller" "$pquant" compress $model -o "$work/mask.h5" --method prune:target_sparsity=0.5 --method quantize:bits=2,activations=no
/usr/bin/python3 - "$work/mask.h5" <<'END'
import h5py, sys
with h5py.File(sys.argv[1], "r+") as f:
    name = next(n for n in f["weights/fc2"] if n.endswith(".pruned"))
    mask = f["weights/fc2"][name][()]
    del f["weights/fc2"][name]
    f["weights/fc2"][name] = mask[:-1]
END
expect 2 "kernel.pruned has $(/usr/bin/python3 -c "import h5py, sys; print(h5py.File(sys.argv[1])['weights/fc2/kernel.pruned'].size)" "$work/mask.h5") bytes where" "$pquant" model info "$work/mask.h5"
[ ! -e "$work/no.h5" ] || fault "a refused stage left a file"
done_testing
