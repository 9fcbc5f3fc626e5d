"""How time and memory grow with what is given: growth.py --pquant PROGRAM [--csv OUT] [--short] [--only TEXT]

Times are of the processor (all threads and children), so that a busy machine changes little; memory is the most that
the program and its children held at a time, what they share counted once. A slope is that of the last step in
logarithms, 1 where twice as much takes twice as long; what a run costs without any events is taken off first. A limit
that is crossed makes the exit code 1."""

import argparse
import csv
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np

from inputs import FEATURES, Inputs

MB = 1 << 20
FREE_MB = 64  # beside what grows
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Run:
    """One command, run to its end: processor seconds, and peak bytes where asked for."""

    def __init__(self, command, memory=False):
        self.bytes = 0
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            while memory and os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
                self.bytes = max(self.bytes, held(process.pid))
                time.sleep(0.002)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.cpu = usage.ru_utime + usage.ru_stime
            if process.returncode != 0:
                log.seek(0)
                sys.exit(f"growth.py: exit code {process.returncode}: {' '.join(command)}\n{log.read().decode()}")


def held(pid):
    """Proportional bytes of a process and its children."""
    total, pids = 0, [pid]
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as f:
            pids += f.read().split()
    except OSError:
        pass
    for one in pids:
        try:
            with open(f"/proc/{one}/smaps_rollup") as f:
                total += sum(int(line.split()[1]) * 1024 for line in f if line.startswith("Pss:"))
        except OSError:
            pass
    return total


class Growth:
    def __init__(self, pquant, inputs, short, only):
        self.pquant, self.inputs, self.short, self.only = pquant, inputs, short, only
        self.rows, self.crossed = [], 0

    def cpu(self, *arguments, best=2):
        return min(Run([self.pquant, *map(str, arguments)]).cpu for _ in range(best))

    def memory(self, *arguments):
        return Run([self.pquant, *map(str, arguments)], memory=True).bytes

    def note(self, work, size, value, unit, what="", has=None, limit=None):
        """A row; `has` must not exceed `limit`."""
        bad = limit is not None and not has <= limit
        self.crossed += bad
        self.rows.append([work, str(size), f"{value:.4g}", unit, what, "" if has is None else f"{has:.3g}",
                          "" if limit is None else f"{limit:.3g}", "" if limit is None else "CROSSED" if bad else "holds"])
        print("  ".join(self.rows[-1]), flush=True)

    def slope(self, work, sizes, values, unit, limit, base=0.0):
        """Rows of all sizes, the slope of the last step in the last."""
        for size, value in zip(sizes[:-1], values):
            self.note(work, size, value, unit)
        least = 0.02  # seconds: what is less is noise
        a, b = (max(v - base, least) for v in values[-2:])
        self.note(work, sizes[-1], values[-1], unit, "slope", math.log(b / a) / math.log(sizes[-1] / sizes[-2]), limit)

    def sizes(self, largest, step=4, n=3):
        """Sizes that grow by `step`; of a short run all are 16 times smaller."""
        largest = largest // 16 if self.short else largest
        return [largest // step**i for i in reversed(range(n))]

    # Evaluation

    def eval_events(self):
        net = self.inputs.network([FEATURES, 64, 32, 32, 5], "jets")
        sizes = self.sizes(4000000)
        data = [self.inputs.events(n) for n in sizes]

        def cpu(threads):
            return [self.cpu("model", "eval", *net, "--data", f"{d}:test", "--threads", threads, "-q") for d in data]

        one, two = cpu(1), cpu(2)
        self.slope("eval events, 1 thread", sizes, one, "s", 1.2)
        self.slope("eval events, 2 threads", sizes, two, "s", 1.2)
        self.note("eval events, 2 threads", sizes[-1], two[-1] / one[-1], "of 1 thread's work", "ratio", two[-1] / one[-1], 1.4)
        for d, n in zip(data, sizes):
            scores = n * (5 + 1 + 1) * 4  # outputs, labels, weights
            used = self.memory("model", "eval", *net, "--data", f"{d}:test", "--threads", 2, "-q")
            self.note("eval memory", n, used / MB, "MB", f"of scores + {FREE_MB} MB", used / (scores + FREE_MB * MB), 1.4)

    def classes(self):
        sizes, events = self.sizes(2000), 2000 if self.short else 20000
        cpu = []
        for n in sizes:
            net = self.inputs.network([FEATURES, n], f"classes-{n}")
            cpu.append(self.cpu("model", "eval", *net, "--data", f"{self.inputs.events(events, classes=n)}:test", "-q"))
        self.slope(f"eval classes of {events} events", sizes, cpu, "s", 1.3)

    def layers(self):
        sizes = self.sizes(6400)
        data, cpu = self.inputs.events(64), []
        for n in sizes:
            net = self.inputs.network([FEATURES] * n + [5], f"layers-{n}")
            cpu.append(self.cpu("model", "eval", *net, "--data", f"{data}:test", "-q"))
        self.slope("eval layers", sizes, cpu, "s", 1.3)

    def model_memory(self):
        data = self.inputs.events(64)
        for mb in ([8, 32, 128] if self.short else [32, 128, 512]):
            width = int((mb * MB / 4 / 8) ** 0.5)
            net = self.inputs.network([FEATURES] + [width] * 9 + [5], f"model-{mb}")
            size = os.path.getsize(net[0])
            used = self.memory("model", "eval", *net, "--data", f"{data}:test", "--threads", 1, "-q")
            # A layer of a Keras file is there twice while it is turned; below 64 MB weights are packed ahead.
            files = 1.3 if size > 64 * MB else 2.3
            self.note("eval model memory", f"{mb} MB", used / MB, "MB", f"of {files} files + 40 MB",
                      used / (files * size + 40 * MB), 1)

    # Files

    def csv_import(self):
        for form, limit in (("%.6g", 1.6), ("%.17g", 1.0)):
            sizes = self.sizes(800000)
            cpu = [self.cpu("data", "import", self.inputs.table(n, form), "-o", self.inputs.path("out.h5"), "--gzip", 0, "-q",
                            best=3) for n in sizes]
            path = self.inputs.table(sizes[-1], form)
            self.slope(f"import of CSV {form}", sizes, cpu, "s", 1.15)
            more = (cpu[-1] - cpu[0]) * sizes[-1] / (sizes[-1] - sizes[0])  # without what a run costs anyway
            rival = min(self.loadtxt(path) for _ in range(3))
            self.note(f"import of CSV {form}", sizes[-1], os.path.getsize(path) / MB / more, "MB/s", "of numpy.loadtxt's time",
                      more / rival, None if self.short else limit)  # a short run is too much of both's start-up

    @staticmethod
    def loadtxt(path):
        start = time.process_time()
        np.loadtxt(path, delimiter=",", skiprows=1, dtype="f4")
        return time.process_time() - start

    def chunks(self):
        """All rows in one chunk, which is unpacked once."""
        sizes = self.sizes(1600000)
        self.slope("data info, rows of one chunk", sizes,
                   [self.cpu("data", "info", self.inputs.events(n, chunks=n)) for n in sizes], "s", 1.2)

    def features(self):
        sizes, events = self.sizes(20000), 500
        files = [self.inputs.events(events, 2, n, ("train", "val", "test"), 50) for n in sizes]
        self.slope(f"data info, features of 3 x {events} events", sizes, [self.cpu("data", "info", f) for f in files], "s", 1.2)
        for n, f in zip(sizes, files):
            used = self.memory("data", "info", f)
            row = 50 * n * 4  # bytes of the chunks that a row crosses
            self.note("data info memory", n, used / MB, "MB", f"of 3 rows of chunks + {FREE_MB} MB",
                      used / (3 * row + FREE_MB * MB), 1.5)

    # Training and sweeps

    def training(self):
        sizes, cpu = self.sizes(800000), []
        for n in sizes:
            data = self.inputs.events(n, splits=("train", "val"))
            config = self.inputs.text("train.yaml", f"""schema: pquant/1
name: growth
model: {{zoo: jsc-mlp}}
dataset: {{file: {data}, train: train, validation: val}}
train: {{epochs: 1, batch: 1024}}
output: {{model: {self.inputs.path("trained.h5")}}}
""")
            cpu.append(self.cpu("train", config, "-q"))
        self.slope("training, events of one epoch", sizes, cpu, "s", 1.2)

    def sweep(self):
        sizes = self.sizes(1600)
        net, data = self.inputs.network([FEATURES, 64, 32, 32, 5], "jets"), self.inputs.events(2000, splits=("test",))
        cost = {"plan": [], "run": [], "run again, cached": [], "run --only, cached": [], "merge": []}
        page = 0
        for n in sizes:
            folder = self.inputs.path(f"results-{n}")
            values = ", ".join(f"{0.05 + 0.9 * i / n:.6f}" for i in range(n))
            config = self.inputs.text(f"sweep-{n}.yaml", f"""schema: pquant/1
name: growth
model: {{weights: {net[0]}, arch: {net[2]}}}
dataset: {{file: {data}, test: test}}
metrics: [accuracy, size]
pipelines:
  reference: []
  prune: {{stages: [{{prune: {{target_sparsity: $s}}}}], sweep: {{s: [{values}]}}}}
output: {{dir: {folder}}}
""")
            shutil.rmtree(folder, ignore_errors=True)
            cost["plan"].append(self.cpu("plan", config, "-q", best=1))
            cost["run"].append(self.cpu("run", config, "-q", best=1))
            cost["run again, cached"].append(self.cpu("run", config, "-q", best=1))
            time.sleep(3)  # what was just written is not trusted to stay as it is
            self.cpu("run", config, "-q", best=1)
            least = self.cpu("run", config, "-q")
            cost["run --only, cached"].append(self.cpu("run", config, "-q", "--only", "reference"))
            merged = self.inputs.path("merged")
            shutil.rmtree(merged, ignore_errors=True)
            cost["merge"].append(self.cpu("merge", merged, folder, "-q", best=1))
            page = os.path.getsize(os.path.join(folder, "report.html"))
        for what, values in cost.items():
            self.slope(f"sweep, cells: {what}", sizes, values, "s", 1.35)
        self.note("sweep, cells: run --only, cached", sizes[-1], cost["run --only, cached"][-1], "s", "of the time of all",
                  cost["run --only, cached"][-1] / least, None if self.short else 0.6)
        cell = 1000 * (cost["run"][-1] - cost["run"][-2]) / (sizes[-1] - sizes[-2])
        self.note("sweep, cells: one more", sizes[-1], cell, "ms", "ms", cell, None if self.short else 14)
        self.note("sweep, cells: page", sizes[-1], page / 1e6, "MB", "MB", page / 1e6, 2.5)

    def all(self):
        for case in (self.eval_events, self.classes, self.layers, self.model_memory, self.csv_import, self.chunks,
                     self.features, self.training, self.sweep):
            if self.only in case.__name__:
                case()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pquant", required=True)
    parser.add_argument("--csv")
    parser.add_argument("--short", action="store_true", help="sizes 16 times smaller")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="pquant-growth-")
    try:
        growth = Growth(os.path.abspath(arguments.pquant), Inputs(folder), arguments.short, arguments.only)
        growth.all()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.csv:
        with open(arguments.csv, "w", newline="") as f:
            csv.writer(f).writerows([["work", "size", "value", "unit", "measure", "is", "limit", "verdict"], *growth.rows])
    if growth.crossed:
        sys.exit(f"{growth.crossed} limits are crossed")


if __name__ == "__main__":
    main()
