#!/usr/bin/env bash
# Names of features and classes: kept with the model, matched, reordered or refused; columns and
# weights chosen by name; event numbers of 64 bits.
. "$(dirname "$0")/common.sh"

# The same jets four times: in order, in another order, with a column more, and with one fewer.
/usr/bin/python3 - datasets/jets-hlf.h5 "$work" <<'END'
import csv, sys
import h5py, numpy as np
f, to = h5py.File(sys.argv[1]), sys.argv[2]
text = lambda v: [t.decode() if isinstance(t, bytes) else t for t in v]
classes, names = text(f.attrs["class_names"]), text(f.attrs["feature_names"])
x, y = f["test/x"][:1500].astype(float), f["test/y"][:1500]
if f.attrs.get("standardized", 0):
    x = x * f.attrs["scaler_std"] + f.attrs["scaler_mean"]
def write(file, columns, extra=()):
    with open(f"{to}/{file}.csv", "w", newline="") as out:
        w = csv.writer(out)
        w.writerow([names[c] for c in columns] + [n for n, _ in extra] + ["class"])
        for i in range(len(x)):
            w.writerow([f"{x[i, c]:.9g}" for c in columns] + [v(i) for _, v in extra] + [classes[y[i]]])
order = list(range(len(names)))
write("plain", order)
write("turned", order[::-1])
write("more", order[8:] + order[:8], [("other", lambda i: i)])
write("weighted", order, [("weight", lambda i: -1 if i % 3 else 2)])
write("fewer", order[:-1])
END
train() { # OUT DATA MODEL: a few epochs, as configs/train-jsc.yaml
  cat >"$work/t.yaml" <<END
schema: pquant/1
name: names
model: $3
dataset: {file: $2, splits: {train: [0, 0.9], test: [0.9, 1]}, test: test}
train: {epochs: 4, batch: 64, optimizer: adam, lr: 0.003, seed: 1}
output: {model: $1, log: $1.json}
END
  "$pquant" train "$work/t.yaml" -q
}
correct() { "$pquant" model eval "$@" --format json 2>/dev/null | /usr/bin/python3 -c 'import json,sys; print(json.load(sys.stdin)["correct"])'; }
train "$work/m.h5" "$work/plain.csv" "{zoo: jsc-mlp}" || fault "the training failed"
first=$(head -1 "$work/plain.csv" | cut -d, -f1)
last=$(head -1 "$work/plain.csv" | cut -d, -f16)
expect 0 "features $first," "$pquant" model info "$work/m.h5"
whole=$(correct "$work/m.h5" --data "$work/plain.csv")
[ "$whole" -gt 700 ] || fault "only '$whole' of 1500 right in the order of training"
[ "$(correct "$work/m.h5" --data "$work/turned.csv")" = "$whole" ] || fault "columns in another order: another result"
[ "$(correct "$work/m.h5" --data "$work/more.csv")" = "$whole" ] || fault "a column more: another result"
expect 2 "fewer.csv has 15 features, but the model takes 16" "$pquant" model eval "$work/m.h5" --data "$work/fewer.csv"
sed "1s/$last/another/" "$work/turned.csv" >"$work/renamed.csv"
expect 2 "has no feature '$last', which the model takes" "$pquant" model eval "$work/m.h5" --data "$work/renamed.csv"
expect 0 "" "$pquant" compress "$work/m.h5" -o "$work/c.h5" --method quantize:bits=8,activation_bits=8 --calib "$work/plain.csv"
expect 0 "" "$pquant" compress "$work/m.h5" -o "$work/d.h5" --method quantize:bits=8,activation_bits=8 --calib "$work/more.csv"
expect 0 "features $first," "$pquant" model info "$work/c.h5"
[ "$(correct "$work/c.h5" --data "$work/turned.csv")" = "$(correct "$work/d.h5" --data "$work/plain.csv")" ] ||
  fault "calibrated on columns in another order: another result"
[ "$("$pquant" model diff "$work/c.h5" "$work/d.h5" --data "$work/turned.csv" | awk 'NF == 4 && $2 != 0' | wc -l)" = 0 ] ||
  fault "two models of the same features differ"

# Accents that lie on a letter, wide letters and hidden characters in names of classes leave the columns where they are.
/usr/bin/python3 - "$pquant" "$work" <<'END' || fault "columns of model eval"
import subprocess, sys, unicodedata
program, work = sys.argv[1:]
names = ["g", "e\u0301t\u0327", "\u6771\u4eac", "a\u202eb\u200bc\u2069d\u2066e", "t"]
with open(f"{work}/plain.csv") as plain, open(f"{work}/accents.csv", "w") as out:
    out.write(plain.readline())
    out.writelines(",".join(row.split(",")[:-1]) + "," + names["gqtwz".index(row.strip()[-1])] + "\n" for row in plain)
text = subprocess.run([program, "model", "eval", f"{work}/m.h5", "--data", f"{work}/accents.csv", "--classes", ",".join(names), "-q"],
                      stdout=subprocess.PIPE, check=True).stdout.decode()
width = lambda t: sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in t)
rows = [line for line in text.splitlines() if line.startswith(("metric", "auc.", "recall."))]
ends = {width(line[:line.index(line.split()[1]) + len(line.split()[1])]) for line in rows}
assert len(rows) >= 11 and len(ends) == 1, (ends, text)
END

# A sweep takes them by name too, calibration and times included.
for file in plain turned more; do
  cat >"$work/sweep.yaml" <<END
schema: pquant/1
name: names
model: {weights: $work/m.h5}
dataset: {file: $work/$file.csv, splits: {calib: [0, 0.2], test: [0.2, 1]}}
metrics: [accuracy]
evaluate: {engine: float32}
latency: {batch: [1], engine: float32, samples: {count: 3, sample_time: 1ms}}
pipelines: {reference: [], int8: [quantize: {bits: 6, activation_bits: 6}]}
END
  expect 0 "report.html" "$pquant" run "$work/sweep.yaml" -o "$work/sweep_$file" -q
  /usr/bin/python3 -c 'import csv, sys
print([(r["label"], r["accuracy"]) for r in csv.DictReader(open(sys.argv[1]))])' "$work/sweep_$file/table.csv" >"$work/sweep_$file.txt"
  cmp "$work/sweep_plain.txt" "$work/sweep_$file.txt" ||
    fault "a sweep over $file.csv: $(cat "$work/sweep_$file.txt"), not $(cat "$work/sweep_plain.txt")"
done
sed -i 's|/more.csv|/fewer.csv|' "$work/sweep.yaml"
expect 2 "fewer.csv has 15 features, but the model takes 16" "$pquant" run "$work/sweep.yaml" -o "$work/sweep_fewer" -q

# Training on from a model: its features, in its order, whatever the file's.
train "$work/on.h5" "$work/turned.csv" "{weights: $work/m.h5}" || fault "training on failed"
expect 0 "features $first," "$pquant" model info "$work/on.h5"
[ "$(correct "$work/on.h5" --data "$work/plain.csv")" -gt "$((whole - 150))" ] || fault "trained on in another order"

# Given twice: refused wherever names are given.
expect 2 "class 'g' is named twice" "$pquant" model eval "$work/m.h5" --data "$work/plain.csv" --classes g,q,g,z,t
expect 2 "input '$first' is named twice" "$pquant" model eval "$work/m.h5" --data "$work/plain.csv" --inputs "$first,$first"
expect 2 "input '$first' is named twice" "$pquant" data import "$work/plain.csv" -o "$work/i.h5" --inputs "$first,$first"
/usr/bin/python3 - "$work" <<'END'
import sys
import h5py, numpy as np
to, rng = sys.argv[1], np.random.default_rng(1)
def own(file, **attributes):
    with h5py.File(f"{to}/{file}.h5", "w") as f:
        f.attrs.update({"format": "pquant-dataset", "class_names": ["a", "b"], "layout": "features", **attributes})
        f["x"], f["y"] = rng.random((200, 3), np.float32), np.arange(200) % 2
        return f
own("classes", class_names=["a", "a"])
own("features", feature_names=["u", "v", "u"])
def numbered(file, numbers):
    with h5py.File(f"{to}/{file}.h5", "w") as f:
        f.attrs.update({"format": "pquant-dataset", "class_names": ["a", "b"], "layout": "features"})
        f["x"], f["y"] = rng.random((len(numbers), 3), np.float32), np.arange(len(numbers)) % 2
        f["aux/event_number"] = numbers
numbered("big", np.uint64(2**63) + np.arange(200, dtype=np.uint64))
numbered("same", np.arange(200, dtype=np.uint64) + 8) # 2**63 ends in 8
numbered("float", np.full(200, 1e20))
with open(f"{to}/big.csv", "w") as f:
    f.write("a,eventNumber,class\n" + "".join(f"{i},{2**63 + i},{'xy'[i % 2]}\n" for i in range(200)))
with h5py.File(f"{to}/ftag.h5", "w") as f:
    f["jets"] = np.array([(1.0, 5 * (i % 2)) for i in range(8)], [("pt", "f4"), ("HadronGhostTruthLabelID", "i4")])
    f["tracks"] = np.ones((8, 2), [("z0", "f4"), ("d0", "f4"), ("valid", "?")])
END
expect 2 "class 'a' is there twice" "$pquant" data info "$work/classes.h5"
expect 2 "feature 'u' is there twice" "$pquant" data info "$work/features.h5"

# Quantities under another name are other quantities.
expect 2 "tracks has no column 'z0SinTheta'" "$pquant" data import "$work/ftag.h5" -o "$work/t.h5" --inputs tracks.z0SinTheta
expect 2 "no column 'HadronConeExclTruthLabelID'" "$pquant" data import "$work/ftag.h5" -o "$work/t.h5" --label HadronConeExclTruthLabelID
expect 0 "t.h5" "$pquant" data import "$work/ftag.h5" -o "$work/t.h5" --inputs tracks.z0,tracks.d0

# Event numbers of 2^63 and more are spread like others.
for file in big.h5 same.h5 big.csv; do
  expect 0 "o.h5" "$pquant" data import "$work/$file" -o "$work/o.h5" --splits train=0:0.6,test=0.6:1
  expect 0 "train            120 events" "$pquant" data info "$work/o.h5"
  expect 0 "test              80 events" "$pquant" data info "$work/o.h5"
done
expect 2 "event 0: its event_number is beyond 64 bits" "$pquant" data import "$work/float.h5" -o "$work/o.h5" --splits train=0:0.6,test=0.6:1

# A column of weights is chosen, or left alone, by name; the class too.
expect 2 "weight" "$pquant" model eval "$work/m.h5" --data "$work/weighted.csv"
[ "$(correct "$work/m.h5" --data "$work/weighted.csv" --weight none)" = "$whole" ] || fault "without weights"
expect 0 "w.h5" "$pquant" data import "$work/weighted.csv" -o "$work/w.h5" --weight none
expect 0 "accuracy" "$pquant" model eval "$work/m.h5" --data "$work/w.h5"
expect 2 "has no column 'w'" "$pquant" model eval "$work/m.h5" --data "$work/weighted.csv" --weight w
expect 2 "has no column 'kind'" "$pquant" model eval "$work/m.h5" --data "$work/plain.csv" --label kind

# Tables as others write them: separators, quotes doubled inside quotes, an index, Windows line ends.
printf 'a;"b;c";class\n1;2;x\n3;4;y\n' >"$work/semicolon.csv"
printf 'a\tb\tclass\r\n1\t2\t"x ""1"", y"\r\n3\t\tz\r\n' >"$work/tab.csv"
printf ',a,b,class\n0,1,2,x\n1,3,4,y\n' >"$work/index.csv"
expect 0 "features: a, b;c" "$pquant" data info "$work/semicolon.csv"
expect 0 'x "1", y 1' "$pquant" data info "$work/tab.csv"
expect 0 "features: a, b" "$pquant" data info "$work/index.csv"
[ "$("$pquant" data info "$work/index.csv" --format json | grep -c '"a"\|"b"')" = 2 ] || fault "the index is a feature"

# Labels as one 1 among 0s.
/usr/bin/python3 - "$work" <<'END'
import sys
import h5py, numpy as np
for file, y in ("hot", np.eye(3)[[2, 0, 1, 2]]), ("warm", np.full((4, 3), 1 / 3)):
    with h5py.File(f"{sys.argv[1]}/{file}.h5", "w") as f:
        f.attrs.update({"format": "pquant-dataset", "class_names": ["a", "b", "c"], "layout": "features"})
        f["x"], f["y"] = np.ones((4, 2), np.float32), y
END
expect 0 "a 1  b 1  c 2" "$pquant" data info "$work/hot.h5"
expect 2 "event 0: its row of y is not one 1 among 0s" "$pquant" data info "$work/warm.h5"

# Labels as texts, of any length and of one, with names stated and without.
/usr/bin/python3 - "$work" <<'END'
import sys
import h5py, numpy as np
free, fixed = h5py.string_dtype(), "S8"
cases = {  # labels of train and test, their type, class_names
    "texts": (["b", "light", "b", "c"], ["c", "b"], free, None),
    "fixed": (["b", "light", "b", "c"], ["c", "b"], fixed, None),
    "stated": (["b", "light", "b", "c"], ["c", "b"], free, ["light", "c", "b", "tau"]),
    "unknown": (["b", "light"], ["c", "B"], free, ["light", "c", "b"]),
    "empty": (["b", ""], ["b", "b"], fixed, None),
    "unicode": (["\u03c4", "b\u0304"], ["\u03c4", "b\u0304"], free, None),
    "mixed": ([0, 1], ["b", "c"], None, None),
    "matrix": ([["a", "b"], ["c", "d"]], ["a", "b"], free, None),
    "fewer": (["a", "b", "a"], ["a"], free, None),
}
for name, (train, test, dtype, stated) in cases.items():
    with h5py.File(f"{sys.argv[1]}/{name}.h5", "w") as f:
        f.attrs.update({"format": "pquant-dataset", "layout": "features"})
        if stated:
            f.attrs["class_names"] = stated
        for split, y in ("train", train), ("test", test):
            n = 2 if name == "fewer" and split == "test" else len(y)
            f[f"{split}/x"] = np.ones((n, 2), np.float32)
            kind = dtype if dtype else (free if isinstance(y[0], str) else "i4")
            f.create_dataset(f"{split}/y", data=np.array(y, dtype=object if kind is free else kind), dtype=kind)
END
for file in texts fixed; do
  expect 0 "b 2  c 1  light 1" "$pquant" data info "$work/$file.h5"
  expect 0 "b 1  c 1  light 0" "$pquant" data info "$work/$file.h5"
done
expect 0 "light 1  c 1  b 2  tau 0" "$pquant" data info "$work/stated.h5"
expect 0 $'b\u0304 1  \u03c4 1' "$pquant" data info "$work/unicode.h5"
expect 2 "unknown.h5: event 1: its label 'B' is none of the file's 3 class_names" "$pquant" data info "$work/unknown.h5"
expect 2 "empty.h5: event 1: its label in train/y is empty" "$pquant" data info "$work/empty.h5"
expect 2 "mixed.h5: test/y holds texts, but that of split 'train' does not" "$pquant" data info "$work/mixed.h5"
expect 2 "matrix.h5: train/y has 4 labels, but there are 2 events" "$pquant" data info "$work/matrix.h5"
expect 2 "fewer.h5: test/y has 1 labels, but there are 2 events" "$pquant" data info "$work/fewer.h5"
# They train and are evaluated as numbered ones are.
/usr/bin/python3 - "$work" <<'END'
import sys
import h5py, numpy as np
with h5py.File("datasets/jets-hlf.h5") as source:
    names = [n.decode() if isinstance(n, bytes) else str(n) for n in np.asarray(source.attrs["class_names"]).tolist()]
    with h5py.File(f"{sys.argv[1]}/jets.h5", "w") as f:
        f.attrs.update({"format": "pquant-dataset", "layout": "features", "class_names": names})
        f["test/x"], y = source["test/x"][:1000], source["test/y"][:1000]
        f.create_dataset("test/y", data=np.array([names[i] for i in y], "S"))
        for key in "scaler_mean", "scaler_std", "feature_names":
            if key in source.attrs:
                f.attrs[key] = source.attrs[key]
END
accuracy() { "$pquant" model eval datasets/models/jsc-mlp.h5 --data "$1" --limit 1000 --format json | grep -A2 '"accuracy"' | head -4; }
[ -n "$(accuracy "$work/jets.h5:test")" ] && [ "$(accuracy "$work/jets.h5:test")" = "$(accuracy datasets/jets-hlf.h5:test)" ] ||
  fault "text labels: $(accuracy "$work/jets.h5:test"), numbered: $(accuracy datasets/jets-hlf.h5:test)"

# What is not read says how to get in.
/usr/bin/python3 - "$work" <<'END'
import sys
import h5py, numpy as np
np.save(sys.argv[1] + "/x.npy", np.ones(3))
np.savez(sys.argv[1] + "/x.npz", a=np.ones(3))
h5py.File(sys.argv[1] + "/foreign.h5", "w")["stuff"] = np.ones(3)
open(sys.argv[1] + "/x.root", "wb").write(b"root" + bytes(60))
open(sys.argv[1] + "/x.parquet", "wb").write(b"PAR1" + bytes(60))
END
expect 2 "x.npy: no labels are beside the events 'x'; its arrays are x [3]" "$pquant" data info "$work/x.npy"
expect 2 "x.npz: none of its arrays is called x; its arrays are a [3]" "$pquant" data info "$work/x.npz"
expect 2 "foreign.h5: none of its arrays is called x; its arrays are stuff [3]" "$pquant" data info "$work/foreign.h5"
for file in x.npy x.npz foreign.h5; do
  expect 2 "hint: name them: --x NAME --y NAME" "$pquant" data info "$work/$file"
done
expect 2 "a file of ROOT: write an .npz of x and y by two lines of Python" "$pquant" data info "$work/x.root"
expect 2 "a file of Parquet: write an .npz of x and y by two lines of Python" "$pquant" data info "$work/x.parquet"
expect 2 "give all of them as an .npz" "$pquant" model info "$work/x.npy"
expect 2 "a state dict holds weights without their network" "$pquant" model info "$work/x.npz"
expect 2 "Keras writes one by" "$pquant" model info "$work/foreign.h5"

# -o takes the log along.
cp "$work/t.yaml" "$work/u.yaml"
sed -i "s|^output:.*|output: {model: $work/u.h5, log: $work/committed.json}|" "$work/u.yaml"
echo kept >"$work/committed.json"
expect 0 "" "$pquant" train "$work/u.yaml" -q -o "$work/v.h5" -S train.epochs=1
[ "$(cat "$work/committed.json")" = kept ] && [ -s "$work/v.log.json" ] || fault "the log of the configuration was written over"
# A column of texts that is no input keeps nothing from being imported.
printf 'name,a,b,eventNumber,class\nq1,1,2,9007199254740993,1\n"q,2",3,4,8,0\nq3,5,6,9,1\n' >"$work/named.csv"
expect 2 "column 'name' holds 'q1', not a number" "$pquant" data import "$work/named.csv" -o "$work/named.h5" -q
expect 0 "$work/named.h5" "$pquant" data import "$work/named.csv" -o "$work/named.h5" --inputs b,a -q
/usr/bin/python3 - "$work/named.h5" <<'P' || fault "what was imported of named.csv is not what it holds"
import sys, h5py
with h5py.File(sys.argv[1]) as f:
    assert f["x"][:].tolist() == [[2, 1], [4, 3], [6, 5]] and f["y"][:].tolist() == [1, 0, 1]
    assert "name" not in f["aux"] and f["aux/eventNumber"][:].tolist() == [9007199254740993, 8, 9]
P
done_testing
