"""Pruning in training by pquant and by PQuantML (on PyTorch): the jet tagger of configs/jsc-prune.yaml,
from the same weights, on the same jets, by the same methods and as many epochs, three seeds each.

Both: 16-64-32-32-5, Adam, batch 256, rate 0.003 with a cosine to 0 over 30 epochs, in 15 (activation
pruning: 5) of which weights are pruned and in the rest of which masks are fixed; of those the epoch of
least validation loss is kept. PQuantML has no target but in PDP and MDMM: of the values of that
configuration and of its own defaults each method gets, with the first seed, those that end nearer to 70 %
zeros; the shares stand beside the accuracies. Nothing is quantized. Its output layer is left out of its
activation pruning, which would remove classes.

Times are of the first seed, each side alone: ours a whole process from start to report, on two threads;
PQuantML's its train_model alone, on the faster of one and two threads in a few epochs. Beside those by the
clock stand processor seconds, which other work on the machine changes least. The other seeds are for
accuracies, and run two at once.
"""

import argparse
import concurrent.futures
import copy
import csv
import json
import math
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

here = pathlib.Path(__file__).resolve().parent
root = here.parent.parent
sys.path.insert(0, str(here.parent))

import h5py
import numpy as np
import pquant
import torch
from importlib.metadata import version
from torch import nn

import turns

CONFIG, JETS, WEIGHTS = "configs/jsc-prune.yaml", "datasets/jets-hlf.h5", "datasets/models/jsc-mlp.weights.h5"
BATCH, RATE, EPOCHS, TARGET = 256, 3e-3, 30, 0.7
TRIAL = 4 # epochs in which threads are chosen
SEEDS = (7, 8, 9)
LAYERS = ("fc1_relu", "fc2_relu", "fc3_relu", "output_softmax")
# Name there, epochs of pruning, and its values where the preset's are not those of the configuration.
METHODS = {
    "pdp": ("pdp", 15, {"sparsity": 0.7, "epsilon": 0.1}),
    "dst": ("dst", 15, {"alpha": 1e-4}),
    "autosparse": ("autosparse", 15, {"threshold_init": -0.5}),
    "cs": ("cs", 15, {"threshold_decay": 5e-6}),
    "mdmm": ("mdmm", 15, {"target_sparsity": 0.7, "constraint_type": "LessThanOrEqual", "scale": 0.3}),
    "activation_pruning": ("ap", 5, {"threshold": 0.3, "t_start_collecting_batch": 1, "disable_pruning_for_layers": ["6"]}),
}


def of_children():
    """Processor seconds of all processes started here that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ours(program, method, seed):
    """Accuracy, share of zeros, seconds, processor seconds."""
    used = of_children()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([program, "run", CONFIG, "-q", "--only", method, "-o", folder, "-S", f"seeds.base={seed}",
                        "-S", "seeds.repeats=1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # 5: the other cells were not run
        seconds, used = time.perf_counter() - start, of_children() - used
        with open(os.path.join(folder, "table.csv"), newline="") as f:
            row = next(r for r in csv.DictReader(f) if r["label"] == method)
    kernels = sum(a * b for a, b in ((16, 64), (64, 32), (32, 32), (32, 5)))
    biases = 64 + 32 + 32 + 5
    return float(row["accuracy"]), 1 - (int(row["nonzero"]) - biases) / kernels, seconds, used


def jets():
    with h5py.File(JETS) as f:
        mean, std = f.attrs["scaler_mean"], f.attrs["scaler_std"]
        return [(torch.from_numpy(((f[f"{name}/x"][()] - mean) / std).astype(np.float32)),
                 torch.from_numpy(f[f"{name}/y"][()].astype(np.int64))) for name in ("train", "val", "test")]


def network():
    widths = (16, 64, 32, 32, 5)
    layers = [m for a, b in zip(widths, widths[1:]) for m in (nn.Linear(a, b), nn.ReLU())][:-1]
    with h5py.File(WEIGHTS) as f, torch.no_grad():
        for layer, name in zip(layers[::2], LAYERS):
            layer.weight.copy_(torch.from_numpy(f[f"{name}/{name}/kernel:0"][()].T.copy()))
            layer.bias.copy_(torch.from_numpy(f[f"{name}/{name}/bias:0"][()]))
    return nn.Sequential(*layers)


def given(method, own):
    """Values of a method there: those of our configuration, or its own defaults and the target."""
    values = METHODS[method][2]
    kept = ("sparsity", "target_sparsity", "disable_pruning_for_layers")
    return {k: v for k, v in values.items() if k in kept} if own else values


def configuration(preset, epochs, whole, values):
    c = getattr(pquant, f"{preset}_config")()
    c.quantization_parameters.enable_quantization = False
    for key, value in values.items():
        setattr(c.pruning_parameters, key, value)
    t = c.training_parameters
    t.pretraining_epochs, t.epochs, t.rounds, t.fine_tuning_epochs = 0, epochs, 1, whole - epochs
    t.rewind, t.save_weights_epoch = "never", -1
    return c


def theirs(method, seed, threads, own, whole):
    """Accuracies before and after, share of zeros, seconds, processor seconds; of `whole` epochs."""
    (x, y), (vx, vy), (tx, ty) = jets()
    preset, epochs, _ = METHODS[method]
    epochs = max(1, epochs * whole // EPOCHS)
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    c = configuration(preset, epochs, whole, given(method, own))
    net = network()
    with torch.inference_mode():
        before = float((net(tx).argmax(dim=1) == ty).double().mean())
    model = pquant.add_compression_layers(net, c, (1, 16))
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    best = {"loss": math.inf, "state": None}

    def train(model, epoch):
        order = torch.randperm(len(y))
        for i in range(0, len(y), BATCH):
            share = (int(epoch) + i / len(y)) / whole
            optimizer.param_groups[0]["lr"] = 0.5 * RATE * (1 + math.cos(math.pi * share))
            index = order[i : i + BATCH]
            optimizer.zero_grad(set_to_none=True)
            loss = criterion(model(x[index]), y[index])
            pquant.get_model_losses(model, loss).backward()
            optimizer.step()

    def validate(model, epoch):
        if int(epoch) < epochs:
            return
        with torch.inference_mode():
            watched = float(criterion(model(vx), vy))
        if watched < best["loss"]:
            best.update(loss=watched, state=copy.deepcopy(model.state_dict()))

    start, used = time.perf_counter(), time.process_time()
    pquant.train_model(model, c, train, validate)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    model.load_state_dict(best["state"])
    model.eval()
    with torch.inference_mode():
        accuracy = float((model(tx).argmax(dim=1) == ty).double().mean())
    zeros = 1 - float(pquant.get_layer_keep_ratio(model))
    return {"before": before, "accuracy": accuracy, "zeros": zeros, "seconds": seconds, "used": used}


def rival(*what):
    """theirs() in a process of its own."""
    said = subprocess.run([sys.executable, __file__, "-", "--pquant", "-", "--rival", *map(str, what)],
                          capture_output=True, text=True)
    if said.returncode != 0:
        sys.exit(said.stderr)
    return json.loads(said.stdout.splitlines()[-1])


def figures(accuracies, zeros, before):
    mean, low, high = statistics.mean(accuracies), min(accuracies), max(accuracies)
    return (f"{100 * mean:.2f} % ({100 * low:.2f} to {100 * high:.2f}), loss {100 * (before - mean):.2f} points, "
            f"{100 * statistics.mean(zeros):.1f} % zeros")


def compare(program, method, seeds, whole):
    """A row of the table."""
    threads = min((1, 2), key=lambda n: rival(method, seeds[0], n, 0, TRIAL)["seconds"])
    mine = [ours(program, method, seeds[0])]
    first = [rival(method, seeds[0], threads, own, whole) for own in (0, 1)]
    own = min((0, 1), key=lambda k: abs(first[k]["zeros"] - TARGET))
    other = [first[own]]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        other += pool.map(lambda seed: rival(method, seed, 1, own, whole), seeds[1:])
    mine += [ours(program, method, seed) for seed in seeds[1:]]
    before = other[0]["before"]
    note = (f"test accuracy {figures([r[0] for r in mine], [r[1] for r in mine], before)}; rival's "
            f"{figures([r['accuracy'] for r in other], [r['zeros'] for r in other], before)}, "
            f"{'its own defaults' if own else 'values of the configuration'}, {threads} threads; "
            f"processor seconds {mine[0][3]:.2f} and {other[0]['used']:.1f}, {other[0]['used'] / mine[0][3]:.1f} times")
    return turns.row(f"{method}, {whole} epochs", 2, "PQuantML (torch)", version("pquant-ml"), [mine[0][2]],
                     [other[0]["seconds"]], note)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("csv")
    parser.add_argument("--pquant", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of the rival; fewer only to try this program")
    parser.add_argument("--rival", nargs=5, metavar=("METHOD", "SEED", "THREADS", "OWN", "EPOCHS"), help=argparse.SUPPRESS)
    a = parser.parse_args()
    os.chdir(root)
    if a.rival:
        method, *numbers = a.rival
        print(json.dumps(theirs(method, *map(int, numbers))))
        return
    rows = []
    for method in a.methods:
        rows.append(compare(a.pquant, method, a.seeds, a.epochs))
        turns.write(a.csv, rows)


main()
