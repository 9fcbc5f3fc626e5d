"""What the stubs say is what is there: mypy over the package, the gallery and calls of the contract."""
import os
import subprocess
import sys

import pytest
from conftest import ROOT

CALLS = '''
import pquant
from pquant.compression import LowRankCompression

model = pquant.load("net.h5")
accuracy: float = pquant.evaluate(pquant.compress_model(model, "low_rank", 64, 0.5), "jets.h5:test")
interval: tuple[float, float] = pquant.evaluate(model, "jets.h5:test").interval
latency: float = pquant.measure_latency(model, engine="generated").p99
shape: tuple[int, ...] = model.input_shape
LowRankCompression({"rank": 8}).compress(model, train_loader="jets.h5:train")
report: dict = pquant.CompressionPipeline({"methods": ["low_rank"]}).evaluate(model, model, "jets.h5:test")
'''


def mypy(*arguments, folder):
    return subprocess.run([sys.executable, "-m", "mypy", "--ignore-missing-imports", "--cache-dir", str(folder / "cache"), *arguments],
                          capture_output=True, text=True, check=False, cwd=folder)


def test_types_are_true(tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed")
    done = mypy("-p", "pquant", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    (tmp_path / "calls.py").write_text(CALLS, encoding="utf-8")
    for path in (tmp_path / "calls.py", os.path.join(ROOT, "examples", "gallery.py")):
        done = mypy(str(path), folder=tmp_path)
        assert done.returncode == 0, done.stdout
    (tmp_path / "wrong.py").write_text(CALLS + 'latency = model.input_shape\nmodel.predict(1, engin="int8")\n', encoding="utf-8")
    done = mypy("wrong.py", folder=tmp_path)
    assert done.returncode == 1 and done.stdout.count("error:") == 2, done.stdout
