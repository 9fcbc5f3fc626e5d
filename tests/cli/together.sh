# Four runs at once in one folder, of two configurations, one of which has a cell that fails: each ends
# with its own exit code and prints its own table; what is left in the folder is of one of them.
# PQ_TOGETHER: how many times.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
make_jets d.csv
config() { # NAME LAST: a pipeline of that name, and one stage more
  jet_sweep "$halves" <<END
pipelines:
  reference: []
  $1: {stages: [{svd: {rank: \$r}}], sweep: {r: [2, 4]}}
  last: [$2]
output: {dir: out}
END
}
config ours prune >a.yaml
config theirs '{svd: {layers: nothing, rank: 2}}' >b.yaml
for config in a b; do
  "$pquant" run $config.yaml -o due-$config -q >/dev/null 2>&1
done

for turn in $(seq "${PQ_TOGETHER:-3}"); do
  rm -rf out
  runs=()
  for k in 1 2 3 4; do
    config=a
    [ $((k % 2)) = 0 ] && config=b
    "$pquant" run $config.yaml -q >$config$k.log 2>&1 &
    runs+=($!)
  done
  for k in 1 2 3 4; do
    wait "${runs[$((k - 1))]}"
    code=$?
    config=a own=ours other=theirs due=0
    [ $((k % 2)) = 0 ] && config=b own=theirs other=ours due=3
    [ $code = $due ] || fault "turn $turn, run $k of $config.yaml: exit code $code, not $due: $(cat $config$k.log)"
    grep -q "$own r=4" $config$k.log || fault "turn $turn, run $k of $config.yaml prints no table of its own: $(cat $config$k.log)"
    grep -q "$other" $config$k.log && fault "turn $turn, run $k of $config.yaml prints the table of the other: $(cat $config$k.log)"
    grep -q "could not draw" $config$k.log && fault "turn $turn, run $k: $(cat $config$k.log)"
  done
  whose=a
  grep -q theirs out/plan.json && whose=b
  cmp out/table.csv due-$whose/table.csv || fault "turn $turn: the table left is not that of $whose.yaml"
  for file in out/report.html out/plots/roc.svg out/plots/accuracy_bytes.png; do
    [ -s $file ] || fault "turn $turn: no $file"
  done
  [ $whose = a ] && grep -q theirs out/report.html && fault "turn $turn: the page is of both"
  [ -z "$(find out -name '*.tmp*')" ] || fault "turn $turn: temporary files are left: $(find out -name '*.tmp*')"
done
echo "${PQ_TOGETHER:-3} times four runs"
done_testing
