"""What boosted trees reject by what they are given: why c rejection is what it is.

    check_inputs.py FOLDER    chunks that generate.py jets-btag keeps until it is done (OUT.parts)

Trains on the jets of events 0-4 (modulo 10), tests on the others: on the 16 features of
jets-btag, on the 10 leading tracks, and on both, for three shares f_c of c jets in
D_b = ln p_b - ln(f_c p_c + (1 - f_c) p_light). Needs requirements-check.txt.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

import btag
import sample_btag

TRACKS = 10
FIELDS = ("lifetimeSignedD0Significance", "lifetimeSignedZ0SinThetaSignificance", "ptfrac", "dr")
LIGHT, C, B = (sample_btag.CLASS_NAMES.index(name) for name in ("light", "c", "b"))


def padded(chunk):
    """[jets, TRACKS * 4] of the leading tracks, NaN where there is none."""
    counts = chunk["n_tracks"]
    jet = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    out = np.full((len(counts), TRACKS, len(FIELDS)), np.nan, np.float32)
    columns = [list(btag.TRACK_FIELDS).index(name) for name in FIELDS]
    kept = place < TRACKS
    out[jet[kept], place[kept]] = chunk["tracks"][kept][:, columns]
    return out.reshape(len(counts), -1)


def rejection(passed):
    """(value, binomial error) of 1 / efficiency."""
    value = len(passed) / max(passed.sum(), 1)
    return value, value / max(passed.sum(), 1) ** 0.5


def main(folder):
    chunks = [np.load(path) for path in sorted(Path(folder).glob("chunk-*.npz"))]
    if not chunks:
        sys.exit(f"check_inputs: error: there is no chunk in '{folder}'")
    features = np.concatenate([c["x"] for c in chunks])
    tracks = np.concatenate([padded(c) for c in chunks])
    label = np.concatenate([sample_btag.classes(c["label"]) for c in chunks])
    train = np.concatenate([c["index"] for c in chunks]) % 10 < 5
    truth = label[~train]
    print(f"{train.sum()} jets to train on, {len(truth)} to test on")
    for name, x in (("16 features", features),
                    ("10 tracks, pT, eta", np.hstack([tracks, features[:, :2]])),
                    ("both", np.hstack([features, tracks]))):
        trees = HistGradientBoostingClassifier(max_iter=300, learning_rate=0.08, early_stopping=True,
                                               l2_regularization=1.0, random_state=1)
        p = trees.fit(x[train], label[train]).predict_proba(x[~train])
        for f_c in (0.018, 0.1, 0.2):
            score = np.log(p[:, B] / (f_c * p[:, C] + (1.0 - f_c) * p[:, LIGHT]))
            for point in (0.6, 0.7, 0.77, 0.85):
                passed = score >= np.quantile(score[truth == B], 1.0 - point)
                light, c = rejection(passed[truth == LIGHT]), rejection(passed[truth == C])
                print(f"| {name} | {f_c} | {point:.0%} | {light[0]:.0f} +- {light[1]:.0f} "
                      f"| {c[0]:.2f} +- {c[1]:.2f} |")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("check_inputs: error: one folder is due")
    main(sys.argv[1])
