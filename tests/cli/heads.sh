#!/usr/bin/env bash
# Networks whose outputs are no softmax, the whole way through: scores, AUC, losses and decisions against
# values by hand, and every verb for independent sigmoids, one sigmoid, one logit and none of them.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 - "$work" <<'END' || exit 1
import json, sys
import h5py
import numpy as np

work = sys.argv[1]

def keras(name, kernel, activation, hidden=None):
    """A weights-only file of Keras 2 with its JSON: [hidden relu,] dense, activation."""
    layers, groups = [], {}
    sizes = ([("h", hidden, "relu")] if hidden is not None else []) + [("fc", kernel, activation)]
    for i, (n, k, a) in enumerate(sizes):
        config = {"name": n, "units": k.shape[1], "activation": a, "use_bias": False}
        if i == 0:
            config["batch_input_shape"] = [None, k.shape[0]]
        layers.append({"class_name": "Dense", "config": config})
        groups[n] = k
    json.dump({"class_name": "Sequential", "config": {"name": name, "layers": layers}},
              open(f"{work}/{name}.json", "w"))
    with h5py.File(f"{work}/{name}.h5", "w") as f:
        f.attrs["layer_names"] = [n.encode() for n in groups]
        f.attrs["backend"], f.attrs["keras_version"] = b"tensorflow", b"2.4.0"
        for n, k in groups.items():
            g = f.create_group(n)
            g.attrs["weight_names"] = [f"{n}/kernel:0".encode()]
            g[f"{n}/kernel:0"] = k.astype(np.float32)

def events(name, x, y, classes, splits=None):
    with h5py.File(f"{work}/{name}.h5", "w") as f:
        f.attrs["format"] = "pquant-dataset"
        f.attrs["class_names"] = classes
        for split, part in (splits or {"": slice(None)}).items():
            f[f"{split}/x"], f[f"{split}/y"] = x[part].astype(np.float32), y[part].astype(np.uint8)

x = np.array([[1, -1, -3], [2, 1, 0], [1, 1, 1], [3, -3, -3], [-1, 0, 0], [2, 1, 3]])
events("six", x, np.array([0, 0, 1, 1, 1, 2]), ["a", "b", "c"])
for a in ("sigmoid", "linear", "tanh", "relu"):
    keras(a, np.eye(3), a)
events("two", x[:, :1], np.array([0, 1, 0, 1, 0, 1]), ["no", "yes"])
for a in ("sigmoid", "linear", "tanh"):
    keras("one-" + a, np.eye(1), a)

# Two overlapping clouds in eight dimensions, of a hidden layer and one output.
rng = np.random.default_rng(3)
n = 4000
y = rng.integers(0, 2, n)
x = rng.normal(0, 1, (n, 8)) + 0.5 * y[:, None] * np.linspace(0.2, 1, 8)
parts = {"train": slice(0, 2000), "val": slice(2000, 3000), "test": slice(3000, n)}
events("clouds", x, y, ["background", "signal"], parts)
hidden, top = rng.normal(0, 0.4, (8, 16)), rng.normal(0, 0.4, (16, 1))
keras("binary", top, "sigmoid", hidden)
keras("logit", top, "linear", hidden)
y3 = rng.integers(0, 3, n)
x3 = rng.normal(0, 1, (n, 8))
x3[np.arange(n), y3] += 1.5
events("three", x3, y3, ["a", "b", "c"], parts)
keras("coins", rng.normal(0, 0.4, (16, 3)), "sigmoid", hidden)
END
number() { /usr/bin/python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); print(eval(sys.argv[2], {"d": d, "m": {k: v["value"] for k, v in d.get("metrics", {}).items()}}))' "$1" "$2"; }
eval_json() { # MODEL DATA EXTRA…: into $work/out.json, scores beside it
  local model=$1 data=$2
  shift 2
  "$pquant" model eval "$work/$model.h5" --arch "$work/$model.json" --data "$work/$data.h5" --format json -q \
    --scores "$work/scores.h5" "$@" >"$work/out.json" || fault "eval of $model"
}
is() { # WHAT EXPRESSION: of the last eval
  [ "$(number "$work/out.json" "$2")" = "$1" ] || fault "$2 is $(number "$work/out.json" "$2"), not $1"
}
near() { # EXPRESSION VALUE: of the last eval
  [ "$(number "$work/out.json" "abs(($1) - ($2)) < 1e-6")" = True ] || fault "$1 is $(number "$work/out.json" "$1"), not $2"
}
scores() { # EXPRESSION: holds for s, the scores, and x, the events
  /usr/bin/python3 -c 'import h5py,numpy as np,sys; f=h5py.File(sys.argv[1]); s=f["scores"][:]; h=f["scores"].attrs["head"]; h=h if isinstance(h, str) else h.decode(); x=h5py.File(sys.argv[2])["x"][:]; sys.exit(not eval(sys.argv[3]))' "$work/scores.h5" "$work/$1.h5" "$2" ||
    fault "scores: not $2"
}

# Three sigmoids on six events: AUC 1/2, 1/3 and 1 (a softmax over them would give 3/4, 5/9 and 1).
for engine in reference float32 int8; do
  eval_json sigmoid six --engine $engine
  is sigmoid 'd["head"]'
  near 'm["auc.a"]' 0.5
  near 'm["auc.b"]' '1 / 3'
  near 'm["auc.c"]' 1
  is 4 'd["correct"]'
  # at 0.5 (x >= 0): a keeps 2 of 2 and 3 of 4, b 2 of 3 and 2 of 3, c 1 of 1 and 3 of 5
  near 'm["efficiency.a"]' 1
  near 'm["mistag.a"]' 0.75
  near 'm["efficiency.b"]' '2 / 3'
  near 'm["mistag.b"]' '2 / 3'
  near 'm["mistag.c"]' 0.6
  near 'm["log_loss"]' 'sum(__import__("math").log(1 + __import__("math").exp(-z if i == k else z)) for row, k in zip([[1, -1, -3], [2, 1, 0], [1, 1, 1], [3, -3, -3], [-1, 0, 0], [2, 1, 3]], [0, 0, 1, 1, 1, 2]) for i, z in enumerate(row)) / 6'
  scores six 'h == "sigmoid" and np.abs(s - 1 / (1 + np.exp(-x))).max() < 1e-6'
done

# tanh and relu only rank: AUC by rank, no log loss; named, they are what is said.
for a in tanh relu; do
  eval_json $a six
  is none 'd["head"]'
  is True '"log_loss" not in m and d["refused"][0].startswith("log_loss: the model")'
  near 'm["auc.c"]' 1
done
near 'm["auc.a"]' 0.5 # of relu: 1 and 2 against 1, 3, 0 and 2 win 1.5 and 2.5 of 4
scores six 'np.abs(s - np.maximum(x, 0)).max() == 0'
expect 0 "only rank events (head none) (--head says otherwise)" "$pquant" model eval "$work/tanh.h5" --arch "$work/tanh.json" --data "$work/six.h5"
expect 0 "not computed: log_loss: " "$pquant" model eval "$work/tanh.h5" --arch "$work/tanh.json" --data "$work/six.h5"
expect 0 "head logits: logits, probabilities by softmax" "$pquant" model eval "$work/tanh.h5" --arch "$work/tanh.json" --data "$work/six.h5" --head logits
expect 2 "not in 0..1" "$pquant" model eval "$work/tanh.h5" --arch "$work/tanh.json" --data "$work/six.h5" --head sigmoid
expect 2 "head none takes them to rank events" "$pquant" model eval "$work/tanh.h5" --arch "$work/tanh.json" --data "$work/six.h5" --head sigmoid
expect 2 "hint: outputs before their softmax or sigmoid are logits: head logits" "$pquant" model eval "$work/tanh.h5" --arch "$work/tanh.json" --data "$work/six.h5" --head softmax
expect 2 "did you mean 'sigmoid'" "$pquant" model eval "$work/tanh.h5" --arch "$work/tanh.json" --data "$work/six.h5" --head sigmiod
expect 2 "ends in a sigmoid" "$pquant" model eval "$work/sigmoid.h5" --arch "$work/sigmoid.json" --data "$work/six.h5" --head softmax

# Logits: softmax for losses, with a note; the scores stay what the net gives.
eval_json linear six
is logits 'd["head"]'
near 'm["log_loss"]' 'sum(__import__("math").log(sum(__import__("math").exp(z) for z in row)) - row[k] for row, k in zip([[1, -1, -3], [2, 1, 0], [1, 1, 1], [3, -3, -3], [-1, 0, 0], [2, 1, 3]], [0, 0, 1, 1, 1, 2])) / 6'
scores six 'np.abs(s - x).max() == 0'
expect 0 "note: the outputs are taken as logits: probabilities by softmax (--head says otherwise)" "$pquant" model eval "$work/linear.h5" --arch "$work/linear.json" --data "$work/six.h5"

# One output, two classes. x = 1, 2, 1, 3, -1, 2 for no, yes, no, yes, no, yes: AUC 1, right: yes where x > 0.
eval_json one-sigmoid two
is binary 'd["head"]'
near 'm["auc.yes"]' 1
near 'm["auc.no"]' 1
is 4 'd["correct"]'
near 'm["recall.no"]' '1 / 3'
near 'm["log_loss"]' 'sum(__import__("math").log(1 + __import__("math").exp(-z if k else z)) for z, k in zip([1, 2, 1, 3, -1, 2], [0, 1, 0, 1, 0, 1])) / 6'
scores two 's.shape == (6, 1) and h == "binary" and np.abs(s - 1 / (1 + np.exp(-x))).max() < 1e-6'
first=$(number "$work/out.json" 'm["log_loss"]')
eval_json one-linear two
is logits 'd["head"]'
near 'm["log_loss"]' "$first"
is 4 'd["correct"]'
expect 0 "taken as a logit of the second class" "$pquant" model eval "$work/one-linear.h5" --arch "$work/one-linear.json" --data "$work/two.h5"
eval_json one-sigmoid two --classes yes,no # the output is that of `no`: all is turned round
near 'm["auc.yes"]' 0
is 2 'd["correct"]'
eval_json one-tanh two
is None 'd["correct"]'
near 'm["auc.yes"]' 1
is True 'len(d["refused"]) == 3 and "accuracy" not in m'
expect 2 "1 output, which tells two classes apart, but there are 3 classes" "$pquant" model eval "$work/binary.h5" --arch "$work/binary.json" --data "$work/three.h5:test"

# A binary net the whole way: info, train, eval, diff, compress by loss, run, report.
for net in binary coins logit; do
  case $net in coins) data=three events=three ;; *) data=clouds events=clouds ;; esac
  expect 0 "head $(case $net in binary) echo binary ;; coins) echo sigmoid ;; *) echo logits ;; esac)" \
    "$pquant" model info "$work/$net.h5" --arch "$work/$net.json"
  cat >"$work/train-$net.yaml" <<END
schema: pquant/1
model: {weights: $work/$net.h5, arch: $work/$net.json}
dataset: {file: $work/$data.h5, train: train, validation: val, test: test}
train: {epochs: 8, batch: 64, lr: 0.01}
output: {model: $work/$net-trained.h5, log: $work/$net.log}
END
  expect 0 "weights of epoch" "$pquant" train "$work/train-$net.yaml"
  "$pquant" model eval "$work/$net-trained.h5" --data "$work/$events.h5:test" --format json -q >"$work/out.json" || fault "eval of $net"
  is True 'm["accuracy"] > 0.6 and m["auc.macro"] > 0.7'
  trained=$(number "$work/out.json" 'm["log_loss"]')
  # what training called its accuracy on the same events is what the evaluation says
  "$pquant" model eval "$work/$net-trained.h5" --data "$work/$events.h5:val" --format json -q >"$work/out.json" || fault "eval of $net"
  near 'm["accuracy"]' "$(/usr/bin/python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); e=d["epochs"][d["best_epoch"] - 1]; print(e["accuracy"])' "$work/$net.log")"
  "$pquant" compress "$work/$net-trained.h5" -o "$work/$net-small.h5" --method quantize:bits=8,width_rule=loss,max_loss=0.02 \
    --calib "$work/$data.h5:val" --calib-events 1000 -q || fault "compress of $net by loss"
  "$pquant" model diff "$work/$net-trained.h5" "$work/$net-small.h5" --data "$work/$data.h5:val" --limit 1000 --format json >"$work/out.json" || fault "diff of $net"
  is True '0.95 * d["events"] <= d["agree"] <= d["events"]'
  "$pquant" compress "$work/$net-trained.h5" -o "$work/$net-tiny.h5" --method quantize:bits=2 --calib "$work/$data.h5:val" -q || fault "2 bits of $net"
  "$pquant" model diff "$work/$net-trained.h5" "$work/$net-tiny.h5" --data "$work/$data.h5:val" --limit 1000 --format json >"$work/out.json" || fault "diff of $net"
  is True 'd["agree"] < d["events"] - 20' # 2 bits change decisions, and diff says so
  cat >"$work/run-$net.yaml" <<END
schema: pquant/1
model: {weights: $work/$net-trained.h5}
dataset: {file: $work/$data.h5, calib: val}
pipelines: {reference: [], int8: [quantize], lora: [{lora: {rank: 1}}, {finetune: {epochs: 1}}]}
output: {dir: $work/results-$net, plots: [roc]}
END
  expect 0 "accuracy" "$pquant" run "$work/run-$net.yaml"
  /usr/bin/python3 - "$work/results-$net" "$trained" $net <<'END' || fault "table of $net"
import csv, glob, json, sys
folder, trained, net = sys.argv[1:]
rows = {r["pipeline"]: r for r in csv.DictReader(open(folder + "/table.csv"))}
assert abs(float(rows["reference"]["log_loss"]) - float(trained)) < 1e-9
assert abs(float(rows["int8"]["log_loss"]) - float(trained)) < 0.05
assert ("efficiency.a" in rows["int8"]) == (net == "coins")
heads = {json.load(open(f))["outputs"]["head"] for f in glob.glob(folder + "/cells/*.json")}
assert heads == {{"binary": "binary", "coins": "sigmoid", "logit": "logits"}[net]}, heads  # adapters keep it
meaning = {"binary": "one sigmoid, the probability of the second class", "coins": "independent sigmoids, one a class",
           "logit": "a logit of the second class"}[net]
for page in ("report.html", "table.md"):
    assert f"Outputs: {meaning}" in open(folder + "/" + page).read(), page
END
done

# Metrics that the outputs have no value of are refused before anything runs; loss rules too.
cat >"$work/rank.yaml" <<END
schema: pquant/1
model: {weights: $work/tanh.h5, arch: $work/tanh.json}
dataset: {file: $work/six.h5}
metrics: [accuracy, log_loss]
pipelines: {reference: []}
output: {dir: $work/results-rank}
END
expect 2 "metric log_loss: the model's outputs are no probabilities" "$pquant" run "$work/rank.yaml"
expect 0 "1 computed" "$pquant" run "$work/rank.yaml" -S model.head=logits -q
expect 0 "Outputs: logits, probabilities by softmax" "$pquant" run "$work/rank.yaml" -S model.head=logits -q
sed '/^metrics:/d' "$work/rank.yaml" >"$work/rank-all.yaml" # none named: those that have a value
expect 0 "Not computed: log_loss: the model's outputs are no probabilities" "$pquant" run "$work/rank-all.yaml" -S "output.dir=$work/results-all"
expect 0 "Outputs: numbers that rank, without known probabilities" "$pquant" report "$work/results-all"
expect 2 "width_rule = loss: the model's outputs are no probabilities" "$pquant" compress "$work/tanh.h5" --arch "$work/tanh.json" \
  -o "$work/x.h5" --method quantize:bits=8,width_rule=loss,max_loss=0.1 --calib "$work/six.h5"
expect 0 "smaller" "$pquant" compress "$work/tanh.h5" --arch "$work/tanh.json" --head logits \
  -o "$work/x.h5" --method quantize:bits=8,width_rule=loss,max_loss=0.9 --calib "$work/six.h5"
expect 0 "head logits" "$pquant" model info "$work/x.h5" # the file keeps it
done_testing
