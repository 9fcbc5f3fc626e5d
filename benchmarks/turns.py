"""Statistics and the table of comparisons in which contenders take turns."""

import csv
import math
import statistics

COLUMNS = "work,threads,rival,rival_version,ours_s,rival_s,ratio,ratio_lo,ratio_hi,note".split(",")


def median_interval(values):
    """Median and the order statistics that hold it with at least 95 %."""
    values, n = sorted(values), len(values)
    k, below = 0, 0.0
    while k < n // 2:
        below += math.comb(n, k) / 2**n
        if below > 0.025:
            break
        k += 1
    return statistics.median(values), values[max(k - 1, 0)], values[min(n - k, n - 1)]


def row(work, threads, rival, version, ours, theirs, note):
    """A row of the table from the seconds of both, turn by turn."""
    ratio, lo, hi = median_interval([b / a for a, b in zip(ours, theirs)])
    return [work, threads, rival, version, f"{statistics.median(ours):.4g}", f"{statistics.median(theirs):.4g}",
            f"{ratio:.3g}", f"{lo:.3g}", f"{hi:.3g}", note]


def write(path, rows):
    with open(path, "w", newline="") as f:
        csv.writer(f).writerows([COLUMNS] + rows)
