# What a run ends with when --only leaves cells alone, when it is interrupted outside its cells, and what it
# leaves of an earlier run.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
make_jets d.csv
jet_sweep "$halves" >c.yaml <<'END'
pipelines:
  reference: []
  svd: {stages: [{svd: {rank: $r}}], sweep: {r: [2, 4]}}
  bad: [{svd: {layers: nothing, rank: 2}}]
END
# --only: 4 when it matches nothing, whatever is cached; failures of others are not its own
expect 4 "no cell was selected" "$pquant" run c.yaml -o r --only 'nothing*' -q
expect 3 "1 of 4 cells failed" "$pquant" run c.yaml -o r -q
expect 4 "no cell was selected" "$pquant" run c.yaml -o r --only 'nothing*' -q
expect 5 "1 of 4 cells is missing" "$pquant" run c.yaml -o r --only 'svd*' -q
expect 3 "1 of 4 cells failed" "$pquant" run c.yaml -o r --only 'bad*' -q
expect 0 "0 failed" "$pquant" run c.yaml -o r -S 'pipelines.bad=[prune]' -q
expect 4 "no cell was selected" "$pquant" run c.yaml -o r -S 'pipelines.bad=[prune]' --only 'nothing*' -q
expect 0 "0 failed" "$pquant" run c.yaml -o r -S 'pipelines.bad=[prune]' --only 'svd*' -q

# a run that makes less removes what an earlier one made
for file in table.md table.tex report.html plots/roc.svg plots/roc.gp plots/accuracy_r.png; do
  [ -s "r/$file" ] || fault "no $file"
done
echo mine >r/plots/mine.txt
expect 0 "table.csv" "$pquant" run c.yaml -o r -S 'pipelines.bad=[prune]' -S 'output.tables=[csv]' -S 'output.plots=[roc]' \
  -S output.html=false -q
out=$("$pquant" run c.yaml -o r -S 'pipelines.bad=[prune]' -S 'output.tables=[csv]' -S 'output.plots=[roc]' -S output.html=false -q)
[[ $out != *report.html* ]] || fault "a page that is not made is printed: $out"
for file in table.md table.tex report.html plots/accuracy_r.png plots/accuracy_bytes.gp plots/accuracy_bytes.dat; do
  [ ! -e "r/$file" ] || fault "$file of an earlier run is left"
done
for file in table.csv plots/roc.svg plots/mine.txt; do
  [ -s "r/$file" ] || fault "$file is gone"
done
expect 0 "table.csv" "$pquant" run c.yaml -o r -S 'pipelines.bad=[prune]' -S 'output.plots=[]' -q
[ -z "$(find r/plots -name '*.svg')" ] || fault "plots that are not asked for are left: $(ls r/plots)"

# a signal while plan or tables are made: 130 (75 for TERM), and nothing half written is left
for delay in 0 0.02 0.05 0.1 0.2 0.4 0.6 0.8; do
  for signal in INT TERM; do
    rm -rf s
    "$pquant" run c.yaml -o s -S 'pipelines.bad=[prune]' -q >s.log 2>&1 &
    run=$!
    /usr/bin/python3 -c 'import os, signal, sys, time
pid = int(sys.argv[1])
while not os.path.realpath(f"/proc/{pid}/exe").endswith("/pquant"):
    time.sleep(0.001)
time.sleep(float(sys.argv[2]))
try:
    os.kill(pid, getattr(signal, "SIG" + sys.argv[3]))
except ProcessLookupError:
    pass' $run $delay $signal
    wait $run
    code=$?
    due=130
    [ $signal = INT ] || due=75
    [ $code = 0 ] || [ $code = $due ] || [[ $delay = 0* && $code -ge 128 && ! -e s/plan.json ]] ||
      fault "$signal after $delay s: exit code $code: $(cat s.log)"
    [ $code != $due ] || grep -q "interrupted by signal" s.log || fault "$signal after $delay s: $(cat s.log)"
    [ ! -e s ] || [ -z "$(find s -name '*.tmp*')" ] || fault "$signal after $delay s: $(find s -name '*.tmp*') is left"
  done
done
expect 0 "0 failed" "$pquant" run c.yaml -o s -S 'pipelines.bad=[prune]' -q
done_testing
