"""Writers of the HDF5 files. The same content gives the same bytes: no time
stamps, fixed library version bounds, fixed order of creation."""

import os
from pathlib import Path

import h5py
import numpy as np

LICENCE = "CC-BY-4.0"
SPLITS = ("train", "val", "test")


def trim_mantissa(x, bits):
    """float32 with the mantissa rounded to `bits` bits (of 23), so that gzip has less to
    store; relative error at most 2^-(bits + 1). NaN and inf stay."""
    x = np.ascontiguousarray(x, dtype=np.float32)
    drop = 23 - bits
    raw = x.view(np.uint32)
    rounded = (raw + np.uint32(1 << (drop - 1))) & np.uint32(~((1 << drop) - 1) & 0xFFFFFFFF)
    return np.where(np.isfinite(x), rounded.view(np.float32), x)


class OutputFile:
    """An HDF5 file that appears under its name only when it is complete."""

    def __init__(self, path):
        self._path = Path(path)
        self._temporary = self._path.with_name(self._path.name + ".tmp")

    def __enter__(self):
        self._file = h5py.File(self._temporary, "w", libver=("v108", "v110"))
        return self._file

    def __exit__(self, kind, *_):
        self._file.close()
        if kind is None:
            os.replace(self._temporary, self._path)
        else:
            self._temporary.unlink()


def _dataset(group, name, data):
    """gzip + shuffle; no modification time is stored."""
    options = {} if len(data) == 0 else {
        "compression": "gzip", "compression_opts": 9, "shuffle": True,
        "chunks": (min(len(data), 8192), *data.shape[1:]),
    }
    group.create_dataset(name, data=data, track_times=False, **options)


def write_features(path, splits, class_names, feature_names, source):
    """A pquant-dataset of feature vectors.

    @param splits  dict train, val, test -> dict: x [n, f], y [n], aux: dict name -> [n]
    The scaler is fitted on train; x holds raw physical values.
    """
    train = splits["train"]["x"].astype(np.float64)
    if len(train) == 0:
        raise ValueError("no jet fell into the train split: take more events")
    mean, std = train.mean(axis=0), train.std(axis=0)
    text = h5py.string_dtype("utf-8")
    with OutputFile(path) as f:
        f.attrs["format"] = "pquant-dataset"
        f.attrs["version"] = np.int64(1)
        f.attrs.create("class_names", list(class_names), dtype=text)
        f.attrs.create("feature_names", list(feature_names), dtype=text)
        f.attrs["scaler_mean"] = mean.astype(np.float32)
        f.attrs["scaler_std"] = np.where(std > 0, std, 1.0).astype(np.float32)
        f.attrs["standardized"] = np.int64(0)
        f.attrs["layout"] = "features"
        f.attrs["licence"] = LICENCE
        f.attrs["source"] = source
        for name in SPLITS:
            part = splits[name]
            group = f.create_group(name)
            _dataset(group, "x", part["x"].astype(np.float32))
            _dataset(group, "y", part["y"].astype(np.uint8))
            aux = group.create_group("aux")
            for key, values in part["aux"].items():
                _dataset(aux, key, values)


def write_ftag(path, jets, tracks, class_names, source):
    """The FTAG layout: compounds `jets` [n] and `tracks` [n, 40] with bool `valid`.

    Energies in MeV, lengths in mm. The attribute flavour_label of `jets` names the
    classes by index, as ftag tools expect.
    """
    with OutputFile(path) as f:
        f.attrs["licence"] = LICENCE
        f.attrs["source"] = source
        for name, data in (("jets", jets), ("tracks", tracks)):
            chunks = (min(100, len(data)), *data.shape[1:])
            made = f.create_dataset(name, data=data, track_times=False, chunks=chunks,
                                    compression="gzip", compression_opts=9, shuffle=True)
            if name == "jets":
                made.attrs.create("flavour_label", list(class_names),
                                  dtype=h5py.string_dtype("utf-8"))
