"""int8 ResNet-8 on one thread: pquant's `onednn` engine beside its own f32, oneDNN called bare,
ONNX Runtime (f32 and QDQ int8) and PyTorch.

All contenders sit in one process and take turns in random order; see ../inference/compare.py,
whose networks and clock are used. Models are calibrated on the same random images: times do not
depend on values, and accuracy is for configs/resnet8-int8.yaml to show.
"""

import argparse
import ctypes
import math
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")  # as ours: see bare.c
here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(here.parent / "inference"), str(here.parent)]

import h5py
import numpy as np
import onnxruntime
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from networks import Resnet8
import compare as inference
import turns

LARGEST_DIFFERENCE = 0.25  # of int8 probabilities from f32 ones, on random images


class Plan:
    """A model file of ours with one of our engines."""

    def __init__(self, lib, path, engine, x):
        self.name, self.version = f"pquant {engine}", "this tree"
        lib.bench_open.restype = ctypes.c_void_p
        lib.bench_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
        self.y = np.zeros((len(x), 10), np.float32)
        self.x = x
        lib.bench_kernels.restype, lib.bench_kernels.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
        handle = lib.bench_open(ctypes.c_char_p(path.encode()), ctypes.c_char_p(engine.encode()),
                                ctypes.c_size_t(len(x)))
        if not handle:
            sys.exit(f"pquant cannot run {path}")
        self.kernels = lib.bench_kernels(handle).decode()
        arguments = (ctypes.c_void_p(handle), ctypes.c_void_p(x.ctypes.data), ctypes.c_size_t(len(x)),
                     ctypes.c_void_p(self.y.ctypes.data))
        self.call = lambda: lib.bench_run(*arguments)

    def output(self):
        self.call()
        return self.y.copy()


class Bare:
    """The same work by oneDNN 2.6 alone; its weights are no network's."""

    name, version = "oneDNN bare", "2.6.3"

    def __init__(self, lib, batch):
        lib.bare_open.restype = ctypes.c_void_p
        lib.bare_kernel.restype = ctypes.c_char_p
        lib.bare_kernel.argtypes = lib.bare_run.argtypes = [ctypes.c_void_p]
        handle = lib.bare_open(batch)
        if not handle:
            sys.exit("oneDNN cannot make the network")
        self.kernel = lib.bare_kernel(handle).decode()
        self.call = lambda: lib.bare_run(handle)

    def output(self):
        return None


class Images(CalibrationDataReader):
    def __init__(self, images):
        self.left = iter(images)

    def get_next(self):
        image = next(self.left, None)
        return None if image is None else {"x": image[None]}


class Qdq(inference.Onnx):
    """ONNX Runtime's own static quantization: QDQ, int8 per channel, activations in uint8."""

    name = "onnxruntime QDQ int8"

    def __init__(self, model, x, images):
        with tempfile.TemporaryDirectory() as folder:
            plain, quantized = f"{folder}/plain.onnx", f"{folder}/int8.onnx"
            torch.onnx.export(model, (x[:1],), plain, input_names=["x"], output_names=["y"],
                              dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, opset_version=17, dynamo=False)
            quantize_static(plain, quantized, Images(images), quant_format=QuantFormat.QDQ, per_channel=True,
                            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            session = onnxruntime.InferenceSession(quantized, options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        self.value = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(x.numpy()))
        self.result = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((len(x), 10), np.float32))
        binding.bind_ortvalue_input("x", self.value)
        binding.bind_ortvalue_output("y", self.result)
        self.call = lambda: session.run_with_iobinding(binding)


def compressed(pquant, weights, images, folder):
    """Our int8 model, calibrated on the images."""
    data, out = f"{folder}/images.h5", f"{folder}/int8.h5"
    with h5py.File(data, "w") as f:
        f["x"] = images
        f["y"] = np.arange(len(images), dtype=np.uint8) % 10
    subprocess.run([pquant, "compress", weights, "-o", out, "--method", "quantize:bits=8", "--calib", data],
                   check=True, stdout=subprocess.DEVNULL)
    return out


def rows_for(batch, lib, a, model, int8, images, rounds):
    x = images[:batch]
    nchw = torch.tensor(x).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    ours = Plan(lib, int8, "onednn", x)
    bare = Bare(lib, batch)
    f32 = Plan(lib, a.weights, "blas", x)
    f32.name = "pquant blas f32"
    onnx = inference.Onnx(model, nchw, 1)
    onnx.name = "onnxruntime f32"
    torch_f32 = inference.torch_contenders(model, nchw)
    for t in torch_f32:
        t.name += " f32"
    rivals = [f32, bare, Qdq(model, nchw, images.transpose(0, 3, 1, 2)[:64]), onnx] + torch_f32
    due, found = f32.output(), {}
    for c in [ours] + rivals:
        if c is not bare:
            found[c.name] = float(np.abs(c.output() - due).max())
    # A rival's int8 may be off where sums of bytes saturate (no VNNI): its row says by how much.
    limits = {c: LARGEST_DIFFERENCE if c == ours.name else math.inf if "int8" in c else 1e-4 for c in found}
    wrong = [f"{c}: {d:.3g}" for c, d in found.items() if not d <= limits[c]]
    if wrong:
        sys.exit("outputs differ too much from f32: " + ", ".join(wrong))
    wall, _ = inference.take_turns([ours] + rivals, rounds)
    rows = []
    for rival, theirs in zip(rivals, wall[1:]):
        note = (f"ours: {ours.kernels}; bare: {bare.kernel}; "
                f"probabilities off f32 by {found[ours.name]:.1e}"
                + (f", rival's by {found[rival.name]:.1e}" if rival.name in found else "")
                + f"; {rounds} rounds; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        rows.append(turns.row(f"ResNet-8 int8 batch {batch}", 1, rival.name, rival.version, wall[0], theirs, note))
        print("  " + "  ".join(str(v) for v in rows[-1][:9]), file=sys.stderr, flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("csv")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--pquant", required=True)
    parser.add_argument("--rounds", type=int, default=21)
    a = parser.parse_args()
    random.seed(1)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    images = np.ascontiguousarray((torch.rand(400, 32, 32, 3) * 255).numpy())
    model = torch.nn.Sequential(Resnet8(), torch.nn.Softmax(dim=1)).eval()
    inference.load_keras(model[0], a.weights)
    model = model.to(memory_format=torch.channels_last)
    lib = ctypes.CDLL(a.library)
    rows = []
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        int8 = compressed(a.pquant, a.weights, images, folder)
        for batch in (1, 16):
            rows += rows_for(batch, lib, a, model, int8, images, a.rounds)
    turns.write(a.csv, rows)


if __name__ == "__main__":
    main()
