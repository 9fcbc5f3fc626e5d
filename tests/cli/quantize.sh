#!/usr/bin/env bash
# What quantization after training costs: the jet tagger at 8 bits, and at 4 with learnt rounding.
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
for engine in integer float32; do # 0.2 points
  near "jet tagger, 8 bits, $engine" "$(correct "$work/jsc.h5" "$jets:test" --engine "$engine")" "$float" $((n / 500))
done
expect 0 '"kernels": "4 x int16 words:' "$pquant" model eval "$work/jsc.h5" --data "$jets:test" --limit 64 --engine integer --format json -q
expect 0 "in double, not in whole numbers: fc1" "$pquant" model eval datasets/models/jsc-mlp.h5 --data "$jets:test" \
  --limit 64 --engine integer -q
# 4 bits, one scale a kernel: nearest loses 8 points, learnt rounding not one.
expect 0 "smaller" "$pquant" compress datasets/models/jsc-mlp.h5 -o "$work/learnt.h5" --calib "$jets:train" --calib-events 2000 \
  --method quantize:bits=4,activation_bits=8,granularity=per_tensor,calibration=mse,choice=adaround
near "jet tagger, 4 bits, adaround" "$(correct "$work/learnt.h5" "$jets:test" --engine integer)" "$float" $((n / 100))
done_testing
