"""Nets of every kind from and to every framework and format: the table of nets by formats, and what is refused."""
import contextlib
import io
import os
import re
import subprocess
import sys
import warnings

os.environ["KERAS_BACKEND"] = "torch"

import jax
import keras
import numpy as np
import onnx
import onnxruntime
import torch
from flax import nnx, serialization
from jax2onnx import onnx_function, to_onnx
from safetensors.torch import load_file, save_file

import net_list as nets
from common import PQUANT, Cases
from library import Model, Refused
from onnx_in import export

warnings.simplefilter("ignore")
TOLERANCE = 1e-5
COLUMNS = ["Keras .keras", ".h5", ".weights.h5", "PyTorch .pt", ".safetensors", "Flax msgpack", ".npz", "ONNX dynamo", "ONNX classic", "ONNX of Keras", "tf2onnx", "jax2onnx",
           "to Keras", "to ONNX", "to PyTorch", "to Flax"]


class Table:
    """A cell is a deviation, or the number of a remark."""

    def __init__(self, cases):
        self.cases, self.cells, self.remarks = cases, {}, []

    def add(self, net, column, ours, theirs):
        off = self.cases.add(f"{net}, {column}", ours, theirs, TOLERANCE)
        self.cells[net, column] = f"{off:.0e}" if off > 0 else "0"

    def remark(self, net, column, text):
        if text not in self.remarks:
            self.remarks.append(text)
        self.cells[net, column] = f"({self.remarks.index(text) + 1})"

    def show(self):
        print("| net | " + " | ".join(COLUMNS) + " |\n" + "|---" * (len(COLUMNS) + 1) + "|")
        for net in nets.NETS:
            print(f"| {net} | " + " | ".join(self.cells.get((net, c), "–") for c in COLUMNS) + " |")
        for i, text in enumerate(self.remarks):
            print(f"| ({i + 1}) {text} |")


def convert(path, out, *more):
    done = subprocess.run([PQUANT, "model", "convert", path, "-o", out, *more], capture_output=True, text=True)
    if done.returncode:
        raise Refused(done.stderr.strip().splitlines()[0].replace("pquant: error: ", ""))


@contextlib.contextmanager
def refusal(table, net, *columns):
    """What pquant refuses, or a framework lacks, is a remark; nothing else passes."""
    try:
        yield
    except (Refused, nets.Lacks) as e:
        for column in columns:
            table.remark(net, column, re.sub(r"^net\.[a-z]+: ", "", str(e)))


def run_onnx(path, x, due):
    """x and due in ONNX's order; where their axis 1 is read as channels, these are our last axis."""
    model = Model(path)
    ours = x if model.inputs[0] == x.shape[1:] else np.moveaxis(x, 1, -1)
    return model(ours, engine="reference").reshape(due.shape)


def of_keras(table, name, net, x):
    model = nets.keras_model(net)
    due = keras.ops.convert_to_numpy(model(x, training=False))
    model.save("net.keras")
    model.save("net.h5")
    model.save_weights("net.weights.h5")
    with open("net.json", "w") as f:
        f.write(model.to_json())
    for column, path, arch in (("Keras .keras", "net.keras", None), (".h5", "net.h5", None), (".weights.h5", "net.weights.h5", "net.json")):
        with refusal(table, name, column):
            table.add(name, column, Model(path, arch)(x, engine="reference"), due)
    with refusal(table, name, "to Keras"):
        convert("net.keras", "again.keras")
        table.add(name, "to Keras", keras.ops.convert_to_numpy(keras.saving.load_model("again.keras")(x, training=False)), due)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        model.export("keras.onnx", format="onnx", verbose=False)
    with refusal(table, name, "ONNX of Keras"):
        table.add(name, "ONNX of Keras", run_onnx("keras.onnx", x, due), due)


def of_torch(table, name, net, x):
    module = nets.torch_module(net)
    given = torch.from_numpy(nets.to_torch(x))
    with torch.no_grad():
        due = module(given).numpy()
    state = {n: t.clone() for n, t in module.state_dict().items()}
    torch.save(state, "net.pt")
    save_file(state, "net.safetensors")
    for column, path in (("PyTorch .pt", "net.pt"), (".safetensors", "net.safetensors")):
        with refusal(table, name, column):
            table.add(name, column, Model(path, "net.yaml")(x, engine="reference"), due)
    with refusal(table, name, "to PyTorch"):
        convert("net.pt", "out.safetensors", "--arch", "net.yaml")
        for p in module.parameters():
            p.data.zero_()
        missing, extra = module.load_state_dict(load_file("out.safetensors"), strict=False)
        assert not extra and all(n.endswith("num_batches_tracked") for n in missing), (missing, extra)
        with torch.no_grad():
            table.add(name, "to PyTorch", module(given).numpy(), due)
    module.load_state_dict(state)
    for column, dynamo in (("ONNX dynamo", True), ("ONNX classic", False)):
        export(module, given, dynamo)
        with refusal(table, name, column):
            table.add(name, column, run_onnx("net.onnx", given.numpy(), due), due)


def of_flax(table, name, net, x):
    module, variables = nets.flax_model(net)
    due = np.asarray(module.apply(variables, x))
    flat = {"/".join(k.key for k in at): v for at, v in jax.tree_util.tree_flatten_with_path(variables)[0]}
    with open("net.msgpack", "wb") as f:
        f.write(serialization.to_bytes(variables))
    np.savez("net.npz", **flat)
    for column, path in (("Flax msgpack", "net.msgpack"), (".npz", "net.npz")):
        with refusal(table, name, column):
            table.add(name, column, Model(path, "net.yaml")(x, engine="reference"), due)
    onnx.save(to_onnx(lambda x: module.apply(variables, x), inputs=[("batch", *x.shape[1:])]), "jax.onnx")
    with refusal(table, name, "jax2onnx"):
        table.add(name, "jax2onnx", run_onnx("jax.onnx", x, due), due)
    with refusal(table, name, "to Flax"):
        convert("net.msgpack", "out.npz", "--arch", "net.yaml")
        back = {}
        with np.load("out.npz") as arrays:
            for key in arrays:
                node, what = key.rsplit("/", 1)
                root = "batch_stats" if what in ("mean", "var") else "params"
                back.setdefault(root, {}).setdefault(node, {})[what] = arrays[key]
        assert jax.tree.structure(back) == jax.tree.structure(variables), (back.keys(), variables.keys())
        table.add(name, "to Flax", np.asarray(module.apply(back, x)), due)
    with refusal(table, name, "to ONNX"):
        convert("net.msgpack", "out.onnx", "--arch", "net.yaml")
        session = onnxruntime.InferenceSession("out.onnx")
        table.add(name, "to ONNX", session.run(None, {session.get_inputs()[0].name: x})[0], due)


@onnx_function
class Block(nnx.Module):
    """Written by jax2onnx as a function, for each of its uses."""

    def __init__(self, n, rngs):
        self.layer, self.norm = nnx.Linear(16, n, rngs=rngs), nnx.LayerNorm(n, rngs=rngs)

    def __call__(self, x):
        return nnx.gelu(self.norm(self.layer(x)))


class Blocks(nnx.Module):
    def __init__(self, rngs):
        self.first, self.second, self.last = Block(16, rngs), Block(16, rngs), nnx.Linear(16, 5, rngs=rngs)

    def __call__(self, x):
        return self.last(self.second(self.first(x)))


def functions_of_jax(cases):
    """Of events, and of rows of them."""
    net = Blocks(nnx.Rngs(3))
    for shape in ((16,), (6, 16)):
        x = np.random.default_rng(3).normal(size=(9, *shape)).astype(np.float32)
        model = to_onnx(net, [("batch", *shape)])
        assert len(model.functions) == 2
        onnx.save(model, "jax.onnx")
        cases.add(f"functions of JAX, {shape}", run_onnx("jax.onnx", x, x[..., :5]), np.asarray(net(x)), TOLERANCE)


def of_tensorflow(table, beside, log):
    """The files of lib/of_tensorflow.py, which ran beside the other frameworks."""
    if beside.wait():
        with open(log) as f:
            sys.exit(f"of_tensorflow.py: exit {beside.returncode}\n{f.read()}")
    for k, (name, net) in enumerate(nets.NETS.items()):
        with refusal(table, name, "tf2onnx"):
            if not os.path.exists(f"{k}.onnx"):
                nets.keras_model(net)  # raises what Keras lacks
            due = np.load(f"{k}.npy")
            table.add(name, "tf2onnx", run_onnx(f"{k}.onnx", nets.events(k, net), due), due)


def main():
    cases = Cases()
    table = Table(cases)
    other = os.path.join(os.path.dirname(nets.__file__), "of_tensorflow.py")
    with open("tensorflow.log", "w") as log, subprocess.Popen([sys.executable, other, "."], stdout=log, stderr=log) as beside:
        for k, (name, net) in enumerate(nets.NETS.items()):
            x = nets.events(k, net)
            with open("net.yaml", "w") as f:
                f.write(nets.yaml_text(net))
            with refusal(table, name, "Keras .keras", ".h5", ".weights.h5", "to Keras", "ONNX of Keras"):
                of_keras(table, name, net, x)
            of_torch(table, name, net, x)
            of_flax(table, name, net, x)
    functions_of_jax(cases)
    of_tensorflow(table, beside, "tensorflow.log")
    table.show()
    cases.finish()


if __name__ == "__main__":
    main()
