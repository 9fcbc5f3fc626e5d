"""Fashion-MNIST, 784-512-256-10: the three compressions of the contract, in each framework, against the command line."""
import functools
import json
import os
import tempfile

import numpy as np
import pytest
import torch
from conftest import ROOT, program

import pquant
from pquant.compression import LowRankCompression, QuantizationCompression, TensorTrainCompression

MODEL = os.path.join(ROOT, "datasets", "models", "fashion-mlp.h5")
SET = "fashion-mnist"


@pytest.fixture(scope="module")
def images():
    """Standardized images [n, 784] and labels, {split: (x, y)}."""
    try:
        sets = {split: pquant.Data.open(f"{SET}:{split}").read() for split in ("train", "test")}
    except pquant.Error as error:
        pytest.skip(f"no Fashion-MNIST: {error}")
    scaler = pquant.load(MODEL).structure["scaler"]
    return {split: (((x - scaler["mean"][0]) / scaler["std"][0]).reshape(len(x), 784).astype(np.float32), y)
            for split, (x, y) in sets.items()}


def dense_layers():
    weights = pquant.load(MODEL).weights()
    names = [layer for layer, name in weights if name == "kernel"]
    return [(weights[n, "kernel"], weights[n, "bias"]) for n in names]


def torch_net():
    modules = []
    for kernel, bias in dense_layers():
        linear = torch.nn.Linear(kernel.shape[1], kernel.shape[0])
        linear.load_state_dict({"weight": torch.tensor(kernel), "bias": torch.tensor(bias)})
        modules += [linear, torch.nn.ReLU()]
    net = torch.nn.Sequential(*modules[:-1]).eval()
    return net, lambda small, x: small(torch.from_numpy(x)).detach().numpy()


def keras_net():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras
    layers = dense_layers()
    net = keras.Sequential([keras.Input((784,)), *(keras.layers.Dense(
        len(b), activation="relu" if i < len(layers) - 1 else None) for i, (_, b) in enumerate(layers))])
    net.set_weights([w for kernel, bias in layers for w in (kernel.T, bias)])
    return net, lambda small, x: keras.ops.convert_to_numpy(small(x))


def jax_net():
    import jax

    def function(p, x):
        for kernel, bias in p[:-1]:
            x = jax.nn.relu(x @ kernel + bias)
        return x @ p[-1][0] + p[-1][1]
    return (function, [(kernel.T, bias) for kernel, bias in dense_layers()]), lambda small, x: np.asarray(small(x))


NETS = {"torch": torch_net, "keras": keras_net, "jax": jax_net}
METHODS = {"svd": (LowRankCompression, {"rank": 64}, "svd:rank=64,clip_rank=true"),
           "int8": (QuantizationCompression, {"bits": 8}, "quantize:bits=8")}


@functools.cache
def told(stage):
    """Accuracy and stored bytes of what the command line makes of the same network."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "small.h5")
        program("compress", MODEL, "-o", path, "--method", stage, "--calib", SET + ":train", "--quiet")
        metrics = json.loads(program("model", "eval", path, "--data", SET + ":test", "--format", "json"))["metrics"]
    return metrics["accuracy"]["value"], metrics["stored_bytes"]["value"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("framework", NETS)
def test_it_is_what_the_command_line_makes(framework, method, images):
    cls, config, stage = METHODS[method]
    x, y = images["test"]
    accuracy, stored = told(stage)
    net, run = NETS[framework]()
    small = cls(config).compress(net, train_loader=images["train"])
    metrics = pquant.evaluate_model(small, (x, y))
    assert abs(metrics["accuracy"] - accuracy) <= 0.001 and metrics["stored_bytes"] == stored
    assert abs((run(small, x).argmax(1) == y).mean() - accuracy) <= 0.001


def test_a_tensor_train_with_ten_epochs(images):
    """On the first 2,000 images, on all 60,000 with PQ_LONG=1: a train of rank 32 has 8.4 million MACs where the matrices
    have 0.5, and an epoch of 2,000 takes 0.9 s of processor."""
    net, run = torch_net()
    x, y = images["test"]
    some = tuple(a[:None if os.environ.get("PQ_LONG") else 2000] for a in images["train"])
    config = {"method": "tensor_train", "rank": 32}
    before = pquant.evaluate(TensorTrainCompression(config).compress(net), (x, y))
    small = TensorTrainCompression({**config, "train_after_compression": True, "epochs": 10}).compress(net, train_loader=some)
    after = pquant.evaluate(small, (x, y))
    assert after > before + 0.05 and small.pquant.parameters < 535818 / 3
    assert abs((run(small, x).argmax(1) == y).mean() - after) <= 0.001
