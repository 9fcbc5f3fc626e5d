#!/usr/bin/env bash
# Times taken in several processes: each is started anew, records and tables say how many there were; one that is killed
# costs the times of its batch size alone, with the reason, and the next run takes them; what is done is not done again.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
cat >c.yaml <<END
schema: pquant/1
name: processes
model: {weights: $root/datasets/models/jsc-mlp.h5}
dataset: {file: $root/datasets/jets-hlf.h5, calib: train, calib_events: 500, test: test}
metrics: [accuracy, size]
pipelines:
  reference: []
  int8: [quantize]
latency: {batch: [1, 64], processes: 3, engine: float32, warmup: {seconds: 5ms}, samples: {count: 12, sample_time: 1ms, rounds: 3, max_seconds: 2}, single_shots: 30}
END
one=(-S latency.processes=1)
"$pquant" run c.yaml -o out -q "${one[@]}" >log 2>&1 || fault "one process: $(tail -2 log)"
grep -q "Times are of one process" out/table.md || fault "table.md does not say one: $(tail -5 out/table.md)"
"$pquant" run c.yaml -o out -q >log 2>&1 || fault "three processes: $(tail -2 log)"
stat -c '%n %y' out/cells/* >before
"$pquant" run c.yaml -o out -q >log 2>&1 || fault "again: $(tail -2 log)"
"$pquant" run c.yaml -o out -q "${one[@]}" >log 2>&1 || fault "one process again: $(tail -2 log)"
"$pquant" run c.yaml -o out -q >log 2>&1 || fault "and three: $(tail -2 log)"
stat -c '%n %y' out/cells/* | diff before - || fault "what was timed is timed again"
/usr/bin/python3 - <<'END' || fault "records"
import csv, glob, json, statistics
records = [json.load(open(f)) for f in glob.glob("out/cells/*.json")]
times = [r for r in records if r["phase"] == "latency"]
assert sorted(len(r["timing"]["processes"]) for r in times) == [1] * 4 + [3] * 4, "what was timed in one process stays"
for r in times:
    t = r["timing"]
    b, parts = t["batch"], t["processes"]
    ratio, time = r["metrics"][f"latency.b{b}.ratio"], r["metrics"][f"latency.b{b}.throughput_s"]
    assert r["metrics"][f"latency.b{b}.processes"]["value"] == len(parts)
    assert len({p["process"] for p in parts}) == len(parts), parts
    assert sum(n for _, n in t["shots"]["hot"]["ns_calls"]) == 30
    if len(parts) == 3:
        assert [p["samples"] for p in parts] == [4, 4, 4] and len(t["samples"]) == 12, parts
        for i, p in enumerate(parts):
            assert abs(p["throughput_s"] / statistics.median(t["samples"][4 * i : 4 * i + 4]) - 1) < 1e-9
        assert time["lo"] == min(p["throughput_s"] for p in parts) and time["hi"] == max(p["throughput_s"] for p in parts)
        assert ratio["value"] == statistics.median(p["ratio"] for p in parts)
rows = list(csv.DictReader(open("out/table.csv")))
assert all(float(r["latency.b64.processes"]) == 3 for r in rows), rows
END
for page in table.md report.html; do
  grep -q "medians over 3 processes" "out/$page" || fault "$page does not say how many processes"
done
grep -q "covers 75 %, not 95 %" out/table.md || fault "the interval of three: $(grep -i covers out/table.md)"
expect 0 "3 processes" "$pquant" explain c.yaml int8
[[ $("$pquant" explain c.yaml int8 "${one[@]}") != *" processes"* ]] || fault "the key of one process is another than it was"
expect 2 "which leaves less than 2 to each" "$pquant" run c.yaml -o out -S latency.processes=7
expect 2 "for the program itself" "$pquant" --take-samples
expect 2 "for the program itself" "$pquant" --take-samples 0 1

# Processes of this test that measure: those whose arguments are the program, the word and two descriptors.
measuring() {
  /usr/bin/python3 - "$work" <<'END'
import glob, os, sys
for f in glob.glob("/proc/[0-9]*/cmdline"):
    try:
        words, here = open(f, "rb").read().split(b"\0"), os.readlink(os.path.dirname(f) + "/cwd")
    except OSError:
        continue
    if len(words) == 5 and words[1] == b"--take-samples" and here == os.path.realpath(sys.argv[1]):
        print(f.split("/")[2])
END
}
await() { # await one|none: such a process, 30 s at most; prints it
  local seen
  for _ in $(seq 300); do
    seen=$(measuring | head -1)
    [ "$1" = none ] && [ -z "$seen" ] && return 0
    [ "$1" = one ] && [ -n "$seen" ] && echo "$seen" && return 0
    sleep 0.1
  done
  return 1
}
long=(-S latency.samples.sample_time=100ms -S latency.samples.max_seconds=60)

# Killed while it measures.
"$pquant" run c.yaml -o lost -q "${long[@]}" >log 2>&1 &
run=$!
if at=$(await one); then
  kill -KILL "$at"
else
  fault "no process that measures was seen"
fi
wait $run
code=$?
[ $code = 3 ] || fault "exit code $code, not 3: $(cat log)"
grep -q "2 timings failed" log || fault "no word of it: $(cat log)"
grep -q "Not timed.*signal 9" lost/table.md || fault "no reason in table.md: $(tail -6 lost/table.md)"
expect 5 "2 done, 0 failed, 0 missing; latency: 2 of 4" "$pquant" status lost
/usr/bin/python3 - <<'END' || fault "records of what was lost"
import glob, json
records = [json.load(open(f)) for f in glob.glob("lost/cells/*.json")]
assert sorted(r["phase"] + " " + r["status"] for r in records) == ["eval ok"] * 2 + ["latency crashed"] * 2 + ["latency ok"] * 2
for r in records:
    if r["status"] == "crashed":
        assert "of 3 that measured batch 1: crashed: signal 9" in r["error"]["message"], r["error"]
        assert r["metrics"] == {}
END
"$pquant" run c.yaml -o lost -q "${long[@]}" >log 2>&1 || fault "resumed: $(cat log)"
expect 0 "latency: 4 of 4" "$pquant" status lost
[[ $(cat lost/table.md) != *"Not timed"* ]] || fault "the reason stays"

# A run that ends takes its processes with it.
"$pquant" run c.yaml -o ended -q "${long[@]}" >log 2>&1 &
run=$!
await one >/dev/null || fault "no process that measures was seen"
kill -TERM $run
wait $run
code=$?
[ $code = 75 ] || fault "SIGTERM: $code, not 75: $(cat log)"
await none || fault "a process that measures outlives its run"
done_testing
