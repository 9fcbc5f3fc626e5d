"""QONNX in and out, and graphs of whole numbers: the qonnx package, hls4ml's emulation and ONNX Runtime give the same."""
import contextlib
import io
import os
import subprocess

import h5py
import hls4ml
import numpy as np
import onnx
import onnxruntime
import torch
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.util.cleanup import cleanup_model
from torch import nn

from common import PQUANT, ROOT, Cases, pquant, write_dataset
from library import Model, Refused
from onnx_in import export, ready

FIXED = "quantize:format=fixed,bits=7,activation_bits=8"
#: name: stages, whether hls4ml runs it (a compiler takes seconds)
STAGES = {
    "fixed": ([FIXED], True),
    "fixed, a width a weight": ([f"{FIXED},granularity=per_weight"], True),
    "fixed, a width a channel": ([f"{FIXED},granularity=per_channel"], False),
    "fixed, truncated": ([f"{FIXED},rounding=TRN"], True),
    "fixed, ties away from 0": ([f"{FIXED},rounding=RND_INF,overflow=SAT_SYM"], False),
    "svd, fixed": (["svd:rank=4", FIXED], False),
    "int8": (["quantize:bits=8,activation_bits=8"], False),
    "4 bits": (["quantize:bits=4,activation_bits=6"], False),
}


def net_of(shape):
    if len(shape) == 1:
        return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5))
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5))


def events(shape):
    """Jets, scaled, or noise; a file for calibration and events to compare on."""
    if len(shape) == 1:
        with h5py.File(f"{ROOT}/datasets/jets-hlf.h5") as f:
            x, y = f["test/x"][:2000], f["test/y"][:2000]
        x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    else:
        rng = np.random.default_rng(4)
        x, y = rng.normal(size=(400, *Model("net.onnx").inputs[0])).astype(np.float32), rng.integers(0, 5, 400)
    write_dataset("events.h5", list("abcde"), {"train": {"x": x, "y": y.astype(np.uint8)}})
    return x


def run_qonnx(x):
    model = ModelWrapper("out.onnx")
    name = model.graph.input[0].name
    model.set_tensor_shape(name, list(x.shape))
    return next(iter(execute_onnx(model.transform(InferShapes()), {name: x}).values()))


def run_hls4ml(x):
    """Its C++, compiled and run: arithmetic of fixed point, nothing rounded that the file does not round."""
    model = ModelWrapper("out.onnx")
    model.set_tensor_shape(model.graph.input[0].name, [1, *x.shape[1:]])
    with contextlib.redirect_stdout(io.StringIO()):
        model = cleanup_model(model)
        config = hls4ml.utils.config_from_onnx_model(model, granularity="name", backend="Vitis", default_precision="fixed<32,12>")
        made = hls4ml.converters.convert_from_onnx_model(model, output_dir="hls", backend="Vitis", hls_config=config)
        made.write()
        log = subprocess.run(["bash", "build_lib.sh"], cwd="hls", capture_output=True, text=True)
        assert log.returncode == 0, log.stderr[-2000:]
        made.compile()
    return made.predict(np.ascontiguousarray(x))


def qonnx_out(cases, what, x, in_hls4ml):
    """Fixed point: the same numbers. Other scales are rounded in float32 there, so that single codes differ."""
    ours = Model("small.h5")(x, engine="integer" if "fixed" in what else "float32")
    pquant("model", "convert", "small.h5", "-o", "out.onnx", "--to", "qonnx")
    theirs = run_qonnx(x)
    cases.add(f"{what}, qonnx", theirs, ours, 1e-6 if "fixed" in what else 0.02)
    cases.add(f"{what}, qonnx: share of other outputs", (np.abs(theirs - ours) > 1e-5 * np.abs(ours).max()).mean(), 0, 0.01)
    again = Model("out.onnx")(x, engine="integer")
    cases.add(f"{what}, read again", again, Model("small.h5")(x, engine="integer"), 1e-6)
    if in_hls4ml:
        cases.add(f"{what}, hls4ml", run_hls4ml(x), ours, 0)


def integers_out(cases, what, x, powers):
    """With scales that are powers of two nothing is rounded but to the grids: the same numbers. Else ONNX Runtime scales in
    float32, so that single codes differ by one step, and few outputs."""
    ours = Model("small.h5")(x, engine="integer")
    pquant("model", "convert", "small.h5", "-o", "out.onnx", "--to", "onnx_integer")
    onnx.checker.check_model("out.onnx")
    names = [n.op_type for n in onnx.load("out.onnx").graph.node]
    due = {"MatMulInteger": 1 if x.ndim == 4 else 3, "ConvInteger": 2 if x.ndim == 4 else 0}
    cases.add(f"{what}, operators", [names.count(n) for n in due], list(due.values()), 0)
    session = onnxruntime.InferenceSession("out.onnx")
    theirs = session.run(None, {session.get_inputs()[0].name: x})[0]
    cases.add(f"{what}, ONNX Runtime in whole numbers", theirs, ours, 0 if powers else 0.02)
    other = (np.abs(theirs - ours) > 1e-5 * np.abs(ours).max()).mean()
    cases.add(f"{what}, whole numbers: share of other outputs", other, 0, 0 if powers else 0.01)


def save_nodes(nodes, constants, out):
    """A graph over x [9, 6] of nodes (operator, inputs, output, attributes); QONNX's operators by their domain."""
    own = "qonnx.custom_op.general"
    made = [onnx.helper.make_node(op, inputs, [output], domain=own if op in ("Quant", "BipolarQuant", "Trunc") else "", **attributes)
            for op, inputs, output, attributes in nodes]
    graph = onnx.helper.make_graph(
        made, "g", [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 6])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", out])],
        [onnx.numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in constants.items()])
    version = 2 if any(len(n.input) == 6 for n in made) else 1
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid(own, version)]), "out.onnx")


def qonnx_in(cases):
    rng = np.random.default_rng(8)
    x = np.concatenate([rng.normal(0, 2, (200, 6)), np.arange(-24, 24).reshape(8, 6) / 8]).astype(np.float32)
    w = rng.normal(0, 0.6, (6, 4)).astype(np.float32)

    def compare(what, nodes, constants, out=6):
        save_nodes(nodes, constants, out)
        cases.add(what, Model("out.onnx")(x, engine="integer"), run_qonnx(x), 1e-6)

    for mode in ("ROUND", "HALF_EVEN", "FLOOR", "DOWN", "HALF_UP", "HALF_DOWN"):
        for bits, signed, narrow in ((3, 1, 0), (4, 1, 1), (5, 0, 0)):
            grid = {"signed": signed, "narrow": narrow, "rounding_mode": mode}
            step, b = {"s": 0.25, "z": 0, "b": bits, "sw": 0.125}, [("Quant", ["x", "s", "z", "b"], "y", grid)]
            compare(f"Quant {mode}, {bits} bits, {signed}, {narrow}", b, step)
            compare(f"Quant of weights, {mode}, {bits} bits, {signed}, {narrow}",
                    [("Quant", ["w", "sw", "z", "b"], "q", grid), ("MatMul", ["x", "q"], "y", {})], {**step, "w": w}, 4)
    grid = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}
    compare("Quant, scales of channels", [("Quant", ["w", "s", "z", "b"], "q", grid), ("MatMul", ["x", "q"], "y", {})],
            {"w": w, "s": [[0.1, 0.2, 0.3, 0.4]], "z": 0, "b": 4}, 4)
    compare("Quant with a zero point", [("Quant", ["x", "s", "z", "b"], "y", {**grid, "signed": 0, "narrow": 0})], {"s": 0.3, "z": 8, "b": 4})
    for scale in (0.5, [[0.1, 0.2, 0.3, 0.4]]):
        compare("BipolarQuant", [("BipolarQuant", ["w", "s"], "q", {}), ("MatMul", ["x", "q"], "y", {})], {"w": w, "s": scale}, 4)
    for scale in (1, 0.5, 0.3):
        compare(f"BipolarQuant of activations, {scale}", [("BipolarQuant", ["x", "s"], "y", {})], {"s": scale})
    entry = ("Quant", ["x", "s", "z", "b"], "e", {**grid, "narrow": 0})
    for scale in (2.0 ** -7, 2.0 ** -4, [2.0 ** -9, 2.0 ** -3, 0.25, 1]):  # of a bias; that of the sums is 2^-6
        compare(f"Quant of a bias, {scale}", [entry, ("Quant", ["w", "s", "z", "b"], "q", grid), ("MatMul", ["e", "q"], "m", {}),
                                              ("Quant", ["c", "sc", "z", "b"], "k", grid), ("Add", ["m", "k"], "y", {})],
                {"s": 0.125, "z": 0, "b": 8, "w": w, "c": [0.3, -0.7, 0.9, -1.6], "sc": scale}, 4)
    for mode in ("FLOOR", "ROUND", "DOWN"):
        constants = {"s": 0.125, "z": 0, "b": 8, "o": 5, "t": 1.0}
        compare(f"Trunc, {mode}", [entry, ("Trunc", ["e", "s", "z", "b", "o"], "y", {"rounding_mode": mode})], constants)
        compare(f"Trunc of version 2, {mode}",
                [entry, ("Trunc", ["e", "s", "z", "b", "t", "o"], "y", {"rounding_mode": mode, "signed": 1, "narrow": 0})], constants)
    constants = {"s": 0.125, "z": 0, "b": 8, "o": 5}
    for nodes, message in (
            ([("Quant", ["x", "s", "z", "b"], "y", {**grid, "rounding_mode": "UP"})], "rounding_mode = 'UP'; ROUND, HALF_EVEN"),
            ([("Trunc", ["x", "s", "z", "b", "o"], "y", {})], "does not lie on the grid of scale 0.125 and 8 bits"),
            ([("Trunc", ["x", "s", "z", "o", "b"], "y", {})], "does not lie on the grid of scale 0.125 and 5 bits"),
            ([("Quant", ["x", "s", "z", "s"], "y", grid)], "a width of 0.125 bits is not in 2..16"),
            ([("FloatQuant", ["x", "s", "z", "b"], "y", {})], "FloatQuant")):
        save_nodes(nodes, constants, 6)
        try:
            Model("out.onnx")
            cases.add(f"refused: {message}", 1, 0, 0)
        except Refused as e:
            assert message in str(e), e


def main():
    cases = Cases()
    qonnx_in(cases)
    for shape in ((16,), (3, 8, 8)):
        export(ready(net_of(shape)), torch.randn(3, *shape), False)
        x = events(shape)
        for name, (methods, in_hls4ml) in STAGES.items():
            if "svd" in name and len(shape) > 1:
                continue
            pquant("compress", "net.onnx", "-o", "small.h5", "--calib", "events.h5:train", *sum((["--method", m] for m in methods), []))
            what = f"{'jets' if len(shape) == 1 else 'images'}, {name}"
            qonnx_out(cases, what, x, in_hls4ml and len(shape) == 1)
            if "int8" in name or "4 bits" in name or name == "fixed":
                integers_out(cases, what, x, "fixed" in name)
    pquant("compress", "net.onnx", "-o", "small.h5", "--calib", "events.h5:train", "--method", f"{FIXED},overflow=WRAP")
    done = subprocess.run([PQUANT, "model", "convert", "small.h5", "-o", "out.onnx", "--to", "qonnx"], capture_output=True, text=True)
    assert done.returncode != 0 and "overflow by WRAP; QONNX's Quant saturates" in done.stderr, done.stderr
    cases.finish()


if __name__ == "__main__":
    main()
