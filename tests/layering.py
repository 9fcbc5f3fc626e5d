#!/usr/bin/env python3
"""Checks that rooms of src/ include only what src/meson.build's table allows.

usage: layering.py SRC ROOM:USED,USED… …     ("cli:*" may use every room)
"""
import pathlib
import re
import sys

# Libraries and the rooms that alone may include their headers.
SOLE = {"hdf5.h": "io cli", "yaml.h": "io", "cblas.h": "linalg kernels exec", "lapacke.h": "linalg",
        "sqlite3.h": "store cli", "oneapi/": "exec", "curl/": "data cli", "nettle/": "core cli data"}


def main(src, edges):
    allowed = {room: set(used.split(",")) | {room} for room, used in (e.split(":") for e in edges)}
    faults = []
    for path in sorted(pathlib.Path(src).glob("*/*.[ch]")):
        room = path.parent.name
        for number, line in enumerate(path.read_text().splitlines(), 1):
            own = re.match(r'\s*#\s*include\s+"(\w+)/', line)
            lib = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
            if own and "*" not in allowed[room] and own.group(1) not in allowed[room]:
                faults.append(f"{path}:{number}: room '{room}' may not use '{own.group(1)}'")
            for name, users in SOLE.items():
                if lib and lib.group(1).startswith(name) and room not in users.split():
                    faults.append(f"{path}:{number}: <{lib.group(1)}> belongs to {users}")
    print("\n".join(faults) or f"layering holds in {len(allowed)} rooms")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
