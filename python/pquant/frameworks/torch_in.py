"""torch.nn.Module to a pquant model: through torch.export, or layer by layer where it is a plain nn.Sequential."""
from __future__ import annotations

import contextlib

from .._call import ConfigError, UnsupportedError
from .._model import Model, as_numpy
from .onnx import Graph, Value
from .place import read, refuse


def _pair(value, n=2):
    value = list(value) if isinstance(value, (list, tuple)) else [value]
    return [int(v) for v in (value * n if len(value) == 1 else value)]


#: events of the batch that is traced
BATCH = 2
#: operators that read [n, channels, …], and those whose output has the axes of their input
_IMAGE = {"Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization"}
_SAME = {"Relu", "LeakyRelu", "Elu", "Gelu", "Sigmoid", "Tanh", "Softmax", "Clip", "Add", "Mul", "Sub", "Div", "HardSigmoid",
         "HardSwish", "Softplus", "LayerNormalization", "Pad", "Concat", "Slice"}


#: operators that are named as the module's layer
_LAYERS = ("Gemm", "Conv", "MatMul", "BatchNormalization", "LayerNormalization")


class Importer:
    """Operators of ATen by their names, onto ONNX's. Values that do not depend on the input are NumPy arrays."""

    def __init__(self, event_shape):
        self.graph = Graph("pytorch")
        self.input = self.graph.input("input", event_shape)
        self.input.shape = (BATCH, *event_shape)
        self.layer, self.kind, self.trace = "", "", None
        self.shape: tuple | None = None  # of one event of the output, where it is not that of its value here

    def layout(self, output) -> tuple:
        """Which axes of the module's input the axes of pquant's are; whether the output is an image, whose channels are last
        in pquant; and its shape in the module: as the reader of ONNX settles it, where the first operator of images is met
        (formats/onnx.c)."""
        n = len(self.input.shape)
        order, tracks = None, {self.input.name: tuple(range(n))}
        made: dict[str, tuple[int, ...]] = {}
        for op, read, attributes, name in self.graph.steps:
            for known in (tracks, made):
                if read in known and op == "Transpose":
                    known[name] = tuple(known[read][p] for p in attributes["perm"])
                elif read in known and (op in _SAME or op in ("ReduceMean", "ReduceMax") and attributes["keepdims"]):
                    known[name] = known[read]
            if op in _IMAGE:
                made[name] = tuple(range(n))
                if order is None and read in tracks and (n == 4 or read == self.input.name):
                    order = (*tracks[read][2:], tracks[read][1])
        if order is None:
            order = (2, 3, 1) if n == 4 else tuple(range(1, n))
        return order, made.get(output.name) == (0, 1, 2, 3), output.shape[1:] if self.shape is None else self.shape

    def emit(self, op, inputs, shape, **attributes) -> Value:
        name = self.layer if op in _LAYERS else f"{self.layer}.{op.lower()}".lstrip(".")
        return self.graph.add(op, inputs, shape, name, (self.named(), self.trace), **attributes)

    def named(self) -> str:
        """The layer, and its class where that is one of torch's own."""
        return f"{self.layer} ({self.kind})" if self.kind else self.layer

    def refuse(self, operator, why="", hint=""):
        return refuse(operator, self.named(), self.trace, why, hint)

    # products
    def linear(self, x, weight, bias, shape):
        import numpy as np
        if len(x.shape) == 2:
            return self.emit("Gemm", [x, weight] + ([bias] if bias is not None else []), shape, transB=1)
        out = self.emit("MatMul", [x, np.ascontiguousarray(np.asarray(weight).T)], shape)
        return self.emit("Add", [out, bias], shape) if bias is not None else out

    def conv(self, x, weight, bias, stride, padding, dilation, groups, shape):
        n = weight.ndim - 2
        pads = {"auto_pad": "SAME_UPPER"} if padding == "same" else {"pads": (
            [0] * 2 * n if padding == "valid" else _pair(padding, n) * 2)}
        if padding == "same" and any(s != 1 for s in _pair(stride, n)):
            raise self.refuse("conv", "padding 'same' with a stride")
        return self.emit("Conv", [x, weight] + ([bias] if bias is not None else []), shape, strides=_pair(stride, n),
                         dilations=_pair(dilation, n), group=int(groups), kernel_shape=list(weight.shape[2:]), **pads)

    def batch_norm(self, x, weight, bias, mean, var, eps, shape):
        import numpy as np
        n = mean.shape[0]
        weight = np.ones(n, np.float32) if weight is None else weight
        bias = np.zeros(n, np.float32) if bias is None else bias
        return self.emit("BatchNormalization", [x, weight, bias, mean, var], shape, epsilon=float(eps))

    def layer_norm(self, x, axes, weight, bias, eps, shape):
        import numpy as np
        if len(axes) != 1:
            raise self.refuse("layer_norm", f"over {len(axes)} axes", "normalize over the last axis: nn.LayerNorm(features)")
        weight = np.ones(axes, np.float32) if weight is None else weight
        return self.emit("LayerNormalization", [x, weight] + ([bias] if bias is not None else []), shape, axis=-1,
                         epsilon=float(eps))

    def softplus(self, x, beta=1.0, threshold=20.0):
        import numpy as np
        if beta <= 0 or threshold < 15:  # where torch goes over to x, 3e-7 from ln(1 + exp(x))
            raise self.refuse("softplus", f"beta = {beta}, threshold = {threshold}", "take a beta above 0 and a threshold from 15 on")
        out = self.unary("Softplus", x if beta == 1 else self.emit("Mul", [x, np.float32(beta)], x.shape))
        return out if beta == 1 else self.emit("Mul", [out, np.float32(1 / beta)], x.shape)

    def max_pool(self, x, kernel, stride, padding, dilation, ceil, shape):
        n = len(x.shape) - 2
        if any(d != 1 for d in _pair(dilation, n)):
            raise self.refuse("max_pool", "a dilation")
        return self.emit("MaxPool", [x], shape, kernel_shape=_pair(kernel, n), strides=_pair(stride or kernel, n),
                         pads=_pair(padding, n) * 2, ceil_mode=int(bool(ceil)))

    def avg_pool(self, x, kernel, stride, padding, ceil, count, shape):
        n = len(x.shape) - 2
        return self.emit("AveragePool", [x], shape, kernel_shape=_pair(kernel, n), strides=_pair(stride or kernel, n),
                         pads=_pair(padding, n) * 2, ceil_mode=int(bool(ceil)), count_include_pad=int(bool(count)))

    def adaptive(self, op, x, size, shape):
        n = len(x.shape) - 2
        size = [x.shape[2 + i] if s is None else s for i, s in enumerate(_pair(size, n) if size is not None else [None] * n)]
        if all(s == 1 for s in size):
            return self.emit("Global" + op, [x], shape)
        if any(x.shape[2 + i] % s for i, s in enumerate(size)):
            raise self.refuse("adaptive pooling", f"{list(x.shape[2:])} is no multiple of {size}")
        kernel = [x.shape[2 + i] // s for i, s in enumerate(size)]
        return self.emit(op, [x], shape, kernel_shape=kernel, strides=kernel)

    # functions of single values
    def unary(self, op, x, shape=None, **attributes):
        return self.emit(op, [x], shape or x.shape, **attributes)

    def clip(self, x, low, high):
        import numpy as np
        ends = [None if v is None else np.asarray(v, np.float32) for v in (low, high)]
        return self.emit("Clip", [x] + (ends if ends[1] is not None else ends[:1]), x.shape)

    def silu(self, x):
        return self.emit("Mul", [x, self.unary("Sigmoid", x)], x.shape)

    def binary(self, op, a, b, shape):
        return self.emit(op, [v if isinstance(v, Value) else self.of_events(v, shape) for v in (a, b)], shape)

    def of_events(self, array, shape):
        """A constant beside values of a batch; one that was made for each event of the batch must be the same for all."""
        import numpy as np
        array = np.asarray(array, np.float32)
        if array.ndim == len(shape) and array.shape[0] == BATCH:
            if (array != array[:1]).any():
                raise self.refuse("constant", "it differs from event to event")
            array = array[:1]
        return array

    # shapes
    def reshape(self, x, shape):
        import numpy as np
        if shape[0] != x.shape[0]:
            raise self.refuse("reshape", "it mixes events")
        return self.emit("Reshape", [x, np.asarray([0, *shape[1:]], np.int64)], shape)

    def transpose(self, x, order, shape):
        return self.emit("Transpose", [x], shape, perm=[int(o) for o in order])

    def reduce(self, op, x, axes, keep, shape):
        n = len(x.shape)
        axes = sorted(a % n for a in (axes if isinstance(axes, (list, tuple)) else [axes]))
        if 0 in axes:
            raise self.refuse(op, "over the events of a batch")
        if op == "ReduceMean":
            import numpy as np
            return self.emit(op, [x, np.asarray(axes, np.int64)], shape, keepdims=int(bool(keep)))
        import numpy as np
        return self.emit(op, [x, np.asarray(axes, np.int64)], shape, keepdims=int(bool(keep)))


@contextlib.contextmanager
def evaluating(module):
    """The module in evaluation mode, meanwhile."""
    training = {m: m.training for m in module.modules()}
    try:
        yield module.eval()
    finally:
        for m, was in training.items():
            m.training = was


def drawn(module, n, event_shape):
    """n events of normal numbers, of the module's dtype and on its device; the same ones each time."""
    import torch
    like = next(module.parameters(), None)
    x = torch.randn((n, *event_shape), generator=torch.Generator().manual_seed(0))
    return x if like is None else x.to(like.device, like.dtype if like.is_floating_point() else None)


def _array(tensor):
    import numpy as np
    return np.ascontiguousarray(as_numpy(tensor))


def _none_or(tensor):
    return None if tensor is None else _array(tensor)


def _modules():
    """Emitters of modules in a nn.Sequential, by class."""
    from torch import nn
    a = _none_or
    return {
        nn.Linear: lambda i, m, x: i.linear(x, a(m.weight), a(m.bias), (*x.shape[:-1], m.out_features)),
        nn.ReLU: lambda i, m, x: i.unary("Relu", x), nn.Tanh: lambda i, m, x: i.unary("Tanh", x),
        nn.Sigmoid: lambda i, m, x: i.unary("Sigmoid", x),
        nn.LeakyReLU: lambda i, m, x: i.unary("LeakyRelu", x, alpha=float(m.negative_slope)),
        nn.ELU: lambda i, m, x: i.unary("Elu", x, alpha=float(m.alpha)),
        nn.GELU: lambda i, m, x: i.unary("Gelu", x, approximate=m.approximate),
        nn.ReLU6: lambda i, m, x: i.clip(x, 0.0, 6.0), nn.SiLU: lambda i, m, x: i.silu(x),
        nn.Softplus: lambda i, m, x: i.softplus(x, m.beta, m.threshold),
        nn.LayerNorm: lambda i, m, x: i.layer_norm(x, m.normalized_shape, a(m.weight), a(m.bias), m.eps, x.shape),
        nn.Hardswish: lambda i, m, x: i.unary("HardSwish", x),
        nn.Hardtanh: lambda i, m, x: i.clip(x, m.min_val, m.max_val),
        nn.Identity: lambda i, m, x: x, nn.Dropout: lambda i, m, x: x,
        nn.Softmax: lambda i, m, x: i.unary("Softmax", x, axis=m.dim if m.dim is not None else -1),
        nn.BatchNorm1d: lambda i, m, x: i.batch_norm(x, a(m.weight), a(m.bias), a(m.running_mean), a(m.running_var),
                                                     m.eps, x.shape),
    }


def _plain(module, importer):
    """The output of a nn.Sequential of such modules; None where anything else is in it."""
    from torch import nn
    table, steps = _modules(), []

    def walk(sequence, prefix):
        for name, child in sequence.named_children():
            if type(child) is nn.Sequential:
                if not walk(child, f"{prefix}{name}."):
                    return False
            elif type(child) not in table or child._forward_hooks or child._forward_pre_hooks or \
                    getattr(child, "parametrizations", None):
                return False
            else:
                steps.append((f"{prefix}{name}", child))
        return True

    if type(module) is not nn.Sequential or module._forward_hooks or not walk(module, ""):
        return None
    if any(isinstance(m, nn.BatchNorm1d) and m.running_mean is None for _, m in steps):
        return None
    value = importer.input
    for name, child in steps:
        if isinstance(child, nn.Linear) and value.shape[-1] != child.in_features:
            from .._call import ShapeError
            raise ShapeError(f"layer '{name}' takes {child.in_features} features, but gets {value.shape[-1]}", "shape")
        importer.layer = name
        value = table[type(child)](importer, child, value)
    return value


def check_made(module) -> None:
    """Lazy layers have no weights before their first batch, those on the device "meta" none at all."""
    from torch.nn.parameter import is_lazy
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if not is_lazy(tensor) and tensor.is_meta:
            raise ConfigError(f"'{name}' has no values: it is on the device 'meta'",
                              hint="call model.to_empty(device=\"cpu\"), then load_state_dict()")
        if not is_lazy(tensor) and tensor.is_complex():
            raise UnsupportedError(f"'{name}' is of {tensor.dtype}: complex numbers are not computed with", "unsupported")
    for name, child in module.named_modules():
        if any(is_lazy(p) for p in child.parameters(recurse=False)):
            raise ConfigError(f"layer '{name}' ({type(child).__name__}) has no weights yet", hint="call the module once, on a batch")


def check_numbers(module, network, event_shape) -> None:
    """What is traced holds for one number of events: the network must give what the module gives for another one."""
    import torch
    x = drawn(module, BATCH + 1, event_shape)
    with torch.no_grad(), evaluating(module):
        due, got = module(x).double(), network(x).double()
    if due.shape != got.shape:
        raise UnsupportedError(f"the module gives {list(due.shape)} for {len(x)} events, and what was read of it {list(got.shape)}",
                               "unsupported", "let the result have the events on its first axis")
    apart = (due - got).abs().max().item()
    near = 0.01 if x.dtype in (torch.float32, torch.float64) else 0.2
    if torch.isfinite(due).all() and not apart <= near * due.abs().max().item() + 1e-6:
        raise UnsupportedError(f"for {len(x)} events the module gives numbers that are {apart:.3g} from those of what was read of it",
                               "unsupported", "let no value depend on the number of events in a batch, or on numbers drawn in "
                               "evaluation mode")


def guess_shape(module):
    """Shape of one event where the first layer with weights tells it, else None."""
    from torch import nn
    for child in module.modules():
        if isinstance(child, nn.Linear):
            return (child.in_features,)
        if isinstance(child, nn.BatchNorm1d):
            return (child.num_features,)
        if isinstance(child, nn.LayerNorm):
            return tuple(child.normalized_shape) if len(child.normalized_shape) == 1 else None
        if next(child.parameters(recurse=False), None) is not None:
            return None
    return None


def to_model(module, event_shape) -> tuple[Model, tuple]:
    """A model of the module in evaluation mode, and its layout(). event_shape: of one event, images (channels, height,
    width)."""
    importer = Importer(event_shape)
    output = _plain(module, importer)
    if output is None:
        from .torch_export import trace
        importer = Importer(event_shape)
        output = trace(module, importer, event_shape)
    if output is importer.input:
        raise refuse("identity", why="the network has no layer")
    model, layout = read(importer.graph, output), importer.layout(output)
    ours, shape = model.output_shape, layout[2]
    if layout[1] and len(ours) == 3:
        ours = (ours[2], *ours[:2])
    if [d for d in ours if d != 1] != [d for d in shape if d != 1]:
        raise refuse("output", why=f"it has axes {list(shape)} in the module, and {list(ours)} in another order here")
    return model, layout
