#!/usr/bin/env bash
# The quickstart's sweep: the same table from one and two jobs, from gcc and clang, and
# after a SIGKILL in the middle; a second run computes nothing and is quick.
. "$(dirname "$0")/common.sh"
config=configs/quickstart.yaml
run() { "$1" run $config --phase eval -o "$2" --jobs "$3" -q >"$2.log" 2>&1 || fault "run into $2: $(tail -3 "$2.log")"; }
begun=$(date +%s%N)
run "$pquant" "$work/one" 1
whole=$((($(date +%s%N) - begun) / 1000000))
run "$pquant" "$work/two" 2
cmp "$work/one/table.csv" "$work/two/table.csv" || fault "--jobs 1 and --jobs 2 give different tables"
if [ -x "$root/build-clang/src/cli/pquant" ]; then
  run "$root/build-clang/src/cli/pquant" "$work/clang" 2
  cmp "$work/one/table.csv" "$work/clang/table.csv" || fault "gcc and clang builds give different tables"
fi

setsid "$pquant" run $config --phase eval -o "$work/killed" -q >/dev/null 2>&1 &
victim=$!
for _ in $(seq 600); do
  [ "$(ls "$work/killed/cells" 2>/dev/null | grep -c 'json$')" -ge 4 ] && break
  sleep 0.02
done
kill -9 -- -$victim 2>/dev/null
wait $victim 2>/dev/null
done_before=$(ls "$work/killed/cells" | grep -c 'json$')
[ "$done_before" -ge 4 ] || fault "only $done_before cells before the kill"
find "$work/killed/cells" -name '*.json' -newermt '2000-01-01' -printf '%p %T@\n' | sort >"$work/times"
"$pquant" run $config --phase eval -o "$work/killed" --format json -q >"$work/resumed" || fault "resume failed"
cached=$(/usr/bin/python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["cached"])' "$work/resumed")
[ "$cached" -ge "$done_before" ] || fault "$done_before cells were done, $cached taken as cached"
while read -r file time; do
  [ "$(find "$file" -printf '%T@')" = "$time" ] || fault "computed again: $file"
done <"$work/times"
[ -z "$(find "$work/killed" -name '*.tmp.*')" ] || fault "temporary files of the killed run are left"
cmp "$work/one/table.csv" "$work/killed/table.csv" || fault "a killed and resumed sweep gives another table"

start=$(date +%s%N)
expect 0 "0 computed" "$pquant" run $config --phase eval -o "$work/one" -q
took=$((($(date +%s%N) - start) / 1000000))
echo "second run: $took ms, the first $whole ms"
[ "$took" -lt $((whole / 3)) ] || fault "a run with nothing to do took $took ms, the whole one $whole ms"

expect 5 "30 cells: 30 done, 0 failed, 0 missing; latency: 0 of 60" "$pquant" status "$work/one"
expect 5 "cells are missing" "$pquant" run $config --phase eval -o "$work/part" --only 'svd*' -q
expect 4 "no cell was selected" "$pquant" run $config --phase eval -o "$work/none" --only 'nothing*' -q
expect 0 "records copied" "$pquant" merge "$work/part" "$work/one"
cmp <(cut -d, -f1-20 "$work/one/table.csv") <(cut -d, -f1-20 "$work/part/table.csv") || fault "merge gives another table"
expect 0 "table.csv" "$pquant" run $config -P rank=8 --phase eval -o "$work/axis" --format json -q
for file in table.csv table.md table.tex report.html plots/roc.svg plots/roc.png plots/accuracy_bytes.svg; do
  [ -s "$work/one/$file" ] || fault "no $file"
done

# A latency with two threads is measured on unpinned threads, and the record says so.
expect 5 "cells are missing" "$pquant" run $config --only 'reference*' -S latency.threads=2 -S latency.batch=[64] -o "$work/threads" -q
/usr/bin/python3 - "$work/threads" <<'EOF' || fault "no latency with two threads in the records"
import glob, json, sys
found = [t for f in glob.glob(sys.argv[1] + "/cells/*.json") for t in [json.load(open(f))] if '"threads": 2' in json.dumps(t)]
sys.exit(0 if found and "latency.b64.throughput_s" in json.dumps(found) else 1)
EOF
done_testing
