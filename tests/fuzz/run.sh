#!/usr/bin/env bash
# Fuzzing, with what it needs built and made first (clang, libclang-rt-14-dev, llvm-14, python3-h5py):
#
#   tests/fuzz/run.sh [SECONDS [TARGET…]]   each target, or those named: every seed has to load, then SECONDS of the
#                                           processor (600; 0: seeds only); what is found stays in
#                                           build-fuzz/corpus/
#   tests/fuzz/run.sh test [SECONDS]        the same for 2 seconds each, from the seeds alone, as ./pquant.sh test does
#   tests/fuzz/run.sh coverage              lines of src/formats, src/data and src/io that the seeds and all that was
#                                           found reach
#   tests/fuzz/run.sh again FILE            runs one input that fell: build-fuzz/faults/TARGET-…
#
# For each target: executions, edges, features and inputs kept. Exit 1 if one fell.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
common="-fsanitize=fuzzer-no-link -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION"
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:allocator_may_return_null=1:handle_abort=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
fuzz=build-fuzz/tests/fuzz/fuzz
corpora=build-fuzz/corpus

# made FOLDER OPTION…: the program of the targets.
made() {
  local folder=$1
  shift
  [ -f "$folder/build.ninja" ] || CC=clang meson setup "$folder" -Dtests=false -Dfuzz=true -Dwerror=false -Db_lundef=false "$@" >/dev/null
  ninja -C "$folder" tests/fuzz/fuzz >"$folder/fuzz.log" 2>&1 || { cat "$folder/fuzz.log"; exit 1; }
}

# Seeds are made anew when the program or what they are made from is newer.
seeds() {
  if [ ! -e build-fuzz/seeds/.made ] || [ -n "$(find "$fuzz" tests/fuzz tests/formats/keras_oracle.json configs datasets -newer build-fuzz/seeds/.made -print -quit)" ]; then
    rm -rf build-fuzz/seeds
    PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 tests/fuzz/seeds.py "$fuzz" build-fuzz/seeds
    touch build-fuzz/seeds/.made
  fi
}

# run TARGET SECONDS
run() {
  local log=build-fuzz/$1.log corpus=$corpora/$1 code=0
  mkdir -p "$corpus" build-fuzz/faults
  if [ "$2" = 0 ]; then
    "$fuzz" --target="$1" --check "build-fuzz/seeds/$1"
    return
  fi
  "$fuzz" --target="$1" --seeds="build-fuzz/seeds/$1" --cpu="$2" -max_total_time=$(($2 * 20)) -timeout=1200 -rss_limit_mb=2500 \
    -malloc_limit_mb=700 -max_len=300000 -detect_leaks=0 -print_final_stats=1 -artifact_prefix="build-fuzz/faults/$1-" \
    "$corpus" "build-fuzz/seeds/$1" >"$log" 2>&1 || code=$?
  # What was kept, once more, for leaks of libraries' blocks: ours are counted for each input. On a slow
  # processor a short run may end while the seeds are read, and keep nothing.
  [ "$code" != 0 ] || [ -z "$(ls "$corpus")" ] || "$fuzz" --target="$1" --replay "$corpus" >>"$log" 2>&1 || code=$?
  awk -v name="$1" -v code="$code" '
    /cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") edges = $(i + 1); if ($i == "ft:") features = $(i + 1); if ($i == "corp:") kept = $(i + 1) } }
    /stat::number_of_executed_units/ { n = $2 }
    END { printf "%-12s %9d executions, %6d edges, %6d features, %s kept%s\n", name, n, edges, features, kept, code == 0 ? "" : ": FELL" }' "$log"
  [ "$code" = 0 ] || { grep -m 8 -E 'FALL:|ERROR|SUMMARY|does not load|runtime error|Test unit' "$log" || tail -n 5 "$log"; }
  return "$code"
}

coverage() {
  local cover=build-cover/tests/fuzz/fuzz target
  made build-cover -Doptimization=0 -Dc_args="$common -fprofile-instr-generate -fcoverage-mapping -mllvm -runtime-counter-relocation" \
    -Dc_link_args=-fprofile-instr-generate
  rm -rf build-cover/profiles
  mkdir -p build-cover/profiles
  while read -r target _; do
    for child in "" --child; do
      # What a child does is counted too: counters lie in a file that it shares (%c).
      LLVM_PROFILE_FILE="build-cover/profiles/$target$child%c.profraw" timeout 600 "$cover" --target="$target" --replay $child \
        "build-fuzz/seeds/$target" $([ -d "build-fuzz/corpus/$target" ] && echo "build-fuzz/corpus/$target") >/dev/null 2>&1 ||
        echo "$target $child: fell in its replay"
    done
  done < <("$fuzz" --list)
  llvm-profdata-14 merge -o build-cover/all.profdata build-cover/profiles/*.profraw
  python3 tests/fuzz/lines.py <(llvm-cov-14 export "$cover" -instr-profile build-cover/all.profdata -format=lcov)
}

made build-fuzz -Doptimization=0 -Dc_args="$common" -Db_sanitize=address,undefined
case ${1:-600} in
coverage) seeds && coverage ;;
again)
  name=$(basename "$2")
  "$fuzz" --target="${name%%-*}" "$2"
  ;;
*)
  seeds
  if [ "${1:-}" = test ]; then
    corpora=build-fuzz/short
    rm -rf $corpora
    set -- "${2:-2}"
  fi
  seconds=${1:-600} fell=0
  shift || true
  for target in ${*:-$("$fuzz" --list | cut -d' ' -f1)}; do
    run "$target" "$seconds" || fell=1
  done
  exit $fell
  ;;
esac
