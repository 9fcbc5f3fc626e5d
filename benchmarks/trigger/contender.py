"""A contender of the comparison `trigger` that C calls: see ../contest.py.

One JSON argument: `kind` of what runs, the library with the loop that times it, the events, the batch, and what
the kind needs. Outputs of all events are written once, so that compare.py can hold them against the reference.
"""

import ctypes
import json
import os
import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import contest

a = json.loads(sys.argv[1])
if a["threads"] == 1:
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
LIBRARY = ctypes.CDLL(a["library"])
SIZES = (16, 64, 32, 32, 5)
LAYERS = len(SIZES) - 1
BATCH = ctypes.c_size_t(a["batch"])
kept = []  # what C borrows


class Net(ctypes.Structure):
    _fields_ = [("size", ctypes.c_int * (LAYERS + 1)), ("weight", ctypes.c_void_p * LAYERS), ("bias", ctypes.c_void_p * LAYERS),
                ("scale", ctypes.c_float * (LAYERS + 1))]


class Source(ctypes.Structure):
    _fields_ = [("one", ctypes.c_void_p), ("many", ctypes.c_void_p), ("inputs", ctypes.c_size_t), ("outputs", ctypes.c_size_t)]


def network():
    arrays = np.load(a["weights"])
    made = Net(size=SIZES, scale=tuple(arrays["scale"]))
    for i in range(LAYERS):
        w, b = (np.ascontiguousarray(arrays[f"{what}{i}"], np.float32) for what in ("weight", "bias"))
        made.weight[i], made.bias[i] = w.ctypes.data, b.ctypes.data
        kept.extend([w, b])
    return made


def source():
    """Functions of a library that codegen or hls4ml wrote."""
    library = ctypes.CDLL(a["source"])
    address = lambda name: ctypes.cast(getattr(library, name), ctypes.c_void_p).value
    made = Source(address(a["one"]), address(a["many"]) if "many" in a else None, SIZES[0], SIZES[-1])
    kept.extend([library, made])
    return ctypes.addressof(made)


def opened(name, *arguments):
    open_it = getattr(LIBRARY, name)
    open_it.restype = ctypes.c_void_p
    return open_it(*arguments)


HANDLES = {
    "source": lambda: source(),
    "bench": lambda: opened("bench_open", a["model"].encode(), a["engine"].encode(), BATCH, ctypes.c_size_t(a["threads"])),
    "blas": lambda: opened("blas_open", ctypes.byref(network()), BATCH),
    "dnnl": lambda: opened("dnnl_open", ctypes.byref(network()), BATCH, a["int8"]),
    "xnn": lambda: opened("xnn_open", ctypes.byref(network()), BATCH, a["int8"]),
    "ort": lambda: opened("ort_open", a["runtime"].encode(), a["model"].encode(), BATCH, a["threads"]),
    "vino": lambda: opened("vino_open", a["runtime"].encode(), a["model"].encode(), str(a["threads"]).encode()),
}
handle = ctypes.c_void_p(HANDLES[a["kind"]]())
if not handle:
    sys.exit(f"{a['kind']} does not open")
run = ctypes.cast(getattr(LIBRARY, f"{a['kind']}_run"), ctypes.c_void_p)
LIBRARY.trigger_seconds.restype = ctypes.c_double
events = np.load(a["events"])
x, y = np.zeros((a["batch"], SIZES[0]), np.float32), np.zeros((a["batch"], SIZES[-1]), np.float32)
arguments = run, handle, ctypes.c_void_p(x.ctypes.data), BATCH, ctypes.c_void_p(y.ctypes.data)
outputs = np.zeros((len(events), SIZES[-1]), np.float32)
for begin in range(0, len(events), a["batch"]):
    x[:] = events[begin : begin + a["batch"]]
    LIBRARY.trigger_run(*arguments)
    outputs[begin : begin + a["batch"]] = y
np.save(a["save"], outputs)
for _ in range(3):  # calls in a millisecond, so that Python's own time is lost in them
    runs = max(1, round(1e-3 / LIBRARY.trigger_seconds(*arguments, ctypes.c_size_t(20))))
contest.serve("C", lambda: LIBRARY.trigger_seconds(*arguments, ctypes.c_size_t(runs)), runs=runs)
