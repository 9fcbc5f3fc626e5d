"""Structured mutations: what a file of each format says is changed, not its bytes, so that most get past the
parsers. Every mutation is a function of its seed."""
import gzip
import hashlib
import io
import json
import pathlib
import random
import shutil
import struct
import subprocess
import tarfile
import warnings
import zipfile

import h5py
import numpy as np

import graphs
import quantized

warnings.simplefilter("ignore")  # numpy's, of numbers that do not fit
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


def changed_bytes(data, r):
    """A whole field at a time, and cuts."""
    data = bytearray(data)
    for _ in range(r.choice([1, 1, 2, 4])):
        size = r.choice([1, 2, 4, 8])
        most = min(len(data), 4096) if r.random() < 0.7 else len(data)
        at = r.randrange(max(1, most - size))
        field = r.choice([0, 1, 2**(8 * size) - 1, 2**(8 * size - 1), r.getrandbits(8 * size)])
        data[at:at + size] = field.to_bytes(size, r.choice(["little", "big"]))
    return bytes(data[:r.randrange(len(data))] if data and r.random() < 0.1 else data)


def change_binary(path, r):
    """Formats of fixed fields."""
    path.write_bytes(changed_bytes(path.read_bytes(), r))


def change_summed(*regions):
    """Fields of 8 bytes, mostly in the given stretches of bytes, under a SHA-256 that fits."""
    def change(path, r):
        data = bytearray(path.read_bytes()[:-64])
        for _ in range(r.choice([1, 1, 2, 4])):
            first, last = r.choice(regions + ((0, len(data) - 7),))
            at = r.randrange(first, last)
            old = struct.unpack_from("<Q", data, at)[0]
            new = r.choice([0, 1, old + 1, old - 1, old * 2, 2**32, 2**63, 2**64 - 1, 0x7ff8000000000000,
                            r.getrandbits(64)])
            struct.pack_into("<Q", data, at, new % 2**64)
        if r.random() < 0.2:
            data = data[:r.randrange(len(data))] if r.random() < 0.5 else data + bytes(r.choice([1, 8, 100000]))
        path.write_bytes(bytes(data) + hashlib.sha256(data).hexdigest().encode())
    return change


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at


def put_varint(value):
    value, out = value % 2**64, bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def fields_of(data):
    """Fields of a message of Protocol Buffers as [number, wire type, content], or None."""
    at, fields = 0, []
    try:
        while at < len(data):
            key, at = varint(data, at)
            number, wire = key >> 3, key & 7
            if wire == 0:
                content, at = varint(data, at)
            else:
                n, at = varint(data, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
                content, at = data[at:at + n], at + n
            if number == 0 or at > len(data):
                return None
            fields.append([number, wire, content])
    except (IndexError, KeyError):
        return None
    return fields


def put_fields(fields):
    return b"".join(put_varint(number << 3 | wire) + (put_varint(content) if wire == 0 else
                    (put_varint(len(content)) if wire == 2 else b"") + content) for number, wire, content in fields)


def change_fields(data, r, depth=0):
    """One change of a field somewhere below, lengths made to fit."""
    fields = fields_of(data)
    if not fields or depth == 6:
        return changed_bytes(data[:65536], r) + data[65536:]
    i = r.randrange(len(fields))
    number, wire, content = fields[i]
    how = r.randrange(12)
    if wire == 2 and len(content) > 1 and how > 3:
        fields[i][2] = change_fields(content, r, depth + 1)
    elif how == 0:
        del fields[i]
    elif how == 1:
        fields[i:i] = [fields[i]] * r.choice([1, 3, 200])
    elif how == 2:
        fields[i][0] = r.choice([1, 2, 3, 4, 5, 7, 8, 9, 13, 14, 20, 25, 1000])
    elif wire == 0:
        fields[i][2] = r.choice([0, 1, content + 1, content * 2, 2**31, 2**40, 2**63, -1, r.getrandbits(64)])
    elif wire == 2:
        fields[i][2] = r.choice([b"", r.choice(TEXTS).encode("utf8", "replace"), content[:-1], content * 2,
                                 r.choice(fields)[2] if isinstance(r.choice(fields)[2], bytes) else b"x"])
    else:
        fields[i][2] = r.getrandbits(8 * len(content)).to_bytes(len(content), "little")
    return put_fields([f for f in fields if isinstance(f[2], bytes) == (f[1] != 0)])


def change_protobuf(path, r):
    data = path.read_bytes()
    for _ in range(r.choice([1, 1, 2, 4])):
        data = change_fields(data, r)
    path.write_bytes(data)


def change_zip(path, r):
    """The members, packed again with sums that fit; then, at times, the directory itself."""
    with zipfile.ZipFile(path) as z:
        members = [(i.filename, z.read(i)) for i in z.infolist()]
    for _ in range(r.choice([1, 1, 2])):
        i, how = r.randrange(len(members)), r.randrange(5)
        name, data = members[i]
        if how == 0:
            members[i] = (r.choice(TEXTS) or "x", data)
        elif how == 1:
            members.insert(i, members[i])
        elif how == 2 and len(members) > 1:
            del members[i]
        else:
            members[i] = (name, changed_bytes(data, r))
    with zipfile.ZipFile(path, "w", r.choice([zipfile.ZIP_STORED] * 3 + [zipfile.ZIP_DEFLATED])) as z:
        for name, data in members:
            z.writestr(name, data)
    if r.random() < 0.3:
        change_binary(path, r)


def change_tar(path, r):
    """A header's fields under a sum that fits; plain or packed."""
    data = bytearray(gzip.decompress(path.read_bytes()))
    headers = [0, 1024, 2048]
    for _ in range(r.choice([1, 1, 2])):
        at, how = r.choice(headers), r.randrange(6)
        if how == 0:
            data[at:at + 100] = r.choice(TEXTS + ["../x", "/x", "a/../../x", "a" * 99, "./././x"]).encode("utf8", "replace")[:100].ljust(100, b"\0")
        elif how == 1:
            data[at + 124:at + 136] = r.choice([b"7" * 11 + b"\0", b"\x80" + b"\xff" * 11, b"0" * 12, b" " * 12, b"00000000777\0"])
        elif how == 2:
            data[at + 156] = r.choice(b"01234567LKxgVMSND\0")
        elif how == 3:
            data[at + 345:at + 500] = r.choice(TEXTS).encode("utf8", "replace")[:155].ljust(155, b"\0")
        elif how == 4:
            data[at:at] = data[at:at + 1024] * r.choice([1, 30])
        else:
            data[at + r.randrange(512)] = r.randrange(256)
        if r.random() < 0.95:
            data[at + 148:at + 156] = b"%06o\0 " % (sum(data[at:at + 148]) + 256 + sum(data[at + 156:at + 512]))
    path.write_bytes(gzip.compress(bytes(data), 1) if r.random() < 0.8 else bytes(data))
    if r.random() < 0.1:
        change_binary(path, r)


def change_one_file(pattern, how=change_hdf5):
    def change(path, r):
        how(r.choice(sorted(path.glob(pattern))), r)
    return change


def change_memo(path, r):
    file = path / "hashes.json"
    file.write_text(change_text(file.read_text(), r))


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
         "constraints": {"accuracy": {"min": 0.1}}, "gates": {},
         "published": [{"cell": "l", "metric": "accuracy", "printed": "51.5%", "ratio": False, "source": "s", "why": "w"}],
         "cells": [cell, {**cell, "eval": "cd", "reference": False}]}))
    (path / "cells/ab.json").write_text(json.dumps(
        {"schema": "pquant-record/1", "key": "ab", "phase": "eval", "experiment": "n", "pipeline": "p", "label": "l",
         "order": 0, "axes": {"rank": "2"}, "repeat": 0, "status": "ok", "stages": ["svd"],
         "metrics": {"accuracy": metric, "stored_bytes": metric}, "keys": {"artifact": "ab", "eval": "ab"},
         "layers": [{"layer": "a", "what": "b", "stage": "svd", "error": 0.1, "bytes_before": 1, "bytes_after": 1}],
         "confusion": [[1, 2], [3, 4]], "class_names": ["a", "b"], "model_file": "models/ab.h5",
         "arrays_file": "arrays/ab.h5", "provenance": {"pquant": "0", "kernels": "k"}, "seeds": {"base": 1},
         "quantization": {"events": 1, "agree": 1, "layers": [{"layer": "a", "error": 0.1, "largest": 1, "signal": 1}]}}))


#: tensors of a state dict of the zoo's jsc-mlp
STATE = [(f"{2 * i}.{what}", (m, n) if what == "weight" else (m,))
         for i, (m, n) in enumerate([(64, 16), (32, 64), (32, 32), (5, 32)]) for what in ("weight", "bias")]


def pickled_state(legacy_storages):
    """The dict as torch.save pickles it, written opcode by opcode: no PyTorch is needed."""
    def string(t):
        return b"X" + struct.pack("<I", len(t)) + t.encode()

    def number(n):
        return b"J" + struct.pack("<i", n)

    out = b"\x80\x02}("
    for i, (name, shape) in enumerate(STATE):
        count = int(np.prod(shape))
        strides = [int(np.prod(shape[k + 1:])) for k in range(len(shape))]
        out += (string(name) + b"ctorch._utils\n_rebuild_tensor_v2\n((" + string("storage") + b"ctorch\nFloatStorage\n"
                + string(str(i)) + string("cpu") + number(count) + (b"N" if legacy_storages else b"") + b"tQ" + number(0)
                + b"(" + b"".join(map(number, shape)) + b"t(" + b"".join(map(number, strides)) + b"t\x89"
                + b"ccollections\nOrderedDict\n)RtR")
    return out + b"u."


def tensor_bytes(i):
    return np.linspace(-1, 1, int(np.prod(STATE[i][1])), dtype="<f4").tobytes()


def legacy(path):
    """As torch.save wrote it before 1.6."""
    head = (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03."
            b"\x80\x02}(X\x0d\0\0\0little_endian\x88u.")
    keys = b"\x80\x02](" + b"".join(b"X\1\0\0\0%d" % i for i in range(len(STATE))) + b"e."
    data = b"".join(struct.pack("<Q", int(np.prod(shape))) + tensor_bytes(i) for i, (_, shape) in enumerate(STATE))
    path.write_bytes(head + pickled_state(True) + keys + data)


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

def torch_zip(path):
    """As torch.save writes it."""
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("a/data.pkl", pickled_state(False))
        z.writestr("a/byteorder", "little")
        for i in range(len(STATE)):
            z.writestr(f"a/data/{i}", tensor_bytes(i))
        z.writestr("a/version", "3\n")


def keras_model(path):
    """Architecture and weights in one file."""
    arch = json.loads((ROOT / "datasets/models/jsc-mlp.json").read_text())
    with h5py.File(ROOT / "datasets/models/jsc-mlp.weights.h5") as source, h5py.File(path, "w") as f:
        weights = f.create_group("model_weights")
        for key in source:
            source.copy(key, weights)
        for key, value in source.attrs.items():
            weights.attrs[key] = value
        f.attrs["keras_version"], f.attrs["backend"] = "2.1.3", "tensorflow"
        f.attrs["model_config"] = json.dumps({"class_name": arch["class_name"], "config": arch["config"]})


def quantized_arch(path):
    """The architecture as QKeras writes it."""
    arch = json.loads((ROOT / "datasets/models/jsc-mlp.json").read_text())
    bits = {"class_name": "quantized_bits", "config": {"bits": 6, "integer": 0, "symmetric": 0, "alpha": "auto_po2", "keep_negative": True}}
    for layer in arch["config"]["layers"]:
        if layer["class_name"] == "Dense":
            layer["class_name"] = "QDense"
            layer["config"].update(kernel_quantizer=bits, bias_quantizer="quantized_po2(4)", activation="quantized_relu(6,1)")
    path.write_text(json.dumps(arch))


def keras_archive(path):
    """Keras 3: weights by the places of their layers, in a ZIP with their architecture."""
    arch = json.loads((ROOT / "datasets/models/jsc-mlp.json").read_text())
    held = io.BytesIO()
    with h5py.File(ROOT / "datasets/models/jsc-mlp.weights.h5") as source, h5py.File(held, "w") as f:
        f.create_group("vars")
        names = [n.decode() for n in source.attrs["layer_names"] if len(source[n].attrs["weight_names"])]
        for k, name in enumerate(names):
            for i, weight in enumerate(source[name].attrs["weight_names"]):
                f[f"layers/dense{f'_{k}' if k else ''}/vars/{i}"] = source[name][weight][()]
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("metadata.json", "{}")
        z.writestr("config.json", json.dumps({"class_name": arch["class_name"], "config": arch["config"]}))
        z.writestr("model.weights.h5", held.getvalue())


def change_archive(path, r):
    """What is in the members, or the archive."""
    if r.random() < 0.3:
        return change_zip(path, r)
    with zipfile.ZipFile(path) as z:
        members = {i.filename: z.read(i) for i in z.infolist()}
    if r.random() < 0.5:
        members["config.json"] = change_text(members["config.json"].decode(), r).encode()
    else:
        inner = path.with_suffix(".h5")
        inner.write_bytes(members["model.weights.h5"])
        change_hdf5(inner, r)
        members["model.weights.h5"] = inner.read_bytes()
    with zipfile.ZipFile(path, "w", r.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as z:
        for name, data in members.items():
            z.writestr(name, data)


def safetensors(path):
    header, data = {}, b""
    for i, (name, shape) in enumerate(STATE):
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(data), len(data) + len(tensor_bytes(i))]}
        data += tensor_bytes(i)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def change_safetensors(path, r):
    """The header under a length that fits, or bytes."""
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    if r.random() < 0.2:
        return change_binary(path, r)
    text = change_text(data[8:8 + n].decode(), r).encode("utf8", "surrogatepass")
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + n:])


def npz(path):
    with open(path, "wb") as f:
        np.savez(f, **{name: np.frombuffer(tensor_bytes(i), "<f4").reshape(shape) for i, (name, shape) in enumerate(STATE)})


def jets(path):
    """Events in an .npz: stored and packed members, numbers, texts and rows of one 1."""
    x, y = np.arange(36, dtype="f4").reshape(12, 3), np.arange(12) % 3
    with open(path, "wb") as f:
        np.savez(f, x_train=x, y_train=np.eye(3)[y], x_test=np.asfortranarray(x), y_test=np.eye(3)[y], w_test=y + 0.5,
                 classes=["a", "b", "\u03c4"], feature_names=np.array(["p", "q", "r"], "S"))


def texts_npz(path):
    with open(path, "wb") as f:
        np.savez_compressed(f, x=np.zeros((40, 8), "f8"), y=np.array(["sig", "bkg"])[np.arange(40) % 2])


def npy(path):
    path.mkdir(exist_ok=True)
    np.save(path / "X_train.npy", np.arange(24, dtype="f8").reshape(8, 3))
    np.save(path / "y_train.npy", np.arange(8) % 2)


def foreign(path):
    with h5py.File(path, "w") as f:
        f["data/X_train"], f["data/y_train"] = np.arange(24.0).reshape(8, 3), np.eye(2)[np.arange(8) % 2]
        f["classes"] = ["a", "b"]


LAYERS = "schema: pquant-layers/1\ninput: [16]\nlayers:\n" + "".join(
    f"  - dense: {{from: '{2 * i}', name: d{i}}}\n  - relu: {{of: d{i}}}\n" for i in range(4)) + "output: d3\n"


def layers(path):
    path.mkdir(exist_ok=True)
    npz(path / "net.npz")
    (path / "net.yaml").write_text(LAYERS)


def flax(path):
    """A tree of Flax of the jet tagger of the zoo, in msgpack."""
    out = bytearray(b"\x81\xa6params" + bytes([0x80 | len(STATE) // 2]))
    for i, (name, shape) in enumerate(STATE):
        module, what = name.split(".")
        if what == "weight":
            out += bytes([0xa0 | len(module)]) + module.encode() + b"\x82"
        data, key = tensor_bytes(i), b"kernel" if what == "weight" else b"bias"
        sizes = b"".join(struct.pack(">BH", 0xcd, n) for n in reversed(shape))
        inner = b"\x93" + bytes([0x90 | len(shape)]) + sizes + b"\xa7float32" + struct.pack(">BI", 0xc6, len(data)) + data
        out += bytes([0xa0 | len(key)]) + key + struct.pack(">BI", 0xc9, len(inner)) + b"\x01" + inner
    path.write_bytes(bytes(out))


def change_layers(path, r):
    change_lines(path / "net.yaml", r)


def change_json_file(path, r):
    path.write_text(change_text(path.read_text(), r))


HLF = ["zlogz", "c1_b0_mmdt", "c1_b1_mmdt", "c1_b2_mmdt", "c2_b1_mmdt", "c2_b2_mmdt", "d2_b1_mmdt", "d2_b2_mmdt",
       "d2_a1_b1_mmdt", "d2_a1_b2_mmdt", "m2_b1_mmdt", "m2_b2_mmdt", "n2_b1_mmdt", "n2_b2_mmdt", "mass_mmdt", "multiplicity"]
LABELS = ["g", "q", "w", "z", "t"]


def jet_columns(n):
    x = np.arange(n * 21, dtype="f4").reshape(n, 21)
    x[:, 16:] = np.eye(5)[np.arange(n) % 5]
    return x


def zenodo(path):
    with h5py.File(path, "w") as f:
        f["jets"] = jet_columns(20)
        f["jetFeatureNames"] = np.array([f"j_{n}" for n in HLF + LABELS], "S")
        f["jetConstituentList"] = np.ones((20, 4, 3), "f4")


def cernbox(path):
    rows = np.zeros(20, [(f"j_{n}", "f4") for n in HLF + LABELS])
    for i, name in enumerate(rows.dtype.names):
        rows[name] = jet_columns(20)[:, i]
    with h5py.File(path, "w") as f:
        f["t_allpar_new"] = rows


def jetnet(path):
    path.mkdir(exist_ok=True)
    for name in LABELS:
        with h5py.File(path / f"{name}.hdf5", "w") as f:
            f["particle_features"] = np.ones((6, 5, 4), "f4")
            f["jet_features"] = np.ones((6, 4), "f4")


def ftag(path):
    jets = np.zeros(20, [("pt", "f4"), ("eta", "f4"), ("eventNumber", "u8"), ("HadronConeExclTruthLabelID", "i4")])
    jets["HadronConeExclTruthLabelID"] = np.array([0, 4, 5, 15] * 5)
    jets["eventNumber"] = np.arange(20)
    with h5py.File(path, "w") as f:
        f["jets"] = jets
        f["tracks"] = np.ones((20, 4), [("d0", "f4"), ("valid", "?")])
        f["jets"].attrs["flavour_label"] = ["a", "b"]


GUEST = "".join(json.dumps([50.0 + i, 0.5, [0, 4, 5][i % 3], [1.0] * 8, [2.0] * 6, [[1.0, 2.0]]]) + "\n" for i in range(20))


def tar(path):
    with tarfile.open(path, "w:gz", format=tarfile.USTAR_FORMAT) as t:
        for name in ("a.bin", "b/c.bin", "d.bin"):
            info = tarfile.TarInfo(name)
            info.size = 300
            t.addfile(info, io.BytesIO(b"x" * 300))


def made_by_opener(kind):
    """A file that hostile_open makes where it is not there."""
    def make(path):
        path.unlink(missing_ok=True)
        subprocess.run([OPENER], input=f"{kind} {path}\n", text=True, check=True, stdout=subprocess.DEVNULL)
    return make


def memo(path):
    path.mkdir(exist_ok=True)
    (path / "hashes.json").write_text(json.dumps({"ab" * 32: "cd" * 32, "12" * 32: "34" * 32}))


def curves(path):
    small_results(path)
    (path / "arrays").mkdir()
    with h5py.File(path / "arrays/ab.h5", "w") as f:
        for name in ("a", "b"):
            for what in ("signal_efficiency", "background_efficiency"):
                f[f"roc/{name}/{what}"] = np.linspace(0, 1, 50)


def change_pair(path, r):
    """A net of HGQ: what its files say, or their bytes."""
    how = r.randrange(5)
    if how < 2:
        change_json_file(path / "b.json", r)
    else:
        (change_hdf5 if how < 4 else change_binary)(path / "a.h5", r)


OPENER = None  # the program, for what it makes itself

#: name of the file, kind, how it is made, how it is changed. What the program writes and never reads again (tables,
#: pages, plots, scores, the SQLite index) is not here.
FORMATS = [
    ("pquant.h5", "model", copy("datasets/models/jsc-mlp.h5"), change_hdf5),
    ("keras.h5", "model", keras_model, change_hdf5),
    ("keras.weights.h5", "weights", copy("datasets/models/jsc-mlp.weights.h5"), change_hdf5),
    ("keras.json", "arch", copy("datasets/models/jsc-mlp.json"), change_json_file),
    ("qkeras.json", "arch", quantized_arch, change_json_file),
    *[(name, "pair", quantized.maker(name), change_pair) for name in ("hgq2_wrap", "hgq2_sat", "hgq1_floor", "hgq1_proxy_SAT")],
    ("keras.keras", "model", keras_archive, change_archive),
    ("torch.pth", "state", legacy, change_binary),
    ("torch_zip.pth", "state", torch_zip, change_zip),
    ("onnx", "onnx", made_by_opener("onnx"), change_protobuf),
    ("qonnx", "model", quantized.whole, change_protobuf),
    ("functions.onnx", "model", graphs.functions, change_protobuf),
    ("rows.onnx", "model", graphs.rows, change_protobuf),
    ("safetensors", "state", safetensors, change_safetensors),
    ("npz", "state", npz, change_zip),
    ("flax.msgpack", "state", flax, change_binary),
    ("layers", "layers", layers, change_layers),
    ("dataset.h5", "data", small_dataset, change_hdf5),
    ("zenodo.h5", "data", zenodo, change_hdf5),
    ("cernbox.h5", "data", cernbox, change_hdf5),
    ("jetnet", "data", jetnet, change_one_file("*.hdf5")),
    ("ftag.h5", "data", ftag, change_hdf5),
    ("guest.json", "data", text(GUEST), change_lines),
    ("table.csv", "data", text(CSV), change_lines),
    ("table.dat", "data", text("# by hand\n# p q class\n" + "".join(f"{i} {i / 2}   {i % 3}\n" for i in range(20))), change_lines),
    ("jets.npz", "data", jets, change_zip),
    ("texts.npz", "data", texts_npz, change_zip),
    ("npy", "data", npy, change_one_file("*.npy", change_binary)),
    ("foreign.h5", "data", foreign, change_hdf5),
    ("table.arff", "data", text(ARFF), change_lines),
    ("idx", "data", idx, change_idx),
    ("cifar", "data", cifar, change_cifar),
    ("sweep.yaml", "config", copy("configs/quickstart.yaml"), change_lines),
    ("training.yaml", "training", copy("configs/train-jsc.yaml"), change_lines),
    ("set.yaml", "manifest", text(MANIFEST), change_lines),
    ("set.tar.gz", "archive", tar, change_tar),
    ("results", "results", small_results, change_results),
    ("curves", "curves", curves, change_one_file("arrays/*.h5")),
    ("memo", "hashes", memo, change_memo),
    ("factors.bin", "cache", made_by_opener("cache"), change_summed((0, 208), (0, 208))),
    # the run's name, counts, history
    ("checkpoint.bin", "checkpoint", made_by_opener("checkpoint"), change_summed((15, 79), (79, 119), (119, 500))),
]


def all_files(folder, first, count, only=None):
    """Makes `count` mutations of each format, one after the other, from seed `first` on: name, kind, path, seed.
    First the file itself, without a seed, which is to be read."""
    for name, kind, make, change in FORMATS:
        if only not in (None, name):
            continue
        original, path = folder / f"seed_{name}", folder / name
        for old in (original, path):
            if old.is_dir():
                shutil.rmtree(old)
        make(original)
        yield name, kind, original, None
        for seed in range(first, first + count):
            r = random.Random(f"{name} {seed}")
            if path.is_dir():
                shutil.rmtree(path)
            (shutil.copytree if original.is_dir() else shutil.copy)(original, path)
            try:
                change(path, r)
            except (ValueError, TypeError, KeyError, RuntimeError, OSError, OverflowError, UnicodeError, IndexError,
                    MemoryError, struct.error):
                pass  # what libhdf5 or numpy refuse to write; what was changed before is opened
            yield name, kind, path, f"{name} {seed}"
