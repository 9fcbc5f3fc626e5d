# shellcheck shell=bash
# Helpers of the command-line tests: a scratch folder, the program, and expectations.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
pquant=${PQUANT:-$root/build-gcc/src/cli/pquant}
shared=${PQUANT_REAL_DATA:+$PQUANT_REAL_DATA/..}
shared=${shared:-$root/../shared}
work=$(mktemp -d)
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
cd "$root" || exit 1
faults=0

fault() { echo "FAULT: $(head -12 <<<"$*")"; faults=$((faults + 1)); }

# expect CODE TEXT COMMAND…: exit code and a text in what it prints (both channels).
expect() {
  local code=$1 text=$2 out got
  shift 2
  out=$("$@" 2>&1)
  got=$?
  [ "$got" = "$code" ] || fault "exit code $got, not $code: $*"$'\n'"$out"
  [[ $out == *"$text"* ]] || fault "no '$text' in what this printed: $*"$'\n'"$out"
  [[ $out != *"AddressSanitizer"* && $out != *"runtime error"* ]] || fault "sanitizer: $out"
}

done_testing() {
  [ "$faults" = 0 ] || { echo "$faults faults"; exit 1; }
  exit 0
}
