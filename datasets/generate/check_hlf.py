"""Compares the generated jets-hlf sample with a real one, feature by feature; prints Markdown.

    check_hlf.py jets-hlf.h5 REAL.h5

REAL.h5: `x` [n, 16] standardised, `y` [n]; feature names, scaler mean and std and class
names as attributes of `x` and `y` or of the file (any class order).
"""

import argparse

import h5py
import numpy as np

CLASSES = ("g", "q", "w", "z", "t")
QUANTILES = (5, 50, 95)


def _attribute(f, name):
    """An attribute of the file, of x or of y."""
    for holder in (f, f["x"], f["y"]):
        if name in holder.attrs:
            return holder.attrs[name]
    raise SystemExit(f"check_hlf: error: the real sample has no attribute '{name}'")


def _text(values):
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def load_real(path):
    """(x raw [n, 16], class names [n], feature names, mean and std of its scaler)."""
    with h5py.File(path) as f:
        mean, std = _attribute(f, "scaler_mean"), _attribute(f, "scaler_std")
        names = np.array(_text(_attribute(f, "class_names")))
        return (f["x"][:] * std + mean, names[f["y"][:]], _text(_attribute(f, "feature_names")),
                mean, std)


def load_ours(path):
    """(x raw, class names per jet, feature names) of all splits together."""
    with h5py.File(path) as f:
        names = np.array(_text(f.attrs["class_names"]))
        x = np.concatenate([f[s]["x"][:] for s in ("train", "val", "test")]).astype(np.float64)
        y = np.concatenate([f[s]["y"][:] for s in ("train", "val", "test")])
        return x, names[y], _text(f.attrs["feature_names"])


def kolmogorov(a, b):
    """Largest distance of the two empirical distribution functions."""
    both = np.concatenate([a, b])
    cdf = lambda s: np.searchsorted(np.sort(s), both, side="right") / len(s)
    return float(np.abs(cdf(a) - cdf(b)).max())



def number(value):
    return f"{value:.4g}"


def overall_table(x, y, real, real_y, names, mean, std):
    print("| feature | mean (real) | std (real) | 5 % (real) | 50 % (real) | 95 % (real) | Kolmogorov |")
    print("|---|---|---|---|---|---|---|")
    for i, name in enumerate(names):
        cells = [f"{number(x[:, i].mean())} ({number(mean[i])})",
                 f"{number(x[:, i].std())} ({number(std[i])})"]
        for ours, theirs in zip(np.percentile(x[:, i], QUANTILES),
                                np.percentile(real[:, i], QUANTILES)):
            cells.append(f"{number(ours)} ({number(theirs)})")
        distance = np.mean([kolmogorov(x[y == c, i], real[real_y == c, i]) for c in CLASSES])
        print(f"| {name} | " + " | ".join(cells) + f" | {distance:.3f} |")
    expected = np.mean([0.8687 / np.sqrt((real_y == c).sum()) for c in CLASSES])
    print(f"\nMean and std: real values from the scaler of the public training split; quantiles: "
          f"{len(real)} real jets. Kolmogorov: mean distance over the five classes; equal "
          f"distributions would give {expected:.3f} on average with so few real jets.")


def class_table(x, y, real, real_y, names):
    print("\nMedians by class (real)\n")
    print("| feature | " + " | ".join(CLASSES) + " |\n|---|" + "---|" * len(CLASSES))
    for i, name in enumerate(names):
        cells = [f"{number(np.median(x[y == c, i]))} ({number(np.median(real[real_y == c, i]))})"
                 for c in CLASSES]
        print(f"| {name} | " + " | ".join(cells) + " |")
    column = list(names).index("mass_mmdt")
    cells = []
    for c in CLASSES:
        p, n = (real[real_y == c, column] < 50).mean(), (real_y == c).sum()
        cells.append(f"{(x[y == c, column] < 50).mean():.3f} ({p:.3f} +- {np.sqrt(p * (1 - p) / n):.3f})")
    print("| share of mass < 50 GeV | " + " | ".join(cells) + " |")


def duplicates(x, names, who):
    a, b = names.index("d2_b1_mmdt"), names.index("d2_a1_b1_mmdt")
    scale = x[:, a].std()
    different = (np.abs(x[:, a] - x[:, b]) > 1e-5 * scale).sum()
    unique = len(np.unique(x, axis=0))
    print(f"- {who}: d2_a1_b1 differs from d2_b1 on {different} of {len(x)} jets; "
          f"{len(x) - unique} repeated rows; {(~np.isfinite(x)).sum()} values not finite")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ours")
    parser.add_argument("real")
    options = parser.parse_args()
    x, y, names = load_ours(options.ours)
    real, real_y, real_names, mean, std = load_real(options.real)
    if names != real_names:
        raise SystemExit(f"check_hlf: error: feature names differ: {names} and {real_names}")
    overall_table(x, y, real, real_y, names, mean, std)
    class_table(x, y, real, real_y, names)
    print()
    duplicates(x, names, "generated")
    duplicates(real, names, "real")


if __name__ == "__main__":
    main()
