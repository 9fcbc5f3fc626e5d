"""Nets told once, as layers of pquant's kinds, and built in Keras, PyTorch and Flax and as a YAML of layers.

A net is the shape of an event, [height, width, channels] of images, and its layers: (name, kind, attributes, inputs);
without inputs it reads the layer before. What a framework has no layer for raises Lacks."""
import numpy as np


class Lacks(Exception):
    """A framework has no such layer."""


def layer(kind, name=None, of=None, **attributes):
    return name, kind, attributes, of


D, C, A = (lambda n, **a: layer("dense", n=n, **a)), (lambda n, k=3, **a: layer("conv2d", n=n, k=k, **a)), layer


def mlp(*between):
    return (16,), [D(20), *between, D(5)]


def image(*between, shape=(9, 8, 3), n=4):
    return shape, [*between, layer("flatten"), D(n)]


NETS = {
    **{f"mlp, {k}": mlp(A(k)) for k in ("relu", "sigmoid", "tanh", "softmax", "batch_norm", "dropout")},
    "mlp, leaky relu": mlp(A("leaky_relu", slope=0.2)),
    "mlp, relu6": mlp(A("clip", lo=0.0, hi=6.0)),
    "mlp, hardtanh": mlp(A("clip", lo=-1.0, hi=1.0)),
    "mlp, elu": mlp(A("elu", alpha=0.7)),
    "mlp, gelu": mlp(A("gelu", form="exact")),
    "mlp, gelu by tanh": mlp(A("gelu", form="tanh")),
    "mlp, scale": mlp(A("scale", factor=0.3)),
    "mlp, no biases": ((16,), [D(20, bias=False), A("batch_norm"), A("relu"), D(5, bias=False), A("softmax")]),
    "jet tagger": ((16,), [D(64), A("relu"), D(32), A("relu"), D(32), A("relu"), D(5), A("softmax")]),
    "one output": ((16,), [D(24), A("relu"), D(1), A("sigmoid")]),
    "autoencoder": ((20,), [D(12), A("relu"), D(4), A("relu"), D(12), A("relu"), D(20)]),
    "residual mlp": ((16,), [D(16), A("relu", "a"), D(16), A("add", of=["dense2", "a"]), A("relu"), D(3)]),
    "gated mlp": ((16,), [layer("dense", "a", n=9), layer("dense", "b", of=["x"], n=9), A("sigmoid"),
                          A("multiply", of=["a", "sigmoid"]), D(3)]),
    "branches": ((16,), [layer("dense", "a", n=9), A("tanh", "ta"), layer("dense", "b", of=["x"], n=4), A("elu", "tb", alpha=1.0),
                         A("concat", of=["ta", "tb", "x"]), D(3)]),
    "slices": ((16,), [A("slice", "low", **{"from": 2, "to": 9}), D(6), A("relu", "r"), A("slice", "high", of=["x"], **{"from": 9, "to": 16}),
                       A("concat", of=["r", "high"]), D(3)]),
    "rows": ((10, 4), [D(8), A("relu"), D(3)]),
    "set, mean": ((10, 4), [D(8), A("relu"), A("global_avg_pool"), D(3)]),
    "set, largest": ((10, 4), [D(8), A("relu"), A("global_max_pool"), D(3), A("softmax")]),
    "set, both": ((10, 4), [D(8), A("relu", "r"), A("global_max_pool", "g"), A("global_avg_pool", "m", of=["r"]), A("concat", of=["g", "m"]), D(3)]),
    "image, dense": image(shape=(5, 4, 3)),
    "convolution": image(C(5), A("relu")),
    "convolution, no bias": image(C(5, bias=False), A("batch_norm"), A("relu")),
    "convolution, same": image(C(5, padding="same"), A("relu"), C(4, 5, padding="same")),
    "convolution, strided": image(C(5, stride=2), A("relu")),
    "convolution, dilated": image(C(5, dilation=2), A("relu")),
    "convolution, grouped": image(C(8, groups=2), A("relu"), shape=(8, 7, 4)),
    "convolution, depthwise": image(C(4, groups=4), A("relu"), shape=(8, 7, 4)),
    "convolution, 1 x 1": image(C(6, 1), A("leaky_relu", slope=0.1)),
    "mobile block": ((8, 8, 4), [C(12, 1), A("batch_norm"), A("clip", lo=0.0, hi=6.0), C(12, groups=12, padding="same"), A("batch_norm"),
                                 A("clip", lo=0.0, hi=6.0), layer("conv2d", "down", n=4, k=1), A("add", of=["down", "x"]), A("global_avg_pool"), D(3)]),
    "largest of windows": image(C(5), A("relu"), A("max_pool", k=2, stride=2)),
    "largest of overlapping windows": image(C(5), A("max_pool", k=3, stride=2)),
    "means of windows": image(C(5), A("relu"), A("avg_pool", k=2, stride=2)),
    "largest of images": ((9, 8, 3), [C(6), A("relu"), A("global_max_pool"), D(3)]),
    "means of images": ((9, 8, 3), [C(6), A("relu"), A("global_avg_pool"), D(3), A("softmax")]),
    "padded": image(A("pad", top=1, bottom=2, left=0, right=1), C(5), A("relu")),
    "every other pixel": ((8, 8, 3), [C(6, padding="same", stride=1), A("relu", "r"), A("subsample", step=2), A("global_avg_pool"), D(3)]),
    "pixels as rows": ((6, 5, 3), [C(4), A("reshape", shape=[12, 4]), D(5), A("relu"), A("global_avg_pool"), D(2)]),
    "norm behind flatten": ((6, 5, 3), [C(4), A("flatten"), A("batch_norm"), A("relu"), D(3)]),
    "concatenation behind flatten": ((6, 5, 3), [C(4), A("flatten", "a"), C(2, 3, of=["x"], stride=2), A("flatten", "b"), A("concat", of=["a", "b"]), D(3)]),
    "inception": ((8, 8, 4), [layer("conv2d", "a", n=3, k=1), layer("conv2d", "b", of=["x"], n=5, k=3, padding="same"),
                              layer("conv2d", "c", of=["x"], n=2, k=5, padding="same"), A("concat", of=["a", "b", "c"]), A("relu"), A("global_avg_pool"), D(3)]),
    "residual": ((8, 8, 3), [C(6, padding="same", bias=False), A("batch_norm"), A("relu", "r"), C(6, padding="same", bias=False), A("batch_norm", "n"),
                             A("add", of=["n", "r"]), A("relu"), A("global_avg_pool"), D(10)]),
    "lenet": ((12, 12, 1), [C(4, 5, padding="same"), A("tanh"), A("avg_pool", k=2, stride=2), C(6, 3), A("tanh"), A("avg_pool", k=2, stride=2),
                            A("flatten"), D(12), A("tanh"), D(10)]),
}


def events(k, net):
    """Nine events of the k-th net."""
    return np.random.default_rng(k).normal(size=(9, *net[0])).astype(np.float32)


def resolved(layers):
    """Layers with names and inputs: "dense", "dense2", …"""
    out, counts, last = [], {}, "x"
    for name, kind, attributes, of in layers:
        counts[kind] = counts.get(kind, 0) + 1
        name = name or kind + (str(counts[kind]) if counts[kind] > 1 else "")
        out.append((name, kind, attributes, of or [last]))
        last = name
    return out


def yaml_text(net):
    shape, layers = net
    lines = ["schema: pquant-layers/1", f"inputs: {{x: {list(shape)}}}", "layers:"]
    for name, kind, a, of in resolved(layers):
        a = dict(a)
        words = {"name": name, "of": f"[{', '.join(of)}]"}
        if kind in ("dense", "conv2d", "batch_norm"):
            words["from"] = name
        if kind == "batch_norm":
            words["epsilon"] = "1e-5"
        if "k" in a and kind != "conv2d":
            words |= {"kernel_h": a["k"], "kernel_w": a["k"]}
        for key, ours in (("stride", "stride"), ("dilation", "dilation")):
            if key in a:
                words |= {f"{ours}_h": a[key], f"{ours}_w": a[key]}
        if kind == "subsample":
            words |= {"stride_h": a["step"], "stride_w": a["step"]}
        for key in ("n", "k", "bias", "stride", "dilation", "groups", "step"):
            a.pop(key, None)
        words |= a
        lines.append(f"  - {kind}: {{{', '.join(f'{k}: {v}' for k, v in words.items())}}}")
    return "\n".join(lines) + "\n"


def keras_model(net):
    import keras
    from keras import layers as L
    shape, layers = net
    made = {"x": L.Input(shape, name="x")}

    def make(name, kind, a):
        images = len(shape) == 3
        how = {"name": name}
        if kind == "dense":
            return L.Dense(a["n"], use_bias=a.get("bias", True), **how)
        if kind == "conv2d":
            how |= {"strides": a.get("stride", 1), "padding": a.get("padding", "valid"), "use_bias": a.get("bias", True), "dilation_rate": a.get("dilation", 1)}
            if a.get("groups", 1) == a["n"]:
                return L.DepthwiseConv2D(a["k"], **how)
            return L.Conv2D(a["n"], a["k"], groups=a.get("groups", 1), **how)
        pools = {"max_pool": L.MaxPooling2D, "avg_pool": L.AveragePooling2D}
        if kind in pools:
            return pools[kind](a["k"], strides=a["stride"], **how)
        if kind == "clip":
            if a["lo"] != 0:
                return L.Activation("hard_tanh", **how)
            return L.ReLU(max_value=a["hi"], **how)
        if kind == "gelu":
            if a["form"] == "tanh":
                raise Lacks("a saved model cannot name the form by tanh")
            return L.Activation("gelu", **how)
        if kind in ("slice", "subsample"):
            raise Lacks(f"no layer of its own for {kind}")
        return {"batch_norm": lambda: L.BatchNormalization(epsilon=1e-5, **how), "relu": lambda: L.ReLU(**how),
                "leaky_relu": lambda: L.LeakyReLU(negative_slope=a["slope"], **how), "elu": lambda: L.ELU(alpha=a["alpha"], **how),
                "sigmoid": lambda: L.Activation("sigmoid", **how), "tanh": lambda: L.Activation("tanh", **how),
                "softmax": lambda: L.Softmax(**how), "dropout": lambda: L.Dropout(0.3, **how), "scale": lambda: L.Rescaling(a["factor"], **how),
                "global_max_pool": lambda: (L.GlobalMaxPooling2D if images else L.GlobalMaxPooling1D)(**how),
                "global_avg_pool": lambda: (L.GlobalAveragePooling2D if images and not reshaped else L.GlobalAveragePooling1D)(**how),
                "add": lambda: L.Add(**how), "multiply": lambda: L.Multiply(**how), "concat": lambda: L.Concatenate(**how),
                "flatten": lambda: L.Flatten(**how), "reshape": lambda: L.Reshape(a["shape"], **how),
                "pad": lambda: L.ZeroPadding2D(((a["top"], a["bottom"]), (a["left"], a["right"])), **how)}[kind]()

    reshaped = False
    for name, kind, a, of in resolved(layers):
        reads = [made[i] for i in of]
        made[name] = make(name, kind, a)(reads if len(reads) > 1 else reads[0])
        reshaped = reshaped or kind == "reshape"
    model = keras.Model(made["x"], made[name])
    rng = np.random.default_rng(7)
    model.set_weights([rng.uniform(0.3, 1.5, w.shape) if "variance" in v.path else rng.normal(0, 0.4, w.shape)
                       for v, w in zip(model.weights, model.get_weights())])
    return model


def torch_module(net):
    """Images have their channels first."""
    import torch
    import torch.nn.functional as F
    from torch import nn
    shape, layers = net

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            probe = {"x": torch.zeros(1, *to_torch(np.zeros((1, *shape), np.float32)).shape[1:])}
            for name, kind, a, of in resolved(layers):
                n_in = probe[of[0]].shape[1] if probe[of[0]].ndim == 4 else probe[of[0]].shape[-1]
                if kind == "dense":
                    self.add_module(name, nn.Linear(n_in, a["n"], bias=a.get("bias", True)))
                elif kind == "conv2d":
                    padding = a["k"] // 2 if a.get("padding") == "same" else 0
                    self.add_module(name, nn.Conv2d(n_in, a["n"], a["k"], stride=a.get("stride", 1), padding=padding, dilation=a.get("dilation", 1),
                                                    groups=a.get("groups", 1), bias=a.get("bias", True)))
                elif kind == "batch_norm":
                    self.add_module(name, (nn.BatchNorm2d if probe[of[0]].ndim == 4 else nn.BatchNorm1d)(n_in))
                with torch.no_grad():
                    self.eval()
                    probe[name] = self.step(name, kind, a, [probe[i] for i in of])

        def step(self, name, kind, a, x):
            if kind in ("dense", "conv2d", "batch_norm"):
                return getattr(self, name)(x[0])
            axes = (2, 3) if x[0].ndim == 4 else (1,)
            return {"relu": lambda: F.relu(x[0]), "sigmoid": lambda: torch.sigmoid(x[0]), "tanh": lambda: torch.tanh(x[0]),
                    "softmax": lambda: F.softmax(x[0], -1), "dropout": lambda: F.dropout(x[0], 0.3, self.training),
                    "leaky_relu": lambda: F.leaky_relu(x[0], a["slope"]), "clip": lambda: torch.clamp(x[0], a["lo"], a["hi"]),
                    "elu": lambda: F.elu(x[0], a["alpha"]), "gelu": lambda: F.gelu(x[0], approximate="tanh" if a["form"] == "tanh" else "none"),
                    "scale": lambda: x[0] * a["factor"], "add": lambda: x[0] + x[1], "multiply": lambda: x[0] * x[1],
                    "concat": lambda: torch.cat(x, 1 if x[0].ndim == 4 else -1), "slice": lambda: x[0][:, a["from"]:a["to"]],
                    "flatten": lambda: torch.flatten(x[0], 1), "reshape": lambda: x[0].permute(0, 2, 3, 1).reshape(-1, *a["shape"]),
                    "max_pool": lambda: F.max_pool2d(x[0], a["k"], a["stride"]), "avg_pool": lambda: F.avg_pool2d(x[0], a["k"], a["stride"]),
                    "global_max_pool": lambda: torch.amax(x[0], axes), "global_avg_pool": lambda: torch.mean(x[0], axes),
                    "pad": lambda: F.pad(x[0], (a["left"], a["right"], a["top"], a["bottom"])), "subsample": lambda: x[0][:, :, ::a["step"], ::a["step"]],
                    }[kind]()

        def forward(self, x):
            made = {"x": x}
            for name, kind, a, of in resolved(layers):
                made[name] = self.step(name, kind, a, [made[i] for i in of])
            return made[name]

    torch.manual_seed(7)
    net = Net()
    with torch.no_grad():
        for name, p in list(net.named_parameters()) + list(net.named_buffers()):
            if p.dtype.is_floating_point:
                p.copy_(torch.rand_like(p) + 0.3 if "var" in name else 0.4 * torch.randn_like(p))
    return net.eval()


def to_torch(x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim == 4 else x


def flax_model(net):
    """The module, and its variables."""
    import jax
    import jax.numpy as jnp
    from flax import linen
    shape, layers = net

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x):
            made = {"x": x}
            for name, kind, a, of in resolved(layers):
                made[name] = self.step(name, kind, a, [made[i] for i in of])
            return made[name]

        def step(self, name, kind, a, x):
            axes = (1, 2) if x[0].ndim == 4 else (1,)
            return {"dense": lambda: linen.Dense(a["n"], use_bias=a.get("bias", True), name=name)(x[0]),
                    "conv2d": lambda: linen.Conv(a["n"], (a["k"],) * 2, a.get("stride", 1), a.get("padding", "valid").upper(), use_bias=a.get("bias", True),
                                                 kernel_dilation=a.get("dilation", 1), feature_group_count=a.get("groups", 1), name=name)(x[0]),
                    "batch_norm": lambda: linen.BatchNorm(use_running_average=True, name=name)(x[0]),
                    "relu": lambda: linen.relu(x[0]), "sigmoid": lambda: linen.sigmoid(x[0]), "tanh": lambda: jnp.tanh(x[0]),
                    "softmax": lambda: linen.softmax(x[0]), "dropout": lambda: linen.Dropout(0.3, deterministic=True)(x[0]),
                    "leaky_relu": lambda: linen.leaky_relu(x[0], a["slope"]), "clip": lambda: jnp.clip(x[0], a["lo"], a["hi"]),
                    "elu": lambda: linen.elu(x[0], a["alpha"]), "gelu": lambda: linen.gelu(x[0], approximate=a["form"] == "tanh"),
                    "scale": lambda: x[0] * a["factor"], "add": lambda: x[0] + x[1], "multiply": lambda: x[0] * x[1],
                    "concat": lambda: jnp.concatenate(x, -1), "slice": lambda: x[0][:, a["from"]:a["to"]],
                    "flatten": lambda: x[0].reshape(x[0].shape[0], -1), "reshape": lambda: x[0].reshape(-1, *a["shape"]),
                    "max_pool": lambda: linen.max_pool(x[0], window_shape=(a["k"],) * 2, strides=(a["stride"],) * 2),
                    "avg_pool": lambda: linen.avg_pool(x[0], window_shape=(a["k"],) * 2, strides=(a["stride"],) * 2),
                    "global_max_pool": lambda: x[0].max(axes), "global_avg_pool": lambda: x[0].mean(axes),
                    "pad": lambda: jnp.pad(x[0], ((0, 0), (a["top"], a["bottom"]), (a["left"], a["right"]), (0, 0))),
                    "subsample": lambda: x[0][:, ::a["step"], ::a["step"]]}[kind]()

    module, rng = Net(), np.random.default_rng(7)
    variables = module.init(jax.random.key(1), np.zeros((2, *shape), np.float32))
    return module, jax.tree_util.tree_map_with_path(
        lambda at, v: np.asarray(rng.uniform(0.3, 1.3, v.shape) if at[-1].key == "var" else rng.normal(0, 0.4, v.shape), np.float32), variables)
