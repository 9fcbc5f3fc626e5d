#!/usr/bin/env bash
# The shipped samples hold the physics that they are said to hold: small networks trained on
# them reach what is published for such jets.
. "$(dirname "$0")/common.sh"
"$pquant" model eval datasets/models/jsc-mlp.h5 --data jets-hlf:test --format json -q >"$work/hlf.json" || fault "jets-hlf"
"$pquant" model eval datasets/models/btag-mlp.h5 --data jets-btag:test --scores "$work/btag.h5" --format json -q >"$work/btag.json" || fault "jets-btag"
/usr/bin/python3 - "$work/hlf.json" "$work/btag.h5" <<'P' || fault "a sample is not what it is said to be"
import json, sys, h5py, numpy as np

# Five classes: at least 73 %, and the areas of the published networks (Moreno et al., arXiv:1908.05318) within 0.03.
hlf = {name: m["value"] for name, m in json.load(open(sys.argv[1]))["metrics"].items()}
assert hlf["accuracy"] >= 0.73, hlf["accuracy"]
for name, due in dict(g=.94, q=.90, w=.95, z=.94, t=.96).items():
    assert abs(hlf["auc." + name] - due) <= 0.03, (name, hlf["auc." + name])

# b tagging at an efficiency of 70 %: within a factor of two of MV2c10 and DL1 (arXiv:1907.05120), f_c = 0.018.
with h5py.File(sys.argv[2]) as f:
    scores, labels = f["scores"][:].astype(float), f["labels"][:]
    at = {name if isinstance(name, str) else name.decode(): i for i, name in enumerate(f["scores"].attrs["class_names"])}
p = {name: np.maximum(scores[:, i], 1e-30) for name, i in at.items()}
score = np.log(p["b"] / (0.018 * p["c"] + 0.982 * p["light"]))
cut = np.quantile(score[labels == at["b"]], 0.3)
rejection = {name: 1 / (score[labels == at[name]] > cut).mean() for name in ("light", "c")}
print("rejection at 70 %: light {light:.0f}, c {c:.1f}".format(**rejection))
for name, low, high in (("light", 300, 390), ("c", 8.9, 9.4)):
    assert low / 2 <= rejection[name] <= 2 * high, (name, rejection[name])
P
# The card's checksums are those of the files.
while read -r file sum; do
  [ "$(sha256sum "datasets/$file" | cut -d' ' -f1)" = "$sum" ] || fault "datasets/README.md has another sha256 of $file"
done < <(sed -n 's/^| `\([^`]*\.h5\)` | `\([0-9a-f]\{64\}\)` |$/\1 \2/p' datasets/README.md)
for file in datasets/*.h5 datasets/models/*.h5; do
  grep -q "^| \`${file#datasets/}\` | \`[0-9a-f]\{64\}\`" datasets/README.md || fault "datasets/README.md has no sha256 of $file"
done
done_testing
