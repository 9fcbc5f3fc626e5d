"""Structured mutations: what a file of each format says is changed, not its bytes, so that most get past the
parsers. Every mutation is a function of its seed."""
import json
import pathlib
import random
import shutil
import struct

import h5py
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
NUMBERS = [0, 1, -1, 2, 7, 255, 256, 65535, 65536, 2**31 - 1, -2**31, 2**32, 2**40, 2**53, 2**62, -2**62, 0.5, 1e308,
           -1e-308]
TEXTS = ["", "a", "..", "../x", "/etc/passwd", "\x1b[2J", "\u202e", "nan", "inf", "-1", "1e999", "x" * 300, "[1,2",
         "relu", "dense", "input", "softmax", "conv2d", "same", "[0]", "4294967296"]


def number(r):
    return r.choice(NUMBERS)


def value(r):
    return r.choice([number(r), r.choice(TEXTS), None, True, [], {}, [number(r)], {"a": number(r)}, [[number(r)], 1]])


def nodes_of(tree, at=()):
    yield at
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, item in items:
        yield from nodes_of(item, at + (key,))


def change_json(tree, r):
    """One change somewhere in a tree of JSON."""
    at = r.choice(list(nodes_of(tree))[1:] or [()])
    if not at:
        return value(r)
    parent = tree
    for key in at[:-1]:
        parent = parent[key]
    old, how = parent[at[-1]], r.randrange(6)
    if how == 0:
        del parent[at[-1]]
    elif how == 1 and isinstance(old, (int, float)):
        parent[at[-1]] = r.choice([-old, old + 1, old * 2, old * 2**20, number(r)])
    elif how == 2 and isinstance(parent, list):
        parent.insert(at[-1], json.loads(json.dumps(old)))
    elif how == 3 and isinstance(old, list):
        parent[at[-1]] = (old * 40)[:4000] if r.random() < 0.5 else old[::-1]
    elif how == 4 and isinstance(parent, dict):
        parent[r.choice(TEXTS)] = parent.pop(at[-1])
    else:
        parent[at[-1]] = value(r)
    return tree


def change_text(text, r):
    try:
        tree = json.loads(text)
    except ValueError:
        return r.choice(TEXTS)
    for _ in range(r.choice([1, 1, 2, 4])):
        tree = change_json(tree, r)
    return json.dumps(tree)


def objects(f):
    names = ["/"]
    f.visit(names.append)
    return names


def new_shape(r):
    return tuple(r.choice([0, 1, 2, 3, 16, 1000, 1 << 16, 1 << 20]) for _ in range(r.randrange(0, 4)))


def change_attribute(o, r):
    names = list(o.attrs)
    if not names:
        o.attrs[r.choice(["scheme", "format", "class_names", "bits", "axis", "shape", "sparse", "pruned", "layout"])] = \
            r.choice(["integer", "fixed", "nf4", 8, -3, [1 << 15, 1 << 15]])
        return
    name = r.choice(names)
    old, how = o.attrs[name], r.randrange(4)
    if how == 0:
        del o.attrs[name]
    elif isinstance(old, (str, bytes)):
        text = old.decode("utf8", "replace") if isinstance(old, bytes) else old
        o.attrs[name] = change_text(text, r)
    elif how == 1:
        o.attrs[name] = r.choice(TEXTS)
    elif how == 2:
        o.attrs[name] = np.array([number(r) for _ in range(r.choice([1, 2, 5, 500]))], "f8")
    else:
        flat = np.array(old).ravel()
        o.attrs[name] = np.resize(flat, r.choice([1, max(1, flat.size - 1), flat.size + 1, 1000])) if flat.size else 0


def change_dataset(f, name, r):
    d, how = f[name], r.randrange(7)
    attributes = dict(d.attrs)
    if how == 0 or d.dtype.kind == "O" or d.dtype.kind == "S":
        if d.dtype.kind in "OS" and how > 1:
            text = d[()] if d.shape == () else (d[0] if d.shape[0] else b"")
            text = text.decode("utf8", "replace") if isinstance(text, bytes) else str(text)
            del f[name]
            f.create_dataset(name, data=change_text(text, r), dtype=h5py.string_dtype())
        else:
            del f[name]
        return
    if how == 1:
        shape = new_shape(r)
        del f[name]
        f.create_dataset(name, shape=shape, dtype=r.choice(["f4", "u1", "i8", "f8", "f2", "S3"]),
                         chunks=tuple(min(max(n, 1), 64) for n in shape) if shape and all(shape) else None)
    elif how == 2:
        data = np.resize(d[()], r.choice([(1,), (3, 5), (2, 2, 2, 2), (0,), (7,)]))
        del f[name]
        f.create_dataset(name, data=data)
    elif how == 3 and d.shape:
        flat = d[()]
        flat.reshape(-1)[r.randrange(max(flat.size, 1)) if flat.size else 0:][:1] = \
            r.choice([np.nan, np.inf, 1e38, -1, 255]) if flat.dtype.kind == "f" else 255
        d[()] = flat
    elif how == 4:
        other = r.choice(objects(f))
        del f[name]
        f[name] = f[other] if other in f and other != "/" else f["/"]
    elif how == 5:
        data = d[()].astype(r.choice(["f8", "i4", "u1", "f2"]))
        del f[name]
        f.create_dataset(name, data=data, chunks=True if data.shape else None, compression="gzip" if data.shape else None)
    else:
        del f[name]
        f.create_group(name)
    if name in f:
        for k, v in attributes.items():
            f[name].attrs[k] = v


def change_hdf5(path, r):
    with h5py.File(path, "r+") as f:
        for _ in range(r.choice([1, 1, 1, 2, 3])):
            name = r.choice(objects(f))
            if name not in f:
                continue
            if isinstance(f[name], h5py.Dataset) and r.random() < 0.6:
                change_dataset(f, name, r)
            else:
                change_attribute(f[name], r)


def change_lines(path, r):
    """Texts: lines, fields and numbers."""
    lines = path.read_text().split("\n")
    for _ in range(r.choice([1, 1, 2, 5])):
        i, how = r.randrange(len(lines)), r.randrange(6)
        if how == 0 and len(lines) > 1:
            del lines[i]
        elif how == 1:
            lines.insert(i, lines[r.randrange(len(lines))])
        elif how == 2:
            lines[i] = lines[i] * r.choice([2, 50])
        elif how == 3:
            lines[i] = lines[i].replace(r.choice(":,{}[]'\"-0123456789 ") or " ", str(value(r)), 1)
        elif how == 4:
            k = r.randrange(len(lines[i]) + 1)
            lines[i] = lines[i][:k] + r.choice(TEXTS + ["'", '"', "{", "[", "|", "&a ", "*a", "%TAG ! x", "\t"]) + lines[i][k:]
        else:
            lines[i] = r.choice(["", " " * 40]) + lines[i]
    path.write_text("\n".join(lines), errors="surrogatepass")


def change_binary(path, r):
    """Formats of fixed fields: a whole field at a time, and cuts."""
    data = bytearray(path.read_bytes())
    for _ in range(r.choice([1, 1, 2, 4])):
        size = r.choice([1, 2, 4, 8])
        at = r.randrange(max(1, min(len(data), 4096) - size)) if r.random() < 0.7 else r.randrange(max(1, len(data) - size))
        field = r.choice([0, 1, 2**(8 * size) - 1, 2**(8 * size - 1), r.getrandbits(8 * size)])
        data[at:at + size] = field.to_bytes(size, r.choice(["little", "big"]))
    if r.random() < 0.1:
        data = data[:r.randrange(len(data))]
    path.write_bytes(data)


def change_results(path, r):
    name = r.choice(["plan.json", "cells/ab.json"])
    file = path / name
    file.write_text(change_text(file.read_text(), r))


def small_dataset(path):
    with h5py.File(path, "w") as f:
        f.attrs["format"], f.attrs["class_names"], f.attrs["feature_names"] = "pquant-dataset", ["a", "b"], ["u", "v"]
        for name in ("train", "test"):
            f.create_dataset(f"{name}/x", data=np.arange(40, dtype="f4").reshape(20, 2))
            f.create_dataset(f"{name}/y", data=np.arange(20, dtype="u1") % 2)
            f.create_dataset(f"{name}/aux/pt", data=np.ones(20, "f4"))


def small_results(path):
    shutil.rmtree(path, ignore_errors=True)
    (path / "cells").mkdir(parents=True)
    metric = {"value": 0.5, "lo": 0.4, "hi": 0.6, "n": 10, "unit": "", "better": "higher"}
    cell = {"order": 0, "pipeline": "p", "label": "l", "axes": {"rank": "2"}, "repeat": 0, "eval": "ab", "latency": ["ab"],
            "reference": True}
    (path / "plan.json").write_text(json.dumps(
        {"schema": "pquant-plan/1", "name": "n", "config": "c.yaml", "resolved": "a: 1\n", "output": {"html": "true"},
         "constraints": {"accuracy": {"min": 0.1}}, "gates": {}, "cells": [cell, {**cell, "eval": "cd", "reference": False}]}))
    (path / "cells/ab.json").write_text(json.dumps(
        {"schema": "pquant-record/1", "key": "ab", "phase": "eval", "experiment": "n", "pipeline": "p", "label": "l",
         "order": 0, "axes": {"rank": "2"}, "repeat": 0, "status": "ok", "stages": ["svd"],
         "metrics": {"accuracy": metric, "stored_bytes": metric}, "keys": {"artifact": "ab", "eval": "ab"},
         "layers": [{"layer": "a", "what": "b", "stage": "svd", "error": 0.1, "bytes_before": 1, "bytes_after": 1}],
         "confusion": [[1, 2], [3, 4]], "class_names": ["a", "b"], "model_file": "models/ab.h5",
         "arrays_file": "arrays/ab.h5", "provenance": {"pquant": "0", "kernels": "k"}, "seeds": {"base": 1},
         "quantization": {"events": 1, "agree": 1, "layers": [{"layer": "a", "error": 0.1, "largest": 1, "signal": 1}]}}))


def legacy(path):
    """{"w": tensor [2]} as torch.save wrote it before 1.6."""
    path.write_bytes(
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}(X\x0d\0\0\0little_endian\x88u."
        b"\x80\x02}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0aX\3\0\0\0"
        b"cpuJ\2\0\0\0tQK\0(J\2\0\0\0t(J\1\0\0\0t\x89ccollections\nOrderedDict\n)RtRs.\x80\x02](X\1\0\0\0ae."
        + struct.pack("<Qff", 2, 1.0, 2.0))


def idx(path):
    path.mkdir(exist_ok=True)
    for part, n in (("train", 4), ("t10k", 3)):
        (path / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 0x803, n, 28, 28) + bytes(n * 784))
        (path / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, n) + bytes(range(n)))


def change_idx(path, r):
    change_binary(r.choice(sorted(path.iterdir())), r)


def change_cifar(path, r):
    change_binary(r.choice(sorted(path.glob("*.bin"))), r)


def cifar(path):
    path.mkdir(exist_ok=True)
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        (path / name).write_bytes(bytes(3073 * 2))
    (path / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n")


def copy(source):
    return lambda path: shutil.copy(ROOT / source, path)


def text(content):
    return lambda path: path.write_text(content)


CSV = "pt,eta,class\n" + "".join(f"{i}.5,{-i},{'bc'[i % 2]}\n" for i in range(20))
ARFF = "@relation r\n@attribute 'a b' real\n@attribute class {g,q}\n@data\n" + "1,g\n2,q\n" * 8
MANIFEST = ("name: a\ntitle: t\nlayout: csv\nlicence: l\nsource: s\npath: x.csv\nfiles:\n  - url: http://x/y\n    as: x.csv\n"
            "    bytes: 10\n    checksum: unknown\n    unpack: false\n")

#: name of the file, kind, how it is made, how it is changed
FORMATS = [
    ("pquant.h5", "model", copy("datasets/models/jsc-mlp.h5"), change_hdf5),
    ("keras.h5", "model", copy("datasets/models/jsc-mlp.weights.h5"), change_hdf5),
    ("torch.pth", "state", legacy, change_binary),
    ("dataset.h5", "data", small_dataset, change_hdf5),
    ("table.csv", "data", text(CSV), change_lines),
    ("table.arff", "data", text(ARFF), change_lines),
    ("idx", "data", idx, change_idx),
    ("cifar", "data", cifar, change_cifar),
    ("sweep.yaml", "config", copy("configs/quickstart.yaml"), change_lines),
    ("set.yaml", "manifest", text(MANIFEST), change_lines),
    ("results", "results", small_results, change_results),
]


def all_files(folder, count):
    """Makes `count` mutations of each format, one after the other: kind, path, seed."""
    for name, kind, make, change in FORMATS:
        original = folder / f"seed_{name}"
        if original.is_dir():
            shutil.rmtree(original)
        make(original)
        for seed in range(count):
            r, path = random.Random(f"{name} {seed}"), folder / name
            if path.is_dir():
                shutil.rmtree(path)
            (shutil.copytree if original.is_dir() else shutil.copy)(original, path)
            try:
                change(path, r)
            except (ValueError, TypeError, KeyError, RuntimeError, OSError, OverflowError, UnicodeError, IndexError):
                pass  # what libhdf5 or numpy refuse to write; what was changed before is opened
            yield kind, path, f"{name} {seed}"
