"""Models, compressed by every method, written as ONNX: ONNX Runtime and pquant give what the model gave."""
import os
import subprocess

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from common import PQUANT, Cases, pquant, write_dataset
from library import Model
from onnx_in import NETS, export, ready

TOLERANCE = 1e-5


def run(path, x):
    session = onnxruntime.InferenceSession(path)
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def check(cases, what, path, tolerance=TOLERANCE):
    """Writes the model, and compares on events in our layout."""
    model = Model(path)
    x = np.random.default_rng(7).normal(size=(9, *model.inputs[0])).astype(np.float32)
    due = model(x, engine="reference")
    pquant("model", "convert", path, "-o", "out.onnx")
    onnx.checker.check_model("out.onnx")
    cases.add(f"{what}, ONNX Runtime", run("out.onnx", x), due, tolerance)
    cases.add(f"{what}, read again", Model("out.onnx")(x, engine="reference"), due, tolerance)


def dataset(path, shape):
    """A few events, for calibration."""
    rng = np.random.default_rng(11)
    write_dataset(path, ["a", "b", "c"], {"train": {
        "x": rng.normal(size=(64, *shape)).astype(np.float32), "y": rng.integers(0, 3, 64).astype(np.uint8)}})


STAGES = {
    "svd": ["svd:rank=2"], "tucker": ["tucker:rank=4"], "cp": ["cp:rank=4"],
    "tensor_train": ["tensor_train:rank=3"], "ring": ["tensor_train:rank=2,form=ring,keep_dense=false"],
    "lora": ["lora:rank=2", "lora:action=merge"], "prune": ["prune:target_sparsity=0.6"],
    "svd and prune": ["svd:rank=2", "prune:target_sparsity=0.5"], "float16": ["quantize:format=float16"],
}

FLOATS = {
    "12 bits": ["quantize:bits=12,activation_bits=8"],
    "groups": ["quantize:bits=4,granularity=per_group,group=4,activations=true"],
    "train of codes": ["tensor_train:rank=3,clip_rank=true,keep_dense=false", "quantize:bits=8,activation_bits=8"],
    "fixed point": ["quantize:format=fixed,bits=12,integer_bits=2,activation_bits=8,activation_integer_bits=3"],
}


def int8_step(path):
    """One step of the output's grid over its largest value: what codes may differ by."""
    net = onnx.load(path)
    numbers = {t.name: onnx.numpy_helper.to_array(t) for t in net.graph.initializer}
    last = [n for n in net.graph.node if n.op_type == "QuantizeLinear"][-1]
    return float(numbers[last.input[1]])


def main():
    cases = Cases()
    nets = {
        "mlp": (nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 3)), (16,)),
        "image": (nn.Sequential(
            nn.Conv2d(4, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2), nn.BatchNorm2d(16), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3)), (4, 8, 8)),
    }
    for name, (net, shape) in NETS.items():
        export(ready(net), torch.randn(3, *shape), False)
        check(cases, name, "net.onnx")
    refused = []
    for name, (net, shape) in nets.items():
        export(ready(net), torch.randn(3, *shape), False)
        dataset("events.h5", Model("net.onnx").inputs[0])
        for what, methods in STAGES.items():
            command = [PQUANT, "compress", "net.onnx", "-o", "small.h5", "--calib", "events.h5:train",
                       *sum((["--method", m] for m in methods), [])]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                refused.append(f"{name}, {what}: {done.stderr.strip()}")
                continue
            check(cases, f"{name}, {what}", "small.h5")
        pquant("compress", "net.onnx", "-o", "int8.h5", "--calib", "events.h5:train", "--method",
               "quantize:bits=8,activation_bits=8")
        pquant("model", "convert", "int8.h5", "-o", "int8.onnx")
        model = Model("int8.h5")
        x = np.random.default_rng(13).normal(size=(200, *model.inputs[0])).astype(np.float32)
        due, step = model(x, engine="reference"), int8_step("int8.onnx")
        off = np.abs(run("int8.onnx", x) - due) / step
        cases.add(f"{name}, int8 in steps of its output", off.max(), 0.0, 1.001)
        print(f"{name}, int8: {np.mean(off < 0.5):.4f} of the outputs have the same code")
        again = Model("int8.onnx")(x, engine="reference")
        cases.add(f"{name}, int8 read again", again, due, TOLERANCE)
        # Kernels that are no bytes, between activations that are, are computed as they are: not
        # rounded to bytes behind our back.
        for what, methods in FLOATS.items():
            pquant("compress", "net.onnx", "-o", "floats.h5", "--calib", "events.h5:train",
                   *sum((["--method", m] for m in methods), []))
            pquant("model", "convert", "floats.h5", "-o", "floats.onnx")
            onnx.checker.check_model("floats.onnx")
            due, step = Model("floats.h5")(x, engine="reference"), int8_step("floats.onnx")
            off = np.abs(run("floats.onnx", x) - due) / step
            cases.add(f"{name}, {what}: part of the outputs with another code", np.mean(off > 0.5), 0.0, 0.02)
            cases.add(f"{name}, {what}, read again", Model("floats.onnx")(x, engine="reference"), due, TOLERANCE)
    print(*refused, sep="\n")
    cases.finish()


if __name__ == "__main__":
    main()
