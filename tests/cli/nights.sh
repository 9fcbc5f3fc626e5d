#!/usr/bin/env bash
# Fifty nights of the same code raise no red light, and of fifty nights each with a planted 10 % slowdown, or a planted
# point of accuracy less, all are red. Nights are drawn from times that were measured here, noisy or not as the stopwatch
# called them, and from noise of 1 to 3 % with a share of samples at twice the time, in six processes that differ by a
# third of that. PQ_NIGHTS: how many.
. "$(dirname "$0")/common.sh"
cd "$work" || exit 1
cat >c.yaml <<END2
schema: pquant/1
name: nights
model: {weights: $root/datasets/models/jsc-mlp.h5}
dataset: {file: $root/datasets/jets-hlf.h5, calib: train, calib_events: 500, test: test}
metrics: [accuracy, size, macs]
pipelines:
  reference: []
  int8: [quantize]
  svd: {stages: [{svd: {rank: \$r, clip_rank: true}}], sweep: {r: [4, 8]}}
  prune: {stages: [{prune: {target_sparsity: 0.5}}]}
latency: {batch: [1, 64], processes: 6, warmup: {seconds: 5ms}, samples: {count: 42, sample_time: 1ms, rounds: 4, max_seconds: 2}, single_shots: 20}
baseline: base.json
gates:
  accuracy: {max_loss: 0.002, test: paired, alpha: 0.01}
  stored_bytes: {max_increase: 0}
  latency.b1.ratio: {max_increase: 5%, test: mann-whitney, alpha: 0.002, confirm: 1}
  latency.b64.ratio: {max_increase: 5%, test: mann-whitney, alpha: 0.002, confirm: 1}
END2
for n in 1 2 3 4 5 6; do
  "$pquant" run c.yaml -o real$n -q >log 2>&1 || fault "run: $(tail -2 log)"
done
cat >nights.py <<'P'
import collections, glob, json, os, random, shutil, statistics, subprocess, sys
pquant, kind, nights, slow, lost = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])
RUNS, PROCESSES, EACH = 6, 6, 7
rng = random.Random(f"{kind} {slow} {lost}")
records = {os.path.basename(f): [json.load(open(f"real{n}/cells/{os.path.basename(f)}")) for n in range(1, RUNS + 1)]
           for f in glob.glob("real1/cells/*.json")}
def invented(spread):  # a process has an offset of its own, and samples at twice the time
    offsets = [rng.gauss(0, spread / 3) for _ in range(PROCESSES)]
    return [[0.7 * rng.lognormvariate(at, spread) * (2 if rng.random() < 0.03 else 1) for _ in range(EACH)] for at in offsets]
def measured(timing):  # samples drawn anew within each process
    ratios = iter(timing["ratios"])
    parts = [[next(ratios) for _ in range(p["samples"])] for p in timing["processes"]]
    return [rng.choices(part, k=len(part)) for part in parts]
def plant_loss(part, n, loss):  # decisions that were right, and the accuracy
    bits, left = list(part["correct"]), round(loss * n)
    for i in rng.sample(range(len(bits)), len(bits)):
        for bit in 8, 4, 2, 1:
            if left and int(bits[i], 16) & bit:
                bits[i] = f"{int(bits[i], 16) ^ bit:x}"
                left -= 1
    part["correct"] = "".join(bits)
    part["metrics"]["accuracy"]["value"] -= round(loss * n) / n
def night(day, factor, loss, before=()):  # a run, other than those of the same night: to confirm is to run anew
    run, spread = rng.choice([n for n in range(RUNS) if n not in before]), rng.uniform(0.01, 0.03)
    for name, all in records.items():
        r = json.loads(json.dumps(all[run]))
        planted = r["label"] == "int8"
        if r["phase"] == "latency":
            parts = measured(r["timing"]) if kind == "real" else invented(spread)
            parts = [[x * (factor if planted else 1) for x in part] for part in parts]
            r["timing"]["noisy"] = r["timing"]["noisy"] and kind == "real"
            r["timing"]["ratios"] = [x for part in parts for x in part]
            r["timing"]["processes"] = [{"process": p, "samples": len(part), "ratio": 1 / statistics.median(part)}
                                        for p, part in enumerate(parts)]
            r["provenance"]["date"] = day
        elif planted and loss:
            for part in [r, *(e for e in r.get("engines", {}).values() if "metrics" in e)]:
                plant_loss(part, r["events"], loss)
        json.dump(r, open(f"night/cells/{name}", "w"))
    return run
def gate():
    return subprocess.run([pquant, "gate", "night"], capture_output=True, text=True)
codes, undecided = collections.Counter(), 0
for i in range(nights + 1):
    shutil.rmtree("night", ignore_errors=True)
    shutil.copytree("real1", "night")
    runs = [night(f"2026-01-{i:02d}T00:00:00Z", slow if i else 1, lost if i else 0)]
    if i == 0:
        subprocess.run([pquant, "baseline", "set", "night", "-q"], check=True, stdout=subprocess.DEVNULL)
        continue
    done = gate()
    for again in range(3):  # as nightly.sh does
        if done.returncode != 75:
            break
        runs.append(night(f"2026-02-{i:02d}T0{again}:00:00Z", slow, lost, runs))
        done = gate()
    codes[done.returncode] += 1
    undecided += " 0 inconclusive" not in done.stdout
    if done.returncode not in (0, 1):
        print(done.stdout, done.stderr)
print(f"{kind}, times {slow}, accuracy -{lost}: {codes[0]} green, {codes[1]} red, {undecided} with something inconclusive")
sys.exit(codes[1 if slow > 1 or lost else 0] != nights)
P
n=${PQ_NIGHTS:-50}
/usr/bin/python3 nights.py "$pquant" real "$n" 1 0 || fault "the same code is red, on times measured here"
/usr/bin/python3 nights.py "$pquant" invented "$n" 1 0 || fault "the same code is red"
/usr/bin/python3 nights.py "$pquant" invented "$n" 1.1 0 || fault "a slowdown of 10 % is not caught"
/usr/bin/python3 nights.py "$pquant" real "$n" 1 0.01 || fault "a point of accuracy is not caught"
done_testing
