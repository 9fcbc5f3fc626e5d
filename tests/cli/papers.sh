#!/usr/bin/env bash
# Published numbers beside ours. Every row of Garipov et al. 2016: compression to the digits printed there, values of the
# cores where they are published; the pruned tagger of Duarte et al. on real jets, where these are. What the configuration
# publishes stands in the terminal, the page, table.md and published.csv; what it got wrong is refused by its place.
. "$(dirname "$0")/common.sh"
for name in garipov garipov-fc; do
  expect 0 "7 computed" "$pquant" run "configs/papers/$name.yaml" -o "$work/$name" -q --jobs 2
done
/usr/bin/python3 - "$work" <<'END' || fault "rows differ"
import csv, glob, json, sys
cores = {  # values of the cores, where they are published
    "garipov": {"tt_conv_published": [13958, 25587, 42895, 42895, 42895]},
    "garipov-fc": {"tt_conv_tt_fc fc1=40 fc2=30": [8592, 12688, 20880, 20880, 20880, 185600, 52800]}}
bad = 0
for name, due in cores.items():
    folder = f"{sys.argv[1]}/{name}"
    rows = list(csv.DictReader(open(f"{folder}/published.csv")))
    exact = [r for r in rows if r["metric"] != "accuracy"]
    bad += len(rows) != 14 or len(exact) != 7 or any(r["agreement"] != "equal" for r in exact)
    bad += any(r["agreement"] != "not measured" or not r["why"] for r in rows if r["metric"] == "accuracy")
    print(name, len(rows), len(exact), {r["agreement"] for r in exact})
    parameters = {r["label"]: int(r["parameters"]) for r in csv.DictReader(open(f"{folder}/table.csv"))}
    dense = next(iter(parameters.values()))
    for r in exact:  # once more from the table
        if r["metric"] == "parameters_ratio":
            bad += "%.2f" % (dense / parameters[r["cell"]]) != "%.2f" % float(r["published"])
    for record in map(lambda f: json.load(open(f)), glob.glob(f"{folder}/cells/*.json")):
        have = [c["bytes_after"] // 4 for c in record["layers"]]
        bad += record["label"] in due and have != due[record["label"]]
sys.exit(bad)
END
expect 0 "tt_conv_published          parameters, reference over this       3.23     3.23  equal" "$pquant" report "$work/garipov"
expect 0 "  accuracy: nothing is trained here" "$pquant" report "$work/garipov"
grep -q "^| tt.*conv.*published | parameters, reference over this | 3.23 | 3.23 | equal |" "$work/garipov/table.md" || fault "table.md"
grep -qF 'tt\_conv\_published & parameters, reference over this & 3.23 & 3.23 & equal &  & Garipov' "$work/garipov/table.tex" || fault "table.tex"
grep -q '^tt_conv_tt_fc fc1=20 fc2=20,accuracy,0.894,' "$work/garipov-fc/published.csv" || fault "digits that nobody has printed"
grep -q '<p class="sub"></p>' "$work/garipov/report.html" || fault "a data set where there is none"
grep -q '<th scope="row">tt_conv_published</th><td class="text">accuracy</td><td>89.3 %</td><td>–</td>' "$work/garipov/report.html" ||
  fault "report.html"

model=$shared/data/models/KERAS_3layer_70pruned_retrained_weights.h5
if [ -f "$model" ]; then
  expect 0 "reference  nonzero          1338          1338  equal" "$pquant" run configs/papers/jets-duarte.yaml -q -o "$work/duarte" \
    -S model.weights="$model" -S model.arch="$shared/data/models/KERAS_3layer.json" -S dataset.file="$shared/data/jsc-openml-1000/jets.h5"
  grep -q '^reference,accuracy,0.75,0.778,' "$work/duarte/published.csv" || fault "$(cat "$work/duarte/published.csv")"
else
  echo "skipped: the tagger of Duarte et al. (no real data at $shared/data)"
fi

# Agreements by hand: equal to the digits printed, within our interval, apart with a reason and without; losses, ratios.
cd "$work" || exit 1
make_jets d.csv
jet_sweep "$halves" "accuracy, size, macs" >base.yaml <<'END'
pipelines:
  reference: []
  prune: {stages: [{prune: {target_sparsity: $s}}], sweep: {s: [0.25, 0.5]}}
END
"$pquant" run base.yaml -o base -q >log 2>&1 || fault "$(tail -2 log)"
accuracy() { /usr/bin/python3 -c 'import csv, sys; print("%.4f" % (100 * next(float(r["accuracy"]) for r in csv.DictReader(open("base/table.csv")) if r["label"] == sys.argv[1])))' "$1"; }
first=$(accuracy reference) half=$(accuracy "prune s=0.5")
{
  cat base.yaml
  cat <<END
published:
  source: "a \"paper\" | <b>"
  why: {"accuracy*": "other *jets*"}
  cells:
    reference: {macs: {value: 4256}, accuracy: {value: $first%}}
    "prune s=0.25": {accuracy: {value: $(/usr/bin/python3 -c "print('%.1f' % ($(accuracy "prune s=0.25") + 0.9))")%}, nonzero: {ratio: 1.3}}
    "prune s=0.5":
      accuracy: {value: 99.5%, why: "told\nbeforehand"}
      accuracy_loss: {value: $(/usr/bin/python3 -c "print('%.2f' % ($first - $half))")%}
      nonzero: {value: 2000, source: "another"}
END
} >c.yaml
expect 0 "within our interval" "$pquant" run c.yaml -o out -q
/usr/bin/python3 - <<'END' || fault "agreements: $(cat out/published.csv)"
import csv
rows = {(r["cell"], r["metric"]): r for r in csv.DictReader(open("out/published.csv"))}
agreed = {k: r["agreement"] for k, r in rows.items()}
assert len(rows) == 7 and agreed["reference", "macs"] == agreed["reference", "accuracy"] == "equal", agreed
assert agreed["prune s=0.25", "accuracy"] == "within our interval" and rows["prune s=0.25", "accuracy"]["why"] == ""
assert agreed["prune s=0.5", "accuracy"].endswith(" points") and rows["prune s=0.5", "accuracy"]["why"] == "told\nbeforehand"
assert agreed["prune s=0.5", "accuracy_loss"] == "equal", agreed
assert agreed["prune s=0.5", "nonzero"].endswith(" %") and rows["prune s=0.5", "nonzero"]["why"] == "no reason is given"
assert rows["prune s=0.5", "nonzero"]["source"] == "another" and rows["reference", "macs"]["source"] == 'a "paper" | <b>'
END
/usr/bin/python3 - <<'END' || fault "table.tex: $(cat out/table.tex)"
import re
rows = [l for l in open("out/table.tex").read().split("published and ours\n")[1].split("\n") if l.endswith(r" \\")]
assert len(rows) == 8 and all(r.count(" & ") == 6 for r in rows), rows  # names without "&"
paper = r"a \char34{}paper\char34{} \textbar{} \textless{}b\textgreater{} \\"
assert rows[1] == "reference & macs & 4256 & 4256 & equal &  & " + paper, rows[1]
assert re.fullmatch(r"prune s=0\.5 & accuracy & 99\.5 \\% & [\d.]+ \$\\pm\$ [\d.]+ \\% & -[\d.]+ points & told beforehand & ", rows[5][:-len(paper)]), rows[5]
assert all("%" not in r.replace(r"\%", "") for r in rows), rows
END
grep -q '<b>' out/report.html && fault "a source writes into the page"
"$pquant" show c.yaml >shown.yaml && expect 0 "ok" "$pquant" validate shown.yaml
"$pquant" report base >log && ! grep -q "published" log && [ ! -e base/published.csv ] || fault "published numbers where there are none"
cp out/plan.json plan.json
sed 's/"published": \[/"published": [3, /' plan.json >out/plan.json
expect 2 "'published' is not a list of objects" "$pquant" report out
sed 's/"printed": "[^"]*"/"printed": 4/; s/"metric": "macs"/"metric": []/' plan.json >out/plan.json
expect 0 "prune s=0.5" "$pquant" report out

bad() { # TEXT YAML: what stands below `published:`
  { cat base.yaml; printf 'published:\n%s\n' "$2"; } >bad.yaml
  expect 2 "$1" "$pquant" validate bad.yaml
}
bad "no cell has the label 'prun'" '  {source: s, cells: {prun: {macs: {value: 1}}}}'
bad "no metric gives a value 'mac'; did you mean 'macs'?" '  {source: s, cells: {reference: {mac: {value: 1}}}}'
bad "'auc.macro' is not measured: metrics leaves it out" '  {source: s, cells: {reference: {auc.macro: {value: 1}}}}'
bad "either value or ratio is due" '  {source: s, cells: {reference: {macs: {value: 1, ratio: 2}}}}'
bad "'many' is not a number" '  {source: s, cells: {reference: {macs: {value: many}}}}'
bad "a source is due" '  {cells: {reference: {macs: {value: 1}}}}'
bad "cells are due" '  {source: s}'
bad "unknown key 'reason'" '  {source: s, cells: {reference: {macs: {value: 1, reason: x}}}}'
bad "no number of 'auc*' is published here" '  {source: s, why: {"auc*": x}, cells: {reference: {macs: {value: 1}}}}'
expect 0 "computed" "$pquant" run c.yaml -o out -q -P s=0.75

cat >c.yaml <<'END'
schema: pquant/1
model: {zoo: garipov-conv, arch: resnet20}
pipelines: {a: []}
metrics: [size, accuracy]
END
expect 2 "c.yaml:2:14: model: zoo goes without weights, arch, format and output_layer" "$pquant" validate c.yaml
expect 2 "c.yaml:1:1: dataset: file must be given" "$pquant" validate c.yaml
printf 'schema: pquant/1\nmodel: {zoo: garipov-con}\npipelines: {a: []}\nmetrics: [size]\n' >c.yaml
expect 2 "c.yaml:2:14: model: there is no network 'garipov-con' in the zoo" "$pquant" validate c.yaml
printf 'schema: pquant/1\nmodel: {zoo: jsc-mlp}\npipelines: {a: [{quantize: {bits: 8, activations: true}}]}\nmetrics: [size]\n' >c.yaml
expect 2 "a stage needs events: dataset: file must be given" "$pquant" run c.yaml -o c -q
done_testing
