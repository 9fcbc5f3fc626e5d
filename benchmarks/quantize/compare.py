"""int8 ResNet-8: pquant's `int8` engine against its own float32, oneDNN called bare, ONNX Runtime
(f32 and QDQ int8), OpenVINO (f32, bf16, int8 by NNCF) and PyTorch, each a process (../contest.py).

Models are calibrated on the same random images: times do not depend on values, and accuracy is
for configs/resnet8-int8.yaml to show.
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

LARGEST_DIFFERENCE = 0.25  # of our int8 probabilities from f32 ones, on random images
CALIBRATION = 300


def ours_int8(pquant, weights, images, folder):
    data, out = f"{folder}/images.h5", f"{folder}/int8.h5"
    with h5py.File(data, "w") as f:
        f["x"] = images.transpose(0, 2, 3, 1)
        f["y"] = np.arange(len(images), dtype=np.uint8) % 10
    subprocess.run([pquant, "compress", weights, "-o", out, "--method", "quantize:bits=8", "--calib", data],
                   check=True, stdout=subprocess.DEVNULL)
    return out


def contenders(f, a, batch, int8, qdq, ir):
    found = [*f.ours(a.library, a.weights, "float32"),
             f.contender("oneDNN bare", "2.6.3", "1 thread", what="bare", library=a.library, batch=batch, threads=1)]
    for threads in (1, 2):
        word = f"{threads} thread" + "s" * (threads - 1)
        found += [f.contender("onnxruntime QDQ int8", onnxruntime.__version__, word, what="onnx", model=qdq, threads=threads),
                  f.contender("openvino int8 (nncf)", openvino.__version__.split("-")[0], word, what="openvino", model=ir, threads=threads, mode="")]
    return f.ours(a.library, int8, "int8"), found + f.rivals()


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
    images = (torch.rand(CALIBRATION, 3, 32, 32) * 255).numpy()
    rows, fair = [], True
    with tempfile.TemporaryDirectory() as folder:
        int8 = ours_int8(a.pquant, a.weights, images, folder)
        for batch in (1, 64):
            f = prepare.Folder(folder, f"resnet8-{batch}", prepare.resnet8(a.weights), images[:batch])
            ours, rivals = contenders(f, a, batch, int8, *prepare.rivals_int8(folder, f, images))

            def note(mine, rival):
                if not f.off(mine) <= LARGEST_DIFFERENCE:
                    sys.exit(f"our int8 is off float32 by {f.off(mine):.3g}")
                other = f.off(rival)
                return (f"ours: {mine.about}; probabilities off f32 by {f.off(mine):.1e}"
                        + (f", rival's by {other:.1e}" if other is not None else f"; bare: {rival.about}")
                        + f"; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")

            found, calm = contest.compare(f"ResNet-8 int8 batch {batch}", ours, rivals, a.rounds, note)
            rows, fair = rows + found, fair and calm
            turns.write(a.csv, rows)
    sys.exit(0 if fair else "a rival was more than 15 % off its time alone: repeat on a quieter machine")


if __name__ == "__main__":
    main()
