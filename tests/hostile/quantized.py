"""Quantized nets that others write (HGQ 2, HGQ 1, BipolarQuant, Trunc), from the seeds of tests/fuzz, to spoil."""
import io
import json
import pathlib
import sys

import h5py
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fuzz"))
import seeds_quantized  # noqa: E402

# Records of a bundle there, files here: (name, content).
seeds_quantized.plain = lambda name, data: (name, data.encode() if isinstance(data, str) else data)
seeds_quantized.option = lambda key, value: None


def written(name, fill):
    file = io.BytesIO()
    with h5py.File(file, "w") as f:
        fill(f)
    return name, file.getvalue()


def all_nets():
    nets = {}

    def seed(kind, name, *files):
        nets[name] = [f for f in files if f]
    seeds_quantized.quantized(seed, written)
    return nets


NETS = all_nets()


def write(folder, name, change_arch=None, change_file=None):
    """A net of HGQ as a folder of a.h5 and b.json; change_arch(layers) and change_file(file) spoil it."""
    folder.mkdir(exist_ok=True)
    (_, file), (_, arch) = NETS[name]
    arch = json.loads(arch)
    if change_arch:
        change_arch({layer["config"]["name"]: layer["config"] for layer in arch["config"]["layers"]})
    (folder / "b.json").write_text(json.dumps(arch))
    (folder / "a.h5").write_bytes(file)
    if change_file:
        with h5py.File(folder / "a.h5", "r+") as f:
            change_file(f)


def maker(name):
    return lambda path: write(path, name)


def put(path, value):
    """A spoiled dataset in place of another."""
    def change(f):
        del f[path]
        f[path] = value
    return change


NAN, INF = np.float32("nan"), np.float32("inf")
IS = "bits 0 of its quantizer are "

#: net, name, what is spoiled in the architecture, what in the file, what the message says
PAIRS = [
    *[("hgq2_wrap", f"hgq2_bits_{v:g}", None, put("layers/q_dense/kq/quantizer/vars/0", np.full((4, 3), v, "f4")), IS) for v in (1e9, -1e9, NAN, INF, -INF)],
    *[("hgq2_wrap", f"hgq2_sign_{v:g}", None, put("layers/q_dense/kq/quantizer/vars/1", np.full((4, 3), v, "f4")), IS) for v in (2, 0.5, NAN)],
    ("hgq2_wrap", "hgq2_bits_of_another_shape", None, put("layers/q_dense/kq/quantizer/vars/0", np.ones((3, 4), "f4")),
     "the signs of its quantizer are [4, 3], the integer bits [4, 3], the fraction bits [3, 4]: not of one shape"),
    ("hgq2_wrap", "hgq2_bits_of_fewer", None, put("layers/q_dense/kq/quantizer/vars/0", np.ones((4, 2), "f4")), "the fraction bits [4, 2]: not of one shape"),
    ("hgq2_wrap", "hgq2_bits_of_none", None, put("layers/q_dense/kq/quantizer/vars/0", np.ones((0, 3), "f4")), ""),
    ("hgq2_wrap", "hgq2_bits_are_gone", None, lambda f: f.pop("layers/q_dense/kq/quantizer/vars/0"), "bits of its quantizer"),
    ("hgq2_wrap", "hgq2_bits_are_texts", None, put("layers/q_dense/kq/quantizer/vars/0", np.full((4, 3), b"x", "S1")), ""),
    ("hgq2_wrap", "hgq2_kernel_nan", None, put("layers/q_dense/vars/0", np.full((4, 3), NAN)), ""),
    ("hgq2_wrap", "hgq2_units", lambda n: n["QDense"].update(units=10**9), None, ""),
    ("hgq2_wrap", "hgq2_rounding", lambda n: n["QDense"]["kq_conf"]["config"].update(round_mode="\x1b[2J"), None, "round_mode = "),
    # HGQ 1 limits the bits of a kernel to its bw_clip: those that are numbers are read.
    *[("hgq1_floor", f"hgq1_kernel_bits_{v:g}", None, put("a/kernel_bw", np.full((4, 3), v, "f4")), text)
      for v, text in ((1e9, ""), (-1e9, ""), (NAN, "/a/kernel_bw holds nan at"), (INF, "/a/kernel_bw holds inf at"))],
    *[("hgq1_floor", f"hgq1_bits_{v:g}", None, put("a/bw", np.full((1, 3), v, "f4")), text)
      for v, text in ((1e9, "keeps 23 fraction bits"), (-1e9, "integer bits 24 are not in -24..23"), (NAN, "/a/bw holds nan at"), (INF, "/a/bw holds inf at"))],
    *[("hgq1_floor", f"hgq1_bits_{v:g}_unclipped", lambda n: n["a"]["paq_conf"].update(bw_clip=[-2**31, 2**31 - 1]),
       put("a/bw", np.full((1, 3), v, "f4")), "fraction bits 0 of a quantizer are ") for v in (1e9, -1e9)],
    ("hgq1_floor", "hgq1_kernel_bits_of_another_shape", None, put("a/kernel_bw", np.ones((3, 4), "f4")), "but the bits of it are"),
    ("hgq1_floor", "hgq1_bits_of_more_channels", None, put("a/bw", np.ones((1, 7), "f4")), ""),
    *[("hgq1_floor", f"hgq1_{what}_of_no_axis", None, put(f"a/{what}", np.float32(3)), " ") for what in ("bw", "kernel_bw", "bias", "kernel")],
    ("hgq1_floor", "hgq1_clip", lambda n: n["a"]["paq_conf"].update(bw_clip=[23, -23]), None, "is no range"),
    ("hgq1_floor", "hgq1_strategy", lambda n: n["a"]["paq_conf"].update(rnd_strategy=10**9), None, "rnd_strategy of"),
    *[("hgq1_proxy_SAT", f"hgq1_proxy_{k}_{v}", None, put(f"q/{k}", np.full((1, 3), v, "i4")), "value 0 has sign ")
      for k, v in (("b", 10**9), ("i", 10**9), ("i", -10**9), ("k", 2), ("k", -1))],
    ("hgq1_proxy_SAT", "hgq1_proxy_bits_nan", None, put("q/b", np.full((1, 3), NAN)), "/q/b holds nan at"),
    ("hgq1_proxy_SAT", "hgq1_proxy_fewer", None, put("q/b", np.ones((1, 2), "i1")), "its signs are [1, 3], its bits [1, 2], its integer bits [1, 3]: not of one shape"),
    ("hgq1_proxy_SAT", "hgq1_proxy_turned", None, put("q/b", np.ones((3, 1), "i1")), "its bits [3, 1], its integer bits [1, 3]: not of one shape"),
    ("hgq1_proxy_SAT", "hgq1_proxy_of_no_axis", None, put("q/b", np.int8(3)), "not of one shape"),
]

GENERAL = "qonnx.custom_op.general"
QUANT = ("Quant", GENERAL, ["s", "z", "b"], {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"})
BIPOLAR = [("BipolarQuant", GENERAL, ["s"], {})]
CUT1 = [QUANT, ("Trunc", GENERAL, ["s", "z", "b", "c"], {"rounding_mode": "FLOOR"})]
CUT2 = [QUANT, ("Trunc", GENERAL, ["s", "z", "b", "t", "c"], {"rounding_mode": "FLOOR", "signed": 1, "narrow": 0})]
USUAL = dict(s=0.25, z=0.0, b=8.0, c=5.0, t=1.0)
SCALE = "scale"

#: name, nodes, constants, what the message says
GRAPHS = [
    *[(f"bipolar_scale_{v:g}", BIPOLAR, dict(s=v), SCALE) for v in (0.0, -1.0, NAN, INF)],
    ("bipolar_scales", BIPOLAR, dict(s=[0.5, 0.25, 0.125]), "activations with 3 scales; one for all is read"),
    ("bipolar_no_scale", BIPOLAR, dict(s=np.zeros(0)), "it has no scale"),
    *[(f"quant_bits_{v:g}", [QUANT], dict(USUAL, b=v), "bits is not in 2..16") for v in (0, 1, 1e9, -8, 4.5, NAN, INF)],
    *[(f"quant_scale_{v:g}", [QUANT], dict(USUAL, s=v), SCALE) for v in (0.0, -1.0, NAN, INF)],
    *[(f"quant_zero_{v:g}", [QUANT], dict(USUAL, z=v), "zero point") for v in (0.5, 1e30, NAN, INF)],
    *[(f"trunc_in_{v:g}", CUT1, dict(USUAL, b=v), "bits is not in 2..16") for v in (0, 1e9, NAN)],
    *[(f"trunc_out_{v:g}", CUT1, dict(USUAL, c=v), "bits is not in 1..16") for v in (0, 1e9, -1, 2.5, NAN)],
    ("trunc_out_wider", CUT1, dict(USUAL, c=9.0), "it makes 9 bits of 8"),
    *[(f"trunc2_out_{v:g}", CUT2, dict(USUAL, c=v), "bits is not in 2..16") for v in (0, 1e9, NAN)],
    *[(f"trunc2_scale_{v:g}", CUT2, dict(USUAL, t=v), SCALE) for v in (0.0, -1.0, NAN, INF)],
    ("trunc_bits_of_many", CUT1, dict(USUAL, c=[5.0, 4.0]), ""),
]


def make(out, say):
    """Writes all; say(kind, path, text) as make.py has it."""
    for net, name, arch, file, text in PAIRS:
        write(out / name, net, arch, file)
        say("pair", out / name, text)
    for name, nodes, constants, text in GRAPHS:
        path = out / f"{name}.onnx"
        path.write_bytes(seeds_quantized.onnx(*nodes, **constants))
        say("model", path, text)


def whole(path):
    """A graph of Quant, Trunc and BipolarQuant that is read."""
    path.write_bytes(seeds_quantized.onnx(QUANT, CUT1[1], ("Relu", "", [], {}), ("BipolarQuant", GENERAL, ["t"], {}), **USUAL))
