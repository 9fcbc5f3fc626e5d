"""Methods as classes, and the pipeline of several."""
from __future__ import annotations

import numbers
import warnings
from typing import Any

from ._call import ConfigError
from ._compress import apply
from ._evaluate import evaluate_model, fastest
from ._events import again, shape_of
from ._methods import ALIASES, FACTORS, SYNONYMS, Stage, Warned, methods, names_of, parameters_of, plan, stage_of, unknown_key
from ._numbers import Latency
from .frameworks import Converted, convert

#: keys in the dicts of all classes, beside those of the method and of the training behind it
_COMMON = {"method", "seed", "threads", "input_shape", "progress", "validation", "classes"}
_SHORT = {"lr", "learning_rate", "batch", "batch_size", "optimizer", "preserve_rare_classes"}


def _training(keys: dict[str, Any], epochs: int, stage: str = "finetune") -> Stage:
    return Stage(stage, {"epochs": epochs, **{SYNONYMS.get(k, k): v for k, v in keys.items()}})


def _source(config: dict, model: Any, events: Any, trains: bool):
    """A model as one of ours, and the keys of all stages."""
    keys = {k: config[k] for k in ("seed", "threads", "progress", "classes") if k in config}
    if trains and events is not None and not isinstance(config.get("validation"), numbers.Real):
        keys["validation"] = config.get("validation")
    return convert(model, config.get("input_shape") or shape_of(events)), keys


def _warn_of_no_training(keys, needed: str) -> None:
    for key in keys:
        warnings.warn(f"{key} does nothing without {needed}", Warned, stacklevel=3)


def _dict(config, more: dict[str, Any], example: str) -> dict[str, Any]:
    if not isinstance(config or {}, dict):
        raise ConfigError(f"a configuration is a dict, as {example}, not {config!r}")
    return {**(config or {}), **more}


class Compression:
    """One method, constructed from a dict: its parameters, and those of the training behind it.

    `{"method": "tensor_train", "rank": 32, "train_after_compression": True, "epochs": 10}`. Unknown keys are errors.
    """

    method = "svd"

    def __init__(self, config: dict[str, Any] | None = None, **more: Any):
        self.config = _dict(config, more, "{'method': 'svd', 'rank': 8}")
        self.name = self.config.get("method", self.method)
        self.stage, _ = stage_of(self.name)
        if stage_of(self.method)[0] != self.stage:
            raise ConfigError(f"{type(self).__name__} is of method '{self.method}', not '{self.name}'")
        own = parameters_of(self.stage) | ({"target_sparsity"} if self.stage in FACTORS else set())
        trained = parameters_of("finetune") - own - _COMMON - {"epochs", "layers"}
        self._own, self._trained = {}, {}
        for key, value in self.config.items():
            short = SYNONYMS.get(key, key)
            if short == "validation" and isinstance(value, numbers.Real) or short in trained:
                self._trained[key] = value
            elif short in own:
                self._own[key] = value
            elif key not in _COMMON | {"train_after_compression", "epochs"}:
                raise unknown_key(key, own | _SHORT | _COMMON | {"train_after_compression", "epochs"}, type(self).__name__, trained)
        if not self.trains:
            _warn_of_no_training([*self._trained, *(["validation"] if self.config.get("validation") is not None and
                                                    "validation" not in self._trained else [])],
                                 "train_after_compression or epochs")
        self._stages()

    def _stages(self) -> list[Stage]:
        own = {SYNONYMS.get(k, k): v for k, v in self._own.items()}
        rank, sparsity = (own.pop(k, None) for k in ("rank", "target_sparsity"))
        stages = plan(self.name, rank, sparsity, own)
        if self.trains:
            stages.append(_training(self._trained, self.config.get("epochs", 10)))
        return stages

    @property
    def trains(self) -> bool:
        """Whether training was asked for: by its key, or by epochs without it."""
        return bool(self.config.get("train_after_compression", self.config.get("epochs", 0)))

    def compress(self, model: Any, train_loader: Any = None) -> Any:
        """A compressed model of the same framework. train_loader: events for calibration and training."""
        train_loader = again(train_loader)
        source, keys = _source(self.config, model, train_loader, self.trains)
        return source.back(apply(source, self._stages(), data=train_loader, **keys))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({' '.join(s.text() for s in self._stages())})"


class LowRankCompression(Compression):
    """Truncated SVD: dense layers and convolutions as products of two."""
    method = "low_rank"


class TensorTrainCompression(Compression):
    """Kernels as trains of small cores."""
    method = "tensor_train"


class CPCompression(Compression):
    """Convolutions as 1 x 1, depthwise window, 1 x 1."""
    method = "cp"


class TuckerCompression(Compression):
    """Convolutions as 1 x 1, a smaller window, 1 x 1."""
    method = "tucker"


class QuantizationCompression(Compression):
    """Weights and activations of few bits."""
    method = "quantization"


class PruningCompression(Compression):
    """Zeros in place of single weights."""
    method = "pruning"


class LoRACompression(Compression):
    """Low-rank adapters on frozen weights."""
    method = "lora"


_PIPELINE = _COMMON - {"method"} | _SHORT | {"methods", "fine_tune_epochs", "distill", "target_latency_ns", "rank",
                                             "target_sparsity"}


class CompressionPipeline:
    """Several methods in order, with training between and measurement behind.

    config: `{"methods": ["low_rank", "quantization"], "low_rank_rank": 64, "quantization_bits": 8, "pruning_sparsity": 0.9,
    "fine_tune_epochs": 20, "preserve_rare_classes": True, "target_latency_ns": 100}`. A key of a method is
    `<method>_<parameter>`, one of the training `fine_tune_<parameter>`; those of methods that are not in the list are told
    by a warning. `rank` and `target_sparsity` are for all methods that know them: with both, factors of that rank are
    pruned to that sparsity. Training comes before a quantization that ends the list, on floats, else behind everything, on
    grids and among zeros. Unknown keys are errors.
    """

    def __init__(self, config: dict[str, Any] | None = None, **more: Any):
        self.config = {"methods": ["low_rank", "quantization"],
                       **_dict(config, more, "{'methods': ['low_rank'], 'low_rank_rank': 8}")}
        self.methods = names_of(self.config["methods"], "method")
        target = self.config.get("target_latency_ns")
        if target is not None and not (isinstance(target, numbers.Real) and float(target) > 0):
            raise ConfigError(f"target_latency_ns = {target!r} is no positive number")
        self._trained = {k: v for k, v in self.config.items()
                         if k in _SHORT or (k == "validation" and isinstance(v, numbers.Real))}
        self._of_methods: dict[str, tuple[str, str]] = {}
        for key in self.config:
            if key not in _PIPELINE:
                self._place(key)
        if not self.trains:
            _warn_of_no_training([*self._trained, *(k for k in ("distill", "validation") if self.config.get(k) is not None and
                                                    k not in self._trained)], "fine_tune_epochs")
        self.latency: Latency | None = None
        self.stages()

    @property
    def trains(self) -> bool:
        """Whether training was asked for, by fine_tune_epochs."""
        return bool(self.config.get("fine_tune_epochs"))

    def _place(self, key: str) -> None:
        """Finds the method, or the training, that a key such as "quantization_bits" is for."""
        short = key.removeprefix("fine_tune_")
        if short != key and SYNONYMS.get(short, short) in parameters_of("finetune"):
            self._trained[short] = self.config[key]
            return
        for name in sorted({*ALIASES, *methods()}, key=len, reverse=True):
            parameter = SYNONYMS.get(key[len(name) + 1:], key[len(name) + 1:])
            if key.startswith(name + "_") and parameter in parameters_of(stage_of(name)[0]):
                self._of_methods[key] = name, parameter
                if not any(stage_of(m)[0] == stage_of(name)[0] for m in self.methods if ":" not in m):
                    warnings.warn(f"{key} does nothing: '{name}' is none of the methods", Warned, stacklevel=3)
                return
        raise unknown_key(key, _PIPELINE | {f"{m}_{p}" for m in self.methods if ":" not in m
                                            for p in parameters_of(stage_of(m)[0])}, "CompressionPipeline")

    def _parameters(self, name: str) -> dict[str, Any]:
        """Of one method, by its own keys, or those of another name of its stage that is not in the list."""
        stage = stage_of(name)[0]
        return {parameter: self.config[key] for key, (owner, parameter) in self._of_methods.items()
                if stage_of(owner)[0] == stage and (owner == name or owner not in self.methods)}

    def stages(self) -> list[Stage]:
        """What is done, in order."""
        out = plan(self.methods, self.config.get("rank"), self.config.get("target_sparsity"),
                   own={name: self._parameters(name) for name in self.methods if ":" not in name})
        if self.trains:
            last = out[-1].stage.split(":")[0] == "quantize" and len(out) > 1
            out.insert(len(out) - last, _training(self._trained, self.config["fine_tune_epochs"],
                                                  "distill" if self.config.get("distill") else "finetune"))
        return out

    def compress(self, model: Any, train_loader: Any = None) -> Any:
        """A compressed model of the same framework; `pipeline.latency` afterwards, where a latency is asked for."""
        train_loader = again(train_loader)
        source, keys = _source(self.config, model, train_loader, self.trains)
        small = apply(source, self.stages(), data=train_loader, **keys)
        target = self.config.get("target_latency_ns")
        if target is not None:
            self.latency = fastest(Converted(small, source.back), target)
            if self.latency > target:
                warnings.warn(f"latency is {self.latency!r}, above the {target} ns asked for", Warned, stacklevel=2)
        return source.back(small)

    def evaluate(self, original: Any, compressed: Any, test_loader: Any) -> dict[str, Any]:
        """{"original": metrics, "compressed": metrics, "compression_ratio": stored bytes before over after,
        "parameter_ratio", "mac_ratio"}; every metric with its interval."""
        test_loader = again(test_loader)
        shape = self.config.get("input_shape") or shape_of(test_loader)
        before, after = convert(original, shape), convert(compressed, shape)
        return {"original": evaluate_model(before, test_loader), "compressed": evaluate_model(after, test_loader),
                "compression_ratio": before.model.stored_bytes / after.model.stored_bytes,
                "parameter_ratio": before.model.parameters / max(after.model.parameters, 1),
                "mac_ratio": before.model.macs / max(after.model.macs, 1)}

    def __repr__(self) -> str:
        return f"CompressionPipeline({', '.join(s.text() for s in self.stages())})"
