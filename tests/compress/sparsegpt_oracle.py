#!/usr/bin/env python3
"""Prints the table of test_prune_weights.c: SparseGPT as its authors wrote it, in NumPy.

Frantar & Alistarh, ICML 2023, arXiv:2301.00774, algorithm 1, with damping 0.01: in blocks, the
mask of a block by (w / diag U)^2 (or N of M in a row), then column by column.
"""
import numpy as np

ROWS, COLUMNS, EVENTS, BLOCK = 3, 8, 12, 128


def sparsegpt(w, h, sparsity=0.0, keep=0, group=0):
    w, h = w.copy(), h.copy()
    dead = np.diag(h) == 0
    h[dead, dead] = 1
    w[:, dead] = 0
    h[np.diag_indices(len(h))] += 0.01 * np.mean(np.diag(h))
    u = np.linalg.cholesky(np.linalg.inv(h)).T
    for first in range(0, w.shape[1], BLOCK):
        last = min(first + BLOCK, w.shape[1])
        mask = np.zeros((w.shape[0], last - first), bool)
        errors = np.zeros_like(mask, float)
        if not group:
            score = w[:, first:last] ** 2 / np.diag(u)[first:last] ** 2
            mask.flat[np.argsort(score, axis=None, kind="stable")[: round(sparsity * score.size)]] = True
        for j in range(last - first):
            if group and j % group == 0:
                score = w[:, first + j : first + j + group] ** 2 / np.diag(u)[first + j : first + j + group] ** 2
                order = np.argsort(score, axis=1, kind="stable")[:, : score.shape[1] - keep]
                for row, columns in enumerate(order):
                    mask[row, j + columns] = True
            kept = np.where(mask[:, j], 0, w[:, first + j])
            errors[:, j] = (w[:, first + j] - kept) / u[first + j, first + j]
            w[:, first + j : last] -= np.outer(errors[:, j], u[first + j, first + j : last])
            w[:, first + j] = kept
        w[:, last:] -= errors @ u[first:last, last:]
    return w


i, j = np.indices((ROWS, COLUMNS))
weights = np.cos(0.7 * (i * COLUMNS + j) + 0.3).astype(np.float32).astype(float)
e, c = np.indices((EVENTS, COLUMNS))
x = np.sin(1.3 * e + 0.9 * c * c + 0.2)
x[:, 5] = 0  # an input that is always 0
for options in ({"sparsity": 0.5}, {"keep": 2, "group": 4}):
    for row in sparsegpt(weights, x.T @ x, **options):
        print("    {" + ", ".join(f"{v:.9g}" for v in row) + "},")
    print()
