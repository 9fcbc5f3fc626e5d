"""Model files of pquant written and read by numpy alone, as docs/file-formats.md describes them."""
import json

import h5py
import numpy as np

NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                0.7229568362236023, 1.0], dtype=np.float32).astype(float)


class Model:
    """A graph under construction: each layer reads the one before unless told otherwise."""

    def __init__(self, shape):
        self.nodes = [{"name": "in", "kind": "input", "inputs": [], "attributes": {"shape": list(shape)},
                       "weights": []}]
        self.weights = {}

    def add(self, name, kind, inputs=None, attributes=None, **weights):
        self.nodes.append({"name": name, "kind": kind, "inputs": inputs or [self.nodes[-1]["name"]],
                           "attributes": attributes or {},
                           "weights": [{"name": k, "shape": list(v.shape)} for k, v in weights.items()]})
        for k, v in weights.items():
            self.weights[f"{name}/{k}"] = np.asarray(v, dtype=np.float32)
        return self

    def save(self, path, classes=None):
        graph = {"nodes": self.nodes, "output": self.nodes[-1]["name"]}
        if classes:
            graph["class_names"] = list(classes)
        with h5py.File(path, "w") as f:
            f.attrs["format"] = "pquant-model"
            f.attrs["version"] = np.int32(1)
            f["graph"] = json.dumps(graph)
            for k, v in self.weights.items():
                f[f"weights/{k}"] = v


def attr(a, name, default=0):
    value = a.get(name, default)
    return value.decode() if isinstance(value, bytes) else value


def bits_of(data, at, width):
    """One number of `width` bits at bit `at`, little-endian bit order."""
    return sum(int(data[(at + k) // 8] >> ((at + k) % 8) & 1) << k for k in range(width))


def index_of(a, shape):
    """Scale index of each item."""
    count, axis = int(np.prod(shape)), int(attr(a, "axis", -1))
    item = np.arange(count)
    if axis == -1:
        return np.zeros(count, int)
    if axis == -2:
        return item
    if axis == -3:
        row, group = int(np.prod(shape[1:])) if len(shape) > 1 else shape[0], int(attr(a, "group"))
        return item // row * ((row - 1) // group + 1) + item % row // group
    return item // int(np.prod(shape[axis + 1:])) % shape[axis]


def scales_of(a):
    if "scale_code" in a:
        code = np.atleast_1d(a["scale_code"]).astype(float)
        step = np.repeat(np.atleast_1d(a["scale_step"]).astype(float), 256)[:len(code)]
        return (float(a["scale_mean"]) + step * code).astype(np.float32)
    return np.atleast_1d(a["scale"]).astype(np.float32)


def widths_of(a, n):
    """Integer and fraction bits of each index of fixed point."""
    if "widths" not in a:
        return np.atleast_1d(a["integer_bits"]).astype(int), np.atleast_1d(a["fraction_bits"]).astype(int)
    packed, at, lists = np.atleast_1d(a["widths"]).astype(np.uint8), 32, []
    for k in range(2):
        least, bits = int(packed[2 * k].astype(np.int8)), int(packed[2 * k + 1])
        lists.append(np.array([least + bits_of(packed, at + i * bits, bits) for i in range(n)]))
        at += n * bits
    return lists


def stored_of(form, data, shape):
    """Which items a pruned weight stores, and the bit at which their codes begin (docs/file-formats.md)."""
    count, rows = int(np.prod(shape)), shape[0]
    columns = count // rows
    if form == 1:
        return np.unpackbits(data[:(count + 7) // 8], bitorder="little")[:count].astype(bool), (count + 7) // 8 * 8
    flat = np.unpackbits(data, bitorder="little").astype(np.int64)
    stored = np.zeros((rows, columns), bool)
    if form == 2:
        bits, each = columns.bit_length(), (columns - 1).bit_length()
        at = rows * bits
        for r in range(rows):
            for _ in range(bits_of(data, r * bits, bits)):
                stored[r, bits_of(data, at, each)] = True
                at += each
    elif form == 3:
        n, m, at = int(data[0]), int(data[1]), 16
        for r in range(rows):
            for c in range(0, columns, m):
                for _ in range(min(n, m, columns - c)):
                    stored[r, c + bits_of(data, at, (m - 1).bit_length())] = True
                    at += (m - 1).bit_length()
    else:
        wide, high, at = int(data[0]), int(data[1]), 16
        for r in range(0, rows, high):
            for c in range(0, columns, wide):
                stored[r:r + high, c:c + wide] = flat[at]
                at += 1
    return stored.reshape(-1), (at + 7) // 8 * 8


class Weight:
    """values float32; codes, scales, zeros (of each item) where there are any; bits of each item."""

    def __init__(self, dataset):
        a = dict(dataset.attrs)
        self.scheme, self.attrs = attr(a, "scheme", "float32"), a
        if "scheme" not in a:
            self.values, self.codes = dataset[()].astype(np.float32), None
            return
        shape, data = tuple(int(d) for d in np.atleast_1d(a["shape"])), dataset[()]
        count = int(np.prod(shape))
        self.index = index_of(a, shape) if self.scheme not in ("float32", "float16", "bfloat16") else None
        width = self.widths(a, count)
        kept, at = np.ones(count, bool), 0
        if attr(a, "sparse"):
            kept, at = stored_of(int(attr(a, "sparse")), data, shape)
        flat = np.unpackbits(data, bitorder="little").astype(np.int64)
        starts = at + np.concatenate([[0], np.cumsum(np.where(kept, width, 0))[:-1]]).astype(int)
        words = np.zeros(count, np.int64)
        for b in range(int(width.max()) if count else 0):
            use = kept & (b < width)
            words[use] += flat[starts[use] + b] << b
        assert at + int(np.where(kept, width, 0).sum()) <= 8 * len(data) < at + int(np.where(kept, width, 0).sum()) + 8
        self.values = np.where(kept, self.decode(a, words, width), np.float32(0)).astype(np.float32).reshape(shape)

    def widths(self, a, count):
        if self.scheme == "fixed":
            n = int(self.index.max()) + 1
            self.whole, self.fraction = (np.asarray(v)[self.index] for v in widths_of(a, n))
            width = self.whole + self.fraction + int(attr(a, "signed"))
            return np.where(self.whole + self.fraction > 0, width, 0)
        return np.full(count, {"float32": 32, "float16": 16, "bfloat16": 16, "nf4": 4}.get(self.scheme)
                       or int(a["bits"]))

    def decode(self, a, words, width):
        if self.scheme == "float32":
            return words.astype(np.uint32).view(np.float32)
        if self.scheme == "float16":
            return words.astype(np.uint16).view(np.float16).astype(np.float32)
        if self.scheme == "bfloat16":
            return (words.astype(np.uint32) << 16).view(np.float32)
        if self.scheme == "nf4":
            self.codes, self.scales = words, scales_of(a)[self.index]
            return NF4.astype(np.float32)[words] * self.scales
        signed, self.bits = int(attr(a, "signed")), width
        narrow = int(attr(a, "narrow")) if self.scheme == "integer" else int(attr(a, "overflow") == 1)
        least = np.where((width > 0) & bool(signed), -(2 ** np.maximum(width - 1, 0)) + narrow, 0)
        self.codes = words + least
        if self.scheme == "fixed":
            self.scales, self.zeros = np.ldexp(np.float32(1), -self.fraction), np.zeros(len(words), int)
        else:
            self.scales = scales_of(a)[self.index]
            self.zeros = (np.atleast_1d(a["zero_point"])[self.index] if "zero_point" in a
                          else np.zeros(len(words), int)).astype(int)
        return ((self.codes - self.zeros).astype(float) * self.scales.astype(float)).astype(np.float32)


def read_model(path):
    """The graph's JSON, and Weights by layer/name."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and not name.endswith(".pruned"):
            found[name] = Weight(item)

    with h5py.File(path) as f:
        text = f["graph"][()]
        f["weights"].visititems(visit)
    return json.loads(text), found
