"""The 16 high-level jet-substructure features of the LHC jet set (JSC).

Weights z_i = pT_i / sum pT and distances theta_ij = sqrt(dy^2 + dphi^2) over
the constituents of the groomed jet:

    1e2^(b) = sum_{i<j} z_i z_j theta_ij^b
    e3^(b)  = sum_{i<j<k} z_i z_j z_k (theta_ij theta_ik theta_jk)^b
    1g3^(b) = sum_{i<j<k} z_i z_j z_k min(theta)^b
    2g3^(b) = sum_{i<j<k} z_i z_j z_k (min(theta) mid(theta))^b
    C1 = 1e2        C2 = e3 / e2^2     D2 = e3 / e2^3
    D2^(a,b) = e3^(a) / (e2^(b))^(3 a / b)      (so d2_a1_b1 is d2_b1)
    M2 = 1g3 / 1e2  N2 = 2g3 / (1e2)^2

zlogz = sum_i x_i ln x_i with x_i = E_i / E_jet and the multiplicity are of the
jet before grooming. A jet with e2 = 0 has ratios 0, never NaN.

Sources: C: Larkoski, Salam, Thaler, arXiv:1305.0007; D: Larkoski, Moult,
Neill, arXiv:1409.6298; M, N: Moult, Necib, Thaler, arXiv:1609.07483; the
selection and its order: Duarte et al., arXiv:1804.06913.
"""

from functools import lru_cache

import numpy as np

from jets import wrap

FEATURE_NAMES = (
    "zlogz", "c1_b0_mmdt", "c1_b1_mmdt", "c1_b2_mmdt", "c2_b1_mmdt", "c2_b2_mmdt",
    "d2_b1_mmdt", "d2_b2_mmdt", "d2_a1_b1_mmdt", "d2_a1_b2_mmdt", "m2_b1_mmdt", "m2_b2_mmdt",
    "n2_b1_mmdt", "n2_b2_mmdt", "mass_mmdt", "multiplicity",
)


@lru_cache(maxsize=256)
def _triplets(n):
    """Indices of all i<j<k below n, and of their pairs in the flat [n, n] table."""
    i, j = np.triu_indices(n, 1)
    counts = n - 1 - j
    first = np.repeat(np.arange(len(i)), counts)
    k = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + j[first] + 1
    i, j = i[first], j[first]
    as_index = lambda a: a.astype(np.int32)
    return tuple(as_index(a) for a in (i, j, k, i * n + j, i * n + k, j * n + k))


def correlators(pt, rapidity, phi):
    """Energy correlation sums of one jet.

    @param pt, rapidity, phi  [n] constituents (pT in any unit)
    @return dict: e2_0, e2_1, e2_2, e3_1, e3_2, g1_1, g1_2, g2_1, g2_2
    Cost: n^3 / 6 terms, in numpy.
    """
    n = len(pt)
    z = pt / pt.sum()
    theta2 = np.subtract.outer(rapidity, rapidity) ** 2
    theta2 += wrap(np.subtract.outer(phi, phi)) ** 2
    theta = np.sqrt(theta2)
    e2 = {b: 0.5 * (z @ t @ z) for b, t in ((1, theta), (2, theta2))}
    out = {"e2_0": 0.5 * (1.0 - z @ z), "e2_1": e2[1], "e2_2": e2[2]}
    names = ("e3_1", "e3_2", "g1_1", "g1_2", "g2_1", "g2_2")
    if n < 3:
        out.update(dict.fromkeys(names, 0.0))
        return out
    i, j, k, ij, ik, jk = _triplets(n)
    zz = np.multiply.outer(z, z).ravel()
    weight = zz[ij] * z[k]
    flat = theta.ravel()
    a, b, c = flat[ij], flat[ik], flat[jk]
    low, high = np.minimum(a, b), np.maximum(a, b)
    smallest, middle = np.minimum(low, c), np.maximum(low, np.minimum(high, c))
    product, pair = a * b * c, smallest * middle
    for name, value in (("e3", product), ("g1", smallest), ("g2", pair)):
        weighted = weight * value
        out[name + "_1"] = weighted.sum()
        out[name + "_2"] = weighted @ value
    return out


def _ratio(above, below):
    """above / below, 0 where below is 0."""
    return above / below if below > 0.0 else 0.0


def groomed_features(pt, rapidity, phi, mass):
    """The features c1_b0 .. mass [14] of one groomed jet; formulas above."""
    s = correlators(pt, rapidity, phi)
    d2 = [_ratio(s[f"e3_{b}"], s[f"e2_{b}"] ** 3) for b in (1, 2)]
    return np.array([
        s["e2_0"], s["e2_1"], s["e2_2"],
        *(_ratio(s[f"e3_{b}"], s[f"e2_{b}"] ** 2) for b in (1, 2)),
        *d2,
        d2[0],
        _ratio(s["e3_1"], s["e2_2"] ** 1.5),
        *(_ratio(s[f"g1_{b}"], s[f"e2_{b}"]) for b in (1, 2)),
        *(_ratio(s[f"g2_{b}"], s[f"e2_{b}"] ** 2) for b in (1, 2)),
        mass,
    ])


def zlogz(energy):
    """sum_i x_i ln x_i, x_i = E_i / sum E; [n] GeV, in -ln n .. 0."""
    x = energy / energy.sum()
    x = x[x > 0.0]
    return float(x @ np.log(x))
