#!/usr/bin/env bash
# PQUANT_ISA: each instruction set the processor has caps our kernels, oneDNN's and OpenBLAS's, and gives the
# same decisions; others are refused; results of one never serve another.
. "$(dirname "$0")/common.sh"
ask() { PQUANT_ISA=$1 "$pquant" doctor --format json | /usr/bin/python3 -c "import json,sys; print(json.load(sys.stdin)['$2'])"; }
expect 2 "pquant: error: PQUANT_ISA is 'sse9'; this processor has portable" env PQUANT_ISA=sse9 "$pquant" doctor
whole=$(ask "" isa_of_cpu)
case $whole in
portable) sets=(portable) ;;
avx2) sets=(portable avx2) ;;
avx512) sets=(portable avx2 avx512) ;;
*) fault "doctor names the instruction set '$whole'" ;;
esac
for above in avx2 avx512; do
  [[ " ${sets[*]} " == *" $above "* ]] ||
    expect 2 "PQUANT_ISA is '$above'; this processor has portable" env PQUANT_ISA=$above "$pquant" methods
done
blas() { # set: OpenBLAS's cores with no more than that
  case $1 in portable) echo Prescott ;; avx2) echo "Haswell Zen" ;; *) echo "Haswell Zen SkylakeX Cooperlake SapphireRapids" ;; esac
}
for set in "${sets[@]}"; do
  [ "$(ask "$set" isa)" = "$set" ] || fault "PQUANT_ISA=$set runs $(ask "$set" isa)"
  [ "$(ask "$set" pquant_isa)" = "$set" ] || fault "doctor does not tell PQUANT_ISA=$set"
  [[ " $(blas "$set") " == *" $(ask "$set" openblas_core) "* ]] || fault "PQUANT_ISA=$set: OpenBLAS runs $(ask "$set" openblas_core)"
  case $set:$(ask "$set" onednn_isa) in
  *: | portable:sse41 | avx2:avx2 | avx512:avx512*) ;;
  *) fault "PQUANT_ISA=$set: oneDNN runs $(ask "$set" onednn_isa)" ;;
  esac
  PQUANT_ISA=$set "$pquant" run configs/quickstart.yaml --phase eval --only "reference,int8*" -o "$work/r" -q >"$work/log" 2>&1
  grep -q " 3 computed" "$work/log" || fault "PQUANT_ISA=$set took results of another set: $(tail -3 "$work/log")"
done
# In whole numbers the sets agree to the last bit, in float32 to a few decisions near ties.
expect 0 "" "$pquant" compress datasets/models/jsc-mlp.h5 -o "$work/int8.h5" --method quantize:bits=8 --calib datasets/jets-hlf.h5:train
for set in "${sets[@]}"; do
  for engine in integer float32; do
    PQUANT_ISA=$set "$pquant" model eval "$work/int8.h5" --data datasets/jets-hlf.h5:test --engine $engine --format json -q \
      >"$work/$engine.$set.json" 2>"$work/log" || fault "PQUANT_ISA=$set, $engine: $(tail -3 "$work/log")"
  done
  cmp <(grep -v kernels "$work/integer.portable.json") <(grep -v kernels "$work/integer.$set.json") || fault "engine integer: $set is not portable's"
done
/usr/bin/python3 - "$work"/float32.*.json <<'END' || fault "float32 differs between instruction sets"
import json, sys
right = [json.load(open(f))["correct"] for f in sys.argv[1:]]
sys.exit(max(right) - min(right) > 5)
END
done_testing
