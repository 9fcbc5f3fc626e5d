"""Training against PyTorch in double: each feature of `train`, its weights or losses after some steps.

Keeps the table of docs/training.md: PQUANT_WRITE_DOCS=1 ./pquant.sh test interop training writes it anew,
otherwise its rows must be those of this file, and its numbers of the size of what was measured.
"""
import json
import math
import os
import re
import sys

import numpy as np
import torch
import torch.nn.functional as F

from common import Cases, pquant, write_dataset
from models import Net, largest_difference, node, read_fraction, read_scales, read_weights, write_model
from rng import Stream, orders

STEPS, CLASSES, EVENTS, SEED = 20, list("gqwzt"), 500, 1
torch.set_num_threads(1)
draw = np.random.default_rng(20)
X = draw.normal(size=(EVENTS, 16)).astype(np.float32)
Y = draw.integers(0, 5, EVENTS).astype(np.int32)
W = draw.uniform(0.1, 3, EVENTS).astype(np.float32)
IMAGES = draw.normal(size=(60, 6, 7, 3)).astype(np.float32)


def normal(*shape):
    return draw.normal(size=shape) / math.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 10)


def dense(name, n_in, n_out, bias=True):
    return node(name, "dense", None, {"kernel": normal(n_out, n_in)} | ({"bias": normal(n_out)} if bias else {}))


def norm(name, n):
    return node(name, "batch_norm", None, {"gamma": 1 + 0.2 * draw.normal(size=n), "beta": normal(n),
                                           "mean": 0.1 * draw.normal(size=n), "variance": np.ones(n)})


def conv(name, n_in, n_out):
    return node(name, "conv2d", None, {"kernel": normal(n_out, 3, 3, n_in)}, padding="same")


def models():
    """The networks that are trained, by file."""
    start, end = node("in", "input", [], shape=[16]), node("end", "softmax", None)
    relu = node("relu", "relu", None)
    write_model("mlp.h5", [start, dense("fc1", 16, 24), relu, dense("fc2", 24, 5), end], CLASSES)
    write_model("teacher.h5", [start, dense("fc1", 16, 24), relu, dense("fc2", 24, 5), end], CLASSES)
    write_model("binary.h5", [start, dense("fc1", 16, 24), relu, dense("fc2", 24, 5), node("end", "sigmoid", None)], CLASSES)
    write_model("drop.h5", [start, dense("fc1", 16, 24), relu, node("drop", "dropout", None, rate=0.3),
                            dense("fc2", 24, 5), end], CLASSES)
    write_model("norm.h5", [start, dense("fc1", 16, 24, False), norm("n1", 24), relu, dense("fc2", 24, 12, False),
                            norm("n2", 12), node("tanh", "tanh", None), dense("fc3", 12, 5), end], CLASSES)
    write_model("images.h5", [node("in", "input", [], shape=[6, 7, 3]), conv("c1", 3, 8), norm("n1", 8), relu,
                              conv("c2", 8, 8), norm("n2", 8), node("sum", "add", ["relu", "n2"]),
                              node("relu2", "relu", None), node("pool", "global_avg_pool", None), dense("fc", 8, 5), end], CLASSES)
    write_dataset("events.h5", CLASSES, {"train": {"x": X, "y": Y}})
    write_dataset("weighted.h5", CLASSES, {"train": {"x": X, "y": Y, "weight": W}})
    write_dataset("images-data.h5", CLASSES, {"train": {"x": IMAGES, "y": Y[:60]}}, layout="nhwc")


def yaml(keys):
    return "{" + ", ".join(f"{k}: {v}" for k, v in keys.items()) + "}"


def ours(model, data="events.h5", teacher=None, **train):
    """Trains; gives the weights and the loss of each epoch. One batch of all events unless said otherwise."""
    keys = {"epochs": STEPS, "batch": EVENTS, "validation": 0, "keep_best": "false", "seed": SEED} | train
    with open("c.yaml", "w") as f:
        f.write("schema: pquant/1\n"
                f"model: {yaml({'weights': model} | ({'teacher': teacher} if teacher else {}))}\n"
                f"dataset: {{file: {data}, train: train}}\ntrain: {yaml(keys)}\n"
                "output: {model: out.h5, log: log.json}\n")
    pquant("train", "c.yaml", "--quiet")
    with open("log.json") as f:
        return read_weights("out.h5"), np.array([e["train_loss"] for e in json.load(f)["epochs"]])


def cross_entropy(**options):
    return lambda net, z, y, w: F.cross_entropy(z, y, **options)


class Run:
    """A training in PyTorch, in double: a step a batch; what a feature needs is given, the rest is plain."""

    def __init__(self, model, optimizer, loss=cross_entropy(), batch=EVENTS, x=X, y=Y, w=None, epochs=STEPS, rates=None,
                 on_batch=None, on_gradients=None, after=None, net=None):
        self.net = net or Net(model)
        self.net.train()
        opt = optimizer(self.net)
        schedule = rates(opt) if rates else None
        self.losses = []
        n, steps = len(x), 0
        for epoch in range(1, epochs + 1):
            order, keys = orders(SEED, epoch, y) if batch < n or on_batch else (np.arange(n), Stream(0, "none"))
            total = 0.0
            for first in range(0, n, batch):
                index = order[first:first + batch]
                key = keys.bits()
                values = on_batch(self.net, x[index], index, key) if on_batch else x[index]
                opt.zero_grad()
                z = self.net(torch.tensor(values, dtype=torch.float64))
                value = loss(self.net, z, torch.tensor(y[index], dtype=torch.int64),
                             None if w is None else torch.tensor(w[index], dtype=torch.float64))
                value.backward()
                if on_gradients:
                    on_gradients(self.net)
                opt.step()
                steps += 1
                if after:
                    after(self.net, steps)
                if schedule:
                    schedule.step()
                total += float(value.detach()) * (len(index) if w is None else w[index].sum())
            self.losses.append(total / (n if w is None else w.sum()))


def sgd(lr=0.1, kernels_decay=0.0, **options):
    return lambda net: torch.optim.SGD([{"params": net.trained(True), "weight_decay": kernels_decay},
                                        {"params": net.trained(False)}], lr=lr, **options)


def adam(lr=0.01, kernels_decay=0.0, decoupled=False, **options):
    return lambda net: (torch.optim.AdamW if decoupled else torch.optim.Adam)(
        [{"params": net.trained(True), "weight_decay": kernels_decay},
         {"params": net.trained(False), "weight_decay": 0.0}], lr=lr, **options)


ROWS = []


def row(group, name, tolerance, compared="weights"):
    """Registers a feature: a function that gives ours and theirs, both as arrays by name."""
    def add(function):
        ROWS.append((group, name, tolerance, compared, function))
        return function
    return add


def plain(group, name, tolerance, keys, run, model="mlp.h5", **more):
    @row(group, name, tolerance)
    def compare():
        return ours(model, **more, **keys)[0], run().net.values()


def optimizers():
    g = "optimizers"
    plain(g, "sgd", 2e-6, dict(optimizer="sgd", lr=0.1, momentum=0), lambda: Run("mlp.h5", sgd()))
    plain(g, "sgd, momentum 0.9", 5e-6, dict(optimizer="sgd", lr=0.1), lambda: Run("mlp.h5", sgd(momentum=0.9)))
    plain(g, "sgd, Nesterov", 5e-6, dict(optimizer="sgd", lr=0.1, nesterov="true"),
          lambda: Run("mlp.h5", sgd(momentum=0.9, nesterov=True)))
    plain(g, "adam", 2e-5, dict(lr=0.01), lambda: Run("mlp.h5", adam()))
    plain(g, "adam, beta2 0.99999", 2e-5, dict(lr=0.01, beta2=0.99999), lambda: Run("mlp.h5", adam(betas=(0.9, 0.99999))))
    plain(g, "adam, L2 decay 0.01", 2e-5, dict(lr=0.01, weight_decay=0.01), lambda: Run("mlp.h5", adam(kernels_decay=0.01)))
    plain(g, "adamw, decay 0.1", 2e-5, dict(optimizer="adamw", lr=0.01, weight_decay=0.1),
          lambda: Run("mlp.h5", adam(kernels_decay=0.1, decoupled=True)))

    def l1(net):
        for k, v in net.weights.items():
            if k.endswith("/kernel"):
                v.grad += 0.003 * torch.sign(v.detach())
    plain(g, "sgd, l1 0.003", 2e-6, dict(optimizer="sgd", lr=0.1, momentum=0, l1=0.003),
          lambda: Run("mlp.h5", sgd(), on_gradients=l1))
    plain(g, "sgd, clip_norm 0.1", 2e-6, dict(optimizer="sgd", lr=0.5, momentum=0, clip_norm=0.1),
          lambda: Run("mlp.h5", sgd(0.5), on_gradients=lambda n: torch.nn.utils.clip_grad_norm_(n.trained(), 0.1)))
    plain(g, "batches of 128 in the order of the seed", 5e-6, dict(optimizer="sgd", lr=0.1, batch=128, epochs=5),
          lambda: Run("mlp.h5", sgd(momentum=0.9), batch=128, epochs=5))

    @row(g, "ema 0.9 of the weights", 2e-6)
    def ema():
        average = {}

        def follow(net, t):
            keep = min(0.9, (1 + t) / (10 + t))
            for k, v in net.weights.items():
                average[k] = keep * average.get(k, start[k]) + (1 - keep) * v.detach().numpy()
        start = read_weights("mlp.h5")
        Run("mlp.h5", sgd(), after=follow)
        return ours("mlp.h5", optimizer="sgd", lr=0.1, momentum=0, ema=0.9)[0], average


def schedules():
    g, lr = "schedules", torch.optim.lr_scheduler
    for name, keys, rates in (
        ("step, 0.5 every 3 epochs", dict(schedule="step", step_size=3, gamma=0.5), lambda o: lr.StepLR(o, 3, 0.5)),
        ("cosine to 0.01", dict(schedule="cosine", min_lr=0.01), lambda o: lr.CosineAnnealingLR(o, STEPS, 0.01)),
        ("cosine after 4 epochs of warm-up", dict(schedule="cosine", warmup_epochs=4), lambda o: lr.SequentialLR(
            o, [lr.LambdaLR(o, lambda s: s / 4), lr.CosineAnnealingLR(o, STEPS - 4)], [4])),
        ("one_cycle", dict(schedule="one_cycle"),
         lambda o: lr.OneCycleLR(o, 0.1, total_steps=STEPS, cycle_momentum=False)),
    ):
        plain(g, name, 2e-6, dict(optimizer="sgd", lr=0.1, momentum=0) | keys, lambda rates=rates: Run("mlp.h5", sgd(), rates=rates))
    plain(g, "one_cycle over 5 epochs of 4 batches", 2e-6, dict(optimizer="sgd", lr=0.1, momentum=0, schedule="one_cycle",
                                                                batch=128, epochs=5),
          lambda: Run("mlp.h5", sgd(), batch=128, epochs=5,
                      rates=lambda o: lr.OneCycleLR(o, 0.1, total_steps=20, cycle_momentum=False)))


def focal(net, z, y, w):
    log_p = F.log_softmax(z, 1).gather(1, y[:, None])[:, 0]
    return (-(1 - log_p.exp()) ** 2 * log_p).mean()


def distilled(alpha, t, layers=0.0):
    teacher = Net("teacher.h5")

    def loss(net, z, y, w):
        with torch.no_grad():
            q = teacher(torch.tensor(X, dtype=torch.float64))
        kl = F.kl_div(F.log_softmax(z / t, 1), F.log_softmax(q / t, 1), log_target=True, reduction="batchmean")
        value = alpha * t * t * kl + (1 - alpha) * F.cross_entropy(z, y)
        return value + layers * F.mse_loss(net.seen["fc1"], teacher.seen["fc1"]) if layers else value
    return loss


def losses():
    g, base = "losses", dict(optimizer="sgd", lr=0.1, momentum=0)
    one_hot = lambda y: F.one_hot(y, 5).double()
    weights = torch.tensor([1.0, 1, 2, 1, 5], dtype=torch.float64)
    for name, keys, loss, more in (
        ("cross_entropy, label_smoothing 0.1", dict(label_smoothing=0.1), cross_entropy(label_smoothing=0.1), {}),
        ("focal, gamma 2", dict(focal_gamma=2), focal, {}),
        ("mse behind a softmax", dict(loss="mse"), lambda n, z, y, w: F.mse_loss(F.softmax(z, 1), one_hot(y)), {}),
        ("class_weights", dict(class_weights="'w=2,t=5'"), cross_entropy(weight=weights), {}),
        ("distillation, alpha 0.7 at temperature 3", dict(alpha=0.7, temperature=3), None, dict(teacher="teacher.h5")),
        ("distillation with layer_mse 0.5", dict(alpha=0.5, layer_mse=0.5), None, dict(teacher="teacher.h5")),
    ):
        if loss is None:
            loss = (lambda *a, k=keys: distilled(k["alpha"], k.get("temperature", 2), k.get("layer_mse", 0.0))(*a))
        plain(g, name, 2e-6, base | keys, lambda loss=loss: Run("mlp.h5", sgd(), loss), **more)
    plain(g, "event weights", 2e-6, base, lambda: Run("mlp.h5", sgd(), lambda n, z, y, w: (
        w * F.cross_entropy(z, y, reduction="none")).sum() / w.sum(), w=W), data="weighted.h5")
    plain(g, "binary cross-entropy behind a sigmoid", 2e-6, base, lambda: Run("binary.h5", sgd(), lambda n, z, y, w:
          F.binary_cross_entropy_with_logits(z, one_hot(y), reduction="none").sum(1).mean()), model="binary.h5")
    plain(g, "mse behind a sigmoid", 2e-6, base | dict(loss="mse"), lambda: Run("binary.h5", sgd(), lambda n, z, y, w:
          F.mse_loss(torch.sigmoid(z), one_hot(y))), model="binary.h5")

    @row(g, "loss of an epoch of weighted batches", 1e-6, "losses")
    def epoch_loss():
        run = Run("mlp.h5", sgd(), lambda n, z, y, w: (w * F.cross_entropy(z, y, reduction="none")).sum() / w.sum(),
                  w=W, batch=128, epochs=5)
        return {"loss": ours("mlp.h5", "weighted.h5", batch=128, epochs=5, **base)[1]}, {"loss": np.array(run.losses)}


def chunk_of(batch, most=2, least=32):
    """Events of a chunk, of which a network with few products has two in a batch."""
    chunk = -(-(-(-batch // most)) // 4) * 4
    return min(max(chunk, least), batch)


def dropped(net, x, index, key):
    """Masks of `drop` as they are drawn: a stream for each chunk of the batch."""
    chunk = chunk_of(EVENTS)
    chunks = -(-EVENTS // chunk)
    mask = np.empty((len(x), 24))
    for c in range(chunks):
        stream = Stream((key * chunks + c) % 2 ** 64, "drop")
        for i in range(c * chunk, min((c + 1) * chunk, len(x))):
            mask[i] = [0.0 if stream.uniform() < 0.3 else 1 / 0.7 for _ in range(24)]
    net.on["drop"] = lambda out: out * torch.tensor(mask)
    return x


def augmented(net, x, index, key):
    """Images mirrored and shifted by up to 2, as each event's stream says."""
    out = np.zeros_like(x)
    for i, event in enumerate(index):
        stream = Stream((key + int(event)) % 2 ** 64, "augment")
        mirror = stream.below(2) == 1
        down, right = stream.below(5), stream.below(5)
        padded = np.zeros((10, 11, 3), np.float32)
        padded[2:8, 2:9] = x[i]
        window = padded[down:down + 6]
        for column in range(7):
            at = (6 - column if mirror else column) + right
            out[i][:, column] = window[:, at]
    return out


def layers():
    g, base = "layers and draws", dict(optimizer="sgd", lr=0.1, momentum=0)
    plain(g, "BatchNorm, its running statistics among the weights", 1e-5, base | dict(batch=128, epochs=5),
          lambda: Run("norm.h5", sgd(), batch=128, epochs=5), model="norm.h5")
    plain(g, "BatchNorm, norm_momentum 0.3", 1e-5, base | dict(norm_momentum=0.3),
          lambda: Run("norm.h5", sgd(), net=Net("norm.h5", 0.3)), model="norm.h5")
    plain(g, "convolutions, BatchNorm and a residual", 1e-5, base | dict(batch=60),
          lambda: Run("images.h5", sgd(), x=IMAGES, y=Y[:60], batch=60), model="images.h5", data="images-data.h5")
    plain(g, "dropout 0.3 by its seed", 2e-6, base | dict(epochs=5),
          lambda: Run("drop.h5", sgd(), on_batch=dropped, epochs=5), model="drop.h5")
    plain(g, "augment_flip and augment_crop 2 by their seed", 1e-5,
          base | dict(batch=60, epochs=5, augment_flip="true", augment_crop=2),
          lambda: Run("images.h5", sgd(), x=IMAGES, y=Y[:60], batch=60, epochs=5, on_batch=augmented),
          model="images.h5", data="images-data.h5")


def lora():
    tune = f"finetune:epochs={STEPS},batch={EVENTS},validation=0,keep_best=false,optimizer=sgd,lr=0.1,momentum=0"
    for name, method in (("LoRA, rank 2", "lora:rank=2,alpha=4"), ("PiSSA, rank 2", "lora:rank=2,init=pissa"),
                         ("QLoRA on nf4, LoftQ, rank 2", "lora:rank=2,base=nf4,init=loftq")):
        @row("adapters", name, 2e-6)
        def compare(method=method):
            pquant("compress", "mlp.h5", "-o", "start.h5", "--method", method, "--quiet")
            pquant("compress", "mlp.h5", "-o", "out.h5", "--method", method, "--method", tune, "--train", "events.h5:train", "--quiet")
            net = Net("start.h5")
            for k, v in net.weights.items():
                v.requires_grad_(".lora_" in k)
            return read_weights("out.h5"), Run(None, sgd(), net=net).net.values()


class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return torch.round(x)

    @staticmethod
    def backward(ctx, g):
        return g


class Slower(torch.autograd.Function):
    """The value as it is, its gradient times a factor."""
    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.factor, None


def straight(scale, lo, hi):
    """Gradient 1 where nothing was cut by more than half a step."""
    def use(v):
        at = v / scale
        kept = ((at >= lo - 0.5) & (at <= hi + 0.5)).double().detach()
        q = torch.clamp(torch.round(at), lo, hi) * scale
        return v * kept + (q - v * kept).detach()
    return use


def lsq(scale, lo, hi, count):
    def use(v):
        s = Slower.apply(scale, 1 / math.sqrt(count * max(hi, 1)))
        return Round.apply(torch.clamp(v / s, lo, hi)) * s
    return use


def dorefa(end, hi):
    def use(v):
        t = torch.tanh(v)
        return Round.apply(t / t.abs().amax(1, keepdim=True) * hi) * (end / hi)
    return use


def parameter(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def quantized(rule, half):
    """Net on the grids of q.h5 under a rule, and its parameters beside the weights; codes reach from -half."""
    net, scales, more = Net("q.h5"), read_scales("q.h5"), {}
    for k in ("fc1/kernel", "fc2/kernel"):
        v, s = net.weights[k], torch.tensor(scales[k], dtype=torch.float64)[:, None]
        if rule == "straight":
            net.use[k] = straight(s, 1 - half, half - 1)
        elif rule == "lsq":
            count = v.shape[1]
            more[k] = parameter((2 * v.detach().abs().mean(1, keepdim=True) / math.sqrt(half - 1)).numpy())
            net.use[k] = lsq(more[k], 1 - half, half - 1, count)
        else:
            end = s * (half - 1)
            with torch.no_grad():
                v.copy_(torch.atanh(torch.clamp(v / end, -1, 1) * torch.tanh(torch.clamp(end, max=1.0))))
            net.use[k] = dorefa(end, half - 1)
    for n in net.nodes:
        q = n.get("quant")
        if q is None:
            continue
        s, z, name = q["scale"][0], q["zero_point"][0], n["name"]
        lo, hi = (-half - z, half - 1 - z) if q["signed"] else (-z, 2 * half - 1 - z)
        size = 24 if name == "relu" else 16
        if rule == "lsq":
            more[name] = parameter(s)
            net.on[name] = lsq(more[name], lo, hi, size)
        elif rule == "pact" and lo == 0:
            more[name] = parameter(s * hi)
            net.on[name] = lambda x, a=more[name], hi=hi: Pact.apply(x, a, hi)
        else:
            net.on[name] = straight(s, lo, hi)
    return net, more


class Pact(torch.autograd.Function):
    """round(clamp(x, 0, a)): gradient 1 to x inside, 1 to a beyond it."""
    @staticmethod
    def forward(ctx, x, a, hi):
        ctx.save_for_backward(x, a)
        return torch.clamp(torch.round(x / (a / hi)), 0, hi) * (a / hi)

    @staticmethod
    def backward(ctx, g):
        x, a = ctx.saved_tensors
        return g * ((x >= 0) & (x < a)), (g * (x >= a)).sum(), None


def grids():
    for rule, bits in ((r, b) for r in ("straight", "lsq", "pact", "dorefa") for b in (4, 2)):
        @row("quantizers in training", f"{rule}, {bits} bits", 2e-5, "losses")
        def compare(rule=rule, bits=bits):
            pquant("compress", "mlp.h5", "-o", "q.h5", "--method", f"quantize:bits={bits}", "--calib", "events.h5:train", "--quiet")
            mine = ours("q.h5", optimizer="sgd", lr=0.3, momentum=0, qat=rule, pact_decay=0.001)[1]
            net, more = quantized(rule, 2 ** (bits - 1))

            def decay(n):
                for k, a in more.items():
                    if rule == "pact":
                        a.grad += 0.001 * a.detach()
            run = Run(None, lambda n: torch.optim.SGD([*n.trained(), *more.values()], lr=0.3), net=net, on_gradients=decay)
            return {"loss": mine}, {"loss": np.array(run.losses)}


class Fraction(torch.autograd.Function):
    """Rounded to whole(f) fraction bits, clipped at lo and hi: gradient 1 to v, ln 2 (v - q) to f, where not clipped."""
    @staticmethod
    def forward(ctx, v, f, lo, hi):
        step = 2.0 ** -torch.round(f)
        q = torch.clamp(torch.round(v / step), lo / step, hi / step - 1) * step
        ctx.save_for_backward(v, q, step)
        ctx.ends = lo, hi
        return q

    @staticmethod
    def backward(ctx, g):
        (v, q, step), (lo, hi) = ctx.saved_tensors, ctx.ends
        inside = (v >= lo - step / 2) & (v <= hi - step / 2)
        return g * inside, (g * inside * math.log(2) * (v - q)).sum(), None, None


def fractions():
    """HGQ without its prices: kernels take the integer bits they need, activations keep theirs."""
    @row("quantizers in training", "hgq, from 6 bits, price 0", 2e-5, "losses")
    def compare():
        pquant("compress", "mlp.h5", "-o", "q.h5", "--method", "quantize:format=fixed,bits=6,granularity=per_tensor",
               "--calib", "events.h5:train", "--quiet")
        mine = ours("q.h5", optimizer="sgd", lr=0.3, momentum=0, qat="hgq", qat_lr=300, hgq_beta=0, hgq_gamma=0)[1]
        net, more = Net("q.h5"), {}
        for k in ("fc1/kernel", "fc2/kernel"):
            more[k] = parameter(float(read_fraction("q.h5", k)))
            net.use[k] = lambda v, f=more[k]: Fraction.apply(v, f, -64.0, 64.0)
        for n in net.nodes:
            if n.get("quant"):
                q, name = n["quant"], n["name"]
                more[name] = parameter(float(q["fraction_bits"][0]))
                hi = 2.0 ** q["integer_bits"][0]
                net.on[name] = lambda v, f=more[name], lo=-hi if q["signed"] else 0.0, hi=hi: Fraction.apply(v, f, lo, hi)
        start = {k: float(f.detach()) for k, f in more.items()}
        run = Run(None, lambda n: torch.optim.SGD([{"params": n.trained()}, {"params": list(more.values()), "lr": 90.0}],
                                                  lr=0.3), net=net)
        assert any(round(float(f.detach())) != start[k] for k, f in more.items()), "no width moved"
        return {"loss": mine}, {"loss": np.array(run.losses)}


def table(measured):
    lines = ["| feature | compared | largest difference |", "|---|---|---|"]
    lines += [f"| {group}: {name} | {compared} | {d:.0e} |" for group, name, compared, d in measured]
    return "\n".join(lines)


def check_docs(measured):
    """The table of the docs: written anew on demand, else compared."""
    path = os.path.join(os.path.dirname(__file__), "../../docs/training.md")
    with open(path) as f:
        docs = f.read()
    begin, end = "<!-- training against PyTorch -->\n", "\n<!-- /training against PyTorch -->"
    before, rest = docs.split(begin)
    old, after = rest.split(end)
    if os.environ.get("PQUANT_WRITE_DOCS"):
        with open(path, "w") as f:
            f.write(before + begin + table(measured) + end + after)
        return True
    rows = {m[1]: float(m[3]) for m in re.finditer(r"^\| (.*) \| (.*) \| ([0-9.e+-]+) \|$", old, re.M)}
    due = {f"{group}: {name}": d for group, name, _, d in measured}
    bad = [k for k in rows.keys() | due.keys() if k not in rows or k not in due or due[k] > 10 * rows[k] + 1e-9]
    for k in sorted(bad):
        print(f"docs/training.md: '{k}': {rows.get(k)}, measured {due.get(k)}")
    return not bad


def main():
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    models()
    for make in (optimizers, schedules, losses, layers, lora, grids, fractions):
        make()
    cases, measured = Cases(), []
    for group, name, tolerance, compared, function in ROWS:
        if only in f"{group}: {name}":
            mine, theirs = function()
            off = largest_difference(mine, theirs)
            cases.add(f"{group}: {name}", off, 0.0, tolerance)
            measured.append((group, name, compared, off))
            if os.environ.get("PQUANT_SHOW"):
                print(f"{group}: {name}: {off:.2e}")
    if not only and not check_docs(measured):
        cases.bad += 1
    cases.finish()


main()
