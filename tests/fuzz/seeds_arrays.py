"""Seeds of events in arrays by their names: .npy, .npz and HDF5 of any layout."""
import io

import numpy as np

from pack import option, plain


def npy(a):
    held = io.BytesIO()
    np.save(held, a)
    return held.getvalue()


def npz(packed=False, **arrays):
    held = io.BytesIO()
    (np.savez_compressed if packed else np.savez)(held, **arrays)
    return plain("a.npz", held.getvalue())


def arrays(seed, written):
    """`seed` and `written` are those of seeds.py."""
    x, y = np.arange(24).reshape(8, 3) / 7, np.arange(8) % 2
    one_hot, texts = np.eye(2)[y], np.array(["bkg", "\u03c4"])[y]
    for code in ("f2", "f4", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"):
        seed("events", f"npz_{'b1' if code == '?' else code}", npz(x=x.astype(code), y=y.astype(code if code[0] not in "f" else "u1")))
    seed("events", "npz_packed", npz(True, X_train=x, y_train=y, X_test=x, y_test=y, w_test=y + 0.5))
    seed("events", "npz_columns", npz(x=np.asfortranarray(x.reshape(4, 2, 3)), y=one_hot[:4], class_names=["a", "b"],
                                      feature_names=np.array(["p", "q", "r"], "S")))
    seed("events", "npz_texts", npz(True, x=x, y=texts), option("labels", "sig=1,rest=0"))
    seed("events", "npz_named", npz(a=x, b=texts.astype("U"), c=y + 1), option("x", "a"), option("y", "b"), option("weight", "c"))
    seed("events", "npz_split", npz(a=x, b=y), option("x", "p=a,q=a"), option("y", "p=b,q=b"), option("labels", "s=1,t=0"))
    files = {"X_train": x, "y_train": one_hot, "X_val": x[:2], "y_val": one_hot[:2], "classes": np.array(["a", "b"])}
    seed("events", "npy_folder", option("open", "."), *[plain(f"{k}.npy", npy(v)) for k, v in files.items()])
    seed("events", "npy_one", plain("x.npy", npy(x.astype("f4"))), plain("labels.npy", npy(y)), option("y", "labels.npy"))

    def foreign(f):
        f["data/jets"], f["data/truth"], f["w"] = x, one_hot, y + 1
        f["classes"] = np.array(["a", "b"], "S")
    seed("events", "hdf5_named", written("a.h5", foreign), option("x", "data/jets"), option("y", "data/truth"), option("weight", "w"))

    def beside(f):
        f["X_a"], f["y_a"], f["X_b"], f["y_b"] = x, np.array(texts.tolist(), "O"), x, np.array(texts.tolist(), "O")
    seed("events", "hdf5_beside", written("a.h5", beside))
    rows = "".join(f"{i} {i * 0.5}  {i % 2}\n" for i in range(6))
    seed("events", "txt_comment", plain("a.txt", "# by NumPy\n# p q class\n" + rows))
    seed("events", "dat_numbers", plain("a.dat", rows), option("label", "2"))
    seed("events", "tsv", plain("a.tsv", "p\tq\tclass\n" + rows.replace("  ", "\t").replace(" ", "\t")))
