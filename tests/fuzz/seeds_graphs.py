"""Seeds of ONNX graphs: functions that call each other, rows of all events, and formulas of one kind."""
import struct

import numpy as np

from pack import plain
from seeds_quantized import constant, message


def node(op, reads, makes, *attributes, domain=""):
    """Names between blanks; attributes as messages."""
    names = [(1, n) for n in reads.split()] + [(2, n) for n in makes.split()]
    return message(*names, (3, makes), (4, op), *([(7, domain)] if domain else []), *[(5, a) for a in attributes])


def call(function, reads, makes, *attributes):
    return node(function, reads, makes, *attributes, domain="local")


def whole(name, value):
    return message((1, name), (3, value), (20, 2))


def real(name, value):
    return message((1, name)) + b"\x15" + struct.pack("<f", value) + message((20, 1))


def reference(name, of):
    """An attribute that is one of the function's."""
    return message((1, name), (20, 1), (21, of))


def opset(version, domain=""):
    return message((1, domain), (2, version))


def function(name, reads, makes, *nodes, attributes="", defaults=(), version=17):
    return message((1, name), *[(4, n) for n in reads.split()], *[(5, n) for n in makes.split()], *[(6, a) for a in attributes.split()],
                   *[(7, n) for n in nodes], *([(9, opset(version))] if version else []), (10, "local"), *[(11, d) for d in defaults])


def numbers(name, *values):
    return message((1, len(values)), (2, 7), (8, name), (9, np.array(values, "<i8").tobytes()))


def port(name, *dims):
    shape = message((1, message((2, "batch"))), *[(1, message((1, d))) for d in dims])
    return message((1, name), (2, message((1, message((1, 1), (2, shape))))))


def graph(nodes, reads=(4,), makes=(4,), constants=(), functions=()):
    """A model of the input x and the output y."""
    body = message(*[(1, n) for n in nodes], (2, "g"), *[(5, c) for c in constants], (11, port("x", *reads)), (12, port("y", *makes)))
    return message((1, 8), (7, body), (8, opset(17)), (8, opset(1, "local")), *[(25, f) for f in functions])


def dense(rng):
    return [constant("w", rng.normal(size=(4, 4))), constant("b", rng.normal(size=4))]


def functions():
    """Two layers of a block, which calls a layer and an activation: attributes given, passed on and by default."""
    made = [function("Act", "x", "y", node("Elu", "x", "y", reference("alpha", "alpha")), defaults=[real("alpha", 1.0)]),
            function("Lin", "x w b", "y", node("MatMul", "x w", "m"), node("Add", "m b", "y"), version=18),
            function("Block", "x w b", "y x", call("Lin", "x w b", "h"), call("Act", "h", "y", reference("alpha", "slope")), attributes="slope", version=0)]
    nodes = [call("Block", "x w b", "m same", real("slope", 0.5)), call("Block", "m w b", "h"), call("Act", "h", "a"), node("Add", "a same", "y")]
    return graph(nodes, constants=dense(np.random.default_rng(6)), functions=made)


def tower(height, times):
    """F0 calls F1, which calls F2, …: each does so `times` times."""
    made = [function(f"F{i}", "v0", f"v{times}", *[call(f"F{i + 1}", f"v{k}", f"v{k + 1}") for k in range(times)]) for i in range(height)]
    made.append(function(f"F{height}", "x", "y", node("Relu", "x", "y")))
    return graph([call("F0", "x", "y")], functions=made)


def rows():
    """A dense layer over rows, as tf2onnx and jax2onnx write it."""
    nodes = [node("Reshape", "x first", "r"), node("MatMul", "r w", "m"), node("Add", "m b", "a"), node("Shape", "x", "s"),
             node("Slice", "s from to", "lead"), node("Concat", "lead four", "back", whole("axis", 0)), node("Reshape", "a back", "y")]
    lists = [numbers("first", -1, 4), numbers("from", 0), numbers("to", 2), numbers("four", 4)]
    return graph(nodes, (3, 4), (3, 4), dense(np.random.default_rng(6)) + lists)


def formulas():
    """ELU by products with a comparison, LeakyRelu by Where, GELU by Erfc, and Relu by what is left of them."""
    zero, half, root = constant("zero", 0.0), constant("half", 0.5), constant("root", 0.70710678)
    elu = [node("Greater", "x zero", "c"), node("Not", "c", "n"), node("Cast", "c", "c1", whole("to", 1)), node("Cast", "n", "n1", whole("to", 1)),
           node("Elu", "x", "e"), node("Mul", "half e", "he"), node("Mul", "he n1", "low"), node("Mul", "c1 e", "high"), node("Add", "high low", "y")]
    expm1 = [node("Greater", "x zero", "c"), node("Exp", "x", "e"), node("Sub", "e one", "e1"), node("Mul", "e1 half", "low"), node("Where", "c x low", "y")]
    leaky = [node("Less", "x zero", "c"), node("Mul", "x half", "low"), node("Where", "c low x", "y")]
    gelu = [node("Mul", "x half", "h"), node("Neg", "x", "n"), node("Mul", "n root", "a"), node("Erfc", "a", "e"), node("Mul", "h e", "y")]
    for name, nodes in (("elu", elu), ("expm1", expm1), ("leaky", leaky), ("gelu", gelu)):
        yield name, graph(nodes, constants=[zero, half, root, constant("one", 1.0)])


def graphs(seed):
    """`seed` is that of seeds.py."""
    for name, data in (("functions", functions()), ("tower", tower(5, 2)), ("rows", rows()), *formulas()):
        seed("onnx", f"graph_{name}", plain("a.onnx", data))
