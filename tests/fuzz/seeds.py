#!/usr/bin/env python3
"""Makes the first inputs of the fuzz targets: seeds.py FUZZ OUT.

FUZZ is the program of the targets, which writes models of each kind of layer, scheme and method. Here come
each layout, format and shipped file, cut small. All go to OUT/<target>/<name>; each has to load
(`fuzz --target=NAME --check OUT/NAME`).
"""
import gzip
import hashlib
import io
import json
import pathlib
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import types
import zipfile

import h5py
import numpy as np

from pack import hdf5, option, plain, record
from seeds_arrays import arrays
from seeds_graphs import graphs
from seeds_quantized import quantized

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = pathlib.Path(sys.argv[2])
WORK = pathlib.Path(tempfile.mkdtemp())
rng = np.random.default_rng(1)


def seed(target, name, *records):
    (OUT / target).mkdir(parents=True, exist_ok=True)
    (OUT / target / name).write_bytes(b"".join(records))


def written(name, fill, **how):
    """An HDF5 file by h5py, as records."""
    path = WORK / "file.h5"
    with h5py.File(path, "w") as f:
        fill(f)
    return hdf5(name, path, **how)


def models():
    for path in sorted((WORK / "made/models").glob("*.h5")):
        seed("model", path.stem, hdf5("a.h5", path))
        if path.stem.startswith("scheme"):
            seed("hdf5", path.stem, hdf5("a.h5", path))
    for path in sorted((WORK / "made/models").glob("*.*onnx")):
        data = path.read_bytes()
        if path.suffix == ".onnx" or b"narrow" in data:
            seed("onnx", path.stem + path.suffix.replace(".", "_"), plain("a.onnx", data))
    for path in sorted((ROOT / "datasets/models").glob("*.h5")):
        if not path.name.endswith(".weights.h5"):
            seed("model", "shipped_" + path.stem, hdf5("a.h5", path))


def keras():
    weights, arch = ROOT / "datasets/models/jsc-mlp.weights.h5", ROOT / "datasets/models/jsc-mlp.json"
    seed("keras", "shipped", option("arch", "arch.json"), hdf5("a.h5", weights, latest=False),
         plain("arch.json", arch.read_bytes()))
    table = (ROOT / "tests/formats/test_keras_oracle.c").read_text().split("refused[][2] = {")[1].split("};")[0]
    refused = re.findall(r'\{"([^"]+)",', table)
    for k, case in enumerate(json.loads((ROOT / "tests/formats/keras_oracle.json").read_text())["cases"]):
        if case["name"] in refused:
            continue

        def fill(f, case=case):
            g = f.create_group("model_weights")
            g.attrs["layer_names"] = np.array([layer["name"] for layer in case["layers"]], "S")
            for layer in case["layers"]:
                inner = g.create_group(layer["name"])
                names = np.array([w["name"] for w in layer["weights"]], "S")
                inner.attrs["weight_names"] = names if len(names) else np.array([], "S1")
                for w in layer["weights"]:
                    inner[w["name"]] = np.array(w["values"], "f4").reshape(w["shape"])
            f.attrs["keras_version"], f.attrs["backend"] = "2.15.0", "tensorflow"
            if k % 2 == 0:
                f.attrs["model_config"] = case["model"]

        with_arch = [] if k % 2 == 0 else [option("arch", "b.json")]
        seed("keras", f"oracle_{k}", *with_arch, written("a.h5", fill, latest=k % 3 != 0),
             *([plain("b.json", case["model"])] if k % 2 else []))


def quantized_keras():
    """The shipped net as QKeras writes it: quantizers as texts and as objects."""
    arch = json.loads((ROOT / "datasets/models/jsc-mlp.json").read_text())
    weights = ROOT / "datasets/models/jsc-mlp.weights.h5"
    bits = {"class_name": "quantized_bits", "config": {"bits": 6, "integer": 0, "symmetric": 0, "alpha": 1, "keep_negative": True,
                                                       "use_stochastic_rounding": False, "qnoise_factor": 1.0},
            "module": "qkeras.quantizers", "registered_name": "quantized_bits"}
    for name, kernel, bias, activation in (
            ("bits", bits, bits, "quantized_relu(6,1)"), ("auto", "quantized_bits(4,0,1,alpha='auto')", None, "quantized_tanh(6,use_real_tanh=True)"),
            ("auto_po2", "quantized_bits(4,0,alpha='auto_po2')", "quantized_po2(4)", "quantized_relu(5,1,negative_slope=0.25)"),
            ("binary", "binary(alpha='auto')", "quantized_bits(8,2,alpha=1)", "quantized_bits(8,3,keep_negative=False)"),
            ("ternary", "ternary()", "ternary(alpha=0.5,threshold=0.2)", "quantized_relu(4,3,relu_upper_bound=6,is_quantized_clip=False)"),
            ("po2", "quantized_po2(5,2,quadratic_approximation=True)", "quantized_relu_po2(4,log2_rounding='floor')", "quantized_sigmoid(6,use_real_sigmoid=1)")):
        for layer in arch["config"]["layers"]:
            if layer["class_name"] in ("Dense", "QDense"):
                layer["class_name"] = "QDense"
                layer["config"].update(kernel_quantizer=kernel, bias_quantizer=bias, activation=activation)
        seed("keras", f"qkeras_{name}", option("arch", "b.json"), hdf5("a.h5", weights, latest=False), plain("b.json", json.dumps(arch)))


def keras_v3():
    """Weights of Keras 3, which have places and no names, and archives of them."""
    arch = json.loads((ROOT / "datasets/models/jsc-mlp.json").read_text())
    with h5py.File(ROOT / "datasets/models/jsc-mlp.weights.h5") as f:
        weights = [[f[f"{name}/{w}"][()] for w in np.char.decode(f[name].attrs["weight_names"])]
                   for name in np.char.decode(f.attrs["layer_names"]) if len(f[name].attrs["weight_names"])]

    def fill(f, named=True):
        f.create_group("vars")
        for k, values in enumerate(weights):
            group = f.create_group("layers/dense" + (f"_{k}" if k else "") + "/vars")
            if named:
                group.attrs["name"] = [layer["config"]["name"] for layer in arch["config"]["layers"] if layer["class_name"] == "Dense"][k]
            for i, v in enumerate(values):
                group[str(i)] = v
    seed("keras", "places", option("arch", "b.json"), written("a.h5", fill), plain("b.json", json.dumps(arch)))
    keras_models()
    seed("keras", "unnamed", option("arch", "b.json"), written("a.h5", lambda f: fill(f, False)), plain("b.json", json.dumps(arch)))
    for name, how in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", how) as z:
            z.writestr("metadata.json", '{"keras_version": "3.0.0"}')
            z.writestr("config.json", json.dumps(arch))
        seed("zip", name, plain("a.zip", packed.getvalue()))


def keras_models():
    """Models within models and a layer called twice, in HDF5 of Keras 2 and by the places of Keras 3."""
    def node(layer, call=0, tensor=0):
        return [layer, call, tensor, {}]

    def layer(kind, name, *calls, **config):
        return {"class_name": kind, "name": name, "config": {"name": name} | config, "inbound_nodes": list(calls)}

    first = layer("InputLayer", "x", batch_input_shape=[None, 3])
    inner = layer("Functional", "inner", [node("in")], [node("r")], layers=[first, layer("Dense", "d", [node("x")])],
                  input_layers=[["x", 0, 0]], output_layers=[["d", 0, 0]])
    pair = layer("Sequential", "pair", [node("inner", 1)], layers=[layer("Dense", "d"), layer("Dropout", "o", rate=0.1)])
    both = layer("Add", "sum", [node("inner", 2), node("fc", 0), node("fc", 1)])
    arch = {"class_name": "Functional", "config": {"name": "m", "layers": [
        layer("InputLayer", "in", batch_input_shape=[None, 3]), layer("ReLU", "r", [node("in")]), inner, pair,
        layer("Dense", "fc", [node("in")], [node("r")]), both, layer("Concatenate", "c", [node("sum"), node("pair")], axis=-1)],
        "input_layers": [["in", 0, 0]], "output_layers": [["c", 0, 0]]}}
    kernel, bias = np.ones((3, 3), "f4"), np.ones(3, "f4")

    def old(f):
        f.attrs["layer_names"] = ["inner", "pair", "fc"]
        for group, folder in (("inner", "d"), ("pair", "pair/d"), ("fc", "fc")):
            f.create_group(group).attrs["weight_names"] = [f"{folder}/kernel:0", f"{folder}/bias:0"]
            f[f"{group}/{folder}/kernel:0"], f[f"{group}/{folder}/bias:0"] = kernel, bias

    def new(f):
        f.create_group("vars")
        for place in ("dense", "functional/layers/dense", "sequential/layers/dense"):
            f[f"layers/{place}/vars/0"], f[f"layers/{place}/vars/1"] = kernel, bias
    for name, fill in (("models", old), ("places_of_models", new)):
        seed("keras", name, option("arch", "b.json"), written("a.h5", fill), plain("b.json", json.dumps(arch)))


LAYERS = """schema: pquant-layers/1
inputs: {x: [6, 6, 2]}
layers:
  - conv2d: {from: conv, padding: same}
  - batch_norm: {from: bn, epsilon: 1e-3}
  - relu: {name: r}
  - conv2d: {from: deep, of: r, padding: same}
  - add: {of: [deep, r]}
  - flatten
  - dense: {from: fc, name: out}
output: out
"""
ARRAYS = {"conv.weight": (4, 2, 3, 3), "conv.bias": (4,), "bn.weight": (4,), "bn.bias": (4,), "bn.running_mean": (4,),
          "bn.running_var": (4,), "deep.weight": (4, 1, 3, 3), "fc.weight": (3, 144), "fc.bias": (3,),
          "scaler.mean": (2,), "scaler.std": (2,)}
FLAX = {"params/conv/kernel": (3, 3, 2, 4), "params/conv/bias": (4,), "params/bn/scale": (4,), "params/bn/bias": (4,),
        "batch_stats/bn/mean": (4,), "batch_stats/bn/var": (4,), "params/deep/kernel": (3, 3, 1, 4), "params/fc/kernel": (144, 3)}


def safetensors(arrays):
    header, data = {}, b""
    for name, a in arrays.items():
        header[name] = {"dtype": {"f4": "F32", "f2": "F16", "f8": "F64", "i8": "I64"}[a.dtype.str[1:]], "shape": list(a.shape),
                        "data_offsets": [len(data), len(data) + a.nbytes]}
        data += a.tobytes()
    text = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    return struct.pack("<Q", len(text)) + text + data


def msgpack(value):
    """Maps, texts, small whole numbers and arrays as Flax's extension."""
    def size(n, *forms):
        return next(struct.pack(code + fmt, byte, n) for limit, code, fmt, byte in forms if n < limit)
    if isinstance(value, dict):
        head = bytes([0x80 | len(value)]) if len(value) < 16 else struct.pack(">BH", 0xde, len(value))
        return head + b"".join(msgpack(k) + msgpack(v) for k, v in value.items())
    if isinstance(value, str):
        return (bytes([0xa0 | len(value)]) if len(value) < 32 else struct.pack(">BB", 0xd9, len(value))) + value.encode()
    if isinstance(value, int):
        return bytes([value])
    if isinstance(value, bytes):
        return size(len(value), (256, ">B", "B", 0xc4), (65536, ">B", "H", 0xc5), (1 << 32, ">B", "I", 0xc6)) + value
    inner = b"\x93" + bytes([0x90 | value.ndim]) + b"".join(struct.pack(">BH", 0xcd, n) for n in value.shape) \
        + msgpack(value.dtype.name) + msgpack(value.tobytes())
    return size(len(inner), (256, ">B", "B", 0xc7), (65536, ">B", "H", 0xc8), (1 << 32, ">B", "I", 0xc9)) + b"\x01" + inner


def tree_of(flat):
    tree = {}
    for name, a in flat.items():
        *folders, last = name.split("/")
        at = tree
        for folder in folders:
            at = at.setdefault(folder, {})
        at[last] = a
    return tree


def state_dicts():
    ones = {n: np.full(s, 0.5, "f4") for n, s in ARRAYS.items()}
    flax = {n: np.full(s, 0.5, "f4") for n, s in FLAX.items()}
    layers = [option("arch", "b.yaml")], plain("b.yaml", LAYERS)
    for name, how in (("stored", np.savez), ("packed", np.savez_compressed)):
        held = io.BytesIO()
        how(held, **(flax if name == "stored" else {n: np.asfortranarray(a) for n, a in ones.items()}))
        seed("state", name, *layers[0], plain("a.npz", held.getvalue()), layers[1])
    seed("state", "safetensors", *layers[0], plain("a.safetensors", safetensors(ones | {"bn.num_batches_tracked": np.zeros((), "i8")})), layers[1])
    seed("flax", "tree", *layers[0], plain("a.msgpack", msgpack(tree_of(flax))), layers[1])
    seed("flax", "training", *layers[0], plain("a.msgpack", msgpack(
        {"step": 5, "opt_state": {"0": tree_of(flax), "1": {}}} | tree_of({n: a.astype("f8") for n, a in flax.items()}))), layers[1])
    zoo = {f"{i}.{w}": np.ones(s, t) for i, (a, b) in enumerate([(16, 64), (64, 32), (32, 32), (32, 5)])
           for w, s, t in (("weight", (b, a), "f2"), ("bias", (b,), "f8"))}
    seed("state", "zoo", plain("a.safetensors", safetensors(zoo)))


class Storage:
    def __init__(self, kind, key, values, size):
        self.kind, self.key, self.values, self.size = kind, key, values, size


def torch_modules():
    """Classes with the names that PyTorch's pickles call."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"):
        setattr(torch, name + "Storage", type(name + "Storage", (), {"__module__": "torch"}))
    for name in ("_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_tensor"):
        exec(f"def {name}(*a): pass", utils.__dict__)
        utils.__dict__[name].__module__ = "torch._utils"
    torch.Size = type("Size", (tuple,), {"__module__": "torch", "__reduce__": lambda self: (torch.Size, (tuple(self),))})
    torch._utils = utils
    sys.modules["torch"], sys.modules["torch._utils"] = torch, utils
    return torch


class Call:
    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def torch_dicts(torch):
    import collections

    def tensor(kind, key, shape, strides=None, parameter=False, offset=0):
        dtype = {"Float": "f4", "Double": "f8", "Half": "f2", "BFloat16": "u2", "Long": "i8", "Int": "i4", "Short": "i2",
                 "Char": "i1", "Byte": "u1", "Bool": "u1"}[kind]
        n = int(np.prod(shape)) + offset
        values = (rng.integers(0, 2, n) if dtype[0] in "iu" else rng.normal(size=n) / 4).astype(dtype)
        strides = strides or tuple(int(np.prod(shape[i + 1:])) for i in range(len(shape)))
        t = Call(torch._utils._rebuild_tensor_v2, Storage(kind, key, values, n), offset, tuple(shape), strides, False,
                 collections.OrderedDict())
        return Call(torch._utils._rebuild_parameter, t, True, collections.OrderedDict()) if parameter else t

    kinds = ["Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"]
    yield "dtypes", None, {k.lower(): tensor(k, str(i), (3, 2), (1, 3) if i % 2 else None, offset=i)
                           for i, k in enumerate(kinds)}
    sizes = [(64, 16), (32, 64), (32, 32), (5, 32)]
    flat = collections.OrderedDict()
    for i, (m, n) in enumerate(sizes):
        flat[f"{2 * i}.weight"] = tensor("Float", f"w{i}", (m, n), (1, m) if i == 1 else None)
        flat[f"{2 * i}.bias"] = tensor("Float", f"b{i}", (m,), parameter=i == 2)
    yield "plain", "jsc-mlp", flat
    yield "nested", "jsc-mlp", {"epoch": 7, "lr": 0.5, "big": 1 << 40, "none": None, "flags": [True, False], "shape": torch.Size((3, 4)),
                                "text": "x" * 300, "state_dict": flat}


def torch():
    module = torch_modules()

    class Pickler(pickle._Pickler):
        def persistent_id(self, o):
            if not isinstance(o, Storage):
                return None
            storages[o.key] = o
            id_ = ("storage", getattr(module, o.kind + "Storage"), o.key, "cpu", o.size)
            return id_ + (None,) if legacy else id_

    for name, arch, tree in torch_dicts(module):
        for protocol in (2, 4):
            for legacy in (False, True):
                storages, buffer = {}, io.BytesIO()
                Pickler(buffer, protocol).dump(tree)
                data, out = buffer.getvalue(), io.BytesIO()
                if legacy:
                    out.write(b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.")
                    pickle.dump({"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2}}, out, 2)
                    out.write(data)
                    pickle.dump(sorted(storages), out, 2)
                    for key in sorted(storages):
                        out.write(struct.pack("<Q", storages[key].size) + storages[key].values.tobytes())
                else:
                    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as z:
                        z.writestr("m/data.pkl", data)
                        z.writestr("m/byteorder", "little")
                        for key, s in storages.items():
                            z.writestr(f"m/data/{key}", s.values.tobytes())
                        z.writestr("m/version", "3\n")
                seed("torch", f"{name}_{protocol}_{'legacy' if legacy else 'zip'}",
                     *([option("arch", arch)] if arch else []), plain("a.pth", out.getvalue()))


HLF = ["zlogz", "c1_b0_mmdt", "c1_b1_mmdt", "c1_b2_mmdt", "c2_b1_mmdt", "c2_b2_mmdt", "d2_b1_mmdt", "d2_b2_mmdt", "d2_a1_b1_mmdt",
       "d2_a1_b2_mmdt", "m2_b1_mmdt", "m2_b2_mmdt", "n2_b1_mmdt", "n2_b2_mmdt", "mass_mmdt", "multiplicity"]


def own(features=3, classes=2, n=8, **extra):
    def fill(f):
        f.attrs["format"] = "pquant-dataset"
        f.attrs["class_names"] = [chr(97 + i) for i in range(classes)]
        f.attrs["feature_names"] = [f"x{i}" for i in range(features)]
        f.attrs["scaler_mean"], f.attrs["scaler_std"] = np.zeros(features, "f4"), np.ones(features, "f4")
        f.attrs["licence"], f.attrs["source"] = "CC0", "here"
        for k, split in enumerate(("train", "test")):
            f[f"{split}/x"] = rng.normal(size=(n, features)).astype("f4")
            f[f"{split}/y"] = (np.arange(n) % classes).astype("u1")
            f[f"{split}/weight"] = np.ones(n, "f4")
            f[f"{split}/aux/pt"] = np.arange(n) + 100.0 * k
            f[f"{split}/aux/event_number"] = np.arange(n) + 100 * k
        for key, value in extra.items():
            f.attrs[key] = value
    return fill


def own_others():
    def one_hot(f):
        f["x"], f["y"] = rng.normal(size=(9, 4)).astype("f8"), np.eye(3)[np.arange(9) % 3].astype("f4")

    def texts(f):
        f["train/x"] = rng.integers(0, 99, (8, 4)).astype("i2")
        f.create_dataset("train/y", data=np.array(["b", "c"] * 4, object), dtype=h5py.string_dtype())
        f["test/x"], f["test/y"] = np.ones((2, 4), "i2"), np.array([b"c", b"b"])

    def fixed_texts(f):
        f["x"], f["y"] = np.ones((4, 2), ">f4"), np.array([b"g", b"q"] * 2)
        f.attrs["class_names"] = ["q", "g"]

    def padded(f):
        own(features=4)(f)
        for split in ("train", "test"):
            del f[f"{split}/x"]
            f[f"{split}/x"] = np.ones((8, 3, 4), "f4")
        f.attrs["padded"] = 1

    def images(f):
        f.create_dataset("train/x", data=rng.integers(0, 255, (6, 5, 4, 3)).astype("u1"), chunks=(2, 5, 4, 3), compression="gzip",
                         shuffle=True)
        f["train/y"] = np.arange(6).astype("i8") % 2
        f["validation/x"], f["validation/y"] = np.zeros((2, 5, 4, 3), "u1"), np.arange(2).astype("i4")

    return {"one_hot": one_hot, "texts": texts, "fixed_texts": fixed_texts, "images": images, "padded": padded,
            "standardized": own(standardized=1)}


def ftag_files():
    jets = np.zeros(8, [("pt_btagJes", "f4"), ("eta_btagJes", "f4"), ("HadronConeExclTruthLabelID", "i4"), ("mcEventWeight", "f4"),
                        ("eventNumber", "u8"), ("GN2_pb", "f4"), ("n_tracks", "i2")])
    jets["pt_btagJes"], jets["HadronConeExclTruthLabelID"] = np.arange(8) * 1e4, [0, 4, 5, 15] * 2
    jets["mcEventWeight"], jets["eventNumber"] = 1.0, np.arange(8)
    tracks = np.zeros((8, 3), [("d0", "f4"), ("z0SinTheta", "f4"), ("valid", "?")])
    tracks["valid"][:, :2] = True

    def plain_jets(f):
        f.create_dataset("jets", data=jets, chunks=(4,), compression="gzip")
        f.create_dataset("tracks", data=tracks, chunks=(4, 3), compression="gzip", fletcher32=True)

    def labelled(f):
        few = np.zeros(8, [("pt", "f4"), ("eta", "f8"), ("flavour_label", "i8")])
        few["flavour_label"] = np.arange(8) % 3
        f["jets"] = few
        f["jets"].attrs["flavour_label"] = ["bjets", "cjets", "ujets"]
        f["consts"] = tracks
    return {"jets": (plain_jets, []), "tracks": (plain_jets, [option("inputs", "tracks")]),
            "tracks_named": (plain_jets, [option("inputs", "tracks.d0,tracks.valid")]),
            "labels": (plain_jets, [option("labels", "b=5,light=0"), option("inputs", "pt_btagJes,eta_btagJes"),
                                    option("splits", "train=0:0.5,test=0.5:1")]),
            "labelled": (labelled, []), "consts": (labelled, [option("inputs", "tracks.z0SinTheta")])}


def hdf5_sets():
    for name, fill in {"full": own(), **own_others()}.items():
        for where in ("events", "hdf5"):
            seed(where, f"pquant_{name}", written("a.h5", fill))
    for name, (fill, options) in ftag_files().items():
        seed("events", f"ftag_{name}", *options, written("a.h5", fill))
        seed("hdf5", f"ftag_{name}", written("a.h5", fill))
    names = ["j_" + n for n in HLF] + ["j_g", "j_q", "j_w", "j_z", "j_t"]

    def zenodo(f):
        table = rng.normal(size=(6, len(names))).astype("f4")
        table[:, 16:] = np.eye(5)[np.arange(6) % 5]
        f["jets"], f["jetFeatureNames"] = table, np.array(names, "S")
        f["jetConstituentList"] = rng.normal(size=(6, 3, 4)).astype("f4")
        f["particleFeatureNames"] = np.array(["j1_px", "j1_py", "j1_pz", "j1_e"], "S")
    seed("events", "zenodo_file", written("a.h5", zenodo))
    seed("events", "zenodo_folder", option("open", "."), written("1.h5", zenodo), written("2.h5", zenodo))
    seed("events", "zenodo_splits", option("open", "z"), option("layout", "zenodo"), written("z/train/1.h5", zenodo),
         written("z/val/1.h5", zenodo))
    seed("events", "zenodo_constituents", option("inputs", "constituents"), written("a.h5", zenodo))
    seed("events", "zenodo_named", option("inputs", "zlogz,mass_mmdt"), written("a.h5", zenodo))

    def cernbox(f):
        rows = np.zeros(9, [(n, "f4") for n in names + ["j1_pt", "index"]])
        for k, n in enumerate(names):
            rows[n] = (np.arange(9) // 2 % 5 == k - 16) if k >= 16 else np.arange(9) // 2 + k
        f["t_allpar_new"] = rows
    seed("events", "cernbox", written("a.h5", cernbox))
    seed("events", "cernbox_named", option("inputs", "zlogz,multiplicity"), written("a.h5", cernbox))

    def jetnet(f):
        f["particle_features"], f["jet_features"] = rng.normal(size=(3, 4, 4)).astype("f4"), np.ones((3, 2), "f4")
    seed("events", "jetnet", option("open", "."), written("g.hdf5", jetnet), written("q.hdf5", jetnet), written("t.hdf5", jetnet))
    for name in ("jets-hlf", "jets-btag", "jets-btag-tracks"):
        seed("events", f"shipped_{name}", hdf5("a.h5", ROOT / f"datasets/{name}.h5", rows=24))
    seed("events", "shipped_tracks", option("inputs", "tracks"), hdf5("a.h5", ROOT / "datasets/jets-btag-tracks.h5", rows=8))


GUEST = ('[1.0, 2.0, 5, [1,2,3,4,5,6,7,NaN], [1,2,3,4,5,-Infinity], [[1]]]\n[1.5, 2.0, 0, [1,2,3,4,5,6,7,8], [1,2,3,4,5,6]]\n'
         '[1.5, 2.0, 4, [1,2,3,4,5,6,7,8], [1,2,3,4,5,"NaN"]]\n')


def text_sets():
    def idx(n, side=2):
        return (struct.pack(">IIII", 0x803, n, side, side) + rng.integers(0, 255, n * side * side, np.uint8).tobytes(),
                struct.pack(">II", 0x801, n) + bytes(i % 3 for i in range(n)))
    train, test = idx(4), idx(3)
    files = [plain("train-images-idx3-ubyte", train[0]), plain("train-labels-idx1-ubyte", train[1]),
             plain("t10k-images-idx3-ubyte", test[0]), plain("t10k-labels-idx1-ubyte", test[1])]
    seed("events", "idx", option("open", "."), *files)
    seed("events", "idx_gz", option("open", "."), plain("train-images-idx3-ubyte.gz", gzip.compress(train[0], mtime=0)),
         plain("train-labels-idx1-ubyte.gz", gzip.compress(train[1], mtime=0)))
    row = bytes([7]) + rng.integers(0, 255, 3072, np.uint8).tobytes()
    seed("events", "cifar10", option("open", "."), *[plain(f"data_batch_{i}.bin", row) for i in range(1, 6)],
         plain("test_batch.bin", row), plain("batches.meta.txt", "\n".join("abcdefghij") + "\n"))
    seed("events", "cifar100", option("open", "."), plain("train.bin", bytes([3]) + row), plain("test.bin", bytes([3]) + row),
         plain("fine_label_names.txt", "".join(f"c{i}\n" for i in range(100))),
         plain("coarse_label_names.txt", "".join(f"d{i}\n" for i in range(20))))
    seed("events", "guest", plain("dataset.json", GUEST))
    seed("events", "guest_gz", plain("dataset.json.gz", gzip.compress(GUEST.encode(), mtime=0)))
    rows = "".join(f"{i}.5,{-i},{'bc'[i % 2]},{i + 1}\n" for i in range(8))
    seed("events", "csv", plain("a.csv", "pt,eta,class,weight\n" + rows))
    seed("events", "csv_number_classes", plain("a.csv", "pt,eta,event_number,y\n" + rows.replace("b", "0").replace("c", "1")),
         option("label", "eta"), option("weight", "none"))
    seed("events", "csv_semicolons", option("splits", "train=0:0.5,test=0.5:1"), option("labels", "b=b,c=c"),
         plain("a.csv", '"pt";"a ""b""";label\n' + "".join(f'{i};"{i}.25";{"bc"[i % 2]}\n' for i in range(8))))
    seed("events", "csv_tabs", option("nonfinite", "drop"),
         plain("a.tsv.csv", "\tpt\teta\ttarget\n0\t1\tnan\tb\n1\t2\t3\tc\n2\t2\t-inf\tc\n3\t5\t6\tb\n"))
    seed("events", "csv_gz", plain("a.csv.gz", gzip.compress(("a,b,class\n1,2,g\n3,4,q\n").encode(), mtime=0)),
         option("inputs", "b,a"))
    arff = "% a\n@relation r\n@attribute 'a b' real\n@attribute c numeric\n@attribute class {g,q}\n@data\n1,2,g\n2,3,q\n"
    seed("events", "arff", plain("a.arff", arff))
    seed("events", "arff_gz", plain("a.arff.gz", gzip.compress(arff.encode(), mtime=0)), option("inputs", "c"))


def yamls():
    texts = {"small": "schema: pquant/1\nlist: [1, 2, {a: 'b'}]\nmap:\n  x: \"y\\n\\u00e9\"\n  z: |\n    text\n  f: >-\n    a\n    b\n"}
    texts.update({p.stem: p.read_text() for p in sorted((ROOT / "configs").rglob("*.yaml"))})
    texts.update({"set_" + p.stem: p.read_text() for p in sorted((ROOT / "datasets/sets").glob("*.yaml"))})
    for name, text in texts.items():
        seed("yaml", name, plain("a.yaml", text))


def configs():
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        seed("config", path.stem, plain("c.yaml", path.read_bytes()))
    seed("config", "include", plain("c.yaml", "include: [base.yaml]\nname: x\npipelines: {reference: [], q: {stages: [{quantize: {bits: $b, activations: false}}], sweep: {b: [8, 4]}}}\n"),
         plain("base.yaml", (ROOT / "configs/quickstart.yaml").read_bytes()))


def manifests():
    for path in sorted((ROOT / "datasets/sets").glob("*.yaml")):
        seed("set", path.stem, plain("s.yaml", path.read_bytes()))
    csv = "pt,eta,class\n1,2,b\n3,4,c\n"
    head = "name: s\ntitle: t\nlayout: csv\nlicence: l\nsource: s\nclasses: [b, c]\nnote: n\npath: a.csv\nfiles:\n"

    def entry(name, data, more):
        return f"  - url: http://x/{name}\n    as: {name}\n    bytes: {len(data)}\n    {more}\n"
    data = csv.encode()
    for name, checksum in {"sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest(),
                           "adler32": f"{__import__('zlib').adler32(data):08x}", "checksum": "unknown"}.items():
        seed("set", f"whole_{name}", option("whole", "yes"), plain("s.yaml", head + entry("a.csv", data, f"{name}: '{checksum}'")),
             plain("data/s/a.csv", data))
    packed = tar({"a.csv": data}, "gz")
    seed("set", "unpack", option("whole", "yes"),
         plain("s.yaml", head + entry("a.tar.gz", packed, "checksum: unknown\n    unpack: true")), plain("data/s/a.tar.gz", packed))
    with h5py.File(WORK / "file.h5", "w") as f:
        own()(f)
    seed("set", "hdf5", option("whole", "yes"), plain("s.yaml", (head + "  - url: http://x/a.h5\n    bytes: unknown\n    checksum: unknown\n")
         .replace("csv", "pquant").replace("path: a.pquant", "path: a.h5").replace("classes: [b, c]\n", "")),
         hdf5("data/s/a.h5", WORK / "file.h5"))
    seed("set", "place", option("whole", "yes"), plain("s.yaml", "name: s\ntitle: t\nlayout: csv\nlicence: l\nsource: s\nplaces: [p/a.csv]\nfiles: []\n"),
         plain("p/a.csv", csv))


def tar(files, how="", **options):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:" + how, **options) as t:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.type = (len(data), tarfile.REGTYPE) if data is not None else (0, tarfile.DIRTYPE)
            t.addfile(info, io.BytesIO(data or b""))
    return out.getvalue()


def archives():
    files = {"d": None, "d/a.csv": b"1,2\n" * 200, "b" * 120 + "/" + "c" * 90: b"x", "empty": b""}
    for name, form in {"gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT, "pax": tarfile.PAX_FORMAT}.items():
        some = {k: v for k, v in files.items() if form == tarfile.GNU_FORMAT or len(k) < 100 or form == tarfile.PAX_FORMAT}
        seed("archive", name, plain("a.tar", tar(some, format=form)))
        seed("archive", name + "_gz", plain("a.tar.gz", tar(some, "gz", format=form)))
    seed("archive", "again", plain("a.tar", tar({"x/y": b"1"})), plain("unpacked/x/y", "2"), plain("unpacked/x/z", "3"))


def results():
    metric = {"value": 0.5, "lo": 0.4, "hi": 0.6, "n": 10, "unit": "", "better": "higher"}
    cell = {"order": 0, "pipeline": "p", "label": "l", "axes": {"rank": "2"}, "repeat": 0, "eval": "ab", "latency": ["ef"], "reference": True}
    plan = {"schema": "pquant-plan/1", "name": "n", "config": "c.yaml", "resolved": "a: 1\nb: [1, 2]\n", "assumed": "x",
            "output": {"html": "true", "tables": "true"}, "constraints": {"accuracy": {"min": 0.1}},
            "gates": {"accuracy": {"max_loss": "0.1"}}, "baseline": "l",
            "published": [{"cell": "l", "metric": "accuracy", "printed": "51.5%", "ratio": False, "source": "s", "why": "w"}],
            "cells": [cell, {**cell, "order": 1, "eval": "cd", "label": "m", "axes": {"rank": "4"}, "reference": False}]}
    record_ = {"schema": "pquant-record/1", "key": "ab", "phase": "eval", "experiment": "n", "pipeline": "p", "label": "l", "order": 0,
               "axes": {"rank": "2"}, "repeat": 0, "status": "ok", "stages": ["svd:rank=2"],
               "metrics": {n: metric for n in ("accuracy", "stored_bytes", "macs", "auc", "auc.b", "rejection.b")},
               "keys": {"artifact": "ab", "eval": "ab"}, "events": 10, "assumed": "y", "seconds": 1.5,
               "layers": [{"layer": "a", "what": "b", "stage": "svd", "error": 0.1, "bytes_before": 1, "bytes_after": 1,
                           "macs_before": 3, "macs_after": 2, "history": [{"epoch": 1, "loss": 0.5}]}],
               "confusion": [[1, 2], [3, 4]], "class_names": ["b", "c"], "model_file": "models/ab.h5", "arrays_file": "arrays/ab.h5",
               "provenance": {"pquant": "0", "kernels": "k", "cpu": "x"}, "seeds": {"base": 1},
               "quantization": {"events": 1, "agree": 1, "layers": [{"layer": "a", "error": 0.1, "largest": 1, "signal": 1}]}}
    timing = {**record_, "key": "ef", "phase": "latency", "metrics": {n: metric for n in ("latency.b1", "latency.b64")},
              "timing": {"samples": [1.0, 2.0, 1.5], "batch": 1, "engine": "float32"}, "keys": {"artifact": "ab", "eval": "ab", "latency": "ef"}}
    other = {**record_, "key": "cd", "label": "m", "order": 1, "axes": {"rank": "4"}, "keys": {"artifact": "cd", "eval": "cd"},
             "arrays_file": "arrays/cd.h5", "model_file": "models/cd.h5"}

    def arrays(f):
        for c in ("b", "c"):
            f[f"roc/{c}/signal_efficiency"], f[f"roc/{c}/background_efficiency"] = np.linspace(0, 1, 5), np.linspace(0, 1, 5)

    def folder(at, plan, *records):
        return [plain(f"{at}/plan.json", json.dumps(plan)), plain(f"{at}/hashes.json", '{"a": "b"}'),
                *[plain(f"{at}/cells/{r['key']}.json", json.dumps(r)) for r in records],
                written(f"{at}/arrays/ab.h5", arrays), written(f"{at}/arrays/cd.h5", arrays), plain(f"{at}/models/ab.h5", "x"),
                plain(f"{at}/models/cd.h5", "x")]
    failed = {**other, "status": "failed", "error": {"code": "PQ_ERR_NUMERIC", "message": "not finite", "hint": "h"}, "metrics": {}}
    infeasible = {**other, "status": "infeasible", "violated": ["accuracy"]}
    for name, last in {"ok": other, "failed": failed, "infeasible": infeasible}.items():
        seed("results", name, *folder("r", plan, record_, last, timing), *folder("to", plan, record_))
    seed("results", "missing", plain("r/plan.json", json.dumps(plan)), plain("to/plan.json", json.dumps(plan)))


def bytes_of_hdf5():
    def rich(f):
        own()(f)
        f.create_dataset("z", data=np.arange(64.0).reshape(8, 8), chunks=(4, 4), compression="gzip", fletcher32=True, maxshape=(None, 8))
        f["v"] = np.array(["a", "bc"], object)
        f["v"].attrs["w"] = ["x", "yz"]
    for name, libver in {"latest": "latest", "earliest": "earliest"}.items():
        path = WORK / "raw.h5"
        with h5py.File(path, "w", libver=libver) as f:
            rich(f)
        seed("hdf5_bytes", name, plain("a.h5", path.read_bytes()))
    frames = b"".join(struct.pack("<QQ", ord("f"), n) + bytes(n) for n in (0, 8, 24, 64, 128, 12, 6))
    for path in sorted((WORK / "made").glob("told_*")):
        seed("hdf5_told", path.stem, plain("a.bin", path.read_bytes() + frames), written("b.h5", own()))

    def odd(f):
        f["half"], f["big"] = np.ones((3, 2), "f2"), np.arange(6, dtype=">i4").reshape(2, 3)
        f["bools"], f["opaque"] = np.array([True, False]), np.void(b"abc")
        f["null"] = h5py.Empty("f4")
        f["soft"] = h5py.SoftLink("/half")
        f["g/hard"] = f["half"]
        f["texts"] = np.array(["a", "bc", ""], object)
        f["fixed"] = np.array([b"ab", b"c"])
        f["table"] = np.zeros(4, [("a", "f4"), ("b", "i8"), ("c", "f4", (2,)), ("d", "S3")])
        f["never"] = np.arange(4, dtype="u8")
        f["half"].attrs["texts"], f["half"].attrs["numbers"] = ["a", "b"], np.arange(3)
        f["half"].attrs["one"], f["half"].attrs["empty"] = "x", h5py.Empty("S1")
        f.create_dataset("chunked", data=np.arange(40.0).reshape(10, 4), chunks=(3, 2), shuffle=True, compression="gzip", fletcher32=True)
        f["ref"] = f["half"].ref
    whole = written("a.h5", odd)
    seed("hdf5", "odd", whole, record("L", "/outside", "external", "/x"), record("D", "/unknown", "f4", "4", "2", "u", body=b"1234" * 4))
    # 32 bytes as they are, 30 of them again, and two.
    seed("hdf5", "lzf", whole, record("D", "/lzf", "f4", "8x2", "8x2", "l", body=bytes([31, *range(32), 0xe0, 21, 31, 1, 7, 7])))


def states():
    for path in sorted((WORK / "made").glob("checkpoint_*")):
        seed("checkpoint", path.stem, *([option("optimizer", "sgd")] if path.stem.endswith("1") else []), plain("c", path.read_bytes()))
    seed("cache", "svd", plain("a.bin", (WORK / "made/a.bin").read_bytes()))
    index = (WORK / "made/r/records.index").read_bytes()
    seed("index", "one", plain("r/records.index", index), plain("nodes", index))


def condor():
    folder = ROOT / "tests/cli/batch"
    submit = b"universe = vanilla\nmemory_mb = 3000\nshard = $(Process)\narguments = $(shard)\nqueue 5\n"
    seed("condor", "log", plain("a.log", (folder / "condor.log").read_bytes()), plain("b.sub", submit))


if __name__ == "__main__":
    (WORK / "made").mkdir()
    subprocess.run([sys.argv[1], f"--make={WORK}/made"], check=True)
    for make in (models, keras, quantized_keras, keras_v3, state_dicts, torch, hdf5_sets, text_sets, yamls, configs, condor, manifests, archives, results, bytes_of_hdf5, states):
        make()
    arrays(seed, written)
    quantized(seed, written)
    graphs(seed)
