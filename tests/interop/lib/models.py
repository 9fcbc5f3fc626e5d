"""Models in pquant's own format: written from weights, read back as plain numbers, run in PyTorch in double."""
import json

import h5py
import numpy as np
import torch
import torch.nn.functional as F

NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
       -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
       0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]


def node(name, kind, inputs, weights=None, **attributes):
    return {"name": name, "kind": kind, "inputs": inputs, "attributes": attributes, "weights": weights or {}}


def write_model(path, nodes, classes):
    """nodes: of node(), weights by name as arrays; each reads the one before where inputs is None."""
    graph = []
    with h5py.File(path, "w") as f:
        f.attrs["format"], f.attrs["version"] = "pquant-model", np.int32(1)
        for i, n in enumerate(nodes):
            shapes = [{"name": k, "shape": list(v.shape)} for k, v in n["weights"].items()]
            graph.append(n | {"inputs": [nodes[i - 1]["name"]] if n["inputs"] is None else n["inputs"], "weights": shapes})
            for k, v in n["weights"].items():
                f[f"weights/{n['name']}/{k}"] = v.astype(np.float32)
        f["graph"] = json.dumps({"nodes": graph, "output": nodes[-1]["name"], "class_names": classes})


def text(item):
    return item if isinstance(item, str) else item.decode()


def unpack(item):
    """Values of a quantized weight: whole numbers, fixed point of one signed width, or nf4 in groups."""
    a, shape = item.attrs, tuple(item.attrs["shape"])
    count, scheme = int(np.prod(shape)), text(a["scheme"])
    if scheme == "fixed":
        bits = int(a.get("integer_bits", 0)) + int(a.get("fraction_bits", 0)) + int(a.get("signed", 0))
    else:
        bits = 4 if scheme == "nf4" else int(a["bits"])
    stream = np.unpackbits(item[()].astype(np.uint8), bitorder="little")[:count * bits].reshape(count, bits)
    codes = stream @ (1 << np.arange(bits))
    if scheme == "fixed":
        return (codes.reshape(shape) - (1 << bits - 1)) * 2.0 ** -int(a.get("fraction_bits", 0))
    scale = np.asarray(a["scale"], dtype=float)
    if scheme == "nf4":
        values, row = np.array(NF4)[codes].reshape(shape[0], -1), count // shape[0]
        group = int(a["group"])
        scale = np.repeat(scale.reshape(shape[0], -1), group, axis=1)[:, :row]
        return (values * scale).reshape(shape)
    assert scheme == "integer" and a.get("sparse", 0) == 0, scheme
    low = -(1 << bits - 1) + int(a.get("narrow", 0)) if a.get("signed", 0) else 0
    zero = np.asarray(a.get("zero_point", np.zeros(len(scale))), dtype=float)
    per_row = [-1] + [1] * (len(shape) - 1)
    return (codes.reshape(shape) + low - zero.reshape(per_row)) * scale.reshape(per_row)


def read_weights(path):
    """layer/name to values."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and not name.endswith(".pruned"):
            found[name] = unpack(item) if "scheme" in item.attrs else item[()].astype(float)

    with h5py.File(path) as f:
        f["weights"].visititems(visit)
    return found


def read_scales(path):
    with h5py.File(path) as f:
        return {name: np.asarray(f[f"weights/{name}"].attrs["scale"], dtype=float)
                for name in read_weights(path) if "scale" in f[f"weights/{name}"].attrs}


def read_fraction(path, weight):
    with h5py.File(path) as f:
        return int(f[f"weights/{weight}"].attrs["fraction_bits"])


def read_nodes(path):
    with h5py.File(path) as f:
        return json.loads(text(f["graph"][()]))


class Net(torch.nn.Module):
    """Runs the graph up to what the loss is taken of: a softmax or sigmoid at its end is left out."""

    def __init__(self, path, momentum=0.1):
        super().__init__()
        graph = read_nodes(path)
        self.nodes, self.last, self.momentum = graph["nodes"], graph["output"], momentum
        self.weights = {name: torch.tensor(value, dtype=torch.float64) for name, value in read_weights(path).items()}
        for name, value in self.weights.items():
            value.requires_grad_(name.rsplit("/", 1)[1] not in ("mean", "variance"))
        self.use = {}  # weight to a function of it: as it is used
        self.on = {}  # layer to a function of its output
        self.seen = {}

    def trained(self, kernels=None):
        return [v for k, v in self.weights.items() if v.requires_grad and kernels in (None, k.endswith("/kernel"))]

    def weight(self, layer, name):
        key = f"{layer}/{name}"
        return self.use[key](self.weights[key]) if key in self.use else self.weights.get(key)

    def layer(self, n, x):
        name, kind, a = n["name"], n["kind"], n["attributes"]
        if kind == "dense":
            return F.linear(x[0], self.weight(name, "kernel"), self.weight(name, "bias"))
        if kind == "conv2d":
            kernel = self.weight(name, "kernel").permute(0, 3, 1, 2)
            return F.conv2d(x[0].permute(0, 3, 1, 2), kernel, self.weight(name, "bias"),
                            padding=[s // 2 for s in kernel.shape[2:]]).permute(0, 2, 3, 1)
        if kind == "batch_norm":
            flat = x[0].reshape(-1, x[0].shape[-1])
            return F.batch_norm(flat, self.weights[f"{name}/mean"], self.weights[f"{name}/variance"],
                                self.weight(name, "gamma"), self.weight(name, "beta"), self.training,
                                self.momentum, a.get("epsilon", 1e-3)).reshape(x[0].shape)
        if kind in ("softmax", "sigmoid"):
            assert name == self.last
            return x[0]
        return {"relu": lambda: F.relu(x[0]), "tanh": lambda: torch.tanh(x[0]), "add": lambda: x[0] + x[1],
                "scale": lambda: x[0] * a["factor"], "dropout": lambda: x[0],
                "global_avg_pool": lambda: x[0].mean((1, 2))}[kind]()

    def forward(self, x):
        self.seen = {}
        for n in self.nodes:
            name = n["name"]
            out = x if n["kind"] == "input" else self.layer(n, [self.seen[i] for i in n["inputs"]])
            self.seen[name] = self.on[name](out) if name in self.on else out
        return self.seen[self.last]

    def values(self):
        return {name: value.detach().numpy().copy() for name, value in self.weights.items()}


def largest_difference(ours, theirs):
    """Over all weights, of the values themselves."""
    assert ours.keys() == theirs.keys(), (ours.keys(), theirs.keys())
    return max(float(np.abs(ours[k] - theirs[k]).max()) for k in ours)
