"""Runs the chunks of a sample: in parallel, resumable, with progress.

Chunk c depends on (seed, c) only, so the sample does not depend on the number
of jobs or on interruptions. A finished chunk is a file; it is written under a
temporary name and renamed, so that a chunk file is always complete.
"""

import hashlib
import json
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np


class Plan:
    """What makes a sample: its recipe, size, seed and options.

    @param make_chunk  function (n, seed, chunk, options) -> dict of arrays;
                       must be importable by worker processes
    @param folder      where chunk files live
    """

    def __init__(self, make_chunk, folder, n, per_chunk, seed, options):
        self.make_chunk, self.folder = make_chunk, Path(folder)
        self.per_chunk, self.seed, self.options = per_chunk, seed, options
        self.sizes = [min(per_chunk, n - start) for start in range(0, n, per_chunk)]
        self._identity = {"n": n, "per_chunk": per_chunk, "seed": seed, "options": options,
                          "recipe": _recipe()}

    def path(self, chunk):
        return self.folder / f"chunk-{chunk:05d}.npz"

    def open_folder(self):
        """Makes the folder, or drops chunks of another size, seed, option or recipe."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / "plan.json"
        text = json.dumps(self._identity, sort_keys=True)
        if not note.exists() or note.read_text() != text:
            for old in self.folder.glob("chunk-*"):
                old.unlink()
            note.write_text(text)

    def load(self):
        """All chunks in order: yields (chunk index, dict of arrays)."""
        for chunk in range(len(self.sizes)):
            with np.load(self.path(chunk)) as data:
                yield chunk, {k: data[k] for k in data.files}

    def remove(self):
        for old in self.folder.glob("*"):
            old.unlink()
        self.folder.rmdir()


def _recipe():
    """Digest of this folder's code and requirements: what else a chunk depends on."""
    digest = hashlib.sha256()
    here = Path(__file__).resolve().parent
    for path in sorted([*here.glob("*.py"), here / "requirements.txt"]):
        if not path.name.startswith(("check_", "test_")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _work(make_chunk, n, seed, chunk, options, path):
    """One chunk, in a worker process: make it, write it, rename it."""
    data = make_chunk(n, seed, chunk, options)
    temporary = path.with_name(path.name + f".{os.getpid()}.tmp")
    with open(temporary, "wb") as out:
        np.savez(out, **data)
        out.flush()
        os.fsync(out.fileno())
    os.replace(temporary, path)
    return n


def _quiet_worker():
    """Workers leave Ctrl-C to the parent, and the FastJet banner to nobody."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())


def run(plan, jobs, unit):
    """Makes the missing chunks. On interruption finished chunks stay; then raises
    KeyboardInterrupt."""
    plan.open_folder()
    missing = [c for c in range(len(plan.sizes)) if not plan.path(c).exists()]
    done = sum(plan.sizes) - sum(plan.sizes[c] for c in missing)
    progress = Progress(sum(plan.sizes), done, unit)
    if not missing:
        return
    pool = ProcessPoolExecutor(max_workers=min(jobs, len(missing)), initializer=_quiet_worker)
    try:
        running = [
            pool.submit(_work, plan.make_chunk, plan.sizes[c], plan.seed, c, plan.options,
                        plan.path(c))
            for c in missing
        ]
        for finished in as_completed(running):
            progress.add(finished.result())
    except BaseException:
        _stop(pool)
        raise
    finally:
        progress.close()
    pool.shutdown()


def _stop(pool):
    """Ends the workers at once; their unfinished chunks are temporary files only."""
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()


class Progress:
    """One updating line on a terminal, else a plain line every 30 seconds (stderr)."""

    def __init__(self, total, done, unit):
        self._total, self._done, self._unit = total, done, unit
        self._start_done, self._start = done, time.monotonic()
        self._terminal, self._last = sys.stderr.isatty(), self._start
        if done:
            self._write(f"resuming: {done} of {total} {unit} are there")

    def _write(self, text):
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K{text}")
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def add(self, n):
        self._done += n
        now = time.monotonic()
        if not self._terminal and now - self._last < 30.0 and self._done < self._total:
            return
        self._last = now
        rate = (self._done - self._start_done) / max(now - self._start, 1e-9)
        left = (self._total - self._done) / rate
        share = 100.0 * self._done / self._total
        self._write(f"{self._done}/{self._total} {self._unit} ({share:.0f} %), "
                    f"{rate:.0f} {self._unit}/s, {_duration(left)} left")

    def close(self):
        if self._terminal:
            sys.stderr.write("\n")


def _duration(seconds):
    seconds = int(seconds + 0.5)
    if seconds < 60:
        return f"{seconds} s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
