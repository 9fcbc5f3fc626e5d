"""The 16 high-level inputs of the b-tag sample: pT, eta and 14 expert features.

Selection of quantities after Guest et al., arXiv:1607.08633 (8 of tracks, 6 of
vertices). Here:

- tracks are ordered by falling signed S_d0; track 2 and 3 are the second and third;
  jets with fewer tracks hold 0. Significances are clipped to +-50;
- n_tracks_over_d0_threshold counts S_d0 > 1.8;
- jet_prob = -ln P, P = Q sum_k (-ln Q)^k / k!, k < N, Q = product of the
  probabilities erfc(S / sqrt 2) of the N tracks with S_d0 > 0 (ALEPH jet probability);
  0 without tracks, clipped to 100;
- jet widths: sqrt(sum pT d^2 / sum pT) of the tracks, d the distance in eta or phi;
- vertex_significance: L / sigma of the most significant vertex, clipped to 100;
  delta_r_vertex its angle to the jet; mass (as pions, GeV) and energy fraction are of
  all its tracks; all are 0 without a vertex.
"""

from math import erfc, lgamma, log, sqrt

import numpy as np

import btag_vertices
from jets import wrap

FEATURE_NAMES = (
    "pt", "eta",
    "track_2_d0_significance", "track_3_d0_significance",
    "track_2_z0_significance", "track_3_z0_significance",
    "n_tracks_over_d0_threshold", "jet_prob", "jet_width_eta", "jet_width_phi",
    "vertex_significance", "n_secondary_vertices", "n_secondary_vertex_tracks",
    "delta_r_vertex", "vertex_mass", "vertex_energy_fraction",
)
D0_THRESHOLD, MAX_SIGNIFICANCE, MAX_VERTEX_SIGNIFICANCE, MAX_JET_PROB = 1.8, 50.0, 100.0, 100.0


def minus_ln_jet_probability(significance):
    """-ln P of tracks with positive signed S_d0; see above."""
    positive = significance[significance > 0.0]
    n = len(positive)
    if n == 0:
        return 0.0
    minus_ln_q = -sum(log(max(erfc(s / sqrt(2.0)), 1e-300)) for s in positive)
    if minus_ln_q <= 0.0:
        return 0.0
    k = np.arange(n)
    terms = k * log(minus_ln_q) - np.array([lgamma(i + 1.0) for i in k])
    top = terms.max()
    return min(max(minus_ln_q - top - log(np.exp(terms - top).sum()), 0.0), MAX_JET_PROB)


def jet_features(jet_pt, jet_eta, jet_phi, t, s_d0, s_z0):
    """The 16 inputs of one jet.

    @param jet_pt, jet_eta, jet_phi  GeV, -, rad
    @param t           dict of [n] track values (btag_tracks.finish)
    @param s_d0, s_z0  [n] signed significances
    """
    out = np.zeros(len(FEATURE_NAMES))
    out[0], out[1] = jet_pt, jet_eta
    if len(s_d0) == 0:
        return out
    order = np.argsort(-s_d0, kind="stable")
    clip = lambda s: min(max(s, -MAX_SIGNIFICANCE), MAX_SIGNIFICANCE)
    for place, column in ((1, 2), (2, 3)):
        if len(order) > place:
            out[column] = clip(s_d0[order[place]])
            out[column + 2] = clip(s_z0[order[place]])
    out[6] = (s_d0 > D0_THRESHOLD).sum()
    out[7] = minus_ln_jet_probability(s_d0)
    weight = t["pt"] / t["pt"].sum()
    out[8] = sqrt(weight @ (t["eta"] - jet_eta) ** 2)
    out[9] = sqrt(weight @ wrap(t["phi"] - jet_phi) ** 2)
    vertices = btag_vertices.find(t, s_d0, jet_eta, jet_phi)
    if vertices:
        out[10:] = _vertex_features(vertices, t, jet_eta, jet_phi)
    return out


def _vertex_features(vertices, t, jet_eta, jet_phi):
    members = np.concatenate([v[0] for v in vertices])
    _, (x, y, z), significance = vertices[0]
    eta, phi = np.arcsinh(z / np.hypot(x, y)), np.arctan2(y, x)
    energy = t["pt"] * np.cosh(t["eta"])
    return (
        min(significance, MAX_VERTEX_SIGNIFICANCE), len(vertices), len(members),
        np.hypot(eta - jet_eta, wrap(phi - jet_phi)),
        btag_vertices.invariant_mass(*(t[k][members] for k in ("pt", "eta", "phi"))),
        energy[members].sum() / energy.sum(),
    )
