#!/usr/bin/env bash
# Negative event weights, as of generators of next-to-leading order: refused unless asked for, then every number is that
# of a plain formula of numpy on the same scores.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 - "$work" <<'END' || fault "events"
import sys
import h5py, numpy as np
sys.path.insert(0, "tests/interop/lib")
from pq_model import Model
classes, n = ["light", "c", "b", "tau"], 6000
for name, scale in (("net", 1.0), ("other", 0.25)):  # the other's logits are few: it has ties of many jets
    m = Model((4,)).add("same", "dense", kernel=np.eye(4) / scale, bias=np.zeros(4))
    m.save(f"{sys.argv[1]}/{name}.h5", classes)
rng = np.random.default_rng(5)
y = rng.choice(4, n, p=[0.45, 0.2, 0.25, 0.1])
x = rng.normal(0, 1, (n, 4)) + 1.5 * np.eye(4)[y]
# ties of jets alike in all of their logits, and no others, which rounding might break in one program alone
x = (np.sinh(np.round(2 * x) / 2) + [0, 0.0131, 0.0277, 0.0419]).astype("f4")
w = rng.lognormal(0, 0.5, n) * np.where(rng.uniform(size=n) < np.where(x[:, 2] > 1.5, 0.25, 0.1), -1, 1)
with h5py.File(f"{sys.argv[1]}/jets.h5", "w") as f:
    f.attrs["format"] = "pquant-dataset"
    f.attrs["class_names"] = np.array(classes, dtype=h5py.string_dtype())
    for key, value in (("x", x.astype("f4")), ("y", y), ("weight", w.astype("f4")), ("aux/pt", rng.uniform(20, 200, n))):
        f[f"test/{key}"], f[f"train/{key}"] = value, value[:50]
END
net=$work/net.h5 jets=$work/jets.h5:test
cat >"$work/c.yaml" <<END
schema: pquant/1
name: negative
model: {weights: $net}
dataset: {file: $work/jets.h5, calib: train}
pipelines: {reference: [], int8: [quantize]}
metrics: {accuracy: , auc: , log_loss: , confusion: , btag: {bins: {pt: [20, 50, 200]}, pseudo_continuous: true}}
END
named="negative_weights: true under evaluate, or --negative-weights, takes such"
expect 2 "is negative: $named" "$pquant" model eval "$net" --data "$jets"
expect 2 "is negative: $named" "$pquant" compare "$net" "$work/other.h5" --data "$jets"
"$pquant" run "$work/c.yaml" -o "$work/refused" --quiet >"$work/refused.out" 2>&1 && fault "run took negative weights"
grep -rqF "$named" "$work/refused.out" "$work/refused" || fault "run does not name the key: $(cat "$work/refused.out")"
"$pquant" model eval "$net" --data "$jets" --negative-weights --format json --quiet >"$work/eval.json" || fault "eval"
"$pquant" compare "$net" "$work/other.h5" --data "$jets" --negative-weights --format json --quiet >"$work/pair.json" ||
  fault "compare"
printf 'evaluate: {negative_weights: true}\n' >>"$work/c.yaml"
"$pquant" run "$work/c.yaml" -o "$work/out" --quiet >/dev/null || fault "run"
/usr/bin/python3 - "$work" <<'END' || fault "numbers"
import glob, json, sys
import h5py, numpy as np
work = sys.argv[1]
with h5py.File(f"{work}/jets.h5") as f:
    x, y, w = (f[f"test/{k}"][:].astype(float) for k in ("x", "y", "weight"))
    pt = f["test/aux/pt"][:]
y, classes = y.astype(int), ["light", "c", "b", "tau"]
found = json.load(open(f"{work}/eval.json"))["metrics"]
runs = [json.load(open(p)) for p in glob.glob(f"{work}/out/cells/*.json")]
run = next(r for r in runs if "btag.distinct" in r["metrics"] and "btag.70.rejection_light_ratio" not in r["metrics"])
near = lambda a, b: abs(a - b) <= 1e-9 * max(1, abs(b))


def rate(side, passes):  # value and its linearised error, with effective counts
    total, f = w[side].sum(), w[side & passes].sum() / w[side].sum()
    return f, np.sqrt((w[side] ** 2 * (passes[side] - f) ** 2).sum()) / total


def check(name, value, error=None, of=found):
    got = of[name]
    assert near(got["value"], value), (name, got, value)
    if error is not None:  # times Student's t, 1.00 for so many
        assert 1 <= (got["hi"] - got["lo"]) / 2 / error < 1.01, (name, got, error)
        assert near(got["hi"] + got["lo"], 2 * value), (name, got)


effective = lambda side: w[side].sum() ** 2 / (w[side] ** 2).sum()
every = np.ones(len(y), bool)
assert near(found["accuracy"]["n"], effective(every)) and effective(every) < 0.5 * len(y)
check("accuracy", *rate(every, x.argmax(1) == y))
for k, c in enumerate(classes):
    check(f"recall.{c}", *rate(y == k, x.argmax(1) == y))
    norm = x - np.log(np.exp(x).sum(1))[:, None]
    s, i = norm[:, k], np.flatnonzero(y == k)
    j = np.flatnonzero(y != k)
    won = np.array([(w[j] * ((s[j] < s[a]) + 0.5 * (s[j] == s[a]))).sum() for a in i])
    check(f"auc.{c}", (w[i] * won).sum() / w[i].sum() / w[j].sum())
loss = -norm[np.arange(len(y)), y]
check("log_loss", (w * loss).sum() / w.sum())
D = x[:, 2] - np.log(0.018 * np.exp(x[:, 1]) + 0.982 * np.exp(x[:, 0]))
levels = np.unique(D)[::-1]
passing = lambda side: np.array([w[side & (D >= t)].sum() for t in levels]) / w[side].sum()
b, wavers = passing(y == 2), False
wavers = (np.diff(b) < 0).any()
assert wavers, "the curve of b jets is to go up and down"
for wp in (60, 65, 70, 77, 85, 90):
    t = levels[np.flatnonzero(b >= wp / 100)[0]]  # from the highest score down, the first at which so much passes
    check(f"btag.{wp}.cut", t)
    check(f"btag.{wp}.efficiency", *rate(y == 2, D >= t))
    assert near(found[f"btag.{wp}.efficiency"]["n"], effective(y == 2))
    for k, c in enumerate(classes):
        if c != "b":
            check(f"btag.{wp}.rejection_{c}", 1 / rate(y == k, D >= t)[0])
    for lo, hi in ((20, 50), (50, 200)):
        if wp == 70:
            inside = (pt >= lo) & (pt < hi)
            check(f"btag.70.pt.{lo}_{hi}.efficiency", rate((y == 2) & inside, D >= t)[0], of=run["metrics"])
for k, c in ((0, "light"), (1, "c")):
    for most in (0.1, 0.01):
        more = np.flatnonzero(passing(y == k) > most)[0]
        t = levels[more - 1]  # the last before more does
        check(f"btag.{c}.{most:g}.cut", t)
        check(f"btag.{c}.{most:g}.mistag", rate(y == k, D >= t)[0])
parts = [run["metrics"][f"btag.{a}_{b}.b"]["value"] for a, b in ((0, 60), (60, 65), (65, 70), (70, 77), (77, 85), (85, 90), (90, 100))]
assert near(sum(parts), 1), parts
assert all(run["metrics"][k]["value"] == found[k]["value"] for k in found if k.startswith("btag.")), "run and eval"
# curves: rejections at b efficiencies, and the scan of f_c
with h5py.File(f"{work}/out/{run['arrays_file']}") as f:
    roc, scan = f["btag/roc"][:], f["btag/scan"][:]
for row, at in zip(roc, np.linspace(0.5, 1, 51)):
    t = levels[np.flatnonzero(b >= at - 1e-12)[0]]
    assert near(row[0], rate(y == 2, D >= t)[0]) and near(row[1], 1 / rate(y == 0, D >= t)[0]), (at, row)
for f_c, light, c in scan:
    d = x[:, 2] - np.log(f_c * np.exp(x[:, 1]) + (1 - f_c) * np.exp(x[:, 0]))
    at = np.unique(d)[::-1]
    eff = np.array([w[(y == 2) & (d >= t)].sum() for t in at]) / w[y == 2].sum()
    t = at[np.flatnonzero(eff >= 0.7 - 1e-12)[0]]
    assert near(light, 1 / rate(y == 0, d >= t)[0]) and near(c, 1 / rate(y == 1, d >= t)[0]), (f_c, light, c)
pair = json.load(open(f"{work}/pair.json"))
assert all(r["first"]["value"] and r["ratio"]["lo"] <= r["ratio"]["value"] <= r["ratio"]["hi"] for r in pair["btag"])
assert near(pair["btag"][0]["first"]["value"], found["btag.60.rejection_light"]["value"])
END
# weights that cancel are no sample
/usr/bin/python3 - "$work" <<'END'
import sys, h5py
with h5py.File(f"{sys.argv[1]}/jets.h5", "a") as f:
    y = f["test/y"][:]
    w = f["test/weight"][:]
    w[y == 2] = -abs(w[y == 2])
    f["test/weight"][:] = w
END
expect 3 "the weights of b jets add up to -" "$pquant" run "$work/c.yaml" -o "$work/out" --quiet -S name=cancel
done_testing
