"""Bundles of files for the fuzz targets (fuzz.h): pack(records…) and the records of a file."""
import h5py
import numpy as np

MARK = b"\n@@ "
MOST = 6000  # bytes of a dataset that are kept; the rest is 0


def record(kind, *fields, body=b""):
    return MARK + kind.encode() + b"".join(b"\t" + str(f).encode() for f in fields) + b"\n" + body


def option(key, value):
    return record("O", key, value)


def plain(name, data):
    return record("F", name, body=data.encode() if isinstance(data, str) else data)


def type_of(dtype):
    """The token of a type, as hdf5_files.c reads it."""
    if h5py.check_string_dtype(dtype) and h5py.check_string_dtype(dtype).length is None:
        return "v"
    if h5py.check_enum_dtype(dtype):
        return "b"
    if dtype == h5py.ref_dtype:
        return "r"
    if dtype.subdtype:
        return type_of(dtype.subdtype[0]) + "[" + "x".join(map(str, dtype.subdtype[1])) + "]"
    if dtype.names:
        return "c(" + ",".join(f"{n} {type_of(dtype[n])}" for n in dtype.names) + ")"
    if dtype.kind == "S":
        return f"s{dtype.itemsize}"
    if dtype.kind == "V":
        return f"o{dtype.itemsize}"
    return dtype.kind + str(dtype.itemsize) + ("b" if dtype.byteorder == ">" else "")


def dims_of(shape):
    return "-" if shape is None else "x".join(map(str, shape)) if shape else "."


def bytes_of(value, dtype):
    if type_of(dtype) == "v":
        texts = np.asarray(value, object).ravel()
        return b"".join((t.encode() if isinstance(t, str) else bytes(t)) + b"\0" for t in texts)
    if dtype.names:  # without gaps
        value = np.asarray(value).astype(np.dtype([(n, dtype[n]) for n in dtype.names]))
    return np.asarray(value).tobytes()


def attributes(path, o):
    for name in o.attrs:
        a = o.attrs.get_id(name)
        value = o.attrs[name]
        shape = None if isinstance(value, h5py.Empty) else a.shape
        body = b"" if shape is None else bytes_of(value, a.dtype)
        yield record("A", path, name, type_of(a.dtype), dims_of(shape), body=body)


def filters_of(d):
    return ("s" if d.shuffle else "") + ("g" if d.compression == "gzip" else "") + ("f" if d.fletcher32 else "") or "-"


def dataset(path, d, rows):
    if d.shape is None:
        return record("D", path, type_of(d.dtype), "-", "-", "-")
    value, shape = d[()], d.shape
    if rows and shape and shape[0] > rows:
        value, shape = value[:rows], (rows,) + shape[1:]
    chunks = "-" if not d.chunks else dims_of([max(1, min(c, s)) for c, s in zip(d.chunks, shape)])
    return record("D", path, type_of(d.dtype), dims_of(shape), chunks, filters_of(d), 
                  body=bytes_of(value, d.dtype)[:None if d.dtype.kind in "OS" else MOST])


def hdf5(name, path, rows=None, latest=True):
    """All of an HDF5 file; datasets are cut to `rows` of their first dimension."""
    out = [record("H", name, "latest" if latest else "earliest")]
    seen = {}

    def walk(group, at):
        for key in group:
            link, inner = group.get(key, getlink=True), f"{at}/{key}"
            if isinstance(link, h5py.SoftLink):
                out.append(record("L", inner, "soft", link.path))
                continue
            o = group[key]
            address = h5py.h5o.get_info(o.id).addr
            if address in seen:
                out.append(record("L", inner, "hard", seen[address]))
                continue
            seen[address] = inner
            out.append(dataset(inner, o, rows) if isinstance(o, h5py.Dataset) else record("G", inner))
            out.extend(attributes(inner, o))
            if isinstance(o, h5py.Group):
                walk(o, inner)

    with h5py.File(path, "r") as f:
        out.extend(attributes("/", f))
        walk(f, "")
    return b"".join(out)
