#!/usr/bin/env bash
# Hostile files and folders: nothing outside is written, nothing of them runs, nothing a terminal obeys is printed.
. "$(dirname "$0")/common.sh"
kept() { [ "$(cat "$work/secret")" = kept ] || { fault "$1 wrote through a link"; echo kept >"$work/secret"; }; }
echo kept >"$work/secret"

# Only say.c writes to a terminal; help and reference print tables of the program alone.
found=$(grep -nE '(^|[^sn])printf\(|fputs\(|fputc\(|putchar\(|json_dumpf\(' src/cli/*.c | grep -vE '/(say|help|reference)\.c:')
[ -z "$found" ] || fault "written to a terminal without say.h: $found"
# Only core/file.c opens files of others; gzip, SQLite and HDF5 get what it opened or made.
found=$(grep -nE '\b(fopen|freopen|mkstemp|tmpfile|creat)\(|gzopen\(' src/*/*.c | grep -vE 'src/core/file\.c|/dev/null|/proc/self/')
[ -z "$found" ] || fault "opened without core/file.h: $found"

# The current folder: its generator and its sets are not taken.
mkdir -p "$work/here/datasets/generate" "$work/here/datasets/sets"
echo 'open("ran", "w")' | tee "$work/here/datasets/generate/generate.py" "$work/here/venv.py" >"$work/here/pip.py"
touch "$work/here/datasets/generate/requirements.txt"
printf 'name: evil\ntitle: t\nlayout: csv\nlicence: l\nsource: s\nfiles: []\n' >"$work/here/datasets/sets/evil.yaml"
(cd "$work/here" && PATH=$work/none HOME=$work/home "$pquant" data generate jets-hlf --events 1 >"$work/log" 2>&1)
[ ! -e "$work/here/ran" ] || fault "code of the current folder ran"
(cd "$work/here" && expect 2 "no public set is called 'evil'" "$pquant" data fetch evil; exit "$faults") || faults=$((faults + 1))
expect 2 "neither XDG_CACHE_HOME nor HOME" env -u HOME -u XDG_CACHE_HOME "$pquant" data generate jets-hlf --events 1

# A results folder of somebody else, full of links.
cat >"$work/c.yaml" <<'END'
schema: pquant/1
name: x
model: {weights: datasets/models/jsc-mlp.weights.h5, arch: datasets/models/jsc-mlp.json, classes: [g, q, w, z, t]}
dataset: {file: datasets/jets-hlf.h5}
evaluate: {limit: 200}
metrics: [accuracy, auc, confusion]
pipelines: {reference: [], svd: [{svd: {rank: 4}}]}
END
"$pquant" run "$work/c.yaml" -o "$work/out" --phase eval -q >"$work/log" 2>&1 || fault "no results: $(cat "$work/log")"
me="tmp.$(hostname)"
plant() { rm -rf "$work/r" && cp -r "$work/out" "$work/r" && rm -f "$work"/r/plots/*.{svg,png}; }
plant
for name in roc.log roc.svg.tmp roc.png.tmp accuracy_bytes.log accuracy_bytes.svg.tmp; do
  ln -sf "$work/secret" "$work/r/plots/$name"
done
expect 0 "report.html" "$pquant" report "$work/r"
kept "report, plots"
for target in table.csv table.md report.html results.sqlite; do
  plant
  rm -f "$work/r/$target" && ln -s "$work/secret" "$work/r/$target"
  expect 2 "is there and not a regular file" "$pquant" report "$work/r"
  kept "report, $target"
done
for folder in plots; do
  plant
  rm -rf "${work:?}/r/$folder" && mkdir -p "$work/elsewhere" && ln -s "$work/elsewhere" "$work/r/$folder"
  expect 2 "is a link; a folder of results is written in itself alone" "$pquant" report "$work/r"
  [ -z "$(ls "$work/elsewhere")" ] || fault "report wrote through $folder/"
done
for folder in cells models arrays cache; do
  plant
  rm -rf "${work:?}/r/$folder" && ln -s "$work/elsewhere" "$work/r/$folder"
  "$pquant" run "$work/c.yaml" -o "$work/r" --phase eval --force -q >"$work/log" 2>&1 && fault "$folder/ is a link, and all went well"
  [ -z "$(ls "$work/elsewhere")" ] || fault "run wrote through $folder/: $(ls "$work/elsewhere")"
done

# merge copies no file that a record names elsewhere, nor through a link.
plant
key=$(basename "$(ls "$work"/r/cells/*.json | head -1)" .json)
sed -i "s|\"arrays_file\": \"[^\"]*\"|\"arrays_file\": \"../secret\"|" "$work"/r/cells/*.json
rm -rf "$work/m" && "$pquant" merge "$work/m" "$work/r" >"$work/log" 2>&1
[ -z "$(find "$work/m" "$work" -maxdepth 1 -name 'secret' -newer "$work/c.yaml" -path '*/m/*')" ] || fault "merge copied ../secret"
plant
rm -f "$work/r/arrays/$key.h5" && ln -s "$work/secret" "$work/r/arrays/$key.h5"
rm -rf "$work/m" && expect 2 "leads out of its folder: it is not copied" "$pquant" merge "$work/m" "$work/r"
[ ! -e "$work/m/arrays/$key.h5" ] || fault "merge copied through a link"

# Stored pictures and names do not act in the page, the table or the terminal.
plant
"$pquant" report "$work/r" >"$work/log" 2>&1
for svg in "$work"/r/plots/*.svg; do sed -i 's|<svg|<svg onload="alert(1)"><script>alert(2)</script|' "$svg"; done
expect 0 "report.html" "$pquant" report "$work/r"
grep -qE 'alert\(|onload' "$work/r/report.html" && fault "a stored picture acts in the page"
grep -q 'src="data:image/svg+xml;base64,' "$work/r/report.html" || fault "the page has no pictures"
plant
sed -i 's|"status": "ok"|"status": "\\u001b[2Jok"|' "$work"/r/cells/*.json
"$pquant" report "$work/r" >"$work/log" 2>&1
grep -q $'\x1b\[2J' "$work/log" "$work/r/table.md" && fault "a status acts in the terminal"
plant
sed -i 's|"label": "svd"|"label": "\\u001b]0;x\\u0007\\u202esvd"|' "$work"/r/plan.json
"$pquant" status "$work/r" >"$work/log" 2>&1
"$pquant" report "$work/r" >>"$work/log" 2>&1
grep -qP '\x1b\]0|\xe2\x80\xae' "$work/log" "$work/r/table.md" "$work/r/report.html" && fault "a label acts in a terminal"
plant
mkdir -p "$work/r/batch"
printf '012 (1.0.0) x Job was held.\n\t\x1b]0;x\x07\xe2\x80\xaewhy\n\tCode 34 Subcode 0\n...\n' >"$work/r/batch/condor.log"
"$pquant" status "$work/r" >"$work/log" 2>&1
grep -q 'held: job 1.0' "$work/log" || fault "no held job: $(cat "$work/log")"
grep -qP '\x1b\]0|\xe2\x80\xae' "$work/log" && fault "a reason acts in a terminal"
rm -r "$work/r/batch"

# `again:` can be pasted.
bait='a`touch pasted`$(touch pasted)'"'"';touch pasted;'"'"
again=$("$pquant" data info "$work/none/$bait.h5" -q 2>&1 | sed -n 's/^again: pquant/true/p')
[ -z "$again" ] || (cd "$work" && bash -c "$again")
again=$( (trap '' XFSZ && ulimit -f 2 && exec "$pquant" compress datasets/models/jsc-mlp.h5 -o "$work/$bait.h5" --method svd:rank=2 2>&1) |
  sed -n 's/^again: pquant/true/p')
[ -n "$again" ] || fault "no again: line"
(cd "$work" && bash -c "$again")
[ ! -e "$work/pasted" ] || fault "pasting an again: line ran something"

# A file of 10 bytes that sends more, and an archive that unpacks to more than it is worth.
export PQUANT_DATA_DIR=$work/data
head -c 3000000 /dev/zero >"$work/large"
printf 'name: s\ntitle: t\nlayout: csv\nlicence: l\nsource: s\nfiles: [{url: "file://%s", as: f, bytes: 10, checksum: unknown}]\n' \
  "$work/large" >"$work/s.yaml"
expect 2 "the manifest names a file of this computer" "$pquant" data fetch "$work/s.yaml"
[ ! -e "$work/data/s" ] || fault "what is refused left a folder"
expect 2 "sends more than the 10 bytes that the manifest says" "$pquant" data fetch "$work/s.yaml" --local
[ ! -e "$work/data/s/f.part" ] || fault "what was too much is kept"
mkdir "$work/bomb" && head -c 200000000 /dev/zero >"$work/bomb/zeros" && tar -C "$work/bomb" -czf "$work/b.tar.gz" zeros
rm "$work/bomb/zeros"
printf 'name: b\ntitle: t\nlayout: csv\nlicence: l\nsource: s\nfiles: [{url: "file://%s", as: b.tar.gz, bytes: %d, checksum: unknown, unpack: true}]\n' \
  "$work/b.tar.gz" "$(stat -c %s "$work/b.tar.gz")" >"$work/b.yaml"
expect 2 "it is not unpacked" "$pquant" data fetch "$work/b.yaml" --local
[ ! -e "$work/data/b/zeros" ] || fault "the bomb went off"

# A matrix of a million cells is not made of 1,100 classes.
/usr/bin/python3 - "$work" <<'END'
import json, sys
import h5py, numpy as np
n = 1100
names = [f"c{i}" for i in range(n)]
node = lambda name, kind, inputs, **more: {"name": name, "kind": kind, "inputs": inputs, "attributes": {}, "weights": [], **more}
graph = {"nodes": [node("in", "input", [], attributes={"shape": [4]}),
                   node("fc", "dense", ["in"], weights=[{"name": "kernel", "shape": [n, 4]}]), node("s", "softmax", ["fc"])],
         "output": "s", "class_names": names}
with h5py.File(f"{sys.argv[1]}/wide.h5", "w") as f:
    f.attrs["format"], f.attrs["version"] = "pquant-model", np.int32(1)
    f.create_dataset("graph", data=json.dumps(graph), dtype=h5py.string_dtype())
    f["weights/fc/kernel"] = np.ones((n, 4), "f4")
with h5py.File(f"{sys.argv[1]}/wide_data.h5", "w", libver="latest") as f:
    f.attrs["format"] = "pquant-dataset"
    f.attrs["class_names"] = names
    f["test/x"], f["test/y"] = np.ones((4, 4), "f4"), np.arange(4, dtype="u2")
END
wide() { # METRIC CODE TEXT
  printf 'schema: pquant/1\nname: w\nmodel: {weights: wide.h5}\ndataset: {file: wide_data.h5}\nmetrics: [%s]\npipelines: {p: []}\n' \
    "$1" >"$work/wide.yaml"
  expect "$2" "$3" "$pquant" run "$work/wide.yaml" -o "$work/wide" -q
}
wide accuracy 0 "report.html"
wide confusion 2 "metric confusion: the matrix of more than 1024 classes is not made"
expect 2 "metric confusion: the matrix of more than 1024 classes is not made" "$pquant" validate "$work/wide.yaml"
sed -i '/^metrics/d' "$work/wide.yaml"
expect 0 "report.html" "$pquant" run "$work/wide.yaml" -o "$work/wide" -q
grep -q '"confusion"' "$work"/wide/cells/*.json && fault "a matrix of 1,100 classes in a record"

# Names in a dataset are shown, not obeyed; a pipe is not waited for.
/usr/bin/python3 tests/hostile/make.py "$work/corpus" >/dev/null 2>&1 || { mkdir -p "$work/corpus"; /usr/bin/python3 tests/hostile/make.py "$work/corpus" >/dev/null || fault "python"; }
expect 0 'a\u001b[31m' "$pquant" data info "$work/corpus/escapes_in_names.h5"
expect 2 "is a pipe, a device or a socket, not a file" timeout 20 "$pquant" data info "$work/corpus/pipe.h5"

# What opening each file of the corpus costs, and mutations of a file of each format: PQUANT_MUTATIONS of each, the
# first of those that PQUANT_MUTATIONS=10000 ./pquant.sh test "cli hostile" runs whole (an hour and more).
opener=$(dirname "$pquant")/../../tests/hostile_open
[ -x "$opener" ] || { echo "skipped: hostile_open is not built"; done_testing; }
budget=
[[ $pquant == *build-asan* ]] && budget=--no-budget
rm -rf "$work/corpus"
/usr/bin/python3 tests/hostile/check.py "$opener" corpus "$work/corpus" $budget || fault "the corpus, above"
/usr/bin/python3 tests/hostile/check.py "$opener" mutations "$work/mutations" "${PQUANT_MUTATIONS:-50}" $budget || fault "mutations, above"
done_testing
