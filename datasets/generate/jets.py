"""Jet finding with FastJet on flat arrays, many events in one call.

Sources: anti-kT, Cacciari, Salam, Soyez, arXiv:0802.1189; FastJet,
arXiv:1111.6097; Cambridge/Aachen, hep-ph/9707323; mMDT, arXiv:1307.0007 =
soft drop with beta = 0, arXiv:1402.2657.
"""

import awkward as ak
import fastjet
import numpy as np


def _jagged(px, py, pz, e, offset):
    """An awkward array of momenta; offset [n + 1] as int64."""
    return ak.Array(
        ak.contents.ListOffsetArray(
            ak.index.Index64(offset),
            ak.contents.RecordArray(
                [ak.contents.NumpyArray(np.ascontiguousarray(a)) for a in (px, py, pz, e)],
                ["px", "py", "pz", "E"],
                parameters={"__record__": "Momentum4D"},
            ),
        )
    )


def antikt(px, py, pz, e, offset, radius, min_pt):
    """Anti-kT jets of many events.

    @param px, py, pz, e  [n_particles] GeV
    @param offset         [n_events + 1] first particle of each event
    @return (momenta [n_jets, 4] as px py pz e, event [n_jets],
             constituents: list of n_jets arrays with indices into px)
    Jets of an event come in order of falling pT.
    """
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    cluster = fastjet.ClusterSequence(_jagged(px, py, pz, e, offset), definition)
    found = cluster.inclusive_jets(min_pt)
    index = cluster.constituent_index(min_pt)
    per_event = np.asarray(ak.num(found, axis=1))
    event = np.repeat(np.arange(len(per_event)), per_event)
    flat = ak.flatten(found, axis=1)
    p4 = np.stack([np.asarray(flat[k]) for k in ("px", "py", "pz", "E")], axis=1)
    of_jet = ak.flatten(index, axis=1)
    counts = np.asarray(ak.num(of_jet, axis=1))
    local = np.asarray(ak.flatten(of_jet, axis=1)).astype(np.int64)
    start = np.concatenate([[0], np.cumsum(counts)])
    constituents = [local[start[j]:start[j + 1]] + offset[event[j]] for j in range(len(counts))]
    order = np.lexsort((-np.hypot(p4[:, 0], p4[:, 1]), event))
    return p4[order], event[order], [constituents[j] for j in order]


def mmdt(px, py, pz, e, offset, zcut=0.1):
    """Modified mass-drop groomed jets: reclustered with C/A, soft drop beta = 0.

    A branch is dropped until min(pT1, pT2) / (pT1 + pT2) > zcut.

    @param offset  [n_jets + 1] first constituent of each jet
    @return (mass [n_jets] GeV, constituents px py pz e [n, 4], new offset [n_jets + 1])
    """
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 1000.0)
    cluster = fastjet.ClusterSequence(_jagged(px, py, pz, e, offset), definition)
    groomed = cluster.exclusive_jets_softdrop_grooming(
        njets=1, beta=0.0, symmetry_cut=zcut, symmetry_measure="scalar_z", R0=1.0,
        recursion_choice="larger_pt",
    )
    kept = groomed.constituents
    counts = np.asarray(ak.num(kept, axis=1))
    flat = ak.flatten(kept, axis=1)
    p4 = np.stack([np.asarray(flat[k]) for k in ("px", "py", "pz", "E")], axis=1)
    offset_out = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return np.maximum(np.asarray(groomed.msoftdrop), 0.0), p4, offset_out


def pt_rap_phi(p4):
    """(pT, rapidity, phi) of momenta [n, 4] = px py pz e; GeV, radians."""
    px, py, pz, e = p4.T
    pt = np.hypot(px, py)
    plus, minus = np.maximum(e + pz, 1e-300), np.maximum(e - pz, 1e-300)
    return pt, 0.5 * np.log(plus / minus), np.arctan2(py, px)


def wrap(phi):
    """Angle brought into [-pi, pi)."""
    return (phi + np.pi) % (2.0 * np.pi) - np.pi
