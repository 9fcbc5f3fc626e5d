"""State dicts of PyTorch and Flax in files of three formats, beside a YAML of layers, in both directions."""
import subprocess

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import nn

from common import PQUANT, Cases, pquant
from library import Model, Refused

TOLERANCE = 1e-5


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.bn = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.a, self.short = nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.Conv2d(8, 12, 1, stride=2)
        self.deep = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.fc = nn.Linear(12, 4)

    def forward(self, x):
        x = torch.relu(self.bn(self.stem(x)))
        x = torch.relu(self.a(x) + self.short(x))
        return self.fc(self.deep(x).mean(dim=(2, 3)))


class Behind(nn.Module):
    """What is done to flattened images before a layer mixes them: the order of their values goes along."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 3, 3), nn.Conv2d(2, 4, 3, stride=2)
        self.na, self.nb = nn.BatchNorm1d(3 * 4 * 5), nn.BatchNorm1d(3 * 4 * 5 + 4 * 2 * 3)
        self.side, self.fc = nn.Linear(84, 6), nn.Linear(84 + 6, 4)

    def forward(self, x):
        a = torch.relu(self.na(self.a(x).flatten(1)))
        a = torch.sigmoid(a) * a + a
        both = self.nb(torch.cat([a, self.b(x).flatten(1)], 1))
        return self.fc(torch.cat([both, self.side(x.flatten(1))], 1))


PADDED = "padding: explicit, pad_top: 1, pad_bottom: 1, pad_left: 1, pad_right: 1"
#: net, shape of one event in PyTorch's order, layers
NETS = {
    "mlp": (nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 24), nn.Tanh(), nn.Linear(24, 3)), (16,), """
input: [16]
layers:
  - dense: {from: "0"}
  - relu
  - dense: {from: "2"}
  - tanh
  - dense: {from: "4", name: out}
"""),
    "norm": (nn.Sequential(nn.Linear(7, 9, bias=False), nn.BatchNorm1d(9), nn.LeakyReLU(0.2), nn.Linear(9, 2)), (7,), """
input: [7]
layers:
  - dense: {from: "0"}
  - batch_norm: {from: "1", epsilon: 1e-5}
  - leaky_relu: {slope: 0.2}
  - dense: {from: "3"}
"""),
    "flattened image": (nn.Sequential(nn.Conv2d(2, 5, (3, 2)), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5 * 3 * 2, 3)), (2, 8, 6), """
input: [8, 6, 2]
layers:
  - conv2d: {from: "0"}
  - relu
  - max_pool: {kernel_h: 2, kernel_w: 2}
  - flatten
  - dense: {from: "4"}
"""),
    "residual": (Residual(), (3, 8, 8), f"""
input: [8, 8, 3]
layers:
  - conv2d: {{from: stem, {PADDED}}}
  - batch_norm: {{from: bn, epsilon: 1e-5}}
  - relu: {{name: x}}
  - conv2d: {{from: a, stride_h: 2, stride_w: 2, {PADDED}}}
  - conv2d: {{from: short, of: x, stride_h: 2, stride_w: 2}}
  - add: {{of: [a, short]}}
  - relu
  - conv2d: {{from: deep, {PADDED}}}
  - global_avg_pool
  - dense: {{from: fc}}
"""),
    "behind flatten": (Behind(), (2, 6, 7), """
input: [6, 7, 2]
layers:
  - conv2d: {from: a}
  - flatten
  - batch_norm: {from: na, epsilon: 1e-5}
  - relu: {name: ra}
  - sigmoid
  - multiply: {of: [sigmoid, ra]}
  - add: {of: [multiply, ra], name: sum}
  - conv2d: {from: b, of: input, stride_h: 2, stride_w: 2}
  - flatten: {name: fb}
  - concat: {of: [sum, fb]}
  - batch_norm: {from: nb, epsilon: 1e-5}
  - flatten: {of: input, name: whole}
  - dense: {from: side}
  - concat: {of: [nb, side], name: all}
  - dense: {from: fc}
"""),
}


def ready(net, seed):
    """Evaluation, with weights and statistics that say something."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, p in list(net.named_parameters()) + list(net.named_buffers()):
            if p.dtype.is_floating_point:
                p.copy_(torch.rand_like(p) + 0.3 if "var" in name else 0.4 * torch.randn_like(p))
    return net.eval()


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


def ours(x):
    """Events with the channels last."""
    return np.moveaxis(x, 1, -1) if x.ndim == 4 else x


def torch_nets(cases):
    for k, (name, (net, shape, layers)) in enumerate(NETS.items()):
        net = ready(net, k)
        x = np.random.default_rng(k).normal(size=(9, *shape)).astype(np.float32)
        with torch.no_grad():
            due = net(torch.from_numpy(x)).numpy()
        state = {n: t.clone() for n, t in net.state_dict().items()}
        write("net.yaml", "schema: pquant-layers/1" + layers)
        torch.save(state, "net.pt")
        torch.save(state, "old.pth", _use_new_zipfile_serialization=False)
        save_file(state, "net.safetensors")
        np.savez("net.npz", **{n: t.numpy() for n, t in state.items()})
        np.savez_compressed("packed.npz", **{n: np.asfortranarray(t.numpy()) for n, t in state.items()})
        save_file({n: t.double() if t.dtype.is_floating_point else t for n, t in state.items()}, "double.safetensors")
        for path in ("net.pt", "old.pth", "net.safetensors", "net.npz", "packed.npz", "double.safetensors"):
            cases.add(f"{name}, {path}", Model(path, "net.yaml")(ours(x), engine="reference"), due, TOLERANCE)
        half = {n: t.half() if t.dtype.is_floating_point else t for n, t in state.items()}
        save_file(half, "half.safetensors")
        net.load_state_dict({n: t.float() if t.dtype.is_floating_point else t for n, t in half.items()})
        with torch.no_grad():
            cases.add(f"{name}, float16", Model("half.safetensors", "net.yaml")(ours(x), engine="reference"),
                      net(torch.from_numpy(x)).numpy(), TOLERANCE)
        net.load_state_dict(state)
        pquant("model", "convert", "net.pt", "--arch", "net.yaml", "-o", "net.h5")
        for end in ("safetensors", "npz"):
            pquant("model", "convert", "net.h5", "-o", f"out.{end}")
            write("again.yaml", "schema: pquant-layers/1" + named_layers(layers))
            cases.add(f"{name}, written as {end} and read", Model(f"out.{end}", "again.yaml")(ours(x), engine="reference"), due, TOLERANCE)
        back = {new_name(n, layers): torch.from_numpy(a.copy()) for n, a in load_file("out.safetensors").items()}
        missing, extra = net.load_state_dict(back, strict=False)
        assert not extra and all(n.endswith("num_batches_tracked") for n in missing), (missing, extra)
        with torch.no_grad():
            cases.add(f"{name}, back in PyTorch", net(torch.from_numpy(x)).numpy(), due, TOLERANCE)


def named_layers(layers):
    """The same layers, whose modules are now called as the layers were."""
    return layers.replace('from: "4", name: out', 'from: out')


def new_name(name, layers):
    return name.replace("out.", "4.") if "name: out" in layers else name


def flax_nets(cases):
    import jax
    from flax import linen, serialization

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            x = linen.Conv(6, (3, 3))(x)
            x = linen.BatchNorm(use_running_average=True)(x)
            x = linen.relu(x)
            x = linen.max_pool(x, (2, 2), (2, 2))
            x = x.reshape((x.shape[0], -1))
            x = linen.relu(linen.Dense(11)(x))
            return linen.Dense(4)(x)

    net, x = Net(), np.random.default_rng(5).normal(size=(9, 6, 8, 2)).astype(np.float32)
    tree = net.init(jax.random.key(1), x)
    rng = np.random.default_rng(6)
    tree = jax.tree_util.tree_map_with_path(
        lambda at, v: np.asarray(rng.uniform(0.3, 1.3, v.shape) if at[-1].key == "var" else rng.normal(0, 0.4, v.shape), np.float32), tree)
    flat = {"/".join(k.key for k in at): v for at, v in jax.tree_util.tree_flatten_with_path(tree)[0]}
    np.savez("flax.npz", **flat)
    with open("flax.msgpack", "wb") as f:
        f.write(serialization.to_bytes(tree))
    with open("training.msgpack", "wb") as f:  # with what only training needs
        f.write(serialization.to_bytes({"step": 3, "opt_state": {"0": {"mu": tree["params"], "count": np.int32(3)}}, **tree}))
    with open("bfloat16.msgpack", "wb") as f:
        f.write(serialization.to_bytes(jax.tree.map(lambda v: jax.numpy.asarray(v, "bfloat16"), tree)))
    save_file({k.replace("/", "."): torch.from_numpy(v) for k, v in flat.items()}, "flax.safetensors")
    write("flax.yaml", """schema: pquant-layers/1
input: [6, 8, 2]
layers:
  - conv2d: {from: Conv_0, padding: same}
  - batch_norm: {from: BatchNorm_0, epsilon: 1e-5}
  - relu
  - max_pool
  - flatten
  - dense: {from: Dense_0}
  - relu
  - dense: {from: Dense_1}
""")
    for path in ("flax.npz", "flax.safetensors", "flax.msgpack", "training.msgpack"):
        cases.add(path, Model(path, "flax.yaml")(x, engine="reference"), np.asarray(net.apply(tree, x)), TOLERANCE)
    half = jax.tree.map(lambda v: np.asarray(jax.numpy.asarray(v, "bfloat16"), np.float32), tree)
    cases.add("bfloat16.msgpack", Model("bfloat16.msgpack", "flax.yaml")(x, engine="reference"), np.asarray(net.apply(half, x)), TOLERANCE)


def templates():
    """What `model init` writes names every module."""
    net = ready(NETS["residual"][0], 0)
    save_file(net.state_dict(), "net.safetensors")
    text = pquant("model", "init", "net.safetensors")
    for module, kind in {"stem": "conv2d", "bn, epsilon: EPSILON": "batch_norm", "a": "conv2d", "short": "conv2d", "fc": "dense"}.items():
        assert f"- {kind}: {{from: {module}" in text, text
    print(text)


def refusals():
    net = ready(NETS["mlp"][0], 0)
    torch.save(net.state_dict(), "net.pt")
    layers = NETS["mlp"][2]
    for change, due in {
        ('from: "2"', 'from: "9"'): "net.yaml:6:5: the file has no kernel of module '9'",
        ("input: [16]", "input: [15]"): "net.yaml:4:5: layer '0': kernel is [32, 16]",
        ('  - dense: {from: "4", name: out}\n', ""): "'4.weight' belongs to no layer of net.yaml",
        ("- tanh", "- tahn"): "net.yaml:7:5: unknown layer kind 'tahn'",
        ('{from: "2"}', '{from: "2", stride: 3}'): "net.yaml:6:32: dense: unknown parameter 'stride'",
        ("- tanh", '- tanh: {of: nobody}'): "net.yaml:7:16: 'of': no layer 'nobody' stands before",
        ("- tanh", '- tanh: {from: "4"}'): "net.yaml:7:5: tanh takes no arrays",
        ("input:", "inptu:"): "net.yaml:2:1: unknown key 'inptu'; did you mean 'input'?",
    }.items():
        write("net.yaml", "schema: pquant-layers/1" + layers.replace(*change))
        try:
            Model("net.pt", "net.yaml")
            raise SystemExit(f"{change} is not refused")
        except Refused as e:
            assert due in str(e), (due, str(e))
    # A view that negates what is stored is not what is stored.
    state = dict(net.state_dict())
    state["0.weight"] = torch._neg_view(state["0.weight"])
    torch.save(state, "negated.pt")
    write("net.yaml", "schema: pquant-layers/1" + layers)
    done = subprocess.run([PQUANT, "model", "info", "negated.pt", "--arch", "net.yaml"], capture_output=True, text=True)
    assert done.returncode == 2 and "resolve_neg()" in done.stderr, done.stderr
    done = subprocess.run([PQUANT, "model", "info", "net.pt"], capture_output=True, text=True)
    assert "a state dict holds weights without their network" in done.stderr and "model init" in done.stderr, done.stderr


def ways(cases):
    """What is refused says which Python writes what is read: it is run, and its file read."""
    net, x = ready(NETS["mlp"][0], 1), np.random.default_rng(2).normal(size=(9, 16)).astype(np.float32)
    with torch.no_grad():
        due = net(torch.from_numpy(x)).numpy()
    write("net.yaml", "schema: pquant-layers/1" + NETS["mlp"][2])
    for path, save, message in (
            ("script.pt", lambda p: torch.jit.save(torch.jit.trace(net, torch.from_numpy(x)), p), "is a TorchScript program"),
            ("net.pt2", lambda p: torch.export.save(torch.export.export(net, (torch.from_numpy(x),)), p), "is an exported program of PyTorch"),
            ("whole.pt", lambda p: torch.save(net, p), "which no state dict needs; nothing of it is run"),
            ("old.pt", lambda p: torch.save(net, p, _use_new_zipfile_serialization=False), "which no state dict needs; nothing of it is run")):
        save(path)
        done = subprocess.run([PQUANT, "model", "info", path, "--arch", "net.yaml"], capture_output=True, text=True)
        assert done.returncode == 2 and message in done.stderr, (path, done.stderr)
        lines = done.stderr.split("import torch; ")[1].strip()
        exec(lines.replace("net.pt2" if "net.pt2" in lines else "net.pt", path), {"torch": torch})
        cases.add(f"{path}, by the hint", Model("weights.pt", "net.yaml")(x, engine="reference"), due, TOLERANCE)


def main():
    cases = Cases()
    torch_nets(cases)
    flax_nets(cases)
    templates()
    refusals()
    ways(cases)
    cases.finish()


if __name__ == "__main__":
    main()
