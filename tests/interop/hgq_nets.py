"""HGQ 2: nets trained with it on the jets, with widths of each weight and activation, read and run here."""
import os

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import numpy as np
from hgq.config import LayerConfigScope, QuantizerConfigScope
from hgq.layers import QBatchNormDense, QConv2D, QDense
from hgq.quantizer import Quantizer
from hgq.utils import trace_minmax

from common import ROOT, Cases
from library import Model


def scopes(weights, data, **more):
    """Default quantizers: (type, overflow, rounding) of weights and of data."""
    common = {"default_q_type": weights[0], "overflow_mode": weights[1], "round_mode": weights[2]}
    return (QuantizerConfigScope(place="weight", **common), QuantizerConfigScope(place="bias", **common),
            QuantizerConfigScope(place="datalane", default_q_type=data[0], overflow_mode=data[1], round_mode=data[2], **more),
            LayerConfigScope(enable_ebops=True, beta0=1e-6))


def chain(kind, activation="relu"):
    return lambda: keras.Sequential([keras.layers.Input((16,)), kind(24, activation=activation, name="a"),
                                     kind(16, activation=activation, name="b"), kind(5, name="out")])


#: name: scopes, net
NETS = {
    "kbi SAT_SYM weights, kif WRAP data": (scopes(("kbi", "SAT_SYM", "RND"), ("kif", "WRAP", "TRN"), i0=4, f0=4), chain(QDense)),
    "kif weights, kif SAT data": (scopes(("kif", "SAT", "RND"), ("kif", "SAT", "RND"), i0=4, f0=3), chain(QDense)),
    "WRAP weights, kbi data": (scopes(("kif", "WRAP", "RND"), ("kbi", "SAT", "RND_CONV"), i0=3, b0=7), chain(QDense, "tanh")),
    "batch norm": (scopes(("kbi", "SAT_SYM", "RND"), ("kif", "WRAP", "TRN"), i0=4, f0=4), chain(QBatchNormDense)),
}


def jets():
    with h5py.File(f"{ROOT}/datasets/jets-hlf.h5") as f:
        x, y, test, truth = (f[k][()] for k in ("train/x", "train/y", "test/x", "test/y"))
    mean, std = x.mean(0), x.std(0)
    return ((x - mean) / std).astype(np.float32), y.astype(np.int64), ((test - mean) / std).astype(np.float32), truth


def check_images(cases):
    """A convolution and a quantizer that is a layer, on random weights and events."""
    rng = np.random.default_rng(3)
    scope = scopes(("kbi", "SAT_SYM", "RND"), ("kif", "WRAP", "RND"), i0=4, f0=3)
    with scope[0], scope[1], scope[2], scope[3]:
        net = keras.Sequential([keras.layers.Input((8, 7, 3)), Quantizer(q_type="kif", place="datalane"),
                                QConv2D(6, 3, strides=2, padding="same", activation="relu"), keras.layers.Flatten(), QDense(4)])
    x = rng.normal(size=(64, 8, 7, 3)).astype(np.float32)
    for layer in net.layers:
        if hasattr(layer, "kernel"):
            layer.bias.assign(rng.normal(0, 0.5, layer.bias.shape))
            layer.kq.quantizer._b.assign(rng.integers(0, 8, layer.kernel.shape))
    trace_minmax(net, x)
    net.save("net.keras")
    theirs = net.predict(x, verbose=0)
    for engine in ("integer", "reference"):
        cases.add(f"images, {engine}", Model("net.keras")(x, engine=engine), theirs, 0)


def main():
    cases = Cases()
    check_images(cases)
    x, y, test, truth = jets()
    for name, (scope, make) in NETS.items():
        keras.utils.set_random_seed(5)
        with scope[0], scope[1], scope[2], scope[3]:
            net = make()
        net.compile(keras.optimizers.Adam(0.004), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        net.fit(x[:20000], y[:20000], batch_size=1000, epochs=2, verbose=0)
        trace_minmax(net, test, batch_size=10000)
        net.save("net.keras")
        theirs = net.predict(test, batch_size=10000, verbose=0)
        for engine in ("integer", "reference"):
            ours = Model("net.keras")(test, engine=engine)
            cases.add(f"{name}, {engine}: outputs", ours, theirs, 0)
            cases.add(f"{name}, {engine}: decisions", int((ours.argmax(1) != theirs.argmax(1)).sum()), 0, 0)
        print(f"{name}: {(theirs.argmax(1) == truth).mean():.2%} of {len(test)} jets in HGQ, {(ours.argmax(1) == truth).mean():.2%} here")
    cases.finish()


if __name__ == "__main__":
    main()
