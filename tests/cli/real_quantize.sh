#!/usr/bin/env bash
# A public ResNet-20 in PyTorch's old container, quantized after training on 400 other images, on
# every fifth test image of cifar10-jpeg in the order of the files: rows that were measured with
# other code (BatchNorm folded, ranges by the extremes) come out within one point.
. "$(dirname "$0")/common.sh"
model=$shared/data/models/resnet20-12fca82f.th
[ -f "$model" ] || { echo "skipped: no real data at $shared/data"; exit 77; }
real_cifar "$work/cifar" || fault "cifar10-jpeg"
expect 5 ", 0 failed," "$pquant" run configs/papers/resnet20-ptq.yaml -o "$work/out" -q --jobs 2 -S model.weights="$model" \
  -S dataset.file="$work/cifar" --only "reference,w8a8*,w6a*,w4a8 *,rounding bits=4 * choice=adaround"
published_near "$work/out" 1 || fault "rows differ"
# Own numbers: learnt rounding wins most of that back.
rows_near "$work/out/table.csv" 1 <<'END' || fault "rows of learnt rounding differ"
rounding bits=4 granularity=per_channel choice=adaround=80.1
rounding bits=4 granularity=per_tensor choice=adaround=79.65
END
done_testing
