"""What the tests share: jets, a tagger, and the program."""
import os
import subprocess

import numpy as np
import pytest

import pquant

ROOT = os.environ.get("ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
JETS = os.path.join(ROOT, "datasets", "jets-hlf.h5")
TAGGER = os.path.join(ROOT, "datasets", "models", "jsc-mlp.h5")


def program(*arguments):
    """What the C program prints."""
    done = subprocess.run([os.environ["PQUANT"], *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="session")
def rng():
    return np.random.default_rng(1)


@pytest.fixture(scope="session")
def tagger():
    return pquant.load(TAGGER)


@pytest.fixture(scope="session")
def jets():
    """4,000 jets of the test split, standardized, and their labels."""
    x, y = pquant.Data.open(JETS + ":test").read(0, 4000)
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), y


def dense_net(widths, seed=0):
    """A network of dense layers and relus as a pquant model."""
    draw = np.random.default_rng(seed)
    layers = [{"kind": "input", "name": "x", "shape": (widths[0],)}]
    for i, (n, m) in enumerate(zip(widths, widths[1:])):
        layers.append({"kind": "dense", "name": f"fc{i}", "weights": {
            "kernel": draw.normal(size=(m, n)) / np.sqrt(n), "bias": 0.1 * draw.normal(size=m)}})
        if i < len(widths) - 2:
            layers.append({"kind": "relu", "name": f"act{i}"})
    return pquant.Model.build(layers)
