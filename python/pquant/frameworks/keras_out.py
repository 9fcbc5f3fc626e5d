"""A pquant model as a Keras functional model of ordinary layers; it saves and loads on any backend.

Own layers, registered as `pquant>…`, only for cores, quantizers and what Keras has no layer for: where a file has some,
`import pquant.frameworks.keras_out` before it is loaded.
"""
from __future__ import annotations

import base64
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from .._call import UnsupportedError
from .._model import Model
from .structure import Node, cores_of, nodes_of, quantizer, rebuild, window


def _node(config: dict) -> Node:
    return Node(config["name"], config["kind"], [], config["attributes"], tuple(config["shape"]), {}, config.get("quant"))


class _Own(layers.Layer):
    """A layer that knows the node it stands for."""

    def __init__(self, node, source=None, **kwargs):
        super().__init__(**kwargs)
        self.config, self.node, self.source = node, _node(node), source

    def get_config(self):
        return {**super().get_config(), "node": self.config, "source": self.source}


@keras.saving.register_keras_serializable("pquant")
class Quantizer(_Own):
    """Rounds activations to the grid of a quantizer; gradients pass where values are within it."""

    def call(self, x):
        scale, zero, low, high, overflow, how = quantizer(self.node.quant)
        shape, dtype = [1] * len(x.shape), x.dtype
        if len(scale) > 1 and self.node.quant["axis"] >= 0:
            shape[self.node.quant["axis"] + 1] = len(scale)
        x = ops.cast(x, "float32")
        s, z, lo, hi = (ops.convert_to_tensor(np.asarray(v, np.float32).reshape(shape)) for v in (scale, zero, low, high))
        code = ops.stop_gradient(x) / s
        half = {"RND": lambda c: ops.floor(c + 0.5), "RND_MIN_INF": lambda c: ops.ceil(c - 0.5),
                "RND_ZERO": lambda c: ops.sign(c) * ops.ceil(ops.abs(c) - 0.5),
                "RND_INF": lambda c: ops.sign(c) * ops.floor(ops.abs(c) + 0.5), "TRN": ops.floor,
                "TRN_ZERO": lambda c: ops.sign(c) * ops.floor(ops.abs(c)), "RND_CONV": ops.round}
        code = half[how](code) + z
        code = ops.mod(code - lo, hi - lo + 1) + lo if overflow == "WRAP" else ops.minimum(ops.maximum(code, lo), hi)
        inside = ops.cast(ops.logical_and(x >= (lo - z) * s, x <= (hi - z) * s), "float32")
        return ops.cast((code - z) * s + inside * (x - ops.stop_gradient(x)), dtype)

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("pquant")
class Cores(_Own):
    """A dense layer or convolution whose kernel is a tensor train or ring of small cores."""

    def __init__(self, node, shapes, source=None, **kwargs):
        super().__init__(node, source, **kwargs)
        self.shapes = {k: tuple(v) for k, v in shapes.items()}
        self.windowed = "window" in self.shapes

    def build(self, shape):
        self.cores = {n: self.add_weight(shape=self.shapes[n], name=n) for n in cores_of(self.shapes)}
        self.bias = self.add_weight(shape=self.shapes["bias"], name="bias") if "bias" in self.shapes else None

    def call(self, x):
        kernel = rebuild([ops.convert_to_tensor(c) for c in self.cores.values()], ops.einsum, ops.reshape, self.windowed)
        if self.windowed:
            stride, dilation, pads = window(self.node, tuple(x.shape[1:3]), self.shapes["window"][1:3])
            x = ops.pad(x, ((0, 0), *pads, (0, 0)))
            out = ops.conv(x, ops.transpose(kernel, (1, 2, 3, 0)), stride, "valid", "channels_last", dilation)
        else:
            out = ops.matmul(x, ops.transpose(kernel))
        return out + self.bias if self.bias is not None else out

    def compute_output_shape(self, shape):
        return (shape[0], *self.node.shape)

    def get_config(self):
        return {**super().get_config(), "shapes": {k: list(v) for k, v in self.shapes.items()}}


@keras.saving.register_keras_serializable("pquant")
class Operation(_Own):
    """What Keras has no layer for: clip, scale, slice, subsample, pad, pools with padding, masked pools."""

    def call(self, x):
        a, kind = self.node.attributes, self.node.kind
        if kind == "masked_pool":
            return self._masked(*x)
        if kind == "clip":
            return ops.clip(x, float(a["lo"]), float(a["hi"]))
        if kind == "scale":
            return x * a["factor"]
        if kind == "slice":
            return x[..., a["from"]:a["to"]]
        if kind == "subsample":
            return x[:, ::a["stride_h"], ::a["stride_w"]]
        if kind == "pad":
            pads = ((0, 0), (a["top"], a["bottom"]), (a["left"], a["right"]), (a["before"], a["after"]))
            pads = pads if len(x.shape) == 4 else ((0, 0),) * (len(x.shape) - 1) + pads[3:]
            return ops.pad(x, pads, constant_values=a["value"])
        return self._pool(x)

    def _pool(self, x):
        a = self.node.attributes
        kernel = (int(a["kernel_h"]), int(a["kernel_w"]))
        stride, _, pads = window(self.node, tuple(x.shape[1:3]), kernel)
        pads = ((0, 0), *pads, (0, 0))
        if self.node.kind == "max_pool":
            low = ops.pad(x, pads, constant_values=-3.4e38)
            return ops.max_pool(low, kernel, stride, "valid", "channels_last")
        total = ops.average_pool(ops.pad(x, pads), kernel, stride, "valid", "channels_last")
        if a.get("count_padding"):
            return total
        ones = ops.pad(ops.ones_like(x[:1, :, :, :1]), pads)
        return total / ops.average_pool(ones, kernel, stride, "valid", "channels_last")

    def _masked(self, x, mask):
        there, mode = ops.cast(mask > 0, "float32"), self.node.attributes["mode"]
        if mode == "max":
            out = ops.max(ops.where(mask > 0, x, -3.4e38), axis=1)
            return ops.where(out > -3.3e38, out, 0.0)
        total = ops.sum(x * there, axis=1)
        return total / ops.maximum(ops.sum(there, axis=1), 1.0) if mode == "mean" else total

    def compute_output_shape(self, shape):
        batch = shape[0][0] if isinstance(shape[0], (list, tuple)) else shape[0]
        return (batch, *self.node.shape)


def _config(node: Node) -> dict:
    return {"name": node.name, "kind": node.kind, "attributes": node.attributes, "shape": list(node.shape),
            "quant": node.quant}


def _conv(node: Node, shape, name: str):
    """Layers of a convolution, and its arrays in Keras's order."""
    kernel, groups = node.weights["kernel"], int(node.attributes.get("groups", 1))
    stride, dilation, pads = window(node, shape, kernel.shape[1:3])
    before = [] if node.attributes["padding"] != "explicit" or pads == ((0, 0), (0, 0)) else \
        [layers.ZeroPadding2D(pads, name=name + "_padding")]
    common = {"strides": stride, "padding": "same" if node.attributes["padding"] == "same" else "valid",
              "dilation_rate": dilation, "use_bias": "bias" in node.weights, "name": name}
    if groups > 1 and groups == shape[2]:
        each = kernel.shape[0] // groups
        array = kernel.transpose(1, 2, 0, 3).reshape(*kernel.shape[1:3], groups, each)
        return before + [layers.DepthwiseConv2D(kernel.shape[1:3], depth_multiplier=each, **common)], array
    return before + [layers.Conv2D(kernel.shape[0], kernel.shape[1:3], groups=groups, **common)], kernel.transpose(1, 2, 3, 0)


def _ordinary(node: Node, shape, name: str):
    """Keras's layers for a node and the arrays of the last of them, or None."""
    w, a = node.weights, node.attributes
    bias = [w["bias"]] if "bias" in w else []
    if node.kind == "dense":
        return [layers.Dense(w["kernel"].shape[0], use_bias=bool(bias), name=name)], [w["kernel"].T, *bias]
    if node.kind == "conv2d":
        made, kernel = _conv(node, shape, name)
        return made, [kernel, *bias]
    if node.kind == "batch_norm":
        arrays = [w[k] for k in ("gamma", "beta", "mean", "variance") if k in w]
        return [layers.BatchNormalization(epsilon=a["epsilon"], scale="gamma" in w, center="beta" in w, name=name)], arrays
    if node.kind == "layer_norm":
        arrays = [w[k] for k in ("gamma", "beta") if k in w]
        return [layers.LayerNormalization(epsilon=a["epsilon"], scale="gamma" in w, center="beta" in w, name=name)], arrays
    if node.kind in ("max_pool", "avg_pool") and a["padding"] == "valid":
        kind = layers.MaxPooling2D if node.kind == "max_pool" else layers.AveragePooling2D
        size = (int(a["kernel_h"]), int(a["kernel_w"]))
        return [kind(size, window(node, shape, size)[0], name=name)], []
    simple = {
        "relu": lambda: layers.ReLU(name=name), "leaky_relu": lambda: layers.LeakyReLU(a["slope"], name=name),
        "elu": lambda: layers.ELU(a["alpha"], name=name),
        "gelu": lambda: layers.Activation("gelu", name=name) if a["form"] == "exact" else None,
        "softplus": lambda: layers.Activation("softplus", name=name),
        "sigmoid": lambda: layers.Activation("sigmoid", name=name), "tanh": lambda: layers.Activation("tanh", name=name),
        "softmax": lambda: layers.Softmax(name=name), "dropout": lambda: layers.Dropout(a["rate"], name=name),
        "flatten": lambda: layers.Flatten(name=name), "reshape": lambda: layers.Reshape(node.shape, name=name),
        "global_avg_pool": lambda: (layers.GlobalAveragePooling2D if len(shape) == 3 else layers.GlobalAveragePooling1D)(name=name),
        "global_max_pool": lambda: (layers.GlobalMaxPooling2D if len(shape) == 3 else layers.GlobalMaxPooling1D)(name=name),
        "add": lambda: layers.Add(name=name),
        "multiply": lambda: layers.Multiply(name=name),
        "concat": lambda: layers.Concatenate(a["axis"] + 1 if a["axis"] >= 0 else a["axis"], name=name),
    }
    made = simple[node.kind]() if node.kind in simple else None
    return ([made], []) if made is not None else None


_OPERATIONS = {"clip", "scale", "slice", "subsample", "pad", "max_pool", "avg_pool", "masked_pool"}


def _layers(node: Node, shape, name: str):
    found = _ordinary(node, shape, name)
    if found is not None:
        return found
    if node.kind in ("tt_dense", "ring_dense", "tt_conv2d"):
        names = cores_of(node.weights) + (["bias"] if "bias" in node.weights else [])
        shapes = {n: list(node.weights[n].shape) for n in names}
        return [Cores(_config(node), shapes, name=name)], [node.weights[n] for n in names]
    if node.kind in _OPERATIONS:
        return [Operation(_config(node), name=name)], []
    raise UnsupportedError(f"layer '{node.name}' ({node.kind}) has no counterpart in Keras", "unsupported")


def from_model(model: Model, policy: str | None = None, like=None):
    """A functional model, channels last, its layers of that dtype policy. `pquant.frameworks.keras_out.to_model` takes it
    back, grids and all. like: the network whose inputs and output (lists, dictionaries, shape) it is called with."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy or before)
    try:
        return _functional(model, like)
    finally:
        keras.config.set_dtype_policy(before)


def called_with(network) -> tuple:
    """Inputs and output of a network in the lists and dictionaries it is called with; a Sequential has one of each."""
    return getattr(network, "_inputs_struct", network.inputs[0]), getattr(network, "_outputs_struct", network.outputs[0])


def _as(like, inputs: list, output):
    """Inputs and output in the lists, dictionaries and shape of those of a network."""
    if like is None:
        return inputs[0] if len(inputs) == 1 else inputs, output
    takes, gives = called_with(like)
    by_name = {t.name: t for t in inputs}
    inputs = [by_name.get(t.name, ours) for t, ours in zip(keras.tree.flatten(takes), inputs)]
    due = tuple(like.outputs[0].shape[1:])
    if tuple(output.shape[1:]) != due and None not in due:
        output = layers.Reshape(due, name="output_shape")(output)
    return keras.tree.pack_sequence_as(takes, inputs), keras.tree.pack_sequence_as(gives, [output])


def _functional(model: Model, like=None):
    nodes, output = nodes_of(model)
    shapes = {n.name: n.shape for n in nodes}
    values: dict[str, Any] = {}
    inputs, arrays, source = [], [], None

    def own():
        """The whole model, which the first own layer carries through files."""
        nonlocal source
        told, source = source, ""
        return base64.b64encode(model.to_bytes()).decode() if told is None else None

    for node in nodes:
        name = node.identifier
        if node.kind == "input":
            value = keras.Input(node.shape, name=name)
            inputs.append(value)
        else:
            given = [values[i] for i in node.inputs]
            value = given[0] if len(given) == 1 else given
            made, held = _layers(node, shapes[node.inputs[0]], name)
            for layer in made:
                if isinstance(layer, _Own):
                    layer.source = own()
                value = layer(value)
            if held:
                arrays.append((made[-1], held))
        if node.quant is not None:
            value = Quantizer(_config(node), own(), name=name + "_quantizer")(value)
        values[node.name] = value
    network = keras.Model(*_as(like, inputs, values[output]))
    for layer, held in arrays:
        layer.set_weights([np.ascontiguousarray(a) for a in held])
    network._pquant_source = model
    return network


def to_model(network) -> Model | None:
    """The network in pquant's form with its weights as they are; None where it is not one of ours."""
    source = getattr(network, "_pquant_source", None)
    if source is None:
        held = next((layer.source for layer in network.layers if isinstance(layer, _Own) and layer.source), None)
        if held is None:
            return None
        source = Model.from_bytes(base64.b64decode(held))
    by_name = {layer.name: layer for layer in network.layers}
    values: dict[tuple[str, str], Any] = {}
    for node in nodes_of(source)[0]:
        layer = by_name.get(node.identifier)
        if not node.weights or layer is None:
            continue
        if isinstance(layer, Cores):
            values |= {(node.name, n): ops.convert_to_numpy(c) for n, c in layer.cores.items()}
            if layer.bias is not None:
                values[node.name, "bias"] = ops.convert_to_numpy(layer.bias)
            continue
        for name in node.weights:
            values[node.name, name] = _value(node, layer, name)
    return source.with_weights(values)


def _value(node: Node, layer, name: str):
    own = {"mean": "moving_mean", "variance": "moving_variance"}.get(name, name)
    array = ops.convert_to_numpy(getattr(layer, own))
    if name != "kernel":
        return array
    if node.kind == "dense":
        return array.T
    if isinstance(layer, layers.DepthwiseConv2D):
        h, w, groups, each = array.shape
        return array.reshape(h, w, groups * each, 1).transpose(2, 0, 1, 3)
    return array.transpose(3, 0, 1, 2)
