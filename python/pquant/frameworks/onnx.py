"""A network as ONNX bytes, which pquant's own reader takes: the few fields of the format that are needed."""
from __future__ import annotations

import struct
from typing import Any

_TYPES = {"float32": 1, "float64": 11, "int64": 7, "int32": 6}


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _attribute(name: str, value) -> bytes:
    out = _bytes(1, name)
    if isinstance(value, float):
        out += _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
    elif isinstance(value, int):
        out += _number(3, value) + _number(20, 2)
    elif isinstance(value, str):
        out += _bytes(4, value) + _number(20, 3)
    else:
        out += b"".join(_number(8, int(v)) for v in value) + _number(20, 7)
    return _bytes(5, out)


def _tensor(name: str, array) -> bytes:
    return (b"".join(_number(1, d) for d in array.shape) + _number(2, _TYPES[array.dtype.name]) + _bytes(8, name) +
            _bytes(9, array.tobytes()))


def _port(name: str, shape) -> bytes:
    dims = _bytes(1, _bytes(2, "batch")) + b"".join(_bytes(1, _number(1, d)) for d in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, 1) + _bytes(2, dims)))


class Value:
    """A value that depends on the input; `shape` is of a batch."""

    def __init__(self, name: str, shape):
        self.name, self.shape = name, tuple(int(d) for d in shape)


class Graph:
    """Operators one after the other; names of layers are made unique."""

    def __init__(self, producer: str):
        self.producer = producer
        self.parts: list[bytes] = []
        self.inputs: list[bytes] = []
        self.taken: set[str] = set()
        self.steps: list[tuple] = []  # operator, the first value it reads, attributes, its output
        self.places: dict[str, tuple] = {}  # layer and stack trace of a node, by its name

    def _unique(self, name: str) -> str:
        name = name or "layer"
        unique, k = name, 1
        while unique in self.taken:
            k += 1
            unique = f"{name}_{k}"
        self.taken.add(unique)
        return unique

    def input(self, name: str, shape) -> Value:
        """shape: of one event."""
        name = self._unique(name)
        self.inputs.append(_bytes(11, _port(name, shape)))
        return Value(name, (1, *shape))

    def constant(self, array, name: str = "constant") -> str:
        import numpy as np
        array = np.ascontiguousarray(array)
        if array.dtype.name not in _TYPES:
            array = array.astype(np.int64 if array.dtype.kind in "iub" else np.float32)
        name = self._unique(name + ":constant")
        self.parts.append(_bytes(5, _tensor(name, array)))
        return name

    def add(self, op: str, inputs: list[Any], shape, name: str = "", place: tuple = ("", None), **attributes) -> Value:
        """A node; inputs are Values, arrays, or None for one that is left out; place: layer and stack trace."""
        name = self._unique(name or op.lower())
        self.places[name] = place
        names = ["" if i is None else i.name if isinstance(i, Value) else self.constant(i, name) for i in inputs]
        node = (b"".join(_bytes(1, i) for i in names) + _bytes(2, name) + _bytes(3, name) + _bytes(4, op) +
                b"".join(_attribute(k, v) for k, v in attributes.items()))
        self.parts.append(_bytes(1, node))
        self.steps.append((op, next((i.name for i in inputs if isinstance(i, Value)), ""), attributes, name))
        return Value(name, shape)

    def finish(self, output: Value) -> bytes:
        graph = b"".join(self.parts + self.inputs) + _bytes(2, "model") + _bytes(12, _port(output.name, output.shape[1:]))
        return (_number(1, 9) + _bytes(2, self.producer) + _bytes(7, graph) +
                _bytes(8, _bytes(1, "") + _number(2, 20)))
