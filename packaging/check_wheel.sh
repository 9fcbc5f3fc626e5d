#!/usr/bin/env bash
# The wheel in a bare Debian 12 that has only Python: check_wheel.sh WHEEL. It compresses a network of NumPy arrays, runs
# the quickstart, and is imported beside torch and h5py in every order. For the hand before a release, as root, where
# debootstrap, a mirror and the package index are at hand; FOLDER=… keeps the root there.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
wheel=$(realpath "${1:?packaging/check_wheel.sh WHEEL}")
[ "$(id -u)" = 0 ] || { echo "packaging/check_wheel.sh: error: needs root for chroot" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "packaging/check_wheel.sh: error: debootstrap is missing (apt-get install debootstrap)" >&2; exit 2; }
folder=${FOLDER:-$(mktemp -d)}
release() {
  umount "$folder/frameworks" "$folder/proc" 2>/dev/null || true
  [ -n "${FOLDER:-}" ] || rm -rf --one-file-system "$folder"
}
trap release EXIT
[ -x "$folder/bin/bash" ] || debootstrap --variant=minbase --include=python3 bookworm "$folder" >"$folder.log" 2>&1 ||
  { tail -5 "$folder.log" >&2; exit 75; }
mountpoint -q "$folder/proc" || mount -t proc proc "$folder/proc"

# The root has no pip: the package is put there from outside, for its Python.
rm -rf "$folder/packages"
python3 -m pip install --quiet --disable-pip-version-check --target "$folder/packages" --python-version 3.11 \
  --only-binary=:all: "$wheel"
# torch and h5py are those of the tests beside other frameworks.
cd "$root"
# shellcheck source=benchmarks/environment.sh
. benchmarks/environment.sh
make_environment interop tests/interop/requirements.txt
mkdir -p "$folder/frameworks"
mount --bind "$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" "$folder/frameworks"
rm -rf "$folder/data" "$folder/results"
mkdir "$folder/data"
cp -r "$root/configs" "$root/datasets" "$folder/data"

inside() { # NAME PYTHONPATH ARGUMENT…
  local name=$1 path=$2
  shift 2
  chroot "$folder" env -i HOME=/root PATH=/usr/bin:/bin PYTHONPATH="$path" LC_ALL=C.UTF-8 bash -c 'cd /data && "$@"' - "$@" ||
    { echo "FAIL $name, exit code $?"; exit 1; }
  echo "ok   $name"
}
inside "a network of arrays" /packages python3 -c '
import numpy as np, pquant
draw = np.random.default_rng(0)
net = pquant.Model.build([{"kind": "input", "name": "x", "shape": (64,)},
    {"kind": "dense", "name": "a", "weights": {"kernel": draw.normal(size=(48, 64)), "bias": np.zeros(48)}}, {"kind": "relu", "name": "r"},
    {"kind": "dense", "name": "b", "weights": {"kernel": draw.normal(size=(5, 48)), "bias": np.zeros(5)}}])
x = draw.normal(size=(2000, 64)).astype("f")
small = pquant.compress_model(net, ["low_rank", "quantization"], rank=16, data=(x, net.predict(x).argmax(1)))
print(small, pquant.evaluate(small, (x, net.predict(x).argmax(1))), pquant.measure_latency(small))'
inside "the quickstart" /packages python3 -m pquant run configs/quickstart.yaml -q
for order in torch,h5py,pquant torch,pquant,h5py h5py,torch,pquant h5py,pquant,torch pquant,torch,h5py pquant,h5py,torch; do
  inside "import $order" /packages:/frameworks python3 -c "
import $order
import numpy as np
m = pquant.load('datasets/models/jsc-mlp.h5')
small = pquant.compress_model(m, 'svd', rank=4)
small.save('/tmp/small.h5')
with h5py.File('/tmp/small.h5') as f:
    assert 'weights' in f
torch.linalg.svd(torch.randn(64, 64))
assert abs(float(small.predict(np.ones((10, 16), 'f')).sum()) - 10) < 1e-3"
done
