"""HLS C++ with the ap_fixed and ac_fixed that hls4ml brings: the numbers of the engine `integer`, bit by bit."""
import ctypes
import os
import pathlib
import subprocess

import hls4ml
import numpy as np
import torch
from torch import nn

from common import PQUANT, ROOT, Cases, pquant, write_dataset
from library import Model
from onnx_in import export, ready

TEMPLATES = pathlib.Path(hls4ml.__file__).parent / "templates"
TYPES = {"ap_fixed": (TEMPLATES / "vivado/ap_types", []), "ac_fixed": (TEMPLATES / "catapult/ac_types/include", ["-DPQUANT_AC_TYPES"])}
FIXED = "quantize:format=fixed,bits=6,activation_bits=7"
NETS = {
    "dense": lambda: ((8,), nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))),
    "dense, BatchNorm": lambda: ((8,), nn.Sequential(nn.Linear(8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3), nn.Hardtanh(-1, 1))),
    "images": lambda: ((2, 6, 6), nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3))),
}
CALL = """#include <cstddef>
#include "net.h"
extern "C" void run(const double *x, double *y, size_t n)
{
    static net_input_t a[net_INPUTS];
    static net_result_t b[net_OUTPUTS];
    for (size_t e = 0; e < n; e++) {
        for (int i = 0; i < net_INPUTS; i++) { a[i] = x[e * net_INPUTS + i]; }
        net(a, b);
        for (int i = 0; i < net_OUTPUTS; i++) { y[e * net_OUTPUTS + i] = b[i].to_double(); }
    }
}
"""


def build(types, output, *sources):
    folder, options = TYPES[types]
    done = subprocess.run(["g++", "-O1", "-w", *options, f"-I{folder}", "-Ihls", *sources, "-o", output], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def main():
    cases, number = Cases(), 0
    rng = np.random.default_rng(5)
    for what, make in NETS.items():
        shape, net = make()
        export(ready(net), torch.randn(3, *shape), False)
        x = rng.normal(size=(400, *Model("net.onnx").inputs[0])).astype(np.float32)
        write_dataset("events.h5", list("abc"), {"train": {"x": x, "y": rng.integers(0, 3, 400).astype(np.uint8)}})
        for method in (FIXED, f"{FIXED},rounding=TRN,overflow=WRAP", f"{FIXED},granularity=per_channel,rounding=RND_INF,overflow=SAT_SYM"):
            pquant("compress", "net.onnx", "-o", "small.h5", "--calib", "events.h5:train", "--method", method)
            pquant("codegen", "small.h5", "-o", "hls", "--name", "net", "--target", "hls", "--logits")
            pathlib.Path("hls/call.cpp").write_text(CALL)
            due = Model("small.h5")(x, engine="integer").reshape(len(x), -1)
            for types in TYPES:
                number += 1
                build(types, "net.o", "-c", "-fPIC", "hls/net.cpp")
                build(types, "stored", "net.o", "hls/net_test.cpp")
                told = subprocess.run(["./stored"], capture_output=True, text=True)
                cases.add(f"{what}, {method}, {types}: {told.stdout}", told.returncode, 0, 0)
                # A name of its own: a library of the same name is not loaded again.
                build(types, f"call{number}.so", "-shared", "-fPIC", "net.o", "hls/call.cpp")
                y = np.zeros_like(due, np.float64)
                library = ctypes.CDLL(os.path.abspath(f"call{number}.so"))
                library.run(np.ascontiguousarray(x, np.float64).ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(len(x)))
                cases.add(f"{what}, {method}, {types}", y.astype(np.float32), due, 0)
    # Random nets, where the unit tests are built.
    test = f"{ROOT}/build-gcc/tests/test_codegen_hls"
    if os.path.exists(test):
        env = {**os.environ, "PQ_AP_TYPES": str(TYPES["ap_fixed"][0]), "PQ_AC_TYPES": str(TYPES["ac_fixed"][0])}
        told = subprocess.run([test, "--jobs=2"], capture_output=True, text=True, env=env)
        cases.add(f"{test}: exit code of {told.stderr[-2000:]}", told.returncode, 0, 0)
    cases.finish()


if __name__ == "__main__":
    main()
