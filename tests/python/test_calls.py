"""The package without any framework: models of arrays, errors, Ctrl-C, memory, threads, imports."""
import io
import json
import os
import pickle
import re
import resource
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import JETS, TAGGER, dense_net, program

import pquant


def python(code, **more):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, **more)


def test_importing_is_quick_and_brings_no_framework():
    code = ("import sys, time; t = time.process_time(); import pquant; pquant.compress_model; pquant.__version__; "
            "print(time.process_time() - t, sorted({'torch', 'keras', 'jax', 'numpy'} & set(sys.modules)))")
    runs = [python(code).stdout.split(" ", 1) for _ in range(5)]
    assert runs[0][1].strip() == "[]"
    assert min(float(r[0]) for r in runs) < 0.15


@pytest.mark.parametrize("order", [["torch", "h5py", "pquant"], ["pquant", "torch", "h5py"], ["h5py", "pquant", "torch"],
                                   ["torch", "pquant", "h5py"], ["pquant", "h5py", "torch"], ["h5py", "torch", "pquant"]])
def test_beside_h5py_and_torch_in_any_order(order, tmp_path):
    code = f"""
import {', '.join(order)}, numpy as np
x = np.random.default_rng(0).normal(size=(100, 16)).astype('f')
m = pquant.load({TAGGER!r})
with h5py.File({str(tmp_path / 'a.h5')!r}, 'w') as f: f['x'] = x
small = pquant.compress_model(m, 'svd', rank=4); small.save({str(tmp_path / 'b.h5')!r})
with h5py.File({str(tmp_path / 'b.h5')!r}) as f: assert 'weights' in f
torch.linalg.svd(torch.randn(64, 64)); print(float(small.predict(x).sum()))"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert abs(float(done.stdout) - 100.0) < 1e-3


def test_values_are_those_of_plain_numpy(rng):
    model = dense_net([20, 30, 7])
    x = rng.normal(size=(1000, 20)).astype(np.float32)
    h = np.maximum(x @ model.weight("fc0", "kernel").T + model.weight("fc0", "bias"), 0)
    due = h @ model.weight("fc1", "kernel").T + model.weight("fc1", "bias")
    for threads in (1, 2, 3):
        np.testing.assert_allclose(model.predict(x, threads=threads), due, atol=1e-5)
    for other in (x.astype(np.float64), np.asfortranarray(x), np.repeat(x, 2, 1)[:, ::2], x[::-1][::-1]):
        np.testing.assert_array_equal(model.predict(other), model.predict(x))
    assert model.predict(x[:0]).shape == (0, 7)


def test_results_are_those_of_the_command_line(tmp_path):
    path = str(tmp_path / "small.h5")
    program("compress", TAGGER, "-o", path, "--method", "svd:rank=8,clip_rank=true", "--method", "quantize:bits=8", "--calib",
            JETS + ":val", "--quiet")
    told = json.loads(program("model", "eval", path, "--data", JETS + ":test", "--format", "json"))
    small = pquant.compress_model(TAGGER, ["svd", "quantize"], rank=8, bits=8, data=JETS + ":val")
    for key, value in pquant.load(path).weights().items():
        np.testing.assert_array_equal(value, small.weight(*key))
    metrics = pquant.evaluate_model(small, JETS + ":test")
    for name in ("accuracy", "auc.macro", "stored_bytes", "macs"):
        assert metrics[name] == told["metrics"][name]["value"]
    accuracy = pquant.evaluate(small, JETS + ":test")
    assert accuracy.lo < accuracy < accuracy.hi
    assert accuracy.lo == told["metrics"]["accuracy"]["lo"]


def test_negative_weights_are_taken_where_asked_for():
    net = dense_net((16, 5))
    x = np.random.default_rng(3).normal(size=(40, 16)).astype(np.float32)
    y, weights = np.arange(40) % 5, np.where(np.arange(40) % 4 == 0, -0.5, 1.5)
    with pytest.raises(pquant.Error, match="negative"):
        pquant.evaluate(net, (x, y, weights))
    accuracy = pquant.evaluate(net, (x, y, weights), negative_weights=True)
    right = net.predict(x).argmax(1) == y
    assert accuracy == pytest.approx((weights * right).sum() / weights.sum(), abs=1e-6)


def test_failures_carry_code_hint_file_and_place(tagger):
    with pytest.raises(FileNotFoundError) as failed:
        pquant.load("nothing.h5")
    assert (failed.value.code, failed.value.file, failed.value.place) == ("not_found", "nothing.h5", None)
    with pytest.raises(ValueError, match="did you mean 'rank'"):
        pquant.compress_model(tagger, "svd", rnk=4)
    with pytest.raises(ValueError, match="did you mean 'low_rank'"):
        pquant.compress_model(tagger, "low_rnk", rank=4)
    with pytest.raises(pquant.ShapeError, match="4 samples of 15 values"):
        tagger.predict(np.zeros((4, 15), np.float32))
    with pytest.raises(pquant.Error, match="rank 0 is not in|rank"):
        pquant.compress_model(tagger, "svd", rank=0)
    with pytest.raises(pquant.UnsupportedError, match="is no model that pquant takes"):
        pquant.compress_model(object(), "svd", rank=4)
    with pytest.raises(AttributeError, match="did you mean 'compress_model'"):
        pquant.compres_model
    error = pickle.loads(pickle.dumps(failed.value))
    assert (error.code, error.file) == ("not_found", "nothing.h5")


def test_what_needs_events_is_left_out_with_a_warning(tagger):
    with pytest.warns(pquant.Warned, match="activations were not quantized"):
        small = pquant.compress_model(tagger, "quantization", bits=8)
    assert small.stored_bytes < tagger.stored_bytes / 3
    with pytest.warns(pquant.Warned, match="finetune was not done"):
        pquant.compress_model(tagger, ["svd", "finetune"], rank=4, epochs=1)


def test_rank_and_sparsity_together_prune_the_factors(tagger):
    small = pquant.compress_model(tagger, method="low_rank", rank=4, target_sparsity=0.5)
    kernels = [v for (_, name), v in small.weights().items() if name == "kernel"]
    zeros, all_of_them = sum((k == 0).sum() for k in kernels), sum(k.size for k in kernels)
    assert abs(zeros / all_of_them - 0.5) < 0.01
    assert max(min(k.shape) for k in kernels) <= 16 and any(4 in k.shape for k in kernels)


@pytest.mark.parametrize("content", [b"\x89HDF\r\n\x1a\n" + bytes(100), b"no model"])
def test_bytes_that_are_no_model_name_no_file(content):
    with pytest.raises(pquant.Error) as failed:
        pquant.Model.from_bytes(content)
    assert failed.value.file is None and "/" not in failed.value.message


def test_models_pickle_copy_and_exchange_weights(tagger, tmp_path):
    again = pickle.loads(pickle.dumps(tagger))
    x = np.ones((3, 16), np.float32)
    np.testing.assert_array_equal(again.predict(x), tagger.predict(x))
    pquant.save(tagger, tmp_path / "m.onnx")
    scaler = {k: np.asarray(v, np.float32) for k, v in tagger.structure["scaler"].items()}  # of the ONNX file: its first layers
    np.testing.assert_allclose(pquant.load(tmp_path / "m.onnx").predict(x * scaler["std"] + scaler["mean"]),
                               tagger.predict(x), atol=1e-4)
    with pytest.raises(pquant.ShapeError):
        tagger.with_weights({("fc1", "kernel"): np.zeros((2, 2), np.float32)})


def test_notebooks_show_tables(tagger):
    shown = tagger._repr_html_()
    assert shown.count("<tr>") == 1 + len(tagger.structure["nodes"]) and "kernel 64 x 16" in shown and "-&gt;" in shown
    metrics = pquant.evaluate_model(tagger, JETS + ":val")
    assert metrics._repr_html_().count("<tr>") == 1 + len(metrics)


@pytest.mark.parametrize("after", [0.3, 1.0])
def test_ctrl_c_ends_a_training_within_half_a_second(after, tmp_path):
    code = f"""
import pquant, signal, sys, time, os
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
m = pquant.load({TAGGER!r})
print('go', flush=True)
try:
    pquant.compress_model(m, 'finetune', epochs=100000, data={JETS + ':train'!r}).save({str(tmp_path / 'out.h5')!r})
except KeyboardInterrupt:
    print('stopped', time.monotonic(), flush=True)
    print(pquant.compress_model(m, 'svd', rank=4).stored_bytes, flush=True)"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "go\n"
        time.sleep(after)
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        late = threading.Timer(30, child.kill)
        late.start()
        word, at = child.stdout.readline().split()
        assert word == "stopped" and float(at) - start < 0.5
        assert int(child.stdout.readline()) > 0
        assert child.wait(20) == 0
        late.cancel()
    assert os.listdir(tmp_path) == []


def test_a_callback_cancels_and_its_exceptions_come_through(tagger):
    seen = []
    with pytest.raises(pquant.InterruptedCall) as failed:
        pquant.compress_model(tagger, "finetune", epochs=10000, data=JETS + ":val",
                              progress=lambda what, done, total, note: seen.append((what, done, total)) or False)
    assert failed.value.code == "interrupted" and len(seen) >= 1 and seen[0][0] == "events"

    def wrong(*_):
        raise ZeroDivisionError("mine")
    with pytest.raises(ZeroDivisionError, match="mine"):
        pquant.compress_model(tagger, "finetune", epochs=10000, data=JETS + ":val", progress=wrong)


class _Cell(io.StringIO):
    """What a notebook's cell shows of a stream: a carriage return goes back to the beginning of the line."""

    def shown(self):
        lines = []
        for written in self.getvalue().split("\n"):
            line = ""
            for piece in written.split("\r"):
                line = piece + line[len(piece):]
            lines.append(line.rstrip())
        return lines


def test_the_bar_leaves_one_whole_line_in_a_cell(tagger, monkeypatch):
    cell = _Cell()
    monkeypatch.setattr(sys, "stderr", cell)
    pquant.compress_model(tagger, "svd", rank=4, progress=pquant.bar)
    assert len(cell.shown()) == 2 and cell.shown()[1] == "", cell.shown()
    assert re.fullmatch(r"layers (\d+) of \1 100 %", cell.shown()[0]), cell.shown()

    cell = _Cell()
    monkeypatch.setattr(sys, "stderr", cell)
    pquant.bar("events", 1, 3000, "a long note")
    pquant.bar("events", 2, 3000, "")
    assert cell.shown() == ["events 2 of 3,000   0 %"]
    pquant.bar("events", 3000, 3000, "")
    assert cell.shown() == ["events 3,000 of 3,000 100 %", ""]

    cell = _Cell()
    monkeypatch.setattr(sys, "stderr", cell)
    with pytest.raises(pquant.InterruptedCall):
        pquant.compress_model(tagger, "finetune", epochs=10000, data=JETS + ":val",
                              progress=lambda *told: pquant.bar(*told) is not None)
    assert len(cell.shown()) == 2 and cell.shown()[1] == "" and " 100 %" not in cell.shown()[0], cell.shown()


def test_other_threads_run_during_a_call():
    model, counted, stop = dense_net([512, 2048, 2048, 512]), [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0.001)
    thread = threading.Thread(target=count)
    thread.start()
    before, deadline = counted[0], time.monotonic() + 0.5
    x = np.zeros((20000, 512), np.float32)
    while time.monotonic() < deadline:
        model.predict(x)
    stop.set()
    thread.join()
    assert counted[0] - before > 20


def test_a_forked_process_predicts_with_its_parents_model_and_frees_it(tagger):
    code = f"""
import gc, os, signal, numpy as np, pquant, warnings
warnings.simplefilter('ignore')
m, x = pquant.load({TAGGER!r}), np.ones((5000, 16), 'f')
due = m.predict(x, threads=3)
if os.fork() == 0:
    signal.alarm(20)
    fine = (m.predict(x, threads=3) == due).all()
    del m
    gc.collect()
    os._exit(0 if fine else 1)
print(os.wait()[1])"""
    assert python(code).stdout.strip() == "0"


def test_ctrl_c_ends_a_prediction_within_half_a_second():
    code = """
import numpy as np, pquant, signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)
k = np.zeros((64, 3, 3, 64), 'f')
layers = [{'kind': 'input', 'name': 'x', 'shape': (32, 32, 64)}]
layers += [{'kind': 'conv2d', 'name': f'c{i}', 'attributes': {'padding': 'same'}, 'weights': {'kernel': k}} for i in range(2)]
m = pquant.Model.build([*layers, {'kind': 'global_avg_pool', 'name': 'p'}])
m.predict(np.zeros((2, 32, 32, 64), 'f'))
print('go', flush=True)
try:
    m.predict(np.broadcast_to(np.zeros((1, 32, 32, 64), 'f'), (40000, 32, 32, 64)))
except KeyboardInterrupt:
    print('stopped', time.monotonic(), flush=True)"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "go\n"
        time.sleep(0.3)
        start = time.monotonic()
        child.send_signal(signal.SIGINT)
        late = threading.Timer(30, child.kill)
        late.start()
        word, at = child.stdout.readline().split()
        late.cancel()
        assert word == "stopped" and float(at) - start < 0.5


def test_weights_of_a_loaders_batches_count(tagger, rng):
    x = rng.normal(size=(600, 16)).astype(np.float32)
    y, w = rng.integers(0, 5, 600), rng.random(600)
    batches = [(x[i:i + 100], y[i:i + 100], w[i:i + 100]) for i in range(0, 600, 100)]
    due = pquant.evaluate(tagger, (x, y, w))
    assert pquant.evaluate(tagger, batches) == due != pquant.evaluate(tagger, (x, y))
    assert pquant.evaluate(tagger, (x, y, w[:, None])) == due
    for more, text in (([(x[:5], y[:5])], "some batches have weights"), ([(x[:5], y[:5], w[:5], w[:5])], "a batch has 4 items"),
                       ([(x[:5], y[:5], np.ones((5, 2)))], r"weights are \[5, 2\]")):
        with pytest.raises(pquant.Error, match=text):
            pquant.evaluate(tagger, batches + more)


def test_labels_of_several_columns_are_one_hot(tagger):
    for rows in (np.eye(5)[Y] * 0.9, np.ones((200, 5)), np.stack([Y, Y], 1), np.zeros((200, 5)), np.full((200, 5), np.nan)):
        with pytest.raises(pquant.Error, match="the label of event 0 is .* not one 1 among zeros"):
            pquant.evaluate(tagger, (X, rows))


def test_paths_are_texts_bytes_or_pathlib_and_nothing_else(tagger, tmp_path):
    odd = os.fsencode(tmp_path) + b"/a\xff.h5"
    tagger.save(odd)
    assert pquant.load(odd).parameters == pquant.load(os.fsdecode(odd)).parameters == tagger.parameters
    assert pquant.compress_model(odd, "svd", rank=2).parameters < tagger.parameters
    for bad in ("", "a\0b", 7, None, b"x\0"):
        with pytest.raises(pquant.ConfigError, match="is no path"):
            pquant.load(bad)
        with pytest.raises(pquant.ConfigError, match="is no path"):
            tagger.save(bad)


@pytest.mark.parametrize("layer, text", [({"name": "a"}, "layer 'a' has no 'kind'"), ({"kind": "relu"}, "layer '' has no 'name'"),
                                         ({"kind": "input", "name": "x"}, "layer 'x' has no 'shape'")])
def test_a_layer_without_what_it_needs_is_told(layer, text):
    with pytest.raises(pquant.ConfigError, match=text):
        pquant.Model.build([layer])


def test_every_error_pickles():
    from pquant import _call
    for _, kind in _call._KINDS:
        error = pickle.loads(pickle.dumps(kind("what", "memory", "hint", "file", (1, 2))))
        assert type(error) is kind and (error.code, error.place) == ("memory", (1, 2))


def test_a_thousand_calls_leave_no_memory_behind(tagger):
    x = np.ones((64, 16), np.float32)

    def calls(n):
        for _ in range(n):
            pquant.compress_model(tagger, "svd", rank=4).predict(x)
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    start = calls(300)
    assert calls(1000) - start < 4 << 20


def test_no_copy_of_arrays_that_lie_right():
    model = dense_net([256, 4])
    x = np.zeros((1 << 18, 256), np.float32)  # 256 MB
    model.predict(x[:1000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model.predict(x)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < (x.nbytes >> 10) / 4


def test_arrays_of_any_strides_and_order_of_bytes_are_read_as_numpy_reads_them(tagger, rng):
    x = rng.normal(size=(3000, 16)).astype(np.float32)
    due = tagger.predict(x)
    assert np.array_equal(tagger.predict(x.astype(">f4")), due)
    assert np.array_equal(tagger.predict(np.broadcast_to(np.float32(0.5), (3000, 16))), tagger.predict(np.full((3000, 16), 0.5, "f")))
    assert np.array_equal(tagger.predict(np.broadcast_to(x[:1], (9, 16))), np.repeat(due[:1], 9, 0))
    y = due.argmax(1)
    assert pquant.evaluate(tagger, (x, y.astype(">i4"))) == pquant.evaluate(tagger, (x.astype(">f8"), y))
    assert pquant.evaluate(tagger, (x, np.broadcast_to(np.int64(2), 3000))) == pquant.evaluate(tagger, (x, np.full(3000, 2)))
    kernel = np.broadcast_to(2.0, (2, 3))
    net = pquant.Model.build([{"kind": "input", "name": "x", "shape": (3,)},
                              {"kind": "dense", "name": "fc", "weights": {"kernel": kernel, "bias": np.zeros(2)}}])
    assert np.array_equal(net.weight("fc", "kernel"), kernel)


X, Y = np.random.default_rng(5).normal(size=(200, 16)).astype("f"), np.arange(200) % 5


@pytest.mark.parametrize("call, text", [
    (lambda net: pquant.compress_model(net, None), "method None is no name"),
    (lambda net: pquant.compress_model(net, ["svd", 3], rank=2), "method 3 is no name"),
    (lambda net: pquant.compress_model(net, "svd", rank=2, input_shape=7), "input_shape = 7 is no shape"),
    (lambda net: pquant.compress_model(net, "svd", rank=2, input_shape=(0, 3)), "input_shape = (0, 3) is no shape"),
    (lambda net: pquant.compress_model(net, "svd", rank=2, seed=-1), "seed = -1 is not in 0.."),
    (lambda net: pquant.compress_model(net, "svd", rank=2, seed="a"), "seed = 'a' is not a whole number"),
    (lambda net: pquant.compress_model(net, "finetune", epochs=1, data=X), "training needs labels"),
    (lambda net: net.predict(X[0]), "events are [16], not [n, 16] (hint: one event is x[None])"),
    (lambda net: net.predict(X.tolist()), "a list of 200 is a list of inputs, and the model has 1"),
    (lambda net: net.predict(None), "events are [], not [n, 16]"),
    (lambda net: pquant.Model.from_bytes("abc"), "a str is no bytes of a file"),
    (lambda net: pquant.evaluate(net, (X, Y[:10])), "there are 200 events, but 10 labels"),
    (lambda net: pquant.evaluate(net, (X, Y, np.ones(3))), "there are 200 events, but 3 weights"),
    (lambda net: pquant.evaluate(net, (X, Y), classes=["g", "q", "w", "z", "z"]), "class 'z' is"),
    (lambda net: pquant.evaluate(net, (X, Y), classes=["a,b", "c", "d", "e"]), "'a,b' is no name of a class"),
    (lambda net: pquant.evaluate(net, (X, Y), classes=7), "classes = 7 is no list of names"),
    (lambda net: pickle.loads(pickle.dumps(net)).set_classes(["a", "b"]), "there are 2 names of classes, but the model's 5 outputs need 5"),
    (lambda net: pquant.generate_code(net, "/proc/x"), "/proc/x: cannot make the folder"),
    (lambda net: net.predict(X, engine=7), "engine = 7 is no name"),
    (lambda net: net.predict(X, threads=-1), "threads = -1 is not in 0..1024"),
    (lambda net: net.predict(X, threads=10**9), "threads = 1000000000 is not in 0..1024"),
    (lambda net: pquant.measure_latency(net, -1), "batch = -1 is not in 1.."),
    (lambda net: pquant.evaluate(net, X), "the events have no labels"),
    (lambda net: pquant.evaluate(net, None), "no events were given"),
    (lambda net: pquant.evaluate(net, (X, np.array(list("gqwzt"))[Y])), "label np.str_('g') is no number"),
    (lambda net: pquant.evaluate(net, (X, np.where(Y == 1, np.inf, Y))), "label inf is no class"),
    (lambda net: pquant.evaluate(net, (X.tolist(), Y.tolist())), "no array of events"),
    (lambda net: pquant.evaluate(net, [1, 2]), "a batch is '1': no array of events"),
    (lambda net: pquant.evaluate(net, [{"x": X}]), "batches are dicts of x"),
    (lambda net: pquant.evaluate(net, {"x": X}), "a dict is no events"),
    (lambda net: pquant.evaluate(net, [(X, Y), (X[:, :3], Y)]), "events of a batch are [3], of the first [16]"),
    (lambda net: pquant.CompressionPipeline("low_rank"), "a configuration is a dict"),
    (lambda net: pquant.CompressionPipeline({"methods": None}), "method None is no name"),
    (lambda net: pquant.CompressionPipeline({"low_rank_rank": 2, "target_latency_ns": "fast"}), "'fast' is no positive number"),
    (lambda net: pquant.benchmark_compression(model=net, dataset=(X, Y), rnk=3), "has no key 'rnk'; did you mean 'rank'?"),
])
def test_wrong_calls_end_in_one_sentence(call, text, tagger):
    with pytest.raises(pquant.Error) as caught:
        call(tagger)
    assert text in str(caught.value) and len(caught.value.message.splitlines()) == 1


def test_what_is_meant_is_taken(tagger):
    import pandas
    frame = (pandas.DataFrame(X), pandas.Series(Y))
    assert pquant.evaluate(tagger, frame) == pquant.evaluate(tagger, (X, Y))
    assert list(pquant.benchmark_compression(model=tagger, dataset=(X, Y), methods="low_rank", metrics="model_size")) == ["low_rank"]
    assert pquant.compress_model(tagger, "lora").macs > 0  # five outputs, and eight components by default
    net = dense_net([16, 8, 3])
    data = (X, Y % 3)
    small = pquant.compress_model(net, "quantization", data=data)
    assert pquant.evaluate_b_tagging(net, small, data)["b_tag_efficiency"]["compressed"] >= 0
    _, results = pquant.HEPModelCompression.compress_jet_tagger(net, data, data, epochs=1)
    assert results["b_tag_efficiency"] >= 0
