"""Every method by every key of the contract: an effect, or a refusal that names the key."""
import warnings

import numpy as np
import pytest
from conftest import JETS

import pquant
from pquant import compression
from pquant._methods import ALIASES, methods

RANK, SHARE = 4, 0.5
FACTORS = {"svd", "lora", "tensor_train", "cp", "tucker"}
NAMES = sorted({*ALIASES, *methods()})
RNG = np.random.default_rng(3)
X = RNG.normal(size=(400, 8, 8, 3)).astype(np.float32)


def stage(name):
    return ALIASES.get(name, (name,))[0]


def knows(name, key):
    return key in methods()[stage(name)]["parameters"]


def draw(*shape):
    return RNG.normal(size=shape) / np.sqrt(np.prod(shape[1:]))


@pytest.fixture(scope="module")
def net():
    """Two convolutions and three dense layers, of which every method finds something to do."""
    build = [{"kind": "input", "name": "x", "shape": (8, 8, 3)}]
    for name, kind, shape in [("c1", "conv2d", (12, 3, 3, 3)), ("c2", "conv2d", (16, 3, 3, 12)), ("f1", "dense", (24, 256)),
                              ("f2", "dense", (16, 24)), ("f3", "dense", (5, 16))]:
        if name == "f1":
            build.append({"kind": "flatten", "name": "flat"})
        build.append({"kind": kind, "name": name, "weights": {"kernel": draw(*shape), "bias": 0.1 * RNG.normal(size=shape[0])}})
        if name != "f3":
            build.append({"kind": "relu", "name": f"{name}_relu"})
    return pquant.Model.build(build)


@pytest.fixture(scope="module")
def events(net):
    return X, net.predict(X).argmax(1)


def kernels(model):
    """Kernels, cores and windows by their names."""
    return {key: value for key, value in model.weights().items()
            if key[1] in ("kernel", "window") or key[1].startswith("core")}


def zeros(model):
    held = kernels(model).values()
    return sum((k == 0).sum() for k in held) / sum(k.size for k in held)


def same(a, b):
    one, two = a.weights(), b.weights()
    return one.keys() == two.keys() and all(v.shape == two[k].shape and np.array_equal(v, two[k]) for k, v in one.items())


def parameters_for(name):
    """What makes a training short, and a target of time one that every machine reaches."""
    return {key: value for key, value in {"epochs": 1, "fine_tuning_epochs": 1, "t_start_collecting_batch": 0, "t_delta": 1,
                                          "rounded_epochs": 1, "target_latency": "100ms"}.items()
            if knows(name, key)}


def compress(net, name, events, **keys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pquant.Warned)
        return pquant.compress_model(net, name, data=events, **keys)


@pytest.mark.parametrize("name", NAMES)
def test_a_rank_is_kept_or_refused(name, net, events):
    if not knows(name, "rank"):
        with pytest.raises(pquant.ConfigError, match=f"rank: {name} has no rank"):
            compress(net, name, events, rank=RANK, **parameters_for(name))
        return
    small = compress(net, name, events, rank=RANK)
    assert any(RANK in value.shape for value in kernels(small).values())
    if stage(name) != "lora":
        assert small.parameters < net.parameters


@pytest.mark.parametrize("name", NAMES)
def test_a_sparsity_is_reached_or_refused(name, net, events):
    if not knows(name, "target_sparsity") and stage(name) != "lora":
        with pytest.raises(pquant.ConfigError, match=f"target_sparsity: {name} has no sparsity"):
            compress(net, name, events, target_sparsity=SHARE, **parameters_for(name))
        return
    small = compress(net, name, events, target_sparsity=SHARE, **parameters_for(name))
    if stage(name) in FACTORS - {"lora"}:  # values saved, of convolutions alone by cp and tucker
        which = {"cp": "c1 c2", "tucker": "c1 c2"}.get(stage(name), "c1 c2 f1 f2")
        before, after = (sum(v.size for (layer, _), v in kernels(m).items() if layer.split(".")[0] in which.split()) for m in (net, small))
        assert after < (1 - SHARE + 0.02) * before
    elif stage(name) == "structured_prune":
        assert small.macs < 0.75 * net.macs and zeros(small) == 0
    elif stage(name) == "fit_latency":  # of the multiplications
        assert small.macs <= (1 - SHARE) * net.macs
    else:
        assert abs(zeros(small) - SHARE) < 0.05


@pytest.mark.parametrize("way", ["compress_model", "class", "pipeline", "pipeline's own keys"])
@pytest.mark.parametrize("name", [n for n in NAMES if stage(n) in FACTORS])
def test_rank_and_sparsity_together_prune_factors_of_that_rank(way, name, net, events):
    both = {"rank": RANK, "target_sparsity": SHARE}
    whole = compress(net, name, events, rank=RANK)
    if way == "compress_model":
        small = compress(net, name, events, **both)
    elif way == "class":
        cls = next(c for c in vars(compression).values() if isinstance(c, type) and issubclass(c, compression.Compression) and
                   c is not compression.Compression and stage(c.method) == stage(name))
        small = cls({"method": name, **both}).compress(net, train_loader=events)
    else:
        own = way != "pipeline" and stage(name) != "lora"  # lora has no sparsity of its own
        config = {f"{name}_{k}": v for k, v in both.items()} if own else both
        small = pquant.CompressionPipeline({"methods": [name], **config}).compress(net, train_loader=events)
    assert {k: v.shape for k, v in kernels(small).items()} == {k: v.shape for k, v in kernels(whole).items()}
    assert abs(zeros(small) - SHARE) < 0.01


def test_factors_are_pruned_where_they_are_made_and_once(net, events):
    small = compress(net, "low_rank", events, rank=RANK, target_sparsity=SHARE, layers=["f1", "f2"])
    for (layer, _), kernel in kernels(small).items():
        assert (kernel == 0).any() == (layer.split(".")[0] in ("f1", "f2"))
    plans = {("low_rank", "pruning"): ["svd", "prune"], ("pruning", "low_rank"): ["prune", "svd", "prune"],
             ("low_rank", "quantization"): ["svd", "prune", "quantize"]}
    for names, due in plans.items():
        pipeline = pquant.CompressionPipeline({"methods": names, "rank": RANK, "target_sparsity": SHARE})
        assert [s.stage for s in pipeline.stages()] == due
    trained = pquant.CompressionPipeline({"methods": ["low_rank", "quantization"], "rank": RANK, "target_sparsity": SHARE,
                                          "fine_tune_epochs": 1})
    assert [s.stage for s in trained.stages()] == ["svd", "prune", "finetune", "quantize"]
    assert abs(zeros(trained.compress(net, train_loader=events)) - SHARE) < 0.02


#: keys of calls and dicts, values that differ from what is usual, and whether the weights then differ
TRAINING = [("epochs", 2, True), ("learning_rate", 0.01, True), ("lr", 0.01, True), ("batch_size", 32, True), ("batch", 32, True),
            ("optimizer", "sgd", True), ("preserve_rare_classes", True, True), ("weight_decay", 0.1, True),
            ("class_weights", {"0": 5, "1": 2}, True), ("label_smoothing", 0.3, True), ("validation", 0.4, True),
            ("seed", 7, True), ("threads", 1, False)]


@pytest.mark.parametrize("way", ["compress_model", "class", "pipeline"])
@pytest.mark.parametrize("key, value, differs", TRAINING, ids=[row[0] for row in TRAINING])
def test_keys_of_training(way, key, value, differs, net, events):
    def make(**keys):
        keys = {"epochs": 1, **keys}
        if way == "compress_model":
            return pquant.compress_model(net, ["low_rank", "finetune"], rank=RANK, data=events, **keys)
        if way == "class":
            return compression.LowRankCompression({"rank": RANK, "train_after_compression": True, **keys}).compress(net, events)
        short = {"learning_rate", "lr", "batch_size", "batch", "optimizer", "preserve_rare_classes", "validation", "seed", "threads"}
        keys = {k if k in short else f"fine_tune_{k}": v for k, v in keys.items()}
        return pquant.CompressionPipeline({"methods": ["low_rank"], "low_rank_rank": RANK, **keys}).compress(net, events)
    assert same(make(), make())
    assert same(make(), make(**{key: value})) != differs


@pytest.mark.parametrize("way", ["compress_model", "class", "pipeline"])
def test_validation_is_what_is_watched(way, net, events, tmp_path):
    """The best epoch on other events is another one; of arrays, of a file's split, and of both kinds together."""
    x, y = events
    wrong = (x, (y + 1) % 5)

    def make(data, validation):
        keys = {"epochs": 6, "learning_rate": 0.01}
        if way == "compress_model":
            return pquant.compress_model(net, "finetune", data=data, validation=validation, **keys)
        if way == "class":
            return compression.PruningCompression({"sparsity": 0.0, "validation": validation, **keys}).compress(net, data)
        return pquant.CompressionPipeline({"methods": ["pruning"], "pruning_sparsity": 0.0, "fine_tune_epochs": 6,
                                           "learning_rate": 0.01, "validation": validation}).compress(net, data)
    right, bad = make(events, events), make(events, wrong)
    assert not same(right, bad) and same(bad, make(events, [wrong]))
    tagger = pquant.Model.build([{"kind": "input", "name": "x", "shape": (16,)},
                                 {"kind": "dense", "name": "f", "weights": {"kernel": draw(5, 16), "bias": np.zeros(5)}}])
    net = tagger
    jets, labels = pquant.Data.open(JETS + ":val").read(0, 1000)
    beside, given = make(JETS + ":test", None), make(JETS + ":test", JETS + ":val")
    other = make(JETS + ":test", (jets, (labels + 2) % 5))
    assert same(beside, given) and not same(given, other)


def test_keys_of_a_call(net, events):
    x, y = events
    told, seen = [], []
    small = pquant.compress_model(net, ["quantization", "finetune"], data=events, classes="vwxyz", epochs=40,
                                  progress=lambda *a: seen.append(a), changed=lambda *a: told.append(a))
    assert small.classes == list("vwxyz") and seen and ("quantize", "f1") in {t[:2] for t in told}
    few = pquant.compress_model(net, "quantization", data=events, calib_events=5)
    assert not np.array_equal(few.predict(x), pquant.compress_model(net, "quantization", data=events).predict(x))
    other = net.with_weights({("f3", "kernel"): -net.weight("f3", "kernel")})
    taught = [pquant.compress_model(net, "distill", data=events, epochs=1, teacher=t) for t in (None, other)]
    assert not same(*taught)
    for key, value in (("validation", events), ("teacher", other)):
        with pytest.raises(pquant.ConfigError, match=f"{key}: none of the methods trains"):
            pquant.compress_model(net, "svd", rank=2, data=events, **{key: value})
        with pytest.raises(pquant.ConfigError, match=f"{key}: there are no events"):
            pquant.compress_model(net, "finetune", **{key: value})
    with pytest.raises(pquant.ConfigError, match="calib_events: there are no events"):
        pquant.compress_model(net, "quantization", calib_events=10)


@pytest.mark.parametrize("make, key", [
    (lambda key: compression.LowRankCompression({"rank": 4, key: 0.5}), "learning_rate"),
    (lambda key: compression.LowRankCompression({"rank": 4, key: True}), "preserve_rare_classes"),
    (lambda key: compression.LowRankCompression({"rank": 4, key: (X, X)}), "validation"),
    (lambda key: pquant.CompressionPipeline({"methods": ["svd"], "svd_rank": 4, key: 0.5}), "learning_rate"),
    (lambda key: pquant.CompressionPipeline({"methods": ["svd"], "svd_rank": 4, key: 9}), "fine_tune_batch"),
    (lambda key: pquant.CompressionPipeline({"methods": ["svd"], "svd_rank": 4, key: True}), "distill"),
    (lambda key: pquant.CompressionPipeline({"methods": ["svd"], "svd_rank": 4, key: 0.9}), "pruning_sparsity"),
    (lambda key: pquant.CompressionPipeline({"methods": ["svd"], "svd_rank": 4, key: 8}), "quantization_bits")])
def test_keys_without_effect_are_told(make, key):
    with pytest.warns(pquant.Warned, match=f"^{key.removeprefix('fine_tune_')}|^{key} does nothing"):
        make(key)


@pytest.mark.parametrize("names", [["low_rank", "quantization", "pruning"], ["quantization"], ["pruning", "quantization"]])
def test_training_comes_where_it_mends_most(names):
    config = {"methods": names, "fine_tune_epochs": 1, **({"rank": 4} if "low_rank" in names else {})}
    stages = [s.stage for s in pquant.CompressionPipeline(config).stages()]
    assert stages[-1] == "finetune" or stages[-2:] == ["finetune", "quantize"]


def test_outputs_are_matched_by_name_with_a_file():
    """classes says what the outputs of a model without names are; another order gives other numbers."""
    tagger = pquant.load(JETS.replace("jets-hlf.h5", "models/jsc-mlp.h5"))
    due = pquant.evaluate(tagger, JETS + ":test")
    order = [3, 0, 4, 1, 2]
    held = tagger.weights()
    layers = []
    for n in tagger.structure["nodes"]:
        weights = {w["name"]: held[n["name"], w["name"]] for w in n["weights"]}
        if n["name"] == "output":
            weights = {k: v[order] for k, v in weights.items()}
        layers.append({"kind": n["kind"], "name": n["name"], "weights": weights, **({"shape": n["shape"]} if n["kind"] == "input" else {})})
    scaler = tagger.structure["scaler"]
    mean, std = (np.asarray(scaler[k], np.float32) for k in ("mean", "std"))
    layers[1]["weights"]["bias"] = layers[1]["weights"]["bias"] - layers[1]["weights"]["kernel"] @ (mean / std)
    layers[1]["weights"]["kernel"] = layers[1]["weights"]["kernel"] / std
    turned = pquant.Model.build(layers)
    names = [tagger.classes[i] for i in order]
    assert abs(pquant.evaluate(turned, JETS + ":test", classes=names) - due) < 0.0005
    assert pquant.evaluate(turned, JETS + ":test") < 0.5
    with pytest.raises(pquant.ConfigError, match="the model names its outputs"):
        pquant.evaluate(tagger, JETS + ":test", classes=names)
