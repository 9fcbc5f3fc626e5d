"""torch modules in and out."""
import copy
import warnings

import numpy as np
import pytest
import torch
from conftest import JETS
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

import pquant
from pquant.frameworks import convert

TOLERANCE = 1e-5


class Images(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.bn = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.c2, self.c3 = nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.Conv2d(32, 32, 3, groups=32)
        self.fc, self.out = nn.Linear(32 * 2 * 2, 64), nn.Linear(64, 10)

    def forward(self, x):
        x = F.max_pool2d(torch.relu(self.bn(self.c1(x))), 2)
        x = self.c3(F.gelu(self.c2(x)))
        x = F.adaptive_avg_pool2d(x + x * 0.5, 2).flatten(1)
        return self.out(F.silu(self.fc(x)))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(16, 24), nn.Linear(24, 24), nn.Linear(48, 5)

    def forward(self, x):
        h = F.leaky_relu(self.a(x), 0.2)
        left, right = torch.cat([h, F.hardtanh(self.b(h))], dim=1).chunk(2, dim=1)
        return torch.softmax(self.c(torch.cat([right, torch.tanh(left) + right], 1)), dim=-1)


def plain():
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Dropout(0.2), nn.BatchNorm1d(64), nn.Linear(64, 32), nn.ELU(),
                         nn.Linear(32, 5))


NETS = {"plain": (plain, (16,)), "images": (Images, (3, 16, 16)), "residual": (Residual, (16,))}


def make(name):
    torch.manual_seed(3)
    build, shape = NETS[name]
    net = build()
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return net.eval(), torch.randn(200, *shape), shape


def ours(x):
    return x.movedim(1, -1).numpy() if x.dim() == 4 else x.numpy()


@pytest.mark.parametrize("name", NETS)
def test_in_and_out_again(name):
    net, x, shape = make(name)
    source = convert(net, shape)
    due = net(x).detach().numpy()
    np.testing.assert_allclose(source.model.predict(ours(x)), due, atol=TOLERANCE)
    np.testing.assert_allclose(source.back(source.model)(x).detach().numpy(), due, atol=TOLERANCE)


METHODS = [("low_rank", {"rank": 6}), ("tensor_train", {"rank": 4}), ("pruning", {"target_sparsity": 0.7}),
           ("structured_pruning", {"target_sparsity": 0.5}), ("lora", {"rank": 3}), ("quantization", {"bits": 8}),
           (["low_rank", "quantization"], {"rank": 6, "bits": 5}),
           ("quantization", {"format": "fixed", "bits": 8}), ("quantization", {"format": "nf4"})]


@pytest.mark.parametrize("method, parameters", METHODS)
@pytest.mark.parametrize("name", ["plain", "images"])
def test_compressed_is_what_our_engines_compute(name, method, parameters):
    net, x, _ = make(name)
    y = net(x).argmax(1)
    small = pquant.compress_model(net, method, data=(x, y), **parameters)
    due = small.pquant.predict(ours(x), engine="reference")
    np.testing.assert_allclose(small(x).detach().numpy(), due, atol=TOLERANCE)


@pytest.mark.parametrize("method, parameters", [("tucker", {"rank": 4}), ("cp", {"rank": 4})])
def test_convolutions_become_chains_of_convolutions(method, parameters):
    net, x, shape = make("images")
    small = pquant.compress_model(net, method, input_shape=shape, **parameters)
    np.testing.assert_allclose(small(x).detach().numpy(), small.pquant.predict(ours(x)), atol=TOLERANCE)
    assert sum(isinstance(m, nn.Conv2d) for m in small.modules()) > 3


def test_it_is_made_of_ordinary_layers_that_train():
    net, x, _ = make("plain")
    y = net(x).argmax(1)
    small = pquant.compress_model(net, method="low_rank", rank=4)
    assert {type(m) for m in small.children()} <= {nn.Linear, nn.ReLU, nn.Dropout, nn.BatchNorm1d, nn.ELU}
    optimizer, first = torch.optim.Adam(small.parameters(), 1e-2), None
    small.train()
    for _ in range(60):
        loss = F.cross_entropy(small(x), y)
        first = first if first is not None else loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.7 * first
    small.eval()
    due = small(x).detach().numpy()  # logits that training has made large: of the largest of them
    np.testing.assert_allclose(small.pquant.predict(x.numpy()), due, atol=TOLERANCE * np.abs(due).max())


def test_state_dict_and_pickle_round_trip(tmp_path):
    net, x, _ = make("plain")
    y = net(x).argmax(1)
    small = pquant.compress_model(net, ["tensor_train", "quantization"], rank=4, data=(x, y))
    other = pquant.compress_model(make("plain")[0], ["tensor_train", "quantization"], rank=4, data=(x, y))
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(0.5)
    other.load_state_dict(small.state_dict())
    np.testing.assert_array_equal(other(x).detach().numpy(), small(x).detach().numpy())
    torch.save(small, tmp_path / "small.pt")
    again = torch.load(tmp_path / "small.pt", weights_only=False)
    np.testing.assert_array_equal(again(x).detach().numpy(), small(x).detach().numpy())
    np.testing.assert_array_equal(copy.deepcopy(small)(x).detach().numpy(), small(x).detach().numpy())


def test_gradients_pass_the_grids():
    net, x, _ = make("plain")
    small = pquant.compress_model(net, "quantization", bits=4, data=(x, net(x).argmax(1)))
    small.train()
    small(x).square().mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0
               for n, p in small.named_parameters() if n.endswith("weight"))


def test_the_same_numbers_from_a_loader_and_a_file():
    net, x, _ = make("plain")
    y = net(x).argmax(1)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=32)
    assert pquant.evaluate(net, loader) == 1.0
    x, y = pquant.Data.open(JETS + ":test").read()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), 1000)
    assert pquant.evaluate(net, loader) == pquant.evaluate(net, JETS + ":test")


def test_training_again_of_a_compressed_model_is_compressed_again():
    net, x, _ = make("plain")
    small = pquant.compress_model(net, "quantization", bits=8, data=(x, net(x).argmax(1)))
    pruned = pquant.compress_model(small, "pruning", target_sparsity=0.5)
    assert pruned.pquant.stored_bytes < small.pquant.stored_bytes
    assert pquant.evaluate(small, (x, net(x).argmax(1))) > 0.9


class Norm(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, x):
        return self.norm(x)  # the line that is named


class Branch(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_what_cannot_be_taken_is_named_with_its_place():
    with pytest.raises(pquant.UnsupportedError, match=r"layer 'norm \(GroupNorm\)': operator group_norm") as failed:
        convert(Norm(), (8,))
    assert failed.value.file == __file__ and failed.value.place is not None and "BatchNorm" in failed.value.hint
    with open(__file__, encoding="utf-8") as file:
        assert "the line that is named" in file.readlines()[failed.value.place[0] - 1]
    with pytest.raises(pquant.UnsupportedError, match="cannot be traced"):
        convert(Branch(), (8,))
    with pytest.raises(pquant.ConfigError, match="input_shape"):
        convert(Images())
    with pytest.raises(NotImplementedError):
        convert(nn.Sequential(nn.Linear(4, 4), nn.LogSoftmax(-1)))


def test_a_module_keeps_its_mode_and_weights():
    net, x, shape = make("images")
    net.train()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error", pquant.Warned)
        pquant.compress_model(net, "low_rank", rank=4, input_shape=shape)
    assert net.training and all(torch.equal(v, net.state_dict()[k]) for k, v in before.items())


class Permuted(nn.Module):
    """Images with channels last, turned in the module, and back."""

    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, x):
        return self.c(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Sequences(nn.Module):
    def __init__(self, turns=False):
        super().__init__()
        self.turns, self.c, self.f = turns, nn.Conv1d(6, 8, 3, padding=1), nn.Linear(48, 3)

    def forward(self, x):
        return self.f(torch.relu(self.c(x.permute(0, 2, 1) if self.turns else x)).flatten(1))


class Sets(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)).mean(1))


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = self.a(x.float())
        y = F.relu_(h)
        return self.b(h + y)


def pruned_by_torch():
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    prune.l1_unstructured(net[0], "weight", 0.5)
    return net


AXES = {"conv1d": (Sequences, (6, 6)), "conv1d, turned": (lambda: Sequences(True), (6, 6)), "permuted": (Permuted, (6, 6, 6)),
        "flattened at once": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), (1, 6, 6)), "sets": (Sets, (6, 6)),
        "in place": (InPlace, (6,)), "pruned by torch": (pruned_by_torch, (6,)),
        "double": (lambda: Sequences().double(), (6, 6))}


@pytest.mark.parametrize("name", AXES)
def test_axes_of_inputs_and_outputs_are_those_of_the_module(name):
    torch.manual_seed(4)
    build, shape = AXES[name]
    net = build().eval()
    x = torch.randn(50, *shape).to(next(net.parameters()).dtype)
    once = pquant.compress_model(net, "prune", target_sparsity=0.0, input_shape=shape)
    twice = pquant.compress_model(once, "prune", target_sparsity=0.0, input_shape=shape)
    with torch.no_grad():
        due = net(x)
        for got in (once(x), twice(x)):
            assert got.dtype == due.dtype
            np.testing.assert_allclose(got.numpy(), due.numpy(), atol=TOLERANCE)
    if due.ndim == 2:
        assert pquant.evaluate(net, (x, due.argmax(1))) == pquant.evaluate(once, (x, due.argmax(1))) == 1.0


class Counts(nn.Module):
    def forward(self, x):
        return torch.relu(x.int().float())


def test_casts_and_recurrences_that_are_not_read_are_named():
    for net, shape, operator in ((Counts(), (4,), "int32"), (nn.LSTM(4, 8, batch_first=True), (5, 4), "lstm")):
        with pytest.raises(pquant.UnsupportedError, match=operator):
            pquant.compress_model(net, "prune", target_sparsity=0.5, input_shape=shape)
