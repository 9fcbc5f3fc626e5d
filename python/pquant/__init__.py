"""pQuant: compress PyTorch, Keras and JAX networks for particle physics, and measure what that costs and gains.

    import pquant
    small = pquant.compress_model(net, method="low_rank", rank=64)
    pquant.evaluate(small, test_loader)      # accuracy, with its interval
    pquant.measure_latency(small)            # nanoseconds of one event

All numbers come from the C library of the same name; frameworks are imported only where a model is theirs.
"""
from __future__ import annotations

import importlib
import os


def _other() -> str | None:
    """CERN's PQuantML beside us, whose package has this name too."""
    site = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    try:
        names = os.listdir(site)
    except OSError:
        return None
    found = [n for n in names if n.lower().startswith(("pquant_ml-", "pquant-ml-")) and n.endswith(("-info", ".egg-info"))]
    return found[0] if found else None


if _other() is not None:
    raise ImportError(f"{_other()} is installed beside pquant-hep, and both have a package 'pquant': one has overwritten "
                      "files of the other; uninstall both, then install one of them, or use two virtual environments")

#: where each name is; modules are loaded when a name is first used
_PLACES = {
    "Model": "_model", "Data": "_events", "compress_model": "_compress", "load": "_compress", "save": "_compress",
    "generate_code": "_compress",
    "evaluate": "_evaluate", "evaluate_model": "_evaluate", "evaluate_b_tagging": "_evaluate",
    "measure_latency": "_evaluate", "Metrics": "_evaluate", "Number": "_numbers", "Latency": "_numbers",
    "CompressionPipeline": "compression", "HEPModelCompression": "hep", "run": "_results", "Results": "_results",
    "methods": "_methods", "Warned": "_methods", "benchmark_compression": "benchmarks", "bar": "_call",
    **{name: "compression" for name in ("LowRankCompression", "TensorTrainCompression", "CPCompression",
                                        "TuckerCompression", "QuantizationCompression", "PruningCompression",
                                        "LoRACompression")},
    **{name: "_call" for name in ("Error", "ShapeError", "RangeError", "ConfigError", "NotFoundError", "FormatError",
                                  "UnsupportedError", "InterruptedCall")},
}
_MODULES = ("compression", "hep", "benchmarks", "frameworks")
__all__ = sorted([*_PLACES, *_MODULES, "__version__"])


def __getattr__(name: str):
    if name in _PLACES:
        value = getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f".{name}", __name__)
    elif name == "__version__":
        call = importlib.import_module("._call", __name__)
        value = call.text(call.lib.pquant_version())
    else:
        import difflib
        near = difflib.get_close_matches(name, __all__, 1)
        raise AttributeError(f"module 'pquant' has no attribute '{name}'" + (f"; did you mean '{near[0]}'?" if near else ""))
    globals()[name] = value
    return value


def __dir__():
    return __all__
