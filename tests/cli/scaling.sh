#!/usr/bin/env bash
# Who scales what: a network gets the events as they are unless it carries a scaler, or a key asks for
# the dataset's; what is assumed, and inputs off the scaler's range, are told.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 - "$work" <<'END' || exit 1
import json, sys
import h5py
import numpy as np

work = sys.argv[1]
rng = np.random.default_rng(5)
x = np.stack([rng.normal(50, 5, 600), rng.normal(-0.02, 0.001, 600)], 1)
y = (x[:, 0] > 48).astype(int)
with open(f"{work}/events.csv", "w") as f:
    f.write("mass,impact,class\n")
    for row, label in zip(x, y):
        f.write(f"{row[0]:.6f},{row[1]:.8f},{'signal' if label else 'background'}\n")

def net(name, kernel, bias):
    layer = {"class_name": "Dense", "config": {"name": "fc", "units": 1, "activation": "sigmoid", "use_bias": True,
                                               "batch_input_shape": [None, 2]}}
    json.dump({"class_name": "Sequential", "config": {"name": name, "layers": [layer]}}, open(f"{work}/{name}.json", "w"))
    with h5py.File(f"{work}/{name}.h5", "w") as f:
        f.attrs["layer_names"], f.attrs["backend"], f.attrs["keras_version"] = [b"fc"], b"tensorflow", b"2.4.0"
        g = f.create_group("fc")
        g.attrs["weight_names"] = [b"fc/kernel:0", b"fc/bias:0"]
        g["fc/kernel:0"], g["fc/bias:0"] = np.float32(kernel), np.float32(bias)

train = x[:300]  # the import's training split
net("raw", [[1.0], [0.0]], [-48.0])
mean, std = train[:, 0].mean(), train[:, 0].std()
net("standard", [[std], [0.0]], [mean - 48.0])

images = rng.integers(0, 256, (64, 32, 32, 3)).astype(np.float32)
names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
for name, values in (("bytes", images), ("unit", images / 255), ("normal", (images / 255 - 0.45) / 0.225)):
    with h5py.File(f"{work}/{name}.h5", "w") as f:
        f.attrs["format"], f.attrs["layout"], f.attrs["class_names"] = "pquant-dataset", "nhwc", names
        f["x"], f["y"] = values, np.arange(64, dtype=np.uint8) % 10
END
"$pquant" data import "$work/events.csv" -o "$work/events.h5" --splits train=0:0.5,test=0.5:1 -q || fault "import"
right() { "$pquant" model eval "$1" "${@:2}" --format json -q | /usr/bin/python3 -c 'import json,sys; d=json.load(sys.stdin); print(d["correct"], d["n"])'; }
raw=("$work/raw.h5" --arch "$work/raw.json") standard=("$work/standard.h5" --arch "$work/standard.json")

# A network for raw features gets them; one for standardized features asks for the file's scaler.
[ "$(right "${raw[@]}" --data "$work/events.h5:test")" = "300 300" ] || fault "raw: $(right "${raw[@]}" --data "$work/events.h5:test")"
[ "$(right "${raw[@]}" --data "$work/events.csv")" = "600 600" ] || fault "raw from CSV"
[ "$(right "${standard[@]}" --data "$work/events.h5:test" --scaler dataset)" = "300 300" ] || fault "standardized"
read -r n _ <<<"$(right "${standard[@]}" --data "$work/events.h5:test")"
[ "$n" -lt 290 ] || fault "a network for standardized features is right on raw ones: $n"
note="the model has no scaler and gets the events as they are, though the dataset carries one"
expect 0 "note: $note (--scaler dataset)" "$pquant" model eval "${raw[@]}" --data "$work/events.h5:test"
expect 0 "inputs: taken as they are: the model has no scaler" "$pquant" model eval "${raw[@]}" --data "$work/events.h5:test"
expect 0 "inputs: taken as they are: the model has no scaler" "$pquant" model info "${raw[@]}"
expect 2 "carries no scaler that the model could take" "$pquant" model eval "${raw[@]}" --data "$work/events.csv" --scaler dataset
expect 2 "--scaler: 'file' is neither none nor dataset" "$pquant" model eval "${raw[@]}" --data "$work/events.csv" --scaler file

# Taken once, the scaler stays with the model, also for files that carry none.
expect 0 "smaller" "$pquant" compress "${standard[@]}" --scaler dataset -o "$work/small.h5" --method quantize:bits=8 --calib "$work/events.h5:train"
expect 0 "inputs: scaled by the model, (x - mean) / deviation, mean " "$pquant" model info "$work/small.h5"
read -r n _ <<<"$(right "$work/small.h5" --data "$work/events.csv")"
[ "$n" -ge 585 ] || fault "the scaler did not stay: $n of 600"
expect 2 "no events are given" "$pquant" compress "${raw[@]}" --scaler dataset -o "$work/x.h5" --method prune:sparsity=0.5
expect 0 "agree" "$pquant" model diff "${standard[@]}" "$work/small.h5" --data "$work/events.h5:test" --scaler dataset --format json

# In a sweep: the key, the note, the record and the table's footnote.
for net in raw standard; do
  cat >"$work/$net.yaml" <<END
schema: pquant/1
model: {weights: $work/$net.h5, arch: $work/$net.json}
dataset: {file: $work/events.h5}
metrics: [accuracy]
pipelines: {reference: []}
output: {dir: $work/results-$net}
END
done
expect 0 "note: the model does not name its outputs" "$pquant" run "$work/raw.yaml"
expect 0 "$note (model.scaler: dataset)" "$pquant" run "$work/raw.yaml" --force
grep -q "^reference.*,1," <(cut -d, -f1- "$work/results-raw/table.csv") || fault "raw sweep: $(cat "$work/results-raw/table.csv")"
grep -q "Inputs: taken as they are: the model has no scaler" "$work/results-raw/table.md" || fault "no footnote"
expect 0 "Inputs: scaled by the model" "$pquant" run "$work/standard.yaml" -S model.scaler=dataset
grep -q "^reference.*,1," <(cut -d, -f1- "$work/results-standard/table.csv") || fault "sweep with the scaler: $(cat "$work/results-standard/table.csv")"
grep -q '"scaling": "scaled by the model' "$work/results-standard/cells/"*.json || fault "nothing in the record"
# Fine-tuning goes on in the scale that the weights are for.
expect 0 "100" "$pquant" run "$work/raw.yaml" -S 'pipelines={tuned: [{finetune: {epochs: 1, lr: 1e-9}}]}' -S "output.dir=$work/results-tuned"

# Images off the range that a network scales itself.
net=datasets/models/resnet20-cifar10-jpeg.h5
doubt="the inputs do not look like those that the model's scaler was made for: scaled, they have mean -"
for set in unit normal; do
  expect 0 "warning: $doubt" "$pquant" model eval $net --data "$work/$set.h5"
done
out=$("$pquant" model eval $net --data "$work/bytes.h5" 2>&1) || fault "bytes"
[[ $out != *"$doubt"* ]] || fault "bytes are told: $out"
expect 0 "mean 1" "$pquant" model info $net
done_testing
