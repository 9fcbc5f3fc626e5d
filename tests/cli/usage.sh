#!/usr/bin/env bash
# Usage: help everywhere, misspellings, missing values, and the documents printed from the tables.
. "$(dirname "$0")/common.sh"
expect 0 "start: pquant run configs/quickstart.yaml" "$pquant" --help
expect 0 "pquant 0.1.0" "$pquant" --version
expect 2 "unknown verb 'runn'; did you mean 'run'?" "$pquant" runn
expect 2 "unknown option '--engin'; did you mean '--engine'?" "$pquant" model eval x --engin float32
expect 2 "option '--engine' needs a value NAME" "$pquant" model eval x --engine
expect 2 "option '--quiet' takes no value" "$pquant" methods --quiet=1
expect 2 "usage: pquant model info [options] MODEL" "$pquant" model info
expect 2 "option '--quiet' takes no value" "$pquant" methods -qx
expect 2 "--format: 'xml' is not one of: table json" "$pquant" methods --format xml
expect 2 "--format: 'table json' is not one of: table json" "$pquant" methods --format "table json"
# The formats that the reference names are those that are taken.
while IFS=$'\t' read -r verb formats; do
  read -ra words <<<"$verb"
  expect 2 "is not one of: $formats" "$pquant" "${words[@]}" "$work/none" --format xml
done < <(awk -F'`' '/^### pquant /{verb = substr($0, 12)} /^\| `--format [^`]*\|/{sub(/^--format /, "", $2); gsub(/\\\|/, " ", $2); print verb "\t" $2}' docs/reference.md |
  grep -vE '^(compare|model diff|methods|layers|metrics|formats|data list|doctor)\b')
expect 2 "--batch: '1048577' is not a whole number in 0..1048576" "$pquant" model eval x --data y --batch 1048577
expect 2 "nothing is called 'banana'" "$pquant" help banana
for verb in run validate show plan status merge report "model info" "model eval" "model diff" compress "data info" "data list" "data fetch" "data import" train \
  "data generate" methods layers metrics formats doctor help; do
  expect 0 "usage: pquant $verb" "$pquant" $verb --help
done
for name in $("$pquant" methods --format json | /usr/bin/python3 -c 'import json,sys; print(*[m["name"] for m in json.load(sys.stdin)])'); do
  expect 0 "method $name:" "$pquant" help "$name"
done
# A first word alone lists its verbs.
expect 0 "data fetch" "$pquant" data --help
expect 0 "data import" "$pquant" help data
expect 0 "model diff" "$pquant" model -h
expect 2 "data generate" "$pquant" data
expect 2 "unknown verb 'data inof'; did you mean 'data info'?" "$pquant" data inof x
expect 0 "key of dataset:" "$pquant" help dataset.file
expect 0 "configuration zip:" "$pquant" help zip
expect 2 "nothing is called 'dataset.fill'" "$pquant" help dataset.fill
expect 0 ".TH PQUANT 1" "$pquant" help man
expect 0 "complete -o default -F _pquant pquant" "$pquant" help completion
bash -n <("$pquant" help completion) || fault "completion is not valid bash"
if ! diff <("$pquant" help markdown) docs/reference.md; then
  fault "docs/reference.md is not what 'pquant help markdown' prints"
fi
expect 0 "openblas_core" "$pquant" doctor
"$pquant" doctor --format json | /usr/bin/python3 -m json.tool >/dev/null || fault "doctor's JSON is not valid"
# Standard streams that are closed are not taken for files, and a closed or full standard output is told.
"$pquant" compress datasets/models/jsc-mlp.h5 -o "$work/closed.h5" --method svd:rank=4 -q <&- >&- 2>&-
[ $? = 0 ] || fault "compress fails where standard streams are closed"
expect 0 "fc1_relu" "$pquant" model info "$work/closed.h5"
"$pquant" methods >&- 2>"$work/err"
[ $? = 75 ] && grep -q "standard output cannot be written" "$work/err" || fault "a closed standard output is not told: $(cat "$work/err")"
if [ -w /dev/full ]; then
  "$pquant" methods >/dev/full 2>"$work/err"
  [ $? = 75 ] || fault "a full standard output is not exit code 75"
fi
done_testing
