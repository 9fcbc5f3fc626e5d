"""libpquant from Python: loading a model file and running it."""
import ctypes
import os

import numpy as np

_folder = os.path.dirname(os.path.dirname(os.environ["PQUANT"]))
_lib = ctypes.CDLL(os.path.join(_folder, "libpquant.so"))
_lib.pquant_error.restype = ctypes.c_char_p
_lib.pquant_model_load.restype = ctypes.c_void_p
_lib.pquant_model_load.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
_lib.pquant_model_free.argtypes = [ctypes.c_void_p]
_lib.pquant_model_inputs.restype = ctypes.c_size_t
_lib.pquant_model_inputs.argtypes = [ctypes.c_void_p]
_lib.pquant_model_shape.restype = ctypes.c_size_t
_lib.pquant_model_shape.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_size_t)]
_lib.pquant_predict.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t,
                                ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p]


class Refused(Exception):
    """What pquant says of a file that it does not read."""


class Model:
    """A model file; images go in and come out as [height, width, channels]."""

    def __init__(self, path, arch=None):
        self._model = _lib.pquant_model_load(os.fsencode(path), arch and os.fsencode(arch))
        if not self._model:
            raise Refused(_lib.pquant_error().decode())
        self.inputs = [self._shape(i) for i in range(_lib.pquant_model_inputs(self._model))]
        self.output = self._shape(ctypes.c_size_t(-1).value)

    def _shape(self, i):
        dims = (ctypes.c_size_t * 8)()
        return tuple(dims[:_lib.pquant_model_shape(self._model, i, dims)])

    def __call__(self, *arrays, engine="float32"):
        arrays = [np.ascontiguousarray(a, np.float32) for a in arrays]
        assert [a.shape[1:] for a in arrays] == self.inputs, ([a.shape for a in arrays], self.inputs)
        out = np.zeros((len(arrays[0]), *self.output), np.float32)
        pointers = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
        if _lib.pquant_predict(self._model, engine.encode(), len(out), pointers, out.ctypes.data):
            raise Refused(_lib.pquant_error().decode())
        return out

    def __del__(self):
        _lib.pquant_model_free(getattr(self, "_model", None))
