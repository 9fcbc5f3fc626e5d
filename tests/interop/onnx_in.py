"""Nets of PyTorch (both exporters), scikit-learn and files of others, through ONNX: outputs as ONNX Runtime's."""
import contextlib
import glob
import io
import itertools
import logging
import os
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from onnxscript import FLOAT, script
from onnxscript import opset18 as op
from onnxscript.values import Opset
from torch import nn

from common import Cases
from library import Model, Refused

TOLERANCE = 1e-5
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODELS = os.path.join(os.environ.get("PQUANT_REAL_DATA", os.path.join(ROOT, "..", "shared", "data")), "models")
logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
torch.manual_seed(3)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.second, self.out = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8 * 4 * 4, 5)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)))
        return self.out(F.max_pool2d(F.relu(x + self.second(x)), 2).flatten(1))


class OptionA(nn.Module):
    """The shortcut of CIFAR ResNets: every other pixel, and channels of zeros."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.Linear(16, 4)

    def forward(self, x):
        x = F.relu(self.conv(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 5, 8)))
        x = F.avg_pool2d(x, x.size(3))
        return self.out(x.view(x.size(0), -1))


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return torch.cat([F.elu(self.b(F.gelu(self.a(x)))), torch.tanh(x) * 3, x - 0.5], 1)


def mlp(activation):
    return nn.Sequential(nn.Linear(16, 20), nn.BatchNorm1d(20), activation, nn.Linear(20, 5), nn.Softmax(1))


NETS = {
    **{f"mlp {type(a).__name__}": (mlp(a), (16,)) for a in (
        nn.ReLU(), nn.LeakyReLU(0.2), nn.GELU(), nn.Hardswish(), nn.ReLU6(), nn.SiLU(), nn.Hardsigmoid(),
        nn.ELU(0.7), nn.Sigmoid(), nn.Tanh(), nn.PReLU(), nn.Identity(), nn.Dropout(0.3), nn.Hardtanh(-0.5, 2))},
    "mlp GELU tanh": (mlp(nn.GELU("tanh")), (16,)),
    "residual": (Residual(), (3, 8, 8)),
    "option A": (OptionA(), (3, 8, 8)),
    "branches": (Branches(), (6,)),
    "groups": (nn.Sequential(
        nn.Conv2d(6, 6, 3, groups=6), nn.ReLU6(), nn.Conv2d(6, 12, 1, groups=2), nn.AvgPool2d(2, padding=1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(12, 3)), (6, 9, 9)),
    "strides": (nn.Sequential(
        nn.ZeroPad2d((1, 2, 0, 1)), nn.Conv2d(2, 5, (3, 2), stride=(2, 1), dilation=(1, 2)), nn.BatchNorm2d(5),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(5, 3)), (2, 11, 9)),
    "flatten": (nn.Sequential(nn.Flatten(), nn.Linear(60, 7), nn.ReLU(), nn.Linear(7, 2)), (3, 5, 4)),
    "flatten norm": (nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Flatten(), nn.BatchNorm1d(36), nn.ReLU(), nn.Linear(36, 3)), (3, 5, 5)),
    "conv1d": (nn.Sequential(
        nn.Conv1d(4, 6, 3, padding=1), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(30, 3)), (4, 10)),
    "rows": (nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), (10, 4)),
}


def ready(net):
    for module in net.modules():
        if hasattr(module, "running_mean"):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net.eval()


def check(cases, what, path, x):
    """x in ONNX's order."""
    session = onnxruntime.InferenceSession(path)
    due = session.run(None, {session.get_inputs()[0].name: x})[0]
    model = Model(path)
    ours = x if model.inputs[0] == x.shape[1:] else np.moveaxis(x, 1, -1)
    for engine in ("reference", "float32"):
        cases.add(f"{what}, {engine}", model(ours, engine=engine).reshape(due.shape), due, TOLERANCE)


def export(net, x, dynamo, **how):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        if dynamo:
            torch.onnx.export(net, (x,), "net.onnx", dynamo=True, dynamic_shapes=({0: torch.export.Dim("batch")},), **how)
        else:
            torch.onnx.export(net, (x,), "net.onnx", dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch"}}, **how)


WAYS = {"classic": dict(dynamo=False), "dynamo": dict(dynamo=True), "dynamo as it is": dict(dynamo=True, optimize=False),
        "modules as functions": dict(dynamo=False, opset_version=17, export_modules_as_functions=True)}


def torch_nets(cases):
    functions = 0
    for name, (net, shape) in NETS.items():
        x = torch.randn(7, *shape)
        for way, how in WAYS.items():
            try:
                export(ready(net), x, **how)
            except RuntimeError as e:  # modules of one class that were called in different ways
                assert way == "modules as functions" and "same set of annotated attribute" in str(e), e
                continue
            functions += len(onnx.load("net.onnx").functions)
            check(cases, f"{name}, {way}", "net.onnx", x.numpy())
    assert functions > 100, functions


def norms(cases):
    """LayerNormalization as one operator, and as those that opsets before 17 have."""
    net = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.LayerNorm(8, elementwise_affine=False), nn.Linear(8, 3)).eval()
    nn.init.normal_(net[1].weight)
    nn.init.normal_(net[1].bias)
    for shape, opset in itertools.product(((6,), (5, 6)), (11, 17)):
        x = torch.randn(7, *shape)
        export(net, x, dynamo=False, opset_version=opset)
        check(cases, f"norms, {shape}, opset {opset}", "net.onnx", x.numpy())


def script_net(cases):
    """Functions of onnxscript that call each other, with attributes given, passed on and by default."""
    local = Opset("local", 1)

    @script(local)
    def Activation(x, alpha: float = 1.0):
        return op.Elu(x, alpha=alpha)

    @script(local)
    def Dense(x, kernel, bias):
        return op.Add(op.MatMul(x, kernel), bias)

    @script(local)
    def Block(x, kernel, bias, slope: float):
        return Activation(Dense(x, kernel, bias), alpha=slope)

    @script(default_opset=op)
    def net(x: FLOAT["batch", 16], a: FLOAT[16, 8], b: FLOAT[8], c: FLOAT[8, 8]):
        h = Block(x, a, b, slope=0.5)
        return Activation(Block(h, c, b, slope=0.25))

    model, rng = net.to_model_proto(), np.random.default_rng(4)
    for port in list(model.graph.input)[1:]:
        shape = [d.dim_value for d in port.type.tensor_type.shape.dim]
        model.graph.initializer.append(numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), port.name))
        model.graph.input.remove(port)
    assert len(model.functions) == 3
    onnx.save(model, "net.onnx")
    check(cases, "onnxscript", "net.onnx", rng.normal(size=(7, 16)).astype(np.float32))


def biases(cases):
    """Biases of int32 in the unit of the sums, s_x s_w, and in others: within one step of ONNX Runtime as the file says,
    whose optimized graph takes every one for the former."""
    rng, node = np.random.default_rng(1), helper.make_node
    for ratio, (sw, sx, sy) in itertools.product((1, 3, 0.1, 0.37, 3.3), ((0.0173, 0.031, 0.02), (0.9, 0.7, 0.1))):
        arrays = {"w": rng.integers(-7, 8, (8, 4)).astype(np.int8), "sw": np.float32(sw), "b": rng.integers(-9, 10, 4).astype(np.int32),
                  "sb": np.float32(np.float32(sw) * np.float32(sx)) * np.float32(ratio), "sx": np.float32(sx), "sy": np.float32(sy), "z": np.int8(0)}
        nodes = [node("QuantizeLinear", ["x", "sx", "z"], ["xq"]), node("DequantizeLinear", ["xq", "sx", "z"], ["xd"]),
                 node("DequantizeLinear", ["w", "sw", "z"], ["wd"]), node("DequantizeLinear", ["b", "sb"], ["bd"]),
                 node("Gemm", ["xd", "wd", "bd"], ["g"]), node("QuantizeLinear", ["g", "sy", "z"], ["yq"]), node("DequantizeLinear", ["yq", "sy", "z"], ["y"])]
        ports = [helper.make_tensor_value_info(name, 1, ["batch", n]) for name, n in (("x", 8), ("y", 4))]
        graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "net.onnx")
        x = (rng.normal(size=(2000, 8)) * sx * 60).astype(np.float32)
        how = onnxruntime.SessionOptions()
        how.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        due = onnxruntime.InferenceSession("net.onnx", how).run(None, {"x": x})[0] / sy
        model = Model("net.onnx")
        for engine in ("reference", "integer", "int8", "float32"):
            off = np.rint(np.abs(model(x, engine=engine) / sy - due))
            cases.add(f"bias in {ratio} units, {engine}", off > 1, np.zeros_like(off), 0)
            cases.add(f"bias in {ratio} units, {engine}: steps", off.mean() <= 0.01, 1, 0)


def samples(cases):
    """Files of others; each as ONNX Runtime, which refuses the same one."""
    for path in sorted(glob.glob(f"{MODELS}/*.onnx")):
        net = onnx.load(path)
        for port in (net.graph.input[0], net.graph.output[0]):
            batch = port.type.tensor_type.shape.dim[0]
            if batch.dim_value > 1:  # of the events that it was traced with
                batch.dim_param = "batch"
        name, path = os.path.basename(path), "sample.onnx"
        onnx.save(net, path)
        port = onnxruntime.InferenceSession(path).get_inputs()[0]
        x = np.random.default_rng(5).normal(size=(1, *port.shape[1:])).astype(np.float32)
        try:
            session = onnxruntime.InferenceSession(path)
            session.run(None, {port.name: x})
        except Exception:
            try:
                Model(path)
            except Refused as said:
                print(f"{name}: refused by ONNX Runtime, and here: {str(said).split(': ', 1)[1]}")
                continue
            raise
        check(cases, name, path, x)


def main():
    cases = Cases()
    torch_nets(cases)
    norms(cases)
    script_net(cases)
    biases(cases)
    samples(cases)
    cases.finish()


if __name__ == "__main__":
    main()
