#!/usr/bin/env bash
# Events as users have them: .npy of a folder, .npz, HDF5 of any layout, text between commas, semicolons, tabs and
# blanks. Every one of them gives what our own file of the same jets gives, on the command line and in a configuration.
. "$(dirname "$0")/common.sh"
model=datasets/models/jsc-mlp.weights.h5 arch=datasets/models/jsc-mlp.json
cat >"$work/make.py" <<'P'
import csv, sys, h5py, numpy as np
out = sys.argv[1]
with h5py.File("datasets/jets-hlf.h5") as f:
    names = [n.decode() if isinstance(n, bytes) else n for n in f.attrs["feature_names"]]
    classes = [n.decode() if isinstance(n, bytes) else n for n in f.attrs["class_names"]]
    x, y = f["test/x"][:2000].astype("f4"), f["test/y"][:2000].astype("i8")
    x = ((x - f.attrs["scaler_mean"]) / f.attrs["scaler_std"]).astype("f4") # as the network takes them
w = np.linspace(0.5, 1.5, len(y))
with h5py.File(f"{out}/own.h5", "w") as f:
    f.attrs["format"], f.attrs["class_names"], f.attrs["feature_names"] = "pquant-dataset", classes, names
    f["x"], f["y"], f["weight"] = x, y, w
one_hot, texts = np.eye(5)[y], np.array(classes)[y]
np.savez(f"{out}/index.npz", x=x, y=y, w=w, class_names=classes, feature_names=names)
np.savez_compressed(f"{out}/packed.npz", X=x, Y=y.astype("u8"), weights=w.astype("f2") * 0 + w, classes=np.array(classes, "S"))
np.savez(f"{out}/onehot.npz", x=np.asfortranarray(x.astype("f8")), y=one_hot.astype("f4"), weight=w, classes=classes)
np.savez(f"{out}/texts.npz", jets=x, truth=texts, w=w)
np.savez(f"{out}/splits.npz", X_train=x[:500], y_train=y[:500], X_test=x, y_test=y, w_train=w[:500], w_test=w, classes=classes)
import os
os.mkdir(f"{out}/folder")
for name, a in {"X_train": x[:500], "y_train": y[:500], "X_test": x, "y_test": one_hot, "classes": np.array(classes)}.items():
    np.save(f"{out}/folder/{name}.npy", a)
np.save(f"{out}/folder/y_train.npy", np.eye(5)[y[:500]])
with h5py.File(f"{out}/foreign.h5", "w") as f:
    f["data/jets"], f["data/truth"], f["data/w"] = x, one_hot.astype("u1"), w
    f["other/jets"], f["other/truth"] = x[:10], one_hot[:10].astype("u1")
    f["classes"] = classes
    f["data/kind"] = np.dtype("f4")
with h5py.File(f"{out}/texts.h5", "w") as f:
    f["jets"], f["truth"] = x, np.array(texts, "S")
for name, end, sep in (("comma", "csv", ","), ("semicolon", "csv", ";"), ("tab", "tsv", "\t"), ("blank", "dat", "   ")):
    with open(f"{out}/{name}.{end}", "w") as f:
        print(*names, "weight", "class", sep=sep, file=f)
        for row, v, t in zip(x, w, texts):
            print(*(repr(float(r)) for r in row), repr(float(v)), t, sep=sep, file=f)
numbers = np.hstack([x.astype("f8"), y[:, None]])
np.savetxt(f"{out}/header.txt", numbers, fmt="%.9g", header="written by NumPy\n" + " ".join(names + ["class"]))
np.savetxt(f"{out}/bare.txt.gz", numbers, fmt="%.9g")
np.savez(f"{out}/signs.npz", x=x, y=np.where(y == 4, 1, -1))
P
/usr/bin/python3 "$work/make.py" "$work" || fault "making the files failed"
number() { # JSON KEY: the exact digits
  /usr/bin/python3 -c 'import json, sys; e = json.loads(sys.argv[1]); print(e["correct"], repr(e["metrics"]["accuracy"]["value"]))' "$1"
}
eval_of() { "$pquant" model eval $model --arch $arch --classes g,q,w,z,t --engine reference --format json -q "$@" 2>&1; }
weighted=$(number "$(eval_of --data "$work/own.h5")")
plain=$(number "$(eval_of --data "$work/own.h5" --weight none)")
echo "of our own file: $weighted weighted, $plain without"
[ "$weighted" != "$plain" ] || fault "the weights make no difference, and show nothing"
same() { # DUE WHAT OPTION…
  local due=$1 what=$2 got out
  shift 2
  out=$(eval_of "$@") && got=$(number "$out") || { fault "$what: $out"; return; }
  [ "$got" = "$due" ] || fault "$what gives $got, our own file $due"
}
same "$weighted" "npz of indices" --data "$work/index.npz"
same "$weighted" "compressed npz" --data "$work/packed.npz"
same "$weighted" "npz, one-hot, by columns" --data "$work/onehot.npz"
same "$weighted" "npz of texts, named" --data "$work/texts.npz" --x jets --y truth --weight w
same "$plain" "npz of texts, weights left" --data "$work/texts.npz" --x jets --y truth --weight none
same "$weighted" "npz of splits" --data "$work/splits.npz:test"
same "$plain" "folder of npy" --data "$work/folder:test"
same "$plain" "one npy" --data "$work/folder/X_test.npy"
same "$plain" "one npy, labels named" --data "$work/folder/X_test.npy" --y y_test.npy
same "$weighted" "foreign HDF5" --data "$work/foreign.h5" --x data/jets --y data/truth --weight data/w
same "$plain" "foreign HDF5 of splits" --data "$work/foreign.h5:all" --x all=data/jets,few=other/jets --y all=data/truth,few=other/truth
same "$plain" "foreign HDF5 of texts" --data "$work/texts.h5" --x jets --y truth
for file in comma.csv semicolon.csv tab.tsv blank.dat; do same "$weighted" $file --data "$work/$file"; done
same "$plain" "names behind #" --data "$work/header.txt" --classes 0,1,2,3,4
same "$plain" "no names" --data "$work/bare.txt.gz" --label 16 --classes 0,1,2,3,4
expect 0 "layout arrays" "$pquant" data info "$work/splits.npz"
expect 0 "train            500 events" "$pquant" data info "$work/folder"
expect 0 "signal 4" "$pquant" data info "$work/signs.npz" --labels signal=1,rest=-1
expect 0 "imported.h5" "$pquant" data import "$work/foreign.h5" -o "$work/imported.h5" --x all=data/jets --y all=data/truth
same "$plain" "imported" --data "$work/imported.h5:all"

# Calibration needs events alone: without labels they give the same network, in whatever file they lie.
/usr/bin/python3 - "$work" <<'P' || fault "making events without labels failed"
import sys, h5py, numpy as np
out, a = sys.argv[1], np.load(sys.argv[1] + "/index.npz")
x, y, names = a["x"], a["y"], a["class_names"]
np.savez(f"{out}/bare.npz", x=x)
np.save(f"{out}/events.npy", x)
for name, parts in {"bare": {"x": x}, "late": {"train/x": x, "test/x": x, "test/y": np.eye(5)[y]},
                    "early": {"train/x": x, "train/y": np.array(names, "S")[y], "test/x": x}}.items():
    with h5py.File(f"{out}/own_{name}.h5", "w") as f:
        f.attrs["format"] = "pquant-dataset"
        for place, values in parts.items():
            f[place] = values
with h5py.File(f"{out}/foreign_bare.h5", "w") as f:
    f["data/jets"] = x
P
calibrate() { # METHOD OPTION…
  "$pquant" compress datasets/models/jsc-mlp.h5 -o "$work/small.h5" -q --method "$@" 2>&1
}
calibrate quantize --calib "$work/index.npz" || fault "calibration with labels"
mv "$work/small.h5" "$work/due.h5"
for events in "bare.npz" "events.npy" "own_bare.h5" "own_late.h5:train" "own_late.h5:test" "own_early.h5:test" \
  "own_early.h5:train" "foreign_bare.h5 --x data/jets"; do
  calibrate quantize --calib $work/$events || fault "calibration on $events"
  cmp "$work/small.h5" "$work/due.h5" || fault "calibration on $events gives another network"
done
for events in "bare.npz" "own_late.h5:test"; do # what a loss gains needs labels, of any split of the file
  expect 2 "no labels are beside the events" calibrate prune:criterion=taylor --calib "$work/$events"
done
calibrate prune:criterion=taylor --calib "$work/index.npz" || fault "calibration of a loss with labels"
expect 2 "no labels are beside the events 'x'" calibrate finetune:epochs=1 --train "$work/bare.npz"
expect 2 "no labels are beside the events 'x'" "$pquant" model eval $model --arch $arch --data "$work/bare.npz"
expect 2 "own_bare.h5: x has no y beside it: labels are needed" "$pquant" model eval $model --arch $arch --data "$work/own_bare.h5"

# The same in a configuration.
cat >"$work/c.yaml" <<Y
schema: pquant/1
name: arrays
model: {weights: $root/$model, arch: $root/$arch, classes: [g, q, w, z, t]}
dataset:
  file: $work/foreign.h5
  x: {train: other/jets, test: data/jets}
  y: {train: other/truth, test: data/truth}
  weight: {test: data/w}
evaluate: {engine: reference}
pipelines: {reference: []}
metrics: [accuracy]
Y
expect 0 "" "$pquant" run "$work/c.yaml" -o "$work/results" -q
/usr/bin/python3 - "$work/results/table.csv" "${weighted#* }" <<'P' || fault "a configuration gives another number"
import csv, sys
row = next(csv.DictReader(open(sys.argv[1])))
sys.exit(abs(float(row["accuracy"]) - float(sys.argv[2])) > 1e-12)
P

# What is missing or wrong is said with the names that there are.
expect 2 "texts.npz: none of its arrays is called x; its arrays are jets [2000, 16], truth [2000] of texts, w [2000]" "$pquant" data info "$work/texts.npz"
expect 2 "hint: name them: --x NAME --y NAME" "$pquant" data info "$work/foreign.h5"
expect 2 "has no array 'jet'; there are jets" "$pquant" data info "$work/texts.npz" --x jet --y truth
expect 2 "y 'train=truth,test=truth' names split 'test', of which x names no events" "$pquant" data info "$work/texts.npz" --x train=jets --y train=truth,test=truth
expect 2 "y 'train=truth,train=w' names two arrays of split 'train'" "$pquant" data info "$work/texts.npz" --x train=jets --y train=truth,train=w
expect 2 "no labels are beside the events 'jets'" "$pquant" data info "$work/texts.npz" --x jets
expect 2 "event 0: its label -1 in 'y' is no whole number" "$pquant" data info "$work/signs.npz"
expect 2 "'w_test' has 2000 values, but there are 500 events" "$pquant" data info "$work/splits.npz" --x X_train --y y_train --weight w_test
expect 2 "holds no arrays by names (layout csv), so x 'a' names none" "$pquant" data info "$work/comma.csv" --x a
expect 2 "gives no names but values, so the columns are called 0 to 16" "$pquant" data info "$work/bare.txt.gz"
/usr/bin/python3 - "$work" <<'P'
import numpy as np, sys
a = np.zeros((4, 2))
np.savez(sys.argv[1] + "/objects.npz", x=a, y=np.array(["a", "b", None, 1], object))
np.savez(sys.argv[1] + "/big.npz", x=a.astype(">f4"), y=np.zeros(4))
np.savez(sys.argv[1] + "/record.npz", x=np.zeros(4, [("pt", "f4"), ("eta", "f4")]), y=np.zeros(4))
np.savez(sys.argv[1] + "/soft.npz", x=a, y=np.full((4, 3), 1 / 3))
np.savez(sys.argv[1] + "/none.npz", x=a[:0], y=a[:0, 0])
P
expect 2 "objects.npz: 'y': its items are objects of Python, which are not executed" "$pquant" data info "$work/objects.npz"
expect 2 "'x': descr '>f4'" "$pquant" data info "$work/big.npz"
expect 2 "'x': its items have columns of their own" "$pquant" data info "$work/record.npz"
expect 2 "event 0: its row of y is not one 1 among 0s" "$pquant" data info "$work/soft.npz"
expect 2 "shape (0, 2)" "$pquant" data info "$work/none.npz"

# Events without some of the model's classes: matched by name, and as many are right as of all the jets.
/usr/bin/python3 - "$work" <<'P' || fault "no jets of some classes"
import sys, h5py, numpy as np
with h5py.File("datasets/jets-hlf.h5") as f:
    x, y = f["test/x"][:3000], f["test/y"][:3000]
    names = np.array([n if isinstance(n, str) else n.decode() for n in f.attrs["class_names"]])
np.savez(sys.argv[1] + "/all.npz", x=x, y=names[y])
some = np.isin(names[y], ["q", "t"])
np.savez(sys.argv[1] + "/some.npz", x=x[some], y=names[y][some])
np.savez(sys.argv[1] + "/other.npz", x=x[some], y=np.char.replace(names[y][some], "t", "top"))
np.savez(sys.argv[1] + "/numbers.npz", x=x[some], y=(names[y][some] == "t").astype(int))
P
for name in all some; do
  "$pquant" model eval datasets/models/jsc-mlp.h5 --data "$work/$name.npz" -q --format json --scores "$work/$name.h5" >"$work/$name.json" || fault "$name"
done
/usr/bin/python3 - "$work" <<'P' || fault "jets of some classes are not counted as in all"
import sys, h5py, json, numpy as np
net = h5py.File("datasets/models/jsc-mlp.h5")
order = json.loads(net["graph"][()])["class_names"] if isinstance(json.loads(net["graph"][()]), dict) else None
of = {n: json.load(open(f"{sys.argv[1]}/{n}.json")) for n in ("all", "some")}
truth = np.load(sys.argv[1] + "/all.npz")["y"]
with h5py.File(sys.argv[1] + "/all.h5") as f:
    found = np.array(order)[f["scores"][:].argmax(1)]
keep = np.isin(truth, ["q", "t"])
assert of["all"]["correct"] == (found == truth).sum() and of["all"]["n"] == 3000
assert of["some"]["correct"] == (found == truth)[keep].sum() and of["some"]["n"] == keep.sum()
P
expect 2 "are not the dataset's (q,top)" "$pquant" model eval datasets/models/jsc-mlp.h5 --data "$work/other.npz" -q
expect 2 "are not the dataset's (0,1)" "$pquant" model eval datasets/models/jsc-mlp.h5 --data "$work/numbers.npz" -q

# The example of docs/file-formats.md, as it stands there: 1527 of its 2000 jets are right before.
block() { sed -n '/^From arrays to a smaller net/,/^```yaml/p' docs/file-formats.md | sed -n "/^\`\`\`$1/,/^\`\`\`\$/p" | sed '1d;$d'; }
mkdir "$work/docs" && ln -s "$PWD/datasets" "$work/docs/datasets"
block python >"$work/docs/make.py"
block bash >"$work/docs/run.sh"
grep -q "pquant compress" "$work/docs/run.sh" || fault "docs/file-formats.md has no example of arrays"
(cd "$work/docs" && /usr/bin/python3 make.py && PATH=$(dirname "$(realpath "$pquant")"):$PATH bash -e run.sh) >"$work/log" 2>&1 ||
  fault "the example of docs/file-formats.md: $(cat "$work/log")"
right=$(sed -n 's/^\([0-9]*\) of 2000 events right$/\1/p' "$work/log")
[ "${right:-0}" -ge 1500 ] || fault "the example of docs/file-formats.md: '$right' of 2000 right"
done_testing
