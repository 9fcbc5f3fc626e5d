#!/usr/bin/env bash
# A public ResNet-20 in PyTorch's old container gets 81.03 % of the 10,000 cifar10-jpeg test
# images. Low rank without fine-tuning, on every fifth image in the order of the files: plain
# factors at 1.26x lose half of it, whitened ones little; every row that was measured with
# other code comes out within one point.
. "$(dirname "$0")/common.sh"
model=$shared/data/models/resnet20-12fca82f.th
[ -f "$model" ] || { echo "skipped: no real data at $shared/data"; exit 77; }
real_cifar "$work/cifar" || fault "cifar10-jpeg"
expect 0 '"correct": 8103' "$pquant" model eval "$model" --arch resnet20 --data "$work/cifar:test" --format json -q
expect 0 '"correct": 1609' "$pquant" model eval "$model" --arch resnet20 --data "$work/cifar:test" --stride 5 --format json -q

expect 5 "12 computed" "$pquant" run configs/papers/resnet20-lowrank.yaml -o "$work/out" -q --jobs 2 -S model.weights="$model" \
  -S dataset.file="$work/cifar" --only "reference,channel ratio*=none,channel_uncentred*,spatial*,tucker*"
published_near "$work/out" 1 || fault "rows differ"
expect 2 "name the network with --arch" "$pquant" model info "$model"
done_testing
