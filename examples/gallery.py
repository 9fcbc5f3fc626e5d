"""Gallery: three looks at compressed taggers, as a notebook in cells (`# %%`).

    python examples/gallery.py [FOLDER FOR THE PLOTS]

Runs in seconds from any folder; needs matplotlib beside pquant. Without a folder the plots go to docs/images.
"""
# %% What is looked at: the jet tagger 16-64-32-32-5 and the b tagger of this repository
import os
import sys
import tempfile

import matplotlib
import numpy as np

import pquant

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLOTS = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "docs", "images")
if "ipykernel" not in sys.modules:
    matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

plt.rcParams.update({"figure.dpi": 80, "font.size": 10, "axes.grid": True, "grid.alpha": 0.3, "legend.frameon": False})


def data(*names):
    return os.path.join(ROOT, "datasets", *names)


def save(figure, name):
    figure.tight_layout()
    figure.savefig(os.path.join(PLOTS, f"gallery_{name}.png"))


jets = data("jets-hlf.h5")
tagger = pquant.load(data("models", "jsc-mlp.h5"))

# %% Low rank: what the singular values promise, what the accuracy says, and what two epochs bring back
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
for (layer, name), kernel in tagger.weights().items():
    if name == "kernel":
        values = np.linalg.svd(kernel, compute_uv=False)
        left.semilogy(np.arange(1, len(values) + 1), values / values[0], "o-", markersize=3,
                      label=f"{layer} {kernel.shape[0]} x {kernel.shape[1]}")
left.set(xlabel="singular value", ylabel="relative to the largest")
left.legend()

reference = pquant.evaluate(tagger, jets + ":test")
right.axhspan(reference.lo, reference.hi, color="0.8", label="original")
ranks = [2, 4, 8, 16]
for label, methods, more in [("svd", ["low_rank"], {}), ("svd, then 2 epochs", ["low_rank", "finetune"], {"epochs": 2, "lr": 0.003})]:
    found = [pquant.evaluate(pquant.compress_model(tagger, methods, rank=r, data=jets + ":train", **more), jets + ":test")
             for r in ranks]
    right.errorbar(ranks, found, yerr=[[a - a.lo for a in found], [a.hi - a for a in found]], marker="o", markersize=4, capsize=2,
                   label=label)
    print(f"{label}: accuracy " + ", ".join(f"{a:.4f} at rank {r}" for r, a in zip(ranks, found)))
right.set(xlabel="rank", ylabel="accuracy on the test jets")
right.legend()
save(figure, "low_rank")

# %% A sweep: every cell is a row, with intervals
folder = tempfile.TemporaryDirectory()
results = pquant.run(f"""
schema: pquant/1
name: gallery
model: {{weights: {data("models", "jsc-mlp.h5")}}}
dataset: {{file: {jets}, calib: train, calib_events: 2000}}
pipelines:
  reference: []
  svd: {{stages: [{{svd: {{rank: $rank, clip_rank: true}}}}], sweep: {{rank: [4, 8, 12]}}}}
  pruned: {{stages: [{{prune: {{target_sparsity: $share}}}}], sweep: {{share: [0.25, 0.5, 0.75]}}}}
  pruned_finetuned:
    stages: [{{prune: {{target_sparsity: $share}}}}, {{finetune: {{epochs: 2, lr: 0.003}}}}]
    sweep: {{share: [0.5, 0.75]}}
  quantized: {{stages: [{{quantize: {{bits: $bits}}}}], sweep: {{bits: [4, 6, 8]}}}}
metrics: [accuracy, size]
""", output=folder.name, progress=False)
axes = results.plot("stored_bytes", "accuracy", plt.subplots(figsize=(6.4, 4))[1])
axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())
axes.set_xticks([4000, 8000, 16000], ["4,000", "8,000", "16,000"])
save(axes.figure, "sweep")
print(results.to_pandas()[["label", "accuracy", "stored_bytes"]].to_string(index=False))

# %% b tagging: rejection at each b efficiency, from the outputs themselves
btag_jets = data("jets-btag.h5")
original = pquant.load(data("models", "btag-mlp.h5"))
x, y = pquant.Data.open(btag_jets + ":test").read()
scaler = original.structure["scaler"]  # predict() takes what the first layer takes
x = ((x - np.asarray(scaler["mean"])) / np.asarray(scaler["std"])).astype(np.float32)
names = original.classes or []
light, c, b = (names.index(name) for name in ("light", "c", "b"))


def discriminant(model, f_c=0.018):
    """log of p_b over the mixture of p_c and p_light; float [events]."""
    p = np.clip(model.predict(x), 1e-30, None)
    return np.log(p[:, b] / (f_c * p[:, c] + (1 - f_c) * p[:, light]))


figure, axes = plt.subplots(figsize=(6.4, 4))
efficiencies = np.linspace(0.55, 0.95, 81)
for label, model, style in [
        ("original", original, "-"),
        ("int8", pquant.compress_model(original, "quantization", bits=8, data=btag_jets + ":val"), "--"),
        ("rank 8, no training", pquant.compress_model(original, "low_rank", rank=8), ":")]:
    d = discriminant(model)
    cuts = np.quantile(d[y == b], 1 - efficiencies)
    at = pquant.evaluate_b_tagging(original, model, btag_jets + ":test")
    rejection = 1 / (d[y == light] > np.quantile(d[y == b], 0.3)).mean()
    print(f"{label}: b efficiency {at['b_tag_efficiency']['compressed']:.4f} at 1 % mistag of light, rejection of light "
          f"{rejection:.0f} at 70 %, {model.stored_bytes} bytes")
    for flavour, name, colour in ((light, "light", "C0"), (c, "c", "C1")):
        passed = (d[y == flavour][:, None] > cuts).mean(0)
        axes.semilogy(efficiencies, 1 / np.maximum(passed, 1 / (y == flavour).sum()), style, color=colour,
                      label=f"{name}, {label}")
axes.set(xlabel="b efficiency", ylabel="rejection")
axes.legend(fontsize=8)
save(figure, "btag")
