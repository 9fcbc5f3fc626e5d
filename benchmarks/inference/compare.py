"""pquant's `blas` engine against PyTorch and ONNX Runtime on two networks.

All contenders sit in one process and are called from Python with arrays that
are bound beforehand; they take turns in random order, several rounds, with a
pause in between so that no thread pool of one still spins beside the next.
Outputs are compared before anything is timed.
"""

import argparse
import ctypes
import io
import os
import pathlib
import random
import statistics
import sys
import time
import warnings

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import onnxruntime
import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from networks import Resnet8, mlp
import turns

warnings.filterwarnings("ignore")

LARGEST_DIFFERENCE = 1e-4  # of softmax outputs
SAMPLE_S = 0.03  # a contender's turn is filled with calls for so long
PAUSE_S = 0.01


# ---- the networks, as torch modules; weights go to the others from here


def randomise(model):
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.running_var, 0.5, 1.5)
            nn.init.normal_(m.running_mean, 0.0, 0.2)
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, 0.0, 0.2)


def load_keras(model, path):
    """Fills Resnet8 from the Keras file; layers are numbered by kind in order."""
    import h5py

    numbers = {}
    with h5py.File(path) as f:
        for layer in model.layers():
            kind = {nn.BatchNorm2d: "batch_normalization", nn.Linear: "dense"}.get(type(layer), "conv2d")
            number = numbers.get(kind, 0)
            numbers[kind] = number + 1
            name = kind if number == 0 else f"{kind}_{number}"
            get = lambda what: torch.tensor(f[f"model_weights/{name}/{name}/{what}:0"][()])
            if kind == "batch_normalization":
                layer.weight.data, layer.bias.data = get("gamma"), get("beta")
                layer.running_mean, layer.running_var = get("moving_mean"), get("moving_variance")
            else:
                kernel = get("kernel")
                layer.weight.data = kernel.T.contiguous() if kind == "dense" else kernel.permute(3, 2, 0, 1).contiguous()
                layer.bias.data = get("bias")


def flat_weights(layers):
    parts = []
    for m in layers:
        if isinstance(m, nn.BatchNorm2d):
            parts += [m.weight, m.bias, m.running_mean, m.running_var]
        elif isinstance(m, nn.Conv2d):
            parts += [m.weight.permute(0, 2, 3, 1), m.bias]  # [out, height, width, in]
        else:
            parts += [m.weight, m.bias]
    return np.concatenate([p.detach().contiguous().numpy().ravel() for p in parts]).astype(np.float32)


# ---- the contenders: name, version, call, output


class Ours:
    def __init__(self, library, model, weights, x, batch, threads):
        self.lib = ctypes.CDLL(library)
        self.lib.bench_open.restype = ctypes.c_void_p
        self.lib.bench_about.restype = ctypes.c_char_p
        self.lib.bench_seconds.restype = ctypes.c_double
        self.lib.bench_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p]
        self.lib.bench_seconds.argtypes = self.lib.bench_run.argtypes + [ctypes.c_size_t]
        self.lib.bench_close.argtypes = [ctypes.c_void_p]
        self.x, self.y = x, np.zeros((batch, 10 if model else 5), np.float32)
        self.handle = self.lib.bench_open(ctypes.c_int(model), ctypes.c_void_p(weights.ctypes.data),
                                          ctypes.c_size_t(batch), ctypes.c_size_t(threads))
        if not self.handle:
            sys.exit("pquant could not build the network")
        self.arguments = (ctypes.c_void_p(self.handle), ctypes.c_void_p(x.ctypes.data),
                          ctypes.c_size_t(batch), ctypes.c_void_p(self.y.ctypes.data))
        run, arguments = self.lib.bench_run, self.arguments
        self.call = lambda: run(*arguments)
        self.about = self.lib.bench_about().decode()

    def output(self):
        self.call()
        return self.y.copy()

    def seconds_in_c(self, calls):
        return self.lib.bench_seconds(*self.arguments, ctypes.c_size_t(calls)) / calls


class Torch:
    def __init__(self, name, function, x):
        self.name, self.version = name, torch.__version__.split("+")[0]
        self.call = lambda: function(x)

    def output(self):
        return self.call().numpy()


class Onnx:
    name, version = "onnxruntime", onnxruntime.__version__

    def __init__(self, model, x, threads):
        file = io.BytesIO()
        torch.onnx.export(model, (x,), file, input_names=["x"], output_names=["y"], dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
        binding = session.io_binding()
        self.y = np.zeros(tuple(session.get_outputs()[0].shape), np.float32)
        self.value = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(x.numpy()))
        self.result = onnxruntime.OrtValue.ortvalue_from_numpy(self.y)
        binding.bind_ortvalue_input("x", self.value)
        binding.bind_ortvalue_output("y", self.result)
        self.call = lambda: session.run_with_iobinding(binding)

    def output(self):
        self.call()
        return self.result.numpy()


def torch_contenders(model, x):
    found = [Torch("torch eager", model, x)]
    frozen = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, x)))
    found.append(Torch("torch jit frozen", frozen, x))
    return found


# ---- timing


def calls_for(contender):
    calls = 1
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            contender.call()
        spent = time.perf_counter() - start
        if spent > SAMPLE_S / 3:
            return max(1, round(calls * SAMPLE_S / spent))
        calls *= 2


def take_turns(contenders, rounds):
    """Wall and CPU seconds a call (all threads together), each [contender][round]."""
    calls = [calls_for(c) for c in contenders]
    wall, cpu = [[] for _ in contenders], [[] for _ in contenders]
    order = list(range(len(contenders)))
    for _ in range(rounds):
        random.shuffle(order)
        for i in order:
            time.sleep(PAUSE_S)
            call = contenders[i].call
            call()
            start, cpu_start = time.perf_counter(), time.process_time()
            for _ in range(calls[i]):
                call()
            wall[i].append((time.perf_counter() - start) / calls[i])
            cpu[i].append((time.process_time() - cpu_start) / calls[i])
    return wall, cpu


def compare(work, threads, ours, rivals, rounds, note):
    rows = []
    due = rivals[0].output()
    difference = max(float(np.abs(c.output() - due).max()) for c in [ours] + rivals)
    if not difference <= LARGEST_DIFFERENCE:
        sys.exit(f"{work}: outputs differ by {difference:.3g}, more than {LARGEST_DIFFERENCE:g}")
    times, cpu = take_turns([ours] + rivals, rounds)
    for i, (rival, theirs) in enumerate(zip(rivals, times[1:]), start=1):
        rows.append(turns.row(work, threads, rival.name, rival.version, times[0], theirs,
                              f"{note}; outputs agree to {difference:.1e}; {rounds} rounds; "
                              f"CPU {statistics.median(cpu[0]):.3g} s, rival's {statistics.median(cpu[i]):.3g} s; "
                              f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"))
        print("  " + "  ".join(str(v) for v in rows[-1][:9]), file=sys.stderr, flush=True)
    return rows


def mlp_rows(library, rounds):
    model = nn.Sequential(*mlp(16, 64, 32, 32, 5), nn.Softmax(dim=1)).eval()  # Duarte et al., arXiv:1804.06913
    weights = flat_weights(m for m in model if isinstance(m, nn.Linear))
    rows = []
    for batch, threads in ((1, 1), (1024, 1), (1024, 2)):
        x = torch.randn(batch, 16)
        torch.set_num_threads(threads)
        ours = Ours(library, 0, weights, x.numpy(), batch, threads)
        rivals = torch_contenders(model, x) + [Onnx(model, x, threads)]
        inside = statistics.median(ours.seconds_in_c(1000) for _ in range(9))
        note = f"random weights; {ours.about}; {inside:.3g} s without Python's call"
        rows += compare(f"jet MLP 16-64-32-32-5 batch {batch}", threads, ours, rivals, rounds, note)
    return rows


def resnet_rows(library, rounds, path):
    model, batch = nn.Sequential(Resnet8(), nn.Softmax(dim=1)).eval(), 64
    if os.path.exists(path):
        load_keras(model[0], path)
        note = "MLPerf Tiny's weights"
    else:
        randomise(model)
        note = "random weights: no mlperf_tiny_resnet8.h5"
    weights = flat_weights(model[0].layers())
    model = model.to(memory_format=torch.channels_last)
    x = (torch.rand(batch, 3, 32, 32) * (255 if os.path.exists(path) else 1)).to(memory_format=torch.channels_last)
    rows = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        ours = Ours(library, 1, weights, np.ascontiguousarray(x.permute(0, 2, 3, 1).numpy()), batch, threads)
        rivals = torch_contenders(model, x) + [Onnx(model, x, threads)]
        rows += compare(f"ResNet-8 batch {batch}", threads, ours, rivals, rounds,
                        f"{note}; torch channels-last; {ours.about}")
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("csv")
    parser.add_argument("--weights", default="")
    parser.add_argument("--rounds", type=int, default=21)
    a = parser.parse_args()
    random.seed(1)
    torch.manual_seed(1)
    with torch.inference_mode():
        rows = mlp_rows(a.library, a.rounds) + resnet_rows(a.library, a.rounds, a.weights)
    turns.write(a.csv, rows)


if __name__ == "__main__":
    main()
