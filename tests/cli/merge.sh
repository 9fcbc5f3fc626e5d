#!/usr/bin/env bash
# Parts of a sweep merged give the table of the whole, whatever the order; what is missing, there twice or
# different is told, by the exit code too.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
make_jets d.csv
jet_sweep "$halves" >c.yaml <<END2
pipelines:
  reference: []
  prune: {stages: [{prune: {target_sparsity: \$s}}], sweep: {s: [0.1, 0.3, 0.5, 0.7]}}
END2
part() { "$pquant" run c.yaml -o "$1" --only "$2" -q >log 2>&1; [ $? = 5 ] || fault "run into $1: $(tail -2 log)"; }
"$pquant" run c.yaml -o whole -q >log 2>&1 || fault "run: $(tail -2 log)"
part a 'reference,*0.1'
part b '*0.3,*0.5'
part c '*0.5,*0.7'
expect 0 "5 records copied, 1 duplicates" "$pquant" merge abc a b c
expect 0 "5 records copied, 1 duplicates" "$pquant" merge cba c b a
for one in abc cba; do
  cmp whole/table.csv $one/table.csv || fault "$one: another table than the whole run's"
  [ "$(ls $one/models/*.h5 | wc -l)" = 5 ] && [ "$(ls $one/arrays/*.h5 | wc -l)" = 5 ] || fault "$one: models or curves are missing"
done
diff -r abc/cells cba/cells || fault "the records depend on the order"
expect 0 "0 records copied" "$pquant" merge abc b c a
expect 0 "0 computed, 5 cached" "$pquant" run c.yaml -o abc -q
expect 5 "missing: prune s=0.7" "$pquant" merge ab a b
expect 5 "1 of 5 cells is missing" "$pquant" merge ab a b

# Two values of one key: nothing is merged, each difference is told.
cp -r b other
for label in 0.3 0.5; do
  record=$(grep -l "\"label\": \"prune s=$label" other/cells/*.json)
  sed -i '0,/"value": 0\.[0-9]*/s//"value": 0.123456789/' "$record"
done
out=$("$pquant" merge bad b other 2>&1)
[ $? = 3 ] && [[ $out == *"b and other differ in "*"conflicts: 2, and nothing was merged"* ]] || fault "conflict: $out"
[ "$(grep -c '^b and other differ in ' <<<"$out")" = 2 ] || fault "not every conflict is told: $out"
[ ! -e bad/cells ] || fault "something was merged: $(ls bad/cells)"

# Another plan, and a damaged record that no other part has.
"$pquant" run c.yaml -P s=0.2 -o plan -q >log 2>&1
expect 2 "have different plans: cell 1 is not the same" "$pquant" merge plan a
expect 0 "copied" "$pquant" merge plan a --force
echo '{"half' >"$(grep -l '"label": "prune s=0.7' c/cells/*.json)"
expect 5 "1 damaged and left out" "$pquant" merge damaged a b c
expect 5 ".json:1:6: is not valid JSON" "$pquant" merge damaged a b c
expect 5 "records that cannot be read, as if missing: 1" "$pquant" status c
sed 's#pquant-record/1#pquant-record/2#' -i "$(grep -l '"label": "prune s=0.5' c/cells/*.json)"
expect 5 ".json: is not a record of schema pquant-record/1" "$pquant" merge version a c

# A cell that failed is no success, as in `run` and `status`; whole again, it is.
cp c.yaml f.yaml
echo '  never: [{svd: {rank: 6000}}]' >>f.yaml
for i in 0 1; do "$pquant" run f.yaml --shard $i/2 -o f$i -q >log 2>&1 || fault "shard $i: $(tail -2 log)"; done
expect 3 "1 of 6 cells failed; their reasons are in the report" "$pquant" merge failed f0 f1
expect 3 "1 of 6 cells failed" "$pquant" merge failed -q

# Killed at any moment, it goes on; temporary files do not stay.
for ms in 5 20 40 80; do
  rm -rf killed
  "$pquant" merge killed a b c >/dev/null 2>&1 & victim=$!
  sleep "0.0$ms" && kill -9 $victim 2>/dev/null
  wait $victim 2>/dev/null
  "$pquant" merge killed a b cba >/dev/null 2>&1
  diff -r killed/cells cba/cells || fault "killed after $ms ms, and other records"
done
done_testing
