"""The jet tagger trained by pquant and by PyTorch on the same jets, three seeds each.

usage: accuracy.py PQUANT OUT.csv   (from the repository's root; needs torch and h5py)

Both: 16-64-32-32-5, Adam, batch 256, rate 0.003 with one epoch of warm-up and a
cosine to 0, 60 epochs, the epoch of least validation loss kept; LeCun-normal
first weights, biases 0. Writes a row a seed and prints the table.
"""

import csv
import json
import math
import os
import subprocess
import sys
import tempfile

import h5py
import numpy as np
import torch
from torch import nn

CONFIG = "configs/train-jsc.yaml"
EPOCHS, BATCH, RATE, WARM = 60, 256, 3e-3, 1
SEEDS = (1, 2, 3)


def ours(pquant, seed):
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "log.json")
        subprocess.run([pquant, "train", CONFIG, "--quiet", "-S", f"train.seed={seed}", "-S", f"output.log={log}",
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
    sizes, layers = [16, 64, 32, 32, 5], []
    for a, b in zip(sizes, sizes[1:]):
        layer = nn.Linear(a, b)
        nn.init.normal_(layer.weight, 0.0, math.sqrt(1.0 / a))
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.ReLU()]
    model, loss = nn.Sequential(*layers[:-1]), nn.CrossEntropyLoss()
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


def main():
    pquant, out = sys.argv[1:3]
    torch.set_num_threads(2)
    rows = []
    for seed in SEEDS:
        a, b = ours(pquant, seed), theirs("datasets/jets-hlf.h5", seed)
        rows.append([seed, f"{100 * a:.2f}", f"{100 * b:.2f}", f"{100 * (a - b):+.2f}"])
        print("  ".join(str(v) for v in rows[-1]), flush=True)
    mean = [sum(float(r[i]) for r in rows) / len(rows) for i in (1, 2)]
    rows.append(["mean", f"{mean[0]:.2f}", f"{mean[1]:.2f}", f"{mean[0] - mean[1]:+.2f}"])
    with open(out, "w", newline="") as f:
        csv.writer(f).writerows([["seed", "pquant_percent", f"torch_{torch.__version__.split('+')[0]}_percent",
                                  "difference"]] + rows)
    print("  ".join(str(v) for v in rows[-1]))


if __name__ == "__main__":
    main()
