"""The public tests of ONNX's operators (onnx.backend.test): every one is read and right, or refused by name.

A test gives a node's inputs, weights among them, as inputs of a graph. Constants are what a model has, so it is
tried with all but its first input as constants, and with all as activations. Of several outputs the first is asked for."""
import collections
import glob
import os
import warnings

import numpy as np
import onnx
from onnx import numpy_helper

from common import Cases
from library import Model, Refused

warnings.simplefilter("ignore", RuntimeWarning)
import onnx.backend.test.case.node as node_cases  # noqa: E402

DATA = os.path.join(os.path.dirname(onnx.__file__), "backend/test/data")
IMAGES = {"Conv", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "BatchNormalization"}
FLOAT32 = float(np.finfo(np.float32).max)


def read_tensor(path):
    tensor = onnx.TensorProto()
    with open(path, "rb") as f:
        tensor.ParseFromString(f.read())
    return numpy_helper.to_array(tensor)


def stored(kind):
    """Tests that lie in files: weights are constants already, under the names of inputs."""
    for folder in sorted(glob.glob(f"{DATA}/{kind}/test_*")):
        sets = []
        for data in sorted(glob.glob(f"{folder}/test_data_set_*")):
            n = len(glob.glob(f"{data}/input_*.pb"))
            sets.append(([read_tensor(f"{data}/input_{i}.pb") for i in range(n)],
                         [read_tensor(f"{data}/output_0.pb")]))
        yield f"{kind} {os.path.basename(folder)}", onnx.load(f"{folder}/model.onnx"), sets, 1e-3, 1e-5


def cases():
    for case in node_cases.collect_testcases(None):
        yield f"node {case.name}", case.model, case.data_sets, case.rtol, max(case.atol, 1e-6)
    for kind in ("simple", "pytorch-operator", "pytorch-converted"):
        yield from stored(kind)


def fixed(model, arrays, keep):
    """The model with its inputs from `keep` on as constants; the arrays that stay inputs."""
    out = onnx.ModelProto()
    out.CopyFrom(model)
    del out.graph.input[:], out.graph.output[1:]
    left = []
    for i, port in enumerate(model.graph.input):
        if i < keep or not isinstance(arrays[i], (np.ndarray, np.generic)):
            out.graph.input.append(port)
            left.append(arrays[i])
        else:
            out.graph.initializer.append(numpy_helper.from_array(np.asarray(arrays[i]), port.name))
    return out, left


def layout(model):
    """How many axes arrays have at least that are held with their channels last; PyTorch's images always are."""
    if any(n.op_type in IMAGES for n in model.graph.node):
        return 3
    return 4 if model.producer_name == "pytorch" and len(model.graph.input[0].type.tensor_type.shape.dim) == 4 else 9


def held(array, least):
    return np.moveaxis(array, 1, -1) if array.ndim >= least else array


def attempt(name, model, data, rtol, atol):
    """As compare, of the forms that are read; and what the last refused one said."""
    worst, said = None, ""
    known = {t.name for t in model.graph.initializer}
    image = layout(model)
    keeps = [0] if known else sorted({1, len(model.graph.input)})
    for keep in keeps:
        for arrays, due in data:
            if any(isinstance(a, np.ndarray) and a.dtype == np.float64 and np.abs(a).max(initial=0) > FLOAT32
                   for a in [*arrays, *due]):
                said = "numbers beyond float32"
                continue
            try:
                off = run(model, known, keep, arrays, due, image, rtol, atol)
            except Refused as e:
                said = said or str(e)
                continue
            worst = off if worst is None else max(worst, off)
    return worst, said


def run(model, known, keep, arrays, due, image, rtol, atol):
    if known:
        ports = [p for p in model.graph.input if len(arrays) < len(model.graph.input) and p.name not in known] \
            or model.graph.input
        candidate, left = model, [a for a, p in zip(arrays, ports) if p.name not in known]
    else:
        candidate, left = fixed(model, arrays, keep)
    if not all(isinstance(a, (np.ndarray, np.generic)) for a in [*left, due[0]]):
        raise Refused("sequences and optional values are no arrays")
    onnx.save(candidate, "case.onnx")
    read = Model("case.onnx")
    y = read(*[held(a, image) if a.ndim > 1 else a[:, None] for a in left])
    expected = held(np.asarray(due[0], float), image)
    if y.size != expected.size:
        return np.inf
    off = np.abs(y.reshape(expected.shape) - expected)
    return float(np.max(off / (atol + rtol * np.abs(expected)), initial=0.0))


def main():
    counts, operators, reasons = collections.Counter(), collections.defaultdict(collections.Counter), []
    for name, model, data, rtol, atol in cases():
        version = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
        op = model.graph.node[0].op_type if len(model.graph.node) == 1 else "several"
        worst, said = attempt(name, model, data, rtol, atol)
        result = "refused" if worst is None else "passed" if worst <= 1.0 else "failed"
        counts[result] += 1
        operators[op][result] += 1
        if result == "failed":
            print(f"{name}: {worst:.3g} times what is allowed")
        elif result == "refused":
            reasons.append((name, version, said))
    for op, n in sorted(operators.items()):
        if n["passed"] + n["failed"] > 0:
            print(f"{op}: {n['passed']} passed, {n['refused']} refused, {n['failed']} failed")
    if os.environ.get("PQUANT_REFUSED"):
        for reason in reasons:
            print("refused:", *reason)
    print(f"{counts['passed']} passed, {counts['refused']} refused, {counts['failed']} failed")
    return counts


if __name__ == "__main__":
    result = main()
    raise SystemExit(1 if result["failed"] or not result["passed"] else 0)
