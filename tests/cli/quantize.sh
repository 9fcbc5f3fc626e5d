#!/usr/bin/env bash
# What quantization after training costs, on networks and events as they are: the jet tagger at
# 8 bits, and, where there is real data, ResNet-20 on every fifth test image of cifar10-jpeg.
. "$(dirname "$0")/common.sh"

# correct FILE DATA OPTION…: events right.
correct() {
  local model=$1 data=$2
  shift 2
  "$pquant" model eval "$model" --data "$data" --format json -q "$@" | sed -n 's/.*"correct": \([0-9]*\).*/\1/p'
}

# near NAME NUMBER OTHER MOST: two counts are no farther apart than MOST.
near() {
  echo "$1: $2 right, $3 expected, $4 allowed"
  [ -n "$2" ] && [ $(($2 > $3 ? $2 - $3 : $3 - $2)) -le "$4" ] || fault "$1: $2 right, not within $4 of $3"
}

jets=datasets/jets-hlf.h5
float=$(correct datasets/models/jsc-mlp.h5 "$jets:test")
n=$("$pquant" model eval datasets/models/jsc-mlp.h5 --data "$jets:test" --format json -q | sed -n 's/^ *"n": \([0-9]*\),$/\1/p' | head -1)
expect 0 "smaller" "$pquant" compress datasets/models/jsc-mlp.h5 -o "$work/jsc.h5" --method quantize:calibration=mse \
  --calib "$jets:train" --calib-events 2000
for engine in integer blas; do # 0.2 points
  near "jet tagger, 8 bits, $engine" "$(correct "$work/jsc.h5" "$jets:test" --engine "$engine")" "$float" $((n / 500))
done
expect 0 '"kernels": "4 x int16 words:' "$pquant" model eval "$work/jsc.h5" --data "$jets:test" --limit 64 --engine integer --format json -q
expect 0 "in double, not in whole numbers: fc1" "$pquant" model eval datasets/models/jsc-mlp.h5 --data "$jets:test" \
  --limit 64 --engine integer -q

model=$shared/data/models/resnet20-12fca82f.th
[ -f "$model" ] || { echo "skipped: no real data at $shared/data"; done_testing; }
/usr/bin/python3 "$shared/data/cifar10-jpeg/to_binary.py" "$work/cifar" || fault "to_binary.py"
# Own numbers, of 2000 in the order of to_binary.py: float 1624. 5 images (0.25 points) are for other processors.
near "ResNet-20 float" "$(correct "$model" "$work/cifar:test" --arch resnet20 --stride 5)" 1624 0
while read -r stage right; do
  expect 0 "smaller" "$pquant" compress "$model" --arch resnet20 -o "$work/$stage.h5" --method "quantize:$stage" \
    --calib "$work/cifar:train" --calib-events 400
  near "ResNet-20 $stage" "$(correct "$work/$stage.h5" "$work/cifar:test" --stride 5)" "$right" 5
done <<'END'
bits=8 1617
bits=8,granularity=per_tensor 1621
bits=6 1594
bits=4,activation_bits=8 1561
END
done_testing
