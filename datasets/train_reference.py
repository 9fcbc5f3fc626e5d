"""Trains the reference jet tagger 16-64-32-32-5 on jets-hlf, with numpy alone.

    train_reference.py [--data jets-hlf.h5] [--out models/jsc-mlp] [--seed 1]

Writes OUT.weights.h5 (Keras 2 weights-only HDF5), OUT.json (its architecture) and
OUT.md (card). Inputs are (x - scaler_mean) / scaler_std with the scaler stored in the
dataset; outputs are class probabilities in the dataset's class order.

Method: ReLU layers, softmax, cross entropy; Adam (Kingma, Ba, arXiv:1412.6980) with
L2 decay on the weights, minibatches, learning rate falling by a cosine (Loshchilov,
Hutter, arXiv:1608.03983); the epoch with the highest accuracy on val is kept; test is
read once, at the end. Deterministic for one numpy build and processor type.
"""

import argparse
import hashlib
import json
import os
from importlib import metadata
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a fixed order of sums

import h5py
import numpy as np

WIDTHS = (16, 64, 32, 32, 5)
NAMES = ("fc1_relu", "fc2_relu", "fc3_relu", "output_softmax")
HERE = Path(__file__).resolve().parent


def load(path):
    """(dict split -> (standardised x [n, 16] f32, y [n]), class names)."""
    with h5py.File(path) as f:
        mean, std = f.attrs["scaler_mean"], f.attrs["scaler_std"]
        splits = {s: ((f[s]["x"][:] - mean) / std, f[s]["y"][:].astype(np.int64))
                  for s in ("train", "val", "test")}
        return splits, [str(c) for c in f.attrs["class_names"]]


def initialise(rng):
    """He-uniform kernels [in, out] and zero biases, float32."""
    params = []
    for n_in, n_out in zip(WIDTHS, WIDTHS[1:]):
        limit = np.sqrt(6.0 / n_in)
        params.append(rng.uniform(-limit, limit, (n_in, n_out)).astype(np.float32))
        params.append(np.zeros(n_out, np.float32))
    return params


def forward(params, x):
    """Activations of every layer; the last one holds probabilities."""
    layers = [x]
    for i in range(0, len(params), 2):
        z = layers[-1] @ params[i] + params[i + 1]
        if i + 2 < len(params):
            layers.append(np.maximum(z, 0.0))
        else:
            e = np.exp(z - z.max(axis=1, keepdims=True))
            layers.append(e / e.sum(axis=1, keepdims=True))
    return layers


def gradients(params, layers, y):
    """Gradient of the mean cross entropy by every parameter."""
    delta = layers[-1].copy()
    delta[np.arange(len(y)), y] -= 1.0
    delta /= len(y)
    out = [None] * len(params)
    for i in range(len(params) - 2, -1, -2):
        below = layers[i // 2]
        out[i], out[i + 1] = below.T @ delta, delta.sum(axis=0)
        if i:
            delta = (delta @ params[i].T) * (below > 0.0)
    return out


class Adam:
    """Adam with decoupled L2 decay on kernels."""

    def __init__(self, params, decay):
        self._m = [np.zeros_like(p) for p in params]
        self._v = [np.zeros_like(p) for p in params]
        self._t, self._decay = 0, decay

    def step(self, params, grads, rate):
        self._t += 1
        scale = np.float32(rate * np.sqrt(1.0 - 0.999**self._t) / (1.0 - 0.9**self._t))
        for p, g, m, v in zip(params, grads, self._m, self._v):
            m += np.float32(0.1) * (g - m)
            v += np.float32(0.001) * (g * g - v)
            if p.ndim == 2:
                p *= np.float32(1.0 - rate * self._decay)
            p -= scale * m / (np.sqrt(v) + np.float32(1e-8))


def accuracy(params, x, y):
    return float((forward(params, x)[-1].argmax(axis=1) == y).mean())


def train(splits, config):
    """Trained parameters [kernel, bias, ...] of the best epoch on val."""
    rng = np.random.default_rng(config["seed"])
    params = initialise(rng)
    x, y = splits["train"]
    adam, best = Adam(params, config["decay"]), (-1.0, 0, None)
    for epoch in range(config["epochs"]):
        rate = 0.5 * config["rate"] * (1.0 + np.cos(np.pi * epoch / config["epochs"]))
        order = rng.permutation(len(y))
        for start in range(0, len(y), config["batch"]):
            take = order[start:start + config["batch"]]
            layers = forward(params, x[take])
            adam.step(params, gradients(params, layers, y[take]), rate)
        score = accuracy(params, *splits["val"])
        if score > best[0]:
            best = (score, epoch + 1, [p.copy() for p in params])
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: val accuracy {score:.4f}, best {best[0]:.4f}", flush=True)
    return best


def auc(scores, positive):
    """Area under the ROC curve by ranks; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - 0.5 * (counts - 1))[inverse]
    n_pos = positive.sum()
    n_neg = len(positive) - n_pos
    return float((rank[positive].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def write_weights(path, params):
    """Keras 2 weights-only layout: <layer>/<layer>/kernel:0 and bias:0."""
    with h5py.File(path, "w", libver=("v108", "v110")) as f:
        f.attrs["backend"] = np.bytes_("tensorflow")
        f.attrs["keras_version"] = np.bytes_("2.1.3")
        f.attrs["layer_names"] = np.array([b"input_1", *(n.encode() for n in NAMES)])
        f.create_group("input_1").attrs["weight_names"] = np.array([], dtype=np.float64)
        for i, name in enumerate(NAMES):
            group = f.create_group(name)
            weight_names = [f"{name}/kernel:0", f"{name}/bias:0"]
            group.attrs["weight_names"] = np.array([w.encode() for w in weight_names])
            for weight, value in zip(weight_names, params[2 * i:2 * i + 2]):
                group.create_dataset(weight, data=value, track_times=False)


def architecture():
    """Keras 2 functional model: fused activations in Dense layers."""
    layers = [{"class_name": "InputLayer", "name": "input_1", "inbound_nodes": [],
               "config": {"batch_input_shape": [None, WIDTHS[0]], "dtype": "float32",
                          "name": "input_1", "sparse": False}}]
    for i, name in enumerate(NAMES):
        layers.append({
            "class_name": "Dense", "name": name,
            "inbound_nodes": [[[layers[-1]["name"], 0, 0, {}]]],
            "config": {"activation": "softmax" if i == len(NAMES) - 1 else "relu",
                       "name": name, "trainable": True, "units": WIDTHS[i + 1],
                       "use_bias": True},
        })
    return {"backend": "tensorflow", "class_name": "Model", "keras_version": "2.1.3",
            "config": {"name": "jsc_mlp", "layers": layers,
                       "input_layers": [["input_1", 0, 0]],
                       "output_layers": [[NAMES[-1], 0, 0]]}}


def card(data_path, config, best, splits, classes):
    """The model card: what, how, how good."""
    x, y = splits["test"]
    scores = forward(best[2], x)[-1]
    correct = int((scores.argmax(axis=1) == y).sum())
    digest = hashlib.sha256(Path(data_path).read_bytes()).hexdigest()
    rows = "\n".join(f"| {c} | {auc(scores[:, i], y == i):.4f} | "
                     f"{(scores.argmax(axis=1) == i)[y == i].mean():.4f} |"
                     for i, c in enumerate(classes))
    return f"""# jsc-mlp: reference jet tagger

MLP 16-64-32-32-5, ReLU, softmax; 4,389 parameters. Inputs: the 16 features of `jets-hlf`,
standardised with the scaler stored in that file. Outputs, in order: {", ".join(classes)}.

- Files: `jsc-mlp.weights.h5` (Keras 2 weights only), `jsc-mlp.json` (architecture).
  The weights are for standardized features and carry no scaler: `--scaler dataset`, or `scaler: dataset`.
- Data: `{Path(data_path).name}`, sha256 `{digest}`
- Command: `python3 datasets/train_reference.py --seed {config['seed']}` (numpy {metadata.version('numpy')})
- Config: Adam, rate {config['rate']} falling by a cosine, batch {config['batch']}, \
{config['epochs']} epochs, L2 decay {config['decay']}, He-uniform start; epoch {best[1]} kept \
(val accuracy {best[0]:.4f}, n = {len(splits['val'][1])}).
- Test accuracy **{correct / len(y):.4f}** ({correct} of {len(y)}).

| class | AUC, one against the rest | efficiency (argmax) |
|---|---|---|
{rows}

The sample is generated, not recorded: do not set these figures beside those of the public LHC jet set.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=HERE / "jets-hlf.h5")
    parser.add_argument("--out", type=Path, default=HERE / "models" / "jsc-mlp")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=150)
    options = parser.parse_args()
    config = {"seed": options.seed, "rate": 2e-3, "batch": 256, "epochs": options.epochs,
              "decay": 1e-2}
    splits, classes = load(options.data)
    best = train(splits, config)
    name = str(options.out)
    write_weights(name + ".weights.h5", best[2])
    Path(name + ".json").write_text(json.dumps(architecture(), indent=1) + "\n")
    text = card(options.data, config, best, splits, classes)
    Path(name + ".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
