"""int8 of ResNet-8 and of the jet tagger: pquant's `int8` engine against its own float32, oneDNN called bare
(ResNet-8), ONNX Runtime (f32 and QDQ int8), OpenVINO (f32, bf16, int8 by NNCF) and PyTorch, each a process
(../contest.py).

Models are calibrated on the same random inputs: times do not depend on values, and accuracy is
for configs/resnet8-int8.yaml and configs/jsc-quantize.yaml to show.
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
import openvino
import onnxruntime
import torch

import contest
import prepare
import turns

LARGEST_DIFFERENCE = 0.25  # of our int8 probabilities from f32 ones, on random inputs
CALIBRATION = 300
BARE = "ResNet-8"  # whose work bare.c does


def ours_int8(pquant, model, events, outputs, out):
    """A model file with weights and activations of eight bits, calibrated on channels-first events."""
    data = f"{out}.events.h5"
    with h5py.File(data, "w") as f:
        f["x"] = events.transpose(0, 2, 3, 1) if events.ndim == 4 else events
        f["y"] = np.arange(len(events), dtype=np.uint8) % outputs
    subprocess.run([pquant, "compress", model, "-o", out, "--method", "quantize:bits=8", "--calib", data],
                   check=True, stdout=subprocess.DEVNULL)
    return out


def rivals(f, a, work, file, batch, qdq, ir):
    found = f.ours(a.library, file, "float32")
    if work == BARE:
        found.append(f.contender("oneDNN bare", "2.6.3", "1 thread", what="bare", library=a.library, batch=batch, threads=1))
    for threads in (1, 2):
        word = f"{threads} thread" + "s" * (threads - 1)
        found += [f.contender("onnxruntime QDQ int8", onnxruntime.__version__, word, what="onnx", model=qdq, threads=threads),
                  f.contender("openvino int8 (nncf)", openvino.__version__.split("-")[0], word, what="openvino", model=ir, threads=threads, mode="")]
    return found + f.rivals()


def note_of(f):
    def note(mine, rival):
        if not f.off(mine) <= LARGEST_DIFFERENCE:
            sys.exit(f"our int8 is off float32 by {f.off(mine):.3g}")
        other = f.off(rival)
        return (f"ours: {mine.about}; probabilities off f32 by {f.off(mine):.1e}"
                + (f", rival's by {other:.1e}" if other is not None else f"; bare: {rival.about}")
                + f"; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")

    return note


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("csv")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--pquant", required=True)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("PQUANT_BENCH_ROUNDS", 15)))
    a = parser.parse_args()
    random.seed(1)
    torch.manual_seed(1)
    torch.set_grad_enabled(False)
    works = [("jet MLP 16-64-32-32-5", prepare.jet_mlp(), prepare.JETS, torch.randn(max(CALIBRATION, 1024), 16), (1, 1024)),
             (BARE, prepare.resnet8(a.weights), a.weights, torch.rand(CALIBRATION, 3, 32, 32) * 255, (1, 64))]
    rows, fair = [], True
    with tempfile.TemporaryDirectory() as folder:
        for work, model, file, events, batches in works:
            events = events.numpy()
            for batch in batches:
                f = prepare.Folder(folder, f"{work.split()[0]}-{batch}", model, events[:batch])
                qdq, ir = prepare.rivals_int8(folder, f, events[:CALIBRATION])
                source = f.onnx if file == prepare.JETS else file  # without the scaler, as everybody's
                int8 = ours_int8(a.pquant, source, events[:CALIBRATION], f.outputs, f"{folder}/int8.h5")
                found, calm = contest.compare(f"{work} int8 batch {batch}", f.ours(a.library, int8, "int8"),
                                              rivals(f, a, work, file, batch, qdq, ir), a.rounds, note_of(f))
                rows, fair = rows + found, fair and calm
                turns.write(a.csv, rows)
    sys.exit(0 if fair else "a rival was more than 15 % off its time alone: repeat on a quieter machine")


if __name__ == "__main__":
    main()
