#!/usr/bin/env bash
# What a sweep costs beside its cells, in seconds of the processor (of all processes): 96 trivial cells planned, run and
# merged, 1,000 that are cached, 100,000 planned, 10,000 merged. Other work on the machine adds to them, so that of three
# tries the least counts. Each writes to folders of its own: a file system may search long among what was just deleted.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
make_jets d.csv
config() { # CELLS
  cat <<END
schema: pquant/1
name: n$1
model: {zoo: jsc-mlp}
dataset: {file: d.csv, splits: {train: [0, 0.4], val: [0.4, 0.5], test: [0.5, 1]}}
metrics: [accuracy, size]
pipelines:
  reference: []
  prune: {stages: [{prune: {target_sparsity: \$s}}], sweep: {s: {linspace: [0.05, 0.95, $(($1 - 1))]}}}
output: {plots: [], html: false}
END
}
for n in 96 1000 10000 100000; do config $n >c$n.yaml; done
# seconds COMMAND…: of the processor.
seconds() {
  /usr/bin/python3 - "$@" <<'END'
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=open("log", "w")).returncode
use = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{use.ru_utime + use.ru_stime:.2f}")
sys.exit(code)
END
}
# within SECONDS WHAT FOLDERS COMMAND…: the folders are made anew for each try, an earlier one's become NAME.1 and so on.
within() {
  local most=$1 what=$2 folders=$3 folder try took least=1000
  shift 3
  for try in 1 2 3; do
    for folder in $folders; do
      [ ! -e "$folder" ] || mv "$folder" "$folder.$try"
    done
    took=$(seconds "$@") || fault "$what: $(tail -3 log)"
    least=$(awk "BEGIN {print $took < $least ? $took : $least}")
    awk "BEGIN {exit !($least < $most)}" && break
  done
  echo "$what: $least s"
  awk "BEGIN {exit !($least < $most)}" || fault "$what took $least s, not below $most"
}
within 3 "96 cells: plan, run, merge" "r96 m96" bash -c "'$pquant' plan c96.yaml && '$pquant' run c96.yaml -o r96 -q && '$pquant' merge m96 r96"
"$pquant" run c1000.yaml -o r1000 -q >log 2>&1 || fault "$(tail -2 log)"
within 0.5 "1,000 cells, cached" "" "$pquant" run c1000.yaml -o r1000 -q
within 2 "100,000 cells: plan" "" "$pquant" plan c100000.yaml
# Records of 10,000 cells, made of one that was computed: merging asks for no more of them than form and key.
"$pquant" run c10000.yaml -o part -q --only reference >log 2>&1
"$pquant" plan c10000.yaml --format json >plan.json
/usr/bin/python3 - <<'END'
import glob, json
record = json.load(open(glob.glob("part/cells/*.json")[0]))
for cell in json.load(open("plan.json")):
    record["key"] = record["keys"]["eval"] = cell["eval"]
    record["label"], record["order"], record["pipeline"] = cell["label"], cell["order"], cell["pipeline"]
    json.dump(record, open(f"part/cells/{cell['eval']}.json", "w"))
END
within 5 "10,000 cells: merge" all "$pquant" merge all part
[ "$(ls all/cells | wc -l)" = 10000 ] || fault "not all cells were merged"
done_testing
