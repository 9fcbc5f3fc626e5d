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
done_testing
