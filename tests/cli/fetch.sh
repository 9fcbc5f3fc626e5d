#!/usr/bin/env bash
# `data fetch` resumes, verifies, unpacks and leaves nothing half-written; `data import` makes
# a file of our own that reads back the same.
. "$(dirname "$0")/common.sh"
export PQUANT_DATA_DIR=$work/data
mkdir -p "$work/server/tiny"
/usr/bin/python3 - "$work/server/tiny" <<'P'
import sys, numpy as np
rng = np.random.default_rng(1)
for name, n in [(f"data_batch_{b}", 4) for b in range(1, 6)] + [("test_batch", 10)]:
    rows = rng.integers(0, 256, (n, 3073), dtype=np.uint8)
    rows[:, 0] = np.arange(n) % 10
    rows.tofile(f"{sys.argv[1]}/{name}.bin")
P
tar -C "$work/server" -czf "$work/server/tiny.tar.gz" tiny
bytes=$(stat -c %s "$work/server/tiny.tar.gz") sum=$(sha256sum "$work/server/tiny.tar.gz" | cut -d' ' -f1)
manifest() { # BYTES SHA URL
  printf 'name: tiny\ntitle: ten classes of noise\nlayout: cifar\npath: tiny\nlicence: none\nsource: this test\nfiles:\n  - url: %s\n    bytes: %s\n    sha256: %s\n    unpack: true\n' "$3" "$1" "$2" >"$work/tiny.yaml"
}
url=file://$work/server/tiny.tar.gz
nothing_left() { [ -z "$(find "$work/data" -type f ! -name .lock 2>/dev/null)" ] || fault "$1 left $(find "$work/data" -type f)"; }

manifest "$bytes" "${sum/[0-9a-f]/$([ "${sum:0:1}" = 0 ] && echo 1 || echo 0)}" "$url"
expect 2 "sha256" "$pquant" data fetch "$work/tiny.yaml" --local -q
nothing_left "a wrong checksum"
manifest $((bytes + 1)) "$sum" "$url"
expect 2 "has $bytes bytes, the manifest says $((bytes + 1))" "$pquant" data fetch "$work/tiny.yaml" --local -q
nothing_left "a wrong size"
manifest "$bytes" "$sum" "file://$work/server/none.tar.gz"
expect 75 "none.tar.gz" "$pquant" data fetch "$work/tiny.yaml" --local -q
manifest "$bytes" "$sum" "http://127.0.0.1:9/none.tar.gz"
expect 75 "127.0.0.1" "$pquant" data fetch "$work/tiny.yaml" --local -q
[ ! -e "$work/data/tiny/tiny" ] || fault "a failed fetch left a set behind"
manifest "$bytes" "$sum" "$url"
expect 0 "$work/data" "$pquant" data fetch "$work/tiny.yaml" --local -q
expect 0 "$work/data" "$pquant" data fetch "$work/tiny.yaml" --local -q # a second time: nothing to do
# An archive put there by hand is checked and unpacked.
rm -r "$work/data/tiny"
mkdir "$work/data/tiny"
printf broken >"$work/data/tiny/tiny.tar.gz"
expect 2 "hint: remove it" "$pquant" data fetch "$work/tiny.yaml" --local -q
cp "$work/server/tiny.tar.gz" "$work/data/tiny/"
manifest "$bytes" "$sum" "http://127.0.0.1:9/tiny.tar.gz"
expect 0 "$work/data/tiny" "$pquant" data fetch "$work/tiny.yaml" --local -q
[ -e "$work/data/tiny/tiny/test_batch.bin" ] || fault "an archive put there by hand was not unpacked"
[ ! -e "$work/data/tiny/.unpacking" ] || fault "the folder for unpacking stayed"
printf 'name: bare\ntitle: no checksum\nlayout: cifar\nlicence: none\nsource: this test\nfiles:\n  - url: %s\n    bytes: unknown\n    checksum: unknown\n' "$url" >"$work/bare.yaml"
expect 0 "not verified, the manifest has no checksum; sha256 is $sum" "$pquant" data fetch "$work/bare.yaml" --local -q
where=$("$pquant" data fetch "$work/tiny.yaml" --local -q)
expect 0 "train             20 events" "$pquant" data info "$where"
expect 2 "did you mean 'cifar-10'?" "$pquant" data fetch cifar-1
expect 0 "jsc-openml" "$pquant" data list
for sample in jets-hlf jets-btag jets-btag-tracks; do # shipped: listed with the checksum of the file, and opened by name
  expect 0 "checksum   sha256:$(sha256sum "datasets/$sample.h5" | cut -d' ' -f1)" "$pquant" data list
  expect 0 "licence: CC-BY-4.0" "$pquant" data info "$sample"
done
expect 0 "accuracy" "$pquant" model eval datasets/models/jsc-mlp.h5 --data jets-hlf:test --limit 100
expect 2 "\`pquant data fetch jetset-small\` gets it" "$pquant" data info jetset-small
"$pquant" data list --format json | /usr/bin/python3 -m json.tool >/dev/null || fault "the list's JSON is not valid"

expect 0 "$work/own.h5" "$pquant" data import "$where" -o "$work/own.h5" -q
expect 0 "test              10 events" "$pquant" data info "$work/own.h5"
expect 2 "--nonfinite: 'drpo' is not one of: fail drop zero" "$pquant" data import "$where" -o "$work/x.h5" --nonfinite drpo
expect 2 "-o OUT.h5 is missing" "$pquant" data import "$where"
printf 'a,b,label\n1,2,g\n3,nan,q\n5,6,g\n7,8,q\n' >"$work/t.csv"
expect 2 "event 1" "$pquant" data import "$work/t.csv" -o "$work/t.h5" -q
[ ! -e "$work/t.h5" ] || fault "a refused import left a file"
expect 0 "1 events hold NaN or infinity: left out" "$pquant" data import "$work/t.csv" -o "$work/t.h5" --nonfinite drop
expect 0 "1 events hold NaN or infinity: the mean" "$pquant" data import "$work/t.csv" -o "$work/z.h5" --nonfinite zero
expect 0 "2 events of other labels are left out" "$pquant" data import "$work/t.csv" -o "$work/g.h5" --labels only=g
expect 2 "input 'a' is named twice" "$pquant" data import "$work/t.csv" -o "$work/x.h5" --inputs a,a
printf 'kind,a,b\n0,1,2.5\n1,3,4.5\n' >"$work/k.csv"
expect 2 "holds 2.5, which is no class: name the column" "$pquant" data import "$work/k.csv" -o "$work/x.h5"
expect 0 "features: a, b" "$pquant" data info "$work/k.csv" --label kind
expect 0 "$work/k.h5" "$pquant" data import "$work/k.csv" -o "$work/k.h5" --label kind -q
expect 2 "has no columns (layout pquant), so label 'a' names none" "$pquant" data info "$work/k.h5" --label a
# Events that stand in two splits by their values are told.
printf 'a,b,class\n1,2,x\n3,4,y\n1,2,x\n5,6,y\n' >"$work/twice.csv"
expect 0 "$work/twice.h5" "$pquant" data import "$work/twice.csv" -o "$work/twice.h5" --splits train=0:0.5,test=0.5:1 -q
expect 0 "2 events have the values of an event in another split" "$pquant" data info "$work/twice.h5"
# Values that are not finite: refused, or left out and told.
/usr/bin/python3 - datasets/jets-hlf.h5 "$work/nan.h5" <<'P'
import sys, h5py
with h5py.File(sys.argv[1]) as f, h5py.File(sys.argv[2], "w") as out:
    for k, v in f.attrs.items():
        out.attrs[k] = v
    x = f["test/x"][:300]
    x[7, 3] = float("nan")
    out["test/x"], out["test/y"] = x, f["test/y"][:300]
P
expect 2 "test: event 7: feature 'c1_b2_mmdt' is nan" "$pquant" model eval datasets/models/jsc-mlp.h5 --data "$work/nan.h5:test"
expect 0 "1 events hold NaN or infinity (--nonfinite drop)" "$pquant" model eval datasets/models/jsc-mlp.h5 --data "$work/nan.h5:test" --nonfinite drop
expect 0 "of 300 events right" "$pquant" model eval datasets/models/jsc-mlp.h5 --data "$work/nan.h5:test" --nonfinite zero
printf 'schema: pquant/1\nname: nan\nmodel: {weights: datasets/models/jsc-mlp.h5}\ndataset: {file: %s, nonfinite: zero}\npipelines: {reference: []}\n' "$work/nan.h5" >"$work/nan.yaml"
for run in first second; do
  expect 0 "1 events hold NaN or infinity: the mean is put in place of it" "$pquant" run "$work/nan.yaml" --output "$work/results" --quiet
done
grep -q '"nonfinite_events": *1' "$work"/results/cells/*.json || fault "the record does not count the events that are not finite"
expect 0 "3 events" "$pquant" data info "$work/t.h5"
# A file that would not be read back as it was written gets no name: a split called x hides the events.
printf 'a,b,class\n1,2,u\n3,4,v\n5,6,u\n7,8,v\n' >"$work/a.csv"
expect 2 "the file is not kept, as it cannot be read back" "$pquant" data import "$work/a.csv" -o "$work/o.h5" --splits x=0:0.5,y=0.5:1
[ -z "$(ls "$work" | grep '^o\.h5')" ] || fault "import left $(ls "$work" | grep '^o\.h5')"
expect 0 "o.h5" "$pquant" data import "$work/a.csv" -o "$work/o.h5" --splits p=0:0.5,q=0.5:1
done_testing
