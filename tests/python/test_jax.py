"""Flax modules and JAX functions in and out."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import pquant
from pquant.frameworks import convert

TOLERANCE = 1e-5
X = np.random.default_rng(0).normal(size=(120, 16)).astype(np.float32)
IMAGES = np.random.default_rng(1).normal(size=(60, 16, 16, 3)).astype(np.float32)


class Tagger(nnx.Module):
    def __init__(self, rngs):
        self.a, self.n = nnx.Linear(16, 32, rngs=rngs), nnx.BatchNorm(32, rngs=rngs)
        self.d, self.b = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(32, 5, rngs=rngs)

    def __call__(self, x):
        return nnx.softmax(self.b(self.d(nnx.relu(self.n(self.a(x))))))


class Images(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.max_pool(linen.relu(linen.Conv(8, (3, 3))(x)), (2, 2), strides=(2, 2))
        x = linen.avg_pool(linen.gelu(linen.Conv(12, (3, 3), strides=2)(x)), (2, 2), strides=(2, 2))
        x = linen.LayerNorm()(linen.silu(linen.Dense(20)(x.reshape((x.shape[0], -1)))))
        return linen.Dense(10)(x)


def function(p, x):
    return jax.nn.sigmoid(jnp.tanh(x @ p["w1"] + p["b1"]) @ p["w2"])


def parameters():
    rng = np.random.default_rng(2)
    return {"w1": rng.normal(size=(16, 8)).astype("f"), "b1": rng.normal(size=8).astype("f"),
            "w2": rng.normal(size=(8, 1)).astype("f")}


def images():
    module = Images()
    return module, module.init(jax.random.key(0), IMAGES)


def sets(p, x):
    return jax.nn.relu(x @ p["w1"]).mean(1) @ p["w2"]


def test_means_over_the_members_of_a_set():
    x = np.random.default_rng(3).normal(size=(40, 6, 16)).astype(np.float32)
    p = parameters()
    once, q = pquant.compress_model((sets, p), "prune", target_sparsity=0.0, input_shape=(6, 16))
    np.testing.assert_allclose(once(q, x), sets(p, x), atol=TOLERANCE)


def test_nnx_linen_and_functions_in():
    module = Tagger(nnx.Rngs(0))
    module.eval()
    np.testing.assert_allclose(convert(module).model.predict(X), module(X), atol=TOLERANCE)
    net, variables = images()
    due = net.apply(variables, IMAGES)
    np.testing.assert_allclose(convert((net, variables), (16, 16, 3)).model.predict(IMAGES), due, atol=TOLERANCE)
    np.testing.assert_allclose(convert(net.bind(variables), (16, 16, 3)).model.predict(IMAGES), due, atol=TOLERANCE)
    p = parameters()
    np.testing.assert_allclose(convert((function, p), (16,)).model.predict(X), function(p, X), atol=TOLERANCE)


@pytest.mark.parametrize("method, more", [("low_rank", {"rank": 6}), ("tucker", {"rank": 4}), ("tensor_train", {"rank": 4}),
                                          ("pruning", {"target_sparsity": 0.5}), ("quantization", {"bits": 8})])
def test_a_function_and_its_parameters_come_out(method, more):
    net, variables = images()
    y = np.asarray(net.apply(variables, IMAGES)).argmax(1)
    small = pquant.compress_model((net, variables), method, data=(IMAGES, y), **more)
    apply, p = small
    due = small.pquant.predict(IMAGES, engine="reference")
    np.testing.assert_allclose(apply(p, IMAGES), due, atol=TOLERANCE)
    np.testing.assert_allclose(jax.jit(apply)(p, IMAGES), due, atol=TOLERANCE if method != "quantization" else 0.02)
    grads = jax.grad(lambda q: jnp.square(apply(q, IMAGES)).mean())(p)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
    assert abs(pquant.evaluate(small, (IMAGES, y)) - (np.asarray(small(IMAGES)).argmax(1) == y).mean()) < 0.02
    again = pquant.compress_model((apply, p), "pruning", target_sparsity=0.9)
    assert again.pquant.stored_bytes < small.pquant.stored_bytes


def test_what_cannot_be_taken_is_named_with_its_place():
    with pytest.raises(pquant.UnsupportedError, match="operator cumsum") as failed:
        convert((lambda p, x: jnp.cumsum(x, 1) @ p, np.ones((6, 2), "f")), (6,))
    assert failed.value.file == __file__
    with pytest.raises(pquant.UnsupportedError, match="over the events"):
        convert((lambda p, x: x - x.mean(0), None), (6,))
    with pytest.raises(pquant.UnsupportedError, match="gives 2 arrays") as failed:
        convert((lambda p, x: (x @ p, x), np.ones((6, 2), "f")), (6,))
    assert failed.value.hint == "wrap it in a function that returns one array"
    with pytest.raises(pquant.ConfigError, match="input_shape"):
        convert((function, parameters()))
