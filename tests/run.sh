# shellcheck shell=bash
# All tests; sourced by ./pquant.sh test, which gives `root`, `need` and `build`.
#
#   ./pquant.sh test            everything
#   ./pquant.sh test PATTERN    only the steps whose name matches the pattern
#   ./pquant.sh test interop [PATTERN]    against other frameworks instead: tests/interop/run.sh
test_packages=(clang clang-format-14 libclang-rt-14-dev libcriterion-dev python3-minimal python3-venv python3-numpy
  python3-pil python3-h5py hdf5-tools git ca-certificates util-linux locales)
# Batch systems, a browser and a fast linker: where they cannot be had, tests that need them are skipped, and say so.
site_packages=(slurm-wlm openmpi-bin parallel chromium mold)
passed=0 failed=0 skipped=0
failures=()
only=${1:-}

# What is built: a step each, and before the first step that needs it where a pattern left that out.
declare -A made=()
make_build() {
  # There are hundreds of test programs to link.
  ! command -v mold >/dev/null || local -x CC_LD=mold
  case $1 in
  gcc) build "$root/build-gcc" ;;
  sanitizers) build "$root/build-asan" -Db_sanitize=address,undefined -Dbuildtype=debugoptimized -Dwerror=false ;;
  clang) env CC=clang bash -c "$(declare -f build need); root='$root'; build '$root/build-clang'" ;;
  "thread sanitizer") build "$root/build-tsan" -Db_sanitize=thread -Dbuildtype=debugoptimized -Dtests=false -Dwerror=false ;;
  esac
}
# builds NAME: what a step of this name runs.
builds() {
  case $1 in
  "build "*) ;;
  "fuzz configurations" | *", sanitizers") echo sanitizers ;;
  "cli races") printf 'gcc\nthread sanitizer\n' ;;
  "cli "* | "unit tests, "*) echo gcc ;;
  esac
}

need_builds() {
  local what names
  mapfile -t names < <(builds "$1")
  for what in "${names[@]}"; do
    [ -n "${made[$what]:-}" ] || run_step "build $what" make_build "$what"
  done
}

# step NAME COMMAND…: runs it if the pattern is in its name.
step() {
  [[ -z $only || $1 == *$only* ]] || return 0
  need_builds "$1"
  run_step "$@"
}

# run_step NAME COMMAND…: shows its output only when it fails, counts it. 77: skipped.
run_step() {
  local name=$1 log start code=0
  shift
  [[ $name != "build "* ]] || made[${name#build }]=1
  log=$(mktemp)
  start=$SECONDS
  ("$@") >"$log" 2>&1 || code=$?
  tell_step "$name" $code $((SECONDS - start)) "$log"
  rm -f "$log"
}

# tell_step NAME CODE SECONDS LOG: counts a step that has ended.
tell_step() {
  case $2 in
  0) passed=$((passed + 1)) ;;
  77) skipped=$((skipped + 1)) ;;
  *) failed=$((failed + 1)) failures+=("$1") ;;
  esac
  printf '%-5s %-34s %4d s\n' "$(case $2 in 0) echo ok ;; 77) echo skip ;; *) echo FAIL ;; esac)" "$1" "$3"
  case $2 in
  0 | 77) grep -h -E '^\| ' "$4" || true; grep -h -E '^skipped: |^[0-9]+ (cases, largest deviation|mutations of|passed, [0-9]+ refused,) ' "$4" | sort -u | sed 's/^/      /' || true ;;
  *) tail -n 120 "$4" ;;
  esac
}

# Scripts that neither measure time nor wait for something to happen: two of them run at a time, the long ones first.
by_twos=("hostile, sanitizers" real_quantize locale real_images real_lowrank hostile "configs, sanitizers" "bad_input, sanitizers"
  arrays bad_input codegen compare configs convert ftag heads install isa negative papers quantize real_jets samples together
  unreached usage validate)

# cli NAME: a script of tests/cli, or one with the sanitizers' program.
cli() {
  local script=${1%, sanitizers} arguments=()
  [ "$script" = "$1" ] || export PQUANT=$root/build-asan/src/cli/pquant
  [ "$1" != "configs, sanitizers" ] || arguments=(train)
  bash "tests/cli/$script.sh" "${arguments[@]}"
}

# pairs NAME…: the steps `cli NAME`, two at a time, told in their order.
pairs() {
  local folder name code seconds
  folder=$(mktemp -d)
  for name in "$@"; do
    [[ -z $only || "cli $name" == *$only* ]] || continue
    need_builds "cli $name"
    [ "$(jobs -rp | wc -l)" -lt 2 ] || wait -n || true
    : >"$folder/$name.log"
    {
      code=0 start=$SECONDS
      (cli "$name") >"$folder/$name.log" 2>&1 || code=$?
      echo $code $((SECONDS - start)) >"$folder/$name.end"
    } &
  done
  wait
  for name in "$@"; do
    [ -e "$folder/$name.log" ] || continue
    # without an end it was killed
    read -r code seconds 2>/dev/null <"$folder/$name.end" || { code=1 seconds=0; }
    tell_step "cli $name" "$code" "$seconds" "$folder/$name.log"
  done
  rm -rf "$folder"
}

# unit FOLDER: the Criterion tests of a build folder; its counts of single tests go into ours.
unit() {
  local folder=$1 name=$2 log n ok bad skip
  [[ -z $only || $name == *$only* ]] || return 0
  need_builds "$name"
  log=$(mktemp)
  local start=$SECONDS whole=1
  rm -f "$folder"/meson-logs/testlog*.txt
  if meson_test "$folder" >"$log" 2>&1; then :; else whole=0 failures+=("$name"); tail -n 150 "$log"; fi
  ok=$(cat "$folder"/meson-logs/testlog*.txt | grep -c '^ok ' || true)
  skip=$(cat "$folder"/meson-logs/testlog*.txt | grep -c -i '^ok .*# skip' || true)
  bad=$(cat "$folder"/meson-logs/testlog*.txt | grep -c '^not ok ' || true)
  n=$(sed -n 's/^Fail: *//p; s/^Timeout: *//p' "$log" | awk '{s += $1} END {print s + 0}')
  [ "$bad" -ge "$n" ] || bad=$n
  [ "$whole" = 1 ] || [ "$bad" != 0 ] || bad=1
  passed=$((passed + ok - skip)) skipped=$((skipped + skip)) failed=$((failed + bad))
  printf '%s %-34s %4d s: %d passed, %d failed, %d skipped\n' "$([ "$bad" = 0 ] && echo 'ok   ' || echo 'FAIL ')" \
    "$name" $((SECONDS - start)) $((ok - skip)) "$bad" "$skip"
  grep -h -o 'skipped: .*' "$folder"/meson-logs/testlog*.txt | sort -u | sed 's/^/      /' || true
  rm -f "$log"
}
meson_test() { /usr/bin/meson test -C "$1" --no-rebuild --print-errorlogs --num-processes 2; }

# The instruction sets of this processor below its highest, with OpenBLAS's name of each.
lesser_sets() {
  build/src/cli/pquant doctor --format json | python3 -c '
import json, sys
sets = ["portable", "avx2", "avx512"]
print(*sets[:sets.index(json.load(sys.stdin)["isa_of_cpu"])])'
}

# capped SET: the tests whose results depend on the instruction set or must not, once more on a lesser one.
capped() {
  local set=$1 core test code=0
  core=$(PQUANT_ISA=$set build/src/cli/pquant doctor --format json | python3 -c 'import json, sys; print(json.load(sys.stdin)["openblas_coretype"])')
  for test in build-gcc/tests/test_{exec,train,linalg,lab}_* build-gcc/tests/test_compress_{quantize_replay,by_time}; do
    [ -f "$test" ] && [ -x "$test" ] || continue
    PQUANT_ISA=$set OPENBLAS_CORETYPE=$core "$test" --jobs=2 || { code=1; echo "failed: $test"; }
  done
  return $code
}

check_format() {
  git -C "$root" ls-files '*.c' '*.h' | (cd "$root" && xargs "$clang_format" --dry-run -Werror)
}

# finish: says what happened, and fails if anything did; or if nothing was tested.
finish() {
  echo
  [ "$failed" = 0 ] || printf 'failed: %s\n' "${failures[@]}"
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ] && [ $((passed + skipped)) -gt 0 ]
}

cd "$root"
if [ "$only" = interop ]; then
  # shellcheck source=tests/interop/run.sh
  . tests/interop/run.sh "${2:-}"
  exit
fi
need "${test_packages[@]}"
(need "${site_packages[@]}") || true
clang_format=$(command -v clang-format-14 || command -v clang-format)
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
step "format" check_format
step "layering" python3 tests/layering.py src build/src/rooms.txt
for what in gcc sanitizers clang; do
  step "build $what" make_build "$what"
done
unit build-gcc "unit tests, gcc"
unit build-asan "unit tests, sanitizers"
step "fuzz configurations" build-asan/tests/mutate_configs "${PQ_FUZZ_SECONDS:-20}" "${PQ_FUZZ_SEED:-1}" configs/*.yaml configs/papers/*.yaml
# Each target on its seeds, which all have to load, and for two seconds more.
step "fuzz targets" tests/fuzz/run.sh test
for set in $(lesser_sets); do
  step "unit tests, $set" capped "$set"
done
step "build thread sanitizer" make_build "thread sanitizer"
pairs "${by_twos[@]}"
for script in tests/cli/*.sh; do
  name=$(basename "$script" .sh)
  case " common ${by_twos[*]} " in
  *" $name "*) ;;
  *) step "cli $name" cli "$name" ;;
  esac
done
finish
