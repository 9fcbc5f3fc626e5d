"""Tracks: perigee parameters, resolutions, tails, fakes, lifetime signs.

True perigee of a straight line from the vertex (x, y, z), relative to the
reconstructed primary vertex (exact enough below a few mm):

    d0 = y cos(phi) - x sin(phi)
    z0 = z - (x cos(phi) + y sin(phi)) cot(theta)

Lifetime signs: s_d0 = sign(d0 sin(phi_jet - phi)), positive for a decay in
front of the primary vertex; s_z0 = sign((eta_jet - eta) z0).

Resolutions and efficiencies: the ATLAS cards of Delphes (arXiv:1307.6346;
trackResolutionATLAS.tcl). Tails, secondary interactions and fakes are not in
there; their rates are tuned so that light-jet rejection comes out as in real
experiments (datasets/README.md). Lengths in mm, momenta in GeV, angles in rad.
"""

import numpy as np

MIN_PT, MAX_ETA = 0.5, 2.5
MAX_D0, MAX_Z0_SIN_THETA = 3.5, 5.0
CONE = 0.4
VERTEX_SIGMA = (0.010, 0.010, 0.030)  # error of the reconstructed primary vertex

_D0_EDGES = np.array([1.0, 2.0, 4.0, 6.0, 10.0, 30.0])
_D0_SIGMA = np.array([0.080, 0.045, 0.028, 0.020, 0.016, 0.014, 0.0115])
_Z0_EDGES = np.array([1.0, 2.0, 4.0, 6.0, 15.0, 30.0])
_Z0_SIGMA = np.array([0.140, 0.096, 0.075, 0.058, 0.055, 0.050, 0.047])
_ANGLE_EDGES = np.array([5.0, 15.0])
_PHI_SIGMA = np.array([[1.5e-3, 3.7e-3], [1.1e-3, 2.7e-3], [1.5e-4, 2.3e-4]])  # eta .25, 2.5
_COT_SIGMA = np.array([[1.75e-3, 1.95e-2], [1.4e-3, 1.4e-2], [5.4e-4, 2.5e-3]])
_PT_SIGMA = np.array([[0.06, 1.3e-3], [0.10, 1.7e-3], [0.25, 3.1e-3]])  # |eta| < .5, 1.5, 2.5

TAIL_SHARE, TAIL_SCALE = 0.02, (3.0, 5.0)        # of tracks; times sigma
SECONDARY_SHARE, SECONDARY_LENGTH = 0.005, 0.3   # of tracks; mean |extra d0|, mm
FAKE_SHARE, FAKE_D0, FAKE_Z0 = 0.010, 1.0, 2.0  # of tracks; Gaussian widths, mm


def efficiency(pt, abs_eta):
    """Track-finding efficiency of the Delphes ATLAS card."""
    central = abs_eta < 1.5
    return np.where(pt > 1.0, np.where(central, 0.95, 0.85), np.where(central, 0.70, 0.60))


def sigma_d0(pt):
    return _D0_SIGMA[np.digitize(pt, _D0_EDGES)]


def sigma_z0(pt):
    return _Z0_SIGMA[np.digitize(pt, _Z0_EDGES)]


def _angle_sigma(table, pt, abs_eta):
    low, high = table[np.digitize(pt, _ANGLE_EDGES)].T
    return low + (high - low) * np.clip((abs_eta - 0.25) / 2.25, 0.0, 1.0)


def sigma_relative_pt(pt, abs_eta):
    """sigma(pT) / pT = sqrt(a^2 + (b pT)^2)."""
    a, b = _PT_SIGMA[np.digitize(abs_eta, [0.5, 1.5])].T
    return np.hypot(a, b * pt)


def perigee(vertex, phi, cot_theta):
    """(d0, z0) in mm of straight lines from vertex [n, 3] along (phi, cot theta)."""
    x, y, z = vertex.T
    d0 = y * np.cos(phi) - x * np.sin(phi)
    return d0, z - (x * np.cos(phi) + y * np.sin(phi)) * cot_theta


def lifetime_signs(d0, z0, eta, phi, jet_eta, jet_phi):
    """(s_d0, s_z0), each -1, 0 or 1."""
    return np.sign(d0 * np.sin(jet_phi - phi)), np.sign((jet_eta - eta) * z0)


def smear(truth, rng):
    """Reconstructed tracks.

    @param truth  dict of [n]: pt, phi, cot, charge, vertex [n, 3] relative to the
                  reconstructed primary vertex, origin
    @return dict of [n]: pt, eta, phi, cot, charge, d0, z0, their errors, origin
    """
    pt, phi, cot = truth["pt"], truth["phi"], truth["cot"]
    n = len(pt)
    abs_eta = np.abs(np.arcsinh(cot))
    s_d0, s_z0 = sigma_d0(pt), sigma_z0(pt)
    s_phi, s_cot = _angle_sigma(_PHI_SIGMA, pt, abs_eta), _angle_sigma(_COT_SIGMA, pt, abs_eta)
    s_pt = sigma_relative_pt(pt, abs_eta)
    d0, z0 = perigee(truth["vertex"], phi, cot)
    wide = np.where(rng.random(n) < TAIL_SHARE, rng.uniform(*TAIL_SCALE, n), 1.0)
    d0 = d0 + rng.normal(size=n) * s_d0 * wide
    z0 = z0 + rng.normal(size=n) * s_z0 * wide
    kinked = (rng.random(n) < SECONDARY_SHARE) & (truth["origin"] == 2)
    kick = rng.laplace(0.0, SECONDARY_LENGTH, (2, n))
    d0, z0 = d0 + kinked * kick[0], z0 + kinked * kick[1]
    phi = phi + rng.normal(size=n) * s_phi
    cot = cot + rng.normal(size=n) * s_cot
    pt = pt / np.maximum(1.0 + rng.normal(size=n) * np.minimum(s_pt, 0.3), 0.2)
    return finish(pt, phi, cot, truth["charge"], d0, z0, np.where(kinked, 7, truth["origin"]))


def finish(pt, phi, cot, charge, d0, z0, origin):
    """A track table from reconstructed parameters, with the errors a fit would quote."""
    eta = np.arcsinh(cot)
    abs_eta = np.abs(eta)
    sin_theta = 1.0 / np.cosh(eta)
    s_cot = _angle_sigma(_COT_SIGMA, pt, abs_eta)
    return {
        "pt": pt, "eta": eta, "phi": phi, "cot": cot, "charge": charge, "d0": d0, "z0": z0,
        "sin_theta": sin_theta, "origin": origin,
        "sigma_d0": np.hypot(sigma_d0(pt), VERTEX_SIGMA[0]),
        "sigma_z0": np.hypot(sigma_z0(pt), VERTEX_SIGMA[2]),
        "sigma_phi": _angle_sigma(_PHI_SIGMA, pt, abs_eta),
        "sigma_theta": s_cot * sin_theta**2,
        "sigma_pt": sigma_relative_pt(pt, abs_eta) * pt,
    }


def fakes(n_tracks, jet_eta, jet_phi, rng):
    """Fake tracks inside jets, Poisson with a mean of FAKE_SHARE per track.

    @param n_tracks, jet_eta, jet_phi  [n_jets]
    @return (track table, jet row [n_fakes])
    """
    jet = np.repeat(np.arange(len(n_tracks)), rng.poisson(FAKE_SHARE * n_tracks))
    n = len(jet)
    radius, angle = CONE * np.sqrt(rng.random(n)), rng.uniform(0.0, 2.0 * np.pi, n)
    pt = MIN_PT + rng.exponential(1.5, n)
    eta = jet_eta[jet] + radius * np.cos(angle)
    phi = jet_phi[jet] + radius * np.sin(angle)
    charge = rng.choice([-1.0, 1.0], n)
    d0, z0 = rng.normal(0.0, FAKE_D0, n), rng.normal(0.0, FAKE_Z0, n)
    return finish(pt, phi, np.sinh(eta), charge, d0, z0, np.ones(n, np.int64)), jet


def selected(t):
    """Quality cuts on reconstructed tracks (mask)."""
    return ((t["pt"] > MIN_PT) & (np.abs(t["eta"]) < MAX_ETA) & (np.abs(t["d0"]) < MAX_D0)
            & (np.abs(t["z0"] * t["sin_theta"]) < MAX_Z0_SIN_THETA))
