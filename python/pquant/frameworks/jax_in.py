"""Flax modules and JAX functions to a pquant model, from the jaxpr: one rule a primitive."""
from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from .._model import Model
from .onnx import Graph, Value
from .place import is_own, read, refuse

#: events of the traced batch, a number that no other axis is likely to have
_BATCH = 7


class Importer:
    """Values that do not depend on the input are arrays. Every value that does has the batch on axis 0."""

    def __init__(self, event_shape):
        self.graph = Graph("pquant")
        self.input = self.graph.input("input", event_shape)
        self.input.shape = (_BATCH, *event_shape)
        self.trace, self.count = None, 0
        self.within: list[str] = []  # names of the functions that are being read

    def refuse(self, name, why="", hint=""):
        return refuse(f"{name} of {self.within[-1]}" if self.within else name, "", self.trace, why, hint)

    def emit(self, op, inputs, shape, name="", **attributes):
        return self.graph.add(op, inputs, shape, name or f"{op.lower()}", ("", self.trace), **attributes)

    def layer(self, what):
        self.count += 1
        return f"{what}{self.count}"


def _floats(v):
    return v if isinstance(v, Value) else np.asarray(v, np.float32)


def _binary(op):
    def rule(i, a, p, s):
        a = [_floats(v) for v in a]
        return _sum(i, a, s) if op == "Add" else i.emit(op, a, s)
    return rule


def _sum(i, a, s):
    """A bias behind a product belongs to it: the reader puts both together."""
    return i.emit("Add", a, s)


def _dot(i, a, p, s):
    (left, right), (batch_left, batch_right) = p["dimension_numbers"]
    x, w = a
    if isinstance(w, Value) or not isinstance(x, Value):
        raise i.refuse("dot_general", "a product of activations" if isinstance(x, Value) else "a constant on the left",
                       "" if isinstance(x, Value) else "write x @ w, with the events on the first axis")
    if batch_left or tuple(left) != (len(x.shape) - 1,):
        raise i.refuse("dot_general", "over other axes than the last")
    w = np.moveaxis(np.asarray(w, np.float32), right[0], 0)
    tail = w.shape[1:]
    out = i.emit("MatMul", [x, w.reshape(w.shape[0], -1)], (*x.shape[:-1], int(np.prod(tail))), i.layer("dense"))
    return out if len(tail) == 1 else i.emit("Reshape", [out, np.asarray([0, *s[1:]], np.int64)], s)


def _images(i, x, run, s):
    """Runs an operator of ONNX on channels first."""
    n = len(x.shape)
    first = (0, n - 1, *range(1, n - 1))
    last = (0, *range(2, n), 1)
    x = i.emit("Transpose", [x], tuple(x.shape[d] for d in first), perm=list(first))
    return i.emit("Transpose", [run(x, tuple(s[d] for d in first))], s, perm=list(last))


def _conv(i, a, p, s):
    x, w = a
    d = p["dimension_numbers"]
    n = len(x.shape) - 2
    if isinstance(w, Value) or tuple(d.lhs_spec) != (0, n + 1, *range(1, n + 1)) or tuple(d.out_spec) != tuple(d.lhs_spec):
        raise i.refuse("conv_general_dilated", "other than channels last", "use NHWC")
    if any(v != 1 for v in p["lhs_dilation"]) or p["batch_group_count"] != 1:
        raise i.refuse("conv_general_dilated", "transposed")
    w = np.transpose(np.asarray(w, np.float32), d.rhs_spec)  # [out, in / groups, …]
    pads = [v[0] for v in p["padding"]] + [v[1] for v in p["padding"]]
    return _images(i, x, lambda v, t: i.emit(
        "Conv", [v, w], t, i.layer("conv"), strides=list(p["window_strides"]), dilations=list(p["rhs_dilation"]),
        group=int(p["feature_group_count"]), kernel_shape=list(w.shape[2:]), pads=[int(v) for v in pads]), s)


def _pool(op):
    def rule(i, a, p, s):
        x, size = a[0], p["window_dimensions"]
        if size[0] != 1 or size[-1] != 1 or any(v != 1 for v in (*p["base_dilation"], *p["window_dilation"])):
            raise i.refuse("reduce_window", "over events or channels, or dilated")
        pads = [v[0] for v in p["padding"][1:-1]] + [v[1] for v in p["padding"][1:-1]]
        how = {"kernel_shape": list(size[1:-1]), "strides": list(p["window_strides"][1:-1]), "pads": [int(v) for v in pads]}
        more = {} if op == "MaxPool" else {"count_include_pad": 1}
        out = _images(i, x, lambda v, t: i.emit(op, [v], t, **how, **more), s)
        if op == "MaxPool":
            return out
        return i.emit("Mul", [out, np.float32(np.prod(size))], s)
    return rule


def _reshape(i, a, p, s):
    if s[0] != _BATCH:
        raise i.refuse("reshape", "it mixes events")
    return i.emit("Reshape", [a[0], np.asarray([0, *s[1:]], np.int64)], s)


def _broadcast(i, a, p, s):
    x, axes = a[0], p["broadcast_dimensions"]
    shape = [1] * len(s)
    for k, axis in enumerate(axes):
        shape[axis] = x.shape[k]
    if tuple(shape) == tuple(x.shape):
        return x
    if shape[0] != _BATCH:
        raise i.refuse("broadcast_in_dim", "of what has no events")
    return i.emit("Reshape", [x, np.asarray([0, *shape[1:]], np.int64)], shape)


def _reduce(op):
    def rule(i, a, p, s):
        axes = [int(v) for v in p["axes"]]
        if 0 in axes:
            raise i.refuse(op, "over the events of a batch")
        x = a[0]
        kept = i.emit("ReduceMax" if op == "max" else "ReduceMean", [x, np.asarray(axes, np.int64)], s, keepdims=0)
        if op == "sum":
            return i.emit("Mul", [kept, np.float32(np.prod([x.shape[v] for v in axes]))], s)
        return kept
    return rule


def _power(i, a, p, s):
    if not 1 <= p["y"] <= 4:
        raise i.refuse("integer_pow", f"to the power {p['y']}")
    out = a[0]
    for _ in range(p["y"] - 1):
        out = i.emit("Mul", [out, a[0]], s)
    return out


def _concat(i, a, p, s):
    return i.emit("Concat", [_floats(v) for v in a], s, axis=int(p["dimension"]))


def _pad(i, a, p, s):
    if any(c for _, _, c in p["padding_config"]):
        raise i.refuse("pad", "between items")
    ends = [lo for lo, _, _ in p["padding_config"]] + [hi for _, hi, _ in p["padding_config"]]
    return i.emit("Pad", [a[0], np.asarray(ends, np.int64), np.asarray(a[1], np.float32)], s)


def _slice(i, a, p, s):
    x, out = a[0], a[0]
    for axis, (start, end) in enumerate(zip(p["start_indices"], p["limit_indices"])):
        step = p["strides"][axis] if p["strides"] is not None else 1
        if (start, end, step) != (0, x.shape[axis], 1):
            shape = (*out.shape[:axis], s[axis], *out.shape[axis + 1:])
            out = i.emit("Slice", [out] + [np.asarray([v], np.int64) for v in (start, end, axis, step)], shape)
    return out


def _unary(op, **attributes):
    return lambda i, a, p, s: i.emit(op, [a[0]], s, **attributes)


def _same(i, a, p, s):
    return a[0]


def _convert(i, a, p, s):
    if not jnp.issubdtype(p["new_dtype"], jnp.floating):
        raise i.refuse("convert_element_type", f"it makes {jnp.dtype(p['new_dtype']).name} of activations")
    return a[0]


_RULES = {
    "dot_general": _dot, "conv_general_dilated": _conv, "add": _binary("Add"), "sub": _binary("Sub"),
    "add_any": _binary("Add"), "mul": _binary("Mul"), "div": _binary("Div"), "max": _binary("Max"), "min": _binary("Min"),
    "tanh": _unary("Tanh"), "logistic": _unary("Sigmoid"), "reshape": _reshape, "broadcast_in_dim": _broadcast,
    "transpose": lambda i, a, p, s: i.emit("Transpose", [a[0]], s, perm=[int(v) for v in p["permutation"]]),
    "squeeze": _reshape, "expand_dims": _reshape, "reduce_window_max": _pool("MaxPool"),
    "reduce_window_sum": _pool("AveragePool"), "reduce_max": _reduce("max"), "reduce_sum": _reduce("sum"),
    "concatenate": _concat, "pad": _pad, "slice": _slice, "integer_pow": _power,
    "neg": lambda i, a, p, s: i.emit("Mul", [a[0], np.float32(-1)], s), "square": lambda i, a, p, s: i.emit("Mul", [a[0], a[0]], s),
    "abs": lambda i, a, p, s: i.emit("Add", [i.emit("Relu", [v], s) for v in (a[0], i.emit("Mul", [a[0], np.float32(-1)], s))], s),
    "erf": _unary("Erf"), "convert_element_type": _convert, "stop_gradient": _same, "copy": _same, "copy_p": _same,
    "optimization_barrier": _same,
}
_CALLS = ("pjit", "jit", "closed_call", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint", "custom_jvp_call_jaxpr")


def _inner(params):
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        if key in params:
            return params[key]
    raise KeyError(params)


def _name_of(params) -> str:
    return str(params.get("name", ""))


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


#: functions of one value by their names: how they are written here, and what they give
_CURVES = {
    "relu": (lambda i, x, a: i.emit("Relu", [x], x.shape), lambda x, a: np.maximum(x, 0)),
    "relu6": (lambda i, x, a: i.emit("Clip", [x, np.float32(0), np.float32(6)], x.shape), lambda x, a: np.clip(x, 0, 6)),
    "silu": (lambda i, x, a: i.emit("Mul", [x, i.emit("Sigmoid", [x], x.shape)], x.shape), lambda x, a: x * _sigmoid(x)),
    "leaky_relu": (lambda i, x, a: i.emit("LeakyRelu", [x], x.shape, alpha=a), lambda x, a: np.where(x >= 0, x, a * x)),
    "elu": (lambda i, x, a: i.emit("Elu", [x], x.shape, alpha=a), lambda x, a: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0)))),
    "selu": (lambda i, x, a: i.emit("Mul", [i.emit("Elu", [x], x.shape, alpha=1.6732632423543772), np.float32(1.0507009873554805)],
                                    x.shape),
             lambda x, a: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))),
    "celu": (lambda i, x, a: i.emit("Mul", [i.emit("Elu", [i.emit("Mul", [x, np.float32(1 / a)], x.shape)], x.shape, alpha=1.0),
                                            np.float32(a)], x.shape),
             lambda x, a: np.where(x > 0, x, a * np.expm1(np.minimum(x, 0) / a))),
    "softplus": (lambda i, x, a: i.emit("Softplus", [x], x.shape), lambda x, a: np.logaddexp(x, 0)),
    "hard_tanh": (lambda i, x, a: i.emit("Clip", [x, np.float32(-1), np.float32(1)], x.shape), lambda x, a: np.clip(x, -1, 1)),
    "hard_sigmoid": (lambda i, x, a: i.emit("HardSigmoid", [x], x.shape, alpha=1.0 / 6.0), lambda x, a: np.clip(x / 6 + 0.5, 0, 1)),
    "hard_silu": (lambda i, x, a: i.emit("HardSwish", [x], x.shape), lambda x, a: x * np.clip(x / 6 + 0.5, 0, 1)),
}


def _gelu(form):
    return (lambda i, x, a: i.emit("Gelu", [x], x.shape, approximate=form),
            lambda x, a: np.asarray(jax.nn.gelu(x, form == "tanh"), np.float32))


_CURVES |= {"gelu": _gelu("none"), "gelu_tanh": _gelu("tanh"), "swish": _CURVES["silu"], "hard_swish": _CURVES["hard_silu"]}
#: where a function shows its one parameter, by its value there
_AT = {"leaky_relu": (-1.0, -1.0), "elu": (-80.0, -1.0), "celu": (-80.0, -1.0)}


def _whole(i, name, args, params, shape):
    """A function that is one operator here, by its name; what it gives is compared, since the name may be another's."""
    values = [k for k, v in enumerate(args) if isinstance(v, Value)]
    if len(values) != 1 or tuple(args[values[0]].shape) != shape:
        return None
    x, inner = args[values[0]], _inner(params)
    closed = getattr(inner, "jaxpr", inner)
    if name == "gelu" and any(e.primitive.name == "tanh" for e in closed.eqns):
        name = "gelu_tanh"
    if name not in _CURVES:
        return None
    dtype = closed.invars[values[0]].aval.dtype

    def run(points):
        given = [jnp.asarray(points, dtype) if k == values[0] else jnp.asarray(v) for k, v in enumerate(args)]
        return np.asarray(jax.core.eval_jaxpr(closed, getattr(inner, "consts", ()), *given)[0], np.float32)
    build, curve = _CURVES[name]
    at, sign = _AT.get(name, (0.0, 0.0))
    slope = float(sign * run(np.full(shape, at)).flat[0])
    points = np.random.default_rng(0).normal(scale=3, size=shape).astype(np.float32)
    points = np.asarray(jnp.asarray(points, dtype), np.float32)
    if np.abs(run(points) - curve(points, slope)).max() > (1e-5 if dtype == np.float32 else 0.05):
        return None
    return build(i, x, slope)


def _run(i, jaxpr, consts, inputs):
    values = {}

    def read(v):
        return np.asarray(v.val) if isinstance(v, core.Literal) else values[v]

    for variable, value in zip(jaxpr.constvars, consts):
        values[variable] = value
    for variable, value in zip(jaxpr.invars, inputs):
        values[variable] = value
    equations = jaxpr.eqns
    k = 0
    while k < len(equations):
        eqn = equations[k]
        args = [read(v) for v in eqn.invars]
        i.trace = _trace(eqn) or i.trace
        shape = tuple(eqn.outvars[0].aval.shape)
        name = eqn.primitive.name
        if not any(isinstance(a, Value) for a in args):
            made = eqn.primitive.bind(*[jnp.asarray(a) for a in args], **eqn.params) if name not in _CALLS else \
                _constant_call(eqn, args)
            made = made if eqn.primitive.multiple_results or name in _CALLS else [made]
        elif name in _CALLS:
            whole = _whole(i, _name_of(eqn.params), args, eqn.params, shape)
            inner = _inner(eqn.params)
            closed = getattr(inner, "jaxpr", inner)
            i.within.append(_name_of(eqn.params) or (i.within[-1] if i.within else "a function"))
            made = [whole] if whole is not None else _run(i, closed, getattr(inner, "consts", ()), args)
            i.within.pop()
        elif name in ("exp", "exp2", "reduce_max", "integer_pow", "reduce_sum", "square"):
            special = _function(i, jaxpr, k, args, read)
            if special is not None:
                made, k = special
                values[equations[k].outvars[0]] = made
                k += 1
                continue
            if name not in _RULES:
                raise i.refuse(name)
            made = [_RULES[name](i, args, eqn.params, shape)]
        elif name == "split":
            made, start, axis = [], 0, int(eqn.params["axis"])
            for v in eqn.outvars:
                whole = [(0, d, 1) for d in args[0].shape]
                whole[axis] = (start, start + v.aval.shape[axis], 1)
                lows, ends, _ = zip(*whole)
                made.append(_slice(i, args, {"start_indices": lows, "limit_indices": ends, "strides": None}, v.aval.shape))
                start += v.aval.shape[axis]
        elif name in _RULES:
            made = [_RULES[name](i, args, eqn.params, shape)]
        else:
            raise i.refuse(name)
        for variable, value in zip(eqn.outvars, made):
            values[variable] = value
        k += 1
    return [read(v) for v in jaxpr.outvars]


def _constant_call(eqn, args):
    inner = _inner(eqn.params)
    closed = getattr(inner, "jaxpr", inner)
    return jax.core.eval_jaxpr(closed, getattr(inner, "consts", ()), *[jnp.asarray(a) for a in args])


def _chain(jaxpr, first, last, x, read):
    """The equations from `first` to `last` as a function of x alone, or None; nothing in between is used behind them."""
    inside = {v for eqn in jaxpr.eqns[first:last] for v in eqn.outvars}
    behind = [v for eqn in jaxpr.eqns[last + 1:] for v in eqn.invars] + list(jaxpr.outvars)
    if any(not isinstance(v, core.Literal) and v in inside for v in behind):
        return None
    given = {v: read_or_none(read, v) for eqn in jaxpr.eqns[first:last + 1] for v in eqn.invars
             if not isinstance(v, core.Literal) and v not in inside}
    if any(v is None or isinstance(v, Value) and v is not x for v in given.values()):
        return None
    dtype = next(v.aval.dtype for v, value in given.items() if value is x)

    def run(points):
        values = {v: jnp.asarray(points, dtype) if value is x else jnp.asarray(value) for v, value in given.items()}
        for eqn in jaxpr.eqns[first:last + 1]:
            args = [v.val if isinstance(v, core.Literal) else values[v] for v in eqn.invars]
            made = _constant_call(eqn, args) if eqn.primitive.name in _CALLS else \
                eqn.primitive.bind(*[jnp.asarray(a) for a in args], **eqn.params)
            values.update(zip(eqn.outvars, made if isinstance(made, (list, tuple)) else [made]))
        return np.asarray(values[jaxpr.eqns[last].outvars[0]], np.float32)
    return run, np.asarray(jnp.asarray(np.random.default_rng(0).normal(scale=3, size=x.shape), dtype), np.float32), \
        1e-5 if dtype == jnp.float32 else 0.05


def _is(jaxpr, first, last, x, read, function) -> bool:
    """Whether the equations from `first` to `last` are that function of x."""
    chain = _chain(jaxpr, first, last, x, read)
    if chain is None:
        return False
    run, points, near = chain
    made = run(points)
    return made.shape == x.shape and bool(np.abs(made - np.asarray(function(points), np.float32)).max() < near)


def _layer_norm(i, jaxpr, k, x, read):
    """A normalization over the last axis, with what multiplies it and is added, and its last equation; or None."""
    window = jaxpr.eqns[k:k + 24]
    root = next((n for n, e in enumerate(window) if e.primitive.name in ("rsqrt", "sqrt")), None)
    added = next((e for e in window[:root] if root is not None and e.outvars[0] is window[root].invars[0]), None)
    epsilon = next((float(v.val) for v in added.invars if isinstance(v, core.Literal)), 0.0) if added is not None else 0.0
    width = x.shape[-1]
    if epsilon <= 0 or added.primitive.name != "add" or width < 2:
        return None

    def normal(points):
        apart = points - points.mean(-1, keepdims=True)
        return apart / np.sqrt((apart ** 2).mean(-1, keepdims=True) + epsilon)

    drawn = np.random.default_rng(1).normal(scale=30, size=width).astype(np.float32)
    for last in range(min(k + root + 6, len(jaxpr.eqns) - 1), k + root, -1):
        chain = _chain(jaxpr, k, last, x, read) if tuple(jaxpr.eqns[last].outvars[0].aval.shape) == tuple(x.shape) else None
        if chain is None:
            continue
        run, points, near = chain
        beta = run(np.zeros(x.shape, np.float32)).reshape(-1, width)[0]
        gamma = (run(np.broadcast_to(drawn, x.shape)).reshape(-1, width)[0] - beta) / normal(drawn)
        if np.abs(run(points) - (normal(points) * gamma + beta)).max() <= near * max(1.0, np.abs(gamma).max(), np.abs(beta).max()):
            return i.emit("LayerNormalization", [x, gamma.astype(np.float32), beta], x.shape, i.layer("norm"),
                          axis=-1, epsilon=epsilon), last
    return None


def _function(i, jaxpr, k, args, read):
    """jax.nn.softmax, jax.nn.gelu and normalizations, which are chains of primitives."""
    names, x = [e.primitive.name for e in jaxpr.eqns[k:k + 12]], args[0]
    if names[:8] == ["integer_pow", "mul", "add", "mul", "tanh", "add", "mul", "mul"] and \
            _is(jaxpr, k, k + 7, x, read, jax.nn.gelu):
        return i.emit("Gelu", [x], x.shape, approximate="tanh"), k + 7
    if names[0] in ("reduce_sum", "square"):
        return _layer_norm(i, jaxpr, k, x, read)
    if names[0] != "reduce_max" or "div" not in names:
        return None
    end = names.index("div")
    allowed = {"reduce_max", "max", "stop_gradient", "broadcast_in_dim", "sub", "exp", "reduce_sum", "reshape"}
    if not set(names[:end]) <= allowed or not _is(jaxpr, k, k + end, x, read, jax.nn.softmax):
        return None
    return i.emit("Softmax", [x], x.shape, axis=-1), k + end


def read_or_none(read, variable):
    try:
        return read(variable)
    except KeyError:
        return None


def _trace(eqn) -> str | None:
    try:
        frames = eqn.source_info.traceback.frames
    except AttributeError:
        return None
    own = [f for f in frames if is_own(f.file_name)]
    return "".join(f'File "{f.file_name}", line {f.line_num}\n' for f in reversed(own)) or None


def to_model(function, event_shape, dtype=jnp.float32) -> Model:
    """A model of `function(x)`, x [batch, *event_shape] of that dtype; parameters are closed over. Images are channels
    last."""
    x = jax.ShapeDtypeStruct((_BATCH, *event_shape), dtype)
    try:
        closed = jax.make_jaxpr(function)(x)
    except Exception as error:
        raise refuse("jaxpr", why=f"the function cannot be traced: {str(error).strip().splitlines()[0][:300]}",
                     hint="where shapes do not fit, give input_shape=(…) of one event") from error
    importer = Importer(tuple(event_shape))
    outputs = _run(importer, closed.jaxpr, closed.consts, [importer.input])
    if len(outputs) != 1 or not isinstance(outputs[0], Value):
        raise refuse("output", why=f"the function gives {len(outputs)} arrays, not one of its events")
    return read(importer.graph, outputs[0])
