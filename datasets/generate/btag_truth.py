"""Truth of a jet-flavour sample: hadron flavours, ancestry, jet labels.

Labels (exclusive, in this order; ATLAS HadronConeExclTruthLabelID): a weakly
decaying b hadron of pT > 5 GeV within dR < 0.3 makes 5, else a c hadron 4, else a
hadronically decaying tau 15, else 0. Every hadron belongs to its closest jet only.

Track origins (ftagTruthOriginLabel): 0 pile-up, 1 fake, 2 primary, 3 from b,
4 from b through c, 5 from c, 6 from tau, 7 other secondary.
"""

import numpy as np

from jets import wrap

B_HADRONS = np.array([511, 521, 531, 541, 5122, 5132, 5232, 5332])
C_HADRONS = np.array([411, 421, 431, 4122, 4132, 4232, 4332])
LABELS = (5, 4, 15, 0)
CONE, MIN_HADRON_PT = 0.3, 5.0
PRIMARY_RADIUS = 0.1  # mm; vertices closer than this are one vertex


def last_in_chain(events, chosen):
    """Those of the chosen particles without a daughter that is chosen too (mask)."""
    start = events.offset[events.event]
    mother_row = start + events.mother1
    has_chosen_child = np.zeros(len(chosen), bool)
    has_chosen_child[mother_row[chosen & (events.mother1 > 0)]] = True
    return chosen & ~has_chosen_child


def hadronic_taus(events):
    """Mask of last-copy taus without an electron or muon among their daughters."""
    pid = np.abs(events.id)
    taus = last_in_chain(events, pid == 15)
    lepton = (pid == 11) | (pid == 13)
    mother_row = events.offset[events.event] + events.mother1
    leptonic = np.zeros(len(pid), bool)
    leptonic[mother_row[lepton & (events.mother1 > 0)]] = True
    return taus & ~leptonic


def ancestry(events, rows):
    """Which kinds of ancestors particles have.

    Walks up the first mothers through hadrons and leptons, never into partons.
    @param rows  [n] particle rows
    @return dict of bool [n]: b, c, tau; prompt (a lepton from W or Z, also through a tau)
    """
    pid = np.abs(events.id)
    start = events.offset[events.event[rows]]
    current = rows.copy()
    alive = np.ones(len(rows), bool)
    out = {k: np.zeros(len(rows), bool) for k in ("b", "c", "tau", "boson")}
    hadron_seen = np.zeros(len(rows), bool)
    while alive.any():
        current = np.where(alive, start + events.mother1[current], current)
        alive &= current > start
        kind = pid[current]
        hadron = kind > 100
        lepton = (kind >= 11) & (kind <= 16)
        out["b"] |= alive & np.isin(kind, B_HADRONS)
        out["c"] |= alive & np.isin(kind, C_HADRONS)
        out["tau"] |= alive & (kind == 15)
        hadron_seen |= alive & hadron
        out["boson"] |= alive & ((kind == 24) | (kind == 23)) & ~hadron_seen
        alive &= hadron | lepton | (kind == 22)
    own = pid[rows]
    out["prompt"] = out.pop("boson") & ((own == 11) | (own == 13))
    return out


def origin_labels(kinds, transverse_distance):
    """ftagTruthOriginLabel of tracks; distance of the production vertex in mm."""
    out = np.where(transverse_distance > PRIMARY_RADIUS, 7, 2)
    out = np.where(kinds["tau"], 6, out)
    out = np.where(kinds["c"], 5, out)
    out = np.where(kinds["b"], 3, out)
    return np.where(kinds["b"] & kinds["c"], 4, out)


class JetTable:
    """Jets of many events as a padded table [n_events, most], for closest-jet searches."""

    def __init__(self, event, eta, phi, n_events):
        counts = np.bincount(event, minlength=n_events)
        first = np.concatenate([[0], np.cumsum(counts)])[:-1]
        width = max(int(counts.max(initial=0)), 1)
        column = np.arange(len(event)) - first[event]
        self.row = np.full((n_events, width), -1)
        self.row[event, column] = np.arange(len(event))
        self._eta = np.full((n_events, width), 1e3)
        self._phi = np.zeros((n_events, width))
        self._eta[event, column], self._phi[event, column] = eta, phi

    def closest(self, event, eta, phi, cone):
        """Row of the closest jet of the same event, -1 if none within the cone."""
        if len(event) == 0:
            return np.empty(0, np.int64)
        distance = np.hypot(self._eta[event] - eta[:, None],
                            wrap(self._phi[event] - phi[:, None]))
        column = distance.argmin(axis=1)
        near = distance[np.arange(len(event)), column] < cone
        return np.where(near, self.row[event, column], -1)


def label_jets(events, table, n_jets):
    """(labels [n_jets] in 5 4 15 0, pT of the labelling hadron [n_jets] GeV or 0)."""
    pid = np.abs(events.id)
    pt = np.hypot(events.px, events.py)
    groups = (
        (5, last_in_chain(events, np.isin(pid, B_HADRONS))),
        (4, last_in_chain(events, np.isin(pid, C_HADRONS))),
        (15, hadronic_taus(events)),
    )
    labels, hadron_pt = np.zeros(n_jets, np.int32), np.zeros(n_jets)
    for label, mask in groups:
        rows = np.flatnonzero(mask & (pt > MIN_HADRON_PT))
        eta = np.arcsinh(events.pz[rows] / pt[rows])
        phi = np.arctan2(events.py[rows], events.px[rows])
        jet = table.closest(events.event[rows], eta, phi, CONE)
        hit = (jet >= 0) & (labels[jet] == 0)
        best = np.zeros(n_jets)
        np.maximum.at(best, jet[hit], pt[rows][hit])
        labels[best > 0] = label
        hadron_pt[best > 0] = best[best > 0]
    return labels, hadron_pt
