"""One chunk of the b-tag sample: events to jets, tracks and high-level features.

Three quarters of the events are top pairs (b; c and light from W), one quarter QCD
jets in two slices of pT, at 13 TeV with the underlying event, no pile-up. Particles
decay inside the first pixel layer only (radius 30 mm). Jets: anti-kT of all visible
stable particles but prompt leptons, pT smeared, 20 < pT < 250 GeV, |eta| < 2.5.
"""

import numpy as np

import btag_features
import btag_tracks
import btag_truth
import jets
from events import Generator, charge, final_visible, is_charged, pythia_seed

_CYLINDER = ("ParticleDecays:limitCylinder = on", "ParticleDecays:xyMax = 30.",
             "ParticleDecays:zMax = 300.")
# name, share of the events in eighths, settings
PROCESSES = (
    ("ttbar", 6, ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on", *_CYLINDER)),
    ("qcd-low", 1, ("HardQCD:all = on", "PhaseSpace:pTHatMin = 25.", "PhaseSpace:pTHatMax = 80.",
                    *_CYLINDER)),
    ("qcd-high", 1, ("HardQCD:all = on", "PhaseSpace:pTHatMin = 80.",
                     "PhaseSpace:pTHatMax = 250.", *_CYLINDER)),
)
JET_PT, JET_MAX_ETA, PARTICLE_MAX_ETA = (20.0, 250.0), 2.5, 4.9
MAX_TRACKS, BATCH = 40, 125

# Stored per track, float32. Units: mm, rad, 1/MeV.
TRACK_FIELDS = (
    "d0", "z0SinTheta", "dphi", "deta", "qOverP",
    "lifetimeSignedD0Significance", "lifetimeSignedZ0SinThetaSignificance",
    "phiUncertainty", "thetaUncertainty", "qOverPUncertainty", "ptfrac", "dr",
)


def process_counts(n):
    """How many of n events each process gets."""
    counts = [n * share // 8 for _, share, _ in PROCESSES]
    counts[0] += n - sum(counts)
    return counts


def make_chunk(n, seed, chunk, options):
    """Jets and tracks of n events.

    @param options  dict: radius
    @return dict of arrays over jets: x [n_jets, 16], label, hadron_pt, pt, eta, phi,
            mass (GeV), index (event in the chunk), process; n_tracks [n_jets];
            and over tracks: tracks [n_tracks, 12] f32, origin, vertex_index
    """
    parts, first = [], 0
    for number, wanted in enumerate(process_counts(n)):
        sequence = np.random.SeedSequence((seed, 3, chunk, number))
        pythia_key, smear_key = sequence.spawn(2)
        rng = np.random.default_rng(smear_key)
        generator = wanted and Generator(PROCESSES[number][2], pythia_seed(pythia_key))
        for start in range(0, wanted, BATCH):
            events = generator.batch(min(BATCH, wanted - start))
            part = reconstruct(events, options["radius"], rng)
            part["index"] = part["index"] + first + start
            part["process"] = np.full(len(part["index"]), number, np.int32)
            parts.append(part)
        first += wanted
    return {k: np.concatenate([p[k] for p in parts]) for k in parts[0]}


def reconstruct(events, radius, rng):
    """Everything of a batch of events; see make_chunk."""
    visible = np.flatnonzero(final_visible(events, PARTICLE_MAX_ETA))
    kinds = btag_truth.ancestry(events, visible)
    visible = visible[~kinds["prompt"]]
    kinds = {k: v[~kinds["prompt"]] for k, v in kinds.items()}
    found = find_jets(events, visible, radius, rng)
    table = btag_truth.JetTable(found["index"], found["eta"], found["phi"], events.n)
    n_jets = len(found["pt"])
    found["label"], found["hadron_pt"] = btag_truth.label_jets(events, table, n_jets)
    tracks, jet, vertex = make_tracks(events, visible, kinds, table, found, rng)
    return found | attach(found, tracks, jet, vertex)


def find_jets(events, visible, radius, rng):
    """Jets of the batch, with smeared pT: dict of arrays [n_jets]."""
    p4 = np.stack([a[visible] for a in (events.px, events.py, events.pz, events.e)], axis=1)
    counts = np.bincount(events.event[visible], minlength=events.n)
    offset = np.concatenate([[0], np.cumsum(counts)])
    momenta, event, _ = jets.antikt(*p4.T, offset, radius, 0.6 * JET_PT[0])
    pt = np.hypot(momenta[:, 0], momenta[:, 1])
    eta, phi = np.arcsinh(momenta[:, 2] / pt), np.arctan2(momenta[:, 1], momenta[:, 0])
    mass = np.sqrt(np.maximum(momenta[:, 3] ** 2 - (momenta[:, :3] ** 2).sum(axis=1), 0.0))
    scale = np.maximum(1.0 + rng.normal(size=len(pt)) * np.sqrt(0.25 / pt + 0.0025), 0.1)
    pt, mass = pt * scale, mass * scale
    keep = (pt > JET_PT[0]) & (pt < JET_PT[1]) & (np.abs(eta) < JET_MAX_ETA)
    return {"pt": pt[keep], "eta": eta[keep], "phi": phi[keep], "mass": mass[keep],
            "index": event[keep]}


def make_tracks(events, visible, kinds, table, found, rng):
    """Smeared tracks in jets, with fakes: (track table, jet row, true vertex radius)."""
    pid = events.id[visible]
    pt = np.hypot(events.px[visible], events.py[visible])
    eta = np.arcsinh(events.pz[visible] / pt)
    phi = np.arctan2(events.py[visible], events.px[visible])
    keep = is_charged(pid) & (pt > 0.8 * btag_tracks.MIN_PT) & (np.abs(eta) < 2.6)
    keep &= rng.random(len(pid)) < btag_tracks.efficiency(pt, np.abs(eta))
    jet = np.full(len(pid), -1)
    jet[keep] = table.closest(events.event[visible][keep], eta[keep], phi[keep],
                              btag_tracks.CONE)
    rows = np.flatnonzero(jet >= 0)
    true_vertex = events.vertex[visible[rows]]
    origin_vertex = events.vertex[events.offset[:-1] + 3]  # the hard process, all at one point
    true_vertex = true_vertex - origin_vertex[events.event[visible[rows]]]
    reconstructed = rng.normal(size=(events.n, 3)) * btag_tracks.VERTEX_SIGMA
    distance = np.hypot(true_vertex[:, 0], true_vertex[:, 1])
    truth = {
        "pt": pt[rows], "phi": phi[rows], "cot": np.sinh(eta[rows]),
        "charge": charge(pid[rows]).astype(np.float64),
        "vertex": true_vertex - reconstructed[events.event[visible[rows]]],
        "origin": btag_truth.origin_labels({k: v[rows] for k, v in kinds.items()}, distance),
    }
    track = btag_tracks.smear(truth, rng)
    jet = jet[rows]
    n_in_jet = np.bincount(jet, minlength=len(found["pt"]))
    fake, fake_jet = btag_tracks.fakes(n_in_jet, found["eta"], found["phi"], rng)
    both = {k: np.concatenate([track[k], fake[k]]) for k in track}
    jet = np.concatenate([jet, fake_jet])
    vertex = np.concatenate([true_vertex, np.full((len(fake_jet), 3), np.nan)])
    good = btag_tracks.selected(both)
    return {k: v[good] for k, v in both.items()}, jet[good], vertex[good]


def attach(found, t, jet, vertex):
    """Sorts tracks into jets, at most 40 by |S_d0|, and computes the features."""
    jet_eta, jet_phi, jet_pt = (found[k][jet] for k in ("eta", "phi", "pt"))
    sign_d0, sign_z0 = btag_tracks.lifetime_signs(t["d0"], t["z0"], t["eta"], t["phi"],
                                                  jet_eta, jet_phi)
    t["s_d0"] = sign_d0 * np.abs(t["d0"]) / t["sigma_d0"]
    t["s_z0"] = sign_z0 * np.abs(t["z0"]) / t["sigma_z0"]
    deta, dphi = t["eta"] - jet_eta, jets.wrap(t["phi"] - jet_phi)
    momentum = t["pt"] / t["sin_theta"] * 1e3  # MeV
    stored = np.stack([
        t["d0"], t["z0"] * t["sin_theta"], dphi, deta, t["charge"] / momentum,
        t["s_d0"], t["s_z0"], t["sigma_phi"], t["sigma_theta"],
        t["sigma_pt"] / t["pt"] / momentum, t["pt"] / jet_pt, np.hypot(deta, dphi),
    ], axis=1).astype(np.float32)
    order = np.lexsort((-np.abs(t["s_d0"]), jet))
    start = np.searchsorted(jet[order], np.arange(len(found["pt"]) + 1))
    x = np.empty((len(found["pt"]), len(btag_features.FEATURE_NAMES)))
    kept = []
    vertex_index = np.full(len(jet), -2, np.int32)
    for j in range(len(x)):
        rows = order[start[j]:start[j + 1]][:MAX_TRACKS]
        kept.append(rows)
        vertex_index[rows] = vertex_numbers(vertex[rows])
        x[j] = btag_features.jet_features(
            found["pt"][j], found["eta"][j], found["phi"][j],
            {k: t[k][rows] for k in ("pt", "eta", "phi", "cot", "charge", "d0", "z0",
                                     "sigma_d0", "sigma_z0")},
            t["s_d0"][rows], t["s_z0"][rows])
    rows = np.concatenate(kept) if kept else np.empty(0, np.int64)
    return {"x": x, "n_tracks": np.array([len(k) for k in kept], np.int32),
            "tracks": stored[rows], "origin": t["origin"][rows].astype(np.int32),
            "vertex_index": vertex_index[rows]}


def vertex_numbers(vertex):
    """ftagTruthVertexIndex of the tracks of one jet.

    0 is the primary vertex, then 1, 2, ... in order of appearance; points closer than
    0.1 mm are one vertex; -2 for fakes (vertex is NaN).
    """
    out, seen = [], [np.zeros(3)]
    for point in vertex:
        if np.isnan(point[0]):
            out.append(-2)
            continue
        near = [i for i, s in enumerate(seen)
                if np.sum((point - s) ** 2) < btag_truth.PRIMARY_RADIUS**2]
        if not near:
            near = [len(seen)]
            seen.append(point)
        out.append(near[0])
    return out
