"""The jets-hlf sample file: chunks to splits."""

import numpy as np

import dataset_file
import hlf
from hlf_features import FEATURE_NAMES

PER_CHUNK = 2000
UNIT = "jets"
MANTISSA_BITS = 14  # relative error below 4e-5, far under any physical resolution

make_chunk = hlf.make_chunk


def split_of(event_number):
    """0 train, 1 val, 2 test: event number modulo 10 in 0-5, 6, 7-9."""
    last = event_number % 10
    return np.where(last < 6, 0, np.where(last == 6, 1, 2))


def write(plan, path, source):
    """Joins the chunks; returns the written paths. Jets are shuffled with the seed."""
    rows = {k: [] for k in ("x", "y", "pt", "eta", "mass", "event")}
    for chunk, data in plan.load():
        data["event"] = chunk * plan.per_chunk + data["index"]
        for key in rows:
            rows[key].append(data[key])
    all_jets = {k: np.concatenate(v) for k, v in rows.items()}
    order = np.random.default_rng((plan.seed, 2)).permutation(len(all_jets["y"]))
    which = split_of(all_jets["event"])[order]
    trim = lambda a: dataset_file.trim_mantissa(a, MANTISSA_BITS)
    splits = {}
    for number, name in enumerate(dataset_file.SPLITS):
        take = order[which == number]
        splits[name] = {
            "x": trim(all_jets["x"][take]),
            "y": all_jets["y"][take],
            "aux": {
                "pt": trim(all_jets["pt"][take]),
                "eta": trim(all_jets["eta"][take]),
                "mass": trim(all_jets["mass"][take]),
                "eventNumber": all_jets["event"][take].astype(np.int64),
            },
        }
    dataset_file.write_features(path, splits, hlf.CLASS_NAMES, FEATURE_NAMES, source)
    return [path]
