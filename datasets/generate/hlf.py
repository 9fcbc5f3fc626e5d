"""One chunk of the jets-hlf sample: five jet classes, 16 features.

The sample imitates the public LHC jet set (MadGraph + Pythia 8.2): pairs of
gluons, light quarks, W, Z or top at a parton pT of 1 TeV, 13 TeV, hadronic decays
only; the leading anti-kT jet of an event is kept and carries the label of its
process. Stable particles without neutrinos, after the detector of detector_jsc.py.
"""

import numpy as np
from pythia import pythia8mc

import detector_jsc
import jets
from events import Generator, final_visible, is_charged, pythia_seed
from hlf_features import FEATURE_NAMES, groomed_features, zlogz

CLASS_NAMES = ("g", "q", "w", "z", "t")

_PT_WINDOW = ("PhaseSpace:pTHatMin = 995.", "PhaseSpace:pTHatMax = 1005.")
_HADRONIC_W = ("24:onMode = off", "24:onIfAny = 1 2 3 4 5")
# MadGraph produced W, Z and t on the mass shell: no Breit-Wigner tails.
_ON_SHELL_W = ("24:m0 = 80.419", "24:mMin = 80.4", "24:mMax = 80.44")
_ON_SHELL_Z = ("23:m0 = 91.188", "23:mMin = 91.17", "23:mMax = 91.21")
_ON_SHELL_T = ("6:m0 = 173.", "6:mMin = 172.98", "6:mMax = 173.02")
_HADRONIC_Z = ("23:onMode = off", "23:onIfAny = 1 2 3 4 5", "WeakZ0:gmZmode = 2")

PROCESSES = {
    "g": ("HardQCD:gg2gg = on", "HardQCD:qqbar2gg = on"),
    "q": ("HardQCD:qq2qq = on", "HardQCD:gg2qqbar = on", "HardQCD:qqbar2qqbarNew = on"),
    "w": ("WeakDoubleBoson:ffbar2WW = on", *_HADRONIC_W, *_ON_SHELL_W),
    "z": ("WeakDoubleBoson:ffbar2gmZgmZ = on", *_HADRONIC_Z, *_ON_SHELL_Z),
    "t": ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *_HADRONIC_W, *_ON_SHELL_T),
}

# Longitudinal share of the W and Z decays: Pythia makes nearly transverse pairs, an
# isotropic decay is 1/3. Tuned on the share of groomed masses below 50 GeV, which is
# W 0.20 +- 0.03 and Z 0.14 +- 0.025 in 1000 real jets.
LONGITUDINAL = {"w": 1.0 / 3.0, "z": 0.55}

MIN_JET_PT = 100.0  # GeV


class Polarise(pythia8mc.UserHooks):
    """Accepts W and Z pairs so that their decay angles follow a chosen polarisation.

    With c the cosine of the decay angle in the boson's rest frame against its
    flight, the transverse pairs (3/8)(1 + c^2) are reweighted by acceptance to
    f (3/4)(1 - c^2) + (1 - f) (3/8)(1 + c^2).
    """

    def __init__(self, boson, longitudinal, rng):
        super().__init__()
        self._boson, self._f, self._rng = boson, longitudinal, rng
        self._largest = max(2.0 * longitudinal + (1.0 - longitudinal), 1.0 - longitudinal)

    def canVetoProcessLevel(self):
        return True

    def doVetoProcessLevel(self, process):
        accept = 1.0
        for i in range(process.size()):
            boson = process[i]
            if boson.idAbs() != self._boson or boson.daughter1() <= 0:
                continue
            c2 = _decay_cosine(boson, process[boson.daughter1()]) ** 2
            weight = 2.0 * self._f * (1.0 - c2) / (1.0 + c2) + 1.0 - self._f
            accept *= weight / self._largest
        return bool(self._rng.random() > accept)


def _decay_cosine(parent, child):
    """Cosine of the angle of child in the rest frame of parent, against parent's flight.

    From the energies alone: E_child = gamma (E* + beta p* c).
    """
    mass, momentum = parent.m(), parent.pAbs()
    other = max(parent.m2Calc() - 2.0 * (parent.p() * child.p()) + child.m2Calc(), 0.0)
    e_star = (mass * mass + child.m2Calc() - other) / (2.0 * mass)
    p_star = np.sqrt(max(e_star * e_star - child.m2Calc(), 1e-12))
    return (child.e() * mass / parent.e() - e_star) / (p_star * momentum / parent.e())


def make_chunk(n, seed, chunk, options):
    """Features of n jets, classes in turn as equal blocks.

    @param n        jets wanted; class c gets its share of 5
    @param seed     seed of the whole sample
    @param chunk    index of this chunk; (seed, chunk) fixes every number
    @param options  dict: radius
    @return dict: x [n, 16] f64, y [n] u8, pt, eta, mass [n] f64 (jet before grooming; GeV),
            index [n] position in the chunk
    """
    parts = []
    for label, name in enumerate(CLASS_NAMES):
        wanted = n // 5 + (label < n % 5)
        if wanted:
            parts.append(_make_class(label, name, wanted, (seed, 1, chunk, label), options))
    out = {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}
    out["index"] = np.arange(n)
    return out


def _make_class(label, name, wanted, key, options):
    """wanted jets of one class; key: integers that seed it."""
    sequence = np.random.SeedSequence(key)
    pythia_key, smear_key, decay_key = sequence.spawn(3)
    hooks = None
    if name in LONGITUDINAL:
        boson = 24 if name == "w" else 23
        hooks = Polarise(boson, LONGITUDINAL[name], np.random.default_rng(decay_key))
    generator = Generator((*_PT_WINDOW, *PROCESSES[name]), pythia_seed(pythia_key), hooks)
    rng = np.random.default_rng(smear_key)
    rows, missing = [], wanted
    while missing > 0:
        rows.append(leading_jets(generator.batch(min(missing, 200)), options, rng))
        missing -= len(rows[-1]["x"])
    out = {k: np.concatenate([r[k] for r in rows])[:wanted] for k in rows[0]}
    out["y"] = np.full(wanted, label, np.uint8)
    return out


def leading_jets(events, options, rng):
    """Features of the leading jet of each event.

    Left out: events without a jet, and jets with fewer than three groomed constituents,
    whose ratios are undefined (the public set dropped such rows as well).
    """
    keep = final_visible(events, detector_jsc.MAX_ETA)
    p4 = np.stack([a[keep] for a in (events.px, events.py, events.pz, events.e)], axis=1)
    event = events.event[keep]
    pid = events.id[keep]
    p4, offset = detector_jsc.simulate(event, events.n, pid, is_charged(pid), *p4.T, rng)
    found, of_event, members = jets.antikt(*p4.T, offset, options["radius"], MIN_JET_PT)
    first = np.unique(of_event, return_index=True)[1]
    out = jet_features(found[first], [p4[members[j]] for j in first])
    whole = out["x"][:, FEATURE_NAMES.index("c2_b1_mmdt")] > 0.0
    return {k: v[whole] for k, v in out.items()}


def jet_features(jet_p4, constituents):
    """The 16 features of jets [n, 4] with their constituents (list of [m, 4])."""
    counts = np.array([len(c) for c in constituents])
    offset = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    mass, kept, kept_offset = jets.mmdt(*np.concatenate(constituents).T, offset)
    pt, rapidity, phi = jets.pt_rap_phi(kept)
    x = np.empty((len(counts), len(FEATURE_NAMES)))
    for j, members in enumerate(constituents):
        part = slice(kept_offset[j], kept_offset[j + 1])
        x[j, 0] = zlogz(members[:, 3])
        x[j, 1:15] = groomed_features(pt[part], rapidity[part], phi[part], mass[j])
        x[j, 15] = counts[j]
    jet_pt = np.hypot(jet_p4[:, 0], jet_p4[:, 1])
    m2 = jet_p4[:, 3] ** 2 - (jet_p4[:, :3] ** 2).sum(axis=1)
    return {"x": x, "pt": jet_pt, "eta": np.arcsinh(jet_p4[:, 2] / jet_pt),
            "mass": np.sqrt(np.maximum(m2, 0.0))}
