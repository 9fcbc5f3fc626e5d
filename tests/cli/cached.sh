#!/usr/bin/env bash
# A run that has nothing to compute reads no record twice and makes nothing again, but sees every change:
# of a record, of what was made of it, of the plan; and its cost grows with the number of cells, no faster.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
make_jets d.csv
config() { # FILE N: a reference and N pruned models
  jet_sweep "$halves" "accuracy, size" >"$1" <<END2
pipelines:
  reference: []
  prune: {stages: [{prune: {target_sparsity: \$s}}], sweep: {s: {linspace: [0.1, 0.9, $2]}}}
output: {dir: out$2}
END2
}
run() { "$pquant" run "$@" -q >log 2>&1 || fault "run $*: $(tail -3 log)"; }
made() { stat -c '%n %z' out3/table.* out3/results.sqlite out3/report.html out3/plots/* 2>/dev/null; }
config c.yaml 3
run c.yaml
cp out3/table.csv first.csv
sleep 3 # what was just written is not trusted to stay as it is
run c.yaml
made >before
run c.yaml
made >after
cmp before after || fault "made again without a reason: $(diff before after | head -3)"
grep -q "4 cells: 0 computed, 4 cached" log || fault "not cached: $(cat log)"
cmp out3/table.csv first.csv || fault "the table has changed"

# Of what is made and whole, --only shows what it names and what that is compared with.
made >before
run c.yaml --only 'prune s=0.5'
made >after
cmp before after || fault "made again for --only: $(diff before after | head -3)"
grep -q "4 cells: 0 computed, 4 cached, 0 failed" log || fault "--only: $(cat log)"
grep -q "^prune s=0.5" log && grep -q "^reference" log || fault "--only does not show its cells: $(cat log)"
grep -q "^prune s=0.[19]" log && fault "--only shows other cells: $(cat log)"

# Whoever changes a record, a result or the plan is noticed.
record=$(grep -l '"label": "prune s=0.9' out3/cells/*.json)
modified=$(stat -c %y "$record")
sed -i '0,/"value": 0\.[0-9]*/s//"value": 0.123456789/' "$record"
touch -d "$modified" "$record"
run c.yaml
grep -q "0.123456789" out3/table.csv || fault "a record changed by hand is not in the table"
rm "$record"
run c.yaml
grep -q "1 computed, 3 cached" log || fault "a record that is gone was not computed again: $(cat log)"
cmp out3/table.csv first.csv || fault "computed again, the table differs"
sleep 3
run c.yaml
for file in table.csv report.html plots/accuracy_bytes.svg results.sqlite; do
  rm out3/$file
  run c.yaml
  [ -s out3/$file ] || fault "$file was removed and is not made again"
  [[ $file == plots/* ]] && continue # a whole picture of the same data is left as it is
  echo >>out3/$file
  cp out3/$file spoilt
  run c.yaml
  cmp -s out3/$file spoilt && fault "$file was changed and is left so"
done
printf x | dd of=out3/records.index bs=1 seek=700 conv=notrunc 2>/dev/null
rm -f out3/.made
run c.yaml
cmp out3/table.csv first.csv || fault "a damaged index changes the table"
run c.yaml -S 'output.tables=[csv]'
[ ! -e out3/table.md ] || fault "another plan, and what it does not want is left"
# A run that died while it wrote, and two at once: the same table.
echo half >"out3/records.index.tmp.elsewhere.1"
echo half >out3/.made
run c.yaml & run c.yaml
wait
cmp out3/table.csv first.csv || fault "two at once give another table"

# 300 and 1200 cells of invented records: four times the cells, well below quadratic.
for n in 300 1200; do
  config c$n.yaml $n
  "$pquant" run c$n.yaml --only reference -q >log 2>&1
done
/usr/bin/python3 - "$pquant" <<'P' || fault "the cost of a cached run, above"
import copy, glob, json, resource, subprocess, sys, time
def cpu(n):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.argv[1], "run", f"c{n}.yaml", "-q"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
for n in (300, 1200):
    sample = json.load(open(glob.glob(f"out{n}/cells/*.json")[0]))
    for cell in json.load(open(f"out{n}/plan.json"))["cells"]:
        record = copy.deepcopy(sample)
        record.update(key=cell["eval"], label=cell["label"], order=cell["order"], pipeline=cell["pipeline"], axes=cell["axes"])
        record["metrics"]["accuracy"]["value"] = 0.2 + cell["order"] / 1e4
        json.dump(record, open(f"out{n}/cells/{cell['eval']}.json", "w"), indent=1)
time.sleep(3)
whole = {n: cpu(n) for n in (300, 1200)}
again = {n: cpu(n) for n in (300, 1200)}
least = {n: min(cpu(n) for _ in range(3)) for n in (300, 1200)}
print("CPU seconds of 300 and 1200 cells: first", whole, "then", least)
assert least[1200] < 8 * least[300], least
assert least[1200] < whole[1200], (least, whole)
P
done_testing
