#!/usr/bin/env bash
# A size that is out of reach is no error: the row of the table, the record and the notes say what was
# reached; the same on the command line.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
make_jets d.csv
jet_sweep "$halves" "accuracy, size" >c.yaml <<'END2'
pipelines:
  reference: []
  ratio: {stages: [{svd: {ratio: $r}}], sweep: {r: [2, 1000]}}
  sparse: [{tensor_train: {target_sparsity: 0.9999}}, {prune: {target_sparsity: 0.5}}]
  budget: [{svd: {budget: 500}}]
output: {dir: out}
END2
expect 0 "Not as small or exact as was asked for, which is out of reach; table.csv, column unreached" "$pquant" run c.yaml --format table
/usr/bin/python3 - <<'P' || fault "the table or the records"
import csv, glob, json
rows = {r["label"]: r for r in csv.DictReader(open("out/table.csv"))}
for label, due in {"reference": "", "ratio r=2": "", "ratio r=1000": "ratio 1000 not reached: ",
                   "sparse": "target_sparsity 0.9999 not reached: ", "budget": "budget 500 not reached: "}.items():
    assert (due in rows[label]["unreached"]) if due else rows[label]["unreached"] == "", (label, rows[label])
    assert rows[label]["status"] == "ok"
reached = float(rows["budget"]["unreached"].split("; and")[0].split("reached: ")[1].split(";")[0])
whole, left = (float(rows[k]["parameters"]) for k in ("reference", "budget"))
biases = 64 + 32 + 32 + 5
assert abs((whole - biases) / (left - biases) / reached - 1) < 1e-3, (whole, left, reached)
records = [json.load(open(f)) for f in glob.glob("out/cells/*.json")]
assert sum("unreached" in r for r in records) == 3
assert all("missed" in l for r in records if r["label"] == "budget" for l in r["layers"])
P
# A recall whose floor no epoch holds makes a cell infeasible; nothing else does.
cat >held.yaml <<END2
schema: pquant/1
name: held
model: {weights: $root/datasets/models/btag-mlp.h5}
dataset: {file: $root/datasets/jets-btag.h5, train: train, validation: val, test: test}
pipelines:
  reference: []
  held:
    - finetune: {epochs: 1, lr: 1e-6, preserve_rare_classes: true, max_recall_loss: 0.1}
  lost:
    - prune: {target_sparsity: 0.95}
    - finetune: {epochs: 1, preserve_rare_classes: true, max_recall_loss: 0}
metrics: [accuracy]
output: {dir: held}
END2
expect 0 "with a recall below its floor (1 of 3 cells): lost" "$pquant" run held.yaml --format table
/usr/bin/python3 - <<'P' || fault "infeasible"
import csv
rows = {r["label"]: r for r in csv.DictReader(open("held/table.csv"))}
assert [rows[k]["status"] for k in ("reference", "held", "lost")] == ["ok", "ok", "infeasible"], rows
assert "recall 0." in rows["lost"]["unreached"] and "not held: 0." in rows["lost"]["unreached"], rows["lost"]
assert rows["held"]["unreached"] == ""
P
expect 0 "budget 500 not reached: " "$pquant" compress "$root/datasets/models/jsc-mlp.h5" -o small.h5 --method svd:budget=500
done_testing
