"""Keras 3 in both directions: its files read here, and models of ours and compressed ones read by Keras."""
import os
import subprocess

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import numpy as np
import torch
from keras import layers as L

from common import PQUANT, Cases, pquant, write_dataset
from library import Model, Refused
from onnx_in import NETS, export, ready
from onnx_out import STAGES, dataset

TOLERANCE = 1e-5


def chain(shape, *layers):
    return keras.Sequential([L.Input(shape), *layers])


def residual(shape=(9, 8, 3)):
    x = inputs = L.Input(shape)
    x = L.Conv2D(6, 3, padding="same", name="stem")(x)
    x = L.BatchNormalization()(x)
    x = L.ReLU()(x)
    y = L.Conv2D(6, 3, strides=2, padding="same", use_bias=False)(x)
    y = L.BatchNormalization(scale=False)(y)
    z = L.Conv2D(6, 1, strides=2, padding="same")(x)
    x = L.Activation("relu")(L.Add()([y, z]))
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, L.Dense(4, activation="softmax", name="out")(x))


def branches():
    inputs = L.Input((8, 8, 4))
    a = L.MaxPooling2D(2)(L.Conv2D(5, 3, padding="same", activation="elu")(inputs))
    b = L.AveragePooling2D(2, padding="same")(L.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(inputs))
    x = L.Concatenate()([a, b])
    x = L.Multiply()([x, L.Activation("sigmoid")(x)])
    x = L.Flatten()(L.ZeroPadding2D(((1, 0), (2, 1)))(x))
    return keras.Model(inputs, L.Dense(3)(x))


def differences():
    x = inputs = L.Input((6,))
    a, b, c = L.Dense(4)(x), L.Dense(4)(x), L.Dense(4)(x)
    return keras.Model(inputs, L.Subtract()([L.Average()([a, b, c]), L.ReLU()(a)]))


def nested():
    """Models within models, called twice, with several inputs and outputs, and a layer called twice."""
    x = L.Input((6,))
    inner = keras.Model(x, [L.Dense(4, name="d", activation="tanh")(x), L.Dense(3)(x)], name="inner")
    chain_ = keras.Sequential([L.Input((3,)), L.Dense(4, activation="relu", name="d"), L.BatchNormalization()], name="chain")
    y = L.Input((4,))
    deep = keras.Model(y, keras.Sequential([L.Input((4,)), L.Dense(4, name="d"), L.ReLU()], name="chain")(y), name="deep")
    y, z = L.Input((6,)), L.Input((6,))
    pair = keras.Model([y, z], L.Subtract()([L.Dense(5, name="d", activation="relu")(y), L.Dense(5)(z)]), name="pair")
    a, b = L.Input((6,), name="a"), L.Input((6,), name="b")
    (p, q), (r, s) = inner(a), inner(b)
    shared = L.Dense(5, name="shared")
    x = L.Add()([shared(p), shared(r), L.Dense(5)(chain_(q)), L.Dense(5)(deep(chain_(s))), pair([b, a])])
    return keras.Model([b, a], L.Dense(2)(L.Concatenate()([x, r])))


def outputs_of_two():
    x = inputs = L.Input((7,))
    x = L.Dense(9, activation="relu")(x)
    return keras.Model(inputs, [L.Dense(3, name="flavour", activation="softmax")(x), L.Dense(1, name="mass")(L.Dense(4)(x))])


def adapted(**how):
    layer = L.Normalization(**how)
    if "mean" not in how:
        layer.adapt(np.random.default_rng(5).normal(2, [0.5, 1, 3, 0, 7], size=(50, 5)).astype(np.float32))
    return chain((5,), layer, L.Dense(3))


#: nets of Keras, each saved in every way that it has
KERAS = {
    "dense": lambda: chain((16,), L.Dense(64, activation="relu"), L.Dense(32, activation="tanh"), L.Dense(5, activation="softmax")),
    "dense, layers": lambda: chain((16,), L.Dense(12), L.LeakyReLU(0.2), L.Dense(11, use_bias=False), L.ReLU(max_value=6.0), L.Dense(7),
                                   L.ELU(0.5), L.Dropout(0.3), L.Dense(1, activation="sigmoid")),
    "dense, gelu": lambda: chain((7,), L.Dense(12, activation="gelu"), L.BatchNormalization(), L.Dense(3), L.Softmax()),
    "rows": lambda: chain((6, 5), L.Dense(8, activation="relu"), L.GlobalAveragePooling1D(), L.Dense(3)),
    "rows, largest": lambda: chain((6, 5), L.Dense(8), L.GlobalMaxPooling1D(), L.Dense(3, activation="softmax")),
    "image": lambda: chain((8, 9, 3), L.Conv2D(5, (3, 2), strides=(2, 1), activation="relu"), L.Conv2D(6, 3, dilation_rate=2, padding="same"),
                           L.MaxPooling2D((2, 1)), L.Reshape((-1, 6)), L.Flatten(), L.Dense(4)),
    "separable": lambda: chain((8, 8, 3), L.SeparableConv2D(7, 3, padding="same"), L.GlobalMaxPooling2D(), L.Rescaling(0.5), L.Dense(2)),
    "grouped": lambda: chain((6, 6, 4), L.Conv2D(8, 3, groups=2, padding="same", activation="relu"), L.GlobalAveragePooling2D(), L.Dense(3)),
    # with stride 2 the backend of PyTorch repeats the border, where those of TensorFlow and JAX leave it out, as we do
    "means": lambda: chain((7, 7, 3), L.AveragePooling2D(3, strides=1, padding="same"), L.Flatten(), L.Dense(3)),
    "residual": residual,
    "branches": branches,
    "nested": nested,
    "nested chains": lambda: chain((6,), keras.Sequential([L.Dense(4), keras.Sequential([L.Dense(3), L.ReLU()])]), L.Dense(2)),
    "normalised": adapted,
    "normalised by one": lambda: adapted(axis=None),
    "normalised by numbers": lambda: adapted(mean=[1.0, 2, 3, 4, 5], variance=[1.0, 4, 9, 2, 3]),
    "normalised back": lambda: adapted(invert=True),
    "shifted": lambda: chain((8, 8, 3), L.Rescaling([0.5, 2, 3], offset=[1, -1, 0.5]), L.Flatten(), L.Dense(2)),
    "differences": lambda: differences(),
    "rows, convolved": lambda: chain((12, 4), L.Conv1D(6, 3, activation="relu", padding="causal", dilation_rate=2), L.MaxPooling1D(2),
                                     L.Conv1D(8, 3, strides=2, padding="same", groups=2, use_bias=False), L.AveragePooling1D(2), L.Flatten(), L.Dense(3)),
}


def settle(model, seed):
    """Weights that say something, statistics of BatchNormalization too."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.2, 1.5, w.shape) if "variance" in v.path else rng.normal(0, 0.4, w.shape)
                       for v, w in zip(model.weights, model.get_weights())])
    return model


def outputs(model, *x):
    return keras.ops.convert_to_numpy(model(list(x) if len(x) > 1 else x[0], training=False))


def read(cases, what, model, x, path, arch=None):
    cases.add(what, Model(path, arch)(*x, engine="reference"), outputs(model, *x), TOLERANCE)


def keras_in(cases):
    for k, (name, make) in enumerate(KERAS.items()):
        model = make() if name.startswith("normalised") else settle(make(), k)
        x = [np.random.default_rng(100 + k).normal(size=(9, *i.shape[1:])).astype(np.float32) for i in model.inputs]
        model.save("net.keras")
        read(cases, f"{name}, .keras", model, x, "net.keras")
        model.save_weights("net.weights.h5")
        with open("net.json", "w") as f:
            f.write(model.to_json())
        read(cases, f"{name}, .weights.h5", model, x, "net.weights.h5", "net.json")
        model.save("net.h5")
        read(cases, f"{name}, .h5", model, x, "net.h5")
        pquant("model", "convert", "net.keras", "-o", "again.keras")
        again = keras.saving.load_model("again.keras")
        cases.add(f"{name}, back in Keras", outputs(again, *x), outputs(model, *x), TOLERANCE)
    two = settle(KERAS["dense"](), 1), settle(chain((16,), L.Dense(64, name="other"), L.Dense(32), L.Dense(5)), 2)
    two[0].save_weights("net.weights.h5")
    with open("net.json", "w") as f:
        f.write(two[1].to_json())
    try:
        Model("net.weights.h5", "net.json")
        cases.add("weights of another architecture", 1.0, 0.0, 0.0)
    except Refused as e:
        assert "the weights are of another architecture" in str(e), e


def several_outputs(cases):
    """One is chosen by name or number; what it does not need is left out."""
    model = settle(outputs_of_two(), 4)
    x = np.random.default_rng(9).normal(size=(9, 7)).astype(np.float32)
    due = [keras.ops.convert_to_numpy(y) for y in model(x)]
    model.save("two.keras")
    model.save("two.h5")
    for path in ("two.keras", "two.h5"):
        for choice, which in (("flavour", 0), ("mass", 1), ("1", 1)):
            pquant("model", "convert", path, "--output-layer", choice, "-o", "one.h5")
            cases.add(f"{path}, output {choice}", Model("one.h5")(x, engine="reference"), due[which], TOLERANCE)
        for choice, message in ((["--output-layer", "mas"], "'mas' is none of the model's outputs: flavour, mass"),
                                ([], "the model has 2 outputs (flavour, mass); one is read")):
            done = subprocess.run([PQUANT, "model", "info", path, *choice], capture_output=True, text=True)
            assert done.returncode == 2 and message in done.stderr, done.stderr


def scaled(path, x):
    """Events as the net of a file of ours takes them: its scaler is a layer in Keras."""
    if path.endswith(".h5"):
        with h5py.File(path) as f:
            if "scaler" in f:
                return (x - f["scaler/mean"][()]) / f["scaler/std"][()]
    return x


def check_out(cases, what, path):
    """The model in Keras gives what it gives here; what Keras has no layer for is refused by name."""
    model = Model(path)
    done = subprocess.run([PQUANT, "model", "convert", path, "-o", "out.keras"], capture_output=True, text=True)
    if done.returncode:
        assert "layer '" in done.stderr, done.stderr
        return done.stderr.strip().splitlines()[0].replace("pquant: error: ", "")
    x = np.random.default_rng(7).normal(size=(9, *model.inputs[0])).astype(np.float32)
    due = model(scaled(path, x), engine="reference")
    cases.add(f"{what}, in Keras", outputs(keras.saving.load_model("out.keras"), x), due, TOLERANCE)
    cases.add(f"{what}, read again", Model("out.keras")(x, engine="reference"), due, TOLERANCE)
    return None


def keras_out(cases):
    refused = []
    for name, (net, shape) in NETS.items():
        export(ready(net), torch.randn(3, *shape), False)
        refused.append((name, check_out(cases, name, "net.onnx")))
    for net in ("jsc-mlp", "resnet8", "resnet20", "garipov-conv"):
        refused.append((net, check_out(cases, net, zoo(net))))
    for name in ("dense", "residual"):
        settle(KERAS[name](), 3).save("net.keras")
        dataset("events.h5", Model("net.keras").inputs[0])
        for what, methods in STAGES.items():
            command = [PQUANT, "compress", "net.keras", "-o", "small.h5", "--calib", "events.h5:train",
                       *sum((["--method", m] for m in methods), [])]
            done = subprocess.run(command, capture_output=True, text=True)
            refused.append((f"{name}, {what}", done.stderr.strip() if done.returncode else check_out(cases, f"{name}, {what}", "small.h5")))
        pquant("compress", "net.keras", "-o", "small.h5", "--calib", "events.h5:train", "--method", "quantize:bits=8,activation_bits=8")
        message = check_out(cases, f"{name}, int8", "small.h5")
        assert message and "grid" in message, message
    print(*(f"refused: {name}: {message}" for name, message in refused if message), sep="\n")


def zoo(net):
    """A net of the zoo with its first weights, as `train` makes it before the first step."""
    shape, classes = ((16,), 5) if net == "jsc-mlp" else ((32, 32, 3), 10)
    rng = np.random.default_rng(3)
    write_dataset("zoo.h5", [f"c{i}" for i in range(classes)], {"train": {
        "x": rng.normal(size=(64, *shape)).astype(np.float32), "y": (np.arange(64) % classes).astype(np.uint8)}})
    with open("zoo.yaml", "w") as f:
        f.write(f"schema: pquant/1\nname: zoo\nmodel: {{zoo: {net}}}\ndataset: {{file: zoo.h5, train: train}}\n"
                "train: {epochs: 1, batch: 64, validation: 0, seed: 1, lr: 1e-9}\noutput: {model: zoo-net.h5, log: zoo.json}\n")
    pquant("train", "zoo.yaml", "-q")
    return "zoo-net.h5"


def main():
    cases = Cases()
    keras_in(cases)
    several_outputs(cases)
    keras_out(cases)
    cases.finish()


if __name__ == "__main__":
    main()
