"""One event, 16 and 256 of the jet tagger 16-64-32-32-5 in generated C, against our engines, ONNX Runtime and
OpenVINO by their C interfaces, oneDNN, XNNPACK, OpenBLAS, PyTorch and hls4ml's C++; float32 and int8.

All get scaled features and give logits. A C loop times all but PyTorch, each call waiting for the result of the
one before, on one pinned core; runtimes with threads of their own run on two as well, unpinned. Outputs of 2560 test
events are held against float32 before anything is printed.
"""

import argparse
import os
import pathlib
import random
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent))

import h5py
import numpy as np
import onnxruntime
import openvino
import torch
from torch import nn

import contest
import prepare
import turns

LARGEST_DIFFERENCE = 1e-5  # in float32, of the largest output
LEAST_AGREEMENT = {"int8": 0.95, "fixed": 0.9}  # share of events with the decision of float32
EVENTS, CALIBRATION = 2560, 2000
SETS = here.parent.parent / "datasets/jets-hlf.h5"
SMALL = "6 bits, 90 % structured"
HLS = "hls4ml ap_fixed<16,6>"


def version_of(*command):
    told = subprocess.run(command, capture_output=True, text=True)
    return told.stdout.strip() if told.returncode == 0 else "of the system"


def scaled_events(folder):
    """The model's features scaled, as a dataset of its own."""
    with h5py.File(prepare.JETS) as f, h5py.File(SETS) as d, h5py.File(f"{folder}/jets.h5", "w") as out:
        for split in ("train", "val", "test"):
            out[f"{split}/x"] = ((d[f"{split}/x"][()] - f["scaler/mean"][()]) / f["scaler/std"][()]).astype(np.float32)
            out[f"{split}/y"] = d[f"{split}/y"][()]
        return out["train/x"][:CALIBRATION], out["test/x"][()], out["test/y"][()]


def weights(folder, net, events):
    """Weights for the libraries that know no files, with steps of int8 from calibration events."""
    arrays, value, scale = {}, torch.from_numpy(events), [float(np.quantile(np.abs(events), 0.9999)) / 127]
    dense = [m for m in net if isinstance(m, nn.Linear)]
    for i, layer in enumerate(dense):
        value = layer(value)
        value = torch.relu(value) if i + 1 < len(dense) else value
        arrays[f"weight{i}"], arrays[f"bias{i}"] = layer.weight.numpy(), layer.bias.numpy()
        scale.append(float(value.abs().max()) / (255 if i + 1 < len(dense) else 127))
    np.savez(f"{folder}/weights.npz", scale=np.array(scale, np.float32), **arrays)
    return f"{folder}/weights.npz"


class Rivals:
    """Everybody's files, made once, and the contenders of a batch."""

    def __init__(self, folder, a):
        self.folder, self.a, self.missing = folder, a, {}
        calibration, self.test, self.labels = scaled_events(folder)
        self.net = prepare.jet_mlp()[:-1]
        self.events, self.due = f"{folder}/events.npy", self.net(torch.from_numpy(self.test[:EVENTS])).numpy()
        np.save(self.events, self.test[:EVENTS])
        self.weights = weights(folder, self.net, calibration)
        f = prepare.Folder(folder, "jet", self.net, self.test[:1])
        self.onnx, (self.qdq, self.nncf) = f.onnx, prepare.rivals_int8(folder, f, calibration)
        self.compress("int8", "quantize:bits=8")
        self.compress("small", "trigger:target_latency=1ms")  # a target that always holds: the first candidate
        self.sources = {name: self.generate(name, model) for name, model in
                        (("float32", self.onnx), ("int8", f"{folder}/int8.h5"), ("small", f"{folder}/small.h5"))}
        self.hls(f.torch)

    def compress(self, name, method):
        data = f"{self.folder}/jets.h5:train"
        self.must(self.a.pquant, "compress", self.onnx, "-o", f"{self.folder}/{name}.h5", "--head", "logits", "--method", method,
                  "--calib", data, "--train", data)

    def must(self, *command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def generate(self, name, model):
        where, library, cc = f"{self.folder}/{name}", f"{self.folder}/{name}.so", [os.environ.get("CC", "cc"), "-O2"]
        self.must(self.a.pquant, "codegen", model, "-o", where, "--name", "jet", "--logits")
        self.must(*cc, f"{where}/jet.c", f"{where}/jet_test.c", "-o", f"{where}/test", "-lm")
        self.must(f"{where}/test")  # what the reference engine gave for stored events
        self.must(*cc, "-shared", "-fPIC", f"{where}/jet.c", "-o", library, "-lm")
        return library

    def hls(self, net):
        told = subprocess.run([self.a.hls_python, here / "hls.py", net, f"{self.folder}/hls", "ap_fixed<16,6>"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True) if self.a.hls_python else None
        if told is None or told.returncode != 0:
            self.missing[HLS] = "not there: hls4ml of tests/interop/requirements.txt does not install or run"
            return
        self.hls_version, self.hls_library, self.hls_function = told.stdout.split("\n")[-2].split()

    def contender(self, batch, rival, version, setting="1 thread", threads=1, env=None, **arguments):
        save = f"{self.folder}/{batch}.{rival}.{setting}.npy".replace(" ", "-")
        made = contest.Contender(rival, version, setting, here / "contender.py", {
            "library": self.a.library, "events": self.events, "batch": batch, "save": save, "threads": threads, "weights": self.weights,
            **arguments}, env)
        made.save = save
        return made

    def generated(self, batch, name, rival):
        return self.contender(batch, rival, "this tree", kind="source", source=self.sources[name], one="jet_run1", many="jet_runN")

    def runtimes(self, batch, what, onnx, model):
        """ONNX Runtime, and OpenVINO, which wants its batch fixed, on one thread and on two."""
        ir = f"{self.folder}/{what}-{batch}.xml"
        fixed = openvino.Core().read_model(model)
        fixed.reshape([batch, 16])
        openvino.save_model(fixed, ir, compress_to_fp16=False)
        ort = next(pathlib.Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so*"))
        vino = next(pathlib.Path(openvino.__file__).parent.glob("libs/libopenvino_c.so*"))
        for threads, word in ((1, "1 thread"), (2, "2 threads")):
            yield self.contender(batch, f"onnxruntime {what}", onnxruntime.__version__, word, threads, kind="ort",
                                 runtime=str(ort), model=onnx)
            yield self.contender(batch, f"openvino {what}", openvino.__version__.split("-")[0], word, threads, kind="vino",
                                 runtime=str(vino), model=ir)

    def libraries(self, batch, what):
        int8 = int(what != "f32")
        for rival, package, kind in (("oneDNN", "libdnnl2", "dnnl"), ("XNNPACK", "libxnnpack0", "xnn")):
            version = version_of("dpkg-query", "-W", "-f", "${Version}", package)
            yield self.contender(batch, f"{rival} {what}", version, kind=kind, int8=int8)

    def float32(self, batch):
        ours = [self.generated(batch, "float32", "pquant generated f32")]
        rivals = [self.contender(batch, "pquant engine float32", "this tree", kind="bench", engine="float32", model=self.onnx)]
        rivals += [*self.runtimes(batch, "f32", self.onnx, self.onnx), *self.libraries(batch, "f32")]
        # OpenBLAS does not always pick the kernels that are fastest on products this small.
        for core in ("", "HASWELL", "SKYLAKEX"):
            env = {"OPENBLAS_NUM_THREADS": "1", **({"OPENBLAS_CORETYPE": core} if core else {})}
            rivals.append(self.contender(batch, "OpenBLAS f32", version_of("pkg-config", "--modversion", "openblas"),
                                         f"1 thread, {core or 'its own'} kernels", kind="blas", env=env))
        self.torch = prepare.Folder(self.folder, f"torch-{batch}", self.net, self.test[:batch])
        return ours, rivals + [c for c in self.torch.rivals() if c.rival == "torch f32"]

    def int8(self, batch):
        ours = [self.generated(batch, "int8", "pquant generated int8")]
        rivals = [self.contender(batch, "pquant engine int8", "this tree", kind="bench", engine="int8", model=f"{self.folder}/int8.h5"),
                  self.generated(batch, "small", f"pquant generated {SMALL}")]
        rivals += [*self.runtimes(batch, "int8", self.qdq, self.nncf), *self.libraries(batch, "int8")]
        if HLS not in self.missing:
            rivals.append(self.contender(batch, HLS, self.hls_version, kind="source", source=self.hls_library, one=self.hls_function))
        return ours, rivals

    def held(self, c):
        """How its outputs stand to float32; ends the comparison where they do not."""
        if c.rival == "torch f32":
            return f"off by {self.within(c, self.torch.off(c) / max(1.0, float(np.abs(self.torch.due).max()))):.1e}"
        y = np.load(c.save)
        if "f32" in c.rival or "float32" in c.rival:
            return f"off by {self.within(c, float(np.abs(y - self.due).max()) / max(1.0, float(np.abs(self.due).max()))):.1e}"
        same = float((y.argmax(1) == self.due.argmax(1)).mean())
        if SMALL in c.rival:  # another network: its own accuracy counts
            right = [100 * float((z.argmax(1) == self.labels[:EVENTS]).mean()) for z in (y, self.due)]
            return f"{100 * same:.2f} % the same decisions, accuracy {right[0]:.2f} %, of the whole network in float32 {right[1]:.2f} %"
        if same < LEAST_AGREEMENT["fixed" if c.rival == HLS else "int8"]:
            sys.exit(f"{c.rival}: only {100 * same:.1f} % of its decisions are those of float32")
        return f"{100 * same:.2f} % the same decisions"

    def within(self, c, off):
        if not off <= LARGEST_DIFFERENCE:
            sys.exit(f"{c.rival}: outputs are off by {off:.3g} of the largest, more than {LARGEST_DIFFERENCE:g}")
        return off

    def note(self, mine, rival):
        return f"ours {self.held(mine)}, rival {self.held(rival)}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def why_not(rival):
    needs = "not there: needs libxnnpack-dev and libpthreadpool-dev, or " if rival.startswith("XNNPACK") else ""
    return f"{needs}did not start: PQUANT_BENCH_LOUD=1 shows why"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("csv")
    parser.add_argument("--pquant", required=True)
    parser.add_argument("--hls-python", default="")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("PQUANT_BENCH_ROUNDS", 15)))
    a = parser.parse_args()
    random.seed(1)
    torch.manual_seed(1)
    torch.set_grad_enabled(False)
    rows, fair = [], True
    with tempfile.TemporaryDirectory() as folder:
        files = Rivals(folder, a)
        for what, make in (("float32", files.float32), ("int8", files.int8)):
            for batch in (1, 16, 256):
                work = f"jet MLP {what} batch {batch}"
                ours, rivals = make(batch)
                found, calm = contest.compare(work, ours, rivals, a.rounds, files.note)
                there = {row[2] for row in found}
                gone = {c.rival: why_not(c.rival) for c in rivals if c.rival not in there}
                gone |= files.missing if what == "int8" else {}
                rows, fair = rows + found + [[work, "", rival] + [""] * 6 + [why] for rival, why in gone.items()], fair and calm
                turns.write(a.csv, rows)
    sys.exit(0 if fair else "a rival was more than 15 % off its time alone: repeat on a quieter machine")


if __name__ == "__main__":
    main()
