"""Expected numbers of test_svd_method.c: svd_errors.py resnet20-12fca82f.th (needs numpy)."""
import struct
import sys

import numpy as np

COUNT = 64 * 64 * 3 * 3
data = open(sys.argv[1], "rb").read()
at = -1
while True:  # each storage: its size, then its items
    at = data.index(struct.pack("<q", COUNT), at + 1)
    w = np.frombuffer(data[at + 8 : at + 8 + 4 * COUNT], "<f4").astype(float)
    if abs(np.linalg.norm(w) - 16.519762) < 1e-6:
        break
w = w.reshape(64, 64, 3, 3)
channel, spatial = w.reshape(64, -1), w.transpose(1, 2, 0, 3).reshape(192, 192)
for name, matrix, ranks in ("channel", channel, (16, 32, 48)), ("spatial", spatial, (16, 32, 48, 64)):
    s = np.linalg.svd(matrix, compute_uv=False)
    for r in ranks:
        print(name, r, f"{np.sqrt((s[r:] ** 2).sum() / (s**2).sum()):.9f}")
