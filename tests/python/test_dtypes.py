"""A result has the dtype of the caller's model; grids stay what they are."""
import importlib.util
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn

import pquant

X = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
METHODS = [("low_rank", {"rank": 8}), ("tensor_train", {"rank": 4}), ("quantization", {"bits": 8}),
           (["low_rank", "finetune"], {"rank": 4, "epochs": 1})]
#: largest deviation of an output of this size from that of float32: weights and sums rounded
ROUNDED = {"float16": 0.01, "bfloat16": 0.05, "float32": 1e-5, "float64": 1e-5}


@pytest.mark.parametrize("method, more", METHODS, ids=lambda v: str(v))
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_torch(dtype, method, more):
    dtype, kind = getattr(torch, dtype), dtype
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Linear(32, 5)).eval().to(dtype)
    x = torch.from_numpy(X).to(dtype)
    small = pquant.compress_model(net, method, data=(x, net(x).argmax(1)), **more)
    assert {p.dtype for p in small.parameters()} == {dtype} and small(x).dtype == dtype
    assert np.abs(small(x).detach().float().numpy() - small.pquant.predict(x.float().numpy(), engine="reference")).max() < ROUNDED[kind]
    again = pquant.compress_model(small, "pruning", target_sparsity=0.3)
    assert {p.dtype for p in again.parameters()} == {dtype}
    small.train()(x).float().square().mean().backward()
    assert all(p.grad is not None for p in small.parameters())


def test_a_grid_outlives_a_change_of_dtype():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 5)).eval()
    x = torch.from_numpy(X)
    small = pquant.compress_model(net, "quantization", data=(x, net(x).argmax(1)))
    due = small(x)
    assert torch.equal(small.double().float()(x), due)
    assert {b.dtype for b in small.half().buffers()} == {torch.float64}
    np.testing.assert_array_equal(small.float().pquant.weight("0", "kernel").shape, (32, 16))


@pytest.mark.parametrize("method, more", METHODS[:3], ids=lambda v: str(v))
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_jax(dtype, method, more):
    dtype, kind = jnp.dtype(dtype), dtype
    draw = np.random.default_rng(2)
    parameters = {"w": jnp.asarray(0.3 * draw.normal(size=(16, 8)), dtype), "b": jnp.zeros(8, dtype),
                  "v": jnp.asarray(0.3 * draw.normal(size=(8, 5)), dtype)}

    def function(p, x):
        return jax.nn.relu(x @ p["w"] + p["b"]) @ p["v"]
    x = jnp.asarray(X, dtype)
    y = np.asarray(function(parameters, x)).argmax(1)
    apply, p = small = pquant.compress_model((function, parameters), method, data=(x, y), **more)
    assert {leaf.dtype for leaf in jax.tree.leaves(p)} == {dtype} and apply(p, x).dtype == dtype
    due = small.pquant.predict(np.asarray(x, np.float32), engine="reference")
    assert np.abs(np.asarray(apply(p, x), np.float32) - due).max() < 4 * ROUNDED[kind]
    again = pquant.compress_model(small, "pruning", target_sparsity=0.5)
    assert {leaf.dtype for leaf in jax.tree.leaves(again.parameters)} == {dtype}


def test_flax():
    module = nnx.Linear(16, 8, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    small = pquant.compress_model(module, "low_rank", rank=4)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(small.parameters)} == {"bfloat16"}


KERAS = '''
import numpy as np, keras, pquant
from keras import layers
from pquant.frameworks import convert
x = np.random.default_rng(0).normal(size=(200, 16)).astype("f")
numpy = lambda v: np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(v, "float32")))
low, int8, train = ("low_rank", {"rank": 4}), ("quantization", {}), ("tensor_train", {"rank": 4})
for policy, atol, (method, more) in [("float16", 0.05, low), ("mixed_float16", 0.05, int8), ("bfloat16", 0.1, int8),
                                     ("mixed_bfloat16", 0.1, train), ("float64", 1e-5, int8)]:
    given = keras.Input((16,))
    h = layers.BatchNormalization(dtype=policy)(layers.Dense(32, activation="relu", dtype=policy)(given))
    net = keras.Model(given, layers.Dense(5, dtype=policy)(h))
    small = pquant.compress_model(net, method, data=(x, numpy(net(x)).argmax(1)), **more)
    assert {w.dtype for w in small.weights} == {net.weights[0].dtype}, (policy, method)
    assert small(x).dtype == net(x).dtype and keras.config.dtype_policy().name == "float32"
    assert np.abs(numpy(small(x)) - convert(small).model.predict(x)).max() < atol, (policy, method)
    small.save("small.keras")
    np.testing.assert_array_equal(numpy(keras.saving.load_model("small.keras")(x)), numpy(small(x)))
print("fine")
'''


@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_keras(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", KERAS], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0 and done.stdout.strip().endswith("fine"), done.stderr[-3000:]
