"""Grids of weights and activations against NumPy in double: every format, granularity, range, mode, width, rule."""
import itertools

import numpy as np

from common import Cases, pquant, write_dataset
from pq_model import NF4, Model, read_model

rng = np.random.default_rng(22)
cases = Cases()
EVENTS = 400
KERNELS = ("conv", "grouped", "depth", "dense", "out")


def build():
    """Ordinary, grouped and depthwise convolutions and dense layers; one channel all 0, one value on a tie."""
    def w(*shape):
        return (rng.normal(size=shape) * rng.uniform(0.2, 3)).astype(np.float32)

    m = Model((5, 4, 4))
    m.add("conv", "conv2d", kernel=w(6, 2, 2, 4), bias=w(6)).add("relu", "relu")
    m.add("grouped", "conv2d", attributes={"groups": 2}, kernel=w(8, 2, 1, 3), bias=w(8))
    m.add("depth", "conv2d", attributes={"groups": 8}, kernel=w(8, 1, 2, 1), bias=w(8))
    m.add("flat", "flatten")
    dense = w(7, 48)
    dense[2] = 0
    dense[3, :5] = [1.625, 0.8125, -0.8125, 1e-8, -1.625]
    m.add("dense", "dense", kernel=dense, bias=w(7)).add("tanh", "tanh").add("out", "dense", kernel=w(3, 7), bias=w(3))
    return m


def groups_of(shape, granularity, group=64):
    count, row = int(np.prod(shape)), int(np.prod(shape[1:]))
    item = np.arange(count)
    return {"per_tensor": item * 0, "per_channel": item // row, "per_weight": item,
            "per_group": item // row * (-(-row // group)) + item % row // group}[granularity]


def extremes(w, index):
    lo, hi = np.zeros(index.max() + 1), np.zeros(index.max() + 1)
    np.minimum.at(lo, index, w)
    np.maximum.at(hi, index, w)
    return lo, hi


def affine(lo, hi, least, most, symmetric):
    """Scale (float32) and zero point of a range that holds 0."""
    if symmetric:
        scale = np.maximum(lo / least if least < 0 else 0, hi / most)
    else:
        scale = (hi - lo) / (most - least)
    scale = np.where(scale > 0, np.maximum(scale, np.finfo(np.float32).tiny), 1).astype(np.float32)
    zero = np.zeros(len(scale), int) if symmetric else np.where(
        hi > lo, np.clip(np.rint(least - lo / scale.astype(float)), least, most), 0).astype(int)
    return scale, zero


def integers(w, index, bits, symmetric, narrow, least_square):
    least, most = -2 ** (bits - 1) + narrow, 2 ** (bits - 1) - 1
    lo, hi = extremes(w, index)
    best = None
    for percent in range(100, 19 if least_square else 99, -1):
        scale, zero = affine(lo * percent / 100, hi * percent / 100, least, most, symmetric)
        s, z = scale.astype(float)[index], zero[index]
        code = np.clip(np.rint(w / s) + z, least, most)
        error = np.bincount(index, ((code - z) * s).astype(np.float32).astype(float) * 0 +
                            (((code - z) * s).astype(np.float32).astype(float) - w) ** 2)
        if best is None:
            best = [scale.copy(), zero.copy(), error]
        else:
            better = error < best[2]
            for k, v in enumerate((scale, zero, error)):
                best[k][better] = v[better]
    s, z = best[0].astype(float)[index], best[1][index]
    return np.clip(np.rint(w / s) + z, least, most), s, z


def rounded(x, mode):
    """Whole numbers next to x, which is exact."""
    down, up = np.floor(x), np.ceil(x)
    tie, nearest = x - down == 0.5, np.where(x - down < 0.5, down, up)
    ties = {"RND_CONV": np.where(down % 2 == 0, down, up), "RND": up, "RND_MIN_INF": down,
            "RND_ZERO": np.where(x > 0, down, up), "RND_INF": np.where(x > 0, up, down)}
    if mode == "TRN":
        return down
    if mode == "TRN_ZERO":
        return np.where(x > 0, down, up)
    return np.where(tie, ties[mode], nearest)


def overflowed(code, width, signed, mode):
    """One code brought into its range by the definition of the mode, reflection by reflection."""
    least, most = (-2 ** (width - 1), 2 ** (width - 1) - 1) if signed else (0, 2 ** width - 1)
    code = int(code)
    if width == 0:
        return 0
    if mode == "SAT":
        return min(max(code, least), most)
    if mode == "SAT_SYM":
        return min(max(code, least + (1 if signed else 0)), most)
    if mode == "WRAP":
        return (code - least) % 2 ** width + least
    while not least <= code <= most:
        code = 2 * most + 1 - code if code > most else 2 * least - 1 - code
    return code


def fit_fixed(bits, lo, hi, signed, overflow, rounding):
    """The fewest integer bits that reach both ends; where overflow wraps, that hold them once rounded."""
    magnitude, largest = bits - signed, max(-lo, hi)
    whole = int(np.ceil(np.log2(largest))) if largest > 0 else 0
    whole = min(max(whole, magnitude - 24), 23)
    while overflow.startswith("WRAP"):
        f = magnitude - whole
        ends = [rounded(np.float64(v * 2.0 ** f), rounding) for v in (lo, hi)]
        least, most = (-2 ** magnitude, 2 ** magnitude - 1) if signed else (0, 2 ** magnitude - 1)
        if all(least <= e <= most for e in ends):
            break
        whole += 1
    return whole, magnitude - whole


def compare(what, weight, codes, scales=None, zeros=None):
    cases.add(f"{what}: codes", weight.codes, codes, 0)
    if scales is not None:
        cases.add(f"{what}: scales", weight.scales, scales, 0)
    if zeros is not None:
        cases.add(f"{what}: zero points", weight.zeros, zeros, 0)


def run(stage, *more):
    pquant("compress", "start.h5", "-o", "out.h5", "--method", stage, *more)
    return read_model("out.h5")


def weights_of(model, kinds=("kernel",)):
    return [(f"{n}/{k}", model.weights[f"{n}/{k}"]) for n in KERNELS for k in kinds]


def check_integers():
    ranges = {"symmetric=true,range=restricted": (True, 1), "symmetric=true,range=full": (True, 0),
              "symmetric=false": (False, 0)}
    for place, (text, (symmetric, narrow)), bits in itertools.product(
            ("per_tensor", "per_channel", "per_group"), ranges.items(), (2, 3, 5, 8, 11, 16)):
        group, mse = (5, 64, 17)[bits % 3], bits % 2 == 1
        stage = (f"quantize:bits={bits},granularity={place},{text},activations=no" +
                 (f",group={group}" if place == "per_group" else "") + (",weight_range=mse" if mse else ""))
        _, found = run(stage)
        for name, w in weights_of(model):
            index = groups_of(w.shape, place, group)
            codes, s, z = integers(w.astype(float).ravel(), index, bits, symmetric, narrow, mse)
            compare(f"{stage} {name}", found[name], codes, s, z)


def check_fixed():
    overflows = ("SAT", "SAT_SYM", "WRAP", "WRAP_SM")
    modes = ("RND_CONV", "RND", "RND_ZERO", "RND_MIN_INF", "RND_INF", "TRN", "TRN_ZERO")
    for n, (overflow, rounding, place) in enumerate(itertools.product(overflows, modes,
                                                                      ("per_tensor", "per_channel", "per_weight"))):
        bits, given = (2, 4, 6, 9, 16)[n % 5], (None, -1, None, 0)[n % 4]
        stage = (f"quantize:format=fixed,bits={bits},granularity={place},overflow={overflow},rounding={rounding},"
                 "activations=no" + (f",integer_bits={given}" if given is not None else ""))
        _, found = run(stage)
        for name, w in weights_of(model):
            x, index = w.astype(float).ravel(), groups_of(w.shape, place)
            lo, hi = extremes(x, index)
            bits_of = [(given, bits - 1 - given) if given is not None else
                       fit_fixed(bits, lo[k], hi[k], 1, overflow, rounding) for k in range(len(lo))]
            f = np.array([b[1] for b in bits_of])[index]
            width = np.array([sum(b) + 1 if sum(b) > 0 else 0 for b in bits_of])[index]
            codes = [overflowed(c, wd, 1, overflow) for c, wd in zip(rounded(x * 2.0 ** f, rounding), width)]
            compare(f"{stage} {name}", found[name], codes, 2.0 ** -f)


def check_floats():
    for name, cast in (("float16", lambda v: v.astype(np.float16).astype(float)), ("bfloat16", bfloat16)):
        _, found = run(f"quantize:format={name}")
        for key, w in weights_of(model, ("kernel", "bias")):
            cases.add(f"{name} {key}", found[key].values, cast(w), 0)


def bfloat16(v):
    bits = v.view(np.uint32).astype(np.uint64)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return bits.astype(np.uint32).view(np.float32).astype(float)


def double_scales(scale):
    """Codes of 8 bits about the mean, a step for 256 of them."""
    mean = float(np.float32(scale.astype(float).sum() / len(scale)))
    out = np.empty(len(scale), np.float32)
    for first in range(0, len(scale), 256):
        part = scale[first:first + 256].astype(float)
        step = float(np.float32(np.abs(part - mean).max() / 127))
        for k, v in enumerate(part):
            code = min(max(np.rint((v - mean) / step) if step > 0 else 0, -127), 127)
            while code < 127 and not np.float32(mean + step * code) > 0:
                code += 1
            out[first + k] = mean + step * code
    return out


def check_nf4():
    for place, group, coded in (("per_tensor", 64, 0), ("per_channel", 64, 0), ("per_group", 64, 0), ("per_group", 3, 0),
                                ("per_group", 16, 1), ("per_group", 1, 1)):
        _, found = run(f"quantize:format=nf4,granularity={place}" + (f",group={group}" if group != 64 else "") +
                       (",double_scales=true" if coded else ""))
        for name, w in weights_of(model):
            x, index = w.astype(float).ravel(), groups_of(w.shape, place, group)
            lo, hi = extremes(x, index)
            scale = np.maximum(-lo, hi).astype(np.float32)
            least = scale[scale > 0].min()
            scale[scale == 0] = least if coded else 1
            s = (double_scales(scale) if coded else scale).astype(float)[index]
            codes = (x[:, None] / s[:, None] > (NF4[:-1] + NF4[1:]) / 2).sum(1)
            compare(f"nf4 {place} {group} {coded} {name}", found[name], codes, s)


def histogram(x):
    """2048 bins of |x|, as wide as a power of two that reaches the largest value, grown in the order of values."""
    a, width = np.abs(x), 0.0
    top = a.max()
    width = 2.0 ** (np.frexp(top / 2048)[1] - 1)
    while top >= width * 2048:
        width *= 2
    return np.bincount((a / width).astype(int), minlength=2048).astype(float), width


def divergence(counts, n, levels):
    p = counts[:n].copy()
    tail = counts[n:].sum()
    q_counts, total = p.copy(), p.sum() + tail
    if not q_counts.sum() > 0:
        return np.inf
    q = np.zeros(n)
    edges = np.arange(levels + 1) * n // levels
    for a, b in zip(edges[:-1], edges[1:]):
        used = q_counts[a:b] > 0
        if used.any():
            q[a:b][used] = q_counts[a:b].sum() / used.sum()
    p[n - 1] += tail
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.where(q_counts > 0, q / q_counts.sum(), 1e-12)
        return np.where(p > 0, p / total * np.log(p / total / q), 0).sum()


def range_of(x, rule, percentile, bits):
    """x [events, values]; the range with 0 in it."""
    lo, hi, cut = min(x.min(), 0), max(x.max(), 0), np.inf
    counts, width = histogram(x.ravel())
    if rule == "moving_average":
        lo, hi = x[0].min(), x[0].max()
        for event in x:
            lo, hi = lo + 0.01 * (event.min() - lo), hi + 0.01 * (event.max() - hi)
        return min(lo, 0), max(hi, 0)
    if rule == "percentile":
        cut = (np.argmax(np.cumsum(counts) >= percentile / 100 * x.size) + 1) * width
    if rule == "mse":
        centres = np.where(np.arange(2048) == 0, 0, (np.arange(2048) + 0.5) * width)
        best = np.inf
        for percent in range(100, 0, -1):
            trial = max(-lo, hi) * percent / 100
            a, b = max(lo, -trial), min(hi, trial)
            step = (b - a) / (2.0 ** bits - 1)
            d = np.where(centres > trial, centres - trial, centres - np.rint(centres / step) * step)
            if (counts * d * d).sum() < best:
                best, cut = (counts * d * d).sum(), trial
    if rule == "entropy":
        counts, levels, best = counts.copy(), 2 ** (bits - 1) if bits < 11 else 1024, np.inf
        counts[0] = counts[1]
        for n in range(2048, levels - 1, -1):
            kl = divergence(counts, n, levels)
            if kl < best:
                best, cut = kl, n * width
    return max(lo, -cut), min(hi, cut)


def check_calibration():
    """The grid of the model's input, which is known to the last bit."""
    shift = {"wide": x, "positive": np.abs(x) * (x > 0)}
    for name, events in shift.items():
        write_dataset("events.h5", list("abc"), {"train": {"x": events, "y": y}})
        flat = events.reshape(EVENTS, -1).astype(float)
        for rule, bits, form in itertools.product(("minmax", "percentile", "mse", "moving_average", "entropy"),
                                                  (4, 8), ("int", "symmetric", "fixed")):
            stage = f"quantize:activation_bits={bits},calibration={rule}"
            stage += ",percentile=99.5" if rule == "percentile" else ""
            stage += {"int": "", "symmetric": ",activation_symmetric=true", "fixed": ",format=fixed"}[form]
            graph, _ = run(stage, "--calib", "events.h5:train", "--calib-events", EVENTS)
            q = graph["nodes"][0]["quant"]
            lo, hi = range_of(flat, rule, 99.5, bits)
            what = f"{name} {stage}"
            if form == "fixed":
                whole, f = fit_fixed(bits, lo, hi, int(lo < 0), "SAT", "RND_CONV")
                cases.add(what, [q["integer_bits"][0], q["fraction_bits"][0], q["signed"]], [whole, f, lo < 0], 0)
                continue
            signed = form == "int" or lo < 0
            least, most = (-2 ** (bits - 1), 2 ** (bits - 1) - 1) if signed else (0, 2 ** bits - 1)
            scale, zero = affine(np.array([lo]), np.array([hi]), least, most, form == "symmetric")
            cases.add(f"{what}: scale", q["scale"][0] / float(scale[0]), 1, 2e-7)
            cases.add(f"{what}: zero point, sign", [q["zero_point"][0], q["signed"]], [zero[0], signed], 0)


def check_choice():
    """Adaptive: no weight alone can change sides for the better; bias_correction: no mean shift is left."""
    first = Model((9,)).add("fc", "dense", kernel=rng.normal(size=(6, 9)), bias=rng.normal(size=6))
    first.save("start.h5")
    events = rng.normal(size=(EVENTS, 9)).astype(np.float32) @ rng.normal(size=(9, 9)).astype(np.float32)
    write_dataset("events.h5", list("abcdef"), {"train": {"x": events, "y": y}})
    w, b = first.weights["fc/kernel"].astype(float), first.weights["fc/bias"].astype(float)
    gram = events.astype(float).T @ events.astype(float)
    more = ("--calib", "events.h5:train", "--calib-events", EVENTS)
    for bits in (2, 3, 4, 6):
        _, found = run(f"quantize:bits={bits},activations=no,choice=adaptive,bias_correction=true", *more)
        q = found["fc/kernel"]
        codes, s = q.codes.reshape(w.shape), q.scales.reshape(w.shape).astype(float)
        nearest, _, _ = integers(w.ravel(), groups_of(w.shape, "per_channel"), bits, True, 1, False)
        d = codes * s - w
        loss = np.einsum("oi,ij,oj->o", d, gram, d)
        n = nearest.reshape(w.shape) * s - w
        cases.add(f"adaptive {bits}: no worse than nearest", np.maximum(loss - np.einsum("oi,ij,oj->o", n, gram, n), 0),
                  loss * 0, 1e-9 * loss.max())
        cases.add(f"adaptive {bits}: a neighbour", np.maximum(np.abs(d) / s, 1), np.ones_like(d), 1e-6)
        other = np.where(codes * s > w, codes - 1, codes + 1)
        inside = np.abs(other) <= 2 ** (bits - 1) - 1
        step = np.where(inside, (other - codes) * s, 0)
        gain = 2 * step * (d @ gram) + step ** 2 * np.diag(gram)
        cases.add(f"adaptive {bits}: no flip helps", np.minimum(gain, 0), gain * 0, 1e-6 * loss.max())
        due = b - ((q.values.astype(float) - w) @ events.astype(float).mean(0))
        cases.add(f"bias_correction {bits}", found["fc/bias"].values, due, 3e-6)


def check_widths():
    """average_bits: the layer whose next bit costs least for each bit saved loses it."""
    def error(v, bits):
        codes, s, z = integers(v.astype(float).ravel(), groups_of(v.shape, "per_channel"), bits, True, 1, False)
        q = (codes * s).astype(np.float32).astype(float)
        return ((q - v.ravel()) ** 2).sum() / (v.astype(float) ** 2).sum()

    for average in (2.5, 4, 5.7):
        _, found = run(f"quantize:bits=8,average_bits={average},activations=no")
        widths = {name: 8 for name, _ in weights_of(model)}
        total = sum(v.size for _, v in weights_of(model))
        while sum(v.size * widths[n] for n, v in weights_of(model)) > average * total:
            cost = {n: (error(v, widths[n] - 1) - error(v, widths[n])) / v.size
                    for n, v in weights_of(model) if widths[n] > 2}
            widths[min(cost, key=cost.get)] -= 1
        cases.add(f"average_bits={average}", [int(found[n].attrs["bits"]) for n in widths], list(widths.values()), 0)


model = build()
model.save("start.h5")
x = (rng.normal(size=(EVENTS, 5, 4, 4)) ** 3).astype(np.float32)
y = rng.integers(0, 3, EVENTS).astype(np.int32)
check_integers()
check_fixed()
check_floats()
check_nf4()
check_widths()
check_calibration()
check_choice()
cases.finish()
