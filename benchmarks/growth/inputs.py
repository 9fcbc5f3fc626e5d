"""Files that grow: events, classes, features, chunks, tables and networks of any size, the same for the same size."""

import json
import os

import h5py
import numpy as np

FEATURES = 16


def rng_of(*what):
    return np.random.default_rng(list(str(what).encode()))


class Inputs:
    """Makes each file once, in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def made(self, name, write):
        path = self.path(name)
        if not os.path.exists(path):
            write(path)
        return path

    def events(self, n, classes=5, features=FEATURES, splits=("test",), chunks=None):
        """Normal features shifted by the class."""

        def write(path):
            rng = rng_of("events", n, classes, features)
            shift = rng.normal(size=(classes, features)).astype("f4")
            with h5py.File(path, "w") as f:
                f.attrs["format"], f.attrs["layout"] = "pquant-dataset", "features"
                f.attrs["class_names"] = [f"k{i}" for i in range(classes)]
                for split in splits:
                    y = rng.integers(0, classes, n)
                    kept = {} if chunks is None else {"chunks": (min(chunks, n), features), "compression": "gzip", "compression_opts": 1}
                    x = f.create_dataset(f"{split}/x", (n, features), "f4", **kept)
                    step = min(chunks or 100000, n)
                    for first in range(0, n, step):
                        part = y[first : first + step]
                        x[first : first + step] = np.round(rng.normal(size=(len(part), features)) + shift[part], 2)
                    f[f"{split}/y"] = y.astype("i4")

        return self.made(f"events-{n}-{classes}-{features}-{'-'.join(splits)}-{chunks}.h5", write)

    def table(self, n, form):
        """A CSV of n rows, numbers as numpy's % format writes them."""

        def write(path):
            rng = rng_of("table", n)
            x = rng.normal(size=(n, FEATURES)).astype("f4")
            y = rng.integers(0, 5, n)
            line = ",".join([form] * FEATURES) + ",%d\n"
            with open(path, "w") as f:
                f.write(",".join(f"f{i}" for i in range(FEATURES)) + ",class\n")
                f.writelines(line % (*row, label) for row, label in zip(x, y))

        return self.made(f"table-{n}-{form[1:]}.csv", write)

    def network(self, widths, name):
        """Dense layers with a softmax at the end, as Keras keeps them: [weights, architecture]."""

        def write(path):
            rng = rng_of("network", name)
            layers, names = [], [f"fc{i}" for i in range(len(widths) - 1)]
            with h5py.File(path, "w") as f:
                for part, first in enumerate(range(0, len(names), 2000)):
                    f.attrs[f"layer_names{part}"] = [n.encode() for n in names[first : first + 2000]]
                f.attrs["backend"], f.attrs["keras_version"] = b"tensorflow", b"2.4.0"
                for i, layer in enumerate(names):
                    n, m = widths[i], widths[i + 1]
                    first = {"batch_input_shape": [None, n]} if i == 0 else {}
                    end = "softmax" if i + 1 == len(names) else "linear"
                    layers.append({"class_name": "Dense",
                                   "config": {"name": layer, "units": m, "activation": end, "use_bias": True, **first}})
                    group = f.create_group(layer)
                    group.attrs["weight_names"] = [f"{layer}/kernel:0".encode(), f"{layer}/bias:0".encode()]
                    group[f"{layer}/kernel:0"] = rng.standard_normal((n, m), dtype="f4") / np.float32(n**0.5)
                    group[f"{layer}/bias:0"] = np.zeros(m, "f4")
            with open(path[:-3] + ".json", "w") as f:
                json.dump({"class_name": "Sequential", "config": {"name": "net", "layers": layers}}, f)

        path = self.made(f"{name}.h5", write)
        return [path, "--arch", path[:-3] + ".json"]

    def text(self, name, content):
        with open(self.path(name), "w") as f:
            f.write(content)
        return self.path(name)
