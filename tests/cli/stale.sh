# No result of one file stands under the key of another: files beside the one that is named, files put in
# place of others with equal size and times, also while a run goes on.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
cat >make.py <<'END'
import sys
import numpy as np
rng = np.random.default_rng(int(sys.argv[2]))
def idx(name, a):
    head = bytes([0, 0, 8, a.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in a.shape)
    open(name, "wb").write(head + a.astype(np.uint8).tobytes())
what = sys.argv[1]
if what == "images":
    idx("x-images-idx3-ubyte", rng.integers(0, 256, (400, 28, 28)))
if what in ("images", "labels"):
    idx("x-labels-idx1-ubyte", rng.integers(0, 10, 400))
if what == "csv":
    x, y = rng.normal(size=(4000, 16)), rng.integers(0, 5, 4000)
    with open(sys.argv[3], "w") as f:
        f.write(",".join(f"f{i}" for i in range(16)) + ",class\n")
        for row, c in zip(x, y):
            f.write(",".join(f"{v:+.6f}" for v in row) + ",gqwzt"[c + 1:c + 2].join([",", "\n"]))
END
make() { /usr/bin/python3 make.py "$@"; }
number() { /usr/bin/python3 -c 'import csv,sys; print(next(csv.DictReader(open(sys.argv[1])))["log_loss"])' "$1/table.csv"; }
old() { touch -d 2001-01-01 "$@"; }

# 1. the labels beside the images
make images 1
cat >idx.yaml <<'END'
schema: pquant/1
model: {zoo: fashion-mlp}
dataset: {file: x-images-idx3-ubyte}
metrics: [accuracy, log_loss]
pipelines: {reference: []}
output: {plots: [], html: false}
END
old x-*
sleep 3
expect 0 "1 computed" "$pquant" run idx.yaml -o idx -q
expect 0 "1 cached" "$pquant" run idx.yaml -o idx -q
first=$(number idx)
make labels 2
old x-labels*
sleep 3
expect 0 "1 computed" "$pquant" run idx.yaml -o idx -q
[ "$(number idx)" != "$first" ] || fault "other labels, the same log loss"
expect 0 "1 computed" "$pquant" run idx.yaml -o anew -q
[ "$(number idx)" = "$(number anew)" ] || fault "other labels give $(number idx) where $(number anew) is due"

# 2. a dataset and a model put in place of others: equal size, equal times
make csv 3 d.csv
make csv 4 e.csv
[ "$(stat -c %s d.csv)" = "$(stat -c %s e.csv)" ] || fault "the files differ in size"
cat >c.yaml <<'END'
schema: pquant/1
model: {weights: m.h5}
dataset: {file: d.csv, splits: {train: [0, 0.5], test: [0.5, 1]}}
metrics: [accuracy, log_loss, size]
pipelines:
  reference: []
  prune: {stages: [{prune: {target_sparsity: $s}}], sweep: {s: {linspace: [0.1, 0.9, 30]}}}
output: {plots: [], html: false}
END
for seed in 1 2; do
  printf 'schema: pquant/1\nmodel: {zoo: jsc-mlp}\nmetrics: [size]\npipelines: {reference: []}\nseeds: {base: %d}\noutput: {plots: [], html: false}\n' $seed >z.yaml
  "$pquant" run z.yaml -o zoo$seed -q >/dev/null
  cp zoo$seed/models/*.h5 m$seed.h5
done
[ "$(stat -c %s m1.h5)" = "$(stat -c %s m2.h5)" ] || fault "the models differ in size"
cp m1.h5 m.h5
cp d.csv d1.csv
old ./*.h5 ./*.csv
sleep 3
expect 0 "31 computed" "$pquant" run c.yaml -o due -q
expect 0 "31 cached" "$pquant" run c.yaml -o due -q
cp due/table.csv due.csv
for file in "m2.h5 m.h5 m1.h5" "e.csv d.csv d1.csv"; do
  read -r other is was <<<"$file"
  cp -p "$other" new && mv new "$is"
  expect 0 "31 computed" "$pquant" run c.yaml -o due -q
  expect 0 "31 computed" "$pquant" run c.yaml -o due --force -q
  cmp -s due/table.csv due.csv && fault "$other in place of $is changes nothing"
  cp -p "$was" new && mv new "$is"
  expect 0 "31 cached" "$pquant" run c.yaml -o due -q
  cmp due/table.csv due.csv || fault "$is is back, and the table is another"
done

# 3. the same while a run goes on: the cells after it fail, and are right when the old file is back
for file in "m2.h5 m.h5 m1.h5" "e.csv d.csv d1.csv"; do
  read -r other is was <<<"$file"
  cp -p "$other" new
  rm -rf during
  "$pquant" run c.yaml -o during -q >during.log 2>&1 &
  run=$!
  for _ in $(seq 1000); do
    [ "$(ls during/cells 2>/dev/null | grep -c 'json$')" -ge 3 ] && break
    sleep 0.01
  done
  mv new "$is"
  wait $run
  code=$?
  [ $code = 3 ] || fault "exit code $code, not 3, of a run whose $is was replaced: $(tail -3 during.log)"
  grep -q "$is: \(was replaced\|holds another model\)" during/cells/*.json || fault "no cell says that $is was replaced"
  cp -p "$was" new && mv new "$is"
  expect 0 "0 failed" "$pquant" run c.yaml -o during -q
  cmp during/table.csv due.csv || fault "$is replaced during the run and put back: another table"
done
done_testing
