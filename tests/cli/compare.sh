#!/usr/bin/env bash
# pquant compare MODEL MODEL --data: two models on the same events. Numbers are computed again from the scores.
. "$(dirname "$0")/common.sh"
net=datasets/models/btag-mlp.h5 jets=datasets/jets-btag.h5:test
"$pquant" compress $net -o "$work/int8.h5" --method quantize --calib datasets/jets-btag.h5:train >/dev/null ||
  fault "compress"
for m in $net "$work/int8.h5"; do
  "$pquant" model eval "$m" --data $jets --limit 40000 --scores "$work/$(basename "$m" .h5).scores" --quiet >/dev/null ||
    fault "eval $m"
done
"$pquant" compare $net "$work/int8.h5" --data $jets --limit 40000 --btag working_points=0.6,0.77 --btag f_c=0.1 --quiet \
  --format json >"$work/out.json" || fault "compare"
/usr/bin/python3 - "$work" <<'END' || fault "numbers"
import json, math, sys
import h5py, numpy as np
got = json.load(open(f"{sys.argv[1]}/out.json"))
files = [h5py.File(f"{sys.argv[1]}/{n}.scores") for n in ("btag-mlp", "int8")]
y = files[0]["labels"][:]
p = [f["scores"][:].astype(np.float64) for f in files]
names = ["light", "c", "b", "tau"]
right = [q.argmax(1) == y for q in p]
def mcnemar(a, b):  # exact, two-sided
    n, k = a + b, min(a, b)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)
alone = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
assert [got["first_alone"], got["second_alone"]] == alone, (got["first_alone"], got["second_alone"], alone)
for row in got["metrics"]:
    mask = np.ones(len(y), bool)
    if row["metric"].startswith("recall."):
        mask = y == names.index(row["metric"][7:])
    elif row["metric"] != "accuracy":
        assert row["p"] is None and row["difference"]["lo"] is None, row
        continue
    d = right[1][mask].astype(float) - right[0][mask]
    assert abs(row["difference"]["value"] - d.mean()) < 1e-12, row
    assert abs(row["difference"]["hi"] - d.mean() - d.std() / len(d)**0.5) < 1e-12, row
    due = mcnemar(int((d < 0).sum()), int((d > 0).sum()))
    assert abs(row["p"] - due) < 1e-9 * due + 1e-300, (row, due)
D = [np.log(np.maximum(q[:, 2], 1e-10)) - np.log(0.1 * np.maximum(q[:, 1], 1e-10) + 0.9 * np.maximum(q[:, 0], 1e-10)) for q in p]
assert len(got["btag"]) == 6
for row in got["btag"]:
    bg = y == names.index(row["background"])
    cuts = [np.sort(d[y == 2])[::-1][math.ceil(row["working_point"] * (y == 2).sum() - 1e-9) - 1] for d in D]
    passed = [(d >= c)[bg] for d, c in zip(D, cuts)]
    eps = [x.mean() for x in passed]
    # probabilities were stored as float32: a jet at the cut may pass or not
    for key, due in (("first", 1 / eps[0]), ("second", 1 / eps[1]), ("ratio", eps[0] / eps[1]),
                     ("reused", 1 / (D[1] >= cuts[0])[bg].mean())):
        assert abs(row[key]["value"] / due - 1) < 2.5 / min(x.sum() for x in passed), (row, key, due)
        assert row[key]["lo"] <= row[key]["value"] <= row[key]["hi"], (row, key)
    assert abs(row["efficiency_reused"]["value"] - (D[1] >= cuts[0])[y == 2].mean()) < 1e-3, row
END
expect 0 "| 77.0 | light |" "$pquant" compare $net "$work/int8.h5" --data $jets --limit 5000 --quiet --format markdown
expect 0 "\\toprule" "$pquant" compare $net "$work/int8.h5" --data $jets --limit 5000 --quiet --format tex
expect 0 "working_point,background,first,first_lo,first_hi" \
  "$pquant" compare $net "$work/int8.h5" --data $jets --limit 5000 --quiet --format csv
expect 0 "A alone decides 0 events right, B alone 0" "$pquant" compare $net $net --data $jets --limit 5000 --quiet
# of classes without an event there is no recall
"$pquant" compare $net "$work/int8.h5" --data $jets --limit 3 --quiet --format json >"$work/few.json" || fault "three jets"
/usr/bin/python3 - "$work/few.json" <<'END' || fault "recalls of three jets"
import json, sys
recalls = [r["first"]["value"] for r in json.load(open(sys.argv[1]))["metrics"] if r["metric"].startswith("recall.")]
assert len(recalls) == 4 and None in recalls and any(r is not None for r in recalls), recalls
END
# classes that are no flavours: the metrics alone
expect 0 "metric,first,first_lo" \
  "$pquant" compare datasets/models/jsc-mlp.h5 datasets/models/jsc-mlp.h5 --data datasets/jets-hlf.h5:test --limit 500 --quiet \
  --format csv
expect 2 "class 'g' is none of b, c, light and tau" \
  "$pquant" compare datasets/models/jsc-mlp.h5 datasets/models/jsc-mlp.h5 --data datasets/jets-hlf.h5:test --quiet --btag f_c=0.1
expect 2 "$net is a model: --data FILE[:SPLIT] says on what events" "$pquant" compare $net "$work/int8.h5"
expect 2 "jsc-mlp.h5: the model's classes (g,q,w,z,t) are not the dataset's" \
  "$pquant" compare $net datasets/models/jsc-mlp.h5 --data $jets --quiet
expect 2 "f_c = 2 is not in 0..1" "$pquant" compare $net "$work/int8.h5" --data $jets --quiet --btag f_c=2
expect 2 "--btag: 'f_c' is not KEY=VALUE" "$pquant" compare $net "$work/int8.h5" --data $jets --btag f_c
expect 2 "--btag: 'bins' has no part in a comparison" \
  "$pquant" compare $net "$work/int8.h5" --data $jets --btag bins=pt=20:50
expect 2 "--btag: unknown parameter 'fc'; did you mean 'f_c'?" \
  "$pquant" compare $net "$work/int8.h5" --data $jets --btag fc=1
# a sweep says the same, whether the reference's scores are remembered by its own cell, by another, or not at all
cat >"$work/sweep.yaml" <<END
schema: pquant/1
name: sweep
model: {weights: $root/$net}
dataset: {file: $root/datasets/jets-btag.h5, calib: train, calib_events: 300, test: test}
evaluate: {limit: 5000}
pipelines: {reference: [], int8: [quantize], svd: [{svd: {rank: 8, clip_rank: true}}]}
metrics: {accuracy: , btag: {working_points: [0.7]}}
END
"$pquant" run "$work/sweep.yaml" -o "$work/a" -q >/dev/null 2>&1 || fault "sweep"
"$pquant" run "$work/sweep.yaml" -o "$work/b" -q --only svd >/dev/null 2>&1
[ "$(find "$work/b/cache" -name '*.bin' -size +30k | wc -l)" = 1 ] || fault "the scores of the reference are not remembered"
find "$work/b/cache" -name '*.bin' -size +30k -exec truncate -s 100 {} + # damaged: computed again
"$pquant" run "$work/sweep.yaml" -o "$work/b" -q >/dev/null 2>&1 || fault "second sweep"
"$pquant" compress $net -o "$work/svd.h5" --method svd:rank=8,clip_rank=true >/dev/null || fault "compress"
"$pquant" compare $net "$work/svd.h5" --data $jets --limit 5000 --btag working_points=0.7 --quiet --format json \
  >"$work/svd.json" || fault "compare"
/usr/bin/python3 - "$work" <<'END' || fault "a sweep and compare differ"
import csv, json, sys
a, b = ({r["label"]: r for r in csv.DictReader(open(f"{sys.argv[1]}/{d}/table.csv"))} for d in "ab")
rows = list(csv.DictReader(open(f"{sys.argv[1]}/a/btag.csv")))
assert {r["model"] for r in rows} == {"reference", "int8", "svd"} and len(rows) == 3 * 9, len(rows)
for r in rows:  # the same numbers, a row for each working point and background
    what, *_, percent = r["working_point"].rstrip(" %").split(" ")
    at = f"btag.{percent}" if what == "b" else f"btag.{what}.{float(percent) / 100:g}"
    for key, name in (("efficiency", "efficiency"), ("rejection", f"rejection_{r['background']}"),
                      ("ratio", f"rejection_{r['background']}_ratio"), ("efficiency_reused", "efficiency_reused"),
                      ("rejection_reused", f"rejection_{r['background']}_reused")):
        for end in ("", "_lo", "_hi"):
            due = a[r["model"]].get(f"{at}.{name}{end}", "")
            assert r[key + end] == due or (r[key + end], due) == ("", "nan") or float(r[key + end]) == float(due), (r, key, end, due)
keys = [k for k in a["svd"] if k.startswith("btag.70.") and ("ratio" in k or "reused" in k)]
assert len(keys) > 12, keys
for label in ("int8", "svd"):
    assert all(a[label][k] == b[label][k] != "" for k in keys), label
light = next(r for r in json.load(open(f"{sys.argv[1]}/svd.json"))["btag"] if r["background"] == "light")
for end, key in (("", "value"), ("_lo", "lo"), ("_hi", "hi")):
    assert abs(float(a["svd"]["btag.70.rejection_light_ratio" + end]) - light["ratio"][key]) < 1e-12
END
points=$(grep -A40 "Working points of the b taggers" "$work/a/report.html")
grep -q '<td class="text">light mistag 1 %</td>' <<<"$points" || fault "no working points on the page"
for file in btag.md btag.tex; do grep -q "light mistag 1" "$work/a/$file" || fault "$file"; done
"$pquant" run "$work/sweep.yaml" -o "$work/a" -q -S output.tables=csv >/dev/null 2>&1 || fault "run with csv alone"
[ -e "$work/a/btag.csv" ] && [ ! -e "$work/a/btag.md" ] && [ ! -e "$work/a/btag.tex" ] || fault "tables that were not asked for"
done_testing
