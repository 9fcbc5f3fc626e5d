"""pquant's float32 engine against PyTorch, ONNX Runtime and OpenVINO on two networks, and its bf16 against
OpenVINO's.

Each contender is a process (../contest.py) with its own defaults; ours runs on one thread and on two.
Outputs are compared before anything is printed.
"""

import argparse
import os
import pathlib
import random
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent))

import torch

import contest
import prepare
import turns

LARGEST_DIFFERENCE = {"bf16": 0.2, "f32": 1e-4}  # of softmax outputs


def note(folder):
    def text(mine, rival):
        limit = LARGEST_DIFFERENCE["bf16" if "bf16" in rival.rival else "f32"]
        off = max(folder.off(mine), folder.off(rival))
        if not off <= limit:
            sys.exit(f"{rival.rival}: outputs differ by {off:.3g}, more than {limit:g}")
        return f"{mine.about}; outputs agree to {off:.1e}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"

    return text


def alike(mine, rival):
    """Whether they compute in the same numbers."""
    return ("bf16" in mine.rival) == ("bf16" in rival.rival)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("csv")
    parser.add_argument("--weights", default="")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("PQUANT_BENCH_ROUNDS", 15)))
    a = parser.parse_args()
    random.seed(1)
    torch.manual_seed(1)
    torch.set_grad_enabled(False)
    works = [("jet MLP 16-64-32-32-5", prepare.jet_mlp, prepare.JETS, batch, torch.randn(batch, 16)) for batch in (1, 1024)]
    if os.path.exists(a.weights):
        works += [("ResNet-8", lambda: prepare.resnet8(a.weights), a.weights, batch, torch.rand(batch, 3, 32, 32) * 255)
                  for batch in (1, 64)]
    else:
        print(f"no {a.weights}: ResNet-8 is left out; set PQUANT_RESNET8", file=sys.stderr)
    rows, fair = [], True
    with tempfile.TemporaryDirectory() as folder:
        for name, build, file, batch, x in works:
            f = prepare.Folder(folder, f"{name.split()[0]}-{batch}", build(), x.numpy())
            ours = f.ours(a.library, file, "float32") + f.ours(a.library, file, "bf16")
            found, calm = contest.compare(f"{name} batch {batch}", ours, f.rivals(), a.rounds, note(f), alike)
            rows, fair = rows + found, fair and calm
            turns.write(a.csv, rows)
    sys.exit(0 if fair else "a rival was more than 15 % off its time alone: repeat on a quieter machine")


if __name__ == "__main__":
    main()
