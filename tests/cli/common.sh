# shellcheck shell=bash
# Helpers of the command-line tests: a scratch folder, the program, and expectations.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
pquant=${PQUANT:-$root/build-gcc/src/cli/pquant}
shared=${PQUANT_REAL_DATA:+$PQUANT_REAL_DATA/..}
shared=${shared:-$root/../shared}
work=$(mktemp -d)
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
cd "$root" || exit 1
faults=0

fault() { echo "FAULT: $(head -12 <<<"$*")"; faults=$((faults + 1)); }

# expect CODE TEXT COMMAND…: exit code and a text in what it prints (both channels).
expect() {
  local code=$1 text=$2 out got
  shift 2
  out=$("$@" 2>&1)
  got=$?
  [ "$got" = "$code" ] || fault "exit code $got, not $code: $*"$'\n'"$out"
  [[ $out == *"$text"* ]] || fault "no '$text' in what this printed: $*"$'\n'"$out"
  [[ $out != *"AddressSanitizer"* && $out != *"runtime error"* ]] || fault "sanitizer: $out"
}

# real_cifar FOLDER: writes cifar10-jpeg in the binary layout, the test images in the order of the
# files, which to_binary.py shuffles.
real_cifar() {
  /usr/bin/python3 "$shared/data/cifar10-jpeg/to_binary.py" "$1" && /usr/bin/python3 - "$1/test_batch.bin" <<'END'
import sys
import numpy as np
rows = np.fromfile(sys.argv[1], np.uint8).reshape(10000, 3073)
rng = np.random.default_rng(20261122)
rng.permutation(50000)
ordered = np.empty_like(rows)
ordered[rng.permutation(10000)] = rows
assert (np.diff(ordered[:, 0].astype(int)) >= 0).all()
ordered.tofile(sys.argv[1])
END
}

# rows_near TABLE POINTS <<<"LABEL=PERCENT…": accuracies of a table.csv, none farther off than POINTS.
rows_near() {
  /usr/bin/python3 -c '
import csv, sys
rows = {r["label"]: r for r in csv.DictReader(open(sys.argv[1]))}
bad = 0
for line in sys.stdin.read().split("\n"):
    if line.strip():
        label, due = line.rsplit("=", 1)
        have = 100 * float(rows[label]["accuracy"])
        print(f"{label}: {have:.2f}, due {due}")
        bad += round(abs(have - float(due)), 6) > float(sys.argv[2])
sys.exit(bad > 0)' "$1" "$2"
}

# published_near DIR POINTS: accuracies that the configuration publishes and that were computed, none of ours farther off.
published_near() {
  /usr/bin/python3 -c '
import csv, sys
rows = [r for r in csv.DictReader(open(sys.argv[1] + "/published.csv")) if r["metric"] == "accuracy" and r["ours"]]
bad = [r for r in rows if abs(float(r["ours"]) - float(r["published"])) > float(sys.argv[2]) / 100 + 1e-9]
for r in rows:
    print(r["cell"], r["ours"], "published", r["published"], r["agreement"])
sys.exit(not rows or bad != [])' "$1" "$2"
}

# make_jets FILE: a CSV of 500 events of noise, 16 features and the five classes of the shipped jet tagger.
make_jets() {
  /usr/bin/python3 - "$1" <<'END'
import sys
import numpy as np
rng = np.random.default_rng(1)
with open(sys.argv[1], "w") as f:
    f.write(",".join(f"f{i}" for i in range(16)) + ",class\n")
    for i in range(500):
        f.write(",".join(f"{v:.4f}" for v in rng.normal(size=16)) + "," + "gqwzt"[i % 5] + "\n")
END
}

# jet_sweep [SPLITS [METRICS]] <<<PIPELINES: the configuration of a sweep over the zoo's jet tagger and d.csv of make_jets.
halves='train: [0, 0.5], test: [0.5, 1]'
jet_sweep() {
  printf 'schema: pquant/1\nmodel: {zoo: jsc-mlp}\ndataset: {file: d.csv, splits: {%s}}\nmetrics: [%s]\n' \
    "${1:-train: [0, 0.4], val: [0.4, 0.5], test: [0.5, 1]}" "${2:-accuracy, auc, size}"
  cat
}

done_testing() {
  [ "$faults" = 0 ] || { echo "$faults faults"; exit 1; }
  exit 0
}
