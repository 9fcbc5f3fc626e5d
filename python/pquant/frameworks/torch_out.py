"""A pquant model as a torch module: ordinary layers, trainable, with a state_dict."""
from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from .._call import UnsupportedError
from .._model import Model
from .structure import Node, cores_of, nodes_of, quantizer, rebuild, window


class Quantizer(nn.Module):
    """Rounds activations to the grid of a quantizer; gradients pass where values are within it."""

    def __init__(self, quant: dict, axes: int):
        super().__init__()
        scale, zero, low, high, self.overflow, self.rounding = quantizer(quant)
        axis = quant["axis"]
        shape = [1] * axes
        if len(scale) > 1 and axis >= 0:
            shape[axis] = len(scale)
        for name, values in (("scale", scale), ("zero_point", zero), ("low", low), ("high", high)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64).reshape(shape))

    def _apply(self, fn, recurse=True):
        """Moves to other devices, but stays in double: a grid is what it is in modules of any dtype."""
        return super()._apply(lambda t: t.to(fn(t).device), recurse)

    def _round(self, code):
        if self.rounding == "RND_CONV":
            return torch.round(code)
        if self.rounding == "RND":
            return torch.floor(code + 0.5)
        if self.rounding == "RND_MIN_INF":
            return torch.ceil(code - 0.5)
        if self.rounding == "RND_ZERO":
            return torch.sign(code) * torch.ceil(torch.abs(code) - 0.5)
        if self.rounding == "RND_INF":
            return torch.sign(code) * torch.floor(torch.abs(code) + 0.5)
        return torch.floor(code) if self.rounding == "TRN" else torch.trunc(code)

    def forward(self, x):
        code = self._round(x.detach().double() / self.scale) + self.zero_point
        if self.overflow == "WRAP":
            span = self.high - self.low + 1
            code = torch.remainder(code - self.low, span) + self.low
        else:
            code = torch.minimum(torch.maximum(code, self.low), self.high)
        out = ((code - self.zero_point) * self.scale).to(x.dtype)
        least, most = (self.low - self.zero_point) * self.scale, (self.high - self.zero_point) * self.scale
        inside = ((x >= least) & (x <= most)).to(x.dtype)
        return out + inside * (x - x.detach())


class Cores(nn.Module):
    """A dense layer or convolution whose kernel is a tensor train or ring of small cores."""

    def __init__(self, node: Node, shape=None):
        super().__init__()
        self.names = cores_of(node.weights)
        for name in self.names:
            self.register_parameter(name, nn.Parameter(torch.from_numpy(node.weights[name])))
        bias = node.weights.get("bias")
        self.bias = None if bias is None else nn.Parameter(torch.from_numpy(bias))
        self.windowed = "window" in self.names
        if self.windowed:
            kernel = node.weights["window"].shape[1:3]
            self.stride, self.dilation, self.pads = window(node, shape, kernel)

    def kernel(self):
        return rebuild([getattr(self, n) for n in self.names], torch.einsum, torch.reshape, self.windowed)

    def forward(self, x):
        if not self.windowed:
            return F.linear(x, self.kernel(), self.bias)
        (top, bottom), (left, right) = self.pads
        return F.conv2d(F.pad(x, (left, right, top, bottom)), self.kernel().permute(0, 3, 1, 2), self.bias,
                        self.stride, dilation=self.dilation)


#: kinds of images, whose values are held as [channels, height, width]
_IMAGE = {"conv2d", "tt_conv2d", "max_pool", "avg_pool", "batch_norm", "subsample"}
_ANY = {"relu", "leaky_relu", "elu", "gelu", "sigmoid", "tanh", "clip", "scale", "dropout", "add", "multiply", "softplus"}


def _conv(node: Node, shape) -> nn.Module:
    kernel = node.weights["kernel"]  # [out, h, w, in / groups]
    stride, dilation, pads = window(node, shape, kernel.shape[1:3])
    groups = int(node.attributes.get("groups", 1))
    even = all(a == b for a, b in pads)
    conv = nn.Conv2d(kernel.shape[3] * groups, kernel.shape[0], kernel.shape[1:3], stride,
                     tuple(p[0] for p in pads) if even else 0, dilation, groups, "bias" in node.weights)
    with torch.no_grad():
        conv.weight.copy_(torch.from_numpy(kernel).permute(0, 3, 1, 2))
        if conv.bias is not None:
            conv.bias.copy_(torch.from_numpy(node.weights["bias"]))
    (top, bottom), (left, right) = pads
    return conv if even else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), conv)


def _dense(node: Node) -> nn.Module:
    kernel = node.weights["kernel"]
    layer = nn.Linear(kernel.shape[1], kernel.shape[0], "bias" in node.weights)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(kernel))
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(node.weights["bias"]))
    return layer


def _norm(node: Node) -> nn.Module:
    w, n = node.weights, len(node.weights["mean"])
    layer = (nn.BatchNorm2d if len(node.shape) == 3 else nn.BatchNorm1d)(n, eps=float(node.attributes["epsilon"]))
    assert layer.running_mean is not None and layer.running_var is not None  # as it tracks them
    with torch.no_grad():
        layer.running_mean.copy_(torch.from_numpy(w["mean"]))
        layer.running_var.copy_(torch.from_numpy(w["variance"]))
        if "gamma" in w:
            layer.weight.copy_(torch.from_numpy(w["gamma"]))
        if "beta" in w:
            layer.bias.copy_(torch.from_numpy(w["beta"]))
    return layer


def _layer_norm(node: Node) -> nn.Module:
    w = node.weights
    layer = nn.LayerNorm(node.shape[-1], float(node.attributes["epsilon"]), bool(w), "beta" in w)
    with torch.no_grad():
        for name, part in (("gamma", layer.weight), ("beta", layer.bias)):
            if name in w:
                part.copy_(torch.from_numpy(w[name]))
    if "beta" in w and "gamma" not in w:
        layer.weight.requires_grad_(False)
    return layer


class _Pool(nn.Module):
    """A pool with padding of its own, as `same` of TensorFlow may need."""

    def __init__(self, node: Node, shape):
        super().__init__()
        a = node.attributes
        self.largest, self.count = node.kind == "max_pool", bool(a.get("count_padding"))
        self.kernel = (int(a["kernel_h"]), int(a["kernel_w"]))
        self.stride, _, self.pads = window(node, shape, self.kernel)

    def forward(self, x):
        (top, bottom), (left, right) = self.pads
        if self.largest:
            return F.max_pool2d(F.pad(x, (left, right, top, bottom), value=-math.inf), self.kernel, self.stride)
        padded = (left, right, top, bottom)
        out = F.avg_pool2d(F.pad(x, padded), self.kernel, self.stride)
        if self.count or not any(padded):
            return out
        ones = F.pad(torch.ones_like(x[:1, :1]), padded)
        return out / F.avg_pool2d(ones, self.kernel, self.stride)


def _module(node: Node, shape) -> nn.Module | None:
    a = node.attributes
    simple = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "softplus": nn.Softplus}
    if node.kind in simple:
        return simple[node.kind]()
    if node.kind == "dense":
        return _dense(node)
    if node.kind == "conv2d":
        return _conv(node, shape)
    if node.kind in ("tt_dense", "ring_dense", "tt_conv2d"):
        return Cores(node, shape)
    if node.kind == "batch_norm":
        return _norm(node)
    if node.kind == "layer_norm":
        return _layer_norm(node)
    if node.kind in ("max_pool", "avg_pool"):
        return _Pool(node, shape)
    makers = {"leaky_relu": lambda: nn.LeakyReLU(a["slope"]), "elu": lambda: nn.ELU(a["alpha"]),
              "gelu": lambda: nn.GELU("tanh" if a["form"] == "tanh" else "none"), "softmax": lambda: nn.Softmax(-1),
              "clip": lambda: nn.Hardtanh(float(a["lo"]), float(a["hi"])), "dropout": lambda: nn.Dropout(a["rate"])}
    return makers[node.kind]() if node.kind in makers else None


class Network(nn.Module):
    """A compressed network. Its layers are attributes by their names; weights train, `state_dict` holds them all.

    Inputs and outputs are the original's: images [n, channels, height, width]. With quantized activations, evaluation
    mode computes in double between the grids, so that values round as those of pquant's own engines do.
    """

    def __init__(self, model: Model, layout: tuple | None = None):
        """layout: which axes of the inputs those of pquant's are, whether the output is an image (None: as it is held), and
        its shape (None: the model's)."""
        super().__init__()
        self._source = model
        self.layout = layout or ((2, 3, 1) if len(model.input_shape) == 3 else tuple(range(1, len(model.input_shape) + 1)), None, None)
        self._nodes, self._output = nodes_of(model)
        shapes = {n.name: n.shape for n in self._nodes}
        for node in self._nodes:
            layer = _module(node, shapes[node.inputs[0]] if node.inputs else None)
            if layer is None and node.kind not in _FUNCTIONS:
                raise UnsupportedError(f"layer '{node.name}' ({node.kind}) has no counterpart in torch", "unsupported")
            if layer is not None:
                self.add_module(node.identifier, layer)
            if node.quant is not None:
                self.add_module(node.identifier + "_quantizer", Quantizer(node.quant, len(node.shape)))
        self._exact = any(node.quant is not None for node in self._nodes)
        for node in self._nodes:
            node.weights = {name: None for name in node.weights}

    @property
    def pquant(self) -> Model:
        """The network in pquant's form, with the weights as they are now, on their grids."""
        return self._source.with_weights(self._weights())

    def _weights(self) -> dict:
        out = {}
        for node in self._nodes:
            layer = getattr(self, node.identifier, None) if node.weights else None
            if isinstance(layer, nn.Sequential):
                layer = layer[1]
            for name in node.weights:
                out[node.name, name] = _value(node, layer, name)
        return out

    def forward(self, *inputs):
        dtype = inputs[0].dtype
        if self._exact and not self.training:
            inputs = [x.double() for x in inputs]
        values, given = {}, iter(inputs)
        for node in self._nodes:
            if node.kind == "input":
                values[node.name] = self._given(next(given))
            else:
                values[node.name] = self._run(node, [values[i] for i in node.inputs])
            if node.quant is not None:
                values[node.name] = self._quantize(node, values[node.name])
        out, (_, image, shape) = values[self._output], self.layout
        image = "image" in out if image is None else image and ("image" in out or out["ours"].dim() == 4)
        out = _take(out, "image" if image else "ours").to(dtype)
        return out if shape is None else out.reshape(out.shape[0], *shape)

    def _given(self, x):
        order = self.layout[0]
        if order == (2, 3, 1):
            return {"image": x}
        return {"ours": x.permute(0, *order) if x.dim() == len(order) + 1 else x}

    def _quantize(self, node, value):
        x = _take(value, "ours")
        return {"ours": getattr(self, node.identifier + "_quantizer")(x)}

    def _run(self, node, inputs):
        image = len(node.shape) == 3 and node.kind in _IMAGE
        image = image or (node.kind in _ANY and all("image" in i for i in inputs))
        args = [_take(i, "image" if image else "ours") for i in inputs]
        layer = getattr(self, node.identifier, None)
        if layer is not None and node.weights and args[0].dtype == torch.float64:
            layer = _double(layer)
        if node.kind == "batch_norm" and not image and args[0].dim() > 2:
            flat = args[0].reshape(-1, args[0].shape[-1])
            return {"ours": layer(flat).reshape(args[0].shape)}
        made = layer(*args) if layer is not None else _FUNCTIONS[node.kind](node, args)
        return {"image" if image and made.dim() == 4 else "ours": made}

    def extra_repr(self) -> str:
        return repr(self._source)


def _double(layer: nn.Module):
    """The layer as a function in double, of the same weights."""
    state = {k: v.double() if v.is_floating_point() else v for k, v in (*layer.named_parameters(), *layer.named_buffers())}
    return lambda *args: torch.func.functional_call(layer, state, args)


def _take(value: dict, layout: str):
    if layout not in value:
        value[layout] = value["ours"].permute(0, 3, 1, 2) if layout == "image" else value["image"].permute(0, 2, 3, 1)
    return value[layout]


def _value(node: Node, layer, name: str):
    """A weight of a layer in pquant's order of axes."""
    if node.kind in ("tt_dense", "ring_dense", "tt_conv2d"):
        return getattr(layer, name)
    if node.kind == "batch_norm":
        return getattr(layer, {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}[name])
    if name in ("bias", "beta"):
        return layer.bias
    if name == "gamma":
        return layer.weight
    return layer.weight.permute(0, 2, 3, 1) if node.kind == "conv2d" else layer.weight


def _pad(node, args):
    a = node.attributes
    return F.pad(args[0], (a["before"], a["after"], a["left"], a["right"], a["top"], a["bottom"]), value=a["value"])


def _masked(node, args):
    mask = (args[1] > 0).to(args[0].dtype)
    if node.attributes["mode"] == "max":
        out = torch.where(mask > 0, args[0], torch.full_like(args[0], -math.inf)).amax(1)
        return torch.where(torch.isfinite(out), out, torch.zeros_like(out))
    total = (args[0] * mask).sum(1)
    return total / mask.sum(1).clamp(min=1) if node.attributes["mode"] == "mean" else total


_FUNCTIONS = {
    "input": None,
    "flatten": lambda n, a: a[0].flatten(1), "reshape": lambda n, a: a[0].reshape(-1, *n.shape),
    "add": lambda n, a: sum(a[1:], a[0]), "multiply": lambda n, a: math.prod(a[1:], start=a[0]),
    "concat": lambda n, a: torch.cat(a, n.attributes["axis"] + 1 if n.attributes["axis"] >= 0 else n.attributes["axis"]),
    "scale": lambda n, a: a[0] * n.attributes["factor"], "pad": _pad,
    "slice": lambda n, a: a[0][..., n.attributes["from"]:n.attributes["to"]],
    "subsample": lambda n, a: a[0][:, :, ::n.attributes["stride_h"], ::n.attributes["stride_w"]],
    "global_avg_pool": lambda n, a: a[0].mean(tuple(range(1, a[0].dim() - 1))),
    "global_max_pool": lambda n, a: a[0].amax(tuple(range(1, a[0].dim() - 1))),
    "masked_pool": _masked,
}


def from_model(model: Model, layout: tuple | None = None) -> Network:
    return Network(model, layout).eval()
