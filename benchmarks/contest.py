"""Contenders that take turns, each in a process of its own.

A contender is a script that is started with one JSON argument. It gets ready with its own
defaults, prints a line {"about": …}, and answers each line of its input with a line
{"seconds": of one call, …}. Between its turns it is stopped (SIGSTOP), so that no thread of one
spins beside another; a turn begins with calls that are not counted. Settings of one rival (threads, eager or
compiled) are contenders of their own, and the best of them stands in the table. Afterwards each winner runs
once more alone. Where its two times are more than 15 % apart, it and ours take turns anew, up to three times in
all; if they still are, the comparison fails.
"""

import copy
import ctypes
import json
import os
import random
import select
import signal
import statistics
import subprocess
import sys
import time

import turns

PR_SET_PDEATHSIG = 1  # a stopped process would outlive us
ALONE = 1.15  # the most that a time in company and one alone may be apart
TAKES = 3
READY_S = 240
LIBC = ctypes.CDLL(None)


class Contender:
    def __init__(self, rival, version, setting, script, arguments, env=None):
        self.rival, self.version, self.setting = rival, version, setting
        self.start = [sys.executable, str(script), json.dumps(arguments)], env or {}
        self.process, self.times, self.last = None, [], {}

    def fresh(self):
        """The same contender, not started and without times."""
        again = copy.copy(self)
        again.process, again.times, again.last = None, [], {}
        return again

    def open(self):
        command, env = self.start
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "KMP_", "GOMP_", "OPENBLAS_"))}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE if not os.environ.get("PQUANT_BENCH_LOUD") else None,
                                        text=True, bufsize=1, env={**clean, **env}, start_new_session=True,
                                        preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        try:
            self.about = self.read(READY_S)["about"]
        except (EOFError, TimeoutError):
            self.close()
            return False
        self.signal(signal.SIGSTOP)
        return True

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def read(self, seconds):
        end = time.monotonic() + seconds
        while True:
            if not select.select([self.process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError
            line = self.process.stdout.readline()
            if not line:
                raise EOFError
            if line.startswith("{"):
                return json.loads(line)

    def turn(self):
        self.signal(signal.SIGCONT)
        self.process.stdin.write("turn\n")
        self.last = self.read(READY_S)
        self.signal(signal.SIGSTOP)
        self.times.append(self.last["seconds"])

    def median(self):
        return statistics.median(self.times)

    def close(self):
        if self.process is not None:
            for number in (signal.SIGCONT, signal.SIGKILL):
                try:
                    self.signal(number)
                except ProcessLookupError:
                    pass
            self.process.wait()
            self.process = None


def take_turns(contenders, rounds):
    """Runs them; those that do not start are left out and named."""
    dead = [c for c in contenders if not c.open()]
    alive = [c for c in contenders if c not in dead]
    try:
        for _ in range(rounds):
            order = list(alive)
            random.shuffle(order)
            for c in order:
                c.turn()
    finally:
        for c in alive:
            c.close()
    return alive, [f"{c.rival}, {c.setting}" for c in dead]


def best_of(contenders):
    """The best setting of each rival, in order of appearance."""
    best = {}
    for c in contenders:
        if c.rival not in best or c.median() < best[c.rival].median():
            best[c.rival] = c
    return list(best.values())


def by_threads(ours, rival, alive):
    """The ratios of a rival's time to ours where both run on as many threads, in words."""
    words, rivals = [], [c for c in alive if c.rival == rival]
    for threads in dict.fromkeys(c.setting.split(",")[0] for c in rivals):
        times = [min((c.median() for c in side if c.setting.split(",")[0] == threads), default=None) for side in (ours, rivals)]
        if None not in times:
            words.append(f"{threads} each {times[1] / times[0]:.3g}")
    return ", ".join(words)


def alone(contender, rounds):
    """Median time of a contender with no other process of ours there."""
    again = contender.fresh()
    if not again.open():
        return float("inf")
    for _ in range(rounds):
        again.turn()
    again.close()
    return again.median()


def undisturbed(mine, rival, rounds):
    """The two with times that company did not change, the quotient that shows it, and the takes it needed."""
    for take in range(1, TAKES + 1):
        quotient = rival.median() / alone(rival, max(3, rounds // 3))
        if 1 / ALONE <= quotient <= ALONE or take == TAKES:
            return mine, rival, quotient, take
        mine, rival = mine.fresh(), rival.fresh()
        take_turns([mine, rival], rounds)


def compare(work, ours, rivals, rounds, note, alike=lambda mine, rival: True):
    """Rows of the table, losses first, and whether nobody was slowed down by the company. Each rival meets the
    fastest of ours that are alike."""
    alive, dead = take_turns(ours + rivals, rounds)
    found, fair = [], True
    for winner in best_of([c for c in alive if c in rivals]):
        meets = [c for c in alive if c in ours and alike(c, winner)]
        if not meets:
            continue
        each = by_threads(meets, winner.rival, alive)
        mine, c, with_others, takes = undisturbed(min(meets, key=Contender.median), winner, rounds)
        fair = fair and 1 / ALONE <= with_others <= ALONE
        text = (f"best: {c.setting}; ours: {mine.setting}; " + (f"{each}; " if each else "")
                + f"{note(mine, c)}; {with_others:.2f} times its time alone; {rounds} rounds"
                + (f", take {takes}" if takes > 1 else "") + (f"; did not start: {', '.join(dead)}" if dead else ""))
        found.append(turns.row(work, c.setting.split()[0], c.rival, c.version, mine.times, c.times, text))
        print("  " + "  ".join(str(v) for v in found[-1]), file=sys.stderr, flush=True)
    return sorted(found, key=lambda row: float(row[6])), fair


def serve(about, call, sample_s=0.03, warm_s=0.02, runs=1):
    """The contender's side: answers turns with the seconds of a call, or of one of the `runs` that a call makes."""
    print(json.dumps({"about": about}), flush=True)
    for _ in sys.stdin:
        calls, start = 0, time.perf_counter()
        while time.perf_counter() - start < warm_s or calls == 0:
            call()
            calls += 1
        each = (time.perf_counter() - start) / calls
        calls = max(1, round(sample_s / each))
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(calls):
            call()
        print(json.dumps({"seconds": (time.perf_counter() - start) / (calls * runs),
                          "cpu": (time.process_time() - cpu) / (calls * runs)}), flush=True)
