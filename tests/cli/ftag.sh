#!/usr/bin/env bash
# The shipped track file opens as puma and salt open theirs: compound fields by name, MeV,
# `valid` tracks first, labels, event numbers; and the program reads it in place.
. "$(dirname "$0")/common.sh"
/usr/bin/python3 - datasets/jets-btag-tracks.h5 <<'P' || fault "the file does not read by fields"
import sys, h5py, numpy as np
with h5py.File(sys.argv[1]) as f:
    jets, tracks = f["jets"][:], f["tracks"][:]
assert set("pt eta mass n_tracks HadronConeExclTruthLabelID eventNumber".split()) <= set(jets.dtype.names)
assert tracks.dtype["valid"] == bool and tracks.shape == (len(jets), 40)
assert 20e3 < np.median(jets["pt"]) < 250e3, "pt is not in MeV"
assert set(np.unique(jets["HadronConeExclTruthLabelID"])) <= {0, 4, 5, 15}
valid = tracks["valid"]
assert (valid.sum(1) == np.minimum(jets["n_tracks"], 40)).all(), "valid does not count the tracks"
assert (valid[:, :-1] >= valid[:, 1:]).all(), "a valid track stands behind padding"
s = np.where(valid, tracks["IP3D_signed_d0_significance"], 0)
rate = {flavour: ((s > 2.5).sum(1) >= 2)[jets["HadronConeExclTruthLabelID"] == flavour].mean() for flavour in (5, 4, 0)}
print("two tracks beyond 2.5 sigma: b %.3f c %.3f light %.4f" % (rate[5], rate[4], rate[0]))
assert abs(rate[5] - .725) < .2 * .725 and abs(rate[4] - .219) < .2 * .219 and .5 < rate[0] / .0118 < 2
P
expect 0 "layout ftag" "$pquant" data info datasets/jets-btag-tracks.h5
expect 0 "$work/own.h5" "$pquant" data import datasets/jets-btag-tracks.h5 -o "$work/own.h5" --inputs pt,eta,mass \
  --splits train=0:0.4,val=0.4:0.5,test=0.5:1 -q
expect 0 "features: pt, eta, mass" "$pquant" data info "$work/own.h5"
expect 2 "did you mean 'mass'?" "$pquant" data import datasets/jets-btag-tracks.h5 -o "$work/x.h5" --inputs pt,mas
# Columns that are no numbers are neither features nor quantities, and keep nothing from being read.
/usr/bin/python3 - "$work" <<'P' || fault "no file with columns of texts"
import sys, h5py, numpy as np
jets = np.zeros(8, [("pt", "f2"), ("vector", "f4", (3,)), ("eta", ">f4"), ("name", "S5"), ("good", "?"),
                    ("HadronConeExclTruthLabelID", "i4"), ("eventNumber", "u8")])
jets["pt"], jets["eta"], jets["good"] = np.arange(8) * 1.5, -np.arange(8), np.arange(8) % 2
jets["HadronConeExclTruthLabelID"], jets["eventNumber"] = [5, 4, 0, 15] * 2, 2**63 + np.arange(8, dtype="u8")
with h5py.File(sys.argv[1] + "/texts.h5", "w") as f:
    f["jets"] = jets
with h5py.File(sys.argv[1] + "/aux.h5", "w") as f:
    f["x"], f["y"], f["aux/pt"] = np.ones((8, 2), "f4"), np.arange(8) % 2, np.arange(8) * 1.5
    f["aux/four"], f["aux/in/group"], f["aux/run"] = np.ones((8, 4)), np.ones(8), np.array(["r"] * 8, "S")
P
expect 0 "features: pt, eta, good" "$pquant" data info "$work/texts.h5"
# A label and a weight that are named are no features.
expect 0 "of shape [2]" "$pquant" data info "$work/texts.h5" --label eta --labels a=0,b=-1,c=-2,d=-3,e=-4,f=-5,g=-6,h=-7
expect 0 "$work/t.h5" "$pquant" data import "$work/texts.h5" -o "$work/t.h5" -q --weight pt
expect 0 "of shape [2]" "$pquant" data info "$work/t.h5"
expect 2 "column 'name' holds no numbers" "$pquant" data info "$work/texts.h5" --inputs pt,name
expect 0 "$work/t.h5" "$pquant" data import "$work/texts.h5" -o "$work/t.h5" --inputs pt,eta,good -q
expect 0 "$work/a.h5" "$pquant" data import "$work/aux.h5" -o "$work/a.h5" -q
/usr/bin/python3 - "$work" <<'P' || fault "what was imported is not what the files hold"
import sys, h5py, numpy as np
with h5py.File(sys.argv[1] + "/texts.h5") as f, h5py.File(sys.argv[1] + "/t.h5") as t:
    jets = f["jets"][:]
    assert (t["x"][:] == np.stack([jets[k].astype("f4") for k in ("pt", "eta", "good")], 1)).all()
    names = [{"b": 5, "c": 4, "light": 0, "tau": 15}[k if isinstance(k, str) else k.decode()] for k in t.attrs["class_names"]]
    assert (np.array(names)[t["y"][:]] == jets["HadronConeExclTruthLabelID"]).all()
    assert sorted(t["aux"]) == ["HadronConeExclTruthLabelID", "eta", "eventNumber", "good", "pt"], list(t["aux"])
    assert (t["aux/eventNumber"][:].view("u8") == jets["eventNumber"]).all()
with h5py.File(sys.argv[1] + "/a.h5") as a:
    assert list(a["aux"]) == ["pt"] and (a["aux/pt"][:] == np.arange(8) * 1.5).all()
P
# What h5py packs by its own filter: runs, noise, chunks that end behind the last row, tables; and damage.
/usr/bin/python3 - "$work" <<'P' || fault "no file packed by LZF"
import sys, h5py, numpy as np
rng = np.random.default_rng(3)
x = np.concatenate([rng.normal(size=(500, 6)), np.zeros((4000, 6)), np.tile(np.arange(6), (3000, 1))]).astype(">f4")
jets = np.zeros(len(x), [("pt", "f2"), ("eta", "f4"), ("HadronConeExclTruthLabelID", "i4")])
jets["pt"], jets["eta"], jets["HadronConeExclTruthLabelID"] = x[:, 0], x[:, 1], rng.choice([5, 4, 0, 15], len(x))
for name, how in (("plain", {}), ("whole", {"chunks": x.shape}), ("turned", {"shuffle": True, "chunks": (97, 5)})):
    with h5py.File(f"{sys.argv[1]}/lzf_{name}.h5", "w") as f:
        f.create_dataset("x", data=x, compression="lzf", **how)
        f.create_dataset("y", data=np.arange(len(x)) % 3, compression="lzf")
with h5py.File(sys.argv[1] + "/lzf_jets.h5", "w") as f:
    f.create_dataset("jets", data=jets, compression="lzf", shuffle=True, chunks=(100,))
with h5py.File(sys.argv[1] + "/lzf_plain.h5") as f:
    at = f["x"].id.get_chunk_info(f["x"].id.get_num_chunks() // 2)
data = bytearray(open(sys.argv[1] + "/lzf_plain.h5", "rb").read())
data[at.byte_offset] = 0xff
open(sys.argv[1] + "/lzf_bad.h5", "wb").write(data)
# A chunk that unpacks to less than it should, and parameters that say less.
with h5py.File(sys.argv[1] + "/lzf_short.h5", "w") as f:
    d = f.create_dataset("x", data=np.ones((1000, 16), "f4"), chunks=(1000, 16), compression="lzf")
    f["y"] = np.arange(1000) % 3
    d.id.write_direct_chunk((0, 0), bytes([15]) + bytes(16))
data = bytearray(open(sys.argv[1] + "/lzf_short.h5", "rb").read())
at = data.index((64000).to_bytes(4, "little"))
data[at:at + 4] = (16).to_bytes(4, "little")
open(sys.argv[1] + "/lzf_less.h5", "wb").write(data)
P
for name in plain whole turned; do
  expect 0 "$work/l.h5" "$pquant" data import "$work/lzf_$name.h5" -o "$work/l.h5" -q
  /usr/bin/python3 - "$work/lzf_$name.h5" "$work/l.h5" <<'P' || fault "what was read of lzf_$name.h5 is not what it holds"
import sys, h5py
with h5py.File(sys.argv[1]) as a, h5py.File(sys.argv[2]) as b:
    assert a["x"].compression == "lzf" and (a["x"][:] == b["x"][:]).all() and (a["y"][:] == b["y"][:]).all()
P
done
expect 0 "features: pt, eta" "$pquant" data info "$work/lzf_jets.h5"
expect 0 "$work/l.h5" "$pquant" data import "$work/lzf_jets.h5" -o "$work/l.h5" -q
/usr/bin/python3 - "$work/lzf_jets.h5" "$work/l.h5" <<'P' || fault "what was read of lzf_jets.h5 is not what it holds"
import sys, h5py
with h5py.File(sys.argv[1]) as a, h5py.File(sys.argv[2]) as b:
    jets = a["jets"][:]
    assert (b["x"][:, 0] == jets["pt"]).all() and (b["x"][:, 1] == jets["eta"]).all()
P
for name in bad short less; do
  expect 2 "lzf_$name.h5" "$pquant" data import "$work/lzf_$name.h5" -o "$work/l.h5" -q
done
# No event stands in two splits.
/usr/bin/python3 - "$work/own.h5" datasets/jets-hlf.h5 datasets/jets-btag.h5 <<'P' || fault "an event stands in two splits"
import sys, h5py
for name in sys.argv[1:]:
    with h5py.File(name) as f:
        events = {s: set(f[s]["aux/eventNumber"][:].tolist()) for s in ("train", "val", "test")}
    assert not (events["train"] & events["test"] or events["val"] & events["test"] or events["train"] & events["val"]), name
P
done_testing
