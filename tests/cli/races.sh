#!/usr/bin/env bash
# ThreadSanitizer on training, evaluation and a sweep, two threads and two jobs each: any report fails.
# Criterion does not run under it, so the program is driven; build-tsan is made by tests/run.sh.
. "$(dirname "$0")/common.sh"
pquant=${PQUANT_TSAN:-$root/build-tsan/src/cli/pquant}
[ -x "$pquant" ] || { echo "skipped: no build with ThreadSanitizer in build-tsan"; exit 77; }
# Address layouts of newer kernels are too random for the shadow memory of an old runtime.
calm=()
setarch -R true 2>/dev/null && calm=(setarch -R)
if ! "${calm[@]}" "$pquant" --version >"$work/log" 2>&1; then
  grep -q "unexpected memory mapping" "$work/log" && { echo "skipped: ThreadSanitizer does not start on this kernel"; exit 77; }
fi
export OPENBLAS_NUM_THREADS=1
# That a report fails: a program with a race must be told.
cat >"$work/race.c" <<'END'
#include <pthread.h>
static int n;
static void *add(void *x) { for (int i = 0; i < 1000; i++) n++; return x; }
int main(void) { pthread_t t; pthread_create(&t, 0, add, 0); add(0); pthread_join(t, 0); return 0; }
END
run() { # NAME COMMAND…
  local name=$1 code
  shift
  TSAN_OPTIONS="exitcode=66 suppressions=$root/tests/tsan.supp log_path=$work/tsan.$name" "${calm[@]}" "$@" >"$work/log" 2>&1
  code=$?
  cat "$work/tsan.$name".* >"$work/report.$name" 2>/dev/null
  return $code
}
clean() { # NAME COMMAND…: ends with 0 and without a report
  run "$@" || fault "$1: exit code $?: $(tail -5 "$work/log")"
  [ ! -s "$work/report.$1" ] || fault "$1: $(cat "$work/report.$1")"
}
cc -fsanitize=thread -g -O1 "$work/race.c" -o "$work/race" -lpthread || fault "no ThreadSanitizer in cc"
run race "$work/race"
grep -q "data race" "$work/report.race" || fault "a race is not reported"
cat >"$work/train.yaml" <<'END'
schema: pquant/1
name: races
model: {zoo: jsc-mlp}
dataset: {file: datasets/jets-hlf.h5, train: val, validation: test, test: test}
train: {epochs: 1, batch: 256, seed: 1}
output: {model: model.h5}
END
cat >"$work/conv.yaml" <<'END'
schema: pquant/1
name: races-conv
model: {zoo: resnet8}
dataset: {file: IMAGES, train: train, validation: test, test: test}
train: {epochs: 1, batch: 16, seed: 1}
output: {model: conv.h5}
END
sed -i "s|IMAGES|$work/images.h5|" "$work/conv.yaml"
/usr/bin/python3 - "$work/images.h5" <<'END'
import sys, h5py, numpy
rng = numpy.random.default_rng(1)
with h5py.File(sys.argv[1], "w") as f:
    f.attrs["format"], f.attrs["class_names"] = "pquant-dataset", [f"c{i}" for i in range(10)]
    for split in ("train", "test"):
        f[f"{split}/x"] = rng.normal(size=(48, 32, 32, 3)).astype("f4")
        f[f"{split}/y"] = (numpy.arange(48) % 10).astype("u1")
END
cat >"$work/sweep.yaml" <<'END'
schema: pquant/1
name: races-sweep
model: {weights: datasets/models/jsc-mlp.h5}
dataset: {file: datasets/jets-hlf.h5, calib: val, calib_events: 500, test: test, train: val, validation: val}
pipelines:
  reference: []
  svd_finetune: [{svd: {rank: 4}}, {finetune: {epochs: 1}}]
  int8: [{quantize: {bits: 8}}]
  prune: [{prune: {target_sparsity: 0.5}}]
evaluate: {limit: 2000}
metrics: [accuracy, auc]
latency: {batch: [1], warmup: {seconds: 1ms}, single_shots: 10, samples: {count: 4, sample_time: 1ms, rounds: 1, max_seconds: 1}}
END
clean train "$pquant" train "$work/train.yaml" -q --threads 2 -o "$work/model.h5"
clean train-conv "$pquant" train "$work/conv.yaml" -q --threads 2 -o "$work/conv.h5"
for engine in reference float32 integer int8; do
  clean "eval-$engine" "$pquant" model eval datasets/models/jsc-mlp.h5 --data datasets/jets-hlf.h5:val --engine $engine --threads 2 -q
done
clean compress "$pquant" compress datasets/models/jsc-mlp.h5 -o "$work/int8.h5" --method quantize:bits=8 --calib datasets/jets-hlf.h5:val
clean eval-int8 "$pquant" model eval "$work/int8.h5" --data datasets/jets-hlf.h5:val --engine int8 --threads 2 -q
clean conv-int8 "$pquant" compress "$work/conv.h5" -o "$work/conv8.h5" --method quantize:bits=8 --calib "$work/images.h5:train"
# Two threads on each layer of one event.
for engine in float32 int8; do
  clean "latency-$engine" "$pquant" latency "$work/conv8.h5" --engine $engine --threads 2 --calls 50 -q
done
clean sweep "$pquant" run "$work/sweep.yaml" --jobs 2 -o "$work/out" -q
done_testing
