"""HGQ 1: nets trained with it on the jets, and the proxy models that it makes of them, read and run here. Decisions on
all test jets are those of HGQ; outputs to what its float32 keeps of a quantized value, x + (q - x)."""
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["CUDA_VISIBLE_DEVICES"] = "3", ""

import h5py
import numpy as np
import tensorflow as tf
from HGQ import trace_minmax
from HGQ.layers import (HActivation, HAdd, HConv2D, HConv2DBatchNorm, HDense, HDenseBatchNorm, HQuantize, PConcatenate, PFlatten,
                        PMaxPooling2D)
from HGQ.proxy import to_proxy_model
from HGQ.utils import get_default_kq_conf, get_default_paq_conf

from common import ROOT, Cases
from library import Model

L = tf.keras.layers
cases = Cases()


def conf(kernel, **more):
    return {**(get_default_kq_conf() if kernel else get_default_paq_conf()), **more}


def chain(dense=HDense, activation="relu", paq={}, kq={}, entry={}):
    """A jet tagger; paq and kq change the quantizers."""
    how = lambda name, **more: dict(name=name, beta=1e-6, kq_conf=conf(True, init_bw=6, **kq), paq_conf=conf(False, init_bw=5, **paq), **more)
    layers = [L.Input((16,)), HQuantize(name="entry", beta=1e-6, paq_conf=conf(False, init_bw=5, **entry))]
    for k, width in enumerate((24, 16)):
        layers += [dense(width, **how(f"fc{k}", activation="relu" if activation == "relu" else "linear"))]
        layers += [] if activation == "relu" else [HActivation(activation, name=f"act{k}", beta=1e-6, paq_conf=conf(False, init_bw=6, **paq))]
    return tf.keras.Sequential(layers + [HDense(5, **how("out"))])


def branches():
    """Layers with several inputs."""
    inputs = L.Input((16,))
    x = HQuantize(name="entry", beta=1e-6, paq_conf=conf(False, init_bw=5))(inputs)
    a, b = HDense(12, activation="relu", name="a", beta=1e-6)(x), HDense(12, name="b", beta=1e-6)(x)
    both = PConcatenate()([HAdd(name="sum", paq_conf=conf(False, init_bw=4))([a, b]), a])
    return tf.keras.Model(inputs, HDense(5, name="out", beta=1e-6)(both))


NETS = {
    "relu": chain,
    "batch norm": lambda: chain(HDenseBatchNorm),
    "floor": lambda: chain(paq={"rnd_strategy": "floor"}, kq={"rnd_strategy": "floor"}, entry={"rnd_strategy": 3}),
    "auto, a width a layer": lambda: chain(paq={"rnd_strategy": "auto", "skip_dims": "all"}, kq={"skip_dims": "all"}, entry={"skip_dims": "all"}),
    "tanh": lambda: chain(activation="tanh"),
    "branches": branches,
}


def jets():
    with h5py.File(f"{ROOT}/datasets/jets-hlf.h5") as f:
        x, y, test, truth = (f[k][()] for k in ("train/x", "train/y", "test/x", "test/y"))
    mean, std = x.mean(0), x.std(0)
    return ((x - mean) / std).astype("f4"), y.astype("i8"), ((test - mean) / std).astype("f4"), truth


def compare(what, path, theirs, x, tolerance=1e-6, share=0.0):
    """Decisions and outputs; share: of events in which a value may round the other way."""
    for engine in ("integer", "reference", "float32"):
        ours = Model(path)(x, engine=engine)
        off = np.abs(ours - theirs).max(1) > tolerance * max(1, np.abs(theirs).max())
        cases.add(f"{what}, {engine}: decisions", int((ours.argmax(1) != theirs.argmax(1)).sum()), 0, 0 if share == 0 else 2)
        cases.add(f"{what}, {engine}: share of other outputs", off.mean(), 0, share)
    return ours


def check_jets():
    x, y, test, truth = jets()
    for name, make in NETS.items():
        tf.keras.utils.set_random_seed(7)
        net = make()
        loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        net.compile(tf.keras.optimizers.Adam(0.003), loss)
        net.fit(x[:60000], y[:60000], batch_size=512, epochs=2, verbose=0)
        trace_minmax(net, x, bsz=4096, verbose=False)
        net.save("net.h5")
        theirs = net.predict(test, batch_size=4096, verbose=0)
        # tanh of float32 and of double differ in the last bit, and a value at a tie goes either way.
        ours = compare(name, "net.h5", theirs, test, share=1e-3 if name == "tanh" else 0.0)
        print(f"{name}: {(theirs.argmax(1) == truth).mean():.2%} of {len(test)} jets in HGQ, {(ours.argmax(1) == truth).mean():.2%} here")


def proxies(net, x, what):
    """Both kinds of proxies of a net whose values all have a sign; those with both kinds are refused by name."""
    trace_minmax(net, x, bsz=len(x), verbose=False)
    for aggressive in (False, True):
        proxy = to_proxy_model(net, aggressive=aggressive)
        proxy.save("proxy.h5")
        try:
            model = Model("proxy.h5")
        except Exception as e:
            assert "some of its activations have a sign and others have none" in str(e), e
            print(f"{what}, {'WRAP' if aggressive else 'SAT'}: refused: {e}")
            continue
        theirs = proxy.predict(x, verbose=0)
        for engine in ("integer", "reference"):
            cases.add(f"{what}, aggressive={aggressive}, {engine}", model(x, engine=engine), theirs, 1e-7)


def check_images():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(64, 8, 7, 3)).astype("f4")
    for conv in (HConv2D, HConv2DBatchNorm):
        net = tf.keras.Sequential([
            L.Input((8, 7, 3)), HQuantize(name="entry", paq_conf=conf(False, init_bw=4)),
            conv(6, 3, strides=2, padding="same", activation="relu", name="conv", paq_conf=conf(False, init_bw=4, skip_dims="except_last")),
            PMaxPooling2D(2), PFlatten(), HDense(4, name="out", paq_conf=conf(False, init_bw=4))])
        for layer in net.layers:
            if hasattr(layer, "moving_variance"):
                layer.moving_variance.assign(rng.uniform(0.5, 2, layer.moving_variance.shape))
                layer.bn_beta.assign(rng.normal(size=layer.bn_beta.shape))
            if hasattr(layer, "bias"):
                layer.bias.assign(rng.normal(0, 0.5, layer.bias.shape))
        net.predict(x, verbose=0)
        net.save("net.h5")
        compare(conv.__name__, "net.h5", net.predict(x, verbose=0), x)


def check_proxies():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(4096, 16)).astype("f4")
    tf.keras.utils.set_random_seed(8)
    for name, make in NETS.items():
        proxies(make(), x, f"proxy of {name}")


if __name__ == "__main__":
    check_images()
    check_proxies()
    check_jets()
    cases.finish()
