#!/usr/bin/env python3
"""Opens hostile files by hostile_open and holds what each costs against what it is worth.

usage: check.py OPENER corpus FOLDER            the files of make.py, each with its message
       check.py OPENER mutations FOLDER COUNT   COUNT structured mutations of a file of each format
       (--no-budget: only that nothing crashes, for a build with sanitizers)
"""
import json
import pathlib
import subprocess
import sys
import time

import mutate

FREE_BYTES, BYTES_FOR_A_BYTE, BYTES_A_SECOND = 64 << 20, 64, 1e6


class Opener:
    """A hostile_open that runs: one question, one answer."""

    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)

    def ask(self, kind, path):
        self.process.stdin.write(f"{kind} {path}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def faults_of(answer, budget):
    n = answer["bytes"]
    if answer["exit"] not in (0, 1):
        yield f"exit {answer['exit']}"
    if answer["exit"] == 1 and answer["message"] == "":
        yield "is refused without a message"
    if any(ord(c) < 32 for c in answer["message"]):
        yield "has a message that a terminal obeys"
    most = FREE_BYTES + BYTES_FOR_A_BYTE * n
    if budget and answer["memory_bytes"] > most:
        yield f"costs {answer['memory_bytes'] / 1e6:.0f} MB for {n:.0f} bytes"
    if budget and answer["cpu_s"] > max(1.0, n / BYTES_A_SECOND):
        yield f"costs {answer['cpu_s']:.2f} s for {n:.0f} bytes"


def corpus(opener, folder, budget):
    made = subprocess.run([sys.executable, pathlib.Path(__file__).with_name("make.py"), folder], check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    for line in made.splitlines():
        where, text = line.split("|", 1)
        kind, path = where.split(" ", 1)
        answer = opener.ask(kind, path)
        name = pathlib.Path(path).name
        for fault in faults_of(answer, budget):
            yield f"{kind} {name} {fault}: {answer['message']}"
        if text not in answer["message"]:
            yield f"{kind} {name}: no '{text}' in '{answer['message']}'"
        if text and answer["exit"] != 1:
            yield f"{kind} {name} is not refused"


def mutations(opener, folder, count, budget):
    slowest = largest = 0.0
    for kind, path, seed in mutate.all_files(pathlib.Path(folder), count):
        answer = opener.ask(kind, path)
        slowest, largest = max(slowest, answer["cpu_s"]), max(largest, answer["memory_bytes"])
        bad = list(faults_of(answer, budget))
        for fault in bad:
            yield f"{kind} {pathlib.Path(path).name} (seed {seed}) {fault}: {answer['message']}"
    print(f"slowest {slowest:.2f} s, largest {largest / 1e6:.0f} MB")


def main(program, what, folder, *rest):
    budget = "--no-budget" not in rest
    start, opener = time.time(), Opener(program)
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    if what == "corpus":
        faults = list(corpus(opener, folder, budget))
    else:
        faults = list(mutations(opener, folder, int(rest[0]), budget))
    for fault in faults[:40]:
        print("FAULT:", fault)
    print(f"{what}: {len(faults)} faults, {time.time() - start:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
