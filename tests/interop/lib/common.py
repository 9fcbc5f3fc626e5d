"""What the suites share: running pquant, its files, and counting cases."""
import os
import subprocess
import sys

import h5py
import numpy as np

PQUANT = os.environ["PQUANT"]
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


def pquant(*args, code=0):
    """Runs pquant; gives what it printed."""
    done = subprocess.run([PQUANT, *map(str, args)], capture_output=True, text=True)
    if done.returncode != code:
        sys.exit(f"pquant {' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def write_dataset(path, classes, splits, **attributes):
    """splits: name to a dict of x, y and perhaps weight."""
    with h5py.File(path, "w") as f:
        f.attrs["format"] = "pquant-dataset"
        f.attrs["class_names"] = np.array(classes, dtype=h5py.string_dtype())
        for key, value in attributes.items():
            f.attrs[key] = value
        for name, arrays in splits.items():
            for key, values in arrays.items():
                f.create_dataset(f"{name}/{key}", data=values)


class Cases:
    """Counts cases and keeps the largest deviation from the oracle."""

    def __init__(self):
        self.n, self.largest, self.bad = 0, 0.0, 0

    def add(self, what, ours, theirs, tolerance):
        """Largest difference of two arrays, relative to the larger of 1 and the oracle's largest value."""
        ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
        scale = max(1.0, float(np.abs(theirs).max())) if theirs.size else 1.0
        off = float(np.abs(ours - theirs).max()) / scale if ours.shape == theirs.shape else np.inf
        self.n += 1
        self.largest = max(self.largest, off) if np.isfinite(off) else np.inf
        if not off <= tolerance:
            self.bad += 1
            print(f"{what}: off by {off:.3g}, allowed {tolerance:.3g}")
        return off

    def finish(self):
        print(f"{self.n} cases, largest deviation {self.largest:.3g}")
        sys.exit(1 if self.bad or self.n == 0 else 0)
