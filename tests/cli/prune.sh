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
  "$small,criterion=activation prune" "$small,scope=global,align=8 quantize:bits=4,activations=no"; do
  methods=()
  for stage in $order; do methods+=(--method "$stage"); done
  rm -f "$work/order.h5"
  expect 0 "x smaller" "$pquant" compress $model -o "$work/order.h5" "${methods[@]}" "${calib[@]}"
  got=$(correct "$work/order.h5")
  echo "$order: ${got:-none} of 4000"
  [ "${got:-0}" -gt 1200 ] || fault "$order: ${got:-none} of 4000"
done

refused() { expect "$1" "$2" "$pquant" compress $model -o "$work/no.h5" --method "$3"; }
for method in prune structured_prune gradual pdp; do
  refused 2 "target_sparsity = 1 is not in 0..0.999999" $method:target_sparsity=1
done
refused 2 "did you mean" pdp:temprature=1
refused 2 "exactly one of target_sparsity and channels must be given" structured_prune
refused 2 "did you mean" structured_prune:target_sparsty=0.5
refused 2 "layer 'fc2': target_sparsity = 0.99 would take 32 of the 32 channels that can go, but every layer must keep one: at most 31 can" structured_prune:target_sparsity=0.99,layers=fc2
refused 2 "layer 'fc1': channel 64 is not in 0..63" structured_prune:channels=[64],layers=fc1
refused 2 "channel 0 cannot go: layer 'softmax' needs all of its inputs" structured_prune:channels=[0],layers=output
refused 2 "selects nothing it can work on" structured_prune:target_sparsity=0.5,layers=softmax
refused 2 "needs calibration events" structured_prune:target_sparsity=0.5,criterion=activation
[ ! -e "$work/no.h5" ] || fault "a refused stage left a file"
done_testing
