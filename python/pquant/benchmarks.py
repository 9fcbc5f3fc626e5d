"""Methods side by side on one data set."""
from __future__ import annotations

import os
from typing import Any, Iterable

from ._call import ConfigError, Error
from ._compress import apply
from ._evaluate import evaluate_model, measure_latency
from ._events import Data, again, shape_of
from ._methods import SYNONYMS, methods as stage_names, names_of, near, parameters_of, plan, stage_of, unknown_key, without_events
from .frameworks import convert

#: names that people write, and those of `pquant data list`
SETS = {"CIFAR10": "cifar10", "CIFAR-10": "cifar10", "CIFAR100": "cifar100", "CIFAR-100": "cifar100", "MNIST": "mnist",
        "FashionMNIST": "fashion-mnist", "Fashion-MNIST": "fashion-mnist"}
_DEFAULTS = {"low_rank": {"target_sparsity": 0.5}, "svd": {"target_sparsity": 0.5}, "tensor_train": {"target_sparsity": 0.5},
             "tucker": {"target_sparsity": 0.5}, "cp": {"target_sparsity": 0.5}, "structured_pruning": {"target_sparsity": 0.5}}
_METRICS = {"accuracy", "inference_time", "model_size"}


def _events(dataset, split: str):
    if not isinstance(dataset, (str, os.PathLike)):
        return again(dataset)
    name = SETS.get(str(dataset), str(dataset))
    spec = name if ":" in name else f"{name}:{split}"
    try:
        return Data.open(spec)
    except Error as error:
        if error.code != "not_found":
            raise
        hint = error.hint or f"`python -m pquant data fetch {name}` gets it, if it is one of `python -m pquant data list`"
        raise type(error)(error.message, error.code, hint, error.file, error.place) from None


def _value(name: str, source, numbers, latency) -> Any:
    if name == "model_size":
        return source.model.stored_bytes
    if name == "inference_time":
        return latency
    if name in numbers:
        return numbers[name]
    raise ConfigError(f"metric '{name}' is not known{near(name, {*numbers, *_METRICS})}")


def benchmark_compression(model: Any = None, dataset: Any = "CIFAR10",
                          methods: Iterable[str] = ("low_rank", "quantization", "pruning"),
                          metrics: Iterable[str] = ("accuracy", "inference_time", "model_size"), *, train: Any = None,
                          input_shape=None, **parameters: Any) -> dict[str, dict[str, Any]]:
    """{method: {metric: value}}; "original" as a method is the model as it is.

    dataset: a name ("CIFAR10", "FashionMNIST", …), "file.h5:split", a loader or (x, y); named sets are tested on their split
    "test" and calibrated on "train". train: events to calibrate and train on, for others. metrics: "accuracy",
    "inference_time" (ns of one event), "model_size" (stored bytes), any name of evaluate_model. parameters: of the methods,
    `rank=64` or `low_rank_rank=64`; without any, half of the values are saved.
    """
    if model is None:
        raise ConfigError("model: none was given")
    test = _events(dataset, "test")
    if train is None and isinstance(dataset, str) and ":" not in dataset:
        train = _events(dataset, "train")
    train = again(train)
    methods, metrics = names_of(methods, "method"), names_of(metrics, "metric")
    for key in parameters:
        if not any(name != "original" and _takes(name, key) for name in methods):
            raise unknown_key(key, {"rank", "target_sparsity", *(p for name in methods if name != "original" and ":" not in name
                                                                 for p in parameters_of(stage_of(name)[0]))}, "none of the methods")
    source = convert(model, input_shape or shape_of(test))
    out: dict[str, dict[str, Any]] = {}
    for name in methods:
        small = source
        if name != "original":
            own = {k: v for k, v in parameters.items() if _takes(name, k)} or dict(_DEFAULTS.get(name, {}))
            stages = plan(name, own.pop("rank", None), own.pop("target_sparsity", None), own)
            small = convert(apply(source, stages if train is not None else without_events(stages), data=train))
            small.order = source.order
        wanted = list(metrics)
        numbers = evaluate_model(small, test) if set(wanted) - {"inference_time", "model_size"} else {}
        latency = measure_latency(small) if "inference_time" in wanted else None
        out[name] = {m: _value(m, small, numbers, latency) for m in wanted}
    return out


def _takes(method: str, key: str) -> bool:
    if ":" in method:
        return False
    stage = stage_of(method)[0]
    if key.startswith((method + "_", stage + "_")):
        return True
    return SYNONYMS.get(key, key) in parameters_of(stage) and stage in stage_names()
