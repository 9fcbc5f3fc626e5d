"""Events from Pythia 8 as flat numpy arrays.

`Pythia.nextBatch` (the array interface of the pythia8mc wheel) copies many
events at once in C++, so that no Python loop runs over particles.
"""

import numpy as np
from pythia import pythia8mc

# Common to every process: LHC at 13 TeV, Monash tune (the default), underlying event on.
_COMMON = (
    "Print:quiet = on",
    "Beams:eCM = 13000.",
    "Random:setSeed = on",
)


class Events:
    """A batch of events: one flat array per particle property.

    `offset` [n_events + 1] says where each event starts; `event` [n_particles]
    is the event index of every particle. Momenta in GeV, lengths in mm.
    """

    def __init__(self, batch):
        particles = batch.prt
        self.offset = np.asarray(particles.layout.offsets, dtype=np.int64)
        record = particles.layout.content
        take = lambda *path: _field(record, path)
        self.id = take("id")
        self.status = take("status")
        self.mother1 = take("mother1")
        self.daughter1 = take("daughter1")
        self.daughter2 = take("daughter2")
        self.px, self.py, self.pz, self.e = (take("p", k) for k in ("px", "py", "pz", "e"))
        self.mass = take("m")
        self._record = record
        counts = np.diff(self.offset)
        self.n = len(counts)
        self.event = np.repeat(np.arange(self.n), counts)

    @property
    def vertex(self):
        """Production vertices [n_particles, 3] in mm, (0, 0, 0) where there is none."""
        out = np.stack([_field(self._record, ("vProd", k)) for k in ("px", "py", "pz")], axis=1)
        return np.nan_to_num(out, nan=0.0)


def _field(record, path):
    """One leaf of an awkward record layout as a numpy array, NaN where missing."""
    node = record
    for key in path:
        node = node.content(key)
        if node.is_option:
            node = node.to_ByteMaskedArray(valid_when=True)
            valid, content = node.mask.data.astype(bool), node.content
            leaf = np.array(_field(content, path[path.index(key) + 1:]), dtype=np.float64)
            leaf[~valid] = np.nan
            return leaf
    return np.asarray(node.data)


class Generator:
    """A seeded Pythia run for one process.

    @param settings  Pythia setting strings of the process.
    @param seed      1 .. 900000000 (Pythia's range).
    @param hooks     optional pythia8mc.UserHooks that vetoes events early.
    """

    def __init__(self, settings, seed, hooks=None):
        self._pythia = pythia8mc.Pythia("", False)
        for line in (*_COMMON, f"Random:seed = {seed}", *settings):
            if not self._pythia.readString(line):
                raise RuntimeError(f"Pythia does not know the setting '{line}'")
        self._hooks = hooks
        if hooks is not None:
            self._pythia.setUserHooksPtr(hooks)
        if not self._pythia.init():
            raise RuntimeError("Pythia did not start: see its messages above")

    def batch(self, n_events):
        """The next n_events accepted events."""
        return Events(self._pythia.nextBatch(n_events))


def pythia_seed(sequence):
    """A Pythia seed, 1 .. 900000000, from a numpy SeedSequence."""
    return int(sequence.generate_state(1, np.uint64)[0] % 900_000_000) + 1


def final_visible(events, max_abs_eta):
    """Mask [n_particles]: stable, not a neutrino (or other invisible), |eta| within reach."""
    pid = np.abs(events.id)
    visible = (events.status > 0) & ~np.isin(pid, (12, 14, 16, 18))
    pt = np.hypot(events.px, events.py)
    return visible & (np.abs(events.pz) < np.sinh(max_abs_eta) * pt)


# Charge of the particles (not antiparticles) that live long enough to make a track.
_CHARGES = {11: -1, 13: -1, 15: -1, 211: 1, 321: 1, 411: 1, 431: 1, 521: 1, 541: 1, 2212: 1,
            3112: -1, 3222: 1, 3312: -1, 3334: -1, 4122: 1, 4232: 1, 5132: -1, 5332: -1}
_TABLE = np.zeros(6000, np.int8)
for _pid, _charge in _CHARGES.items():
    _TABLE[_pid] = _charge


def charge(pid):
    """Electric charge, -1, 0 or 1, of stable and long-lived particles."""
    size = np.abs(pid)
    return np.sign(pid) * _TABLE[np.where(size < len(_TABLE), size, 0)]


def is_charged(pid):
    """Whether the particle makes a track."""
    return charge(pid) != 0
