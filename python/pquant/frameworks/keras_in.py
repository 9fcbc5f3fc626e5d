"""A Keras 3 model to a pquant model, through the file that Keras itself writes and the library reads."""
from __future__ import annotations

import os
import tempfile

from .._call import ConfigError, Error
from .._model import Model
from .place import refuse


def _in_float32(network):
    import keras
    copy = keras.models.clone_model(network, clone_function=lambda layer: type(layer).from_config(
        {**layer.get_config(), "dtype": "float32"}))
    copy.set_weights([keras.ops.convert_to_numpy(keras.ops.cast(w, "float32")) for w in network.weights])
    return copy


def to_model(network) -> Model:
    if not network.built:
        raise ConfigError("the Keras model is not built: it has no weights yet",
                          hint="call model.build((None, …)) or the model once, or begin it with keras.Input")
    if any(w.dtype == "bfloat16" for w in network.weights):  # which HDF5 has no type for
        network = _in_float32(network)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.keras")
        try:
            network.save(path)
        except Exception as error:
            raise refuse("save", why=f"Keras cannot save the model: {str(error).splitlines()[0][:300]}") from error
        try:
            return Model.load(path)
        except Error as error:
            message = error.message.split("model.keras: ", 1)[-1]
            raise type(error)(f"the Keras model: {message}", error.code, error.hint or
                              "replace the layer by one that `pquant layers` lists") from None
