"""What a framework's model has and pquant has not: the operator, its place in the user's code, what to do."""
from __future__ import annotations

import os
import re

from .._call import Error, UnsupportedError
from .._model import Model

_HINTS = {
    "log_softmax": "end the network with logits or softmax, and take the logarithm in the loss",
    "lstm": "recurrent layers are not compressed; unroll them, or take the dense layers out as a model of their own",
    "gru": "recurrent layers are not compressed; unroll them, or take the dense layers out as a model of their own",
    "group_norm": "use LayerNorm over the last axis, or BatchNorm",
    "rms_norm": "use LayerNorm over the last axis, or BatchNorm",
    "embedding": "feed the embedded features as inputs",
    "scaled_dot_product_attention": "attention multiplies activations, which no layer here does",
    "multiheadattention": "attention multiplies activations, which no layer here does",
    "int64": "numbers are not looked up in tables here: feed the embedded features as inputs",
    "int32": "numbers are not looked up in tables here: feed the embedded features as inputs",
}


_COMPARISONS = {"gt", "ge", "lt", "le", "select_n", "where"}


def _hint(operator: str, layer: str, why: str) -> str:
    if operator.split(" ")[0] in _COMPARISONS:
        return "comparisons choose nothing here; functions of the framework such as relu, leaky_relu and elu are taken whole"
    if "the result has 1 axes" in why:
        return "let it give [n, 1]"
    if operator == "output" and " arrays, not one" in why:
        return "wrap it in a function that returns one array"
    return next((h for key, h in _HINTS.items() if key in f"{operator} {layer} {why}".lower()),
                "replace it by layers that `pquant layers` lists, or compress the part of the model without it")


#: folder of this package
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def is_own(path: str) -> bool:
    """Whether a file of a stack trace is the user's own: of no installed package, and not of this one."""
    return "site-packages" not in path and not path.startswith(_HERE)


def _frame(trace: str | None) -> tuple[str, int] | None:
    """The last line of a stack trace that is the user's own."""
    found = re.findall(r'File "([^"]+)", line (\d+)', trace or "")
    own = [(f, int(n)) for f, n in found if is_own(f)]
    return own[-1] if own else None


def _at(layer: str, trace: str | None) -> tuple:
    """Beginning of a message, file and place of what a layer or a line of the user's code has."""
    at = _frame(trace)
    where = (f"{at[0]}:{at[1]}: " if at else "") + (f"layer '{layer}': " if layer else "")
    return where, at[0] if at else None, (at[1], 0) if at else None


def refuse(operator: str, layer: str = "", trace: str | None = None, why: str = "", hint: str = ""):
    """The exception for an operator."""
    where, *at = _at(layer, trace)
    return UnsupportedError(f"{where}operator {operator} is not one that pquant has{': ' + why if why else ''}",
                            "unsupported", hint or _hint(operator, layer, why), *at)


def read(graph, output):
    """The model of a graph of operators; what the library refuses of it is told at the line that the node came from."""
    try:
        return Model.from_bytes(graph.finish(output))
    except Error as error:
        found = re.search(r"node '([^']+)': (.*)", error.message)
        if found is None or found[1] not in graph.places:
            raise
        layer, trace = graph.places[found[1]]
        operator, _, why = found[2].partition(": ")
        if error.code == "numeric":  # the operator is known, its weights hold NaN or infinity
            where, *at = _at(layer, trace)
            raise type(error)(where + why, error.code, error.hint, *at) from None
        raise refuse(operator, layer, trace, why) from None
