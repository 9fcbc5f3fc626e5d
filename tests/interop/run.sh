# shellcheck shell=bash
# Tests against other frameworks; sourced by tests/run.sh. A suite is one file *.py here: it runs with the
# pinned packages of requirements.txt and the modules of lib/; PQUANT names the program, the working folder is
# its own and empty. It prints `N cases, largest deviation D`, and exits with 1 when one is beyond its tolerance.
only=$1
need python3-venv
# shellcheck source=benchmarks/environment.sh
. benchmarks/environment.sh
made=0
make_environment interop tests/interop/requirements.txt || made=$?
if [ "$made" != 0 ]; then
  missing() {
    [ "$made" != 77 ] || echo "skipped: the packages of tests/interop/requirements.txt cannot be fetched: no network"
    return "$made" # 77 is skipped, all else failed
  }
  step "interop environment" missing
  finish
  exit
fi

# suite FILE: runs it in a folder of its own.
suite() {
  local folder code=0
  folder=$(mktemp -d)
  (cd "$folder" && "$PYTHON" "$1") || code=$?
  rm -rf "$folder"
  return "$code"
}

export PQUANT=$root/build/src/cli/pquant PYTHONPATH=$root/tests/interop/lib PYTHONDONTWRITEBYTECODE=1
for file in tests/interop/*.py; do
  step "interop $(basename "$file" .py)" suite "$root/$file"
done
finish
