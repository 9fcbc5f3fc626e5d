# shellcheck shell=bash
# Tests against other frameworks; sourced by tests/run.sh. A suite is one file *.py here, or in a folder with
# requirements of its own (keras2: what needs Keras 2): it runs with the pinned packages of requirements.txt beside
# it and the modules of lib/; PQUANT names the program, the working folder is its own and empty. It prints
# `N cases, largest deviation D`, and exits with 1 when one is beyond its tolerance. A suite NAME.py with a NAME.txt
# has those packages instead, one with a NAME.more.txt has those too, and TensorFlow of tests/python.
only=$1
need python3-venv
# Real images for tests/python; without them those tests are skipped, and say so.
(need dataset-fashion-mnist) || true
# shellcheck source=benchmarks/environment.sh
. benchmarks/environment.sh

# suite FILE: runs it in a folder of its own.
suite() {
  local folder name frameworks code=0
  name=$(basename "$1" .py)
  if [ -f "${1%.py}.txt" ]; then
    make_environment "interop-$name" "${1%.py}.txt" || return $?
  elif [ -f "${1%.py}.more.txt" ]; then
    frameworks=$(environment_packages)
    make_environment tensorflow tests/python/tensorflow.txt || return $?
    make_environment "interop-$name" "${1%.py}.more.txt" "$frameworks" "$(environment_packages)" || return $?
  fi
  folder=$(mktemp -d)
  (cd "$folder" && "$PYTHON" "$1") || code=$?
  rm -rf "$folder"
  return "$code"
}

# Suites run two at a time, each with a log and, once it has ended, a file of its exit code and seconds.
logs=$(mktemp -d)
start_suite() {
  local name log
  name=$(basename "$1" .py) log=$logs/$(basename "$1" .py)
  [[ -z $only || "interop $name" == *$only* ]] || return 0
  [ "$(jobs -r | wc -l)" -lt 2 ] || wait -n || true
  : >"$log"
  {
    code=0 start=$SECONDS
    (suite "$root/$1") >"$log" 2>&1 || code=$?
    echo "$code $((SECONDS - start))" >"$log.end"
  } &
}

# tell_suite FILE: waits for it, and tells.
tell_suite() {
  local log code seconds
  log=$logs/$(basename "$1" .py)
  [ -e "$log" ] || return 0
  while [ ! -e "$log.end" ] && [ -n "$(jobs -r)" ]; do wait -n || true; done
  read -r code seconds <"$log.end" || { code=1 seconds=0; }
  tell_step "interop $(basename "$log")" "$code" "$seconds" "$log"
  rm -f "$log" "$log.end"
}

# suites NAME FOLDER: runs all suites of a folder in an environment of that name.
suites() {
  local made=0 file
  make_environment "$1" "$2/requirements.txt" || made=$?
  if [ "$made" != 0 ]; then
    missing() {
      [ "$made" != 77 ] || echo "skipped: the packages of $2/requirements.txt cannot be fetched: no network"
      return "$made" # 77 is skipped, all else failed
    }
    step "$1 environment" missing "$@"
    return 0
  fi
  for file in "$2"/*.py; do
    start_suite "$file"
  done
  for file in "$2"/*.py; do
    tell_suite "$file"
  done
}

export PQUANT=$root/build/src/cli/pquant PYTHONPATH=$root/tests/interop/lib PYTHONDONTWRITEBYTECODE=1
suites interop tests/interop
suites interop-keras2 tests/interop/keras2
rmdir "$logs"
step "interop python" tests/python/run.sh
finish
