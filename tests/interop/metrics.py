"""Every metric against scikit-learn, SciPy and NumPy in double: ranks, decisions, intervals, sizes and operations."""
import csv
import json
import os
from itertools import product

import h5py
import numpy as np
from scipy.special import log_softmax, logsumexp
from scipy.stats import beta, norm, rankdata, t
from sklearn.metrics import accuracy_score, log_loss, recall_score, roc_auc_score

from common import Cases, pquant, write_dataset
from pq_model import Model, read_model

rng = np.random.default_rng(7)
cases = Cases()
CLASSES = list("gqwzt")


def evaluate(model, *more):
    text = pquant("model", "eval", model, *more, "--format", "json")
    return {k: {f: np.nan if v[f] is None else v[f] for f in ("value", "lo", "hi", "n")}
            for k, v in json.loads(text)["metrics"].items()}


def effective(w):
    return w.sum() ** 2 / (w ** 2).sum()


def student(freedom):
    """Standard errors of a one-sigma interval whose error has so many degrees of freedom."""
    return float(t.ppf(norm.cdf(1), max(freedom, 0.5)))


def freedom(d):
    return (d ** 2).sum() ** 2 / (d ** 4).sum() - 1


def worth(passes, w):
    """The share that passes, and the unweighted events with the variance of its ratio (Korn and Graubard)."""
    p, n = w[passes].sum() / w.sum(), effective(w)
    variance = (w ** 2 * (passes - p) ** 2).sum() / w.sum() ** 2
    heavy = (w ** 4).sum() / (w ** 2).sum() ** 2 - 1 / len(w)
    if not 0 < p < 1 or n > len(w) * (1 - 1e-9):
        return p, n
    return p, p * (1 - p) / variance / (student(1 / heavy - 1) ** 2 if heavy > 1e-12 else 1)


def wilson(p, n):
    centre, half = (p + 0.5 / n) / (1 + 1 / n), np.sqrt(p * (1 - p) / n + 0.25 / n ** 2) / (1 + 1 / n)
    return (0.0 if p <= 0 else centre - half), (1.0 if p >= 1 else centre + half)


def components(score, label):
    """DeLong's placements by ranks: of each event the share of the other side that it beats, ties half."""
    pos, neg = score[label], score[~label]
    ranks, m, n = rankdata(np.concatenate([pos, neg])), len(pos), len(neg)
    v10 = (ranks[:m] - rankdata(pos)) / n
    v01 = 1 - (ranks[m:] - rankdata(neg)) / m
    return v10, v01


def check_auc(what, found, score, y, weight):
    known, influence = [], np.zeros(len(y))
    for c, name in enumerate(CLASSES):
        label = y == c
        if not label.any():
            cases.add(f"{what}: auc of an absent class", np.isnan(found[f"auc.{name}"]["value"]), True, 0)
            continue
        due = roc_auc_score(label, rankdata(score[:, c], method="dense"), sample_weight=weight)
        known.append(due)
        got = found[f"auc.{name}"]
        cases.add(f"{what}: auc.{name}", got["value"], due, 1e-12)
        if weight is not None:
            continue
        v10, v01 = components(score[:, c], label)
        own = np.zeros(len(y))
        own[label] = (v10 - due) / np.sqrt(len(v10) * (len(v10) - 1))
        own[~label] = (v01 - due) / np.sqrt(len(v01) * (len(v01) - 1))
        influence += own
        error = np.sqrt(v10.var(ddof=1) / len(v10) + v01.var(ddof=1) / len(v01))
        cases.add(f"{what}: variance of {name}", np.sqrt((own ** 2).sum()), error, 1e-12)
        if error > 0:
            error *= student(freedom(own))
            cases.add(f"{what}: DeLong of {name}", [got["lo"], got["hi"]],
                      [max(due - error, 0), min(due + error, 1)], 1e-12)
    cases.add(f"{what}: auc.macro", found["auc.macro"]["value"], np.mean(known), 1e-12)
    if weight is None:
        error = np.sqrt((influence ** 2).sum()) / len(known) * student(freedom(influence))
        got = found["auc.macro"]
        cases.add(f"{what}: DeLong of the mean", [got["lo"], got["hi"]],
                  [np.mean(known) - error, min(np.mean(known) + error, 1)], 1e-12)


def check_events(what, found, logits, y, weight):
    z, w = logits.astype(float), np.ones(len(y)) if weight is None else weight.astype(float)
    others = np.stack([logsumexp(np.delete(z, c, 1), axis=1) for c in range(5)], 1)
    odds = np.round(z - others, 9) if "ties" in what else z - others  # sums in other orders tie as well
    check_auc(what, found, odds, y, weight)
    decided, n = z.argmax(1), effective(w)
    p, (share, m) = accuracy_score(y, decided, sample_weight=w), worth(decided == y, w)
    cases.add(f"{what}: accuracy of scikit-learn", share, p, 1e-12)
    cases.add(f"{what}: accuracy", [found["accuracy"][k] for k in ("value", "lo", "hi", "n")],
              [share, *wilson(share, m), n], 1e-12)
    each = -log_softmax(z, axis=1)[np.arange(len(y)), y]
    due = log_loss(y, np.exp(log_softmax(z, axis=1)), sample_weight=w, labels=range(5))
    mean = (w * each).sum() / w.sum()
    if each.max() < 30:  # scikit-learn cuts probabilities
        cases.add(f"{what}: log_loss of scikit-learn", found["log_loss"]["value"], due, 1e-6)
    d = w * (each - mean)
    error = student(freedom(d)) * np.sqrt((d ** 2).sum() * n / (n - 1)) / w.sum()
    cases.add(f"{what}: log_loss", [found["log_loss"][k] for k in ("value", "lo", "hi")],
              [mean, mean - error, mean + error], 2e-6)
    for c, name in enumerate(CLASSES):
        if (y == c).any():
            r = recall_score(y == c, decided == c, sample_weight=w)
            share, m = worth((decided == c)[y == c], w[y == c])
            cases.add(f"{what}: recall.{name} of scikit-learn", share, r, 1e-12)
            cases.add(f"{what}: recall.{name}", [found[f"recall.{name}"][k] for k in ("value", "lo", "hi")],
                      [share, *wilson(share, m)], 1e-12)


def check_ranks_and_decisions():
    eye = np.eye(5, dtype=np.float32)
    Model((5,)).add("out", "dense", kernel=eye).save("logits.h5", CLASSES)
    Model((5,)).add("out", "dense", kernel=eye).add("p", "softmax").save("softmax.h5", CLASSES)
    for n, spread, kind, weighted, net in product((300, 2000), (1, 12, 60), ("smooth", "ties", "absent"), (0, 1),
                                                  ("logits", "softmax")):
        if kind == "ties" and spread > 1:
            continue  # ties and neighbours that doubles hardly tell apart
        y = rng.integers(0, 4 if kind == "absent" else 5, n).astype(np.int32)
        x = rng.normal(size=(n, 5)) * spread
        x[np.arange(n), y] += 0.8 * spread
        x = (np.rint(x * 2) / 2 if kind == "ties" else x).astype(np.float32)
        weight = rng.gamma(2, size=n).astype(np.float32) if weighted else None
        write_dataset("events.h5", CLASSES, {"test": {"x": x, "y": y} | ({"weight": weight} if weighted else {})})
        check_events(f"{net} {n} x{spread} {kind} weighted={weighted}",
                     evaluate(f"{net}.h5", "--data", "events.h5:test"), x, y, weight)


def item_bits(weight, found):
    """Bits of each item of a weight; a zero takes none."""
    w = found[weight]
    if w.scheme == "fixed":
        width = w.bits
    else:
        width = np.full(w.values.size, {"float32": 32, "float16": 16, "bfloat16": 16, "nf4": 4}.get(w.scheme) or
                        int(w.attrs["bits"]))
    return np.where(w.values.ravel() == 0, 0, width), int(width.max())


def check_operations():
    """MACs, BOPs and EBOPs of quantized convolutions (grouped, depthwise, strided) and dense layers."""
    def w(*s):
        return rng.normal(size=s).astype(np.float32)

    m = Model((9, 8, 4))
    m.add("conv", "conv2d", attributes={"stride_h": 2, "padding": "same"}, kernel=w(6, 3, 2, 4), bias=w(6))
    m.add("relu", "relu")
    m.add("grouped", "conv2d", attributes={"groups": 3}, kernel=w(9, 2, 2, 2), bias=w(9))
    m.add("depth", "conv2d", attributes={"groups": 9}, kernel=w(9, 3, 1, 1)).add("flat", "flatten")
    m.add("out", "dense", kernel=w(3, 9 * 2 * 7), bias=w(3))
    positions = {"conv": 5 * 8, "grouped": 4 * 7, "depth": 2 * 7, "out": 1}
    m.save("net.h5", "abc")
    x = rng.normal(size=(64, 9, 8, 4)).astype(np.float32)
    write_dataset("events.h5", list("abc"), {"train": {"x": x, "y": rng.integers(0, 3, 64).astype(np.int32)}})
    calib = ("--calib", "events.h5:train")
    for stages in ([], ["prune:target_sparsity=0.6"], ["quantize:bits=6,activation_bits=5"],
                   ["prune:target_sparsity=0.5", "quantize:bits=4,granularity=per_group,group=3"],
                   ["quantize:format=fixed,bits=7,granularity=per_weight"], ["quantize:format=nf4"],
                   ["quantize:format=fixed,granularity=per_channel,activation_bits=10,bits=5"],
                   ["quantize:format=bfloat16"]):
        args = [a for s in stages for a in ("--method", s)]
        model = "net.h5"
        if stages:
            pquant("compress", "net.h5", "-o", "out.h5", *args, *calib)
            model = "out.h5"
        graph, found = read_model(model)
        metrics = evaluate(model, "--data", "events.h5:train")
        grids = {n["name"]: n.get("quant") for n in graph["nodes"]}
        handed, bops, ebops, macs = {"flat": "depth"}, 0.0, 0.0, 0
        for node in graph["nodes"]:
            name = node["name"]
            if name not in positions:
                continue
            source = node["inputs"][0]
            source = source if grids[source] else handed.get(source, source)
            q, kernel = grids[source], found[f"{name}/kernel"]
            b_x = q.get("bits") or (q["integer_bits"][0] + q["fraction_bits"][0] + q["signed"]) if q else 32
            bits, b_w = item_bits(f"{name}/kernel", found)
            fan_in = kernel.values[0].size
            macs += positions[name] * kernel.values.size
            bops += positions[name] * ((bits * b_x).sum() + kernel.values.size * (b_w + b_x + np.log2(fan_in)))
            ebops += (bits * b_x).sum()
            bias = found.get(f"{name}/bias")
            if bias is None:
                continue
            if q and kernel.codes is not None and kernel.scheme != "nf4":
                s_x = q["scale"][0] if "scale" in q else 2.0 ** -q["fraction_bits"][0]
                s_w = kernel.scales.astype(float).reshape(len(kernel.values), -1).min(1)
                steps = np.rint(bias.values.astype(float) / (float(s_x) * s_w))
                ebops += sum(int(np.floor(np.log2(abs(s)))) + 2 for s in steps if s != 0)
            else:
                ebops += item_bits(f"{name}/bias", found)[0].sum()
        what = ", ".join(stages) or "float32"
        cases.add(f"{what}: macs", metrics["macs"]["value"], macs, 0)
        cases.add(f"{what}: bops", metrics["bops"]["value"] / bops, 1, 1e-12)
        cases.add(f"{what}: ebops", metrics["ebops"]["value"] / ebops, 1, 1e-12)
        check_size(what, metrics, found, model)


def stored(weight, packed):
    """Bytes of a weight: its codes or values, and what its grid needs."""
    a = weight.attrs
    if "scheme" not in a:
        return 4 * weight.values.size
    side = 4 * np.size(a["scale"]) if "scale" in a else 0
    side += 4 * np.size(a["zero_point"]) if "zero_point" in a else 0
    side += np.size(a["scale_code"]) + 4 * np.size(a["scale_step"]) + 4 if "scale_code" in a else 0
    side += np.size(a["widths"]) if "widths" in a else 2 if "integer_bits" in a else 0
    return packed + side


def check_size(what, metrics, found, model):
    values = sum(w.values.size for w in found.values())
    with h5py.File(model) as f:
        due = sum(stored(w, f[f"weights/{name}"].size) for name, w in found.items())
    cases.add(f"{what}: stored_bytes", metrics["stored_bytes"]["value"], due, 0)
    cases.add(f"{what}: file_bytes", metrics["file_bytes"]["value"], os.path.getsize(model), 0)
    nonzero = sum(int((w.values != 0).sum()) for w in found.values())
    cases.add(f"{what}: parameters, nonzero", [metrics["parameters"]["value"], metrics["nonzero"]["value"]],
              [values, nonzero], 0)


def clopper_pearson(k, n):
    tail = 0.5 - 0.6826894921370859 / 2
    return (beta.ppf(tail, k, n - k + 1) if k > 0 else 0.0), (beta.ppf(1 - tail, k + 1, n - k) if k < n else 1.0)


def check_cuts():
    """Clopper-Pearson of accuracy, and efficiency and mistag at cuts on the probability, from a run's table."""
    for n, cut, weighted in product((40, 700), (0.2, 0.5, 0.9), (0, 1)):
        y = rng.integers(0, 5, n).astype(np.int32)
        x = (rng.normal(size=(n, 5)) * 2).astype(np.float32)
        w = rng.gamma(2, size=n).astype(np.float32) if weighted else np.ones(n, np.float32)
        write_dataset("events.h5", CLASSES, {"test": {"x": x, "y": y, "weight": w}})
        with open("c.yaml", "w") as f:
            f.write("schema: pquant/1\nname: cuts\nmodel: {weights: softmax.h5}\ndataset: {file: events.h5, test: test}\npipelines: {reference: []}\n"
                    "metrics: {accuracy: {interval: clopper-pearson}, thresholds: {cut: %g}}\n"
                    "output: {dir: out, plots: \"\"}\n" % cut)
        pquant("run", "c.yaml", "--quiet", "--force")
        with open("out/table.csv") as f:
            row = next(csv.DictReader(f))
        z, w = x.astype(float), w.astype(float)
        p = np.exp(log_softmax(z, axis=1))
        right = p.argmax(1) == y
        found = {"accuracy": (right, np.ones(n, bool))}
        for c, name in enumerate(CLASSES):
            found[f"efficiency.{name}"] = (p[:, c] >= cut, y == c)
            found[f"mistag.{name}"] = (p[:, c] >= cut, y != c)
        for name, (kept, of) in found.items():
            share, m = worth(kept[of], w[of])
            cases.add(f"cuts {n} {cut} {weighted}: {name}", [float(row[k]) for k in (name, f"{name}_lo", f"{name}_hi")],
                      [share, *clopper_pearson(share * m, m)], 1e-6)


check_ranks_and_decisions()
check_cuts()
check_operations()
cases.finish()
