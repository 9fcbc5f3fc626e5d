"""A contender of the comparison `train`: whole epochs, one a turn; see ../contest.py."""

import ctypes
import json
import os
import pathlib
import sys
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

a = json.loads(sys.argv[1])
if a["threads"] == 1:
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
SEED = 1


def ours():
    lib = ctypes.CDLL(a["library"])
    lib.bench_open.restype, lib.bench_about.restype, lib.bench_epoch.restype = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_double
    lib.bench_epoch.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_double)]
    handle = lib.bench_open(a["net"].encode(), a["data"].encode(), str(a["batch"]).encode(), ctypes.c_size_t(a["threads"]))
    if not handle:
        sys.exit("pquant could not start")

    def epoch():
        loss = ctypes.c_double()
        seconds = lib.bench_epoch(handle, ctypes.byref(loss))
        if seconds < 0:
            sys.exit("pquant could not train")
        return seconds, loss.value

    return lib.bench_about().decode(), epoch


def events():
    import h5py

    with h5py.File(a["data"]) as f:
        return f["train/x"][()], f["train/y"][()].astype(np.int64)


def by_torch():
    import torch
    from torch import nn

    from networks import Resnet8, mlp

    torch.set_num_threads(a["threads"])
    torch.manual_seed(SEED)
    model = {"jsc-mlp": lambda: mlp(16, 64, 32, 32, 5), "resnet8": Resnet8,
             "fashion-mlp": lambda: nn.Sequential(nn.Flatten(), mlp(784, 512, 256, 10))}[a["net"]]()
    for layer in model.modules():  # ours starts so: otherwise Adam's first epochs differ by more than noise
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear" if a["net"] == "jsc-mlp" else "relu")
            nn.init.zeros_(layer.bias)
    x, y = (torch.from_numpy(v) for v in events())
    if x.ndim == 4 and x.shape[3] == 3:
        x, model = x.permute(0, 3, 1, 2), model.to(memory_format=torch.channels_last)
    run = torch.compile(model) if "compiled" in a["mode"] else model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused="fused" in a["mode"] or None)
    loss_of = nn.CrossEntropyLoss()

    def epoch():
        start, total = time.perf_counter(), 0.0
        order = torch.randperm(len(y))
        for i in range(0, len(y), a["batch"]):
            index = order[i : i + a["batch"]]
            loss = loss_of(run(x[index]), y[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(index)
        return time.perf_counter() - start, float(total) / len(y)

    return a["mode"], epoch


def by_jax():
    """All whole batches of an epoch in one scan of one compiled function."""
    import jax
    import jax.numpy as jnp
    import optax

    sizes = {"jsc-mlp": (16, 64, 32, 32, 5), "fashion-mlp": (784, 512, 256, 10)}[a["net"]]
    x, y = events()
    x, y = jnp.asarray(x.reshape(len(y), -1)), jnp.asarray(y)
    key, batch, steps = jax.random.key(SEED), a["batch"], len(y) // a["batch"]
    weights = []
    for i, (n, m) in enumerate(zip(sizes, sizes[1:])):
        weights.append((jax.random.normal(jax.random.fold_in(key, i), (n, m)) * n**-0.5, jnp.zeros(m)))
    adam = optax.adam(1e-3)

    def loss_of(weights, x, y):
        for w, b in weights[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = weights[-1]
        return optax.softmax_cross_entropy_with_integer_labels(x @ w + b, y).mean()

    def step(carry, index):
        weights, state = carry
        loss, g = jax.value_and_grad(loss_of)(weights, x[index], y[index])
        change, state = adam.update(g, state)
        return (optax.apply_updates(weights, change), state), loss

    @jax.jit
    def run(weights, state, key):
        order = jax.random.permutation(key, len(y))[: steps * batch].reshape(steps, batch)
        (weights, state), losses = jax.lax.scan(step, (weights, state), order)
        return weights, state, losses.mean()

    now = [weights, adam.init(weights), 0]

    def epoch():
        start = time.perf_counter()
        now[2] += 1
        now[0], now[1], loss = run(now[0], now[1], jax.random.fold_in(key, now[2]))
        loss = float(loss)
        return (time.perf_counter() - start) * len(y) / (steps * batch), loss

    return "jit, scan over the steps", epoch


about, epoch = {"ours": ours, "torch": by_torch, "jax": by_jax}[a["what"]]()
epoch()  # compiles, and fills what is filled once
print(json.dumps({"about": about}), flush=True)
for _ in sys.stdin:
    seconds, loss = epoch()
    print(json.dumps({"seconds": seconds, "loss": loss}), flush=True)
