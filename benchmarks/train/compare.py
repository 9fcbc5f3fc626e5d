"""pquant's training against PyTorch's and JAX's: whole epochs.

All train the same network with Adam on the same events from memory, shuffled anew each
epoch, each in a process (../contest.py), on one thread and on two; ours as `pquant train` does. All must
learn: the loss after the last epoch is compared before the table is written.
"""

import argparse
import math
import os
import pathlib
import random
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent))

import h5py
import importlib.metadata
import numpy as np

import accuracy
import contest
import turns

SCRIPT = here / "contender.py"
TORCH_MODES = ("eager", "eager, fused Adam", "compiled, fused Adam")


def write_events(path, shape, classes, n):
    """Blobs around one centre a class, with as much noise."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, classes, n)
    centres = rng.normal(size=(classes,) + shape).astype(np.float32) * 0.3
    with h5py.File(path, "w") as f:
        f.attrs["format"] = "pquant-dataset"
        f.attrs["class_names"] = [f"c{i}" for i in range(classes)]
        f["train/x"] = centres[y] + rng.normal(size=(n,) + shape).astype(np.float32)
        f["train/y"] = y.astype(np.uint8)


def contenders(library, net, path, batch):
    ours, rivals = [], []
    base = {"net": net, "data": path, "batch": batch}
    version = importlib.metadata.version
    for threads in (1, 2):
        word = f"{threads} thread" + "s" * (threads - 1)
        ours.append(contest.Contender("pquant", "this tree", word, SCRIPT, {"what": "ours", "library": library, "threads": threads, **base}))
        for mode in TORCH_MODES:
            rivals.append(contest.Contender("torch", version("torch").split("+")[0], f"{word}, {mode}", SCRIPT,
                                            {"what": "torch", "threads": threads, "mode": mode, **base}))
        if net != "resnet8":
            rivals.append(contest.Contender("jax", version("jax"), f"{word}, jit + scan", SCRIPT, {"what": "jax", "threads": threads, **base}))
    return ours, rivals


def compare(library, net, shape, classes, n, batch, rounds):
    def note(mine, rival):
        losses = mine.last["loss"], rival.last["loss"]
        if not max(losses) < 0.9 * math.log(classes):
            sys.exit(f"{net}: somebody does not learn: losses {losses}")
        return (f"{n} events, Adam; ours {n / mine.median():.3g} events/s ({mine.about}), theirs {n / rival.median():.3g}; "
                f"losses {losses[0]:.3g} and {losses[1]:.3g}")

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "events.h5")
        write_events(path, shape, classes, n)
        return contest.compare(f"epoch of {net}, batch {batch}", *contenders(library, net, path, batch), rounds, note)


WORKS = [
    ("jsc-mlp", (16,), 5, 60000, 1024),
    ("jsc-mlp", (16,), 5, 60000, 128),
    ("fashion-mlp", (28, 28, 1), 10, 60000, 128),
    ("resnet8", (32, 32, 3), 10, 3200, 64),  # a sixteenth of CIFAR-10
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("csv")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("PQUANT_BENCH_ROUNDS", 9)))
    parser.add_argument("--only", default=os.environ.get("PQUANT_BENCH_ONLY", ""), help="part of a work's name")
    parser.add_argument("--pquant", required=True, help="the program, for whole trainings")
    a = parser.parse_args()
    random.seed(1)
    rows, fair = [], True
    for net, shape, classes, n, batch in WORKS:
        if a.only in f"{net} {batch}":
            found, calm = compare(a.library, net, shape, classes, n, batch, a.rounds if net in ("jsc-mlp",) else max(3, a.rounds // 3))
            rows, fair = rows + found, fair and calm
            turns.write(a.csv, rows)
    if a.only in "accuracy":
        rows += accuracy.rows(pathlib.Path(__file__).resolve().parents[2], os.path.abspath(a.pquant))
    turns.write(a.csv, rows)
    sys.exit(0 if fair else "a rival was more than 15 % off its time alone: repeat on a quieter machine")


if __name__ == "__main__":
    main()
