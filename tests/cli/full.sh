#!/usr/bin/env bash
# A disk that is full at any write of a sweep (75), and a folder that becomes read-only at any time (2): one clear
# sentence, and where there is room again the same command goes on, with the same results.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
mkdir disk
if [ "$(id -u)" != 0 ] || ! mount -t tmpfs -o size=16m,nr_inodes=100000 tmpfs disk 2>/dev/null; then
  echo "skipped: full disk (needs root and mount)"
  exit 77
fi
trap 'umount "$work/disk" 2>/dev/null; chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
make_jets d.csv
jet_sweep >c.yaml <<'END'
pipelines:
  reference: []
  prune: {stages: [{prune: {target_sparsity: $s}}], sweep: {s: [0.1, 0.3, 0.5]}}
  tuned: {stages: [{svd: {rank: 4}}, {finetune: {epochs: 1}}, {quantize: {bits: $b}}], sweep: {b: [4, 8]}}
output: {plots: [roc]}
END
"$pquant" run c.yaml -o whole -q >log 2>&1 || fault "run: $(tail -2 log)"
used=$(du -sk whole | cut -f1) files=$(find whole | wc -l)

# run_again WHAT REASON CODE: a run that may find no room; then one that does.
stopped=0
run_again() {
  "$pquant" run c.yaml -o disk/out -q >log 2>&1
  local code=$?
  if [ $code != 0 ]; then
    stopped=$((stopped + 1))
    [ $code = "$3" ] || fault "$1: exit code $code: $(tail -3 log)"
    grep -q "^pquant: error: .*$2" log || fault "$1: no reason: $(tail -3 log)"
    [ "$(grep -c '^pquant: error' log)" = 1 ] || fault "$1: more than one sentence: $(tail -3 log)"
    [ "$3" = 2 ] || [ -z "$(find disk -name '*.tmp.*')" ] || fault "$1: half-written files: $(find disk -name '*.tmp.*')"
  fi
  mount -o remount,rw,size=16m,nr_inodes=100000 disk
  expect 0 "0 failed" "$pquant" run c.yaml -o disk/out -q
  cmp whole/table.csv disk/out/table.csv || fault "$1: another table"
  diff <(cd whole/cells && ls) <(cd disk/out/cells && ls) || fault "$1: other records"
  rm -rf disk/out
}
for part in $(seq 0 16); do
  mount -o "remount,size=$(((used * part / 16 + 4) / 4 * 4))k" disk
  run_again "$part/16 of the bytes" "\(No space left on device\|disk\)" 75
done
for part in $(seq 1 12); do
  mount -o "remount,nr_inodes=$((files * part / 12 + 1))" disk
  run_again "$part/12 of the files" "\(No space left on device\|disk\)" 75
done
[ $stopped -ge 20 ] || fault "only $stopped of 29 runs found no room"

# Read-only from a moment on.
for count in 0 1 3 5; do
  "$pquant" run c.yaml -o disk/out -q >log 2>&1 &
  victim=$!
  for _ in $(seq 300); do
    [ "$(ls disk/out/cells 2>/dev/null | grep -c 'json$')" -ge $count ] && mount -o remount,ro disk 2>/dev/null && break
    sleep 0.002
  done
  wait $victim
  code=$?
  [ $code = 0 ] || [ $code = 2 ] || fault "read-only after $count cells: exit code $code: $(tail -3 log)"
  [ $code = 0 ] || grep -q "Read-only file system" log || fault "read-only after $count cells: $(tail -3 log)"
  run_again "read-only" "Read-only file system" 2
done
# Results that are whole are read where nothing can be written.
"$pquant" run c.yaml -o disk/out -q >log 2>&1
sleep 3 # until files are trusted by their times
"$pquant" run c.yaml -o disk/out -q >log 2>&1
mount -o remount,ro disk
expect 0 "6 cached" "$pquant" run c.yaml -o disk/out -q
mount -o remount,rw disk
echo "$stopped runs were stopped"
done_testing
