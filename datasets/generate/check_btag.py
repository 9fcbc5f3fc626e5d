"""Checks the b-tag sample and prints Markdown.

    check_btag.py jets-btag.h5 jets-btag-tracks.h5

Track counting, boosted trees (scikit-learn) on the 16 inputs, AUC, rejections at the
usual working points, b efficiency against pT, and field access of the tracks file as
puma and salt do it. D_b = ln[p_b / (f_c p_c + (1 - f_c) p_light)], f_c = 0.018.
"""

import argparse

import h5py
import numpy as np

PT_BINS = (20, 30, 40, 60, 85, 110, 140, 175, 250)
WORKING_POINTS = (0.60, 0.70, 0.77, 0.85)
F_C = 0.018
# Expectations: a toy without tails and fakes, and published taggers on full simulation.
COUNTING_TOY = {2: (0.725, 0.219, 0.0118), 3: (0.503, 0.063, 0.0012)}
FLAVOURS = ("b", "c", "light")


def counting_table(tracks_path):
    """Share of jets with at least 2 or 3 tracks of S_d0 > 2.5."""
    with h5py.File(tracks_path) as f:
        tracks, label = f["tracks"], f["jets"]["HadronConeExclTruthLabelID"]
        good = tracks["valid"] & (tracks["lifetimeSignedD0Significance"] > 2.5)
    count = good.sum(axis=1)
    print(f"\nTrack counting, S_d0 > 2.5, {len(label)} jets (in brackets: a toy without tails and fakes)\n")
    print("| tracks | b | c | light |\n|---|---|---|---|")
    for least, toy in COUNTING_TOY.items():
        cells = [f"{(count[label == k] >= least).mean():.4f} ({t})" for k, t in zip((5, 4, 0), toy)]
        print(f"| >= {least} | " + " | ".join(cells) + " |")


def fields_table(tracks_path):
    """Reads the fields that puma and salt configurations name; fails if one is missing."""
    jet_fields = ("pt", "eta", "abs_eta", "mass", "pt_btagJes", "eta_btagJes", "n_tracks",
                  "HadronConeExclTruthLabelID", "HadronConeExclTruthLabelPt",
                  "n_truth_promptLepton", "eventNumber", "mcEventWeight", "flavour_label")
    track_fields = ("d0", "z0SinTheta", "dphi", "deta", "qOverP", "IP3D_signed_d0_significance",
                    "IP3D_signed_z0_significance", "phiUncertainty", "thetaUncertainty",
                    "qOverPUncertainty", "ftagTruthOriginLabel", "ftagTruthVertexIndex", "valid")
    with h5py.File(tracks_path) as f:
        jets = f["jets"].fields(list(jet_fields))[:]
        tracks = f["tracks"].fields(list(track_fields))[:]
        order = [str(c) for c in f["jets"].attrs["flavour_label"]]
    assert tracks.shape[1] == 40 and tracks["valid"].dtype == bool
    assert (tracks["valid"].sum(axis=1) == jets["n_tracks"]).all()
    assert jets["pt"].min() > 19.9e3, "pT is not in MeV"
    print(f"\nFTAG file: {len(jets)} jets, {int(tracks['valid'].sum())} tracks, classes {order}; "
          f"all {len(jet_fields)} jet and {len(track_fields)} track fields are there. "
          "Median number of tracks " + ", ".join(
              f"{name} {np.median(jets['n_tracks'][jets['HadronConeExclTruthLabelID'] == k]):.0f}"
              for name, k in zip(FLAVOURS, (5, 4, 0))))
    origin = np.bincount(tracks["ftagTruthOriginLabel"][tracks["valid"]], minlength=8)
    print(f"\nTrack origins: " + ", ".join(f"{n} {c / origin.sum():.3f}" for n, c in zip(
        ("pile-up", "fake", "primary", "b", "b to c", "c", "tau", "other"), origin)))


def auc(scores, positive):
    from sklearn.metrics import roc_auc_score
    return roc_auc_score(positive, scores)


def tree_tables(path, seed=1):
    """Boosted trees on the 16 inputs: AUC, rejections, efficiency against pT."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    with h5py.File(path) as f:
        names = [str(c) for c in f.attrs["class_names"]]
        x, y = f["train/x"][:], f["train/y"][:]
        xt, yt, pt = f["test/x"][:], f["test/y"][:], f["test/aux/pt"][:]
        sizes = {s: len(f[s]["y"]) for s in ("train", "val", "test")}
        overlap = set.intersection(*(set(f[s]["aux/eventNumber"][:]) for s in ("train", "test")))
    assert not overlap, "an event is in train and in test"
    b, c, light = (names.index(n) for n in FLAVOURS)
    keep = np.isin(y, (b, c, light))
    trees = HistGradientBoostingClassifier(max_iter=300, learning_rate=0.08, max_leaf_nodes=31,
                                           early_stopping=True, random_state=seed)
    trees.fit(x[keep], y[keep])
    p = np.zeros((len(xt), len(names)))
    p[:, trees.classes_] = trees.predict_proba(xt)
    score = np.log((p[:, b] + 1e-10) / (F_C * p[:, c] + (1 - F_C) * p[:, light] + 1e-10))
    is_b, is_c, is_l = yt == b, yt == c, yt == light
    print(f"\nBoosted trees on the 16 inputs; {sizes}; test b {is_b.sum()}, c {is_c.sum()}, "
          f"light {is_l.sum()}, tau {(yt == names.index('tau')).sum()}; f_c = {F_C}\n")
    print(f"AUC b-light {auc(score[is_b | is_l], is_b[is_b | is_l]):.4f}, "
          f"b-c {auc(score[is_b | is_c], is_b[is_b | is_c]):.4f}\n")
    print("| b efficiency | light rejection | c rejection |\n|---|---|---|")
    for point in WORKING_POINTS:
        cut = np.quantile(score[is_b], 1.0 - point)
        cells = []
        for mask in (is_l, is_c):
            n, k = mask.sum(), (score[mask] >= cut).sum()
            r = n / max(k, 1)
            error = r * np.sqrt(max(r - 1, 0) / n)
            cells.append(f"{r:.1f} +- {error:.1f}" if k else f"> {n}")
        print(f"| {point:.0%} | " + " | ".join(cells) + " |")
    cut = np.quantile(score[is_b], 0.30)
    print("\nFixed cut of 70 %, by pT in GeV\n\n| pT | b efficiency | light rejection | c rejection |\n|---|---|---|---|")
    for low, high in zip(PT_BINS, PT_BINS[1:]):
        here = (pt >= low) & (pt < high)
        eff = [(score[m & here] >= cut).mean() for m in (is_b, is_l, is_c)]
        rejection = [1.0 / e if e > 0 else float("inf") for e in eff[1:]]
        print(f"| {low}-{high} | {eff[0]:.3f} | {rejection[0]:.0f} | {rejection[1]:.1f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("features")
    parser.add_argument("tracks")
    options = parser.parse_args()
    fields_table(options.tracks)
    counting_table(options.tracks)
    tree_tables(options.features)


if __name__ == "__main__":
    main()
