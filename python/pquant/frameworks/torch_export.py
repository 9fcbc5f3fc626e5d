"""The operators that torch.export traces, one rule each."""
from __future__ import annotations

import math
import re

from .onnx import Value
from .place import refuse
from .torch_in import BATCH, _array, drawn, evaluating


#: operators that give their first argument
_SAME = ("dropout", "feature_dropout", "alpha_dropout", "clone", "contiguous", "detach", "alias", "to", "_to_copy", "identity",
         "lift_fresh_copy", "type_as")
#: operators that their output's shape tells all of
_SHAPES = ("flatten", "view", "reshape", "squeeze", "unsqueeze", "unflatten", "_unsafe_view")
#: arguments that say how something is computed or held, not what
_HOW = {"memory_format", "layout", "device", "pin_memory", "implicit", "momentum", "cudnn_enabled", "cudnn_enable", "path"}


class _Arguments(list):
    """Arguments of an operator, and which of them its rule looked at."""

    def __init__(self, values):
        super().__init__(values)
        self.read = set()

    def __getitem__(self, i):
        self.read.add(i)
        return super().__getitem__(i)


def _rules():
    """ATen's name to (importer, arguments, shape of the output) -> value."""
    def arg(a, i, default=None):
        return a[i] if len(a) > i else default

    def conv(i, a, s):
        return i.conv(a[0], a[1], arg(a, 2), arg(a, 3, 1), arg(a, 4, 0), arg(a, 5, 1), arg(a, 6, 1), s)

    def same(i, a, s):
        return a[0]

    def batch_norm(i, a, s):
        if len(a) > 5 and a[5] is True:
            raise i.refuse("batch_norm", "it uses the statistics of each batch", "call model.eval() and keep running statistics")
        return i.batch_norm(a[0], a[1], a[2], a[3], a[4], arg(a, 7, 1e-5), s)

    def order_of(x, one, two):
        order = list(range(len(x.shape)))
        one, two = one % len(order), two % len(order)
        order[one], order[two] = order[two], order[one]
        return order

    def mean(op):
        return lambda i, a, s: i.reduce(op, a[0], arg(a, 1, list(range(1, len(a[0].shape)))), arg(a, 2, False), s)

    def addmm(i, a, s):
        import numpy as np
        if isinstance(a[0], Value) or isinstance(a[2], Value):
            raise i.refuse("addmm", "a product or sum of activations")
        return i.linear(a[1], np.asarray(a[2]).T, i.of_events(a[0], s), s)

    def matmul(i, a, s):
        import numpy as np
        if isinstance(a[1], Value) or not isinstance(a[0], Value):
            raise i.refuse("matmul", "a product of activations" if isinstance(a[0], Value) else "a constant on the left")
        return i.emit("MatMul", [a[0], np.ascontiguousarray(a[1])], s)

    def arithmetic(op):
        return lambda i, a, s: i.binary(op, a[0], a[1], s)

    def sum_of(op):
        """a + alpha b, or a - alpha b."""
        def rule(i, a, s):
            alpha, b = arg(a, 2, 1), a[1]
            return i.binary(op, a[0], b if alpha == 1 else scaled(i, b, alpha) if isinstance(b, Value) else b * alpha, s)
        return rule

    def concat(i, a, s):
        return i.emit("Concat", list(a[0]), s, axis=arg(a, 1, 0) % len(s))

    def pad(i, a, s):
        import numpy as np
        n = len(a[0].shape)
        ends = [0] * 2 * n
        for k in range(len(a[1]) // 2):
            ends[n - 1 - k], ends[2 * n - 1 - k] = a[1][2 * k], a[1][2 * k + 1]
        if arg(a, 2, "constant") != "constant":
            raise i.refuse("pad", f"mode {a[2]}")
        return i.emit("Pad", [a[0], np.asarray(ends, np.int64), np.asarray(arg(a, 3) or 0.0, np.float32)], s)

    def cut(i, a, s):
        import numpy as np
        x, axis = a[0], arg(a, 1, 0) % len(a[0].shape)
        start, end, step = arg(a, 2) or 0, arg(a, 3), arg(a, 4, 1)
        size = x.shape[axis]
        end = size if end is None or end > size else end % size if end < 0 else end
        start = start % size if start < 0 else start
        if (start, end, step) == (0, size, 1):
            return x
        return i.emit("Slice", [x] + [np.asarray([v], np.int64) for v in (start, end, axis, step)], s)

    def view(i, a, s):
        if len(s) == 1 and math.prod(a[0].shape) == s[0]:  # one number an event: its axis stays until the output
            return a[0]
        return i.reshape(a[0], s)

    def scaled(i, x, factor):
        import numpy as np
        return i.emit("Mul", [x, np.float32(factor)], x.shape)

    def sum_(i, a, s):
        x, axes = a[0], arg(a, 1) if arg(a, 1) not in (None, []) else list(range(len(a[0].shape)))
        axes = axes if isinstance(axes, (list, tuple)) else [axes]
        return scaled(i, i.reduce("ReduceMean", x, axes, arg(a, 2, False), s), math.prod(x.shape[d] for d in axes))

    def largest(i, a, s):
        if len(a) < 2 or not isinstance(a[1], int):
            raise i.refuse("max", "of two arrays" if len(a) > 1 else "over the events of a batch")
        return [i.reduce("ReduceMax", a[0], a[1], arg(a, 2, False), s), None]

    def power(i, a, s):
        if a[1] not in (1, 2, 3, 4):
            raise i.refuse("pow", f"to the power {a[1]}", "whole powers from 1 to 4 are products")
        out = a[0]
        for _ in range(int(a[1]) - 1):
            out = i.emit("Mul", [out, a[0]], s)
        return out

    def glu(i, a, s):
        axis = arg(a, 1, -1) % len(s)
        left, right = (cut(i, [a[0], axis, k * s[axis], (k + 1) * s[axis]], s) for k in range(2))
        return i.emit("Mul", [left, i.unary("Sigmoid", right)], s)

    def prelu(i, a, s):
        slope = a[1].reshape(-1)
        if (slope != slope[0]).any():
            raise i.refuse("prelu", "one slope a channel", "use one for all: nn.PReLU(), or nn.LeakyReLU")
        return i.unary("LeakyRelu", a[0], alpha=float(slope[0]))

    def stack(i, a, s):
        axis = arg(a, 1, 0) % len(s)
        return i.emit("Concat", [i.reshape(v, (*s[:axis], 1, *s[axis + 1:])) for v in a[0]], s, axis=axis)

    def select(i, a, s):
        axis, at = a[1] % len(a[0].shape), a[2] % a[0].shape[a[1]]
        return i.reshape(cut(i, [a[0], axis, at, at + 1], (*s[:axis], 1, *s[axis:])), s)

    def index(i, a, s):
        """By whole numbers along one axis: slices, one after the other."""
        axes = [d for d, v in enumerate(a[1]) if v is not None]
        if len(axes) != 1 or axes[0] == 0 or a[1][axes[0]].ndim != 1 or a[1][axes[0]].dtype.kind not in "iu":
            raise i.refuse("index", "other than by a list of numbers along one axis of an event")
        axis, picked = axes[0], [int(v) % a[0].shape[axes[0]] for v in a[1][axes[0]]]
        starts = [k for k in range(len(picked)) if k == 0 or picked[k] != picked[k - 1] + 1]
        parts = []
        for start, end in zip(starts, [*starts[1:], len(picked)]):
            shape = (*s[:axis], end - start, *s[axis + 1:])
            parts.append(cut(i, [a[0], axis, picked[start], picked[start] + end - start], shape))
        return parts[0] if len(parts) == 1 else i.emit("Concat", parts, s, axis=axis)

    def einsum(i, a, s):
        """A product with a constant over the last axis."""
        import numpy as np
        found = re.fullmatch(r"((?:\.\.\.)?[a-z]*)([a-z]),([a-z]{2})->(.*)", a[0].replace(" ", ""), re.IGNORECASE)
        if found is None or found[2] not in found[3] or found[4] != found[1] + found[3].replace(found[2], "", 1) or \
                not isinstance(a[1][0], Value) or isinstance(a[1][1], Value):
            raise i.refuse("einsum", f"'{a[0]}'", "products with a matrix over the last axis are dense layers: 'bi,io->bo'")
        (x, w), (left, right) = a[1], (found[2], found[3])
        return i.emit("MatMul", [x, np.ascontiguousarray(w if right[0] == left else np.asarray(w).T)], s)

    return {
        "linear": lambda i, a, s: i.linear(a[0], a[1], arg(a, 2), s), "addmm": addmm, "matmul": matmul, "mm": matmul,
        "conv1d": conv, "conv2d": conv, "batch_norm": batch_norm,
        "layer_norm": lambda i, a, s: i.layer_norm(a[0], a[1], arg(a, 2), arg(a, 3), arg(a, 4, 1e-5), s),
        "softplus": lambda i, a, s: i.softplus(a[0], arg(a, 1, 1.0), arg(a, 2, 20.0)),
        "relu": lambda i, a, s: i.unary("Relu", a[0]), "tanh": lambda i, a, s: i.unary("Tanh", a[0]),
        "sigmoid": lambda i, a, s: i.unary("Sigmoid", a[0]), "silu": lambda i, a, s: i.silu(a[0]),
        "leaky_relu": lambda i, a, s: i.unary("LeakyRelu", a[0], alpha=float(arg(a, 1, 0.01))),
        "elu": lambda i, a, s: i.unary("Elu", a[0], alpha=float(arg(a, 1, 1.0))),
        "gelu": lambda i, a, s: i.unary("Gelu", a[0], approximate=arg(a, 1, "none")),
        "hardswish": lambda i, a, s: i.unary("HardSwish", a[0]),
        "hardsigmoid": lambda i, a, s: i.unary("HardSigmoid", a[0], alpha=1.0 / 6.0),
        "relu6": lambda i, a, s: i.clip(a[0], 0.0, 6.0),
        "hardtanh": lambda i, a, s: i.clip(a[0], arg(a, 1, -1.0), arg(a, 2, 1.0)),
        "clamp": lambda i, a, s: i.clip(a[0], arg(a, 1), arg(a, 2)),
        "clamp_min": lambda i, a, s: i.clip(a[0], a[1], None),
        "softmax": lambda i, a, s: i.unary("Softmax", a[0], axis=a[1]),
        "_softmax": lambda i, a, s: i.unary("Softmax", a[0], axis=a[1]),
        "max_pool2d": lambda i, a, s: i.max_pool(a[0], a[1], arg(a, 2), arg(a, 3, 0), arg(a, 4, 1), arg(a, 5, False), s),
        "max_pool1d": lambda i, a, s: i.max_pool(a[0], a[1], arg(a, 2), arg(a, 3, 0), arg(a, 4, 1), arg(a, 5, False), s),
        "avg_pool2d": lambda i, a, s: i.avg_pool(a[0], a[1], arg(a, 2), arg(a, 3, 0), arg(a, 4, False), arg(a, 5, True), s),
        "avg_pool1d": lambda i, a, s: i.avg_pool(a[0], a[1], arg(a, 2), arg(a, 3, 0), arg(a, 4, False), arg(a, 5, True), s),
        "adaptive_avg_pool2d": lambda i, a, s: i.adaptive("AveragePool", a[0], a[1], s),
        "adaptive_avg_pool1d": lambda i, a, s: i.adaptive("AveragePool", a[0], a[1], s),
        "adaptive_max_pool2d": lambda i, a, s: [i.adaptive("MaxPool", a[0], a[1], s), None],
        "mean": mean("ReduceMean"), "amax": mean("ReduceMax"),
        **dict.fromkeys(_SHAPES, view),
        "permute": lambda i, a, s: i.transpose(a[0], [d % len(s) for d in a[1]], s),
        "transpose": lambda i, a, s: i.transpose(a[0], order_of(a[0], a[1], a[2]), s),
        "add": sum_of("Add"), "sub": sum_of("Sub"), "mul": arithmetic("Mul"), "div": arithmetic("Div"),
        "cat": concat, "concat": concat, "pad": pad,
        "constant_pad_nd": lambda i, a, s: pad(i, [a[0], a[1], "constant", arg(a, 2)], s), "slice": cut,
        "narrow": lambda i, a, s: cut(i, [a[0], a[1], a[2], a[2] + a[3]], s),
        **dict.fromkeys(_SAME, same),
        "sum": sum_, "max": largest, "pow": power, "square": lambda i, a, s: power(i, [a[0], 2], s), "glu": glu, "prelu": prelu,
        "stack": stack, "select": select, "index": index, "einsum": einsum, "neg": lambda i, a, s: scaled(i, a[0], -1),
        "rsub": lambda i, a, s: i.binary("Add", scaled(i, a[0], -arg(a, 2, 1)), a[1], s),
        "abs": lambda i, a, s: i.emit("Add", [i.unary("Relu", a[0]), i.unary("Relu", scaled(i, a[0], -1))], s),
        "celu": lambda i, a, s: scaled(i, i.unary("Elu", scaled(i, a[0], 1 / arg(a, 1, 1.0)), alpha=1.0), arg(a, 1, 1.0)),
        "selu": lambda i, a, s: scaled(i, i.unary("Elu", a[0], alpha=1.6732632423543772), 1.0507009873554805),
    }


def trace(module, importer, event_shape):
    """Emits what torch.export sees of the module in evaluation mode; the output's value."""
    import torch
    try:
        with evaluating(module):
            program = torch.export.export(module, (drawn(module, BATCH, event_shape),), strict=False)
    except Exception as error:
        raise refuse("torch.export", why=f"the module cannot be traced: {str(error).strip().splitlines()[0][:300]}",
                     hint="let forward() take one batch of events and have no branch on its values; where shapes do "
                          "not fit, give input_shape=(…) of one event") from error
    signature, state = program.graph_signature, {**program.state_dict, **program.constants}
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers,
             **signature.inputs_to_lifted_tensor_constants}
    rules, values, tensors = _rules(), {}, _Tensors(program.graph)
    for node in program.graph.nodes:
        if node.op == "placeholder":
            values[node] = _array(state[names[node.name]]) if node.name in names else importer.input
        elif node.op == "output":
            outputs = [o for o in node.args[0] if isinstance(o, torch.fx.Node)]
            if len(outputs) != 1 or not isinstance(values[outputs[0]], Value):
                raise refuse("output", why=f"the module gives {len(outputs)} tensors, not one of its events",
                             hint="wrap it in a module that returns one tensor")
            importer.shape = tuple(outputs[0].meta["val"].shape[1:])
            return values[outputs[0]]
        elif node.op == "call_function":
            values[node] = _node(node, importer, rules, values)
            for other in tensors.written(node, importer):
                values[other] = values[node]
    raise refuse("output", why="the module gives nothing")


class _Tensors:
    """Which nodes are one tensor, and which are views of it, so that what is done in place is done to all."""

    def __init__(self, graph):
        self.at = {node: k for k, node in enumerate(graph.nodes)}
        self.same, self.views = {}, {}  # node to a list that those of its tensor, or of its memory, share

    def written(self, node, importer):
        """The nodes whose value an operator changes: none, unless it works in place."""
        schema = getattr(node.target, "_schema", None)
        first = node.args[0] if node.args and hasattr(node.args[0], "users") else None
        in_place = schema is not None and any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)
        shares = in_place or _name(node) in ("getitem", *_SAME) or \
            schema is not None and any(a.alias_info is not None for a in schema.arguments)
        if first is not None and shares:
            self.views[node] = self.views.setdefault(first, [first])
            self.views[node].append(node)
        if first is None or not in_place:
            return []
        self.same[node] = self.same.setdefault(first, [first])
        self.same[node].append(node)
        for other in self.views[node]:
            if other not in self.same[node] and any(self.at[user] > self.at[node] for user in other.users):
                raise importer.refuse(_name(node), "in place on a part or view of an array that is used again",
                                      "write y = f(y) instead")
        return self.same[node][:-1]


def _classes(stack) -> list[tuple[str, str]]:
    """Paths and classes of the modules that an operator is in, the outermost first."""
    return [(entry[0], entry[1] if isinstance(entry[1], str) else f"{entry[1].__module__}.{entry[1].__qualname__}")
            for entry in stack.values()]


def _name(node) -> str:
    return getattr(node.target, "__name__", str(node.target)).split(".")[0]


def _node(node, importer, rules, values):
    import torch
    fetch = lambda v: torch.fx.node.map_arg(v, lambda n: values[n])
    stack = node.meta.get("nn_module_stack") or {}
    path = [entry[0] for entry in stack.values() if entry[0]]
    importer.layer = path[-1] if path else ""
    importer.trace = node.meta.get("stack_trace")
    importer.kind = next((kind.rsplit(".", 1)[-1] for _, kind in reversed(_classes(stack)) if kind.startswith("torch.nn.")), "")
    name = _name(node)
    args = _ordered(node, fetch)
    if name == "_assert_tensor_metadata":
        return None
    if name == "getitem":
        made = args[0][args[1]]
        if made is None and node.users:
            raise importer.refuse(_name(node.args[0]), "the place of the largest")
        return made
    if name in ("chunk", "split", "split_with_sizes"):
        return _pieces(node, args, importer, rules)
    made = node.meta.get("val")
    shape = getattr(made[0] if isinstance(made, (list, tuple)) and made else made, "shape", ())
    flat = [v for a in args for v in (a if isinstance(a, (list, tuple)) else [a])]
    if not any(isinstance(v, Value) for v in flat):
        return _constant(node, fetch)
    name = name if name in rules else name.removesuffix("_")  # in place
    if name not in rules:
        raise importer.refuse(name)
    if name in ("to", "_to_copy", "type_as") and not node.meta["val"].is_floating_point():
        raise importer.refuse(name, f"it makes {str(node.meta['val'].dtype).removeprefix('torch.')} of activations")
    if any(not isinstance(d, int) for d in shape):
        raise importer.refuse(name, "the shape of what it gives depends on values")
    args = _Arguments(args)
    out = rules[name](importer, args, tuple(shape))
    if name not in (*_SAME, *_SHAPES):
        _refuse_unread(node, args, importer, name)
    return out


def _refuse_unread(node, args, importer, name):
    """Arguments that a rule did not look at must say nothing of the values: alpha of add, rounding_mode of div, …"""
    for k, argument in enumerate(node.target._schema.arguments[:len(args)]):
        value = list.__getitem__(args, k)
        if k in args.read or argument.name in _HOW or value is None or value is argument.default_value:
            continue
        if argument.name == "dtype" and value.is_floating_point or type(value) in (bool, int, float, str) and \
                value == argument.default_value:
            continue
        raise importer.refuse(name, f"{argument.name} = {value if isinstance(value, (bool, int, float, str)) else '…'}")


def _ordered(node, fetch):
    """Arguments in the operator's own order, keywords among them."""
    args = list(fetch(node.args))
    schema = getattr(node.target, "_schema", None)
    if node.kwargs and schema is not None:
        for argument in schema.arguments[len(args):]:
            if argument.name in node.kwargs:
                args.append(fetch(node.kwargs[argument.name]))
            else:
                args.append(argument.default_value)
    return args


def _pieces(node, args, importer, rules):
    import torch
    axis, start, out = (args[2] if len(args) > 2 else 0) % len(args[0].shape), 0, []
    for piece in node.meta["val"]:
        size = int(piece.shape[axis])
        out.append(rules["slice"](importer, [args[0], axis, start, start + size, 1], tuple(int(d) for d in piece.shape)))
        start += size
    return out


def _constant(node, fetch):
    """What does not depend on the input is computed by torch."""
    import numpy as np
    import torch

    def tensors(value):
        if isinstance(value, (list, tuple)):
            return type(value)(tensors(v) for v in value)
        return torch.from_numpy(np.array(value)) if isinstance(value, np.ndarray) else value

    made = node.target(*tensors(tuple(fetch(node.args))), **{k: tensors(fetch(v)) for k, v in node.kwargs.items()})
    return _array(made) if isinstance(made, torch.Tensor) else made
