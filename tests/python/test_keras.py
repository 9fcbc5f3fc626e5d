"""Keras models in and out, on each backend that is installed, in a process of its own."""
import importlib.util
import os
import subprocess
import sys

import pytest

CODE = '''
import sys
import numpy as np, keras, pquant
from keras import layers
from pquant.frameworks import convert
x = np.random.default_rng(0).normal(size=(200, 16, 16, 3)).astype("f")
image = keras.Input((16, 16, 3))
h = layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", activation="relu")(image))
h = layers.DepthwiseConv2D(3, strides=2, padding="same")(layers.MaxPooling2D()(h))
h = layers.LayerNormalization()(layers.Dense(32, activation="gelu")(layers.Flatten()(h)))
h = layers.Dense(16, activation="softplus")(h)
net = keras.Model(image, layers.Dense(10, activation="softmax")(h))
numpy = lambda v: np.asarray(keras.ops.convert_to_numpy(v))
due = numpy(net(x)); y = due.argmax(1)
source = convert(net)
np.testing.assert_allclose(source.model.predict(x), due, atol=1e-5)
np.testing.assert_allclose(numpy(source.back(source.model)(x)), due, atol=1e-5)
for method, more in [("low_rank", {"rank": 8}), ("tucker", {"rank": 4}), ("cp", {"rank": 4}), ("tensor_train", {"rank": 4}),
                     ("pruning", {"target_sparsity": 0.5}), ("structured_pruning", {"target_sparsity": 0.5}),
                     ("quantization", {"bits": 8})]:
    small = pquant.compress_model(net, method, data=(x, y), **more)
    out, model = numpy(small(x)), convert(small).model
    close = np.isclose(out, model.predict(x, engine="reference"), atol=1e-5)
    assert close.mean() > (0.9 if method == "quantization" else 0.9999), (method, close.mean())
    assert np.abs(out - model.predict(x)).max() < (0.01 if method == "quantization" else 1e-5), method
    small.save("small.keras")
    again = keras.saving.load_model("small.keras")
    np.testing.assert_allclose(numpy(again(x)), out, atol=1e-6)
    np.testing.assert_allclose(convert(again).model.predict(x), model.predict(x), atol=1e-5)
    assert abs(pquant.evaluate(small, (x, y)) - (out.argmax(1) == y).mean()) < 0.02
small.compile("sgd", "sparse_categorical_crossentropy")
small.fit(x[:64], y[:64], epochs=1, verbose=0)
convert(small).model.predict(x)
members = keras.Input((6, 8))
h = layers.GlobalAveragePooling1D()(layers.Dense(5, activation="relu")(members))
sets, x = keras.Model(members, layers.Dense(3)(h)), np.random.default_rng(1).normal(size=(50, 6, 8)).astype("f")
np.testing.assert_allclose(numpy(pquant.compress_model(sets, "prune", target_sparsity=0.0)(x)), numpy(sets(x)), atol=1e-5)
for wrong, text in [(keras.Sequential([keras.Input((8, 4)), layers.LSTM(4)]), "LSTM"), (keras.Sequential([layers.Dense(3)]), "not built")]:
    try:
        convert(wrong)
    except pquant.Error as error:
        assert text in str(error) and "hint" in str(error), error
    else:
        raise AssertionError(text)
class ReLU(layers.ReLU):
    def call(self, x):
        return 2 * super().call(x)
class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(3)
    def call(self, x):
        return self.inner(x)
class Doubled(keras.Model):
    def call(self, x, training=None, mask=None):
        return 2 * super().call(x, training=training)
own, x = Own(), np.random.default_rng(2).normal(size=(20, 6)).astype("f")
own(x)
first = keras.Input((6,))
for wrong, text in [(keras.Sequential([keras.Input((6,)), layers.Dense(4), ReLU(name="mine")]), "layer 'mine' is a __main__.ReLU"),
                    (own, "__main__.Own is a class of its own"), (Doubled(first, layers.Dense(3)(first)), "Doubled")]:
    try:
        convert(wrong)
    except pquant.UnsupportedError as error:
        assert text in str(error), error
    else:
        raise AssertionError(text)
from pquant.frameworks import keras_in
for factor in (1.0, 1.01):
    net = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.Rescaling(factor)])
    read = convert(net).model
    net.layers[-1].scale = 1.0
    try:
        keras_in.check_numbers(net, read)
    except pquant.UnsupportedError as error:
        assert factor != 1.0 and "numbers" in str(error), error
    else:
        assert factor == 1.0
second = keras.Input((6,), name="b")
first = keras.Input((6,), name="c")
net = keras.Model({"c": first, "b": second}, {"y": layers.Dense(3)(layers.Subtract()([layers.Dense(4)(first), layers.Dense(4)(second)]))})
x = {"b": x, "c": x[::-1].copy()}
small = pquant.compress_model(net, "svd", rank=4)
np.testing.assert_allclose(numpy(small(x)["y"]), numpy(net(x)["y"]), atol=1e-5)
small.save("small.keras")
np.testing.assert_allclose(numpy(keras.saving.load_model("small.keras")(x)["y"]), numpy(net(x)["y"]), atol=1e-5)
members = keras.Input((6, 8))
net = keras.Model(members, layers.Dense(2)(layers.GlobalAveragePooling1D(keepdims=True)(layers.Dense(5)(members))))
x = np.random.default_rng(3).normal(size=(20, 6, 8)).astype("f")
small = pquant.compress_model(net, "svd", rank=8)
np.testing.assert_allclose(numpy(small(x)), numpy(net(x)), atol=1e-5)
np.testing.assert_allclose(numpy(pquant.compress_model(small, "svd", rank=8)(x)), numpy(net(x)), atol=1e-5)
def refused(net):
    try:
        pquant.compress_model(net, "svd", rank=2)
    except pquant.Error as error:
        return error
    raise AssertionError("was not refused")
error = refused(keras.Model(members, [layers.Dense(2)(members), layers.Dense(3)(members)]))
assert "2 outputs" in error.message and error.hint == "choose one: keras.Model(model.inputs, model.outputs[0])", repr(error)
net.layers[1].set_weights([np.full((8, 5), np.inf, "f"), np.zeros(5, "f")])
error = refused(net)
assert error.code == "numeric" and "holds inf" in error.message and not error.hint, error.hint
print("fine")
'''


@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_backend(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=False, cwd=tmp_path,
                          env=environment)
    assert done.returncode == 0 and done.stdout.strip().endswith("fine"), done.stderr[-3000:]
