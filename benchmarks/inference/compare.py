"""pquant's `blas` engine against PyTorch and ONNX Runtime on two networks.

All contenders sit in one process and are called from Python with arrays that
are bound beforehand; they take turns in random order, several rounds, with a
pause in between so that no thread pool of one still spins beside the next.
Outputs are compared before anything is timed.
"""

import argparse
import csv
import ctypes
import io
import math
import os
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

warnings.filterwarnings("ignore")

LARGEST_DIFFERENCE = 1e-4  # of softmax outputs
SAMPLE_S = 0.03  # a contender's turn is filled with calls for so long
PAUSE_S = 0.01
COLUMNS = "work,threads,rival,rival_version,ours_s,rival_s,ratio,ratio_lo,ratio_hi,note".split(",")


# ---- the networks, as torch modules; weights go to the others from here


class Mlp(nn.Sequential):
    """16-64-32-32-5, Duarte et al., arXiv:1804.06913."""

    def __init__(self):
        sizes = [16, 64, 32, 32, 5]
        layers = []
        for a, b in zip(sizes, sizes[1:]):
            layers += [nn.Linear(a, b), nn.ReLU()]
        super().__init__(*layers[:-1], nn.Softmax(dim=1))


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's `same` padding: uneven where the stride is 2."""

    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2 if stride == 1 else 0)
        self.uneven = stride == 2 and kernel == 3

    def forward(self, x):
        return super().forward(nn.functional.pad(x, (0, 1, 0, 1)) if self.uneven else x)


class Stack(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.a, self.a_norm = SameConv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs, eps=1e-3)
        self.b, self.b_norm = SameConv(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs, eps=1e-3)
        self.short = SameConv(inputs, outputs, 1, stride) if stride == 2 else nn.Identity()

    def forward(self, x):
        y = torch.relu(self.a_norm(self.a(x)))
        return torch.relu(self.short(x) + self.b_norm(self.b(y)))


class Resnet8(nn.Module):
    """MLPerf Tiny's network for CIFAR-10, Banbury et al., arXiv:2106.07597."""

    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = SameConv(3, 16, 3, 1), nn.BatchNorm2d(16, eps=1e-3)
        self.stacks = nn.Sequential(Stack(16, 16), Stack(16, 32), Stack(32, 64))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.stacks(torch.relu(self.stem_norm(self.stem(x))))
        return torch.softmax(self.fc(x.mean(dim=(2, 3))), dim=1)

    def layers(self):
        """Layers with weights in the order in which ours.c and Keras count them."""
        found = [self.stem, self.stem_norm]
        for s in self.stacks:
            found += [s.a, s.a_norm, s.b, s.b_norm] + ([s.short] if isinstance(s.short, nn.Conv2d) else [])
        return found + [self.fc]


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


def median_interval(values):
    """Median and the order statistics that hold it with at least 95 %."""
    values, n = sorted(values), len(values)
    k, below = 0, 0.0
    while k < n // 2:
        below += math.comb(n, k) / 2**n
        if below > 0.025:
            break
        k += 1
    return statistics.median(values), values[max(k - 1, 0)], values[min(n - k, n - 1)]


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
        ratio, lo, hi = median_interval([b / a for a, b in zip(times[0], theirs)])
        rows.append([work, threads, rival.name, rival.version, f"{statistics.median(times[0]):.4g}",
                     f"{statistics.median(theirs):.4g}", f"{ratio:.3g}", f"{lo:.3g}", f"{hi:.3g}",
                     f"{note}; outputs agree to {difference:.1e}; {rounds} rounds; "
                     f"CPU {statistics.median(cpu[0]):.3g} s, rival's {statistics.median(cpu[i]):.3g} s; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"])
        print("  " + "  ".join(str(v) for v in rows[-1][:9]), file=sys.stderr, flush=True)
    return rows


def mlp_rows(library, rounds):
    model = Mlp().eval()
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
    model, batch = Resnet8().eval(), 64
    if os.path.exists(path):
        load_keras(model, path)
        note = "MLPerf Tiny's weights"
    else:
        randomise(model)
        note = "random weights: no mlperf_tiny_resnet8.h5"
    weights = flat_weights(model.layers())
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
    with open(a.csv, "w", newline="") as f:
        csv.writer(f).writerows([COLUMNS] + rows)


if __name__ == "__main__":
    main()
