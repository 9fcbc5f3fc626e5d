"""Methods as classes, and the pipeline of several."""
from __future__ import annotations

import numbers
import warnings
from typing import Any

from ._call import ConfigError
from ._compress import apply
from ._evaluate import evaluate_model, measure_latency
from ._events import shape_of
from ._methods import ALIASES, SYNONYMS, Stage, Warned, methods, names_of, parameters_of, plan, stage_of, unknown_key
from .frameworks import convert

#: keys of training in the dicts of all classes
_TRAINING = {"train_after_compression", "epochs", "lr", "learning_rate", "batch_size", "optimizer", "preserve_rare_classes"}
_COMMON = {"method", "seed", "threads", "input_shape", "progress"}


def _training(config: dict, epochs=None) -> Stage:
    keys = {SYNONYMS.get(k, k): config[k] for k in ("lr", "learning_rate", "batch_size", "optimizer", "preserve_rare_classes")
            if k in config}
    return Stage("finetune", {"epochs": epochs if epochs is not None else config.get("epochs", 10), **keys})


def _source(config: dict, model: Any, events: Any):
    """A model as one of ours, and the keys of all stages."""
    return convert(model, config.get("input_shape") or shape_of(events)), \
        {k: config[k] for k in ("seed", "threads", "progress") if k in config}


class Compression:
    """One method, constructed from a dict: its parameters, and those of the training behind it.

    `{"method": "tensor_train", "rank": 32, "train_after_compression": True, "epochs": 10}`. Unknown keys are errors.
    """

    method = "svd"

    def __init__(self, config: dict[str, Any] | None = None, **more: Any):
        self.config = {**(config or {}), **more}
        self.name = self.config.get("method", self.method)
        self.stage, _ = stage_of(self.name)
        if stage_of(self.method)[0] != self.stage:
            raise ConfigError(f"{type(self).__name__} is of method '{self.method}', not '{self.name}'")
        known = parameters_of(self.stage)
        for key in self.config:
            if SYNONYMS.get(key, key) not in known and key not in _TRAINING | _COMMON:
                raise unknown_key(key, known | _TRAINING | _COMMON, type(self).__name__)
        self._stages()

    def _stages(self) -> list[Stage]:
        own = {k: v for k, v in self.config.items() if k not in _COMMON | _TRAINING and k not in ("rank", "target_sparsity", "sparsity")}
        sparsity = self.config.get("target_sparsity", self.config.get("sparsity"))
        stages = plan(self.name, self.config.get("rank"), sparsity, own)
        if self.trains:
            stages.append(_training(self.config))
        return stages

    @property
    def trains(self) -> bool:
        """Whether training was asked for: by its key, or by epochs without it."""
        return bool(self.config.get("train_after_compression", self.config.get("epochs", 0)))

    def compress(self, model: Any, train_loader: Any = None) -> Any:
        """A compressed model of the same framework. train_loader: events for calibration and training."""
        source, keys = _source(self.config, model, train_loader)
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


_PIPELINE = {"methods", "fine_tune_epochs", "preserve_rare_classes", "target_latency_ns", "seed", "threads", "input_shape",
             "learning_rate", "lr", "batch_size", "optimizer", "progress", "distill", "rank", "target_sparsity"}


class CompressionPipeline:
    """Several methods in order, with training between and measurement behind.

    config: `{"methods": ["low_rank", "quantization"], "low_rank_rank": 64, "quantization_bits": 8, "pruning_sparsity": 0.9,
    "fine_tune_epochs": 20, "preserve_rare_classes": True, "target_latency_ns": 100}`. A key of a method is
    `<method>_<parameter>`; keys of methods that are not in the list are checked and left alone. Training comes before the
    quantization (where that is all there is, after it, on the grids). Unknown keys are errors.
    """

    def __init__(self, config: dict[str, Any] | None = None, **more: Any):
        if not isinstance(config or {}, dict):
            raise ConfigError(f"a configuration is a dict, as {{'methods': ['low_rank'], 'low_rank_rank': 8}}, not {config!r}")
        self.config = {"methods": ["low_rank", "quantization"], **(config or {}), **more}
        self.methods = names_of(self.config["methods"], "method")
        target = self.config.get("target_latency_ns")
        if target is not None and not (isinstance(target, numbers.Real) and target > 0):
            raise ConfigError(f"target_latency_ns = {target!r} is no positive number")
        for key in self.config:
            if key not in _PIPELINE and self._owner(key) is None:
                raise unknown_key(key, _PIPELINE | {f"{m}_{p}" for m in self.methods
                                                    for p in parameters_of(stage_of(m)[0])}, "CompressionPipeline")
        self.latency = None
        self.stages()

    @staticmethod
    def _owner(key: str):
        """Method and parameter of a key such as "quantization_bits", or None."""
        for name in sorted({*ALIASES, *methods()}, key=len, reverse=True):
            if key.startswith(name + "_"):
                parameter = SYNONYMS.get(key[len(name) + 1:], key[len(name) + 1:])
                if parameter in parameters_of(stage_of(name)[0]):
                    return name, parameter
        return None

    def _stage(self, name: str) -> list[Stage]:
        stage, _ = stage_of(name)
        own = {}
        for key, value in self.config.items():
            owner = None if key in _PIPELINE else self._owner(key)
            if owner is not None and stage_of(owner[0])[0] == stage and (owner[0] == name or owner[0] not in self.methods):
                own[owner[1]] = value
        known, rank = parameters_of(stage), own.pop("rank", None)
        sparsity = own.pop("target_sparsity", None)
        if rank is None and "rank" in known:
            rank = self.config.get("rank")
        if sparsity is None and "target_sparsity" in known and rank is None:
            sparsity = self.config.get("target_sparsity")
        return plan(name, rank, sparsity, own)

    def stages(self) -> list[Stage]:
        """What is done, in order."""
        out = [s for name in self.methods for s in self._stage(name)]
        epochs = self.config.get("fine_tune_epochs", 0)
        if epochs:
            at = next((i for i, s in enumerate(out) if s.stage == "quantize" and i > 0), len(out))
            out.insert(at, _training(self.config, epochs))
            if self.config.get("distill"):
                out[at].stage = "distill"
        elif self.config.get("preserve_rare_classes"):
            warnings.warn("preserve_rare_classes does nothing without fine_tune_epochs", Warned, stacklevel=3)
        return out

    def compress(self, model: Any, train_loader: Any = None) -> Any:
        """A compressed model of the same framework; `pipeline.latency` afterwards, where a latency is asked for."""
        source, keys = _source(self.config, model, train_loader)
        small = apply(source, self.stages(), data=train_loader, **keys)
        if self.config.get("target_latency_ns") is not None:
            self.latency = measure_latency(small)
            if self.latency > self.config["target_latency_ns"]:
                warnings.warn(f"latency is {self.latency!r}, above the {self.config['target_latency_ns']} ns asked for",
                              Warned, stacklevel=2)
        return source.back(small)

    def evaluate(self, original: Any, compressed: Any, test_loader: Any) -> dict[str, Any]:
        """{"original": metrics, "compressed": metrics, "compression_ratio": stored bytes before over after,
        "parameter_ratio", "mac_ratio"}; every metric with its interval."""
        shape = self.config.get("input_shape") or shape_of(test_loader)
        before, after = convert(original, shape), convert(compressed, shape)
        return {"original": evaluate_model(before, test_loader), "compressed": evaluate_model(after, test_loader),
                "compression_ratio": before.model.stored_bytes / after.model.stored_bytes,
                "parameter_ratio": before.model.parameters / max(after.model.parameters, 1),
                "mac_ratio": before.model.macs / max(after.model.macs, 1)}

    def __repr__(self) -> str:
        return f"CompressionPipeline({', '.join(s.text() for s in self.stages())})"
