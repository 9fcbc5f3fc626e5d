#!/usr/bin/env bash
# The nightly job: equal code is green, also timed for real; planted losses are red, each with its exit code.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
make_jets d.csv
cat >c.yaml <<END2
schema: pquant/1
name: nightly
model: {zoo: jsc-mlp}
dataset: {file: d.csv, splits: {calib: [0, 0.1], test: [0.1, 1]}}
metrics: [accuracy, size, macs]
pipelines:
  reference: []
  prune: {stages: [{prune: {target_sparsity: \$s}}], sweep: {s: [0.3, 0.6]}}
  narrow: {stages: [{quantize: {bits: 3, activation_bits: 4}}]}
latency: {batch: [1], processes: 6, warmup: {seconds: 5ms}, samples: {count: 24, sample_time: 1ms, rounds: 3, max_seconds: 2}, single_shots: 20}
baseline: kept/base.json
gates:
  accuracy: {max_loss: 0.002, test: paired}
  stored_bytes: {max_increase: 0}
  macs: {max_increase: 0}
  latency.b1.ratio: {max_increase: 5%, test: mann-whitney, alpha: 0.002, confirm: 1}
output: {dir: out}
END2
expect 2 "out/plan.json: No such file" "$pquant" gate out
"$pquant" run c.yaml -q >log 2>&1 || fault "run: $(tail -2 log)"
expect 2 "kept/base.json" "$pquant" gate out
expect 0 "kept/base.json" "$pquant" baseline set out
expect 0 "event by event" "$pquant" baseline show kept/base.json
/usr/bin/python3 - <<'P' || fault "the events of a cell are not those of its accuracy"
import glob, json
cells = json.load(open("kept/base.json"))["cells"]
rights = [sum(int(digit, 16).bit_count() for digit in cell["correct"]) for cell in cells]
events = [n / cell["metrics"]["accuracy"]["value"] for n, cell in zip(rights, cells)]
assert len(cells) == 4 and all(abs(n - round(events[0])) < 1e-6 for n in events), list(zip(rights, events))
records = [json.load(open(name)) for name in glob.glob("out/cells/*.json")]
assert all("correct" in part for record in records for part in record.get("engines", {}).values() if "metrics" in part)
P

# Equal code, three real nights: nothing red; what is suspect is measured again, as the crontab does.
for n in 1 2 3; do
  rm -rf night
  "$pquant" run c.yaml -o night -q >log 2>&1 || fault "night $n: $(tail -2 log)"
  out=$("$pquant" gate night 2>&1)
  code=$?
  if [ $code = 75 ]; then
    "$pquant" run c.yaml -o night --phase latency --force -q >log 2>&1
    out=$("$pquant" gate night 2>&1)
    code=$?
  fi
  [ $code = 0 ] || fault "equal code ends with $code: $out"
done

# Times that are not this busy machine's: invented once, then changed.
cat >plant.py <<'P'
import glob, json, random, statistics, sys
folder, factor, date, key, accuracy, bytes = sys.argv[1], float(sys.argv[2]), *sys.argv[3:]
for name in sorted(glob.glob(folder + "/cells/*.json")):
    r = json.load(open(name))
    random.seed(r["label"])
    target = r["label"].startswith(key)
    if r["phase"] == "latency":
        scale = factor if target else 1
        ratios = [0.7 * scale * random.lognormvariate(0, 0.02) for _ in range(42)]
        parts = [{"process": p, "samples": 7, "ratio": 1 / statistics.median(ratios[7 * p : 7 * p + 7])} for p in range(6)]
        r["timing"].update(noisy=False, ratios=ratios, processes=parts)
        r["provenance"]["date"] = date
    elif target:
        value = r["metrics"]["accuracy"]["value"] - float(accuracy)
        n = r["events"]
        if float(accuracy):
            lost, bits = round(float(accuracy) * n), list(r["correct"])
            for i, digit in enumerate(bits):
                for bit in 8, 4, 2, 1:
                    if lost and int(bits[i], 16) & bit:
                        bits[i] = f"{int(bits[i], 16) ^ bit:x}"
                        lost -= 1
            r["correct"] = "".join(bits)
        r["metrics"]["accuracy"]["value"] = value
        r["metrics"]["stored_bytes"]["value"] += float(bytes)
    json.dump(r, open(name, "w"), indent=1)
P
plant() { rm -rf night && cp -r out night && /usr/bin/python3 plant.py night "$@"; }
/usr/bin/python3 plant.py out 1 2026-01-01 none 0 0
"$pquant" baseline set out -q >/dev/null || fault "baseline set"
plant 1 2026-01-02 none 0 0
expect 0 "0 inconclusive, 0 suspect, 0 missing, 0 fail" "$pquant" gate night
expect 0 "0 of " "$pquant" compare kept/base.json night

plant 1.1 2026-01-02 'prune s=0.6' 0 0
expect 75 "suspect      prune s=0.6" "$pquant" gate night
expect 75 "slower in 1 of 2 measurements" "$pquant" gate night
/usr/bin/python3 plant.py night 1.1 2026-01-03 'prune s=0.6' 0 0
expect 1 "slower in 2 of 2 measurements" "$pquant" gate night --junit gate.xml
/usr/bin/python3 - <<'P' || fault "gate.xml: $(cat gate.xml)"
import xml.etree.ElementTree as tree
suite = tree.parse("gate.xml").getroot()
failed = [(c.get("classname"), c.get("name")) for c in suite if c.find("failure") is not None]
assert failed == [("prune s=0.6", "latency.b1")], failed
assert int(suite.get("tests")) == len(suite) and suite.get("failures") == "1", suite.attrib
P
expect 0 "latency.b1" "$pquant" compare kept/base.json night
/usr/bin/python3 plant.py night 1 2026-01-04 'prune s=0.6' 0 0
expect 0 "0 fail" "$pquant" gate night

plant 1 2026-01-02 'prune s=0.3' 0.05 0
expect 1 "fail         prune s=0.3                  accuracy" "$pquant" gate night
plant 1 2026-01-02 'prune s=0.3' 0 1
expect 1 "fail         prune s=0.3                  stored_bytes" "$pquant" gate night
expect 1 '"verdict": "fail"' "$pquant" gate night --format json
plant 1 2026-01-02 none 0 0
rm "$(grep -l '"label": "prune s=0.3' night/cells/*.json | xargs grep -l '"phase": "eval"')"
expect 5 "missing      prune s=0.3" "$pquant" gate night
expect 2 "have failed or are missing" "$pquant" baseline set night -o x.json
# Another file, such as the configuration itself, is not written over; an empty one, or a baseline, is.
echo 'schema: pquant/1' >other.yaml && : >x.json
expect 2 "-o other.yaml: is there and is no baseline" "$pquant" baseline set out -o other.yaml
[ "$(cat other.yaml)" = 'schema: pquant/1' ] || fault "a configuration is lost"
for i in 1 2; do expect 0 "x.json" "$pquant" baseline set out -o x.json; done
expect 2 "-o nights.d: is there and is no baseline" "$pquant" baseline set out -o "$(mkdir nights.d && echo nights.d)"
plant 1 2026-01-02 none 0 0
sed -i 's/"cpu": "[^"]*"/"cpu": "another"/' night/cells/*.json
expect 0 "measured on another machine" "$pquant" gate night
expect 6 "3 of 15 comparisons are inconclusive" "$pquant" gate night --strict-noise

# References by hand, and failures that are known.
accuracy=$(/usr/bin/python3 -c 'import csv; print(next(csv.DictReader(open("out/table.csv")))["accuracy"])')
plant 1 2026-01-02 none 0 0
cat >refs.yaml <<END2
schema: pquant-references/1
cells:
  reference: {accuracy: {value: $accuracy, lower: 0.1%, upper: 0.1%}}
  "prune*": {stored_bytes: {value: 1, upper: 10%}}
expected_failures:
  - {cell: "prune*", metric: stored_bytes, why: "no net is that small"}
END2
expect 0 "2 fail as expected" "$pquant" gate night --references refs.yaml
sed -i 's/value: 1,/value: 1e9,/' refs.yaml
expect 1 "passes, though a failure is expected (refs.yaml:6)" "$pquant" gate night --references refs.yaml
sed -i 's/metric: stored_bytes/metric: stored/' refs.yaml
expect 2 "refs.yaml:6: nothing is compared of 'prune*', 'stored'" "$pquant" gate night --references refs.yaml
# XML of any label, cells that are new, folders that can only be read.
/usr/bin/python3 - <<'P'
import json
b = json.load(open("kept/base.json"))
b["cells"][0]["label"] = "a<b>&\"'\u0001\u007f\u202e\ufffe\uffff ]]> \u00e4"
json.dump(b, open("odd.json", "w"))
P
expect 5 "not compared: reference is not in the baseline" "$pquant" gate night --baseline odd.json --junit odd.xml
/usr/bin/python3 -c 'import xml.dom.minidom as x; x.parse("odd.xml")' || fault "odd.xml: $(head -4 odd.xml)"
expect 0 "not compared: reference is not in odd.json" "$pquant" compare odd.json night
rm -f night/gate.json
"$pquant" gate night >/dev/null || fault "gate"
[ ! -e night/gate.json ] || fault "gate.json without a suspect"

# A folder of somebody else writes over nothing, and nowhere but here.
echo mine >mine
for target in mine ../mine "$PWD/mine"; do
  sed "s|\"baseline\": *\"[^\"]*\"|\"baseline\": \"$target\"|" out/plan.json >night/plan.json
  expect 2 "give -o FILE" "$pquant" baseline set night
done
[ "$(cat mine)" = mine ] || fault "a plan's baseline wrote over a file"
cp out/plan.json night

echo '{"schema": "pquant-baseline/1", "cells": []}' >empty.json
expect 4 "nothing was compared" "$pquant" gate night --baseline empty.json
sed '/^gates/,/^  latency.b1/d' c.yaml >none.yaml
"$pquant" run none.yaml -o none -q >log 2>&1
expect 2 "its configuration has no gates" "$pquant" gate none

# The shipped job: its committed baseline holds for this code; a point of accuracy less does not pass.
cd "$root" || exit 1
"$pquant" run configs/nightly.yaml --phase eval -o "$work/nightly" -q >"$work/log" 2>&1
expect 0 " 0 suspect, 0 missing, 0 fail" "$pquant" gate "$work/nightly"
"$pquant" baseline set "$work/nightly" -o "$work/b.json" -q >/dev/null || fault "baseline of the shipped job"
expect 0 "24 pass, 0 inconclusive, 0 suspect, 0 missing, 0 fail" "$pquant" gate "$work/nightly" --baseline "$work/b.json"
/usr/bin/python3 "$work/plant.py" "$work/nightly" 1 - int8 0.01 0
expect 1 "fail         int8                         accuracy" "$pquant" gate "$work/nightly" --baseline "$work/b.json"

# What is compared event by event are the decisions of the engine whose numbers these are.
"$pquant" run configs/nightly.yaml -S latency.engine=int8 -S latency.samples.count=12 \
  -S latency.samples.max_seconds=1 -o "$work/engine" -q >"$work/log" 2>&1 || fault "run: $(tail -2 "$work/log")"
"$pquant" baseline set "$work/engine" -o "$work/engine.json" >/dev/null || fault "baseline set"
/usr/bin/python3 - "$work/engine" <<'P' || fault "the decisions are not those of the accuracy"
import glob, json, sys
cells = {c["label"]: c for c in json.load(open(sys.argv[1] + ".json"))["cells"]}
for cell in cells.values():
    right, accuracy = bin(int(cell["correct"], 16)).count("1"), cell["metrics"]["accuracy"]
    assert abs(right / accuracy["n"] - accuracy["value"]) < 1e-12, (cell["label"], right)
records = [json.load(open(f)) for f in glob.glob(sys.argv[1] + "/cells/*.json")]
both = next(r for r in records if r["phase"] == "eval" and r["label"] == "int8")
assert both["engines"]["int8"]["correct"] == cells["int8"]["correct"]
assert both["correct"] != cells["int8"]["correct"] or both["engines"]["int8"]["differs"] == 0
P

# The script of docs/nightly.md, as it stands there.
sed -n '/^As `nightly.sh`:$\|As `nightly.sh`:$/,/^crontab/p' docs/nightly.md | sed -n '/^```bash/,/^```$/p' | sed '1d;$d' >"$work/nightly.sh"
grep -q "pquant gate" "$work/nightly.sh" || fault "docs/nightly.md has no nightly.sh"
mkdir -p "$work/job/results" "$work/bin" && cp -r results/baselines "$work/job/results"
ln -s "$root/configs" "$root/datasets" "$work/job" && ln -s "$pquant" "$work/bin/pquant"
(cd "$work/job" && PATH=$work/bin:$PATH bash "$work/nightly.sh") >"$work/log" 2>&1 || fault "nightly.sh: $(tail -5 "$work/log")"
[ -s "$work/job/gate.xml" ] || fault "nightly.sh leaves no gate.xml"

# The line of the crontab, in a checkout that git can pull, and the commands of GitLab CI and GitHub Actions: as they
# stand in the docs, with this program in place of the one that pquant.sh would build.
docs=$root/docs/nightly.md
cron=$(grep -A2 '^crontab:$' "$docs" | tail -1)
[[ $cron =~ ^([0-9*/,-]+\ ){5}cd ]] || fault "no line of a crontab: $cron"
mkdir -p "$work/home" && git init -q "$work/origin" && git -C "$work/origin" -c user.name=t -c user.email=t@t commit -q --allow-empty -m start
git clone -q "$work/origin" "$work/home/pquant" 2>"$work/log" || fault "$(cat "$work/log")"
cp -r "$work/job/results" "$work/job/configs" "$work/job/datasets" "$work/nightly.sh" "$work/home/pquant" 2>/dev/null
mkdir -p "$work/home/pquant/build/src/cli" && ln -s "$pquant" "$work/home/pquant/build/src/cli/pquant"
printf '#!/bin/sh\n[ "$1" = build ] && touch built\n' >"$work/home/pquant/pquant.sh" && chmod +x "$work/home/pquant/pquant.sh"
rm -f "$work/home/pquant/gate.xml"
HOME=$work/home sh -c "$(cut -d' ' -f6- <<<"$cron")" >"$work/log" 2>&1 || fault "crontab: $(tail -5 "$work/log" "$work/home/pquant/nightly.log")"
grep -q ' 0 fail' "$work/home/pquant/nightly.log" && [ -s "$work/home/pquant/gate.xml" ] && [ -e "$work/home/pquant/built" ] ||
  fault "crontab: $(tail -5 "$work/home/pquant/nightly.log")"
printf '#!/bin/sh\nexec "%s" "$@"\n' "$pquant" >"$work/job/pquant.sh" && chmod +x "$work/job/pquant.sh"
for engine in "GitLab CI" "GitHub Actions"; do
  sed -n "/^$engine/,/^\`\`\`\$/p" "$docs" | sed -n 's/^ *- \(run: \)\?\(\.\/pquant\.sh .*\)/\2/p' >"$work/commands"
  [ "$(wc -l <"$work/commands")" = 2 ] || fault "$engine: not two commands: $(cat "$work/commands")"
  rm -rf "$work/job/gate.xml" "$work/job/results/nightly"
  (cd "$work/job" && bash -e "$work/commands") >"$work/log" 2>&1 || fault "$engine: $(tail -5 "$work/log")"
  [ -s "$work/job/gate.xml" ] && [ -s "$work/job/results/nightly/report.html" ] || fault "$engine leaves nothing: $(tail -3 "$work/log")"
done
done_testing
