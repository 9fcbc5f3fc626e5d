"""pquant's training against PyTorch's on the networks of the issue: whole epochs.

Both train the same network with Adam on the same events from memory, shuffled
anew each epoch; one process, epochs in turns in random order, with a pause in
between so that no thread pool of one still spins beside the next. Both must
learn: the loss after the last epoch is compared before the table is written.
"""

import argparse
import csv
import ctypes
import math
import os
import random
import statistics
import sys
import tempfile
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import h5py
import numpy as np
import torch
from torch import nn

PAUSE_S = 0.05
THREADS = 2
COLUMNS = "work,threads,rival,rival_version,ours_s,rival_s,ratio,ratio_lo,ratio_hi,note".split(",")


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
        return self.fc(x.mean(dim=(2, 3)))


def mlp(*sizes):
    layers = [nn.Flatten()]
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def events(shape, classes, n):
    """Blobs around one centre a class, with as much noise."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, classes, n)
    centres = rng.normal(size=(classes,) + shape).astype(np.float32) * 0.3
    return centres[y] + rng.normal(size=(n,) + shape).astype(np.float32), y.astype(np.int64)


class Ours:
    def __init__(self, library, net, path, batch):
        self.lib = ctypes.CDLL(library)
        self.lib.bench_open.restype = ctypes.c_void_p
        self.lib.bench_about.restype = ctypes.c_char_p
        self.lib.bench_epoch.restype = ctypes.c_double
        self.lib.bench_epoch.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_double)]
        self.handle = self.lib.bench_open(net.encode(), path.encode(), str(batch).encode(), ctypes.c_size_t(THREADS))
        if not self.handle:
            sys.exit("pquant could not start")
        self.about = self.lib.bench_about().decode()

    def epoch(self):
        loss = ctypes.c_double()
        seconds = self.lib.bench_epoch(self.handle, ctypes.byref(loss))
        if seconds < 0:
            sys.exit("pquant could not train")
        return seconds, loss.value


class Torch:
    def __init__(self, name, model, x, y, batch, fused):
        self.name, self.version = name, torch.__version__.split("+")[0]
        self.model, self.x, self.y, self.batch = model, x, y, batch
        self.optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused)
        self.loss = nn.CrossEntropyLoss()

    def epoch(self):
        start, total = time.perf_counter(), 0.0
        order = torch.randperm(len(self.y))
        for i in range(0, len(self.y), self.batch):
            index = order[i : i + self.batch]
            loss = self.loss(self.model(self.x[index]), self.y[index])
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(index)
        return time.perf_counter() - start, float(total) / len(self.y)


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


def compare(library, net, build, shape, classes, n, batch, rounds):
    x, y = events(shape, classes, n)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "events.h5")
        with h5py.File(path, "w") as f:
            f.attrs["format"] = "pquant-dataset"
            f.attrs["class_names"] = [f"c{i}" for i in range(classes)]
            f["train/x"], f["train/y"] = x, y.astype(np.uint8)
        ours = Ours(library, net, path, batch)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    if len(shape) == 3 and shape[2] == 3:
        tx = tx.permute(0, 3, 1, 2)  # NCHW in channels-last memory
    rivals = []
    for name, fused in (("torch eager", None), ("torch eager, fused Adam", True)):
        model = build()
        if tx.ndim == 4 and tx.shape[1] == 3:
            model = model.to(memory_format=torch.channels_last)
        rivals.append(Torch(name, model, tx, ty, batch, fused))
    contenders = [ours] + rivals
    times, losses = [[] for _ in contenders], [0.0] * len(contenders)
    for c in contenders:
        c.epoch()
    order = list(range(len(contenders)))
    for _ in range(rounds):
        random.shuffle(order)
        for i in order:
            time.sleep(PAUSE_S)
            seconds, losses[i] = contenders[i].epoch()
            times[i].append(seconds)
    if not max(losses) < 0.9 * math.log(classes):
        sys.exit(f"{net}: somebody does not learn: losses {losses}")
    rows = []
    for k, rival in enumerate(rivals, 1):
        ratio, lo, hi = median_interval([b / a for a, b in zip(times[0], times[k])])
        mine = statistics.median(times[0])
        rows.append([f"epoch of {net}, batch {batch}", THREADS, rival.name, rival.version, f"{mine:.4g}",
                     f"{statistics.median(times[k]):.4g}", f"{ratio:.3g}", f"{lo:.3g}", f"{hi:.3g}",
                     f"{n} events, Adam; ours {n / mine:.3g} events/s ({ours.about}), "
                     f"theirs {n / statistics.median(times[k]):.3g}; losses {losses[0]:.3g} and {losses[k]:.3g}; "
                     f"{rounds} rounds"])
        print("  " + "  ".join(str(v) for v in rows[-1]), file=sys.stderr, flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("csv")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="part of a network's name")
    a = parser.parse_args()
    random.seed(1)
    torch.manual_seed(1)
    torch.set_num_threads(THREADS)
    works = [
        ("jsc-mlp", lambda: mlp(16, 64, 32, 32, 5), (16,), 5, 102400, 1024),
        ("jsc-mlp", lambda: mlp(16, 64, 32, 32, 5), (16,), 5, 25600, 128),
        ("fashion-mlp", lambda: mlp(784, 512, 256, 10), (28, 28, 1), 10, 6400, 128),
        ("resnet8", Resnet8, (32, 32, 3), 10, 640, 64),
    ]
    rows = []
    for net, build, shape, classes, n, batch in works:
        if a.only in net:
            rows += compare(a.library, net, build, shape, classes, n, batch, a.rounds)
    with open(a.csv, "w", newline="") as f:
        csv.writer(f).writerows([COLUMNS] + rows)


if __name__ == "__main__":
    main()
