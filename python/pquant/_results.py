"""Sweeps: the program, its progress, and what it leaves."""
from __future__ import annotations

import csv
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any

from ._call import ConfigError, Error, NotFoundError, path_bytes, whole


def executable() -> str:
    """Path of the program that the package brings."""
    here = os.path.dirname(os.path.abspath(__file__))
    found = [os.path.join(here, "pquant-program")]
    try:  # an editable installation leaves it in its build folder
        _native = importlib.import_module("._native", __package__)
        found.append(os.path.join(os.path.dirname(str(_native.__file__)), "pquant-program"))
    except ImportError:
        pass
    for path in found:
        if os.access(path, os.X_OK):
            return path
    raise NotFoundError(f"{found[0]}: the program of the package is not there", "not_found", "install the package again")


def _environment() -> dict[str, str]:
    """That of the program: a wheel brings its libraries in a folder beside the package."""
    site = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    libraries = os.path.join(site, "pquant_hep.libs")
    if not os.path.isdir(libraries):
        return dict(os.environ)
    before = os.environ.get("LD_LIBRARY_PATH")
    return {**os.environ, "LD_LIBRARY_PATH": libraries + (os.pathsep + before if before else "")}


_PLACED = re.compile(r"(.+?):(\d+):(\d+): ")  # "sweep.yaml:7:3: …", a problem of a file


def program(arguments: list[str], quiet: bool = True, cwd=None) -> str:
    """Runs `pquant ARGUMENTS` in a process of its own and gives what it prints. Ctrl-C ends it and its cells.

    What it says on the way goes to stderr unless `quiet`, but for why it failed: that is what the exception says.
    """
    child = subprocess.Popen([executable(), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd,
                             env=_environment())
    assert child.stdout is not None and child.stderr is not None
    out_pipe, err_pipe = child.stdout, child.stderr
    why: list[str] = []

    def forward():
        failed = False
        for raw in err_pipe:
            line = raw.decode("utf-8", "replace")
            if failed or line.startswith("pquant: error: ") or _PLACED.match(line):
                failed = failed or line.startswith("pquant: error: ")
                why.append(line)
            elif not quiet:
                sys.stderr.write(line)
                sys.stderr.flush()

    listener = threading.Thread(target=forward, daemon=True)
    listener.start()
    try:
        out = out_pipe.read()
        child.wait()
    except BaseException:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(0.4)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise
    listener.join(1)
    out_pipe.close()
    err_pipe.close()
    if child.returncode:
        raise _failure(child.returncode, why)
    if why and not quiet:
        sys.stderr.write("".join(why))
    return out.decode()


def _failure(code: int, why: list[str]) -> Error:
    """Of the lines that say so: all problems of files, else the sentence of the program."""
    message, hint = "", ""
    problems = [line.rstrip("\n") for line in why if _PLACED.match(line) and not line.startswith("pquant: error: ")]
    for line in why:
        if line.startswith("pquant: error: "):
            message = line.removeprefix("pquant: error: ").rstrip("\n")
        elif line.startswith("hint: "):
            hint = line[6:].rstrip("\n")
    message = "\n".join(problems) or message
    at = _PLACED.match(message)
    return {2: ConfigError}.get(code, Error)(message or f"pquant ended with exit code {code}",
                                             {2: "config", 3: "cells", 130: "interrupted"}.get(code, "run"), hint,
                                             at[1] if at else None, (int(at[2]), int(at[3])) if at else None)


class Results:
    """What a run left in a folder: one row a cell of `table.csv`, plots, one page."""

    def __init__(self, folder):
        self.folder = os.fspath(folder)
        self.path = os.path.join(self.folder, "table.csv")
        if not os.path.exists(self.path):
            raise NotFoundError(f"{self.path}: no such file", "not_found", "pquant.run() makes it", self.path)
        with open(self.path, encoding="utf-8", newline="") as file:
            self.rows = [{k: v if k in _TEXTS else _cell(v) for k, v in row.items()} for row in csv.DictReader(file)]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self):
        return iter(self.rows)

    def __getitem__(self, label) -> dict[str, Any]:
        if isinstance(label, int):
            return self.rows[label]
        for row in self.rows:
            if label in (row.get("label"), row.get("pipeline")):
                return row
        from ._methods import near
        labels = [str(r.get("label", r.get("pipeline"))) for r in self.rows]
        raise ConfigError(f"there is no cell '{label}'{near(label, labels)}")

    def to_pandas(self):
        """A pandas.DataFrame, one row a cell."""
        import pandas
        return pandas.DataFrame(self.rows)

    def plot(self, x: str = "stored_bytes", y: str = "accuracy", ax=None):
        """One metric against another, with intervals; matplotlib's axes."""
        import matplotlib.pyplot as plt
        if ax is None:
            ax = plt.subplots(figsize=(6.4, 4.4))[1]
        rows = [r for r in self.rows if isinstance(r.get(x), (int, float)) and isinstance(r.get(y), (int, float))]
        if not rows:
            from ._methods import near
            missing = next((m for m in (x, y) if m not in (self.rows[0] if self.rows else {})), x)
            raise ConfigError(f"no cell has a number '{missing}'{near(missing, self.rows[0] if self.rows else [])}")
        families: dict[str, list] = {}
        for r in rows:
            families.setdefault(str(r.get("pipeline", "")), []).append(r)
        for k, (name, cells) in enumerate(families.items()):
            cells.sort(key=lambda r: r[x])
            errors = [[c[y] - c.get(f"{y}_lo", c[y]) for c in cells], [c.get(f"{y}_hi", c[y]) - c[y] for c in cells]]
            ax.errorbar([c[x] for c in cells], [c[y] for c in cells], yerr=errors, label=name, capsize=2,
                        marker="osD^vP*X"[k % 8], linestyle="-" if len(cells) > 1 else "none", markersize=5, linewidth=1)
        ax.set_xlabel(x.replace("_", " "))
        ax.set_ylabel(y.replace("_", " "))
        if x.endswith("bytes"):
            ax.set_xscale("log")
        ax.grid(True, alpha=0.3)
        ax.legend(frameon=False, fontsize=8)
        return ax

    def _repr_html_(self) -> str:
        import html
        usual = ["label", "pipeline", "accuracy", "auc.macro", "stored_bytes", "macs"]
        keys = [k for k in usual if self.rows and k in self.rows[0]]
        head = "".join(f"<th>{html.escape(k)}</th>" for k in keys)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(_shown(r[k]))}</td>" for k in keys) + "</tr>" for r in self.rows)
        return f"<table><tr>{head}</tr>{body}</table>"

    def __repr__(self) -> str:
        return f"<pquant.Results {self.folder}: {len(self.rows)} cells>"


def _shown(value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)


#: columns that are names or sentences, whatever they look like
_TEXTS = {"pipeline", "label", "status", "error"}


def _cell(value: str):
    if value == "":
        return None
    if "_" in value:  # a number for Python alone
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    return value


def run(config: Any, *, output=None, jobs: int = 1, sets: dict[str, Any] | None = None, progress: bool = True,
        quiet: bool | None = None) -> Results:
    """Runs a sweep, as `pquant run` does, and gives its results; what is done already is not computed again.

    config: path of a configuration, or its text. output: results folder, else the configuration's. sets: changes,
    {"seeds.base": 7}. progress: on the terminal, or in the notebook's cell.
    """
    quiet = not progress if quiet is None else quiet
    arguments = ["run", "--format", "json", "--jobs", str(whole("jobs", jobs, 1024, 1))] + (["-o", os.fspath(output)] if output is not None else [])
    for key, value in (sets or {}).items():
        arguments += ["-S", f"{key}={value}"]
    if isinstance(config, str) and "\n" in config:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", encoding="utf-8") as file:
            file.write(config)
            file.flush()
            return _done(program([*arguments, file.name], quiet))
    return _done(program([*arguments, "--", os.fsdecode(path_bytes(config))], quiet))


def _done(out: str) -> Results:
    told = json.loads(out[out.index("{"):])
    return Results(os.path.dirname(told["table"]))


def main() -> None:
    """`python -m pquant`: the program in place of this process."""
    path = executable()
    sys.stdout.flush()
    os.execve(path, ["pquant", *sys.argv[1:]], _environment())
