"""A Keras 3 model to a pquant model, through the file that Keras itself writes and the library reads."""
from __future__ import annotations

import os
import tempfile

from .._call import ConfigError, Error, UnsupportedError
from .._model import Model
from .place import refuse
from .structure import nodes_of


#: packages whose layers the library reads
_READ = ("keras", "qkeras", "hgq")
#: events whose numbers are compared
_EVENTS = 3


def _in_float32(network):
    import keras
    copy = keras.models.clone_model(network, clone_function=lambda layer: type(layer).from_config(
        {**layer.get_config(), "dtype": "float32"}))
    copy.set_weights([keras.ops.convert_to_numpy(keras.ops.cast(w, "float32")) for w in network.weights])
    return copy


def _check_layers(network) -> None:
    """The file holds names of classes: one of the caller's that is called as one of Keras's would be read as that."""
    for layer in network._flatten_layers(include_self=False):
        if type(layer).__module__.split(".")[0] not in _READ:
            raise UnsupportedError(f"the Keras model: layer '{layer.name}' is a {type(layer).__module__}."
                                   f"{type(layer).__qualname__}, which only its own code says how to compute", "unsupported",
                                   "replace the layer by one that `pquant layers` lists")
    if not isinstance(getattr(network, "inputs", None), list):
        raise UnsupportedError(f"the Keras model: {type(network).__module__}.{type(network).__qualname__} is a class of its own "
                               "that has no graph of layers to read", "unsupported",
                               "build it with keras.Sequential or as keras.Model(inputs, outputs)")


def to_model(network) -> Model:
    if not network.built:
        raise ConfigError("the Keras model is not built: it has no weights yet",
                          hint="call model.build((None, …)) or the model once, or begin it with keras.Input")
    _check_layers(network)
    if any(w.dtype == "bfloat16" for w in network.weights):  # which HDF5 has no type for
        network = _in_float32(network)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        try:
            network.save(path)
        except Exception as error:
            raise refuse("save", why=f"Keras cannot save the model: {str(error).splitlines()[0][:300]}") from error
        try:
            model = Model.load(path)
        except Error as error:
            message = error.message.split("model.keras: ", 1)[-1]
            hint = error.hint
            if len(network.outputs) > 1 and error.code == "config":  # the library's own hint is of files
                hint = "choose one: keras.Model(model.inputs, model.outputs[0])"
            elif error.code == "unsupported":
                hint = hint or "replace the layer by one that `pquant layers` lists"
            raise type(error)(f"the Keras model: {message}", error.code, hint) from None
    check_numbers(network, model)
    return model


def check_numbers(network, model: Model) -> None:
    """What was read must give what Keras gives; where layers round (own grids, half precision), but for their steps."""
    import keras
    import numpy as np

    from .keras_out import called_with
    takes = called_with(network)[0]
    given = keras.tree.flatten(takes)
    events = next((t.shape[0] for t in given if t.shape[0]), _EVENTS)
    draw = np.random.default_rng(0)
    arrays = [draw.normal(size=(events, *t.shape[1:])).astype(np.float32) for t in given]
    due = keras.tree.flatten(network(keras.tree.pack_sequence_as(takes, arrays), training=False))[0]
    due = np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(due, "float32")), np.float64)
    names = [n.name for n in nodes_of(model)[0] if n.kind == "input"]
    by_name = dict(zip([t.name for t in given], arrays))
    inputs = [by_name.get(n, a) for n, a in zip(names, arrays)]
    got = np.asarray(model.predict(inputs[0] if len(inputs) == 1 else tuple(inputs)), np.float64)
    rounds = any(type(layer).__module__.split(".")[0] != "keras" or layer.compute_dtype not in ("float32", "float64")
                 for layer in network._flatten_layers(include_self=False))
    there = np.isfinite(due)
    apart = np.abs(due[there] - got.reshape(due.shape)[there]).max(initial=0.0) if got.size == due.size else np.inf
    if not apart <= (0.2 if rounds else 0.001) * np.abs(due[there]).max(initial=0.0) + 1e-6:
        raise UnsupportedError(f"the Keras model gives numbers of shape {list(due.shape)} that are {apart:.3g} from those of "
                               f"shape {list(got.shape)} of what was read of it", "unsupported",
                               "let no layer, call or constant of your own change what the layers of Keras compute")
