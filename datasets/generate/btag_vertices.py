"""Secondary vertices of one jet, by linear least squares.

With tracks as straight lines, both impact parameters are linear in the vertex
v = (x, y, z):  d0 = y cos(phi) - x sin(phi),  z0 = z - (x cos(phi) + y sin(phi)) cot(theta).
So the best common point of n >= 2 tracks solves a 3 x 3 system exactly, with
chi2 = sum of squared pulls. The worst track is dropped until chi2 per track is
below 6; dropped tracks may form a second vertex.
"""

import numpy as np

SEED_SIGNIFICANCE = 2.0   # signed S_d0 of tracks that may belong to a vertex
MAX_CHI2_PER_TRACK = 6.0
LXY_RANGE = (0.3, 40.0)   # mm
MIN_SIGNIFICANCE = 3.0    # L / sigma
PION_MASS = 0.13957       # GeV
KSHORT_WINDOW = (0.475, 0.52)  # GeV, opposite charges


def fit_point(d0, z0, s_d0, s_z0, phi, cot):
    """Common point of lines: (v [3] mm, covariance [3, 3], chi2 per track [n])."""
    cos, sin = np.cos(phi), np.sin(phi)
    zero, one = np.zeros_like(cos), np.ones_like(cos)
    rows = np.concatenate([
        np.stack([-sin, cos, zero], axis=1) / s_d0[:, None],
        np.stack([-cos * cot, -sin * cot, one], axis=1) / s_z0[:, None],
    ])
    values = np.concatenate([d0 / s_d0, z0 / s_z0])
    covariance = np.linalg.inv(rows.T @ rows + 1e-9 * np.eye(3))
    point = covariance @ (rows.T @ values)
    pulls = values - rows @ point
    n = len(d0)
    return point, covariance, pulls[:n] ** 2 + pulls[n:] ** 2


def invariant_mass(pt, eta, phi):
    """Mass in GeV of tracks as pions."""
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    e = np.sqrt(px**2 + py**2 + pz**2 + PION_MASS**2)
    m2 = e.sum() ** 2 - px.sum() ** 2 - py.sum() ** 2 - pz.sum() ** 2
    return np.sqrt(max(m2, 0.0))


def find(t, significance, jet_eta, jet_phi):
    """Vertices of one jet, the most significant first.

    @param t             dict of [n] track values (btag_tracks.finish)
    @param significance  [n] signed S_d0
    @return list of (tracks [m] indices, point [3] mm, L / sigma)
    """
    pool = np.flatnonzero(significance > SEED_SIGNIFICANCE)
    axis = np.array([np.cos(jet_phi), np.sin(jet_phi), np.sinh(jet_eta)])
    vertices = []
    while len(pool) >= 2:
        members, dropped = pool, []
        while len(members) >= 2:
            point, covariance, chi2 = fit_point(*(t[k][members] for k in (
                "d0", "z0", "sigma_d0", "sigma_z0", "phi", "cot")))
            if chi2.sum() < MAX_CHI2_PER_TRACK * len(members):
                break
            worst = chi2.argmax()
            dropped.append(members[worst])
            members = np.delete(members, worst)
        if len(members) < 2:
            break
        lxy = np.hypot(point[0], point[1])
        if LXY_RANGE[0] < lxy < LXY_RANGE[1] and point @ axis > 0 and not _is_kshort(t, members):
            length = np.sqrt(point @ point)
            unit = point / length
            value = length / np.sqrt(unit @ covariance @ unit)
            if value > MIN_SIGNIFICANCE:
                vertices.append((members, point, value))
        pool = np.array(sorted(dropped), dtype=np.int64)
    return sorted(vertices, key=lambda v: -v[2])


def _is_kshort(t, members):
    if len(members) != 2 or t["charge"][members].sum() != 0:
        return False
    mass = invariant_mass(*(t[k][members] for k in ("pt", "eta", "phi")))
    return KSHORT_WINDOW[0] < mass < KSHORT_WINDOW[1]
