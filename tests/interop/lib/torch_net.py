"""A pquant model in PyTorch, in double: the oracle of the suites."""
import json

import h5py
import numpy as np
import torch
import torch.nn.functional as F


def read_weights(path):
    """layer/name to array, of a model whose weights are plain floats."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(path) as f:
        f["weights"].visititems(visit)
    return found


class Net(torch.nn.Module):
    """Runs the graph up to what the loss is taken of: a softmax or sigmoid at its end is left out."""

    def __init__(self, path):
        super().__init__()
        with h5py.File(path) as f:
            text = f["graph"][()]
        graph = json.loads(text if isinstance(text, str) else text.decode())
        self.nodes, self.last = graph["nodes"], graph["output"]
        self.weights = {name: torch.tensor(value, dtype=torch.float64) for name, value in read_weights(path).items()}
        for name, value in self.weights.items():
            value.requires_grad_(name.rsplit("/", 1)[1] not in ("mean", "variance"))
        self.momentum = 0.1
        self.use = {}  # weight to a function of it, as it is used
        self.on = {}  # layer to a function of its output
        self.seen = {}

    def trained(self):
        return {name: value for name, value in self.weights.items() if value.requires_grad}

    def weight(self, layer, name):
        key = f"{layer}/{name}"
        value = self.weights.get(key)
        return self.use[key](value) if key in self.use else value

    def layer(self, node, x):
        name, kind, a = node["name"], node["kind"], node["attributes"]
        if kind == "dense":
            return F.linear(x[0], self.weight(name, "kernel"), self.weight(name, "bias"))
        if kind == "conv2d":
            kernel = self.weight(name, "kernel").permute(0, 3, 1, 2)
            assert a["padding"] == "same" and (a["stride_h"], a["dilation_h"]) == (1, 1), a
            return F.conv2d(x[0].permute(0, 3, 1, 2), kernel, self.weight(name, "bias"),
                            padding=[s // 2 for s in kernel.shape[2:]], groups=a["groups"]).permute(0, 2, 3, 1)
        if kind == "batch_norm":
            flat = x[0].reshape(-1, x[0].shape[-1])
            return F.batch_norm(flat, self.weights[f"{name}/mean"], self.weights[f"{name}/variance"],
                                self.weight(name, "gamma"), self.weight(name, "beta"), self.training,
                                self.momentum, a["epsilon"]).reshape(x[0].shape)
        if kind == "relu":
            return F.relu(x[0])
        if kind == "tanh":
            return torch.tanh(x[0])
        if kind == "add":
            return sum(x[1:], x[0])
        if kind == "flatten":
            return x[0].reshape(len(x[0]), -1)
        if kind == "global_avg_pool":
            return x[0].mean((1, 2))
        if kind in ("softmax", "sigmoid") and name == self.last:
            return x[0]
        return {"dropout": lambda v: v}[kind](x[0])

    def forward(self, x):
        self.seen = {}
        for node in self.nodes:
            name = node["name"]
            out = x if node["kind"] == "input" else self.layer(node, [self.seen[i] for i in node["inputs"]])
            self.seen[name] = self.on[name](out) if name in self.on else out
        return self.seen[self.last]


def arrays(net):
    return {name: value.detach().numpy().copy() for name, value in net.weights.items()}


def largest_difference(ours, theirs):
    """Over all weights, of the values themselves."""
    assert ours.keys() == theirs.keys(), (ours.keys(), theirs.keys())
    return max(float(np.abs(ours[k].astype(float) - theirs[k]).max()) for k in ours)
