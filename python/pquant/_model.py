"""Models of pquant's own, and plans that run them."""
from __future__ import annotations

import json
import os
import threading
from typing import Any

from ._call import ConfigError, Error, Options, ShapeError, check, ffi, given, last_error, lib, path_bytes, text

_DTYPES = {"float32": 0, "float64": 1, "int8": 2, "uint8": 3, "int16": 4, "uint16": 5, "int32": 6, "uint32": 7,
           "int64": 8}
_CHUNK = 1 << 18
#: what a processor does in a fraction of a second, which is how long Ctrl-C waits: in floats or bytes, and in the
#: arithmetic of engines that define what is right
_MACS, _MACS_EXACT = 1 << 31, 1 << 27


def as_numpy(array) -> Any:
    """A NumPy view of any array: of torch and JAX without a copy where they are on the CPU.

    Copied are half floats, to float32, and what the library would misread: another order of bytes, and one item that is
    repeated along every axis, whose strides of 0 say "row-major" there.
    """
    import numpy as np
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        array = (array.float() if str(array.dtype) == "torch.bfloat16" else array).numpy()
    array = np.asarray(array)
    if array.dtype.name in ("float16", "bfloat16"):
        return array.astype(np.float32)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return array.copy(order="C") if array.size > 1 and not any(array.strides) else array


def describe_array(array, c) -> None:
    """Fills a pquant_array from a NumPy array, which must stay."""
    if array.dtype.name not in _DTYPES:
        raise ShapeError(f"arrays of {array.dtype} are not read; use float32", "unsupported")
    if not 1 <= array.ndim <= 9:
        raise ShapeError(f"an array has {array.ndim} axes, not 1..9", "shape")
    c.data = ffi.cast("void *", array.__array_interface__["data"][0])
    c.dtype, c.ndim = _DTYPES[array.dtype.name], array.ndim
    for axis in range(array.ndim):
        c.shape[axis] = array.shape[axis]
        c.strides[axis] = array.strides[axis]


def class_names(names) -> list[str]:
    """Names of classes as texts, which commas part in the library."""
    try:
        listed = [str(n) for n in names]
    except TypeError:
        raise ConfigError(f"classes = {names!r} is no list of names") from None
    for name in listed:
        if "," in name or not name:
            raise ConfigError(f"{name!r} is no name of a class: it is empty, or holds a comma")
    return listed


class Model:
    """A network in pquant's own form: load, compress, predict, save. Immutable, but for names of classes."""

    def __init__(self, c):
        self.c = ffi.gc(given(c), lib.pquant_model_free)
        self._plans: dict[tuple, Any] = {}
        self._lock = threading.Lock()
        self._structure: dict | None = None

    @classmethod
    def load(cls, path, arch=None, output=None) -> Model:
        """Reads a model file of any format that `pquant formats` lists; as `pquant.load`."""
        return cls(lib.pquant_model_load_output(path_bytes(path), path_bytes(arch) if arch is not None else ffi.NULL,
                                                str(output).encode() if output is not None else ffi.NULL))

    def save(self, path) -> None:
        """Writes our own format, atomically."""
        check(lib.pquant_model_save(self.c, path_bytes(path)))

    @classmethod
    def build(cls, layers) -> Model:
        """A network from NumPy arrays.

        layers: a list of dicts `{"kind": "dense", "name": "fc1", "inputs": [...], "attributes": {...},
        "weights": {"kernel": [outputs, inputs], "bias": [outputs]}}`; the first is
        `{"kind": "input", "name": "x", "shape": (784,)}`. Without `inputs` a layer reads the one before.
        """
        import numpy as np
        builder = ffi.gc(given(lib.pquant_builder_create()), lib.pquant_builder_free)
        for layer in layers:
            known = {"kind", "name", "inputs", "attributes", "weights", "shape"}
            if set(layer) - known:
                from ._methods import unknown_key
                raise unknown_key(sorted(set(layer) - known)[0], known, "a layer")
            for key in ("kind", "name", *(["shape"] if layer.get("kind") == "input" else [])):
                if key not in layer:
                    raise ConfigError(f"layer {layer.get('name', '')!r} has no '{key}'")
            name = layer["name"].encode()
            if layer["kind"] == "input":
                check(lib.pquant_builder_input(builder, name, len(layer["shape"]), list(layer["shape"])))
                continue
            names = [ffi.new("char[]", i.encode()) for i in layer.get("inputs", [])]
            attributes = ",".join(f"{k}={_attribute(v)}" for k, v in layer.get("attributes", {}).items())
            check(lib.pquant_builder_layer(builder, layer["kind"].encode(), name, len(names), names or ffi.NULL,
                                           attributes.encode() or ffi.NULL))
            for weight, value in layer.get("weights", {}).items():
                value = np.asarray(as_numpy(value))
                c = ffi.new("pquant_array *")
                describe_array(value, c)
                check(lib.pquant_builder_weight(builder, weight.encode(), c))
        return cls(lib.pquant_builder_finish(builder))

    @property
    def structure(self) -> dict:
        """Layers, inputs, attributes, shapes and quantizers, as in our file (docs/file-formats.md)."""
        if self._structure is None:
            pointer = given(lib.pquant_model_describe(self.c))
            self._structure = json.loads(text(pointer))
            lib.pquant_text_free(pointer)
        return self._structure

    def weight(self, layer: str, name: str):
        """A copy of a weight, float32; kernels are [outputs, inputs] or [outputs, height, width, inputs / groups]."""
        import numpy as np
        c = ffi.new("pquant_array *")
        check(lib.pquant_model_weight(self.c, layer.encode(), name.encode(), c))
        shape = tuple(c.shape[i] for i in range(c.ndim))
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(ffi.buffer(c.data, 4 * count), dtype=np.float32).reshape(shape).copy()

    def weights(self) -> dict[tuple[str, str], Any]:
        """All weights, by layer and name."""
        return {(n["name"], w["name"]): self.weight(n["name"], w["name"])
                for n in self.structure["nodes"] for w in n["weights"]}

    def with_weights(self, values: dict) -> Model:
        """The same model with other values, put on their grids; pruned weights stay 0."""
        import numpy as np
        c, keep = ffi.new("pquant_named_array[]", max(len(values), 1)), []
        for i, ((layer, name), value) in enumerate(values.items()):
            value = np.ascontiguousarray(as_numpy(value), dtype=np.float32)
            keep += [value, ffi.new("char[]", layer.encode()), ffi.new("char[]", name.encode())]
            c[i].layer, c[i].name = keep[-2], keep[-1]
            describe_array(value, c[i].value)
        return Model(lib.pquant_model_with_weights(self.c, len(values), c))

    @property
    def stored_bytes(self) -> int:
        """Bytes of all weights at their bit width, with scales and indices."""
        return lib.pquant_model_stored_bytes(self.c)

    @property
    def parameters(self) -> int:
        """Values in all weights, BatchNorm statistics included."""
        return lib.pquant_model_parameters(self.c)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one event."""
        return lib.pquant_model_macs(self.c)

    def _shape(self, which: int) -> tuple[int, ...]:
        dims = ffi.new("size_t[8]")
        return tuple(dims[i] for i in range(lib.pquant_model_shape(self.c, which, dims)))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one event; images are (height, width, channels)."""
        return self._shape(0)

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self._shape(ffi.cast("size_t", -1))

    @property
    def classes(self) -> list[str] | None:
        """Names of the outputs, where they are known."""
        return self.structure.get("class_names")

    def set_classes(self, names) -> None:
        names = class_names(names.split(",") if isinstance(names, str) else names)
        width = self.output_shape[-1] if self.output_shape else 1
        if len(names) != max(width, 2):
            raise ConfigError(f"there are {len(names)} names of classes, but the model's {width} outputs need {max(width, 2)}")
        check(lib.pquant_model_set_classes(self.c, ",".join(names).encode()))
        self._structure = None

    def _head(self, head: str) -> None:
        check(lib.pquant_model_set_head(self.c, head.encode()))
        self._structure = None

    def _plan(self, engine, threads):
        key = (engine, threads)
        if key not in self._plans:
            options = Options(engine=engine, threads=threads)
            self._plans[key] = (ffi.gc(given(lib.pquant_plan_create(self.c, options.c)), lib.pquant_plan_free),
                                threading.Lock())
        return self._plans[key]

    def predict(self, x, engine: str | None = None, threads: int = 0):
        """Outputs of events as they are; a scaler of the model is not applied.

        x: [n, *input_shape] (or a list of such, one an input): float32 in C order is read where it lies, anything else
        through a small copy. Returns float32 [n, *output_shape]. engine: "float32" (None), "int8", "integer",
        "reference", "bf16"; threads: 0 is all cores, and changes no value.
        """
        import numpy as np
        arrays = [as_numpy(a) for a in (x if isinstance(x, (list, tuple)) else [x])]
        if len(arrays) != lib.pquant_model_inputs(self.c):
            raise ShapeError(f"a list of {len(arrays)} is a list of inputs, and the model has "
                             f"{lib.pquant_model_inputs(self.c)}", "shape", "numpy.asarray(x) makes an array of a list of events")
        for i, array in enumerate(arrays):
            due = self._shape(i)
            if array.ndim < 1 or array.ndim == len(due) > 1 or array.shape == due:
                raise ShapeError(f"events are {list(array.shape)}, not [n, {', '.join(map(str, due))}]", "shape",
                                 "one event is x[None]" if array.shape == due else "")
        with self._lock:
            plan, lock = self._plan(engine, threads)
        n = arrays[0].shape[0]
        out = np.empty((n, *self.output_shape), dtype=np.float32)
        most = (_MACS_EXACT if engine in ("reference", "integer") else _MACS) // max(self.macs, 1)
        chunk = min(_CHUNK, max(most // 64, 1) * 64 * (threads or os.cpu_count() or 1))
        for start in range(0, max(n, 1), chunk):
            self._run(plan, lock, [a[start:start + chunk] for a in arrays], out[start:start + chunk])
        return out

    @staticmethod
    def _run(plan, lock, arrays, out) -> None:
        inputs, output = ffi.new("pquant_array[]", len(arrays)), ffi.new("pquant_array *")
        for i, array in enumerate(arrays):
            describe_array(array, inputs[i])
        describe_array(out, output)
        with lock:
            if lib.pquant_plan_predict(plan, inputs, output):
                raise last_error()

    __call__ = predict

    def __getstate__(self):
        return {"bytes": self.to_bytes()}

    def __setstate__(self, state):
        self.__dict__.update(Model.from_bytes(state["bytes"]).__dict__)

    def to_bytes(self) -> bytes:
        """Our file as bytes."""
        import tempfile
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "model.h5")
            self.save(path)
            with open(path, "rb") as file:
                return file.read()

    @classmethod
    def from_bytes(cls, content: bytes) -> Model:
        """Reads a file's bytes, of any format."""
        try:
            return cls._of_bytes(content)
        except Error as error:  # the file is none of the caller's
            raise type(error)(error.message.removeprefix(f"{error.file}: "), error.code, error.hint) from None

    @classmethod
    def _of_bytes(cls, content: bytes) -> Model:
        if not isinstance(content, (bytes, bytearray, memoryview)):
            raise ConfigError(f"a {type(content).__name__} is no bytes of a file")
        if bytes(content[:4]) == b"\x89HDF":  # the HDF5 library wants a path that stays
            import tempfile
            with tempfile.NamedTemporaryFile(suffix=".h5") as file:
                file.write(content)
                file.flush()
                return cls.load(file.name)
        descriptor = os.memfd_create("pquant")
        try:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(content)
            return cls.load(f"/proc/self/fd/{descriptor}")
        finally:
            os.close(descriptor)

    def __repr__(self) -> str:
        return (f"<pquant.Model {list(self.input_shape)} -> {list(self.output_shape)}, {self.parameters:,} parameters, "
                f"{self.stored_bytes:,} stored bytes, {self.macs:,} MACs>")

    def _repr_html_(self) -> str:
        import html
        rows = [(n["name"], n["kind"], " x ".join(map(str, n["shape"])),
                 ", ".join(f"{w['name']} {' x '.join(map(str, w['shape']))}" for w in n["weights"]))
                for n in self.structure["nodes"]]
        body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
        return (f"<p>{html.escape(repr(self).strip('<>'))}</p><table><tr><th>layer</th><th>kind</th><th>output</th>"
                f"<th>weights</th></tr>{body}</table>")


def _attribute(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_attribute(v) for v in value) + "]"
    return str(value)


__all__ = ["Error", "Model"]
