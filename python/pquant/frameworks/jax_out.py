"""A pquant model as a JAX function and its parameters."""
from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .._call import UnsupportedError
from .._model import Model
from .structure import Node, cores_of, nodes_of, quantizer, rebuild, window


def _round(code, how):
    return {"RND_CONV": jnp.round, "RND": lambda c: jnp.floor(c + 0.5), "RND_MIN_INF": lambda c: jnp.ceil(c - 0.5),
            "RND_ZERO": lambda c: jnp.sign(c) * jnp.ceil(jnp.abs(c) - 0.5),
            "RND_INF": lambda c: jnp.sign(c) * jnp.floor(jnp.abs(c) + 0.5), "TRN": jnp.floor,
            "TRN_ZERO": jnp.trunc}[how](code)


def _quantize(node: Node, x):
    """The grid of a quantizer, with straight-through gradients. The division is of float32, where JAX has no double."""
    assert node.quant is not None
    scale, zero, low, high, overflow, rounding = quantizer(node.quant)
    shape = [1] * x.ndim
    if len(scale) > 1 and node.quant["axis"] >= 0:
        shape[node.quant["axis"] + 1] = len(scale)
    s, z, lo, hi = (jnp.asarray(v, jnp.float32).reshape(shape) for v in (scale, zero, low, high))
    code = _round(lax.stop_gradient(x) / s, rounding) + z
    code = (jnp.mod(code - lo, hi - lo + 1) + lo) if overflow == "WRAP" else jnp.clip(code, lo, hi)
    out = (code - z) * s
    inside = (x >= (lo - z) * s) & (x <= (hi - z) * s)
    return (out + jnp.where(inside, x - lax.stop_gradient(x), 0.0)).astype(x.dtype)


def _conv(node, w, x, kernel):
    stride, dilation, pads = window(node, x.shape[1:3], kernel.shape[1:3])
    out = lax.conv_general_dilated(x, kernel, stride, pads, rhs_dilation=dilation,
                                   dimension_numbers=("NHWC", "OHWI", "NHWC"),
                                   feature_group_count=int(node.attributes.get("groups", 1)))
    return out + w["bias"] if "bias" in w else out


def _dense(node, w, x, kernel):
    out = jnp.matmul(x, kernel.T)
    return out + w["bias"] if "bias" in w else out


def _pool(node, x):
    a = node.attributes
    kernel = (int(a["kernel_h"]), int(a["kernel_w"]))
    stride, _, pads = window(node, x.shape[1:3], kernel)
    size, step, pads = (1, *kernel, 1), (1, *stride, 1), ((0, 0), *pads, (0, 0))
    if node.kind == "max_pool":
        return lax.reduce_window(x, -jnp.inf, lax.max, size, step, pads)
    total = lax.reduce_window(x, 0.0, lax.add, size, step, pads)
    if a.get("count_padding"):
        return total / (kernel[0] * kernel[1])
    return total / lax.reduce_window(jnp.ones_like(x), 0.0, lax.add, size, step, pads)


def _norm(node, w, x):
    out = (x - w["mean"]) * lax.rsqrt(w["variance"] + node.attributes["epsilon"])
    out = out * w["gamma"] if "gamma" in w else out
    return out + w["beta"] if "beta" in w else out


def _layer_norm(node, w, x):
    apart = x - x.mean(-1, keepdims=True)
    out = apart * lax.rsqrt(jnp.square(apart).mean(-1, keepdims=True) + node.attributes["epsilon"])
    out = out * w["gamma"] if "gamma" in w else out
    return out + w["beta"] if "beta" in w else out


def _masked(node, args):
    mask = (args[1] > 0).astype(args[0].dtype)
    if node.attributes["mode"] == "max":
        out = jnp.where(mask > 0, args[0], -jnp.inf).max(1)
        return jnp.where(jnp.isfinite(out), out, 0.0)
    total = (args[0] * mask).sum(1)
    return total / jnp.maximum(mask.sum(1), 1) if node.attributes["mode"] == "mean" else total


def _apply(node: Node, w: dict, args: list):
    x, a = args[0], node.attributes
    kinds = {
        "relu": lambda: jnp.maximum(x, 0), "leaky_relu": lambda: jnp.where(x >= 0, x, a["slope"] * x),
        "elu": lambda: jax.nn.elu(x, a["alpha"]), "gelu": lambda: jax.nn.gelu(x, a["form"] == "tanh"),
        "sigmoid": lambda: jax.nn.sigmoid(x), "tanh": lambda: jnp.tanh(x), "softmax": lambda: jax.nn.softmax(x, -1),
        "clip": lambda: jnp.clip(x, float(a["lo"]), float(a["hi"])), "scale": lambda: x * a["factor"],
        "dropout": lambda: x, "flatten": lambda: x.reshape(x.shape[0], -1),
        "reshape": lambda: x.reshape(x.shape[0], *node.shape), "add": lambda: sum(args[1:], x),
        "concat": lambda: jnp.concatenate(args, a["axis"] + 1 if a["axis"] >= 0 else a["axis"]),
        "slice": lambda: x[..., a["from"]:a["to"]], "subsample": lambda: x[:, ::a["stride_h"], ::a["stride_w"]],
        "pad": lambda: jnp.pad(x, ((0, 0), (a["top"], a["bottom"]), (a["left"], a["right"]), (a["before"], a["after"])),
                               constant_values=a["value"]) if x.ndim == 4 else
               jnp.pad(x, ((0, 0),) * (x.ndim - 1) + ((a["before"], a["after"]),), constant_values=a["value"]),
        "global_avg_pool": lambda: x.mean(tuple(range(1, x.ndim - 1))), "global_max_pool": lambda: x.max(tuple(range(1, x.ndim - 1))),
        "masked_pool": lambda: _masked(node, args), "batch_norm": lambda: _norm(node, w, x),
        "layer_norm": lambda: _layer_norm(node, w, x), "softplus": lambda: jax.nn.softplus(x),
        "max_pool": lambda: _pool(node, x), "avg_pool": lambda: _pool(node, x),
        "dense": lambda: _dense(node, w, x, w["kernel"]), "conv2d": lambda: _conv(node, w, x, w["kernel"]),
    }
    if node.kind == "multiply":
        for other in args[1:]:
            x = x * other
        return x
    if node.kind in ("tt_dense", "ring_dense", "tt_conv2d"):
        kernel = rebuild([w[n] for n in cores_of(w)], jnp.einsum, jnp.reshape, "window" in w)
        return (_conv if "window" in w else _dense)(node, w, x, kernel)
    if node.kind not in kinds:
        raise UnsupportedError(f"layer '{node.name}' ({node.kind}) has no counterpart in JAX", "unsupported")
    return kinds[node.kind]()


class Function:
    """`function(parameters, x)`; parameters are {layer: {weight: array}}. Pure: jit, grad and vmap it."""

    def __init__(self, model: Model):
        self.source = model
        self.nodes, self.output = nodes_of(model)
        self.names = {n.name: list(n.weights) for n in self.nodes if n.weights}
        for node in self.nodes:
            node.weights = {}

    def __call__(self, parameters: dict, *inputs) -> Any:
        values: dict[str, Any] = {}
        given = iter(inputs)
        for node in self.nodes:
            if node.kind == "input":
                value = jnp.asarray(next(given))
            else:
                value = _apply(node, parameters.get(node.name, {}), [values[i] for i in node.inputs])
            values[node.name] = _quantize(node, value) if node.quant is not None else value
        return values[self.output]

    def __hash__(self):
        return id(self)


class Network(tuple):
    """A compressed network for JAX: `function, parameters = network`, and `network(x)`."""

    def __new__(cls, function: Function, parameters: dict):
        return super().__new__(cls, (function, parameters))

    @property
    def function(self) -> Function:
        return self[0]

    @property
    def parameters(self) -> dict:
        return self[1]

    def __call__(self, *inputs):
        return self[0](self[1], *inputs)

    @property
    def pquant(self) -> Model:
        return to_model(*self)


def to_model(function: Function, parameters: dict) -> Model:
    """The network in pquant's form with these parameters, on their grids."""
    return function.source.with_weights({(layer, name): parameters[layer][name]
                                         for layer, names in function.names.items() for name in names})


def from_model(model: Model, dtype=None) -> Network:
    """dtype: of the parameters; None is float32."""
    function = Function(model)
    parameters: dict = {}
    for layer, names in function.names.items():
        parameters[layer] = {name: jnp.asarray(model.weight(layer, name), dtype) for name in names}
    return Network(function, parameters)
