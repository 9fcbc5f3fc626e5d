#!/usr/bin/env bash
# model convert: there and back, what is refused, and that nothing is written then.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 - "$work" <<'END_PYTHON' || exit 1
import json, sys
import h5py
import numpy as np

work, rng = sys.argv[1], np.random.default_rng(1)
noise = lambda *shape: rng.normal(size=shape).astype("f4")

def node(name, kind, inputs, weights=None, **attributes):
    return {"name": name, "kind": kind, "inputs": inputs, "attributes": attributes, "weights": weights or {}}

def write_model(path, nodes, classes):
    with h5py.File(path, "w") as f:
        f.attrs["format"], f.attrs["version"] = "pquant-model", np.int32(1)
        graph = [n | {"weights": [{"name": k, "shape": list(v.shape)} for k, v in n["weights"].items()]} for n in nodes]
        for n in nodes:
            for k, v in n["weights"].items():
                f[f"weights/{n['name']}/{k}"] = v
        f["graph"] = json.dumps({"nodes": graph, "output": nodes[-1]["name"], "class_names": classes})

write_model(f"{work}/net.h5", [
    node("x", "input", [], shape=[6, 5, 3]),
    node("conv", "conv2d", ["x"], {"kernel": noise(4, 3, 3, 3), "bias": noise(4)}, padding="same"),
    node("act", "relu", ["conv"]),
    node("flat", "flatten", ["act"]),
    node("fc", "dense", ["flat"], {"kernel": noise(3, 120), "bias": noise(3)}),
    node("p", "softmax", ["fc"])], ["a", "b", "c"])
write_model(f"{work}/sets.h5", [
    node("x", "input", [], shape=[6, 3]),
    node("mask", "slice", ["x"], **{"from": 0, "to": 1}),
    node("pool", "masked_pool", ["x", "mask"], mode="mean")], ["a", "b", "c"])
END_PYTHON

expect 0 "onnx, " "$pquant" model convert "$work/net.h5" -o "$work/net.onnx"
expect 0 "pquant, " "$pquant" model convert "$work/net.onnx" -o "$work/again.h5"
expect 0 "classes a,b,c" "$pquant" model info "$work/again.h5"
expect 0 '"producer":"pquant"' "$pquant" model info "$work/net.onnx"
expect 0 "pquant, " "$pquant" model convert "$work/net.onnx" -o "$work/named" --to pquant

# Two formats on random inputs: the same to rounding, and not the same where a weight differs.
expect 0 "256 of 256 events" "$pquant" model diff "$work/net.h5" "$work/net.onnx"
"$pquant" model diff "$work/net.h5" "$work/net.onnx" --format json | python3 -c '
import json, sys
d = json.load(sys.stdin)
sys.exit(not (d["agree"] == 256 and d["layers"] and all(l["error"] < 1e-5 and l["signal"] > 0 for l in d["layers"])))' ||
  fault "the model and its ONNX file differ"
expect 0 "" "$pquant" compress "$work/net.h5" -o "$work/bits.h5" --method quantize:bits=3,activations=false --quiet
"$pquant" model diff "$work/net.h5" "$work/bits.h5" --format json | python3 -c '
import json, sys
sys.exit(not max(l["error"] for l in json.load(sys.stdin)["layers"]) > 1e-3)' || fault "weights of 3 bits make no difference"
expect 2 "one model takes [6, 5, 3], the other [6, 3]" "$pquant" model diff "$work/net.h5" "$work/sets.h5"

# A layer that ONNX lacks is named, and nothing is written.
expect 2 "layer 'pool' (masked_pool) cannot be written as ONNX: no operator of ONNX does what it does" \
  "$pquant" model convert "$work/sets.h5" -o "$work/sets.onnx"
[ ! -e "$work/sets.onnx" ] || fault "a file was written for a model that ONNX lacks a layer of"
expect 2 "the ending of '$work/net.xyz' tells no format; give --to" "$pquant" model convert "$work/net.h5" -o "$work/net.xyz"
expect 2 "--to: 'torch' is not one of pquant, keras, safetensors, npz, onnx" "$pquant" model convert "$work/net.h5" -o "$work/k" --to torch
expect 2 "-o OUT is missing" "$pquant" model convert "$work/net.h5"
expect 2 "an ONNX file holds its architecture" "$pquant" model info "$work/net.onnx" --arch "$work/net.h5"
[ "$(find "$work" -name '*.tmp.*' -o -name net.xyz -o -name k | wc -l)" = 0 ] || fault "something was left behind"

# What writes our own format takes no other one's ending for it.
for name in small.onnx small.keras small.safetensors small.npz small.pt; do
  expect 2 "$work/$name: .${name#*.} is the ending of another format; models are written in pquant's own, as .h5" \
    "$pquant" compress "$work/net.h5" -o "$work/$name" --method quantize:bits=8,activations=false
  [ ! -e "$work/$name" ] || fault "$name was written"
done

# Half a file, and one with a byte too many in its length.
head -c 300 "$work/net.onnx" >"$work/half.onnx"
expect 2 "$work/half.onnx: byte" "$pquant" model info "$work/half.onnx"
: >"$work/empty.onnx"
expect 2 "the file holds no graph" "$pquant" model info "$work/empty.onnx"
done_testing
