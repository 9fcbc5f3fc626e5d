#!/usr/bin/env python3
"""Line coverage of an lcov file by room and file: lines.py LCOV. Lines that no file of somebody else's leads to, by
function, are named below with the reason and counted both ways. Exit 1 when less than 80 % of all lines is reached.
"""
import collections
import pathlib
import sys

#: file: why its lines are not reached by reading files
APART = {
}
WANTED = 0.8


def main(path):
    lines, name = collections.defaultdict(dict), None
    for line in pathlib.Path(path).read_text().splitlines():
        if line.startswith("SF:"):
            name = line.split("/src/")[-1]
        elif line.startswith("DA:"):
            number, count = line[3:].split(",")[:2]
            lines[name][int(number)] = max(lines[name].get(int(number), 0), int(count))
    rooms = collections.defaultdict(lambda: [0, 0])
    for name in sorted(lines):
        hit, n = sum(c > 0 for c in lines[name].values()), len(lines[name])
        print(f"{name:32} {hit:5} of {n:5} lines {100 * hit / n:5.1f} %{'  ' + APART[name] if name in APART else ''}")
        for key in [name.split("/")[0], "all"] + ([] if name in APART else ["all but those"]):
            rooms[key][0] += hit
            rooms[key][1] += n
    for room, (hit, n) in rooms.items():
        print(f"{room:32} {hit:5} of {n:5} lines {100 * hit / n:5.1f} %")
    hit, n = rooms["all"]
    return 0 if hit >= WANTED * n else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
