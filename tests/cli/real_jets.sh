#!/usr/bin/env bash
# The published 70 %-pruned tagger of Duarte et al. 2018 gets exactly 778 of the 1000
# real jets right, in every engine, at every batch size and thread count. Its outputs
# are g,q,w,z,t, the file's classes g,q,t,w,z: matched by name. Engine bf16 rounds what it
# multiplies to 8 bits: at most 5 jets apart, and the same number each time.
. "$(dirname "$0")/common.sh"
model=$shared/data/models/KERAS_3layer_70pruned_retrained_weights.h5
arch=$shared/data/models/KERAS_3layer.json
jets=$shared/data/jsc-openml-1000/jets.h5
[ -f "$model" ] || { echo "skipped: no real data at $shared/data"; exit 77; }
expect 0 "parameters 4389 (1338 not zero)" "$pquant" model info "$model" --arch "$arch"
engines=$("$pquant" doctor --format json | /usr/bin/python3 -c 'import json,sys; print(*json.load(sys.stdin)["engines"])')
for engine in $engines; do
  right=778
  if [ "$engine" = bf16 ]; then
    eval_bf16=("$pquant" model eval "$model" --arch "$arch" --data "$jets" --classes g,q,w,z,t --engine bf16 --format json -q)
    if [ "$("$pquant" doctor --format json | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["bf16"])')" = "" ]; then
      expect 2 "engine 'bf16' needs AVX-512 BF16" "${eval_bf16[@]}"
      continue
    fi
    right=$("${eval_bf16[@]}" | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["correct"])')
    [ "$right" -ge 773 ] && [ "$right" -le 783 ] || fault "$right jets right in bf16, not 778 +- 5"
  fi
  for batch in 1 7 64 1000 4096; do
    for threads in 1 2 3; do
      expect 0 "\"correct\": $right" "$pquant" model eval "$model" --arch "$arch" --data "$jets" \
        --classes g,q,w,z,t --engine $engine --batch $batch --threads $threads --format json -q
    done
  done
done
expect 2 "the model has 5 outputs but there are 4 classes" "$pquant" model eval "$model" --arch "$arch" --data "$jets" \
  --classes g,q,w,z
expect 2 "the model's classes (g,q,w,z,b) have no 't' of the dataset's (g,q,t,w,z)" "$pquant" model eval "$model" \
  --arch "$arch" --data "$jets" --classes g,q,w,z,b
done_testing
