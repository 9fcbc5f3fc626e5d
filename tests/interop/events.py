"""Events of ROOT and Parquet by the lines of docs/file-formats.md, which are run here as they stand there, and what
NumPy and h5py write, packed or not: every value, label and weight is the one that was written."""
import os
import re

import h5py
import numpy as np
import pandas
import uproot

from common import Cases, ROOT, pquant

cases = Cases()
rng = np.random.default_rng(1)
n = 3000
columns = {"pt": rng.exponential(50, n).astype("f4"), "eta": rng.normal(0, 1, n).astype("f4"), "mass": rng.exponential(9, n).astype("f4")}
flavour = rng.integers(0, 3, n)
names = np.array(["b", "c", "light"])
weight = rng.uniform(0.5, 2, n)
x = np.stack([columns[k] for k in ("pt", "eta", "mass")], 1)

with uproot.recreate("jets.root") as f:
    f["jets"] = {**columns, "flavour": flavour.astype("i4")}
pandas.DataFrame({**columns, "flavour": names[flavour], "weight": weight}).to_parquet("jets.parquet")
blocks = re.findall(r"```python\n(.*?)```", open(os.path.join(ROOT, "docs/file-formats.md")).read().split("<!-- events -->")[1], re.S)
for block in blocks[:2]:
    exec(block, {})


def imported(path, *how):
    """What pquant reads, through its own file: x, index of class, class names, weight."""
    pquant("data", "import", path, "-o", "out.h5", "--gzip", 0, "-q", *how)
    with h5py.File("out.h5") as f:
        group = f if "x" in f else f[[k for k in f if isinstance(f[k], h5py.Group) and "x" in f[k]][0]]
        return (group["x"][()], group["y"][()], [c if isinstance(c, str) else c.decode() for c in f.attrs["class_names"]],
                group["weight"][()] if "weight" in group else np.ones(len(group["y"])))


def check(what, got, classes, w):
    cases.add(f"{what}, events", got[0], x, 0)
    cases.add(f"{what}, classes", np.array(got[2])[got[1]] == np.array(classes)[flavour], np.ones(n), 0)
    cases.add(f"{what}, weights", got[3], np.float32(w), 0)


check("ROOT", imported("root.npz"), ["0", "1", "2"], np.ones(n))
check("Parquet", imported("parquet.npz"), names, weight)
for code in ("f4", "f8"):
    for packed in (np.savez, np.savez_compressed):
        for turned in (np.ascontiguousarray, np.asfortranarray):
            packed("a.npz", X_all=turned(x.astype(code)), y_all=np.eye(3)[flavour], w_all=weight, classes=names)
            check(f"npz {code} {packed.__name__} {turned.__name__}", imported("a.npz"), names, weight)
with h5py.File("a.h5", "w") as f:
    f.create_dataset("tree/features", data=x, chunks=(100, 3), compression="gzip", shuffle=True)
    f["tree/truth"], f["tree/w"] = names[flavour].astype("S"), weight
check("HDF5", imported("a.h5", "--x", "tree/features", "--y", "tree/truth", "--weight", "tree/w"), names, weight)
for end, sep in (("csv", ","), ("tsv", "\t"), ("dat", " ")):
    table = pandas.DataFrame({**columns, "weight": weight, "class": names[flavour]})
    table.to_csv(f"a.{end}", sep=sep, index=False)
    check(f"pandas, {end}", imported(f"a.{end}"), names, weight)
cases.finish()
