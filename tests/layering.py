#!/usr/bin/env python3
"""Checks that rooms of src/ include only what src/meson.build's table allows, that no files
of `exec` and `train` need each other in a circle, and that layer kinds are named in few files.

usage: layering.py SRC ROOMS     (the build's rooms.txt: lines ROOM:USED,USED…; "cli:*" may use every room)
"""
import pathlib
import re
import sys

# Libraries and the rooms that alone may include their headers.
SOLE = {"hdf5.h": "io cli", "yaml.h": "io", "cblas.h": "linalg kernels exec", "lapacke.h": "linalg",
        "sqlite3.h": "store cli", "oneapi/": "exec", "curl/": "data cli", "nettle/": "core cli data"}


# What a layer kind is stands in its entry: its file, the list of words, and one that makes or reads it.
# Not counted: the structs of its attributes (layers/kinds.h), and its translation to C (codegen) and to and from the
# files of others (formats).
KINDS, MOST_FILES = ("gelu", "masked_pool", "tt_dense"), 3


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"", " ", text, flags=re.S)


def uses_of(src, room):
    """Which .c file of a room calls or names what another of them defines."""
    text = {p.name: without_comments(p.read_text()) for p in sorted((src / room).glob("*.c"))}
    home = {}
    for name, body in text.items():
        flat = re.sub(r"\{[^{}]*\}", "{}", body)
        while flat != body:
            body, flat = flat, re.sub(r"\{[^{}]*\}", "{}", flat)
        for m in re.finditer(r"^(?!static|typedef|extern|#|\s)[^;={}#]*?\b(pq_\w+)\s*(?:\([^;{}]*\)\s*\{|(?:\[[^\]]*\])?\s*=)", body, re.M):
            home[m.group(1)] = name
    return {name: {home[w] for w in re.findall(r"\bpq_\w+", body) if w in home} - {name}
            for name, body in text.items()}


def circles(src, room):
    """Files from which one comes back to themselves."""
    uses = uses_of(src, room)
    reach = {u: set(v) for u, v in uses.items()}
    for _ in uses:
        for u in reach:
            reach[u] = reach[u].union(*(uses[v] for v in reach[u]))
    rings = {frozenset(v for v in reach[u] if u in reach[v]) for u in reach if u in reach[u]}
    return [f"src/{room}: {', '.join(sorted(ring))} need each other in a circle" for ring in rings]


def named_too_often(src):
    files = [p for p in sorted(src.rglob("*")) if p.suffix in (".c", ".h", ".inc", ".build")
             and p.parent.name not in ("codegen", "formats") and p.name != "kinds.h"]
    for kind in KINDS:
        where = [str(p) for p in files if kind in p.read_text()]
        if len(where) > MOST_FILES:
            yield f"kind '{kind}' is named in {len(where)} files, not {MOST_FILES}: {', '.join(where)}"


def main(src, rooms):
    src, edges = pathlib.Path(src), pathlib.Path(rooms).read_text().split()
    allowed = {room: set(used.split(",")) | {room} for room, used in (e.split(":") for e in edges)}
    faults = []
    for path in sorted(src.glob("*/*.[ch]")):
        room = path.parent.name
        for number, line in enumerate(path.read_text().splitlines(), 1):
            own = re.match(r'\s*#\s*include\s+"(\w+)/', line)
            lib = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
            if own and "*" not in allowed[room] and own.group(1) not in allowed[room]:
                faults.append(f"{path}:{number}: room '{room}' may not use '{own.group(1)}'")
            for name, users in SOLE.items():
                if lib and lib.group(1).startswith(name) and room not in users.split():
                    faults.append(f"{path}:{number}: <{lib.group(1)}> belongs to {users}")
    faults += [f for room in ("exec", "train") for f in circles(src, room)]
    faults += named_too_often(src)
    print("\n".join(faults) or f"layering holds in {len(allowed)} rooms")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
