#!/usr/bin/env bash
# Thirty nights with a step in an accuracy, one in a time, one night far off and one noisy: the steps are told, with
# their dates, and nothing else; the table of all nights and what Apache Otava reads hold every number.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
/usr/bin/python3 - <<'END'
import json, os, random
random.seed(3)
os.makedirs("nights")
for i in reversed(range(30)):
    cells = []
    for label in ("reference", "svd rank=8", "it's \"odd\""):
        first = label == "reference"
        accuracy = 0.75 if first else 0.72 if i >= 18 and label == "svd rank=8" else 0.74
        ratio = 1.5 if i >= 22 and label != "svd rank=8" else 2.9 if i == 9 else 1.3
        cells.append({"label": label, "repeat": 0, "status": "ok", "reference": first, "events": "e",
                      "metrics": {"accuracy": {"value": accuracy, "lo": accuracy - .002, "hi": accuracy + .002, "n": 30000.0,
                                               "unit": "", "better": "higher"}},
                      "timings": {"latency.b1": {"ratios": [ratio * random.gauss(1, .02) for _ in range(20)], "noisy": i == 5,
                                                 "machine": "m", "measured": "x"}}})
    snapshot = {"schema": "pquant-baseline/1", "name": "n", "made": f"2026-11-{i + 1:02d}T02:00:00Z", "pquant": "0.1.0", "cells": cells}
    json.dump(snapshot, open(f"nights/{29 - i:02d}.json", "w"))
END
"$pquant" history nights -o out >log 2>&1 || fault "$(cat log)"
diff - <(grep -v '^out/' log | sed 's/ratio: worse.*Z:/ratio: worse since 2026-11-23T02:00:00Z:/; s/Z: 1\.[45].*/Z: about 1.5/') <<'END' || fault "other steps"
svd rank=8: accuracy: worse since 2026-11-19T02:00:00Z: 0.72, was 0.74 (-2.70 %)
it's "odd": latency.b1.ratio: worse since 2026-11-23T02:00:00Z: about 1.5
30 nights, 2026-11-01T02:00:00Z to 2026-11-30T02:00:00Z: 5 series, 2 steps; 2 of 60 times noisy
END
grep -q "ratio: worse since 2026-11-23" log || fault "another night: $(cat log)"
/usr/bin/python3 - <<'END' || fault "history.csv"
import csv
rows = list(csv.DictReader(open("out/history.csv")))
assert len(rows) == 30 and rows == sorted(rows, key=lambda r: r["time"])
assert [float(r["svd rank=8: accuracy"]) for r in rows] == [0.74] * 18 + [0.72] * 12
assert 'it\'s "odd": latency.b1.ratio' in rows[0]
END
grep -q '{direction: 1, column: "svd rank=8: accuracy"}' out/otava.yaml || fault "otava.yaml: $(cat out/otava.yaml)"
if command -v gnuplot >/dev/null; then
  grep -q "</svg>" out/history.svg && [ ! -s out/history.log ] || fault "no picture: $(cat out/history.log)"
fi
expect 0 "2 series, 1 steps" "$pquant" history nights --metric accuracy --cell 'svd*,reference'
expect 0 "30 nights" "$pquant" history nights/*.json
expect 4 "no value of these nights matches" "$pquant" history nights --metric 'nothing*'
sed 's/"name": "n"/"name": "other"/' nights/00.json >nights/other.json
expect 2 "one experiment at a time" "$pquant" history nights
expect 2 "No such file" "$pquant" history nowhere
mkdir empty
expect 2 "holds neither results nor baselines" "$pquant" history empty
done_testing
