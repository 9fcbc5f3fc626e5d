"""Which framework a model is of, and the way from it to pquant and back. Frameworks are imported only when needed."""
from __future__ import annotations

import operator
import sys
from typing import Any, Callable

from .._call import ConfigError, UnsupportedError
from .._model import Model


class Converted:
    """A model in pquant's form, and what makes models of the caller's framework of others like it.

    order: which axes of the caller's events [n, …] those of the model's input are; None: the same ones."""

    def __init__(self, model: Model, back: Callable[[Model], Any], order: tuple[int, ...] | None = None):
        self.model, self.back, self.order = model, back, order


def _is(name: str, cls: str, obj) -> bool:
    """Whether an object is of a class of a module that is imported already; nothing is imported."""
    module = sys.modules.get(name)
    kind = getattr(module, cls, None) if module is not None else None
    return kind is not None and isinstance(obj, kind)


def _needs_shape(what: str):
    return ConfigError(f"the shape of one event cannot be told from {what}",
                       hint="give events, or input_shape=(…), images of torch as (channels, height, width)")


def _torch(module, shape) -> Converted:
    from . import torch_out
    if isinstance(module, torch_out.Network):
        model, layout = module.pquant, module.layout
    else:
        from . import torch_in
        torch_in.check_made(module)
        shape = shape or torch_in.guess_shape(module)
        if shape is None:
            raise _needs_shape("the module")
        model, layout = torch_in.to_model(module, tuple(shape))
        torch_in.check_numbers(module, _like(module, torch_out.from_model(model, layout)), shape)
    return Converted(model, lambda m: _like(module, torch_out.from_model(m, layout)), layout[0])


def _like(module, network):
    """The network on the device and in the dtype of the module."""
    first = next(module.parameters(), None)
    like = {"device": first.device} if first is not None else {}
    if first is not None and first.dtype.is_floating_point:
        like["dtype"] = first.dtype
    return network.to(**like)


def _keras(network) -> Converted:
    from . import keras_in, keras_out
    policies = {layer.dtype_policy.name for layer in network.layers if layer.weights}
    policy = policies.pop() if len(policies) == 1 else None
    return Converted(keras_out.to_model(network) or keras_in.to_model(network),
                     lambda m: keras_out.from_model(m, policy, network))


def _first_features(module):
    """Features that the first nnx.Linear takes, or None."""
    from flax import nnx
    for _, node in nnx.iter_graph(module):
        if isinstance(node, nnx.Conv):
            return None
    linears = [node for _, node in nnx.iter_graph(module) if isinstance(node, nnx.Linear)]
    widths = [m.in_features for m in linears]
    outs = [m.out_features for m in linears]
    first = [w for w in widths if w not in outs]
    return (first[0],) if first else ((widths[0],) if widths else None)


def _jax(function, parameters, shape) -> Converted:
    """Of a function whose parameters are closed over; the dtype that all of them share is that of inputs and results."""
    import jax
    import jax.numpy as jnp

    from . import jax_in, jax_out
    floats = {leaf.dtype for leaf in map(jnp.asarray, jax.tree.leaves(parameters)) if jnp.issubdtype(leaf.dtype, jnp.floating)}
    dtype = floats.pop() if len(floats) == 1 else jnp.dtype(jnp.float32)
    return Converted(jax_in.to_model(function, shape, dtype), lambda m: jax_out.from_model(m, dtype))


def _nnx(module, shape) -> Converted:
    from flax import nnx
    shape = shape or _first_features(module)
    if shape is None:
        raise _needs_shape("the module")
    graph, state = nnx.split(module)
    still = nnx.merge(graph, state)
    still.eval()
    return _jax(lambda x: still(x), nnx.state(module, nnx.Param), shape)


def _linen(module, variables, shape) -> Converted:
    if shape is None:
        raise _needs_shape("a linen module")
    variables = variables if isinstance(variables, dict) and "params" in variables else {"params": variables}
    return _jax(lambda x: module.apply(variables, x), variables["params"], shape)


def _function(function, parameters, shape) -> Converted:
    from . import jax_out
    if isinstance(function, jax_out.Function):
        dtype = next((a.dtype for layer in parameters.values() for a in layer.values()), None)
        return Converted(jax_out.to_model(function, parameters), lambda m: jax_out.from_model(m, dtype))
    if shape is None:
        raise _needs_shape("a function")
    return _jax(lambda x: function(parameters, x), parameters, shape)


def convert(model, input_shape=None) -> Converted:
    """Takes a pquant.Model, a torch module, a Keras 3 model, a Flax nnx module, a bound linen module, or a pair of a
    linen module and its variables or of a JAX function(parameters, x) and its parameters."""
    try:
        shape = tuple(operator.index(d) for d in input_shape) if input_shape is not None else None
    except TypeError:
        shape = ()
    if shape is not None and (not shape or min(shape) < 1):
        raise ConfigError(f"input_shape = {input_shape!r} is no shape of one event, as (16,) or (3, 32, 32) is")
    if isinstance(model, Model):
        return Converted(model, lambda m: m)
    if isinstance(model, (str, bytes)) or hasattr(model, "__fspath__"):
        return Converted(Model.load(model), lambda m: m)
    if _is("keras", "Model", model):
        return _keras(model)
    if _is("torch.nn", "Module", model):
        return _torch(model, shape)
    if _is("flax.nnx", "Module", model):
        return _nnx(model, shape)
    if _is("flax.linen", "Module", model):
        if model.scope is None:
            raise ConfigError("a linen module has no parameters of its own", hint="give (module, variables), or "
                              "module.bind(variables)")
        unbound, variables = model.unbind()
        return _linen(unbound, variables, shape)
    if isinstance(model, tuple) and len(model) == 2:
        if _is("flax.linen", "Module", model[0]):
            return _linen(*model, shape)
        if callable(model[0]):
            return _function(*model, shape)
    raise UnsupportedError(f"a {type(model).__module__}.{type(model).__qualname__} is no model that pquant takes",
                           "unsupported", "give a torch.nn.Module, a Keras 3 model, a Flax module, (function, parameters) "
                           "of JAX, a pquant.Model, or a path")


__all__ = ["Converted", "convert"]
