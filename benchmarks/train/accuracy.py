"""The jet tagger trained by pquant and by PyTorch on the same jets, three seeds each.

Both: 16-64-32-32-5, Adam, batch 256, rate 0.003 with one epoch of warm-up and a
cosine to 0, 60 epochs, the epoch of least validation loss kept; LeCun-normal
first weights, biases 0; ours on two threads, the other on the better of one and two. Rows for compare.py: times of whole
trainings, accuracies on the test jets in the note.
"""

import json
import math
import os
import statistics
import subprocess
import tempfile
import time

import h5py
import numpy as np
import torch
from torch import nn

from networks import mlp
import turns

CONFIG = "configs/train-jsc.yaml"
JETS = "datasets/jets-hlf.h5"
EPOCHS, BATCH, RATE, WARM = 60, 256, 3e-3, 1
SEEDS = (1, 2, 3)
THREADS = 2


def ours(pquant, seed):
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log.json")
        subprocess.run([pquant, "train", CONFIG, "--quiet", "--threads", str(THREADS), "-S", f"train.seed={seed}", "-S", f"output.log={log}",
                        "-S", f"train.epochs={EPOCHS}", "-o", os.path.join(folder, "model.h5")], check=True)
        with open(log) as f:
            return json.load(f)["test"]["accuracy"]["value"]


def split(file, name, mean, std):
    x = (file[f"{name}/x"][()] - mean) / std
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(file[f"{name}/y"][()].astype(np.int64))


def theirs(path, seed):
    with h5py.File(path) as f:
        scaler = f.attrs["scaler_mean"], f.attrs["scaler_std"]
        (x, y), (vx, vy), (tx, ty) = (split(f, name, *scaler) for name in ("train", "val", "test"))
    torch.manual_seed(seed)
    model, loss = mlp(16, 64, 32, 32, 5), nn.CrossEntropyLoss()
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.0, math.sqrt(1.0 / layer.in_features))
            nn.init.zeros_(layer.bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    best, kept = math.inf, None
    for epoch in range(EPOCHS):
        order = torch.randperm(len(y))
        for i in range(0, len(y), BATCH):
            at = epoch + i / len(y)
            share = min(max((at - WARM) / (EPOCHS - WARM), 0.0), 1.0)
            rate = RATE * at / WARM if at < WARM else 0.5 * RATE * (1 + math.cos(math.pi * share))
            optimizer.param_groups[0]["lr"] = rate
            index = order[i : i + BATCH]
            optimizer.zero_grad(set_to_none=True)
            loss(model(x[index]), y[index]).backward()
            optimizer.step()
        with torch.inference_mode():
            watched = float(loss(model(vx), vy))
        if watched < best:
            best, kept = watched, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(kept)
    with torch.inference_mode():
        return float((model(tx).argmax(dim=1) == ty).double().mean())


def timed(call, *arguments):
    start = time.perf_counter()
    return call(*arguments), time.perf_counter() - start


def rows(root, pquant):
    """Run from any folder; `root` is the repository's."""
    here = os.getcwd()
    os.chdir(root)
    found, accuracies = [], []
    for seed in SEEDS:
        a, mine = timed(ours, pquant, seed)
        tries = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            tries.append(timed(theirs, JETS, seed) + (threads,))
        b, other, threads = min(tries, key=lambda t: t[1])
        accuracies.append((100 * a, 100 * b))
        found.append(turns.row(f"jsc-mlp, {EPOCHS} epochs, seed {seed}", THREADS, "torch eager, fused Adam",
                               torch.__version__.split("+")[0], [mine], [other],
                               f"test accuracy {100 * a:.2f} %, rival's {100 * b:.2f} %, "
                               f"on {threads} of 1 and 2 threads"))
    mean = [statistics.mean(column) for column in zip(*accuracies)]
    found[-1][-1] += f"; means of the seeds {mean[0]:.2f} % and {mean[1]:.2f} %, {mean[0] - mean[1]:+.2f} points"
    os.chdir(here)
    return found
