#!/usr/bin/env python3
"""Writes keras_oracle.json: small models as Keras itself writes them, what they answer to
one event, and models that are to be refused. Needs keras 3.15.1, tensorflow-cpu 2.21.0:

    KERAS_BACKEND=tensorflow python3 tests/formats/keras_oracle.py > tests/formats/keras_oracle.json
"""
import json
import sys
import tempfile

import h5py
import keras
import numpy as np

L = keras.layers
rng = np.random.default_rng(1)


def seq(shape, *layers):
    return keras.Sequential([L.Input(shape), *layers])


def branches():
    x = L.Input((4, 4, 2), name="in")
    a = L.Conv2D(2, 3, padding="same", activation="silu", name="a")(x)
    b = L.DepthwiseConv2D(3, padding="same", depth_multiplier=1, name="b")(x)
    y = L.Concatenate(axis=3, name="cat")([L.Add()([a, b]), L.Multiply()([a, x])])
    y = L.BatchNormalization(axis=3, name="bn")(y)
    y = L.GlobalAveragePooling2D()(L.MaxPooling2D(2)(L.ZeroPadding2D(((1, 0), (0, 1)))(y)))
    return keras.Model(x, L.Dense(3, activation="softmax")(y))


def cases():
    for name in sorted(n for n in dir(keras.activations) if not n.startswith("_")):
        if name not in ("get", "serialize", "deserialize", "threshold"):  # has no defaults
            yield f"activation {name}", seq((6,), L.Activation(name))
    yield "dense swish", seq((3,), L.Dense(4, activation="swish"))
    for name, layer in {
        "relu": L.ReLU(), "relu most": L.ReLU(max_value=0.5), "relu slope": L.ReLU(negative_slope=0.1),
        "relu infinite": L.ReLU(max_value=float("inf")), "relu threshold": L.ReLU(threshold=0.3),
        "leaky_relu": L.LeakyReLU(negative_slope=0.1), "elu": L.ELU(alpha=0.7),
        "softmax": L.Softmax(), "softmax list": L.Softmax(axis=[-1]), "softmax number": L.Softmax(axis=1),
        "dropout": L.Dropout(0.3), "noise": L.GaussianNoise(0.1), "gaussian dropout": L.GaussianDropout(0.1),
        "alpha dropout": L.AlphaDropout(0.1), "activity": L.ActivityRegularization(0.1, 0.1),
        "identity": L.Identity(), "batch norm": L.BatchNormalization(),
        "batch norm bare": L.BatchNormalization(scale=False, center=False, epsilon=0.1),
        "batch norm renorm": L.BatchNormalization(renorm=True),
        "prelu": L.PReLU(), "layer norm": L.LayerNormalization(), "rescaling": L.Rescaling(2.0),
        "dense activation layer": L.Dense(3, activation=L.LeakyReLU(negative_slope=0.2)),
        "half": L.Dense(3, dtype="mixed_float16"),
    }.items():
        yield name, seq((6,), layer)
    for name, layer in {
        "softmax two axes": L.Softmax(axis=[1, 2]), "softmax axis 1": L.Softmax(axis=1),
        "softmax axis 2": L.Softmax(axis=2), "batch norm axis 1": L.BatchNormalization(axis=1),
        "batch norm axis 2": L.BatchNormalization(axis=2), "dense rows": L.Dense(2),
        "reshape": L.Reshape((-1, 2)), "flatten": L.Flatten(),
    }.items():
        yield name, seq((4, 3), layer)
    for name, layer in {
        "conv": L.Conv2D(2, (3, 2), strides=(2, 1), padding="same", activation="relu6"),
        "conv groups": L.Conv2D(4, 3, groups=2, use_bias=False),
        "conv dilated": L.Conv2D(2, 2, dilation_rate=2),
        "depthwise": L.DepthwiseConv2D(3, strides=2, depth_multiplier=2, activation="tanh"),
        "separable": L.SeparableConv2D(3, 3, depth_multiplier=2, padding="same", activation="swish"),
        "average": L.AveragePooling2D(2, strides=1, padding="same"), "max": L.MaxPooling2D((2, 1)),
        "spatial dropout": L.SpatialDropout2D(0.2), "global max": L.GlobalMaxPooling2D(keepdims=True),
        "batch norm image": L.BatchNormalization(axis=3),
        "batch norm image axis 1": L.BatchNormalization(axis=1), "permute": L.Permute((2, 1, 3)),
    }.items():
        yield name, seq((5, 4, 2), layer)
    yield "branches", branches()


def numbers(a):
    return [float(f"{x:.9g}") for x in np.asarray(a, np.float64).ravel()]


def record(name, model):
    for v in model.weights:
        value = rng.uniform(-1, 1, v.shape)
        v.assign(np.abs(value) + 0.1 if "variance" in v.path else value)
    x = rng.uniform(-2, 2, (1, *model.input_shape[1:])).astype(np.float32)
    with tempfile.NamedTemporaryFile(suffix=".h5") as f:
        model.save(f.name)
        with h5py.File(f.name) as h:
            config = json.loads(h.attrs["model_config"])
            root = h["model_weights"]
            layers = [{"name": n, "weights": [
                {"name": w, "shape": list(root[n][w].shape), "values": numbers(root[n][w][...])}
                for w in root[n].attrs["weight_names"]]} for n in root.attrs["layer_names"]]
    return {"name": name, "model": json.dumps(config), "layers": layers, "input": numbers(x),
            "output": numbers(model(x, training=False))}


json.dump({"keras": keras.__version__, "cases": [record(n, m) for n, m in cases()]}, sys.stdout)
