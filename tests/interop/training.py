"""Training against PyTorch in double: the weights after some steps of one batch."""
import numpy as np
import torch
import torch.nn.functional as F

from common import Cases, pquant, write_dataset
from torch_net import Net, arrays, largest_difference, read_weights

STEPS = 20
TOLERANCE = 2e-5  # of weights: twenty steps in float32 against twenty in double

rng = np.random.default_rng(1)
x = rng.normal(size=(512, 16)).astype(np.float32)
y = rng.integers(0, 5, 512).astype(np.int32)
write_dataset("events.h5", list("gqwzt"), {"train": {"x": x, "y": y}})


def run(out, **train):
    """One batch holds all events, so that an epoch is a step and their order does not count."""
    keys = {"standardize": "false", "validation": 0, "batch": 512, "epochs": STEPS, "keep_best": "false"} | train
    with open("c.yaml", "w") as f:
        f.write("schema: pquant/1\nmodel: {zoo: jsc-mlp}\ndataset: {file: events.h5, train: train}\n"
                f"train: {{{', '.join(f'{k}: {v}' for k, v in keys.items())}}}\n"
                f"output: {{model: {out}}}\n")
    pquant("train", "c.yaml", "--quiet")


def theirs(optimizer):
    net = Net("start.h5")
    opt = optimizer(net)
    for _ in range(STEPS):
        opt.zero_grad()
        F.cross_entropy(net(torch.tensor(x, dtype=torch.float64)), torch.tensor(y, dtype=torch.int64)).backward()
        opt.step()
    return arrays(net)


cases = Cases()
run("start.h5", epochs=0)
for name, keys, optimizer in (
    ("sgd", dict(optimizer="sgd", lr=0.1, momentum=0.9),
     lambda n: torch.optim.SGD(n.trained().values(), lr=0.1, momentum=0.9)),
    ("adam", dict(optimizer="adam", lr=0.01), lambda n: torch.optim.Adam(n.trained().values(), lr=0.01)),
):
    run("out.h5", **keys)
    cases.add(name, largest_difference(read_weights("out.h5"), theirs(optimizer)), 0.0, TOLERANCE)
cases.finish()
