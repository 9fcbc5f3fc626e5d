#!/usr/bin/env bash
# pquant latency: models against each other on an engine and as generated code, targets, and what is refused.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

model=datasets/models/jsc-mlp.h5
export XDG_CACHE_HOME=$work/cache TMPDIR=$work/tmp && mkdir "$TMPDIR"
expect 0 "engine float32, batch 4" "$pquant" latency "$model" --batch 4
expect 0 "idle_1ms" "$pquant" latency "$model" --cold 5
expect 2 "--cold" "$pquant" latency "$model" --cold -1
expect 0 "met" "$pquant" latency "$model" --target 10s
expect 1 "missed" "$pquant" latency "$model" --target 0.1ns
"$pquant" latency "$model" "$model" --format json --target 1h >"$work/two.json" || fault "two models"
/usr/bin/python3 - "$work/two.json" <<'END' || fault "the JSON of two models is not what it should be"
import json, sys
rows = json.load(open(sys.argv[1]))
assert len(rows) == 2
for r in rows:
    assert r["engine"] == "float32" and r["batch"] == 1 and r["threads"] == 1 and r["met"] is True
    assert 0 < r["p50_s"] <= r["p90_s"] <= r["p99_s"] <= r["p999_s"]
    assert 0 < r["throughput_lo"] <= r["throughput_s"] <= r["throughput_hi"] and r["chain_s"] > 0
    assert len(r["samples_s"]) >= 2 and isinstance(r["noisy"], bool)
END
if command -v "${CC:-cc}" >/dev/null; then
  "$pquant" compress "$model" -o "$work/int8.h5" --method quantize --calib datasets/jets-hlf.h5:val -q || fault "no int8"
  expect 0 "engine generated" "$pquant" latency "$model" "$work/int8.h5" --engine generated --logits
  expect 0 "flushed" "$pquant" latency "$work/int8.h5" --engine generated --logits --cold 20
fi
expect 2 "the compiler '/nowhere/cc' cannot be started" env CC=/nowhere/cc "$pquant" latency "$model" --engine generated
printf '#!/bin/sh\necho "no room for this" >&2\nexit 3\n' >"$work/cc" && chmod +x "$work/cc"
expect 75 "failed with code 3: no room for this" env CC="$work/cc" "$pquant" latency "$model" --engine generated
expect 2 "--target: '5 apples' is no time" "$pquant" latency "$model" --target "5 apples"
expect 2 "--threads: generated code runs in one thread" "$pquant" latency "$model" --engine generated --threads 2
expect 2 "unknown engine 'fast'" "$pquant" latency "$model" --engine fast
expect 2 "missing.h5" "$pquant" latency "$work/missing.h5"
[ -z "$(ls "$TMPDIR")" ] || fault "left in the folder of temporary files: $(ls "$TMPDIR")"

done_testing
