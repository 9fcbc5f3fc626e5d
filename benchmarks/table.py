"""Prints a CSV file as an aligned table; the last column runs free."""

import csv
import sys

with open(sys.argv[1], newline="") as f:
    rows = list(csv.reader(f))
widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
for row in rows:
    print("  ".join(value.ljust(width) for value, width in zip(row, widths)).rstrip())
