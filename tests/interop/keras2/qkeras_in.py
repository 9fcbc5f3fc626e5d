"""QKeras: what its quantizers make of weights, and nets trained with it on the jets, read and run here."""
import os
import warnings

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.filterwarnings("ignore")

import h5py
import numpy as np
import tensorflow as tf
from qkeras import (QActivation, QBatchNormalization, QConv1D, QConv2D, QDense, QDepthwiseConv2D, quantized_bits)
from tensorflow.keras import layers as L

from common import ROOT, Cases
from library import Model

rng = np.random.default_rng(5)
cases = Cases()

#: quantizers of weights; those with a scale fitted in float32 (auto) to the order of its sums
WEIGHTS = ["quantized_bits(6,0,alpha=1)", "quantized_bits(4,1,1,alpha=1)", "quantized_bits(8,2,alpha=1.0)", "quantized_bits(3,0,0,True,1)",
           "quantized_bits(5,0,keep_negative=False,alpha=1)", "quantized_bits(1,0,alpha=1)", "quantized_bits(4,1,alpha=0.5)",
           "quantized_bits(6,0)", "quantized_bits(4,0,1,alpha='auto_po2')", "quantized_bits(8,1,alpha='auto_po2')",
           "quantized_bits(4,0,1,alpha='auto')", "quantized_bits(6,1,alpha=\"auto\")", "quantized_bits(5,0,alpha=0.3)",
           "binary(alpha=1)", "binary()", "binary(alpha='auto')", "binary(alpha='auto_po2')", "binary(1,alpha=1)",
           "ternary(alpha=1)", "ternary()", "ternary(alpha='auto')", "ternary(alpha='auto_po2')", "ternary(alpha=0.5,threshold=0.2)",
           "quantized_po2(4)", "quantized_po2(3,1)", "quantized_po2(5,2,quadratic_approximation=True)", "quantized_po2(4,log2_rounding='floor')",
           "quantized_relu_po2(4,2)"]


def trained_weights(shape, spec):
    """Weights as training leaves them, with zeros, ones at the ends and beyond the range. Odd powers of two are ties of
    quadratic_approximation, which TensorFlow rounds one way in vectors and the other way alone."""
    w = rng.normal(0, 0.4, shape).astype(np.float32)
    if "quadratic" in spec:
        return w
    flat = w.reshape(-1)
    flat[:6] = [0, 1, -1, 2.5, 0.5, -0.25][:flat.size]
    return w


def check_weights():
    for spec in WEIGHTS:
        # what is fitted without a power of two depends on the order of the sums of TensorFlow
        tolerance = 3e-7 if "auto" in spec.replace("auto_po2", "") or "binary" in spec else 0
        for kind, make, shape in (("dense", lambda: QDense(7, kernel_quantizer=spec, bias_quantizer=spec), (9,)),
                                  ("conv", lambda: QConv2D(5, (3, 2), kernel_quantizer=spec, bias_quantizer=spec), (3, 2, 4)),
                                  ("rows", lambda: QConv1D(5, 2, kernel_quantizer=spec, bias_quantizer=spec), (2, 4)),
                                  ("depthwise", lambda: QDepthwiseConv2D((3, 2), depth_multiplier=2, depthwise_quantizer=spec,
                                                                         bias_quantizer=spec), (3, 2, 4))):
            net = tf.keras.Sequential([L.Input(shape), make()])
            net.layers[0].set_weights([trained_weights(w.shape, spec) for w in net.get_weights()])
            net.save("net.h5")
            unit = np.eye(int(np.prod(shape)), dtype=np.float32).reshape(-1, *shape)
            x = np.concatenate([0 * unit[:1], unit])
            ours, theirs = Model("net.h5")(x, engine="reference"), net.predict(x, verbose=0)
            cases.add(f"{kind}, {spec}", ours, theirs, max(tolerance, 1e-7))


def net_of(kernel, bias, activation, entry="quantized_bits(12,5,alpha=1)", norm=False, last=None):
    inputs = x = L.Input((16,))
    if entry:
        x = QActivation(entry, name="entry")(x)
    for k, width in enumerate((32, 16)):
        x = QDense(width, kernel_quantizer=kernel, bias_quantizer=bias, name=f"fc{k}")(x)
        if norm:
            x = QBatchNormalization(name=f"norm{k}")(x)
        x = QActivation(activation, name=f"act{k}")(x)
    x = QDense(5, kernel_quantizer=kernel, bias_quantizer=bias, name="out", activation=last)(x)
    return tf.keras.Model(inputs, L.Activation("softmax", name="softmax")(x))


#: nets whose values in QKeras are rounded in float32, so that single codes may differ
FLOATS = ("8 bits, auto", "real tanh")

#: nets that are trained on the jets
NETS = {
    "6 bits": lambda: net_of("quantized_bits(6,0,alpha=1)", "quantized_bits(6,0,alpha=1)", "quantized_relu(6)"),
    "6 bits, fine biases": lambda: net_of("quantized_bits(6,0,alpha=1)", "quantized_bits(16,2,alpha=1)", "quantized_relu(6,2)"),
    "4 bits, auto_po2": lambda: net_of("quantized_bits(4,0,1)", "quantized_bits(8,2,alpha=1)", "quantized_relu(5,1)"),
    "8 bits, auto": lambda: net_of("quantized_bits(8,0,alpha='auto')", None, "quantized_relu(8,2)"),
    "ternary": lambda: net_of("ternary", "quantized_bits(6,2,alpha=1)", "quantized_relu(6,3)", last=quantized_bits(10, 5, alpha=1)),
    "binary": lambda: net_of("binary", "quantized_bits(6,2,alpha=1)", "quantized_relu(6,3)"),
    "powers of two": lambda: net_of("quantized_po2(4)", "quantized_po2(4)", "quantized_tanh(7)"),
    "normalised": lambda: net_of("quantized_bits(6,0,alpha=1)", "quantized_bits(6,0,alpha=1)", "quantized_relu(6,1)", norm=True),
    "real tanh": lambda: net_of("quantized_bits(6,0,alpha=1)", None, "quantized_tanh(6,use_real_tanh=True)"),
    "leaky": lambda: net_of("quantized_bits(6,0,alpha=1)", "quantized_bits(6,0,alpha=1)", "quantized_relu(6,1,negative_slope=0.25)"),
    "binary activations": lambda: net_of("quantized_bits(6,0,alpha=1)", "quantized_bits(8,2,alpha=1)", "binary"),
    "binary activations, alpha": lambda: net_of("quantized_bits(6,0,alpha=1)", "quantized_bits(8,2,alpha=1)", "binary(alpha=0.5)"),
    "ternary activations": lambda: net_of("quantized_bits(6,0,alpha=1)", "quantized_bits(8,2,alpha=1)", "ternary(threshold=0.4,alpha=1)"),
    "binary all": lambda: net_of("binary", "quantized_bits(6,2,alpha=1)", "quantized_bits(1,0,1,alpha=1)"),
    "bounded": lambda: net_of("quantized_bits(6,0,alpha=1)", "quantized_bits(6,0,alpha=1)",
                              "quantized_relu(6,3,relu_upper_bound=6,is_quantized_clip=False)"),
}


def check_images():
    """Every layer with a kernel between activations, saved in each way, on random weights and events."""
    bits = "quantized_bits(5,0,alpha=1)"
    net = tf.keras.Sequential([
        L.Input((9, 8, 3)), QActivation("quantized_bits(8,2,alpha=1)"),
        QConv2D(6, 3, strides=2, padding="same", kernel_quantizer=bits, bias_quantizer=bits), QActivation("quantized_relu(5,2)"),
        QDepthwiseConv2D(3, padding="same", depthwise_quantizer=bits, bias_quantizer=bits, activation="quantized_relu(6,3)"),
        L.MaxPooling2D(2), L.Flatten(), QDense(4, kernel_quantizer="quantized_bits(4,0,1)", bias_quantizer=bits,
                                               activation=quantized_bits(8, 5, alpha=1))])
    net.set_weights([rng.normal(0, 0.4, w.shape) for w in net.get_weights()])
    x = rng.normal(size=(64, 9, 8, 3)).astype(np.float32)
    theirs = net.predict(x, verbose=0)
    net.save("net.h5")
    net.save("net.keras")
    net.save_weights("weights.h5")
    with open("net.json", "w") as f:
        f.write(net.to_json())
    for what, ours in (("h5", Model("net.h5")), (".keras", Model("net.keras")), ("weights", Model("weights.h5", "net.json"))):
        for engine in ("integer", "reference", "float32"):
            cases.add(f"images, {what}, {engine}", ours(x, engine=engine), theirs, 0)


def tied(net, x, step=2.0 ** -5):
    """Events with a value of a norm half way between two codes: where x is the mean it is beta, which TensorFlow's
    x inv + (beta - mean inv) in float32 misses to one side or the other."""
    found = np.zeros(len(x), bool)
    for norm in (layer for layer in net.layers if isinstance(layer, QBatchNormalization)):
        z = tf.keras.Model(net.input, norm.input).predict(x, batch_size=4096, verbose=0).astype(float)
        gamma, beta, mean, variance = (getattr(norm, f"{name}_quantizer_internal")(w).numpy().astype(float) for name, w in (
            ("gamma", norm.gamma), ("beta", norm.beta), ("mean", norm.moving_mean), ("variance", norm.moving_variance)))
        codes = ((z - mean) * gamma / np.sqrt(variance + norm.epsilon) + beta) / step
        found |= (np.abs(codes - np.floor(codes) - 0.5) < 1e-5).any(1)
    return found


def check_jets():
    with h5py.File(f"{ROOT}/datasets/jets-hlf.h5") as f:
        x, y, test, truth = (f[k][()] for k in ("train/x", "train/y", "test/x", "test/y"))
    mean, std = x.mean(0), x.std(0)
    x, test = ((v - mean) / std for v in (x, test))
    for name, make in NETS.items():
        tf.keras.utils.set_random_seed(7)
        net = make()
        net.compile(tf.keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
        net.fit(x[:60000], y[:60000], batch_size=512, epochs=2, verbose=0)
        net.save("net.h5")
        theirs = net.predict(test, batch_size=4096, verbose=0)
        clear = ~tied(net, test)
        for engine in ("integer", "reference"):
            ours = Model("net.h5")(test, engine=engine)
            other = int((ours.argmax(1) != theirs.argmax(1)).sum())
            cases.add(f"{name}, {engine}: decisions", other, 0, 0)
            if name in FLOATS:
                cases.add(f"{name}, {engine}: share of other outputs", (np.abs(ours - theirs).max(1) > 2e-6).mean(), 0, 1e-3)
            else:
                cases.add(f"{name}, {engine}: outputs", ours[clear], theirs[clear], 2e-6)
        right = (theirs.argmax(1) == truth).mean()
        print(f"{name}: {right:.2%} of {len(test)} jets in QKeras, {(ours.argmax(1) == truth).mean():.2%} here")


if __name__ == "__main__":
    check_weights()
    check_images()
    check_jets()
    cases.finish()
