"""The leading singular triples of large layers: pquant against NumPy's whole decomposition and
scikit-learn's randomized one.

float32 matrices of 512 to 8192: Gaussian, whose singular values fall slowest, and of values 1 / i.
pquant runs on one thread; rivals on one and on two. The error of each over the least one stands in the
note, and how often pquant could have read the matrix in its time, for each triple.
"""

import ctypes
import os
import statistics
import time

import numpy as np
import sklearn
import threadpoolctl
import turns
from sklearn.utils.extmath import randomized_svd

RANK = 64
SIZES = (512, 1024, 2048, 4096, 8192)
WHOLE_UP_TO = 2048  # NumPy's takes minutes beyond


def matrix(kind, n):
    rng = np.random.default_rng(n)
    w = rng.standard_normal((n, n), dtype=np.float32)
    if kind == "Gaussian":
        return w
    # random reflections of a diagonal: orthogonal on both sides, and cheap
    w = np.diag(1 / np.arange(1, n + 1, dtype=np.float64))
    for _ in range(12):
        for axis in (0, 1):
            v = rng.standard_normal(n)
            v /= np.linalg.norm(v)
            w = w - 2 * np.outer(v, v @ w) if axis == 0 else w - 2 * np.outer(w @ v, v)
    return np.ascontiguousarray(w, dtype=np.float32)


class Leading:
    def __init__(self, library):
        self.lib = library
        library.bench_leading.restype = ctypes.c_double
        library.bench_read.restype = ctypes.c_double

    def read(self, w):
        return min(self.lib.bench_read(w.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(w.size)) for _ in range(5))

    def run(self, w):
        """Seconds, sum of squares kept, bound on the excess of the error."""
        kept, excess = ctypes.c_double(), ctypes.c_double()
        seconds = self.lib.bench_leading(w.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(w.shape[0]),
                                         ctypes.c_size_t(w.shape[1]), ctypes.c_size_t(RANK), ctypes.byref(kept),
                                         ctypes.byref(excess))
        assert seconds > 0
        return seconds, kept.value, excess.value


def rivals(n):
    if n <= WHOLE_UP_TO:
        yield "numpy (whole)", np.__version__, lambda w: np.linalg.svd(w, full_matrices=False)[1][:RANK]
    yield "sklearn randomized_svd", sklearn.__version__, lambda w: randomized_svd(w, RANK, random_state=1)[1]


def rows(library, rounds, sizes, thread_counts=(1, 2)):
    ours = Leading(library)
    for kind in ("Gaussian", "1 / i"):
        for n in sizes:
            w = matrix(kind, n)
            square = float(np.sum(np.square(w, dtype=np.float64)))
            turn = rounds if n <= WHOLE_UP_TO else 3
            samples = []
            for name, version, call in rivals(n):
                for threads in thread_counts:
                    mine, theirs, cpu = [], [], ([], [])
                    with threadpoolctl.threadpool_limits(threads):
                        s = np.asarray(call(w), dtype=np.float64)
                        for _ in range(turn):
                            start = time.process_time()
                            mine.append(ours.run(w))
                            cpu[0].append(time.process_time() - start)
                            start, wall = time.process_time(), time.perf_counter()
                            call(w)
                            theirs.append(time.perf_counter() - wall)
                            cpu[1].append(time.process_time() - start)
                    error = max(square - mine[0][1], 1e-300) ** 0.5
                    more = max(square - float(np.sum(s * s)), 0) ** 0.5 / error - 1
                    used = [statistics.median(c) for c in cpu]
                    samples.append(turns.row(
                        f"SVD {n}x{n} {kind}, rank {RANK}", threads, name, version, [m[0] for m in mine], theirs,
                        f"error over the least: {mine[0][2]:.0e} at most, rival {more:.1e} over ours; CPU {used[0]:.3g} s, "
                        f"rival's {used[1]:.3g} s; {used[0] / ours.read(w) / RANK:.2g} readings a triple; "
                        f"pquant on one thread; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"))
            yield from samples
