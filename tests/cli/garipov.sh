#!/usr/bin/env bash
# Every row of Garipov et al. 2016 from the committed configurations: compression as
# printed there, parameters and values of the cores where they are published.
. "$(dirname "$0")/common.sh"
for name in garipov garipov-fc; do
  expect 0 "7 computed" "$pquant" run "configs/$name.yaml" -o "$work/$name" -q --jobs 2
done
/usr/bin/python3 - "$work" <<'END' || fault "rows differ"
import csv, glob, json, sys
due = {  # label: ratio, parameters or None, values of the cores or None
    "garipov": {
        "conv": ("1.00", 557248, None),
        "tt_conv r0=13 r1=30 r2=33": ("2.02", None, None),
        "tt_conv r0=11 r1=29 r2=27": ("2.53", None, None),
        "tt_conv_published": ("3.23", 172518, [13958, 25587, 42895, 42895, 42895]),
        "tt_conv r0=18 r1=22 r2=19": ("4.02", None, None),
        "tt_conv_naive_2": ("2.02", None, None),
        "tt_conv_naive_3": ("2.90", None, None)},
    "garipov-fc": {
        "conv_fc": ("1.00", 13934538, None),
        "conv_tt_fc fc1=75 fc2=40": ("10.72", None, None),
        "conv_tt_fc fc1=32 fc2=24": ("19.38", None, None),
        "conv_tt_fc fc1=25 fc2=20": ("21.01", None, None),
        "tt_conv_tt_fc fc1=100 fc2=60": ("9.69", None, None),
        "tt_conv_tt_fc fc1=40 fc2=30":
            ("41.65", None, [8592, 12688, 20880, 20880, 20880, 185600, 52800]),
        "tt_conv_tt_fc fc1=20 fc2=20": ("82.87", None, None)}}
bad = 0
for name, rows in due.items():
    folder = f"{sys.argv[1]}/{name}"
    table = {r["label"]: r for r in csv.DictReader(open(f"{folder}/table.csv"))}
    records = [json.load(open(f)) for f in glob.glob(f"{folder}/cells/*.json")]
    dense = int(table[next(iter(rows))]["parameters"])
    for label, (ratio, parameters, cores) in rows.items():
        n = int(table[label]["parameters"])
        have = "%.2f" % (dense / n)
        layers = [[c["bytes_after"] // 4 for c in r["layers"]] for r in records if r.get("label") == label]
        ok = have == ratio and parameters in (None, n) and (cores is None or layers == [cores])
        print(label, n, have, "" if ok else f"NOT {ratio} {parameters} {cores}: {layers}")
        bad += not ok
    bad += set(table) != set(rows)
sys.exit(bad)
END
cat >"$work/c.yaml" <<'END'
schema: pquant/1
model: {zoo: garipov-conv, arch: resnet20}
pipelines: {a: []}
metrics: [size, accuracy]
END
expect 2 "c.yaml:2:14: model: zoo goes without weights, arch, format and output_layer" "$pquant" validate "$work/c.yaml"
expect 2 "c.yaml:1:1: dataset: file must be given" "$pquant" validate "$work/c.yaml"
printf 'schema: pquant/1\nmodel: {zoo: garipov-con}\npipelines: {a: []}\nmetrics: [size]\n' >"$work/c.yaml"
expect 2 "c.yaml:2:14: model: there is no network 'garipov-con' in the zoo" "$pquant" validate "$work/c.yaml"
printf 'schema: pquant/1\nmodel: {zoo: jsc-mlp}\npipelines: {a: [{quantize: {bits: 8, activations: true}}]}\nmetrics: [size]\n' >"$work/c.yaml"
expect 2 "a stage needs events: dataset: file must be given" "$pquant" run "$work/c.yaml" -o "$work/c" -q
done_testing
