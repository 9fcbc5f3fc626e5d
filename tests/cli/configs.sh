#!/usr/bin/env bash
# Every shipped configuration runs: a training for an epoch, a sweep for the first cell that compresses (exit code
# 5: the others have not been run). Sets that are fetched are stood in for by a few random images in their layouts;
# models that are not shipped come from the folder of real data, or the configuration is skipped. With the argument
# `train`: trainings alone.
. "$(dirname "$0")/common.sh"
only=${1:-}
/usr/bin/python3 - "$work" <<'END'
import os, struct, sys
import numpy as np
rng = np.random.default_rng(1)
folder = sys.argv[1] + "/cifar-10-batches-bin"
os.mkdir(folder)
for name, n in [(f"data_batch_{i}.bin", 40) for i in range(1, 6)] + [("test_batch.bin", 60)]:
    rows = rng.integers(0, 256, (n, 3073), dtype=np.uint8)
    rows[:, 0] = np.arange(n) % 10
    rows.tofile(f"{folder}/{name}")
with open(f"{folder}/batches.meta.txt", "w") as f:
    f.write("\n".join("airplane automobile bird cat deer dog frog horse ship truck".split()) + "\n")
folder = sys.argv[1] + "/fashion-mnist"
os.mkdir(folder)
for name, n in (("train", 600), ("t10k", 200)):
    with open(f"{folder}/{name}-images-idx3-ubyte", "wb") as f:
        f.write(struct.pack(">IIII", 0x803, n, 28, 28) + rng.integers(0, 256, n * 784, dtype=np.uint8).tobytes())
    with open(f"{folder}/{name}-labels-idx1-ubyte", "wb") as f:
        f.write(struct.pack(">II", 0x801, n) + (np.arange(n) % 10).astype(np.uint8).tobytes())
END

# given CONFIG: sets `change`, what stands in for what is not shipped; fails with a reason when nothing does.
given() {
  local file model
  change=()
  file=$(sed -n 's/^ *\(dataset: {\)\?file: *\([^ ,}#]*\).*/\2/p' "$1" | head -1)
  case $file in
  fashion-mnist) change+=(-S "dataset.file=$work/fashion-mnist") ;;
  cifar*) change+=(-S "dataset.file=$work/cifar-10-batches-bin") ;;
  '' | datasets/*) ;;
  *) echo "needs the data of $file" && return 1 ;;
  esac
  model=$(sed -n 's/^  weights: *\([^ #]*\).*/\1/p' "$1" | head -1)
  [ -z "$model" ] || [ -e "$model" ] && return 0
  if [ "$model" = fashion-625.h5 ]; then # which configs/train-fashion-625.yaml makes
    [ -e "$work/train-fashion-625.h5" ] || trained configs/train-fashion-625.yaml
    change+=(-S "model.weights=$work/train-fashion-625.h5")
  elif [ -e "$shared/data/models/$model" ]; then
    change+=(-S "model.weights=$(realpath "$shared/data/models/$model")")
  else
    echo "needs $model, which is not shipped" && return 1
  fi
}

trained() { # CONFIG: one epoch
  local out
  out=$work/$(basename "$1" .yaml).h5
  given "$1" >/dev/null
  expect 0 "weights of epoch 1 of 1" "$pquant" train "$1" "${change[@]}" -S train.epochs=1 -S "output.log=$out.json" \
    -S "output.checkpoint=$out.checkpoint" -o "$out"
  grep -q '"status": "ok"' "$out.json" || fault "$1: $(head -5 "$out.json")"
  change=()
}

swept() { # CONFIG: its first cell with a stage, once
  local label
  label=$("$pquant" plan "$1" "${change[@]}" --format json |
    /usr/bin/python3 -c 'import json, sys; print(next(c["label"] for c in json.load(sys.stdin) if c["stages"]))')
  [ -n "$label" ] || { fault "$1: no cells"; return; }
  expect 5 " 1 computed, 0 cached, 0 failed" "$pquant" run "$1" "${change[@]}" -S seeds.repeats=1 --only "$label" --phase eval -q -o "$work/$(basename "$1" .yaml)"
}

ran=0
for config in configs/*.yaml configs/papers/*.yaml; do
  if ! why=$(given "$config"); then
    echo "skipped: $config $why"
    continue
  fi
  given "$config" >/dev/null
  if grep -q '^train:' "$config"; then
    trained "$config"
  elif [ "$only" = train ]; then
    continue
  else
    swept "$config"
  fi
  ran=$((ran + 1))
done
[ $ran -ge 7 ] || fault "only $ran configurations ran"
done_testing
