#!/usr/bin/env python3
"""Writes small hostile files: make.py FOLDER, and prints "KIND PATH|TEXT" for each.

TEXT stands in the message with which the file is refused; "" where it may be read.
"""
import json
import os
import pathlib
import pickle
import struct
import sys
import zipfile
import zlib

import h5py
import numpy as np

import graphs
import quantized

OUT = pathlib.Path(sys.argv[1])
FLOAT = {"dtype": "f4"}


def say(kind, path, text=""):
    print(f"{kind} {path}|{text}")


def model(name, graph, fill, text, **late):
    """A model file of our own: graph as JSON, then what fill(file) adds."""
    path = OUT / f"{name}.h5"
    with h5py.File(path, "w", libver="latest") as f:
        f.attrs["format"], f.attrs["version"] = "pquant-model", np.int32(1)
        f.create_dataset("graph", data=json.dumps(graph), dtype=h5py.string_dtype())
        fill(f)
    say("model", path, text)


def node(name, kind, inputs, weights=(), **attributes):
    return {"name": name, "kind": kind, "inputs": inputs, "attributes": attributes,
            "weights": [{"name": n, "shape": s} for n, s in weights]}


def dense(shape):
    return {"nodes": [node("in", "input", [], shape=[4]), node("fc", "dense", ["in"], [("kernel", shape)])],
            "output": "fc"}


def packed(f, bytes_, **attributes):
    d = f.create_dataset("weights/fc/kernel", data=np.zeros(bytes_, "u1"))
    for k, v in attributes.items():
        d.attrs[k] = v


def models():
    model("relu_with_weights",
          {"nodes": [node("in", "input", [], shape=[4]), node("r", "relu", ["in"], [("kernel", [4])])], "output": "r"},
          lambda f: f.create_dataset("weights/r/kernel", data=np.zeros(4, "f4")),
          "a layer of kind 'relu' has no weights, but 'kernel' is given")
    huge = [1 << 15, 1 << 15]
    integer = dict(scheme="integer", bits=np.int8(8), signed=np.int8(1), shape=np.array(huge, "i8"))
    model("grouped_scales_of_a_shape_that_is_not_stored", dense(huge),
          lambda f: packed(f, 16, axis=np.int8(-3), group=np.int64(1), scale=np.ones(1, "f4"), **integer),
          "")
    model("widths_of_each_item_of_a_shape_that_is_not_stored", dense(huge),
          lambda f: packed(f, 16, scheme="fixed", signed=np.int8(1), axis=np.int8(-2), shape=np.array(huge, "i8"),
                           widths=np.zeros(4, "u1")), "")
    for items in (1 << 24, 1 << 30):
        model(f"zero_bits_of_{items}", dense([items // 4, 4]),
              lambda f: packed(f, 1, scheme="fixed", signed=np.int8(1), integer_bits=np.int8(0),
                               fraction_bits=np.int8(0), shape=np.array([items // 4, 4], "i8")), "")
    model("unallocated_kernel", dense(huge),
          lambda f: f.create_dataset("weights/fc/kernel", shape=huge, chunks=(1024, 1024), **FLOAT), "")
    model("padding_to_2_to_the_32",
          {"nodes": [node("in", "input", [], shape=[2, 2, 1]),
                     node("p", "pad", ["in"], top=60000, bottom=5535, left=60000, right=5535)], "output": "p"},
          lambda f: None, "")
    model("many_classes", {**dense([4, 4]), "class_names": [str(i) for i in range(20000)]},
          lambda f: f.create_dataset("weights/fc/kernel", data=np.zeros((4, 4), "f4")), "")
    model("no_classes", {**dense([4, 4]), "class_names": []},
          lambda f: f.create_dataset("weights/fc/kernel", data=np.zeros((4, 4), "f4")),
          "'class_names' is no array of 1..1048576 names")
    keras()
    torch()


def keras_layer(name, kind, source, **config):
    return {"class_name": kind, "name": name, "config": {"name": name, **config},
            "inbound_nodes": [[[source, 0, 0, {}]]] if source else []}


def keras_file(name, layers, output, text, names=(), kernels={}):
    path = OUT / f"{name}.h5"
    config = {"class_name": "Functional", "config": {"name": "m", "layers": layers,
              "input_layers": [["in", 0, 0]], "output_layers": [[output, 0, 0]]}}
    with h5py.File(path, "w", libver="latest") as f:
        f.attrs["keras_version"], f.attrs["backend"] = "2.15.0", "tensorflow"
        g = f.create_group("model_weights")
        if len(names) > 0:
            g.attrs.create("layer_names", np.array(names, "S"))
        else:
            g.attrs["layer_names"] = np.array(list(kernels), "S") if kernels else np.array([], "S1")
        for layer, kernel in kernels.items():
            g.create_group(layer).attrs["weight_names"] = np.array([f"{layer}/kernel:0"], "S")
            g[layer].create_dataset(f"{layer}/kernel:0", data=kernel)
        f.create_dataset("config_in_full", data=0)
        f.attrs["model_config"] = np.bytes_(json.dumps(config))
    say("model", path, text)


def keras():
    first = keras_layer("in", "InputLayer", None, batch_input_shape=[None, 4, 4, 1])
    keras_file("padding_of_two_kinds", [first, keras_layer("p", "ZeroPadding2D", "in", padding=[[1, 1], 2])], "p",
               "'padding' is not [[top, bottom], [left, right]]")
    chain = [keras_layer(f"l{i}", "ReLU", f"l{i - 1}" if i else "in") for i in range(4000)]
    keras_file("reversed_layers", chain[::-1] + [first], "l3999", "")
    flat = keras_layer("in", "InputLayer", None, batch_input_shape=[None, 3])
    for kind in ("quantized_bits(4,0,alpha='auto')", "binary(alpha='auto')", "ternary(alpha='auto')"):
        dense = keras_layer("d", "QDense", "in", units=2, use_bias=False, kernel_quantizer=kind)
        keras_file(f"no_values_{kind.split('_')[0].split('(')[0]}", [flat, dense], "d", "has no values to round",
                   kernels={"d": np.zeros((3, 0), "f4")})
    keras_file("many_layer_names", [first], "in", "", names=[f"n{i:05}" for i in range(9000)])


def torch():
    path = OUT / "overlapping.pth"
    data = b"\0" * 100000
    local = struct.pack("<IHHHHHIIIHH", 0x04034b50, 10, 0, 0, 0, 0, zlib.crc32(data), len(data), len(data), 8, 0)
    body = local + b"a/data/0" + data
    entry = struct.pack("<IHHHHHHIIIHHHHHII", 0x02014b50, 10, 10, 0, 0, 0, 0, zlib.crc32(data), len(data), len(data),
                        8, 0, 0, 0, 0, 0, 0) + b"a/data/0"
    n = 20000
    end = struct.pack("<IHHHHIIH", 0x06054b50, 0, 0, n, n, n * len(entry), len(body), 0)
    path.write_bytes(body + entry * n + end)
    say("state", path, "the ZIP's members lie over each other")
    legacy()


def legacy():
    """A million records of a legacy file: each is found in what the pickle describes."""
    n = 30000
    head = b"".join(pickle.dumps(v, 2) for v in (0x1950a86a20f9469cfc6c, 1001, {"little_endian": True}))
    out = [b"\x80\x02}"]
    for i in range(n):
        key = f"k{i}".encode()
        size = struct.pack("<I", len(key))
        out += [b"X", size, key, b"ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n", b"X",
                size, key, b"X\3\0\0\0cpuK\1tQK\0(K\1t(K\1t\x89ccollections\nOrderedDict\n)RtRs"]
    out.append(b".")
    keys = pickle.dumps([f"k{i}" for i in range(n)], 2)
    records = struct.pack("<Qf", 1, 0.5) * n
    path = OUT / "legacy_records.pth"
    path.write_bytes(head + b"".join(out) + keys + records)
    say("state", path, "")


def dataset(name, fill, text):
    path = OUT / f"{name}.h5"
    with h5py.File(path, "w") as f:
        f.attrs["format"] = "pquant-dataset"
        fill(f)
    say("data", path, text)


def split(f, name, x, y):
    f.create_dataset(f"{name}/x", data=x)
    f.create_dataset(f"{name}/y", data=y)


def unallocated(f, shape):
    f.create_dataset("x", shape=shape, chunks=(1,) + tuple(min(n, 1 << 12) for n in shape[1:]), **FLOAT)
    f.create_dataset("y", data=np.zeros(shape[0], "u1"))
    f.attrs["class_names"] = ["a", "b"]


def linked(f):
    split(f, "s", np.zeros((20000, 16), "u1"), np.zeros(20000, "u1"))
    for i in range(3000):
        f[f"t{i}"] = f["s"]
    f.attrs["class_names"] = ["a", "b"]


def cycles(f):
    split(f, "s", np.zeros((8, 4), "f4"), np.zeros(8, "u1"))
    for i in range(60):
        f[f"{'long' * 40}{i}"] = f["/"]
        f["s"][f"{'deep' * 40}{i}"] = f["s"]
    f.attrs["class_names"] = ["a", "b"]


def npy(descr, shape, body=b"", more=""):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, {more}}}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode() + body


def arrays():
    """Events in arrays by their names."""
    def folder(name, x, text, y=npy("<i8", "(4,)", bytes(32)), **others):
        (OUT / name).mkdir()
        for key, data in {"x": x, "y": y, **others}.items():
            (OUT / name / f"{key}.npy").write_bytes(data)
        say("data", OUT / name, text)
    small = npy("<f4", "(4, 2)", bytes(32))
    folder("npy_plain", small, "")
    folder("npy_of_a_petabyte", npy("<f4", "(1099511627776, 256)", bytes(64)), "its shape and type do not take the 64 bytes it has")
    folder("npy_that_overflows", npy("<f8", "(4294967296, 4294967296)", bytes(64)), "its shape and type do not take the 64 bytes it has")
    folder("npy_of_nothing", npy("<f4", "(0, 2)"), "is none of at most 8 sizes above 0")
    folder("npy_of_objects", npy("|O", "(4, 2)", b"cos\nsystem\n(S'touch ran'\ntR."), "its items are objects of Python, which are not executed")
    folder("npy_of_columns", npy("[('a', '<f4')]", "(4,)", bytes(16)).replace(b"'[(", b"[(").replace(b")]'", b")]"), "its items have columns of their own")
    folder("npy_without_an_end", small[:9], "is no array of NumPy of version 1 to 3")
    folder("npy_with_a_long_header", b"\x93NUMPY\x02\0" + struct.pack("<I", 2**31) + bytes(64), "its header of")
    folder("npy_of_long_texts", small, "descr '<U4000000000", y=npy("<U4000000000", "(4,)", bytes(32)))
    folder("npy_of_no_text", small, "holds 0xffffffff, no code point", y=npy("<U1", "(4,)", b"\xff" * 16))
    folder("npy_of_empty_texts", small, "its label in y is empty", y=npy("<U1", "(4,)", bytes(16)))
    folder("npy_of_escapes", small, "", y=npy("|S4", "(4,)", b"\x1b[2J" * 4))
    path = OUT / "npy_that_leads_out"
    path.mkdir()
    os.symlink("/dev/zero", path / "x.npy")
    (path / "y.npy").write_bytes(small)
    say("data", path, "")
    path = OUT / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("x.npy", npy("<f4", "(50000000, 2)", bytes(400_000_000)))
        z.writestr("y.npy", npy("<u1", "(50000000,)", bytes(50_000_000)))
    say("data", path, "more than 100 times as many")
    path = OUT / "many.npz"
    with zipfile.ZipFile(path, "w") as z:
        for i in range(9000):
            z.writestr(f"x_{i}.npy", b"")
    say("data", path, "holds more than 4096 arrays")
    path = OUT / "above.npz"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("../x.npy", small)
        z.writestr("../y.npy", npy("<i8", "(4,)", bytes(32)))
    say("data", path, "")


def datasets():
    dataset("events_of_a_gigabyte", lambda f: unallocated(f, (4096, 1 << 18)), "")
    dataset("events_that_are_not_stored", lambda f: unallocated(f, (100000, 1 << 12)), "")
    dataset("one_split_linked_3000_times", linked, "")
    dataset("cycles_of_links", cycles, "")
    dataset("escapes_in_names", lambda f: (split(f, "s", np.zeros((4, 2), "f4"), np.zeros(4, "u1")),
            f.attrs.__setitem__("class_names", ["a\x1b[31m", "b\u202e"])), "")
    dataset("no_class_names", lambda f: (split(f, "s", np.zeros((4, 2), "f4"), np.zeros(4, "u1")),
            f.attrs.create("class_names", np.array([], "S1"))), "")
    dataset("many_classes_of_data", lambda f: (split(f, "s", np.zeros((4, 2), "f4"), np.zeros(4, "u1")),
            f.create_dataset("names", data=0), f.attrs.__setitem__("class_names", [f"c{i}" for i in range(2000)])), "")
    shared = "text " * 20000

    def texts(f):
        split(f, "s", np.zeros((4, 2), "f4"), np.zeros(4, "u1"))
        f.create_dataset("graph", data=[shared] * 30, dtype=h5py.string_dtype())
    dataset("long_texts", texts, "")
    (OUT / "quotes.csv").write_text("a,b,class\n" + '"' * 400000 + "\n")
    say("data", OUT / "quotes.csv", "")
    (OUT / "columns.csv").write_text(",".join(f"c{i}" for i in range(30000)) + "\n" + ",".join("1" * 30000) + "\n")
    say("data", OUT / "columns.csv", "")
    arrays()
    path = OUT / "pipe.h5"
    os.mkfifo(path)
    say("data", path, "is a pipe, a device or a socket, not a file")
    say("model", path, "is a pipe, a device or a socket, not a file")


def configurations():
    def config(name, text, message):
        path = OUT / f"{name}.yaml"
        path.write_text(text)
        say("config", path, message)
    head = ("schema: pquant/1\nname: x\nmodel: {weights: m.h5}\ndataset: {file: d.h5}\n")
    config("tags", "".join(f"%TAG !a{i}! x\n" for i in range(60000)) + "---\na: 1\n", "%TAG is not read")
    config("exclusions", head + "pipelines:\n  p:\n    sweep: {r: " + str(list(range(1, 4000))) +
           "}\n    exclude: " + str([{"r": 9}] * 4000).replace("'", "") + "\n    stages: [{svd: {rank: $r}}]\n",
           "comparisons")
    grid = "{a: " + str(list(range(1, 100))) + ", b: " + str(list(range(1, 100))) + ", c: [1,2,3,4,5,6,7,8,9,10]}"
    config("pipelines_of_many_cells", head + "pipelines:\n" + "".join(
        f"  p{i}:\n    sweep: {grid}\n    stages: [{{svd: {{rank: $a}}}}, {{svd: {{rank: $b}}}}, {{svd: {{rank: $c}}}}]\n" for i in range(50)), "cells up to here")
    config("metrics_in_constraints", head + "pipelines: {reference: []}\nconstraints: {" +
           ", ".join(f"m{i}: {{max: 1}}" for i in range(6000)) + "}\n", "")
    config("deep", "a: " + "[" * 60000, "32")
    config("anchors", "a: &a [1]\nb: *a\n", "")
    manifest = OUT / "traverses.yaml"
    base = "title: t\nlayout: csv\nlicence: l\nsource: s\n"
    for i, name in enumerate(("../up", "/abs", "a/b", ".hidden", '"a\\u202e"', "-rf")):
        path = OUT / f"manifest_{i}.yaml"
        path.write_text(f"name: {name}\n{base}files: [{{url: 'http://x/y', bytes: 1, checksum: unknown}}]\n")
        say("manifest", path, "is no name for a file")
    manifest.write_text(f"name: a\n{base}path: ../../x\nfiles: [{{url: 'http://x/y', bytes: 1, checksum: unknown}}]\n")
    say("manifest", manifest, "is no name for a file")


def results_folder(name, plan, records, text):
    folder = OUT / name
    (folder / "cells").mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(plan))
    for key, record in records.items():
        (folder / "cells" / f"{key}.json").write_text(json.dumps(record))
    say("results", folder, text)


def plan_of(cells, **more):
    return {"schema": "pquant-plan/1", "name": "n", "config": "c.yaml", "resolved": "", "output": {}, "constraints": {},
            "gates": {}, "cells": cells, **more}


def cell_of(key, **more):
    return {"order": 0, "pipeline": "p", "label": "l", "axes": {}, "repeat": 0, "eval": key, "latency": [],
            "reference": True, **more}


def record_of(key, **more):
    return {"schema": "pquant-record/1", "key": key, "phase": "eval", "pipeline": "p", "label": "l", "order": 0,
            "axes": {}, "repeat": 0, "status": "ok", "metrics": {"accuracy": {"value": 0.5, "lo": 0.4, "hi": 0.6,
            "n": 10, "unit": "", "better": "higher"}}, "stages": [], "provenance": {"pquant": "0"}, **more}


def results():
    nested = {"pquant": "0"}
    for i in range(900):
        nested = {"k" * 500: nested, **{f"v{i}x{j}": "" for j in range(2)}}
    wide = {f"m{i}": {"value": 1.0, "unit": "", "better": "higher"} for i in range(3000)}
    results_folder("plain", plan_of([cell_of("ab")]), {"ab": record_of("ab")}, "")
    results_folder("list_for_object", plan_of([cell_of("ab")], output=["html"]), {}, "'output' is not an object of texts")
    results_folder("null_in_latency", plan_of([cell_of("ab", latency=[None])]), {}, "'latency' is not a list of texts")
    results_folder("cells_of_numbers", plan_of([1, 2]), {}, "'cells' is not a list of objects")
    results_folder("nested_provenance", plan_of([cell_of("ab")]), {"ab": record_of("ab", provenance=nested)}, "")
    results_folder("many_metrics", plan_of([cell_of("ab")]), {"ab": record_of("ab", metrics=wide)}, "")
    results_folder("many_constraints", plan_of([cell_of("ab")], constraints={f"m{i}": {"min": 0} for i in range(9000)}),
                   {"ab": record_of("ab")}, "at most 256 are read")
    keys = [f"{i:04x}" for i in range(60)]
    results_folder("columns_of_axes", plan_of([cell_of(k, order=i, reference=i == 0, axes={f"a{i}_{j}": "1" for j in range(1000)})
                   for i, k in enumerate(keys)]), {k: record_of(k) for k in keys}, "the axes and metrics of all cells are more than 16384 columns")
    results_folder("columns_of_metrics", plan_of([cell_of(k, order=i, reference=i == 0) for i, k in enumerate(keys)]),
                   {k: record_of(k, metrics={f"m{k}.{j}": {"value": 1.0} for j in range(270)}) for k in keys}, "")
    results_folder("large_confusion", plan_of([cell_of("ab")]), {"ab": record_of("ab", confusion=[[1.0] * 300] * 300,
                   class_names=["c"] * 300)}, "")


models()
quantized.make(OUT, say)
graphs.make(OUT, say)
datasets()
configurations()
results()
