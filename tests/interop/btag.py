"""b tagging against puma and ftag-tools on the same scores: discriminants, efficiencies and rejections at cuts, in bins.

Where they differ on purpose is in docs/measurement.md: their 1e-10 in numerator and denominator (0 here), the
interpolated cut of a working point (theirs is compared at our cut, and a jet or two around it), binomial errors.
"""
import json
import os
import shutil

import h5py
import numpy as np
from ftag import Flavours
from ftag.utils.metrics import calculate_efficiency, calculate_rejection, get_discriminant
from puma import VarVsEff

from ftag import get_mock_file
from puma.utils.generate import get_dummy_2_taggers

from common import Cases, pquant, write_dataset
from pq_model import Model

cases = Cases()
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MODEL = os.path.join(ROOT, "datasets/models/btag-mlp.h5")
CLASSES = ["light", "c", "b", "tau"]
POINTS = [0.6, 0.65, 0.7, 0.77, 0.85, 0.9]
EDGES = [20, 30, 40, 60, 85, 110, 140, 175, 250]
AT = 1e-6  # scores are floats there: a jet at the cut keeps its side

with h5py.File(os.path.join(ROOT, "datasets/jets-btag.h5")) as f:
    order = [s if isinstance(s, str) else s.decode() for s in f.attrs["class_names"]]
    x, y, pt = f["test/x"][:60000], f["test/y"][:60000], f["test/aux/pt"][:60000]
rng = np.random.default_rng(3)
weight = rng.uniform(0, 2, len(y)).astype(np.float32)
# a seventh of them negative, as of a generator of next-to-leading order
WEIGHTS = {"": None, ", weighted": weight, ", of both signs": weight * rng.choice([1, 1, 1, 1, 1, 1, -1], len(y)).astype(np.float32)}
CONFIG = """schema: pquant/1
name: {name}
model: {{weights: {model}}}
dataset: {{file: {data}, calib: test, test: test}}
pipelines: {{reference: []}}
evaluate: {{negative_weights: {negative}}}
latency: {{batch: [1], warmup: {{seconds: 1ms}}, samples: {{count: 6, sample_time: 1ms, rounds: 2, max_seconds: 1}}, single_shots: 100}}
metrics:
  btag: {{f_c: {f_c}, f_tau: {f_tau}, f_b: 0.3, working_points: {points}, c_working_points: [0.3], bins: {{pt: {edges}}}, bin_cut: {how}}}
"""


def evaluate(name, data, f_c, f_tau, how, negative):
    with open(f"{name}.yaml", "w") as f:
        f.write(CONFIG.format(name=name, model=MODEL, data=data, f_c=f_c, f_tau=f_tau, points=POINTS, edges=EDGES, how=how,
                              negative=str(negative).lower()))
    shutil.rmtree(name, ignore_errors=True)
    pquant("run", f"{name}.yaml", "-o", name, "--quiet")
    cell, = (p for p in os.scandir(f"{name}/cells") if p.name.endswith(".json") and "btag.distinct" in open(p).read())
    return {k: v["value"] for k, v in json.load(open(cell))["metrics"].items()}


def rejections(found, prefix, disc, cut, w, what):
    for c, k in enumerate(CLASSES):
        got = found.get(f"{prefix}.rejection_{k}")
        if got is not None:
            due = calculate_rejection(disc[is_of["b"]], disc[is_of[k]], cut_value=cut - AT,
                                      bkg_weights=None if w is None else w[is_of[k]])[0]
            cases.add(f"{what}: {prefix} {k}", got / due, 1.0, 1e-6)


for number, (kind, w) in enumerate(WEIGHTS.items()):
    negative = w is not None and w.min() < 0
    arrays = {"x": x, "y": y, "aux/pt": pt, **({"weight": w} if w is not None else {})}
    data = f"jets{number}.h5"
    write_dataset(data, order, {"test": arrays})
    pquant("model", "eval", MODEL, "--data", f"{data}:test", "--scores", "scores.h5", *(["--negative-weights"] if negative else []))
    with h5py.File("scores.h5") as f:
        scores = f["scores"][:]
    names = {"light": "pu", "c": "pc", "b": "pb", "tau": "ptau"}
    jets = np.zeros(len(y), dtype=[(f"net_{p}", "f8") for p in names.values()])
    for i, c in enumerate(CLASSES):
        jets[f"net_{names[c]}"] = scores[:, i]
    is_of = {c: y == order.index(c) for c in CLASSES}
    w = w.astype(float) if w is not None else None  # their sums are as precise as the weights
    flavours = [Flavours["bjets"], Flavours["cjets"], Flavours["ujets"], Flavours["taujets"]]
    for f_c, f_tau in ((0.018, 0.0), (0.2, 0.05)):
        what = f"f_c {f_c}, f_tau {f_tau}{kind}"
        shares = {"fb": 0.3, "fc": f_c, "ftau": f_tau, "fu": 1 - f_c - f_tau}
        disc = get_discriminant(jets, "net", Flavours["bjets"], flavours, shares, epsilon=0)
        found = evaluate("fixed", data, f_c, f_tau, "fixed", negative)
        for wp in POINTS:
            prefix, b = f"btag.{100 * wp:g}", disc[is_of["b"]]
            cut = found[f"{prefix}.cut"]
            wb = None if w is None else w[is_of["b"]]
            cases.add(f"{what}: {prefix} efficiency", found[f"{prefix}.efficiency"],
                      calculate_efficiency(b, b, cut_value=cut - AT, bkg_weights=wb)[0], 1e-6)
            if not negative:  # their cut of both signs is one of several, at random
                _, theirs = calculate_rejection(b, b, target_eff=np.array([wp]), return_cuts=True, sig_weights=wb)
                near = np.abs(np.searchsorted(np.sort(b), [cut - AT, theirs[0] - AT]))
                cases.add(f"{what}: {prefix} jets between the cuts", max(abs(int(near[0]) - int(near[1])) - 2, 0), 0, 0)
            rejections(found, prefix, disc, cut, w, what)
        shares_c = {"fb": 0.3, "fc": f_c, "ftau": f_tau, "fu": 1 - 0.3 - f_tau}
        disc_c = get_discriminant(jets, "net", Flavours["cjets"], flavours, shares_c, epsilon=0)
        rejections(found, "ctag.30", disc_c, found["ctag.30.cut"], w, what)
        bins = VarVsEff(x_var_sig=pt[is_of["b"]], disc_sig=disc[is_of["b"]], x_var_bkg=pt[is_of["light"]],
                        disc_bkg=disc[is_of["light"]], bins=np.array(EDGES, dtype=float), disc_cut=found["btag.70.cut"] - AT,
                        weights_sig=None if w is None else w[is_of["b"]], weights_bkg=None if w is None else w[is_of["light"]])
        due = bins.get("sig_eff")[0]
        for k in range(len(EDGES) - 1):
            prefix = f"btag.70.pt.{EDGES[k]}_{EDGES[k + 1]}"
            cases.add(f"{what}: {prefix}", found[f"{prefix}.efficiency"], due[k], 1e-6)
# puma's own example and ftag's file of mock jets, read in place: the scores that they hold, through a network that
# gives what it is given, and with the plots drawn
EXAMPLE = """schema: pquant/1
name: {name}
model: {{weights: {name}-same.h5, head: softmax}}
dataset: {{file: {path}, inputs: [{inputs}], labels: {{{labels}}}, splits: {{test: [0, 1]}}}}
pipelines: {{reference: []}}
metrics: {{accuracy: , auc: , confusion: , btag: {{f_c: 0.1, working_points: {points}, bins: {{pt: [20000, 60000, 120000, 250000]}}}}}}
"""
VALUES = {"light": 0, "c": 4, "b": 5, "tau": 15}


def example(name, file, tagger, classes):
    path = os.path.abspath(f"{name}.h5")
    with h5py.File(path, "w") as out:
        for key in file:
            file.copy(key, out)
    Model((len(classes),)).add("same", "dense", kernel=np.eye(len(classes)), bias=np.zeros(len(classes))).save(
        f"{name}-same.h5", classes)
    short = {"light": "pu", "c": "pc", "b": "pb", "tau": "ptau"}
    with open(f"{name}.yaml", "w") as f:
        f.write(EXAMPLE.format(name=name, path=path, inputs=", ".join(f"{tagger}_{short[c]}" for c in classes), points=POINTS,
                               labels=", ".join(f"{c}: {VALUES[c]}" for c in classes)))
    pquant("run", f"{name}.yaml", "-o", name, "--quiet")
    for picture in ("btag_roc", "btag_discriminant", "btag_bins", "btag_probability", "btag_scan", "confusion", "roc"):
        size = os.path.getsize(f"{name}/plots/{picture}.png") if os.path.exists(f"{name}/plots/{picture}.png") else 0
        cases.add(f"{name}: {picture}.png is drawn", size > 10000, True, 0)
    cell, = (p for p in os.scandir(f"{name}/cells") if "btag.distinct" in open(p).read())
    found = {k: v["value"] for k, v in json.load(open(cell))["metrics"].items()}
    jets = file["jets"][:]
    truth = jets["HadronConeExclTruthLabelID"]
    of = [Flavours[k] for k in ("bjets", "cjets", "ujets", "taujets")[: len(classes)]]
    shares = {"fc": 0.1, "fu": 0.9, **({"ftau": 0.0} if "tau" in classes else {})}
    disc = get_discriminant(jets, tagger, Flavours["bjets"], of, shares, epsilon=0)
    for wp in POINTS:
        prefix = f"btag.{100 * wp:g}"
        for c in classes:
            got = found.get(f"{prefix}.rejection_{c}")
            if got is not None:
                due = calculate_rejection(disc[truth == 5], disc[truth == VALUES[c]], cut_value=found[f"{prefix}.cut"] - AT)[0]
                cases.add(f"{name}: {prefix} {c}", got / due, 1.0, 1e-6)


for tagger in ("rnnip", "dips"):
    example(f"puma-{tagger}", get_dummy_2_taggers(size=9999, add_pt=True, return_file=True), tagger, ["light", "c", "b"])
example("mock", get_mock_file(num_jets=5000)[1], "MockTagger", ["light", "c", "b", "tau"])
cases.finish()
