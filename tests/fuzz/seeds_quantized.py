"""Seeds of quantized nets that others write: HGQ 2, HGQ 1 and its proxies, and signs and cuts of ONNX and QONNX."""
import json

import numpy as np

from pack import option, plain


def sequential(*layers):
    return json.dumps({"class_name": "Sequential", "config": {"name": "s", "layers": list(layers)}})


def entry(n):
    return {"class_name": "InputLayer", "config": {"batch_input_shape": [None, n], "dtype": "float32", "name": "in"}}


def hgq2(seed, written, rng):
    """Widths of each value stand beside the weights, in the order that type and overflow give."""
    for name, kind, over, mode in (("wrap", "kif", "WRAP", "RND"), ("sat", "kbi", "SAT_SYM", "RND_CONV"), ("trn", "kif", "SAT", "TRN")):
        def conf(weight):
            return {"class_name": "QuantizerConfig", "module": "hgq.quantizer.config", "registered_name": "hgq>QuantizerConfig", "config": {
                "q_type": kind, "place": "weight" if weight else "datalane", "scaler": None, "affine": None, "round_mode": mode,
                "overflow_mode": over, "trainable": True, "is_weight": weight}}

        def layer(cls, **more):
            common = {} if cls == "Quantizer" else {"activation": "relu", "use_bias": True, "enable_ebops": True, "enable_iq": True,
                                                    "enable_oq": False, "oq_conf": None, "iq_conf": conf(False), "kq_conf": conf(True), "bq_conf": conf(True)}
            return {"class_name": cls, "module": "hgq.layers", "registered_name": "hgq>" + cls, "config": {"name": cls, **common, **more}}
        arch = sequential(entry(4), layer("Quantizer", config=conf(False)), layer("QDense", units=3), layer("QBatchNormDense", units=2, scale=True))

        def bits(f, path, shape):
            k, i, b = np.ones(shape), np.full(shape, 2.0), rng.integers(1, 6, shape)
            order = (b, k, i) if over == "WRAP" else (b + i, i, k) if kind == "kbi" else (i, b, k)
            for n, values in enumerate(order):
                f[f"layers/{path}quantizer/vars/{n}"] = values.astype("f4")

        def fill(f):
            bits(f, "quantizer/", (1, 4))
            f.create_group("vars")
            f.create_group("layers/quantizer/vars")
            for cls, n, m in (("q_dense", 4, 3), ("q_batch_norm_dense", 3, 2)):
                weights = [rng.normal(size=(n, m)), rng.normal(size=m)] + ([np.ones(n)] if "norm" in cls else []) + [0.0, 0.0]
                weights += [np.zeros(n), np.ones(n)] if "norm" in cls else []
                for k, w in enumerate(weights):
                    f[f"layers/{cls}/vars/{k}"] = np.float32(w)
                for part, shape in (("iq/", (1, n)), ("kq/", (n, m)), ("bq/", (m,))):
                    bits(f, f"{cls}/{part}", shape)
        seed("keras", f"hgq2_{name}", option("arch", "b.json"), written("a.h5", fill), plain("b.json", arch))


def hgq1(seed, written, rng):
    def legacy(groups):
        def fill(f):
            f.attrs["layer_names"] = np.array(list(groups), "S")
            for name, weights in groups.items():
                g = f.create_group(name)
                g.attrs["weight_names"] = np.array(list(weights), "S") if weights else np.array([], "S1")
                for key, values in weights.items():
                    g[key] = values
        return fill

    def conf(how):
        return {"init_bw": 2, "skip_dims": [0], "rnd_strategy": how, "exact_q_value": True, "dtype": None, "bw_clip": [-23, 23], "trainable": True,
                "regularizer": None}

    def layer(cls, name, how, **more):
        return {"class_name": "HGQ>" + cls, "config": {"name": name, "kq_conf": conf("standard_round"), "paq_conf": conf(how), "beta": 0.0, **more}}
    training = {"beta:0": np.float32(0), "bops:0": np.float32(np.nan)}
    for how in ("standard_round", "floor", "auto", 3):
        groups = {"in": {}, "q": {"bw": np.full((1, 4), 3, "f4"), **training}}
        for name, n, m in (("a", 4, 3), ("b", 3, 3)):
            groups[name] = {"kernel": rng.normal(size=(n, m)).astype("f4"), "bias": rng.normal(size=m).astype("f4"),
                            "kernel_bw": rng.integers(1, 6, (n, m)).astype("f4"), "bw": rng.integers(1, 6, (1, m)).astype("f4")}
            norm = {k: np.ones(m, "f4") for k in ("beta", "gamma", "mean", "variance")} if name == "b" else {}
            groups[name] |= {k: norm[k] for k in ("beta", "gamma") if norm} | training | {k: norm[k] for k in ("mean", "variance") if norm}
        groups["t"] = {"bw": np.full((1, 3), 5, "f4"), **training}
        arch = sequential(entry(4), layer("HQuantize", "q", how), layer("HDense", "a", how, units=3, activation="relu", use_bias=True, parallel_factor=None),
                          layer("HDenseBatchNorm", "b", how, units=3, activation="linear", use_bias=True), layer("HActivation", "t", how, activation="tanh"))
        seed("keras", f"hgq1_{how}", option("arch", "b.json"), written("a.h5", legacy(groups)), plain("b.json", arch))
    for over in ("SAT", "SAT_SYM", "WRAP"):
        fixed = lambda name: {"class_name": "HGQ>FixedPointQuantizer", "config": {"name": name, "RND": "TRN", "SAT": over, "shape": [1, 3],
                                                                                  "overrides": {"layers": {}}, "fusible": True}}
        grid = {"k": np.ones((1, 3), "i1"), "b": np.array([[5, 0, 9]], "i1"), "i": np.array([[2, 0, -1]], "i1")}
        arch = sequential(entry(3), fixed("q"), {"class_name": "Dense", "config": {"name": "d", "units": 2, "activation": "linear", "use_bias": True}},
                          {"class_name": "HGQ>FixedPointQuantizer", "config": {"name": "r", "RND": "RND", "SAT": over, "overrides": {"layers": {}}}})
        groups = {"in": {}, "q": grid, "d": {"kernel": np.array([[0.5, -0.25], [3, 0], [1.125, 2]], "f4"), "bias": np.array([0.5, -1], "f4")},
                  "r": {k: np.full((1, 1), v, "i1") for k, v in (("k", 1), ("b", 6), ("i", 3))}}
        seed("keras", f"hgq1_proxy_{over}", option("arch", "b.json"), written("a.h5", legacy(groups)), plain("b.json", arch))


def varint(n):
    n &= (1 << 64) - 1
    return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)


def message(*fields):
    """Fields of protobuf: (number, whole number, bytes or text)."""
    out = b""
    for number, value in fields:
        value = value.encode() if isinstance(value, str) else value
        out += varint(number << 3 | 2) + varint(len(value)) + value if isinstance(value, bytes) else varint(number << 3) + varint(value)
    return out


def constant(name, values):
    a = np.asarray(values, "f4")
    return message(*[(1, d) for d in a.shape], (2, 1), (8, name), (9, a.tobytes()))


def port(name, n):
    dims = message((1, message((2, "batch"))), (1, message((1, n))))
    return message((1, name), (2, message((1, message((1, 1), (2, dims))))))


def onnx(*nodes, **constants):
    """A chain of nodes over x [batch, 3]: (operator, domain, inputs beside the chain's, attributes)."""
    parts, last = [], "x"
    for k, (op, domain, more, attributes) in enumerate(nodes):
        fields = [(1, last)] + [(1, m) for m in more] + [(2, f"v{k}"), (3, f"n{k}"), (4, op), (7, domain)]
        fields += [(5, message((1, a), (4, v), (20, 3)) if isinstance(v, str) else message((1, a), (3, v), (20, 2))) for a, v in attributes.items()]
        parts, last = parts + [(1, message(*fields))], f"v{k}"
    graph = message(*parts, (2, "g"), *[(5, constant(n, v)) for n, v in constants.items()], (11, port("x", 3)), (12, port(last, 3)))
    return message((1, 8), (7, graph), (8, message((1, ""), (2, 13))), (8, message((1, "qonnx.custom_op.general"), (2, 2))))


def signs(seed):
    general = "qonnx.custom_op.general"
    quant = ("Quant", general, ["s", "z", "b"], {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"})
    base = dict(s=0.25, z=0.0, b=8.0)
    seed("onnx", "sign", plain("a.onnx", onnx(("Sign", "", [], {}))))
    for scale in (1.0, 0.5, 0.3):
        seed("onnx", f"bipolar_{scale}", plain("a.onnx", onnx(("BipolarQuant", general, ["s"], {}), ("Relu", "", [], {}), s=scale)))
    for mode in ("FLOOR", "ROUND"):
        cut = ("Trunc", general, ["s", "z", "b", "c"], {"rounding_mode": mode})
        seed("onnx", f"trunc1_{mode}", plain("a.onnx", onnx(quant, cut, **base, c=5.0)))
        cut = ("Trunc", general, ["s", "z", "b", "t", "c"], {"rounding_mode": mode, "signed": 1, "narrow": 0})
        seed("onnx", f"trunc2_{mode}", plain("a.onnx", onnx(quant, cut, **base, t=1.0, c=5.0)))


def quantized(seed, written):
    """`seed` and `written` are those of seeds.py."""
    rng = np.random.default_rng(5)
    hgq2(seed, written, rng)
    hgq1(seed, written, rng)
    signs(seed)
