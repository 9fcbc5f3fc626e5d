"""The names that scripts are written against, with their signatures, keys and shapes."""
import inspect
import json
import os

import numpy as np
import pytest
from conftest import JETS, ROOT, TAGGER, dense_net

import pquant
from pquant.benchmarks import benchmark_compression
from pquant.compression import (CPCompression, LoRACompression, LowRankCompression, PruningCompression,
                                QuantizationCompression, TensorTrainCompression, TuckerCompression)
from pquant.hep import HEPModelCompression

BTAG = os.path.join(ROOT, "datasets", "jets-btag.h5")


def test_signatures():
    parameters = inspect.signature(pquant.compress_model).parameters
    assert list(parameters)[:4] == ["model", "method", "rank", "target_sparsity"]
    assert parameters["rank"].default is None and parameters["data"].kind is inspect.Parameter.KEYWORD_ONLY
    assert pquant.HEPModelCompression is HEPModelCompression
    assert pquant.CompressionPipeline is pquant.compression.CompressionPipeline
    assert list(inspect.signature(pquant.evaluate_b_tagging).parameters)[:3] == ["original", "compressed", "loader"]
    assert isinstance(pquant.__version__, str)


METHODS = {"low_rank": {"rank": 4}, "svd": {"rank": 4}, "lora": {"rank": 4}, "tensor_train": {"rank": 4},
           "quantization": {"bits": 8}, "aggressive_quantization": {}, "pruning": {"target_sparsity": 0.5},
           "structured_pruning": {"target_sparsity": 0.5}}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_a_model_that_predicts(method, tagger, jets):
    small = pquant.compress_model(tagger, method, data=JETS + ":val", **METHODS[method])
    out = small.predict(jets[0][:10])
    assert out.shape == (10, 5) and np.allclose(out.sum(1), 1, atol=1e-4)
    if method not in ("lora",):
        assert small.stored_bytes < tagger.stored_bytes


@pytest.mark.parametrize("cls, config", [
    (LowRankCompression, {"method": "low_rank", "rank": 4}),
    (TensorTrainCompression, {"method": "tensor_train", "rank": 4, "train_after_compression": True, "epochs": 1}),
    (QuantizationCompression, {"method": "quantization", "bits": 6}),
    (PruningCompression, {"method": "pruning", "sparsity": 0.8, "epochs": 1}),
    (LoRACompression, {"method": "lora", "rank": 2})])
def test_classes(cls, config, tagger):
    small = cls(config).compress(tagger, train_loader=JETS + ":val")
    assert small.parameters > 0
    with pytest.raises(pquant.ConfigError, match="did you mean"):
        cls({**config, "epoch": 3})


def test_classes_for_convolutions():
    for cls in (CPCompression, TuckerCompression):
        assert "rank=4" in repr(cls({"rank": 4}))
        with pytest.raises(pquant.ConfigError, match="is of method"):
            cls({"method": "svd", "rank": 4})


def test_training_without_events_says_what_was_not_done(tagger):
    with pytest.warns(pquant.Warned, match="finetune was not done"):
        TensorTrainCompression({"rank": 4, "train_after_compression": True, "epochs": 10}).compress(tagger)


def test_pipeline(tagger):
    pipeline = pquant.CompressionPipeline({
        "methods": ["low_rank", "quantization"], "low_rank_rank": 6, "quantization_bits": 8, "pruning_sparsity": 0.9,
        "fine_tune_epochs": 1, "preserve_rare_classes": True, "target_latency_ns": 1e9})
    assert [s.stage for s in pipeline.stages()] == ["svd", "finetune", "quantize"]
    small = pipeline.compress(tagger, train_loader=JETS + ":train")
    out = pipeline.evaluate(tagger, small, JETS + ":test")
    assert {"original", "compressed", "compression_ratio"} <= set(out)
    assert out["compression_ratio"] == tagger.stored_bytes / small.stored_bytes > 2
    assert out["original"]["accuracy"].lo < out["original"]["accuracy"] < out["original"]["accuracy"].hi
    assert out["compressed"]["accuracy"] > 0.6
    assert pipeline.latency > 0
    with pytest.raises(pquant.ConfigError, match="did you mean 'low_rank_rank'"):
        pquant.CompressionPipeline({"methods": ["low_rank"], "low_rank_rnk": 4})


def test_evaluation_of_all_kinds_of_events(tagger):
    x, y = pquant.Data.open(JETS + ":test").read(0, 3000)
    model = pquant.load(TAGGER)
    data = pquant.Data.of_arrays([("test", x, y, None)], tagger.classes)
    due = pquant.evaluate(model, data)
    batches = [(x[i:i + 100], y[i:i + 100]) for i in range(0, 3000, 100)]
    one_hot = np.eye(5, dtype=np.float32)[y]
    for events in ((x, y), (x.astype(np.float64), y), (x, one_hot), batches, iter(batches)):
        got = pquant.evaluate(model, events)
        assert abs(got - due) < 1e-9 and got.lo < got < got.hi
    with pytest.raises(pquant.ConfigError, match="gave no batch"):
        pquant.evaluate(model, iter([]))


def test_one_output_of_several_is_loaded(tmp_path):
    with open(TAGGER.replace(".h5", ".json")) as f:
        config = json.load(f)
    config["config"]["output_layers"] = [["fc3_relu", 0, 0], ["output_softmax", 0, 0]]
    arch = tmp_path / "two.json"
    arch.write_text(json.dumps(config))
    weights = TAGGER.replace(".h5", ".weights.h5")
    x = np.random.default_rng(0).normal(size=(10, 16)).astype(np.float32)
    due = pquant.load(weights, TAGGER.replace(".h5", ".json")).predict(x)
    for hidden, last in (("fc3_relu", "output_softmax"), (0, 1)):
        assert pquant.load(weights, arch, output=hidden).predict(x).shape == (10, 32)
        assert np.array_equal(pquant.load(weights, arch, output=last).predict(x), due)
    with pytest.raises(pquant.ConfigError, match="'fc2' is none of the model's outputs: fc3_relu, output_softmax"):
        pquant.load(weights, arch, output="fc2")


def test_latency_is_a_number_that_knows_more(tagger):
    latency = pquant.measure_latency(tagger)
    assert 0 < latency < 1e6 and latency.p50 <= latency.p99 and latency.chain > 0
    assert latency.engine in ("float32", "int8") and "engine" in repr(latency)


def test_b_tagging():
    model = pquant.load(os.path.join(ROOT, "datasets", "models", "btag-mlp.h5"))
    small = pquant.compress_model(model, "quantization", bits=8, data=BTAG + ":val")
    out = pquant.evaluate_b_tagging(model, small, BTAG + ":test")
    assert 0.5 < out["b_tag_efficiency"]["original"] < 0.9
    assert abs(out["ratio"] - 1) < 0.02
    assert out["original"]["btag.c.0.1.efficiency"].lo < out["original"]["btag.c.0.1.efficiency"]


def test_jet_tagger_of_flavours_and_of_others(tagger):
    model = pquant.load(os.path.join(ROOT, "datasets", "models", "btag-mlp.h5"))
    small, results = HEPModelCompression.compress_jet_tagger(model, BTAG + ":val", BTAG + ":test", epochs=1)
    assert 0.5 < results["b_tag_efficiency"] < 0.9 and small.stored_bytes < model.stored_bytes
    with pytest.warns(pquant.Warned, match="no b-tag efficiency"):
        _, results = HEPModelCompression().compress_jet_tagger(tagger, JETS + ":val", JETS + ":test", epochs=1)
    assert results["b_tag_efficiency"] is None


def test_trigger_model_meets_its_latency_or_says_what_it_measured():
    net = dense_net([16, 16, 5])
    x = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)
    small = HEPModelCompression.compress_trigger_model(net, target_latency_ns=1e6, data=(x, net.predict(x).argmax(1)))
    assert pquant.measure_latency(small) < 1e6
    with pytest.raises(AssertionError, match="no compression reaches 1 ns"), pytest.warns(pquant.Warned):
        HEPModelCompression.compress_trigger_model(net, target_latency_ns=1)


def test_benchmark(tagger):
    out = benchmark_compression(model=tagger, dataset=JETS + ":test", methods=["low_rank", "pruning", "quantization"],
                                metrics=["accuracy", "inference_time", "model_size"], train=JETS + ":val")
    assert list(out) == ["low_rank", "pruning", "quantization"]
    assert all(set(v) == {"accuracy", "inference_time", "model_size"} for v in out.values())
    with pytest.raises(pquant.Error, match="(?i)no such|not") as failed:
        benchmark_compression(model=tagger, dataset="no-such-set", methods=["low_rank"])
    assert "data list" in str(failed.value) or "data fetch" in str(failed.value)
    with pytest.raises(pquant.ConfigError, match="did you mean 'accuracy'"):
        benchmark_compression(model=tagger, dataset=JETS + ":test", methods=["pruning"], metrics=["acuracy"],
                              train=JETS + ":val")


def test_runs_and_their_results(tmp_path, capfd):
    text = f"""
schema: pquant/1
name: from_python
model: {{weights: {TAGGER}}}
dataset: {{file: {JETS}}}
pipelines:
  reference: []
  svd: {{stages: [{{svd: {{rank: $rank, clip_rank: true}}}}], sweep: {{rank: [4, 8]}}}}
"""
    results = pquant.run(text, output=tmp_path / "out", progress=False)
    assert len(results) == 3 and results["reference"]["accuracy"] > 0.7
    assert list(results.to_pandas()["pipeline"]) == ["reference", "svd", "svd"]
    import matplotlib
    matplotlib.use("Agg")
    axes = results.plot()
    assert axes.get_xlabel() == "stored bytes"
    assert "<table>" in results._repr_html_()
    with pytest.raises(pquant.ConfigError, match="stagges") as failed:
        pquant.run(text.replace("stages", "stagges"), output=tmp_path / "two", progress=False)
    assert failed.value.code == "config" and failed.value.place[0] == 8
    capfd.readouterr()
    with pytest.raises(pquant.ConfigError) as failed:
        pquant.run(text.replace("stages", "stagges").replace("dataset", "datasset"), output=tmp_path / "two")
    said = str(failed.value)
    assert said.count("unknown key") == 2 and "stagges" in said and "datasset" in said, "all problems, once"
    assert capfd.readouterr().err == "", "what the exception says is not printed, too"
    with pytest.raises(pquant.Error, match="nowhere.h5") as failed:
        pquant.run(text.replace(TAGGER, "nowhere.h5"), output=tmp_path / "two")
    assert "nowhere.h5" not in capfd.readouterr().err and "error" not in failed.value.message
    assert len(pquant.Results(tmp_path / "out")) == 3


def test_names_of_cells_stay_texts(tmp_path):
    (tmp_path / "table.csv").write_text("pipeline,label,status,n,accuracy\n8,8,ok,1_000,0.5\nnan,nan,ok,2,\n")
    results = pquant.Results(tmp_path)
    assert results["8"]["accuracy"] == 0.5 and results["nan"]["accuracy"] is None
    assert [r["n"] for r in results] == ["1_000", 2]


def test_the_module_is_the_program():
    import subprocess
    import sys
    done = subprocess.run([sys.executable, "-m", "pquant", "methods"], capture_output=True, text=True, check=True)
    assert "structured_prune" in done.stdout
