"""What models of frameworks are made of: the layers of a pquant model, ready to be walked."""
from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .._call import UnsupportedError


@dataclass
class Node:
    """One layer: kind, inputs, attributes, shapes of one event."""
    name: str
    kind: str
    inputs: list[str]
    attributes: dict[str, Any]
    shape: tuple[int, ...]
    weights: dict[str, Any] = field(default_factory=dict)
    quant: dict | None = None

    @property
    def identifier(self) -> str:
        """A name that attributes of modules can have."""
        name = re.sub(r"\W", "_", self.name)
        return name if not name[:1].isdigit() else f"layer_{name}"


def nodes_of(model) -> tuple[list[Node], str]:
    """The layers in order, weights copied, and the name of the output."""
    structure, out, taken = model.structure, [], set()
    for n in structure["nodes"]:
        node = Node(n["name"], n["kind"], n["inputs"], n.get("attributes", {}), tuple(n["shape"]),
                    {w["name"]: model.weight(n["name"], w["name"]) for w in n["weights"]}, n.get("quant"))
        if node.identifier in taken:
            raise UnsupportedError(f"layers '{node.name}' and another have one name in Python", "unsupported")
        taken.add(node.identifier)
        out.append(node)
    grids = {(n["name"], w["name"]): w["quant"] for n in structure["nodes"] for w in n["weights"] if "quant" in w}
    by_name = {node.name: node for node in out}
    for node in out:
        if node.kind in ("dense", "conv2d") and "bias" in node.weights:
            _round_bias(node, by_name, grids.get((node.name, "kernel")))
    return out, structure["output"]


#: kinds that hand on codes
_MOVES = {"flatten", "reshape", "max_pool", "global_max_pool", "subsample", "slice", "dropout", "pad", "relu"}


def _round_bias(node: Node, by_name: dict[str, Node], grid: dict | None) -> None:
    """Behind codes a bias is a whole number of (scale of the input x scale of the output channel), as in pquant's engines
    (docs/quantization.md, rule 3)."""
    import numpy as np
    source = by_name[node.inputs[0]]
    while source.quant is None and source.kind in _MOVES:
        source = by_name[source.inputs[0]]
    if source.quant is None or grid is None or grid["scheme"] not in ("integer", "fixed") or grid["axis"] not in (-1, 0):
        return
    scale = quantizer(source.quant)[0]
    if len(scale) != 1:
        return
    kernel = node.weights["kernel"].reshape(len(node.weights["kernel"]), -1)
    step = np.float64(np.float32(scale[0])) * np.broadcast_to(np.float32(quantizer(grid)[0]).astype(np.float64), len(kernel))
    bias = node.weights["bias"].astype(np.float64)
    node.weights["bias"] = np.where(kernel.any(1), np.round(bias / step) * step, bias).astype(np.float32)


def window(node: Node, shape: tuple[int, ...], kernel: tuple[int, int]):
    """Strides, dilations and padding ((top, bottom), (left, right)) of a window over [height, width, channels]."""
    a = node.attributes
    stride = tuple(int(a.get(f"stride_{d}") or kernel[i]) for i, d in enumerate("hw"))
    dilation = tuple(int(a.get(f"dilation_{d}") or 1) for d in "hw")
    if a.get("padding") == "explicit":
        return stride, dilation, ((a["pad_top"], a["pad_bottom"]), (a["pad_left"], a["pad_right"]))
    if a.get("padding", "valid") == "valid":
        return stride, dilation, ((0, 0), (0, 0))
    pads = []
    for i in range(2):
        reach = (kernel[i] - 1) * dilation[i] + 1
        total = max(0, (-(-shape[i] // stride[i]) - 1) * stride[i] + reach - shape[i])
        pads.append((total // 2, total - total // 2))
    return stride, dilation, tuple(pads)


def cores_of(weights: dict) -> list[str]:
    """Names of the cores in their order, the window's first."""
    cores = sorted((n for n in weights if re.fullmatch(r"core\d+", n)), key=lambda n: int(n[4:]))
    return (["window"] if "window" in weights else []) + cores


def rebuild(cores, einsum, reshape, windowed: bool):
    """The kernel [outputs, inputs], or [outputs, height, width, inputs], of cores [r, n, m, r'] (a ring: closed)."""
    # rows, columns: products of the modes so far; r0 the open rank at the front
    if windowed:
        front = cores[0]  # [1, h, w, r]
        h, w = int(front.shape[1]), int(front.shape[2])
        total = reshape(front, (h * w, 1, 1, int(front.shape[3])))
        cores = cores[1:]
    else:
        total = None
    for core in cores:
        if total is None:
            total = core
            continue
        made = einsum("anmr,rpqs->anpmqs", total, core)
        a, n, p, m, q, s = (int(d) for d in made.shape)
        total = reshape(made, (a, n * p, m * q, s))
    if windowed:
        kernel = einsum("anmr->nam", total)
        return reshape(kernel, (int(kernel.shape[0]), h, w, int(kernel.shape[2])))
    return einsum("anma->nm", total)


def quantizer(quant: dict):
    """Scales, zero points, lowest and highest codes (lists of one a channel or one), overflow, rounding."""
    if quant["scheme"] == "integer":
        low = -(1 << quant["bits"] - 1) + (1 if quant.get("narrow") else 0) if quant["signed"] else 0
        high = (1 << quant["bits"] - 1) - 1 if quant["signed"] else (1 << quant["bits"]) - 1
        n = len(quant["scale"])
        return quant["scale"], quant["zero_point"], [low] * n, [high] * n, "SAT", "RND_CONV"
    if quant["scheme"] != "fixed":
        raise UnsupportedError(f"activations in {quant['scheme']} have no layer in frameworks", "unsupported")
    scale, low, high = [], [], []
    for i, f in zip(quant["integer_bits"], quant["fraction_bits"]):
        width = i + f
        scale.append(2.0 ** -f)
        high.append((1 << width) - 1 if width > 0 else 0)
        low.append(-(1 << width) if quant["signed"] and width >= 0 else 0)
        if quant["signed"] and quant["overflow"] == "SAT_SYM":
            low[-1] += 1
    if quant["overflow"] == "WRAP_SM":
        raise UnsupportedError("activations that overflow by WRAP_SM have no layer in frameworks", "unsupported")
    return scale, [0] * len(scale), low, high, quant["overflow"], quant["rounding"]
