"""Models as people write them: taken with the values they have, or refused at their line with what to do."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch import nn
from torch.nn import functional as F

import pquant

TOLERANCE = 2e-5


class Of(nn.Module):
    """A module of parts and a function of them and x."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def matrix(*shape):
    return nn.Parameter(torch.randn(*shape) / 4)


def loop(m, x):
    x = m.a(x)
    for block in m.blocks:
        x = x + block(x)
    return m.b(x)


def residual():
    blocks = nn.ModuleList([nn.Sequential(nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 24)) for _ in range(3)])
    return Of(loop, a=nn.Linear(16, 24), blocks=blocks, b=nn.Linear(24, 5))


def resnet(m, x):
    x = F.relu(m.n(m.c(x)))
    x = F.relu(m.e(x) + m.s(x))
    return m.f(F.avg_pool2d(x, x.size(3)).view(x.size(0), -1))


def option_a(m, x):
    x = F.relu(m.e(m.c(x)) + F.pad(m.c(x)[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)))
    return m.f(x.mean([2, 3]))


def of_convolutions(function):
    return Of(function, c=nn.Conv2d(3, 8, 3, padding=1), n=nn.BatchNorm2d(8), e=nn.Conv2d(8, 16, 3, 2, 1),
              s=nn.Conv2d(8, 16, 1, 2, bias=False), f=nn.Linear(16, 5))


def dense(function):
    return lambda: Of(function, a=nn.Linear(16, 8), b=nn.Linear(8, 8), w=matrix(16, 8), t=nn.Parameter(torch.tensor(2.0)))


def normed(n, **more):
    layer = nn.LayerNorm(n, **more)
    for p in layer.parameters():
        nn.init.normal_(p)
    return layer


def image(function):
    return lambda: Of(function, c=nn.Conv2d(3, 6, 3, padding=1))


TORCH = {
    "parameters": (dense(lambda m, x: F.relu(x @ m.w)), (16,)),
    "einsum": (dense(lambda m, x: torch.einsum("bi,io->bo", x, m.w)), (16,)),
    "scalars": (dense(lambda m, x: m.a(2 * x - 1) * m.t / 3 + 0.5), (16,)),
    "powers": (dense(lambda m, x: m.a(x) ** 2 + m.a(x).pow(3) - m.a(x).abs()), (16,)),
    "one minus": (dense(lambda m, x: 1 - torch.sigmoid(m.a(x)) + (-m.a(x))), (16,)),
    "glu": (dense(lambda m, x: F.glu(m.a(x))), (16,)),
    "stack": (dense(lambda m, x: torch.stack([m.a(x), m.b(m.a(x))], 1).mean(1)), (16,)),
    "columns": (dense(lambda m, x: m.b(x[:, [0, 3, 4, 5, 9, 10, 14, 15]])), (16,)),
    "one number": (lambda: Of(lambda m, x: torch.sigmoid(m.a(x)).squeeze(-1), a=nn.Linear(16, 1)), (16,)),
    "dropout": (dense(lambda m, x: F.dropout(F.elu(m.a(x)), 0.5, m.training)), (16,)),
    "functions": (lambda: nn.Sequential(nn.Linear(16, 8), nn.SELU(), nn.Linear(8, 8), nn.CELU(0.7), nn.Linear(8, 8), nn.PReLU(),
                                        nn.Linear(8, 4), nn.ReLU6(inplace=True)), (16,)),
    "parametrized": (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(16, 8)), nn.ReLU(),
                                           nn.utils.parametrizations.spectral_norm(nn.Linear(8, 5))), (16,)),
    "residual": (residual, (16,)), "resnet": (lambda: of_convolutions(resnet), (3, 16, 16)),
    "option a": (lambda: of_convolutions(option_a), (3, 16, 16)),
    "mobilenet": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU6(True), nn.Conv2d(8, 8, 3, 1, 1, groups=8),
                                        nn.Hardswish(), nn.Conv2d(8, 16, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)),
                  (3, 16, 16)),
    "deep sets": (lambda: Of(lambda m, x: m.b(F.relu(m.a(x)).sum(dim=1)), a=nn.Linear(6, 16), b=nn.Linear(16, 4)), (20, 6)),
    "weighted sums": (dense(lambda m, x: torch.sub(torch.add(m.a(x), m.b(m.a(x)), alpha=0.5), m.w[0] * 2, alpha=3)), (16,)),
    "einsum of dots": (dense(lambda m, x: torch.einsum("...i,oi->...o", x, m.a.weight)), (16,)),
    "a bias that is a sum's": (dense(lambda m, x: torch.addmm(m.b.bias, x, m.w)), (16,)),
    "in place twice": (dense(lambda m, x: (lambda h: (h.add_(1), h.mul_(2), h)[2])(m.a(x))), (16,)),
    "largest of images": (lambda: Of(lambda m, x: m.f(F.adaptive_max_pool2d(m.c(x), 1).flatten(1)), c=nn.Conv2d(3, 6, 3),
                                     f=nn.Linear(6, 3)), (3, 8, 8)),
    "means that stay images": (image(lambda m, x: m.c(x).mean((2, 3), keepdim=True)), (3, 8, 8)),
    "images out of a concat": (image(lambda m, x: torch.cat([m.c(x), x], 1)), (3, 8, 8)),
    "images out of a pad": (image(lambda m, x: F.pad(m.c(x), (1, 2, 0, 1), value=0.5)), (3, 8, 8)),
    "an axis of one": (dense(lambda m, x: m.a(x).unsqueeze(1)), (16,)),
    "an axis of one behind": (dense(lambda m, x: m.a(x).unsqueeze(-1)), (16,)),
    "softplus": (lambda: nn.Sequential(nn.Linear(16, 8), nn.Softplus(), nn.Linear(8, 8), nn.Softplus(0.5)), (16,)),
    "layer norms": (lambda: nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 8), normed(8, bias=False), nn.GELU(), nn.Linear(8, 4),
                                          nn.LayerNorm(4, elementwise_affine=False)), (16,)),
    "post norm of sets": (lambda: Of(lambda m, x: m.b(m.n(x + F.relu(m.a(x))).mean(1)), a=nn.Linear(6, 6), n=normed(6, eps=0.01),
                                     b=nn.Linear(6, 4)), (20, 6)),
    "norm of channels": (lambda: Of(lambda m, x: m.n(m.c(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2), c=nn.Conv2d(3, 6, 3), n=normed(6)),
                         (3, 8, 8)),
    "largest of sets": (lambda: Of(lambda m, x: m.b(m.a(x).max(dim=1).values), a=nn.Linear(6, 16), b=nn.Linear(16, 4)), (20, 6)),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch(name):
    torch.manual_seed(0)
    build, shape = TORCH[name]
    net = build().eval()
    x = torch.randn(30, *shape)
    once = pquant.compress_model(net, "prune", target_sparsity=0.0, input_shape=shape)
    with torch.no_grad():
        due = net(x)
        for got in (once(x), pquant.compress_model(once, "prune", target_sparsity=0.0)(x)):
            assert got.shape == due.shape
            np.testing.assert_allclose(got, due, atol=TOLERANCE)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x)[0]


def each_its_own(m, x):
    return m.a(x) + torch.arange(len(x))[:, None]


REFUSED = {
    "attention": (Attention, (10, 16), r"layer 'attention \(MultiheadAttention\)'", "attention multiplies activations"),
    "embedding": (lambda: Of(lambda m, x: m.e(x.long()).flatten(1), e=nn.Embedding(9, 4)), (6,), "int64", "feed the embedded features"),
    "log_softmax": (dense(lambda m, x: F.log_softmax(m.a(x), 1)), (16,), "log_softmax", "end the network with logits"),
    "softplus": (dense(lambda m, x: F.softplus(m.a(x), 1.0, 2.0)), (16,), "softplus .* threshold = 2.0", "threshold from 15 on"),
    "norm of images": (lambda: Of(lambda m, x: m.n(x), n=nn.LayerNorm((3, 8, 8))), (3, 8, 8), "layer_norm .* over 3 axes", "last axis"),
    "recurrent": (lambda: Of(lambda m, x: m.g(x)[0], g=nn.GRU(4, 8, batch_first=True)), (5, 4), r"layer 'g \(GRU\)': operator gru",
                  "recurrent layers"),
    "squeeze and excitation": (lambda: Of(lambda m, x: x * x.mean((2, 3), keepdim=True), a=nn.Linear(1, 1)), (3, 8, 8), "stretched",
                               "replace it"),
    "slopes": (lambda: nn.Sequential(nn.Linear(16, 8), pelu()), (16,), "one slope a channel", "use one for all"),
    "comparisons": (dense(lambda m, x: torch.where(m.a(x) > 0, m.a(x), 0.1)), (16,), "operator gt", "taken whole"),
    "events apart": (dense(each_its_own), (16,), "cannot be traced|differs from event to event|None", ""),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(8)), (16,), "has no weights yet", "call the module once"),
    "no values": (lambda: nn.Sequential(nn.Linear(16, 8, device="meta")), (16,), "'0.weight' has no values: .* 'meta'", "to_empty"),
    "complex": (lambda: nn.Sequential(nn.Linear(16, 8, dtype=torch.complex64)), (16,), "'0.weight' is of torch.complex64", ""),
    "two outputs": (dense(lambda m, x: (m.a(x), m.b(m.a(x)))), (16,), "gives 2 tensors", "returns one tensor"),
    "factors of addmm": (dense(lambda m, x: torch.addmm(m.b.bias, x, m.w, beta=2)), (16,), "operator addmm .* beta = 2", ""),
    "two of addmm": (dense(lambda m, x: torch.addmm(m.a(x), x, m.w)), (16,), "addmm .* a product or sum of activations", ""),
    "rounded quotients": (dense(lambda m, x: torch.div(m.a(x), 0.3, rounding_mode="floor")), (16,), "rounding_mode = floor", ""),
    "larger of two": (dense(lambda m, x: torch.max(m.a(x), torch.zeros(8))), (16,), "max .* of two arrays", ""),
    "place of the largest": (dense(lambda m, x: m.a(x).max(1).indices * 1.0), (16,), "the place of the largest", ""),
    "einsum turned": (dense(lambda m, x: torch.einsum("bi,io->ob", x, m.w)), (16,), "einsum .* 'bi,io->ob'", "dense layers"),
    "in place on a part": (dense(lambda m, x: (lambda h: (h[:, :4].relu_(), h)[1])(m.a(x))), (16,), "relu_ .* in place on a part", "y = f"),
    "in place on a view": (dense(lambda m, x: (lambda h: (h.view(-1, 2, 4).relu_(), h)[1])(m.a(x))), (16,), "in place on a part or view", ""),
    "in place behind dropout": (dense(lambda m, x: (lambda h: (F.dropout(h, 0.5, False).relu_(), h)[1])(m.a(x))), (16,),
                                "in place on a part or view", ""),
    "axes of the result": (lambda: Of(lambda m, x: m.c(x).flatten(2), c=nn.Conv2d(3, 6, 1)), (3, 8, 8), "in another order here", ""),
    "as many axes": (lambda: Of(lambda m, x: m.c(x).flatten(2), c=nn.Conv2d(3, 16, 1)), (3, 4, 4), "numbers that are", ""),
    "shapes of values": (dense(lambda m, x: m.a(x)[:, torch.nonzero(torch.ones(8))[:, 0]]), (16,), "depends on values", ""),
    "size of the batch": (dense(lambda m, x: m.a(x) / x.shape[0]), (16,), "for 3 events the module gives numbers that are",
                          "the number of events in a batch"),
}
#: those that no line of the user's own is at fault of
NO_LINE = ("slopes", "events apart", "lazy", "no values", "complex", "two outputs", "axes of the result", "as many axes", "size of the batch")


def pelu():
    layer = nn.PReLU(8)
    layer.weight.data.uniform_()
    return layer


@pytest.mark.parametrize("name", REFUSED)
def test_torch_refuses(name):
    build, shape, why, hint = REFUSED[name]
    with pytest.raises(pquant.Error, match=why) as caught:
        pquant.compress_model(build().eval(), "prune", target_sparsity=0.0, input_shape=shape)
    assert hint in caught.value.hint and len(caught.value.message.splitlines()) == 1
    if name not in NO_LINE:
        assert caught.value.file == __file__ and caught.value.place[0] > 0


def test_weights_that_are_no_numbers_are_told_as_such():
    """The layer is one that pquant has: nothing is to be replaced by another."""
    holey = nn.Linear(16, 8)
    holey.weight.data[0, 1] = torch.nan
    parameters = {"w": np.full((16, 8), np.inf, np.float32)}
    for net, where in ((nn.Sequential(holey), "layer '0': kernel holds nan at index 1"),
                       (Of(lambda m, x: m.a(x), a=holey), r"py:\d+: layer 'a \(Linear\)': kernel holds nan at index 1"),
                       ((lambda p, x: x @ p["w"], parameters), r"py:\d+: kernel holds inf at index 0")):
        with pytest.raises(pquant.Error, match=where) as caught:
            pquant.compress_model(net, "prune", target_sparsity=0.0, input_shape=(16,))
        assert caught.value.code == "numeric" and not caught.value.hint
        assert not isinstance(caught.value, NotImplementedError)


@jax.jit
def relu(x):
    """Not what its name says."""
    return x * 2


RNG = np.random.default_rng(0)


def norm_by_hand(x):
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-4)


@jax.jit
def gelu(x):
    return x * jnp.tanh(x)


def by_hand(x, axis=-1):
    """Softmax, and over other axes a chain of its primitives that is none."""
    e = jnp.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(axis, keepdims=True)


P = {"w": RNG.normal(size=(16, 8)).astype("f") / 4, "v": RNG.normal(size=(8, 3)).astype("f")}
JAX = {
    **{name: (lambda p, x, f=getattr(jax.nn, name): f(x @ p["w"])) for name in (
        "relu", "relu6", "silu", "leaky_relu", "elu", "celu", "selu", "gelu", "glu", "hard_tanh", "hard_sigmoid", "hard_swish", "softmax", "softplus")},
    "normed by hand": lambda p, x: norm_by_hand(x @ p["w"]) * 3 - 0.5,
    "slopes": lambda p, x: jax.nn.leaky_relu(x @ p["w"], 0.3) + jax.nn.elu(x @ p["w"], 0.5),
    "another relu": lambda p, x: relu(x @ p["w"]), "another gelu": lambda p, x: gelu(x @ p["w"]),
    "softmax by hand": lambda p, x: by_hand(x @ p["w"]),
    "abs": lambda p, x: jnp.abs(x @ p["w"]), "powers": lambda p, x: (x @ p["w"]) ** 2,
    "split": lambda p, x: (lambda a, b: a * jax.nn.sigmoid(b))(*jnp.split(x @ p["w"], 2, -1)),
    "vmap": lambda p, x: jax.vmap(lambda e: jax.nn.relu(e @ p["w"]) @ p["v"])(x),
    "jit": lambda p, x: jax.jit(lambda y: jnp.tanh(y @ p["w"]))(x),
}


@pytest.mark.parametrize("name", JAX)
def test_jax(name):
    x = RNG.normal(size=(30, 16)).astype("f")
    once = pquant.compress_model((JAX[name], P), "prune", target_sparsity=0.0, input_shape=(16,))
    np.testing.assert_allclose(once(x), JAX[name](P, x), atol=TOLERANCE)


JAX_REFUSED = {
    "log_softmax": (lambda p, x: jax.nn.log_softmax(x @ p["w"]), "of log_softmax", "end the network with logits"),
    "where": (lambda p, x: jnp.where(x > 0, x, 0) @ p["w"], "operator gt", "taken whole"),
    "left": (lambda p, x: (p["w"].T @ x.T).T, "a constant on the left", "write x @ w"),
    "attention": (lambda p, x: (x @ p["w"]) @ (x @ p["w"]).T, "a product of activations", ""),
    "one number": (lambda p, x: (x @ p["w"])[:, 0], "1 axes", "[n, 1]"),
    "whole numbers": (lambda p, x: (x @ p["w"]).astype(int) * 1.0, "it makes int32 of activations", ""),
    "softmax of other axes": (lambda p, x: by_hand((x @ p["w"]).reshape(-1, 2, 4), -2), "operator exp", ""),
    "softmax and its largest": (lambda p, x: (lambda y: (lambda m: (lambda e: e / e.sum(-1, keepdims=True) + m)(jnp.exp(y - m)))(
        y.max(-1, keepdims=True)))(x @ p["w"]), "operator exp", ""),
}


@pytest.mark.parametrize("name", JAX_REFUSED)
def test_jax_refuses(name):
    function, why, hint = JAX_REFUSED[name]
    with pytest.raises(pquant.UnsupportedError, match=why) as caught:
        pquant.compress_model((function, P), "prune", target_sparsity=0.0, input_shape=(16,))
    assert hint in caught.value.hint and caught.value.file == __file__


class Residual(nnx.Module):
    def __init__(self, rngs):
        self.a, self.n, self.d = nnx.Linear(16, 16, rngs=rngs), nnx.BatchNorm(16, rngs=rngs), nnx.Dropout(0.3, rngs=rngs)
        self.blocks = nnx.List([nnx.Linear(16, 16, rngs=rngs) for _ in range(2)])
        self.m = nnx.LayerNorm(16, rngs=rngs)
        self.m.scale[...], self.m.bias[...] = jnp.linspace(-1, 2, 16), jnp.linspace(0, 1, 16)

    def __call__(self, x):
        x = nnx.relu(self.n(self.a(x)))
        for block in self.blocks:
            x = self.m(x + nnx.leaky_relu(block(x)))
        return self.d(x)


def test_flax_modules_are_taken_as_they_predict():
    module, x = Residual(nnx.Rngs(0)), RNG.normal(size=(30, 16)).astype("f")
    once = pquant.compress_model(module, "prune", target_sparsity=0.0)
    module.eval()
    np.testing.assert_allclose(once(x), module(x), atol=TOLERANCE)
