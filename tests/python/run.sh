#!/usr/bin/env bash
# The Python package, installed from source beside the frameworks of tests/interop, and its tests: run.sh [PYTEST ARGUMENT…].
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
# shellcheck source=benchmarks/environment.sh
. benchmarks/environment.sh
# TensorFlow asks for an older h5py than the others are tested with, so it has an environment of its own and comes last.
make_environment interop tests/interop/requirements.txt || exit $?
frameworks=$(environment_packages)
made=0
make_environment tensorflow tests/python/tensorflow.txt || made=$?
case $made in
0) frameworks+=$'\n'$(environment_packages) ;;
77) echo "TensorFlow cannot be fetched: its tests are skipped" ;;
*) exit "$made" ;;
esac
make_environment python tests/python/requirements.txt || exit $?
echo "$frameworks" >"$(environment_packages)/frameworks.pth"
PATH=$(dirname "$PYTHON"):$PATH "$PYTHON" -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps \
  --force-reinstall -Cbuild-dir=build-python .
unset PYTHONPATH
export PQUANT=$root/build/src/cli/pquant ROOT=$root PYTHONDONTWRITEBYTECODE=1
cd /
timeout --foreground 5400 "$PYTHON" -m pytest -q -p no:cacheprovider -c "$root/pyproject.toml" --rootdir "$root" "$root/tests/python" "$@"
