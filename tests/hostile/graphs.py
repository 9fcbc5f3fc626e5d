"""ONNX graphs with functions of their own, rows and formulas, from the seeds of tests/fuzz, to spoil."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "fuzz"))
import seeds_graphs as s  # noqa: E402

RELU = s.node("Relu", "x", "y")
CALL = [s.call("F", "x", "y")]


def with_function(*nodes, call=CALL, reads="x", makes="y", **more):
    return s.graph(call, functions=[s.function("F", reads, makes, *nodes, **more)])


#: name, file, what the message says
GRAPHS = [
    ("functions_of_itself", with_function(s.call("F", "x", "y")), "the function calls itself"),
    ("functions_in_a_circle", s.graph(CALL, functions=[s.function("F", "x", "y", s.call("G", "x", "y")), s.function("G", "x", "y", s.call("F", "x", "y"))]),
     "the function calls itself"),
    ("functions_exponential", s.tower(30, 2), "calls of functions make more than 4096 nodes"),
    ("functions_wide", s.tower(2, 1000), "calls of functions make more than 4096 nodes"),
    ("functions_deep", s.tower(40, 1), "functions call each other more than 32 deep"),
    ("functions_of_many_inputs", with_function(s.node("Sum", "x " * 60000, "y"), call=[s.call("F", "x", f"y{i}") for i in range(9)] + CALL),
     "calls of functions make more than 4096 nodes, or more than 65536 values"),
    ("functions_nowhere", s.graph(CALL), "local.F: the operator is not read"),
    ("functions_twice", s.graph(CALL, functions=[s.function("F", "x", "y", RELU)] * 2), "function 'local.F' is there twice"),
    ("functions_more_inputs", with_function(RELU, call=[s.call("F", "x x", "y")]), "it has 2 inputs, but the function 1"),
    ("functions_no_opset", with_function(RELU, version=0), "names no opset of them"),
    ("functions_opset_5", with_function(RELU, version=5), "opset 5 of the operators is not in 6..25"),
    ("functions_over_input", with_function(s.node("Relu", "x", "x"), makes="x"), "value 'x' of the function is given twice"),
    ("functions_attribute", with_function(s.node("Elu", "x", "y", s.reference("alpha", "\x1b[2J"))), "which the function does not have"),
    ("functions_name", s.graph([s.call("\x1b[2J", "x", "y")], functions=[s.function("\x1b[2J", "x", "y", s.node("Mish", "x", "y"))]), "Mish: the operator is not read"),
    ("rows_stay", s.graph([s.node("Reshape", "x first", "y")], constants=[s.numbers("first", -1, 2)]), "has 2 rows of each event along the batch"),
    ("rows_too_many", s.graph([s.node("Reshape", "x first", "y")], constants=[s.numbers("first", -1, 2**62)]), "do not make"),
    ("expand_beyond", s.graph([s.node("Expand", "one s", "c"), s.node("Add", "x c", "y")], constants=[s.numbers("one", 1), s.numbers("s", 2**40, 2**20)]), "of shape [1099511627776, 1048576] overflows"),
    ("expand_far", s.graph([s.node("Expand", "one s", "c"), s.node("Add", "x c", "y")], constants=[s.numbers("one", 1), s.numbers("s", 2**30, 4)]), "reading it takes more memory"),
    ("rows_of_events", s.graph([s.node("Reshape", "x first", "y")], constants=[s.numbers("first", -2**63 + 1, 2)]), "has 2 rows of each event along the batch"),
]


def make(out, say):
    """Writes all; say(kind, path, text) as make.py has it."""
    for name, data, text in GRAPHS:
        path = out / f"{name}.onnx"
        path.write_bytes(data)
        say("model", path, text)


def functions(path):
    """A graph of functions that is read."""
    path.write_bytes(s.functions())


def rows(path):
    """A dense layer over rows of all events that is read."""
    path.write_bytes(s.rows())
