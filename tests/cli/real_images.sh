#!/usr/bin/env bash
# MLPerf Tiny's ResNet-8 gets 75.48 % of the 10,000 cifar10-jpeg test images, with the same
# predictions from both engines; int8 and full-rank factors stay beside it.
. "$(dirname "$0")/common.sh"
model=$shared/data/models/mlperf_tiny_resnet8.h5
[ -f "$model" ] || { echo "skipped: no real data at $shared/data"; exit 77; }
/usr/bin/python3 "$shared/data/cifar10-jpeg/to_binary.py" "$work/cifar" || fault "to_binary.py"
for engine in float32 reference; do
  expect 0 '"correct": 7548' "$pquant" model eval "$model" --data "$work/cifar:test" --engine $engine \
    --scores "$work/$engine.h5" --format json -q
done
/usr/bin/python3 - "$work" <<'P' || fault "the engines predict differently"
import sys, h5py
a, b = (h5py.File(f"{sys.argv[1]}/{e}.h5")["scores"][:] for e in ("float32", "reference"))
differ = (a.argmax(1) != b.argmax(1)).sum()
print("predictions that differ:", differ, "largest difference of a score:", abs(a - b).max())
sys.exit(int(differ != 0))
P
# Our own weights, trained on these pixels: what their cards say; 5 images are for other processors.
while read -r net due; do
  correct=$("$pquant" model eval "datasets/models/$net-cifar10-jpeg.h5" --data "$work/cifar:test" --format json -q | sed -n 's/.*"correct": \([0-9]*\).*/\1/p')
  echo "own $net: $correct of 10000"
  [ "$correct" -ge $((due - 5)) ] && [ "$correct" -le $((due + 5)) ] || fault "$net-cifar10-jpeg gets $correct, its card says $due"
done <<'END'
resnet8 8462
resnet20 8311
END
for options in "--batch 1 --threads 1" "--batch 999 --threads 3"; do
  expect 0 '"correct": 1510' "$pquant" model eval "$model" --data "$work/cifar:test" --limit 2000 $options --format json -q
done
expect 0 "rank" "$pquant" compress "$model" -o "$work/full.h5" --method svd:energy=1,keep_dense=false
expect 0 '"correct": 7548' "$pquant" model eval "$work/full.h5" --data "$work/cifar:test" --format json -q
expect 0 "x smaller" "$pquant" compress "$model" -o "$work/int8.h5" --method quantize --calib "$work/cifar:train" --calib-events 500
correct=$("$pquant" model eval "$work/int8.h5" --data "$work/cifar:test" --format json -q | sed -n 's/.*"correct": \([0-9]*\).*/\1/p')
echo "int8 per channel: $correct of 10000"
[ "$correct" -ge 7533 ] && [ "$correct" -le 7600 ] || fault "int8 gets $correct, float 7548"
# In whole numbers: within 0.15 points of float, and bit by bit as the fake-quantized path.
engines=$("$pquant" doctor --format json | /usr/bin/python3 -c 'import json,sys; print(*{"integer", "int8"}.intersection(json.load(sys.stdin)["engines"]))')
for engine in $engines; do
  correct=$("$pquant" model eval "$work/int8.h5" --data "$work/cifar:test" --engine "$engine" --format json -q | sed -n 's/.*"correct": \([0-9]*\).*/\1/p')
  echo "int8 by $engine: $correct of 10000"
  [ "$correct" -ge 7533 ] && [ "$correct" -le 7600 ] || fault "int8 by $engine gets $correct, float 7548"
done
for engine in reference integer; do
  expect 0 '"n": 300' "$pquant" model eval "$work/int8.h5" --data "$work/cifar:test" --engine $engine --limit 300 --scores "$work/q-$engine.h5" --format json -q
done
/usr/bin/python3 - "$work" <<'P' || fault "whole numbers and the fake-quantized path differ"
import sys, h5py
a, b = (h5py.File(f"{sys.argv[1]}/q-{e}.h5")["scores"][:] for e in ("integer", "reference"))
sys.exit(int((a != b).any()))
P
expect 0 "relative error grows most at" "$pquant" model diff "$model" "$work/int8.h5" --data "$work/cifar:test" --limit 32
done_testing
