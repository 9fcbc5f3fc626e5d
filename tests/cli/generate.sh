#!/usr/bin/env bash
# `data generate` makes real jets with Pythia in an environment of its own; same seed, same
# file; and the program reads what it made.
. "$(dirname "$0")/common.sh"
expect 2 "is not one of jets-hlf, jets-btag" "$pquant" data generate jets --events 5
expect 2 "--events: '' is not a whole number" "$pquant" data generate jets-hlf
if ! "$pquant" data generate jets-hlf --events 100 --seed 3 --jobs 2 -o "$work/a.h5" >"$work/log" 2>&1; then
  grep -q "pip could not install" "$work/log" && { echo "skipped: no network for the generator's packages"; exit 77; }
  fault "generate: $(tail -5 "$work/log")"
fi
expect 0 "g " "$pquant" data info "$work/a.h5"
expect 0 "16" "$pquant" data info "$work/a.h5" --format json
"$pquant" data generate jets-hlf --events 100 --seed 3 --jobs 1 -o "$work/b.h5" -q >/dev/null 2>&1 || fault "second run"
cmp "$work/a.h5" "$work/b.h5" || fault "the same seed gave another file"
"$pquant" data generate jets-btag --events 40 --seed 3 --jobs 2 -o "$work/t.h5" -q >"$work/log" 2>&1 ||
  fault "jets-btag: $(tail -5 "$work/log")"
expect 0 "track" "$pquant" data info "$work/t.h5"
# Formulas, signs, labels and reproducibility, with the environment that was just made.
python=${XDG_CACHE_HOME:-$HOME/.cache}/pquant/generate-$(sha256sum datasets/generate/requirements.txt | cut -c1-12)/bin/python3
"$python" datasets/generate/test_features.py >"$work/log" 2>&1 || fault "test_features: $(tail -20 "$work/log")"
# Terminated or killed, it leaves no process behind; chunks that are done are kept.
left() { grep -zl "$work/[k].h5" /proc/[0-9]*/cmdline 2>/dev/null | wc -l; }
for signal in TERM INT KILL; do
  env --default-signal=INT "$pquant" data generate jets-hlf --events 1000000 --seed 3 --jobs 2 -o "$work/k.h5" -q >"$work/log" 2>&1 &
  pid=$!
  for _ in $(seq 600); do [ "$(left)" -ge 3 ] && break; sleep 0.1; done
  [ "$(left)" -ge 3 ] || fault "the generator did not start: $(tail -3 "$work/log")"
  kill -s $signal $pid
  wait $pid
  code=$?
  [ $signal = KILL ] || [ $code = 130 ] || fault "$signal gave exit code $code"
  for _ in $(seq 600); do [ "$(left)" = 0 ] && break; sleep 0.1; done
  [ "$(left)" = 0 ] || fault "$signal left $(left) processes"
done
done_testing
