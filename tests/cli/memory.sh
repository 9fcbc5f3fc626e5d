#!/usr/bin/env bash
# Files larger than memory are read in pieces: `data info`, `data import` and `model eval` on
# a gigabyte of images need no more address space than on a few megabytes. A file of weights
# costs what its arrays take, and no second copy.
. "$(dirname "$0")/common.sh"
export OPENBLAS_NUM_THREADS=1
export PQUANT_READ_LIMIT=8GB # the large file is packed 700 times smaller: that is said to be trusted
/usr/bin/python3 - "$work" <<'P'
import sys, zlib, h5py, numpy as np
# Chunks of one content, packed once: 2^20 bytes each.
def write(name, rows):
    with h5py.File(f"{sys.argv[1]}/{name}.h5", "w") as f:
        f.attrs["class_names"] = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot".split(",")
        x = f.create_dataset("test/x", (rows, 28, 28, 1), "f4", chunks=(334, 28, 28, 1), compression="gzip")
        block = (np.arange(334 * 784, dtype="f4") % 7 / 7).reshape(334, 28, 28, 1)
        packed = zlib.compress(block.tobytes())
        for first in range(0, rows, 334):
            x.id.write_direct_chunk((first, 0, 0, 0), packed)
        f["test/y"] = np.arange(rows, dtype="u1") % 10
write("small", 334 * 10)
write("large", 334 * 1000)
P
# Least address space, in steps of 64 MB, with which a command ends well on the small file.
least() {
  local mb
  for mb in $(seq 192 64 4096); do
    (ulimit -v $((mb * 1024)) && "$@" >/dev/null 2>&1) && { echo "$mb"; return; }
  done
  echo 0
}
bounded() { # NAME COMMAND… with FILE in place of the file
  local name=$1 mb
  shift
  mb=$(least "${@//FILE/$work/small.h5}")
  [ "$mb" -gt 0 ] || { fault "$name fails on the small file"; return; }
  echo "$name: $mb MB on the small file"
  (ulimit -v $(((mb + 128) * 1024)) && "${@//FILE/$work/large.h5}" >/dev/null 2>"$work/log") ||
    fault "$name of 1 GB needs more than $((mb + 128)) MB of address space: $(tail -2 "$work/log")"
}
bounded "data info" "$pquant" data info FILE
bounded "data import" "$pquant" data import FILE -o "$work/out.h5" --gzip 1 -q
bounded "model eval" "$pquant" model eval datasets/models/fashion-mlp.h5 --data FILE:test --threads 1 -q
# Training keeps its events in memory: too many are a matter of the configuration.
cat >"$work/train.yaml" <<Y
schema: pquant/1
name: large
model: {weights: $root/datasets/models/fashion-mlp.h5}
dataset: {file: $work/large.h5, train: test, validation: test}
train: {epochs: 1}
output: {model: $work/net.h5}
Y
out=$( (ulimit -v $((700 * 1024)) && "$pquant" train "$work/train.yaml" -q) 2>&1)
code=$?
[ $code = 2 ] || fault "training on too many events: exit code $code: $out"
[[ $out == *"do not fit into memory"*"hint: train on a part of them"* ]] || fault "training on too many events: $out"
# Arrays of 64 MB, in the order of our kernels and turned: at most 1.03 times themselves beyond what the program takes
# for a few (1.2 of the file is the goal; what it takes alone does not grow with it).
/usr/bin/python3 - "$work" <<'P'
import h5py, json, struct, sys, numpy as np
def layer(kind, **config):
    return {"class_name": kind, "config": dict(config, dtype="float32")}
def keras(file, kernels):
    names = [f"fc{i}" for i in range(len(kernels))]
    layers = [layer("InputLayer", name="in", batch_input_shape=[None, len(kernels[0])])]
    layers += [layer("Dense", name=k, units=w.shape[1], use_bias=False, activation="linear") for k, w in zip(names, kernels)]
    with h5py.File(f"{sys.argv[1]}/{file}.h5", "w") as f:
        f.attrs["keras_version"], f.attrs["backend"] = "2.15.0", "tensorflow"
        f.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"name": "m", "layers": layers}})
        g = f.create_group("model_weights")
        g.attrs["layer_names"] = np.array(names, "S")
        for k, w in zip(names, kernels):
            g.create_group(k).attrs["weight_names"] = np.array([k + "/kernel:0"], "S")
            g[k].create_dataset(k + "/kernel:0", data=w)
for n in (8, 4096):
    w = np.random.default_rng(0).standard_normal((n, n)).astype("f4")
    for kind, name in (("torch", "weight"), ("flax", "kernel")):
        head = json.dumps({"fc." + name: {"dtype": "F32", "shape": [n, n], "data_offsets": [0, 4 * n * n]}}).encode()
        head += b" " * (-len(head) % 8)
        with open(f"{sys.argv[1]}/{kind}{n}.safetensors", "wb") as f:
            f.write(struct.pack("<Q", len(head)) + head + w.tobytes())
        np.savez(f"{sys.argv[1]}/{kind}{n}.npz", **{"fc." + name: w})
    np.savez_compressed(f"{sys.argv[1]}/packed{n}.npz", **{"fc.kernel": w})
    np.savez(f"{sys.argv[1]}/columns{n}.npz", **{"fc.kernel": np.asfortranarray(w)})
    open(f"{sys.argv[1]}/{n}.yaml", "w").write(
        f"schema: pquant-layers/1\ninput: [{n}]\nlayers:\n  - dense: {{from: fc}}\n")
    keras(f"keras{n}", [w])
    keras(f"deep{n}", [w] if n == 8 else list(w.reshape(16, 1024, 1024)))
P
for n in 8 4096; do
  for file in own$n.h5 zip$n.keras graph$n.onnx; do
    "$pquant" model convert "$work/torch$n.safetensors" --arch "$work/$n.yaml" -o "$work/$file" -q || fault "no $file"
  done
done
# Most memory of `model info` of a file, in KB.
peak() {
  /usr/bin/python3 -c '
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$pquant" model info "$@"
}
for file in own.h5 keras.h5 deep.h5 zip.keras graph.onnx torch.safetensors flax.safetensors torch.npz flax.npz packed.npz columns.npz; do
  few=("$work/${file/./8.}") all=("$work/${file/./4096.}")
  [[ $file == *.safetensors || $file == *.npz ]] && few+=(--arch "$work/8.yaml") all+=(--arch "$work/4096.yaml")
  few=$(peak "${few[@]}") all=$(peak "${all[@]}")
  echo "$file of 65536 KB: $((all - few)) KB beyond the $few KB of one of 1 KB"
  [ $((all - few)) -le 67502 ] || fault "$file of 65536 KB takes $((all - few)) KB"
done
done_testing
