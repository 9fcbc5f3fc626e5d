"""The jets-btag sample files: chunks to splits, and the FTAG layout for tracks."""

import numpy as np

import btag
import dataset_file
from btag_features import FEATURE_NAMES

PER_CHUNK = 1000
UNIT = "events"
MANTISSA_BITS = 10          # relative error below 5e-4, far under the smearing of tracks
TRACK_FILE_JETS = 24000     # the first events up to this many jets go into the tracks file
CLASS_NAMES = ("light", "c", "b", "tau")
_CLASS_OF_LABEL = {0: 0, 4: 1, 5: 2, 15: 3}

make_chunk = btag.make_chunk


def split_of(event_number):
    """0 train, 1 val, 2 test: event number modulo 10 in 0-3, 4, 5-9."""
    last = event_number % 10
    return np.where(last < 4, 0, np.where(last == 4, 1, 2))


def classes(labels):
    """Class index, in the order of CLASS_NAMES, of labels 0, 4, 5, 15."""
    out = np.zeros(len(labels), np.uint8)
    for label, index in _CLASS_OF_LABEL.items():
        out[labels == label] = index
    return out


def write(plan, path, source):
    """Joins the chunks into OUT and OUT-tracks; returns both paths."""
    rows, tracks, n_stored = {}, [], 0
    for chunk, data in plan.load():
        data["event"] = chunk * plan.per_chunk + data.pop("index").astype(np.int64)
        track_part = {k: data.pop(k) for k in ("tracks", "origin", "vertex_index")}
        if n_stored < TRACK_FILE_JETS:
            tracks.append((data, track_part))
            n_stored += len(data["label"])
        for key, values in data.items():
            rows.setdefault(key, []).append(values)
    jets = {k: np.concatenate(v) for k, v in rows.items()}
    _write_features(path, jets, plan.seed, source)
    track_path = path.with_name(path.stem + "-tracks" + path.suffix)
    _write_tracks(track_path, tracks, source)
    return [path, track_path]


def _write_features(path, jets, seed, source):
    order = np.random.default_rng((seed, 4)).permutation(len(jets["label"]))
    which = split_of(jets["event"])[order]
    trim = lambda a: dataset_file.trim_mantissa(a, MANTISSA_BITS)
    splits = {}
    for number, name in enumerate(dataset_file.SPLITS):
        take = order[which == number]
        splits[name] = {
            "x": trim(jets["x"][take]),
            "y": classes(jets["label"][take]),
            "aux": {
                "pt": trim(jets["pt"][take]),
                "eta": trim(jets["eta"][take]),
                "eventNumber": jets["event"][take],
                "process": jets["process"][take].astype(np.uint8),
            },
        }
    dataset_file.write_features(path, splits, CLASS_NAMES, FEATURE_NAMES, source)


def _write_tracks(path, parts, source):
    """FTAG layout from (jets, tracks) of whole chunks."""
    f4, i4, i8 = np.float32, np.int32, np.int64
    jet_type = [("pt", f4), ("eta", f4), ("abs_eta", f4), ("mass", f4), ("pt_btagJes", f4),
                ("eta_btagJes", f4), ("n_tracks", i4), ("HadronConeExclTruthLabelID", i4),
                ("HadronConeExclTruthLabelPt", f4), ("n_truth_promptLepton", i4),
                ("eventNumber", i8), ("mcEventWeight", f4), ("flavour_label", i4)]
    track_type = [*((name, f4) for name in btag.TRACK_FIELDS),
                  ("IP3D_signed_d0_significance", f4), ("IP3D_signed_z0_significance", f4),
                  ("ftagTruthOriginLabel", i4), ("ftagTruthVertexIndex", i4), ("valid", bool)]
    all_jets = {k: np.concatenate([p[0][k] for p in parts]) for k in parts[0][0]}
    all_tracks = {k: np.concatenate([p[1][k] for p in parts]) for k in parts[0][1]}
    n = len(all_jets["label"])
    trim = lambda a: dataset_file.trim_mantissa(a, MANTISSA_BITS)

    jets = np.zeros(n, jet_type)
    for name, key, scale in (("pt", "pt", 1e3), ("pt_btagJes", "pt", 1e3), ("eta", "eta", 1.0),
                             ("eta_btagJes", "eta", 1.0), ("mass", "mass", 1e3),
                             ("HadronConeExclTruthLabelPt", "hadron_pt", 1e3)):
        jets[name] = trim(all_jets[key] * scale)
    jets["abs_eta"] = np.abs(jets["eta"])
    jets["n_tracks"] = all_jets["n_tracks"]
    jets["HadronConeExclTruthLabelID"] = all_jets["label"]
    jets["eventNumber"] = all_jets["event"]
    jets["mcEventWeight"] = 1.0
    jets["flavour_label"] = classes(all_jets["label"])

    tracks = np.zeros((n, btag.MAX_TRACKS), track_type)
    tracks["ftagTruthOriginLabel"], tracks["ftagTruthVertexIndex"] = -1, -2
    counts = all_jets["n_tracks"]
    row = np.repeat(np.arange(n), counts)
    column = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    values = trim(all_tracks["tracks"])
    for i, name in enumerate(btag.TRACK_FIELDS):
        tracks[name][row, column] = values[:, i]
    tracks["IP3D_signed_d0_significance"] = tracks["lifetimeSignedD0Significance"]
    tracks["IP3D_signed_z0_significance"] = tracks["lifetimeSignedZ0SinThetaSignificance"]
    tracks["ftagTruthOriginLabel"][row, column] = all_tracks["origin"]
    tracks["ftagTruthVertexIndex"][row, column] = all_tracks["vertex_index"]
    tracks["valid"][row, column] = True
    dataset_file.write_ftag(path, jets, tracks, CLASS_NAMES, source)
