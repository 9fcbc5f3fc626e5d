#!/usr/bin/env bash
# Time and memory grow as docs/benchmarks.md says: the benchmark `growth` at small sizes, in seconds of the
# processor and bytes, so that a busy machine changes little.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 benchmarks/growth/growth.py --pquant "$pquant" --short || fault "a limit of growth is crossed"

# A limit that is crossed is told, by the exit code too.
out=$(/usr/bin/python3 - 2>&1 <<'P'
import sys
sys.path.insert(0, "benchmarks/growth")
import growth
g = growth.Growth("", None, True, "")
g.slope("quadratic", [100, 400], [1.0, 16.0], "s", 1.2)
g.slope("linear", [100, 400], [1.0, 4.0], "s", 1.2)
print(g.crossed)
P
)
[[ $out == *"slope  2  1.2  CROSSED"*"slope  1  1.2  holds"*$'\n1' ]] || fault "crossing: $out"
done_testing
