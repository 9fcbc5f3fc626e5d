#!/usr/bin/env bash
# A public ResNet-20 in PyTorch's old container gets 81.03 % of the 10,000 cifar10-jpeg test
# images. At 1.26x fewer values, without fine-tuning, plain factors lose half of it and
# whitened ones little.
. "$(dirname "$0")/common.sh"
model=$shared/data/models/resnet20-12fca82f.th
[ -f "$model" ] || { echo "skipped: no real data at $shared/data"; exit 77; }
/usr/bin/python3 "$shared/data/cifar10-jpeg/to_binary.py" "$work/cifar" || fault "to_binary.py"
expect 0 '"correct": 8103' "$pquant" model eval "$model" --arch resnet20 --data "$work/cifar:test" --format json -q
percent() { # weighting: right ones of 2000
  expect 0 "x smaller" "$pquant" compress "$model" --arch resnet20 -o "$work/$1.h5" --calib "$work/cifar:train" \
    --calib-events 400 --method "svd:ratio=1.25,weighting=$1,fold=yes,layers=stage*conv?"
  "$pquant" model eval "$work/$1.h5" --data "$work/cifar:test" --limit 2000 --format json -q |
    sed -n 's/.*"correct": \([0-9]*\).*/\1/p'
}
plain=$(percent none | tail -1)
whitened=$(percent whitened | tail -1)
echo "of 2000: plain $plain, whitened $whitened"
[ "$plain" -ge 780 ] && [ "$plain" -le 920 ] || fault "plain factors get $plain of 2000"
[ "$whitened" -ge 1480 ] && [ "$whitened" -le 1580 ] || fault "whitened factors get $whitened of 2000"
expect 2 "name the network with --arch" "$pquant" model info "$model"
done_testing
