"""Every decomposition, adapters, pruning and equalisation against NumPy, SciPy and TensorLy in double."""
import re
import warnings
from itertools import product

import numpy as np
import tensorly as tl
from scipy.optimize import minimize_scalar
from tensorly.decomposition import parafac, partial_tucker, tensor_ring, tensor_train

from common import Cases, pquant, write_dataset
from pq_model import NF4, Model, read_model

warnings.filterwarnings("ignore")
rng = np.random.default_rng(5)
cases = Cases()
EVENTS = 300
DENSE = {"fc1": (24, 30), "fc2": (18, 24), "fc3": (32, 18)}
CONV = {"c1": (12, 3, 3, 8), "c2": (16, 3, 2, 12), "c3": (8, 1, 3, 16)}


def decaying(*shape):
    """A kernel with a spectrum that falls, and noise."""
    flat = rng.normal(size=(shape[0], int(np.prod(shape[1:]))))
    u, s, v = np.linalg.svd(flat, full_matrices=False)
    return ((u * (s * 0.75 ** np.arange(len(s)) + 0.05)) @ v).reshape(shape).astype(np.float32)


def chain(shapes, first):
    m = Model(first)
    for name, shape in shapes.items():
        m.add(name, "dense" if len(shape) == 2 else "conv2d", attributes={} if len(shape) == 2 else {"padding": "same"},
              kernel=decaying(*shape), bias=rng.normal(size=shape[0]))
    return m


def run(stage, source="start.h5", *more):
    text = pquant("compress", source, "-o", "out.h5", "--method", stage, *more)
    graph, found = read_model("out.h5")
    rows = {w[1]: line for line in text.splitlines() if len(w := line.split()) > 2}
    return graph, {k: v.values.astype(float) for k, v in found.items()}, rows


def kernels(model, shapes):
    return {n: model.weights[f"{n}/kernel"].astype(float) for n in shapes}


def norm_error(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(a)


def unfold(w, form):
    """The matrix of a kernel, and the way back."""
    if w.ndim == 2 or form == "channel":
        return w.reshape(len(w), -1), lambda m: m.reshape(w.shape)
    o, h, b, i = w.shape
    if form == "channel_in":
        return w.reshape(-1, i), lambda m: m.reshape(w.shape)
    return (w.transpose(3, 1, 0, 2).reshape(i * h, o * b),
            lambda m: m.reshape(i, h, o, b).transpose(2, 1, 3, 0))


def truncated(m, r):
    u, s, v = np.linalg.svd(m, full_matrices=False)
    return (u[:, :r] * s[:r]) @ v[:r]


def evbmf(s, m, n):
    """Nakajima et al. 2013 with SciPy's bounded search."""
    l, m = min(m, n), max(m, n)
    alpha = l / m
    tau = 2.5129 * np.sqrt(alpha)
    limit = (1 + tau) * (1 + alpha / tau)
    first = min(int(np.ceil(l / (1 + alpha))) - 1, l) 

    def energy(v):
        x = s ** 2 / (m * v)
        big = x[x > limit]
        t = ((big - (1 + alpha)) + np.sqrt((big - (1 + alpha)) ** 2 - 4 * alpha)) / 2
        return (x[x <= limit] - np.log(x[x <= limit])).sum() + (
            big - t + np.log((t + 1) / big) + alpha * np.log(t / alpha + 1)).sum()

    lo = max(s[first] ** 2 / (m * limit), (s[first:] ** 2).mean() / m)
    hi = (s ** 2).sum() / (l * m)
    v = minimize_scalar(energy, bounds=(lo, hi), method="bounded", options={"xatol": 1e-14}).x
    return max(int((s > np.sqrt(m * v * limit)).sum()), 1)


def check_svd():
    for shapes, first, forms in ((DENSE, (30,), ("channel",)), (CONV, (5, 4, 8), ("channel", "channel_in", "spatial"))):
        model = chain(shapes, first)
        model.save("start.h5")
        for form, rule in product(forms, ("rank=3", "rank=7", "energy=0.9", "epsilon=0.2", "evbmf=true", "ratio=2")):
            stage = f"svd:{rule},keep_dense=false" + (f",form={form}" if shapes is CONV else "")
            _, whole, rows = run(stage + ",run_as=reconstructed")
            _, parts, _ = run(stage)
            for name, w in kernels(model, shapes).items():
                m, back = unfold(w, form)
                s = np.linalg.svd(m, compute_uv=False)
                share = np.cumsum(s ** 2) / (s ** 2).sum()
                key, value = rule.split("=")
                due = {"rank": lambda: int(value), "energy": lambda: int(np.argmax(share >= 0.9)) + 1,
                       "epsilon": lambda: int(np.argmax(1 - share <= 0.04 + 1e-15)) + 1,
                       "evbmf": lambda: evbmf(s, *m.shape),
                       "ratio": lambda: max(int(m.size / (2 * sum(m.shape))), 1)}[key]()
                rank = int(re.search(r"rank (\d+) of", rows[name]).group(1))
                cases.add(f"{stage} {name}: rank", rank, due, 0)
                best = back(truncated(m, rank))
                cases.add(f"{stage} {name}: kernel", whole[f"{name}/kernel"], best, 2e-6)
                a, b = parts[f"{name}/kernel"], parts[f"{name}.b/kernel"]
                if w.ndim == 2:
                    joined = a @ b
                elif form == "spatial":
                    joined = np.einsum("owr,rhi->ohwi", a[:, 0], b[:, :, 0])
                else:
                    joined = (np.einsum("or,rhwi->ohwi", a[:, 0, 0], b) if form == "channel" else
                              np.einsum("ohwr,ri->ohwi", a, b[:, 0, 0]))
                cases.add(f"{stage} {name}: factors", joined, best, 2e-6)


def patches(x, shape):
    """Rows that a 'same' convolution of stride 1 sees, [height, width, in]."""
    _, h, b, _ = shape
    pad = np.pad(x, ((0, 0), ((h - 1) // 2, h // 2), ((b - 1) // 2, b // 2), (0, 0)))
    n, height, width, _ = x.shape
    return np.stack([pad[:, i:i + height, j:j + width] for i in range(h) for j in range(b)], 3).reshape(
        n * height * width, -1)


def check_weighted():
    """What stays of the output (whitened) and of the scaled weight (asvd) is the most there can be."""
    for shape, first in (((20, 30), (30,)), ((12, 3, 2, 5), (6, 5, 5))):
        model = chain({"w": shape}, first)
        model.add("flat", "flatten")
        model.save("start.h5")
        mix = rng.normal(size=(first[-1], first[-1])) * 0.6 ** np.arange(first[-1])
        x = (rng.normal(size=(EVENTS, *first)) @ mix + 0.3).astype(np.float32)
        outputs = shape[0] if len(shape) == 2 else shape[0] * first[0] * first[1]
        write_dataset("events.h5", [f"c{k}" for k in range(outputs)],
                      {"train": {"x": x, "y": rng.integers(0, outputs, EVENTS).astype(np.int32)}})
        more = ("--calib", "events.h5:train", "--calib-events", EVENTS)
        rows = x.astype(float) if len(shape) == 2 else patches(x.astype(float), shape)
        w, b = (model.weights[f"w/{k}"].astype(float) for k in ("kernel", "bias"))
        m = w.reshape(len(w), -1)
        for rank, correct in product((2, 5, 9), ("true", "false")):
            second = rows.T @ rows / len(rows)
            mean = rows.mean(0)
            cov = second - np.outer(mean, mean) if correct == "true" else second
            _, found, _ = run(f"svd:rank={rank},weighting=whitened,bias_correction={correct},run_as=reconstructed,"
                              "keep_dense=false", "start.h5", *more)
            got = found["w/kernel"].reshape(m.shape)
            least = np.sort(np.linalg.eigvalsh(m @ cov @ m.T))[:-rank].sum()
            lost = np.trace((m - got) @ cov @ (m - got).T)
            cases.add(f"whitened {shape} {rank} {correct}: loss over the least", lost / least, 1, 1e-5)
            u = np.linalg.eigh(m @ cov @ m.T)[1][:, -rank:]
            cases.add(f"whitened {shape} {rank} {correct}: kernel", got, u @ u.T @ m, 1e-5)
            due = b + (m - got) @ mean if correct == "true" else b
            cases.add(f"whitened {shape} {rank} {correct}: bias", found["w/bias"], due, 1e-5)
        for rank, alpha in product((2, 5, 9), (0.3, 0.5, 1.0)):
            scale = np.sqrt((rows ** 2).mean(0)) ** alpha
            _, found, _ = run(f"svd:rank={rank},weighting=asvd,alpha={alpha},bias_correction=false,"
                              "run_as=reconstructed,keep_dense=false", "start.h5", *more)
            got = found["w/kernel"].reshape(m.shape)
            tail = np.linalg.svd(m * scale, compute_uv=False)[rank:]
            cases.add(f"asvd {shape} {rank} {alpha}: loss over the least",
                      np.linalg.norm((m - got) * scale) / np.linalg.norm(tail), 1, 1e-5)
            cases.add(f"asvd {shape} {rank} {alpha}: kernel", got, truncated(m * scale, rank) / scale, 1e-5)


def not_worse(what, ours, theirs, tolerance):
    """How far an error is above that of the oracle, relative to it."""
    cases.add(what, max(ours / theirs - 1, 0), 0, tolerance)


def check_tensors():
    model = chain(CONV, (5, 4, 8))
    model.save("start.h5")
    for rank, rank_in in ((4, 3), (6, 6), (7, 8)):
        _, found, _ = run(f"tucker:rank={rank},rank_in={rank_in},run_as=reconstructed,keep_dense=false,sweeps=500")
        _, once, _ = run(f"tucker:rank={rank},rank_in={rank_in},run_as=reconstructed,keep_dense=false,sweeps=0")
        for name, w in kernels(model, CONV).items():
            (core, factors), _ = partial_tucker(w, rank=[rank, rank_in], modes=[0, 3], n_iter_max=500, tol=1e-12)
            theirs = norm_error(w, tl.tenalg.multi_mode_dot(core, factors, modes=[0, 3]))
            not_worse(f"tucker {rank} {rank_in} {name}", norm_error(w, found[f"{name}/kernel"]), theirs, 1e-5)
            u0 = np.linalg.svd(w.reshape(len(w), -1))[0][:, :rank]
            u1 = np.linalg.svd(w.reshape(-1, w.shape[3]).T)[0][:, :rank_in]
            hosvd = np.einsum("op,ohwi,ij->phwj", u0, w, u1)
            cases.add(f"hosvd {rank} {rank_in} {name}", once[f"{name}/kernel"],
                      np.einsum("op,phwj,ij->ohwi", u0, hosvd, u1), 2e-6)
    for rank, axes in product((3, 6), ("three", "four")):
        _, found, _ = run(f"cp:rank={rank},axes={axes},run_as=reconstructed,keep_dense=false,sweeps=2000,swell=1e12")
        for name, w in kernels(model, CONV).items():
            t = w.reshape(w.shape[0], -1, w.shape[3]) if axes == "three" else w
            theirs = min(norm_error(t, parafac(t, rank, n_iter_max=1000, tol=1e-12, init=start, random_state=1).to_tensor())
                         for start in ("svd", "random"))
            not_worse(f"cp {rank} {axes} {name}", norm_error(w, found[f"{name}/kernel"]), theirs, 1e-3)


def trains(w, n, m, form):
    """The tensor that is decomposed, and the way back."""
    d = len(n)
    if form == "naive":
        return w.transpose(3, 1, 2, 0), lambda t: t.transpose(3, 1, 2, 0)
    window = [] if w.ndim == 2 else [w.shape[1] * w.shape[2]]
    flat = w if w.ndim == 2 else w.transpose(1, 2, 0, 3).reshape(window[0], w.shape[0], w.shape[3])
    k = len(window)
    pairs = [k + a for i in range(d) for a in (i, d + i)]
    split = flat.reshape(window + list(n) + list(m)).transpose(list(range(k)) + pairs)
    t = split.reshape(window + [a * b for a, b in zip(n, m)])

    def back(x):
        order = np.argsort(list(range(k)) + pairs)
        x = x.reshape(split.shape).transpose(order).reshape(flat.shape)
        return x if w.ndim == 2 else x.reshape(w.shape[1], w.shape[2], w.shape[0], w.shape[3]).transpose(2, 0, 1, 3)

    return t, back


def check_trains():
    layers = {"fc": ((24, 36), (36,), (4, 3, 2), (3, 3, 4)), "conv": ((12, 3, 3, 8), (5, 4, 8), (3, 4), (4, 2))}
    for name, (shape, first, n, m) in layers.items():
        model = chain({name: shape}, first)
        model.save("start.h5")
        w = model.weights[f"{name}/kernel"].astype(float)
        for form, rank in product(("garipov", "naive", "ring") if name == "conv" else ("garipov", "ring"), (2, 4, 6)):
            modes = "" if form == "naive" else f",in_modes={list(m)},out_modes={list(n)}".replace(" ", "")
            _, found, rows = run(f"tensor_train:rank={rank},form={form},clip_rank=true,run_as=reconstructed,"
                                 f"keep_dense=false{modes}")
            t, back = trains(w, n, m, form)
            got = found[f"{name}/kernel"]
            if form != "ring":
                cases.add(f"train {name} {form} {rank}", got, back(tensor_train(t, [1] + [rank] * (t.ndim - 1) + [1]).to_tensor()),
                          2e-6)
                continue
            ranks = [int(r) for r in re.search(r"ring of ranks ([\d ]+?) and", rows[name]).group(1).split()]
            theirs = []
            for mode in range(t.ndim):
                try:
                    theirs.append(norm_error(t, tensor_ring(t, ranks + ranks[:1], mode=mode).to_tensor()))
                except (ValueError, np.linalg.LinAlgError):  # ranks that this start cannot have
                    continue
            assert theirs, ranks
            not_worse(f"ring {name} {rank}", norm_error(w, got), min(theirs), 1e-6)


def nf4(w, group):
    flat, out = w.reshape(len(w), -1), np.empty((len(w), w[0].size))
    for o, row in enumerate(flat):
        for a in range(0, len(row), group):
            part = row[a:a + group]
            s = float(np.float32(np.abs(part).max())) or 1.0
            codes = (part[:, None] / s > (NF4[:-1] + NF4[1:]) / 2).sum(1)
            out[o, a:a + group] = (NF4[codes] * s).astype(np.float32)
    return out.reshape(w.shape)


def adapter(found, name, w):
    a, b = found[f"{name}.lora_a/kernel"], found[f"{name}.lora_b/kernel"]
    return (b.reshape(len(w), -1) @ a.reshape(len(a), -1)).reshape(w.shape), a


def check_lora():
    for shapes, first in ((DENSE, (30,)), (CONV, (5, 4, 8))):
        model = chain(shapes, first)
        model.save("start.h5")
        for init, base, alpha in (("zero", "keep", 6), ("zero", "nf4", 3), ("pissa", "keep", 3), ("pissa", "keep", 6),
                                  ("pissa", "nf4", 6), ("loftq", "nf4", 3)):
            stage = f"lora:rank=3,alpha={alpha},init={init},base={base}" + (",group=16" if base == "nf4" else "")
            _, found, _ = run(stage)
            pquant("compress", "out.h5", "-o", "added.h5", "--method", "lora:action=merge")
            _, merged = read_model("added.h5")
            for name, w in kernels(model, shapes).items():
                m, factor = w.reshape(len(w), -1), alpha / 3
                ba, a = adapter(found, name, w)
                frozen = found[f"{name}/kernel"]
                if init == "zero":
                    cases.add(f"{stage} {name}: B A", ba, 0 * w, 0)
                    limit = 1 / np.sqrt(w[0].size)
                    cases.add(f"{stage} {name}: A in its range", max(np.abs(a).max() / limit, 1), 1, 1e-6)
                    cases.add(f"{stage} {name}: base", frozen, w if base == "keep" else nf4(w, 16), 0)
                elif init == "pissa":
                    best = truncated(m, 3).reshape(w.shape)
                    cases.add(f"{stage} {name}: components", factor * ba, best, 2e-6)
                    if base == "keep":
                        cases.add(f"{stage} {name}: whole", frozen + factor * ba, w, 1e-6)
                else:
                    not_worse(f"{stage} {name}: below nf4 alone", norm_error(w, frozen + factor * ba),
                              norm_error(w, nf4(w, 16)), 0)
                    rest = (w - frozen).reshape(m.shape)
                    cases.add(f"{stage} {name}: the best product of what is left", factor * ba,
                              truncated(rest, 3).reshape(w.shape), 2e-6)
                due = frozen + factor * ba
                cases.add(f"{stage} {name}: merged", merged[f"{name}/kernel"].values.astype(float),
                          due if base == "keep" else nf4(due.astype(np.float32).astype(float), 16), 2e-7)


def check_prune():
    model = chain(CONV, (5, 4, 8))
    model.save("start.h5")
    all_kernels = kernels(model, CONV)
    for scope, part in product(("global", "per_layer"), (0.1, 0.37, 0.5, 0.9)):
        _, found, _ = run(f"prune:target_sparsity={part},scope={scope}")
        sets = [list(all_kernels)] if scope == "global" else [[n] for n in all_kernels]
        for names in sets:
            flat = np.concatenate([all_kernels[n].ravel() for n in names])
            gone = np.argsort(np.abs(flat), kind="stable")[:int(np.floor(part * flat.size + 0.5))]
            due = flat.copy()
            due[gone] = 0
            cases.add(f"prune {scope} {part} {names}", np.concatenate([found[f"{n}/kernel"].ravel() for n in names]), due, 0)


def check_equalize():
    """The function stays, and both sides of each channel have one range."""
    m = Model((6,))
    w = {n: decaying(*s) * np.exp(rng.normal(size=(s[0], 1))) for n, s in (("a", (10, 6)), ("b", (7, 10)), ("c", (4, 7)))}
    bias = {n: rng.normal(size=len(v)) for n, v in w.items()}
    m.add("a", "dense", kernel=w["a"], bias=bias["a"]).add("r1", "relu").add("b", "dense", kernel=w["b"], bias=bias["b"])
    m.add("r2", "relu").add("c", "dense", kernel=w["c"], bias=bias["c"]).save("start.h5")
    _, found, _ = run("equalize")

    def forward(k, x):
        for n in "abc":
            x = x @ k[f"{n}/kernel"].astype(float).T + k[f"{n}/bias"]
            x = np.maximum(x, 0) if n != "c" else x
        return x

    x = rng.normal(size=(200, 6))
    cases.add("equalize: function", forward(found, x), forward(m.weights, x), 2e-6)
    for one, two in ("ab", "bc"):
        r1, r2 = np.abs(found[f"{one}/kernel"]).max(1), np.abs(found[f"{two}/kernel"]).max(0)
        cases.add(f"equalize {one} {two}: ranges", r1 / r2, np.ones_like(r1), 1e-3)


for check in (check_svd, check_weighted, check_tensors, check_trains, check_lora, check_prune, check_equalize):
    check()
cases.finish()
