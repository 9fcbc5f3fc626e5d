#!/usr/bin/env python3
"""Lines that inputs reach, of an lcov file by file and room: lines.py LCOV. Nothing is left out: what only downloads
and writes is counted as not reached too. Exit 1 when less than 80 % of all is reached.
"""
import collections
import pathlib
import sys

ROOMS = ("formats", "data", "io")
WANTED = 0.8


def main(path):
    lines, name = collections.defaultdict(dict), ""
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith("SF:"):
            name = line.split("/src/")[-1]
        elif line.startswith("DA:") and name.split("/")[0] in ROOMS:
            number, count = line[3:].split(",")[:2]
            lines[name][int(number)] = max(lines[name].get(int(number), 0), int(count))
    sums = collections.defaultdict(lambda: [0, 0])
    for name in sorted(lines):
        for key in (name, name.split("/")[0], "all"):
            sums[key][0] += sum(c > 0 for c in lines[name].values())
            sums[key][1] += len(lines[name])
    for key in [*sorted(lines), *ROOMS, "all"]:
        hit, n = sums[key]
        print(f"{key:32} {hit:5} of {n:5} lines {100 * hit / max(n, 1):5.1f} %")
    hit, n = sums["all"]
    return 0 if n > 0 and hit >= WANTED * n else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
