#!/usr/bin/env bash
# What run and train refuse, validate refuses, from headers alone and before any epoch.
. "$(dirname "$0")/common.sh"
cat >"$work/sweep.yaml" <<END
schema: pquant/1
model: {weights: datasets/models/jsc-mlp.h5}
dataset: {file: datasets/jets-hlf.h5}
pipelines: {reference: []}
output: {dir: $work/results}
END
cat >"$work/train.yaml" <<END
schema: pquant/1
model: {weights: datasets/models/jsc-mlp.h5}
dataset: {file: datasets/jets-hlf.h5, validation: val, test: test}
train: {epochs: 3}
output: {model: $work/net.h5, log: $work/net.json}
END
expect 0 "sweep.yaml: ok, 1 pipelines, 1 cells" "$pquant" validate "$work/sweep.yaml"
expect 0 "train.yaml: ok, a training of 3 epochs" "$pquant" validate "$work/train.yaml"
[ ! -e "$work/results" ] || fault "validate wrote something"

# Each is refused by validate and by the verb itself, with the same sentence, and no epoch is run.
both() { # VERB TEXT EXTRA…
  local verb=$1 text=$2 file=$work/sweep.yaml
  shift 2
  [ "$verb" = run ] || file=$work/train.yaml
  expect 2 "$text" "$pquant" validate "$file" "$@"
  expect 2 "$text" "$pquant" "$verb" "$file" "$@"
  [ ! -e "$work/net.h5" ] && [ ! -e "$work/net.h5.checkpoint" ] && [ ! -e "$work/net.json" ] || fault "trained: $*"
}
calibrated='pipelines={reference: [], int8: [quantize]}'
tuned='pipelines={reference: [], tuned: [{finetune: {epochs: 1}}]}'
both run "the events of datasets/jets-hlf.h5 are [16], but the model's input is [28, 28, 1]" -S model.weights=datasets/models/fashion-mlp.h5
both run "have no 'g' of the dataset's" -S model.classes=a,b,c,d,e
both run "the model has 5 outputs but there are 4 classes" -S model.classes=g,q,w,z
both run "dataset.test: " -S dataset.test=tset
both run "'test' holds the test events" -S dataset.calib=test -S "$calibrated"
both run "'test' holds the test events" -S dataset.train=test -S "$tuned"
both run "trian" -S dataset.train=trian -S "$tuned"
both run "head = binary is of one output, but the model has 5" -S model.head=binary
both run "ends in a softmax, whose head is softmax" -S model.head=logits
both train "are [16], but" -S model.weights=datasets/models/fashion-mlp.h5
both train "tset" -S dataset.test=tset
both train "vla" -S dataset.validation=vla
both train "but there are 5 classes" -S 'model={zoo: btag-mlp}'
both train "'qq' is none of the classes" -S 'train.min_recall={qq: 0.5}'
both train "'qq' is none of the classes" -S 'train.class_weights={qq: 2}'
both train "ends in a softmax" -S model.head=sigmoid

# What show prints of a recipe validates and runs: with btag where classes are flavours, without it where not.
shown() { # MODEL DATASET
  "$pquant" show "$work/sweep.yaml" -S model.weights=datasets/models/$1.h5 -S dataset.file=datasets/$2.h5 \
    -S 'metrics=[accuracy]' -S 'pipelines={small: [{jet_tagger: {epochs: 0}}]}' -S evaluate.limit=500 "${@:3}" \
    >"$work/shown.yaml" 2>"$work/notes" || fault "show of $1: $(cat "$work/notes")"
}
for pair in "jsc-mlp jets-hlf 0" "btag-mlp jets-btag 1"; do
  read -r model data lines <<<"$pair"
  shown "$model" "$data"
  [ "$(grep -c '^  btag: .*# by a recipe$' "$work/shown.yaml")" = "$lines" ] || fault "$model: btag is not in $lines lines"
  [ ! -s "$work/notes" ] || fault "$model: $(cat "$work/notes")"
  expect 0 "ok, 1 pipelines, 1 cells" "$pquant" validate "$work/shown.yaml"
  expect 0 "" "$pquant" run "$work/shown.yaml"
  [ "$(head -n 1 "$work/results/table.csv" | grep -c btag.70.cut)" = "$lines" ] || fault "$model: btag in the results"
  [ "$(grep -c '\\n  btag: ' "$work/results/plan.json")" = "$lines" ] || fault "$model: btag in plan.json"
  rm -r "$work/results"
done
shown jsc-mlp nowhere
grep -q '^  btag: ' "$work/shown.yaml" || fault "of unknown classes: no btag"
grep -q "^note: the metric of a recipe is shown, but .*'datasets/nowhere.h5'" "$work/notes" || fault "no note: $(cat "$work/notes")"

# Keys of a metric that the classes, or the columns of the events, do not have.
cat >"$work/tag.yaml" <<END
schema: pquant/1
name: tag
model: {weights: $root/datasets/models/btag-mlp.h5}
dataset: {file: $root/datasets/jets-btag.h5}
pipelines: {reference: []}
metrics: {btag: {bins: {pt: [20, 50, 250]}, c_working_points: [0.3]}}
END
expect 0 "ok, 1 pipelines, 1 cells" "$pquant" validate "$work/tag.yaml"
expect 2 "metrics: btag: the classes are no flavours of jets: class 'g' is none of b, c, light and tau" \
  "$pquant" validate "$work/tag.yaml" -S "model.weights=$root/datasets/models/jsc-mlp.h5" -S "dataset.file=$root/datasets/jets-hlf.h5"
tag() { expect 2 "metrics: btag: $1" "$pquant" validate "$work/tag.yaml" -S "metrics.btag={$2}"; }
tag "f_c = 1.2 is not in 0..1" "f_c: 1.2"
tag "f_c + f_tau = 0.8 + 0.5 is above 1" "f_c: 0.8, f_tau: 0.5"
tag "f_b + f_tau = 0.8 + 0.5 is above 1" "f_b: 0.8, f_tau: 0.5, c_working_points: [0.3]"
tag "bins: the edges of pt do not rise: 20 after 50" "bins: {pt: [50, 20]}"
tag "$root/datasets/jets-btag.h5: has no auxiliary quantity 'mass'; it has: eta, eventNumber, process, pt" "bins: {mass: [20, 50]}"

# Inputs that are not on this machine are told, not refused.
expect 0 "note: not compared with its inputs: $work/sweep.yaml: dataset 'nowhere.h5' is not there" "$pquant" validate "$work/sweep.yaml" -S dataset.file=nowhere.h5
expect 0 "note: not compared with its inputs: " "$pquant" validate "$work/train.yaml" -S dataset.file=nowhere.h5
for config in configs/*.yaml configs/papers/*.yaml; do
  "$pquant" validate "$config" >"$work/out" 2>&1 || fault "$config: $(cat "$work/out")"
done
done_testing
