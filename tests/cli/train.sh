#!/usr/bin/env bash
# Training from outside: the shipped configuration, kills and interrupts that are resumed, a run that
# diverges, and bad configurations.
. "$(dirname "$0")/common.sh"
config=configs/train-jsc.yaml
train() { # OUT EXTRA…: the jet tagger for a few epochs
  local out=$1
  shift
  "$pquant" train "$config" -o "$out" -S "output.log=$out.json" -S train.epochs=2 "$@"
}
field() { /usr/bin/python3 -c 'import json,sys; d=json.load(open(sys.argv[1])); print(eval(sys.argv[2], {"d": d}))' "$1" "$2"; }

# Two epochs: model, log with recalls by name, no checkpoint left.
expect 0 "weights of epoch" train "$work/whole.h5"
[ "$(field "$work/whole.h5.json" 'd["status"], len(d["epochs"]), sorted(d["epochs"][0]["recalls"])')" = \
  "('ok', 2, ['g', 'q', 't', 'w', 'z'])" ] || fault "the log is not as it should be: $(cat "$work/whole.h5.json")"
recalls='{n[7:]: v for n, v in d["test"].items() if n.startswith("recall.")}'
[ "$(field "$work/whole.h5.json" "list($recalls)")" = "['g', 'q', 'w', 'z', 't']" ] || fault "classes of the test"
[ "$(field "$work/whole.h5.json" "abs(sum(v['n'] * v['value'] for v in $recalls.values()) / 30000 - d['test']['accuracy']['value']) < 1e-6")" = True ] ||
  fault "recalls of the test do not add up to its accuracy"
[ ! -e "$work/whole.h5.checkpoint" ] || fault "a finished run left its checkpoint"
expect 0 "accuracy" "$pquant" model eval "$work/whole.h5" --data datasets/jets-hlf.h5:test

# Killed in the middle and started again: the same file as without.
killed() { # OUT SIGNAL: starts a run of 40 epochs, sends the signal after the first epochs
  setsid "$pquant" train "$config" -o "$1" -S train.epochs=40 -S output.log="$1.json" >"$1.out" 2>"$1.err" &
  local victim=$! _
  for _ in $(seq 1500); do
    [ "$(grep -c '^epoch' "$1.out")" -ge 2 ] && break
    sleep 0.02
  done
  kill "-$2" "$victim"
  wait "$victim"
}
"$pquant" train "$config" -o "$work/long.h5" -S "output.log=$work/long.json" -S train.epochs=40 -q >/dev/null || fault "the long run failed"
for signal in KILL INT; do
  killed "$work/cut$signal.h5" $signal 2>/dev/null
  code=$?
  [ "$signal" = KILL ] || [ $code = 130 ] || fault "exit code $code after SIGINT, not 130"
  [ -s "$work/cut$signal.h5.checkpoint" ] || fault "no checkpoint after SIG$signal"
  [ ! -e "$work/cut$signal.h5" ] || fault "a model after SIG$signal"
  expect 0 "weights of epoch" "$pquant" train "$config" -o "$work/cut$signal.h5" -S train.epochs=40 -S output.log="$work/cut$signal.h5.json"
  cmp "$work/long.h5" "$work/cut$signal.h5" || fault "SIG$signal and resumed: another file"
  [ ! -e "$work/cut$signal.h5.checkpoint" ] || fault "the resumed run left its checkpoint"
done
grep -q "interrupted in epoch" "$work/cutINT.h5.err" || fault "no word of the interrupt: $(cat "$work/cutINT.h5.err")"
grep -q "^again: pquant train" "$work/cutINT.h5.err" || fault "no command to go on: $(cat "$work/cutINT.h5.err")"

# A checkpoint of another run is refused, with the way out.
echo nonsense >"$work/other.h5.checkpoint"
expect 2 "hint: remove $work/other.h5.checkpoint to begin anew" train "$work/other.h5"

# Another model's name gives the log another one: those of the project are left alone.
sums=$(sha256sum datasets/models/*)
"$pquant" train configs/train-jsc.yaml -o "$work/own.h5" -S train.epochs=1 -q >/dev/null || fault "a training to another place"
[ -f "$work/own.log.json" ] || fault "no log beside the model: $(ls "$work")"
[ "$sums" = "$(sha256sum datasets/models/*)" ] || fault "-o wrote over a file of the project"

# A run that diverges keeps its last good epoch, and says so in the log.
diverge=(-S train.optimizer=sgd -S train.schedule=constant -S train.warmup_epochs=12 -S train.lr=0.8
  -S train.momentum=0 -S train.weight_decay=10 -S train.epochs=12) # from lr 0.2 on, decay overshoots
expect 2 "is not finite" train "$work/nan.h5" "${diverge[@]}"
[ "$(field "$work/nan.h5.json" 'd["status"], d["best_epoch"] > 0, d["best_epoch"] <= len(d["epochs"])')" = \
  "('failed', True, True)" ] || fault "the log of a diverged run: $(cat "$work/nan.h5.json")"
expect 0 "accuracy" "$pquant" model eval "$work/nan.h5" --data datasets/jets-hlf.h5:test

# A floor that is not held is said aloud.
expect 0 "warning: no epoch holds every recall floor: class 'g'" train "$work/floor.h5" -S 'train.min_recall={g: 0.99}'
[ "$(field "$work/floor.h5.json" 'd["floor_held"], d["floors"]["g"]')" = "(False, 0.99)" ] || fault "the floor is not in the log"

# A teacher of weights alone: its architecture beside it, else one sentence; what does not fit, too.
models=$root/datasets/models
taught=(-S "model.teacher=$models/jsc-mlp.weights.h5" -S train.epochs=1)
expect 0 "weights of epoch" train "$work/taught.h5" "${taught[@]}" -S "model.teacher_arch=$models/jsc-mlp.json" -S model.teacher_scaler=dataset
expect 0 "note: the teacher has no scaler and gets the events as they are" train "$work/taught.h5" "${taught[@]}" -S "model.teacher_arch=$models/jsc-mlp.json"
expect 2 "hint: give the JSON of model.to_json() with --arch FILE, or \`arch:\` (of a teacher \`teacher_arch:\`) in a configuration" \
  train "$work/none.h5" "${taught[@]}"
expect 2 "the teacher has 784 inputs and 10 outputs, the graph 16 and 5" train "$work/none.h5" -S "model.teacher=$models/fashion-mlp.h5"
expect 2 "teacher_arch goes with teacher" train "$work/none.h5" -S "model.teacher_arch=$models/jsc-mlp.json"
[ ! -e "$work/none.h5" ] || fault "a model without its teacher"

# Event weights that the test cannot use: the model and the log of the training are there, and tell of it; a
# weight that training cannot use is named before anything is done. event_weights: false uses none anywhere.
/usr/bin/python3 - "$work" <<'END'
import sys, h5py, numpy as np
rng = np.random.default_rng(1)
for name, bad in (("test", -1.0), ("train", np.nan)):
    with h5py.File(f"{sys.argv[1]}/{name}.h5", "w") as f:
        f.attrs["format"], f.attrs["class_names"] = "pquant-dataset", ["g", "q", "w", "z", "t"]
        for split in ("train", "test"):
            f[f"{split}/x"] = rng.normal(size=(200, 16)).astype(np.float32)
            f[f"{split}/y"] = rng.integers(0, 5, 200).astype(np.int32)
            f[f"{split}/weight"] = np.ones(200, np.float32)
        f[f"{name}/weight"][3] = bad
END
weighted() { # FILE EXTRA…
  local file=$1
  shift
  rm -f "$work/weighted.h5.json"
  train "$work/weighted.h5" -S "dataset.file=$work/$file.h5" -S dataset.validation=train -S dataset.test=test "$@"
}
expect 2 "test split 'test'" weighted test
[ "$(field "$work/weighted.h5.json" 'd["status"], len(d["epochs"]), "weight" in d["error"], d.get("test")')" = \
  "('failed', 2, True, None)" ] || fault "no log where the test failed: $(cat "$work/weighted.h5.json")"
[ -s "$work/weighted.h5" ] || fault "no model where the test failed"
rm -f "$work"/weighted.h5*
expect 2 "split 'train': event 3 weighs nan, which is not a number from 0 on" weighted train
[ ! -e "$work/weighted.h5" ] || fault "a model of no training"
for file in test train; do
  rm -f "$work"/weighted.h5*
  expect 0 "weights of epoch" weighted $file -S train.event_weights=false
done

# Every mistake at once, at its place; includes; what looks at configurations.
cat >"$work/bad.yaml" <<'END'
schema: pquant/1
model: {zoo: jsc-mlp, weigths: a}
dataset: {train: train}
train: {epoch: 3, lr: fast, epochs: -1}
END
for part in "bad.yaml:2:23: model: unknown key 'weigths'; did you mean 'weights'?" "bad.yaml:4:9: train: unknown key 'epoch'; did you mean 'epochs'?" \
  "train: lr = 'fast' is not a number" "train: epochs = -1 is not in 0..100000" "dataset: file must be given" "output: model must be given"; do
  expect 2 "$part" "$pquant" train "$work/bad.yaml"
  expect 2 "$part" "$pquant" validate "$work/bad.yaml"
done
printf 'include: %s\noutput: {model: %s/net.onnx}\n' "$root/$config" "$work" >"$work/other.yaml"
for verb in validate train; do
  expect 2 "output: model: $work/net.onnx: .onnx is the ending of another format" "$pquant" "$verb" "$work/other.yaml"
done
printf 'include: %s\ntrain: {epochs: 7}\n' "$root/$config" >"$work/more.yaml"
expect 0 "ok, a training of 7 epochs" "$pquant" validate "$work/more.yaml"
expect 0 "epochs: 7" "$pquant" show "$work/more.yaml"
"$pquant" show "$work/more.yaml" >"$work/shown.yaml"
expect 0 "ok, a training of 7 epochs" "$pquant" validate "$work/shown.yaml"
diff <("$pquant" show "$work/shown.yaml") "$work/shown.yaml" || fault "what show prints is not read back"
expect 2 "is a configuration of 'pquant train'" "$pquant" run "$work/more.yaml"
expect 2 "train: lr = 'fast' is not a number" train "$work/x.h5" -S train.lr=fast
expect 0 "largest learning rate" "$pquant" help train
expect 0 "key of train:" "$pquant" help class_weights
done_testing
