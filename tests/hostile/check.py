#!/usr/bin/env python3
"""Opens hostile files by hostile_open and holds what each costs against what it is worth.

usage: check.py OPENER corpus FOLDER            the files of make.py, each with its message
       check.py OPENER mutations FOLDER COUNT [FIRST] [NAME]   COUNT structured mutations of a file of each format, from
                                                seed FIRST on, or of the one called NAME; the same seed
                                                is the same file
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


def mutations(opener, folder, first, count, only, budget):
    rows = {}
    for name, kind, path, seed in mutate.all_files(pathlib.Path(folder), first, count, only):
        answer = opener.ask(kind, path)
        row = rows.setdefault(name, [0, 0, 0.0, 0.0])
        if seed is None and answer["exit"] != 0:
            yield f"{kind} {name} is refused before it is changed: {answer['message']}"
        row[0], row[1] = row[0] + 1, row[1] + (answer["exit"] == 1)
        row[2], row[3] = max(row[2], answer["cpu_s"]), max(row[3], answer["memory_bytes"])
        for fault in faults_of(answer, budget):
            yield f"{kind} {pathlib.Path(path).name} (seed {seed}) {fault}: {answer['message']}"
    for name, row in rows.items():
        print(f"{name:16} {row[0]:6} opened, {row[1]:6} refused, slowest {row[2]:.2f} s, largest {row[3] / 1e6:3.0f} MB")
    print(f"{sum(row[0] for row in rows.values())} mutations of {len(rows)} formats")


def main(program, what, folder, *rest):
    budget = "--no-budget" not in rest
    start, opener = time.time(), Opener(program)
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    if what == "corpus":
        faults = list(corpus(opener, folder, budget))
    else:
        mutate.OPENER = program
        numbers = [int(n) for n in rest if n.isdigit()]
        only = [word for word in rest if not word.isdigit() and word[0] != "-"]
        faults = list(mutations(opener, folder, numbers[1] if len(numbers) > 1 else 0, numbers[0],
                                only[0] if only else None, budget))
    for fault in faults[:40]:
        print("FAULT:", fault)
    print(f"{what}: {len(faults)} faults, {time.time() - start:.0f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
