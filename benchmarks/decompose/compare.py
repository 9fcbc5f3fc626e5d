"""pquant's decompositions against TensorLy's (numpy backend), on the same tensors.

Same ranks, one thread each, in turns of random order. The error of each is
checked before anything is timed and stands in the note: a faster answer that is
worse is no win. TensorLy runs a fixed number of sweeps without looking at the
error; pquant's iterations also measure their residual.
"""

import argparse
import ctypes
import os
import pathlib
import random
import sys
import time

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np
import tensorly as tl
import threadpoolctl
from tensorly.decomposition import parafac, partial_tucker, tensor_train, tucker

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import leading
import turns

SIZE = ctypes.c_size_t


def sizes(values):
    return (SIZE * len(values))(*values)


class Ours:
    def __init__(self, library):
        self.lib = ctypes.CDLL(library)
        for f in (self.lib.bench_about, self.lib.bench_wanted_coretype):
            f.restype = ctypes.c_char_p
        for f in (self.lib.bench_tt, self.lib.bench_tucker, self.lib.bench_cp, self.lib.bench_layer):
            f.restype = ctypes.c_double

    def at(self, t):
        return ctypes.c_void_p(t.ctypes.data), SIZE(t.ndim), sizes(t.shape)

    def tt(self, t, ranks, measure):
        return self.lib.bench_tt(*self.at(t), sizes(ranks), ctypes.c_int(measure))

    def tucker(self, t, ranks, sweeps):
        return self.lib.bench_tucker(*self.at(t), sizes(ranks), SIZE(sweeps))

    def cp(self, t, rank, sweeps):
        return self.lib.bench_cp(*self.at(t), SIZE(rank), SIZE(sweeps))


def error(full, t):
    return float(np.linalg.norm(full - t) / np.linalg.norm(t))


def tensor(shape, terms=48, noise=0.3):
    """A sum of outer products that grow weaker, and noise of 0.3 of its size."""
    rng = np.random.default_rng(1)
    t = np.zeros(shape)
    for r in range(terms):
        term = np.ones(()) * 0.93**r
        for n in shape:
            term = np.multiply.outer(term, rng.standard_normal(n))
        t += term
    wild = rng.standard_normal(shape)
    return np.ascontiguousarray(t + noise * np.linalg.norm(t) / np.linalg.norm(wild) * wild)


def works(ours):
    """Name, our call, rival's call, our error, rival's error."""
    for name, shape in (("64x64x3x3", (64, 64, 3, 3)), ("256x256x3x3", (256, 256, 3, 3)),
                        ("1024x1024", (1024, 1024))):
        dense = len(shape) == 2
        w = tensor(shape if not dense else (32, 32, 32, 32))
        # TT: (in, height, width, out), or a TT-matrix of modes (4,8,8,4) x (4,8,8,4)
        t = w.transpose(1, 2, 3, 0) if not dense else w.reshape(4, 8, 8, 4, 4, 8, 8, 4).transpose(
            0, 4, 1, 5, 2, 6, 3, 7).reshape(16, 64, 64, 16)
        t = np.ascontiguousarray(t)
        r = shape[0] // 2 if not dense else 16
        ranks = [r, r, r] if not dense else [16, 32, 16]
        theirs = tensor_train(t, [1] + ranks + [1])
        yield (f"TT-SVD {name} ranks {ranks}", lambda t=t, q=ranks: ours.tt(t, q, 0),
               lambda t=t, q=ranks: tensor_train(t, [1] + q + [1]),
               ours.tt(t, ranks, 1), error(tl.tt_to_tensor(theirs), t))
        # Tucker-2 of the channels, or Tucker of the matrix folded to 32^4
        sweeps = 5
        if dense:
            q = [12] * 4
            rival = lambda w=w, q=q: tucker(w, rank=q, n_iter_max=sweeps, tol=0)
            core, factors = rival()
            full = tl.tucker_to_tensor((core, factors))
        else:
            q = [r, r, 0, 0]
            rival = lambda w=w, r=r: partial_tucker(w, rank=[r, r], modes=[0, 1], n_iter_max=sweeps, tol=0)
            (core, factors), _ = rival()
            full = tl.tenalg.multi_mode_dot(core, factors, modes=[0, 1])
        yield (f"Tucker{'' if dense else '-2'} {name} ranks {[x for x in q if x]}, {sweeps} sweeps",
               lambda w=w, q=q: ours.tucker(w, q, sweeps), rival,
               ours.tucker(w, q, sweeps), error(full, w))
        # CP with the window as one axis, or of 32^4
        t = w if dense else np.ascontiguousarray(w.reshape(shape[0], shape[1], 9))
        rank, sweeps = 32, 25
        rival = lambda t=t: parafac(t, rank, n_iter_max=sweeps, init="svd", tol=0, random_state=1)
        full = tl.cp_to_tensor(rival())
        yield (f"CP-ALS {name} rank {rank}, {sweeps} sweeps",
               lambda t=t: ours.cp(t, rank, sweeps), rival, ours.cp(t, rank, sweeps), error(full, t))


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def take_turns(ours, rival, rounds):
    """Seconds of both, round by round."""
    samples = [], []
    for call in (ours, rival):
        call()
    for _ in range(rounds):
        for i in random.sample((0, 1), 2):
            samples[i].append(timed((ours, rival)[i]))
    return samples


def layer_row(ours, rounds):
    w, x = np.random.default_rng(1).standard_normal((10, 16)).astype(np.float32), np.ones(16, np.float32)
    calls = 20000

    def numpy_call():
        for _ in range(calls):
            w @ x

    mine, theirs = [], []
    for _ in range(rounds):
        mine.append(ours.lib.bench_layer(SIZE(calls)))
        theirs.append(timed(numpy_call) / calls)
    return turns.row("TT layer 16 -> 10, (4,4) x (2,5) rank 2, one sample", 1, "numpy (dense w @ x)", np.__version__,
                     mine, theirs, "pquant from C, one call waiting for the last; numpy from Python")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("csv")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=("tensors", "leading"), help="one half of the table")
    parser.add_argument("--sizes", type=int, nargs="+", default=leading.SIZES, help="of the matrices for leading triples")
    a = parser.parse_args()
    random.seed(1)
    ours = Ours(a.library)
    wanted = ours.lib.bench_wanted_coretype().decode()
    if wanted and "OPENBLAS_CORETYPE" not in os.environ:  # read when the library loads
        os.environ["OPENBLAS_CORETYPE"] = wanted
        os.execv(sys.executable, [sys.executable] + sys.argv)
    print("pquant:", ours.lib.bench_about().decode())
    for pool in threadpoolctl.threadpool_info():
        if "numpy" in pool["filepath"] or "scipy" in pool["filepath"]:
            print("rival:", pool["internal_api"], pool["version"], "kernels for", pool.get("architecture"),
                  "threads", pool["num_threads"])
    rows = []
    if a.only != "tensors":
        for row in leading.rows(ours.lib, a.rounds, a.sizes):
            rows.append(row)
            print(", ".join(str(x) for x in row), flush=True)
    for name, mine, theirs, my_error, their_error in works(ours) if a.only != "leading" else ():
        rows.append(turns.row(name, 1, "tensorly", tl.__version__, *take_turns(mine, theirs, a.rounds),
                              f"error {my_error:.6f}, rival {their_error:.6f}"))
        print(", ".join(str(x) for x in rows[-1]), flush=True)
    if a.only != "leading":
        rows.append(layer_row(ours, a.rounds))
    turns.write(a.csv, rows)


if __name__ == "__main__":
    main()
