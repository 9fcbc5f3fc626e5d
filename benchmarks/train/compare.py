"""pquant's training against PyTorch's on the networks of the issue: whole epochs.

Both train the same network with Adam on the same events from memory, shuffled
anew each epoch; one process, epochs in turns in random order, with a pause in
between so that no thread pool of one still spins beside the next. Both must
learn: the loss after the last epoch is compared before the table is written.
"""

import argparse
import ctypes
import math
import os
import pathlib
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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import accuracy
from networks import Resnet8, mlp
import turns

PAUSE_S = 0.05
THREADS = 2


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
        mine = statistics.median(times[0])
        rows.append(turns.row(f"epoch of {net}, batch {batch}", THREADS, rival.name, rival.version, times[0], times[k],
                              f"{n} events, Adam; ours {n / mine:.3g} events/s ({ours.about}), "
                              f"theirs {n / statistics.median(times[k]):.3g}; "
                              f"losses {losses[0]:.3g} and {losses[k]:.3g}; {rounds} rounds"))
        print("  " + "  ".join(str(v) for v in rows[-1]), file=sys.stderr, flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("csv")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="part of a network's name")
    parser.add_argument("--pquant", required=True, help="the program, for whole trainings")
    a = parser.parse_args()
    random.seed(1)
    torch.manual_seed(1)
    torch.set_num_threads(THREADS)
    works = [
        ("jsc-mlp", lambda: mlp(16, 64, 32, 32, 5), (16,), 5, 60000, 1024),
        ("jsc-mlp", lambda: mlp(16, 64, 32, 32, 5), (16,), 5, 60000, 128),
        ("fashion-mlp", lambda: nn.Sequential(nn.Flatten(), mlp(784, 512, 256, 10)), (28, 28, 1), 10, 60000, 128),
        ("resnet8", Resnet8, (32, 32, 3), 10, 6400, 64),  # an eighth of CIFAR-10
    ]
    rows = []
    for net, build, shape, classes, n, batch in works:
        if a.only in net:
            rows += compare(a.library, net, build, shape, classes, n, batch, a.rounds)
    if a.only in "jsc-mlp":
        rows += accuracy.rows(pathlib.Path(__file__).resolve().parents[2], os.path.abspath(a.pquant))
    turns.write(a.csv, rows)


if __name__ == "__main__":
    main()
