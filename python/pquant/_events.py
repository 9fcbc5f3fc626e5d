"""Events: of files, of arrays, of loaders."""
from __future__ import annotations

import os
from typing import Any

from ._call import ConfigError, ShapeError, check, ffi, given, lib, path_bytes, text
from ._model import Model, as_numpy, class_names, describe_array


class Data:
    """Events with labels, opened or borrowed; `len(data)` events of `data.shape`."""

    def __init__(self, c, keep=(), labelled: bool = True):
        self.c = ffi.gc(given(c), lib.pquant_data_close)
        self._keep, self.labelled = keep, labelled

    @classmethod
    def open(cls, spec) -> Data:
        """"FILE[:SPLIT]" in any layout that `pquant data info` reads; read in pieces, when they are needed."""
        return cls(lib.pquant_data_open(path_bytes(spec)))

    @classmethod
    def of_arrays(cls, splits, classes=None) -> Data:
        """splits: [(name, x [n, …], y [n] or None, weight [n] or None), …]; arrays are borrowed, not copied."""
        c, keep = ffi.new("pquant_events[]", len(splits)), []
        for i, (name, x, y, weight) in enumerate(splits):
            x, y, weight = (as_numpy(a) if a is not None else None for a in (x, y, weight))
            keep += [ffi.new("char[]", name.encode()), x, y, weight]
            c[i].name = keep[-4]
            describe_array(x, c[i].x)
            for array, field in ((y, c[i].y), (weight, c[i].weight)):
                if array is not None:
                    describe_array(array, field)
        names = ",".join(class_names(classes)).encode() if classes is not None else ffi.NULL
        return cls(lib.pquant_data_create(len(splits), c, names), keep, all(s[2] is not None for s in splits))

    def __len__(self) -> int:
        return lib.pquant_data_events(self.c)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one event; images are (height, width, channels)."""
        dims = ffi.new("size_t[8]")
        return tuple(dims[i] for i in range(lib.pquant_data_shape(self.c, dims)))

    @property
    def classes(self) -> list[str]:
        return [text(lib.pquant_data_class(self.c, i)) for i in range(lib.pquant_data_classes(self.c))]

    def read(self, first: int = 0, n: int | None = None):
        """x float32 [n, …] as the file has it, and labels y int32 [n]."""
        import numpy as np
        n = len(self) - first if n is None else n
        x, y = np.empty((n, *self.shape), np.float32), np.empty(n, np.int32)
        check(lib.pquant_data_read(self.c, first, n, ffi.cast("float *", x.ctypes.data),
                                   ffi.cast("int32_t *", y.ctypes.data)))
        return x, y


def _labels(y):
    import numpy as np
    y = as_numpy(y)
    if y.ndim == 2 and y.shape[1] > 1:
        bad = np.flatnonzero(((y != 0) & (y != 1)).any(1) | ((y == 1).sum(1) != 1))
        if len(bad):
            raise ShapeError(f"the label of event {bad[0]} is {str(y[bad[0]])[:60]}, not one 1 among zeros", "range",
                             "give the index of each event's class")
        y = y.argmax(1)
    y = y.reshape(-1) if y.ndim == 2 else y
    if y.ndim != 1:
        raise ShapeError(f"labels are {list(y.shape)}, not one number an event, or one 1 among zeros", "shape")
    if y.dtype.kind not in "biuf":
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError):
            raise ShapeError(f"label {y[0]!r} is no number; give the index of each event's class", "range") from None
    known = np.abs(y) < 2**53 if y.dtype.kind == "f" else np.ones(len(y), bool)
    if y.dtype.kind == "f" and not np.all(known & (y == np.floor(y))):
        raise ShapeError(f"label {y[~(known & (y == np.floor(y)))][0]} is no class", "range")
    return y.astype(np.uint8) if y.dtype.kind == "b" else y if y.dtype.name in ("int64", "int32", "uint8") else \
        y.astype(np.int64)


def _values(x, order):
    import numpy as np
    x = as_numpy(x)
    if x.dtype.name not in ("float32", "float64") and x.dtype.kind in "fb":
        x = x.astype(np.float32)
    x = x.reshape(-1, 1) if x.ndim == 1 else x
    return x.transpose(0, *order) if order is not None and x.ndim == len(order) + 1 else x


_GIVE = "give a loader, arrays (x, y), or \"file.h5:split\""


def batches(events):
    """(x, y or None, weights or None) of a loader, as NumPy arrays."""
    for batch in events:
        if isinstance(batch, dict):
            raise ConfigError(f"batches are dicts of {', '.join(map(str, batch))}; give (x, y)")
        if not isinstance(batch, (tuple, list)):
            if not getattr(batch, "ndim", 0):
                raise ConfigError(f"a batch is {str(batch)[:60]!r}: no array of events", hint=_GIVE)
            yield as_numpy(batch), None, None
        else:
            if not len(batch) or not hasattr(batch[0], "shape"):
                raise ConfigError("a batch is a list whose first item is no array of events", hint=_GIVE)
            if len(batch) > 3:
                raise ConfigError(f"a batch has {len(batch)} items; give (x, y), or (x, y, weights)")
            y, weight = (*batch[1:], None, None)[:2]
            yield as_numpy(batch[0]), None if y is None else _labels(y), None if weight is None else _weights(weight)


def _weights(weight):
    import numpy as np
    weight = as_numpy(weight)
    if weight.dtype.kind not in "biuf" or weight.ndim < 1 or weight.size != len(weight):
        raise ShapeError(f"weights are {list(weight.shape)} of {weight.dtype}, not one number an event", "shape")
    return weight.reshape(-1).astype(np.float32)


def _together(parts, what: str):
    """Of all batches, or None where none has it."""
    import numpy as np
    if all(p is None for p in parts):
        return None
    if any(p is None for p in parts):
        raise ConfigError(f"some batches have {what}, and others none")
    return np.concatenate(parts)


def _is_pair(events) -> bool:
    return isinstance(events, (tuple, list)) and len(events) in (2, 3) and all(
        hasattr(e, "shape") and (hasattr(e, "dtype") or hasattr(e, "dtypes")) for e in events[:2])


def arrays_of(events):
    """x, y (or None), weight (or None) in memory."""
    import numpy as np
    if _is_pair(events):
        return as_numpy(events[0]), _labels(events[1]), _weights(events[2]) if len(events) > 2 and events[2] is not None else None
    if hasattr(events, "shape") and hasattr(events, "dtype"):
        return as_numpy(events), None, None
    if isinstance(events, dict) or not hasattr(events, "__iter__"):
        raise ConfigError(f"a {type(events).__name__} is no events: give a loader, (x, y), or \"file.h5:split\"")
    xs, ys, weights = [], [], []
    for x, y, weight in batches(events):
        xs.append(x)
        ys.append(y)
        weights.append(weight)
    if not xs:
        raise ConfigError("the loader gave no batch", hint="an iterator that was used up is empty: give the loader itself")
    if len({x.shape[1:] for x in xs}) > 1:
        raise ShapeError(f"events of a batch are {list(next(x.shape[1:] for x in xs if x.shape[1:] != xs[0].shape[1:]))}, of "
                         f"the first {list(xs[0].shape[1:])}", "shape")
    return np.concatenate(xs), _together(ys, "labels"), _together(weights, "weights")


def _is_file(events) -> bool:
    return isinstance(events, (Data, str, os.PathLike))


def named(model: Model, classes, events) -> Model:
    """The model with names of its outputs, where it has none: `classes`. Files say which class their labels are; of arrays
    `classes` are what the labels 0, 1, … stand for, in an order of their own where the model has names."""
    names, own = None if classes is None else class_names(classes), model.classes
    if names is None or own == names:
        return model
    if own is None or own == [str(i) for i in range(len(own))]:
        model = model.with_weights({})
        model.set_classes(names)
    elif _is_file(events):
        raise ConfigError(f"the model names its outputs {', '.join(own)}: classes = {', '.join(names)} says otherwise",
                          hint="leave classes away")
    return model


def _class_names(model: Model | None, classes):
    if classes is not None:
        return class_names(classes)
    if model is None:
        return None
    if model.classes:
        return model.classes
    shape = model.output_shape
    width = shape[-1] if shape else 1
    return [str(i) for i in range(max(width, 2))]


def data_of(events, model: Model | None = None, order=None, name: str = "train", classes=None) -> Data:
    """Data of anything that holds events; what is no file is borrowed, or gathered from its batches. classes: what the
    labels of arrays stand for; files say it themselves."""
    if isinstance(events, Data):
        return events
    if isinstance(events, (str, os.PathLike)):
        return Data.open(events)
    if events is None:
        raise ConfigError("no events were given", hint=_GIVE)
    x, y, weight = arrays_of(events)
    return Data.of_arrays([(name, _values(x, order), y, weight)], _class_names(model, classes))



def again(events):
    """What can be read more than once: of an iterator its batches, which are kept."""
    return list(events) if hasattr(events, "__next__") else events


def shape_of(events) -> tuple[int, ...] | None:
    """Shape of one event, by looking at the first."""
    if events is None:
        return None
    if isinstance(events, (str, os.PathLike)):
        return Data.open(events).shape
    if isinstance(events, Data):
        return events.shape
    if _is_pair(events):
        return tuple(events[0].shape[1:])
    if hasattr(events, "shape") and hasattr(events, "dtype"):
        return tuple(events.shape[1:])
    if hasattr(events, "element_spec"):
        spec = events.element_spec
        return tuple((spec[0] if isinstance(spec, tuple) else spec).shape[1:])
    if isinstance(events, dict) or not hasattr(events, "__iter__"):
        raise ConfigError(f"a {type(events).__name__} is no events", hint=_GIVE)
    first: Any = next(iter(events), None)
    if first is None:
        return None
    return next(batches([first]))[0].shape[1:]
