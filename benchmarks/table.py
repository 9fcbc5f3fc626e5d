"""Prints a comparison's CSV file as an aligned table, or with --markdown as docs/benchmarks.md has it."""

import csv
import sys

with open(sys.argv[1], newline="") as f:
    rows = list(csv.reader(f))
if "--markdown" in sys.argv:
    print("| work | threads | rival | ours / s | rival / s | ratio (95 %) | note |\n|---|---|---|---|---|---|---|")
    for work, threads, rival, version, ours, theirs, ratio, lo, hi, note in rows[1:]:
        print(f"| {work} | {threads} | {rival} {version} | {ours} | {theirs} | **{ratio}** ({lo}–{hi}) | {note} |")
else:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(value.ljust(width) for value, width in zip(row, widths)).rstrip())
