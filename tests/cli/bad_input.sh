#!/usr/bin/env bash
# Bad input: one clear sentence with file and place, the right exit code, no crash, nothing half-written.
. "$(dirname "$0")/common.sh"
model=datasets/models/jsc-mlp.weights.h5 arch=datasets/models/jsc-mlp.json jets=datasets/jets-hlf.h5
eval=("$pquant" model eval)
run() { "$pquant" run "$work/c.yaml" -o "$work/out" --phase eval -q "$@"; }

# Models
expect 2 "$work/none.h5: no such file" "${eval[@]}" "$work/none.h5" --data $jets:test
echo "not a model" >"$work/text.h5"
expect 2 "$work/text.h5" "${eval[@]}" "$work/text.h5" --data $jets:test
head -c 9000 $model >"$work/cut.h5"
expect 2 "$work/cut.h5: is damaged: truncated file" "${eval[@]}" "$work/cut.h5" --arch $arch --data $jets:test
expect 2 "$model" "${eval[@]}" $model --data $jets:test
sed 's/"Dense"/"Dens"/' $arch >"$work/unknown.json"
expect 2 "Dens" "${eval[@]}" $model --arch "$work/unknown.json" --data $jets:test
sed 's/"units": 64/"units": 63/' $arch >"$work/shape.json"
expect 2 "$model with $work/shape.json: layer 'fc1_relu': the kernel in the file is [16, 64], the configuration says [any, 63]" \
  "${eval[@]}" $model --arch "$work/shape.json" --data $jets:test
for units in -3 '"abc"' 2.5; do
  sed "s/\"units\": 64/\"units\": $units/" $arch >"$work/units.json"
  expect 2 "units is $units, not a whole number above 0" "${eval[@]}" $model --arch "$work/units.json" --data $jets:test
done
echo '{"class_name": ' >"$work/half.json"
expect 2 "$work/half.json" "${eval[@]}" $model --arch "$work/half.json" --data $jets:test
/usr/bin/python3 - "$model" "$work/nan.h5" <<'P' || fault "python"
import sys, shutil, h5py
shutil.copy(sys.argv[1], sys.argv[2])
with h5py.File(sys.argv[2], "r+") as f:
    names = []
    f.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    first = [n for n in names if "kernel" in n][0]
    f[first][3, 2] = float("nan")
P
expect 2 "kernel:0 holds nan at [3, 2]" "${eval[@]}" "$work/nan.h5" --arch $arch --data $jets:test

# Data
expect 2 "no split 'tset'" "${eval[@]}" $model --arch $arch --data $jets:tset
expect 2 "train" "${eval[@]}" $model --arch $arch --data $jets
expect 2 "$work/no.h5: no such file" "${eval[@]}" $model --arch $arch --data "$work/no.h5:test"
head -c 100000 $jets >"$work/cut_jets.h5"
expect 2 "$work/cut_jets.h5: is damaged: truncated file" "${eval[@]}" $model --arch $arch --data "$work/cut_jets.h5:test"
if [ "$(id -u)" = 0 ]; then
  chmod 755 "$work" && cp $model "$work/secret.h5" && chmod 600 "$work/secret.h5"
  expect 2 "$work/secret.h5: may not be read" setpriv --reuid 65534 --clear-groups "${eval[@]}" "$work/secret.h5" \
    --arch $arch --data $jets:test
fi
/usr/bin/python3 - "$work" <<'P' || fault "python"
import sys, h5py, numpy as np
def write(name, x, y):
    with h5py.File(f"{sys.argv[1]}/{name}.h5", "w") as f:
        f.attrs["format"] = "pquant-dataset"
        f.attrs["class_names"] = ["g", "q", "w", "z", "t"]
        f["x"], f["y"] = x, y
x = np.zeros((10, 16), "f4")
write("label", x, np.array([0, 1, 2, 3, 4, 5, 0, 1, 2, 3], "u1"))
write("empty", x[:0], np.zeros(0, "u1"))
write("narrow", x[:, :15], np.zeros(10, "u1"))
x[7, 3] = np.nan
write("nan_feature", x, np.zeros(10, "u1"))
P
expect 2 "label" "${eval[@]}" $model --arch $arch --classes g,q,w,z,t --data "$work/label.h5"
expect 2 "empty.h5" "${eval[@]}" $model --arch $arch --classes g,q,w,z,t --data "$work/empty.h5"
expect 2 "15" "${eval[@]}" $model --arch $arch --classes g,q,w,z,t --data "$work/narrow.h5"
expect 2 "event 7" "${eval[@]}" $model --arch $arch --classes g,q,w,z,t --data "$work/nan_feature.h5"

# Methods
compress=("$pquant" compress $model --arch $arch -o "$work/out.h5")
expect 2 "rank" "${compress[@]}" --method svd:rank=0
expect 2 "not in 1.." "${compress[@]}" --method svd:rank=9999
expect 2 "did you mean 'svd'?" "${compress[@]}" --method sdv:rank=2
expect 2 "did you mean 'rank'?" "${compress[@]}" --method svd:rnak=2
expect 2 "needs calibration events" "${compress[@]}" --method quantize
expect 2 "no --method given" "${compress[@]}"
[ ! -e "$work/out.h5" ] || fault "a failed compress left a file"

# Configurations
base='schema: pquant/1
name: x
model: {weights: datasets/models/jsc-mlp.weights.h5, arch: datasets/models/jsc-mlp.json, classes: [g, q, w, z, t]}
dataset: {file: datasets/jets-hlf.h5}
metrics: [accuracy, auc, confusion]'
config() { printf '%s\n%s\n' "$base" "$1" >"$work/c.yaml"; }
config 'pipelines: {reference: []}
latencyy: {batch: [1]}'
expect 2 "c.yaml:7:1: " run
config 'pipelines: {reference: []}
name: y'
expect 2 "c.yaml:7:1: " run
config 'pipelines: {svd: [{svd: {rank: 0}}]}'
expect 2 "rank = 0 is not in 1.." run
config 'pipelines: {svd: [{svd: {rank: $r}}]}'
expect 2 "r" run
config 'pipelines: {reference: [], svd: {stages: [{svd: {rank: 9999}}]}, half: [{quantize: {format: float16}}]}'
expect 3 "1 of 3 cells failed" run
grep -q "c.yaml:6:.*: layer '.*': rank 9999 is not in 1\.\." "$work"/out/table.csv ||
  fault "no place with the failed cell: $(cut -d, -f4-6 "$work/out/table.csv")"
[ -s "$work/out/table.csv" ] || fault "the cells that did not fail have no table"
rm -rf "$work/out"
config 'pipelines: {reference: []}'
expect 2 "none.yaml" "$pquant" run "$work/none.yaml"
echo '[1, 2' >"$work/broken.yaml"
expect 2 "broken.yaml:" "$pquant" run "$work/broken.yaml"

config 'pipelines: {reference: []}'
sed -i "s|datasets/jets-hlf.h5|$work/narrow.h5|" "$work/c.yaml"
expect 2 "narrow.h5 are [15], but the model's input is [16]" run
config 'pipelines: {reference: []}
latencyy: {batch: [1]}'
[ "$(run 2>&1 | grep -c latencyy)" = 1 ] || fault "one mistake is told more than once"
config 'pipelines: {reference: []}
latencyy: {batch: [1]}
metrix: [auc]'
expect 2 "2 problems, listed above" run
config 'pipelines: {reference: []}'

# Folders and disks
mkfifo "$work/pipe.h5"
expect 2 "$work/pipe.h5: is there and not a regular file" "$pquant" compress $model --arch $arch -o "$work/pipe.h5" \
  --method svd:rank=4
[ -p "$work/pipe.h5" ] || fault "a pipe was replaced"
expect 2 "/dev/null" "$pquant" run "$work/c.yaml" -o /dev/null/x -q
if [ "$(id -u)" = 0 ] && mkdir "$work/disk" && mount -t tmpfs -o size=64k tmpfs "$work/disk" 2>/dev/null; then
  head -c 60000 /dev/zero >"$work/disk/filler"
  expect 75 "$work/disk" "$pquant" run "$work/c.yaml" -o "$work/disk/out" --phase eval -q
  expect 75 "$work/disk/small.h5" "$pquant" compress $model --arch $arch -o "$work/disk/small.h5" --method svd:rank=4
  expect 75 "$work/disk/scores.h5" "${eval[@]}" $model --arch $arch --data $jets:test --scores "$work/disk/scores.h5"
  [ ! -e "$work/disk/scores.h5" ] || fault "half-written scores were left on the full disk"
  [ -z "$(find "$work/disk" -name '*.tmp.*')" ] || fault "temporary files were left on the full disk"
  rm -rf "$work"/disk/*
  # Pictures are whole or not there, and drawn once there is room.
  for size in 250k 400k 450k; do
    mount -o remount,size=$size "$work/disk"
    run_there() { "$pquant" run "$work/c.yaml" -o "$work/disk/out" --phase eval -q; }
    run_there >"$work/log" 2>&1
    for picture in "$work"/disk/out/plots/*.svg; do
      [ ! -e "$picture" ] || tail -c 20 "$picture" | grep -q '</svg>' || fault "half a picture with $size: $picture"
    done
  done
  mount -o remount,size=8m "$work/disk"
  expect 0 "table.csv" run_there
  for picture in "$work"/disk/out/plots/{roc,confusion}.svg; do
    tail -c 20 "$picture" | grep -q '</svg>' || fault "not drawn again: $picture"
  done
  umount "$work/disk"
else
  echo "skipped: full disk (needs root and mount)"
fi
done_testing
