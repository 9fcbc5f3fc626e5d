"""Compression for particle physics: jet taggers, and triggers with a latency to meet."""
from __future__ import annotations

import numbers
import warnings
from typing import Any

from ._call import ConfigError
from ._compress import apply
from ._evaluate import btag, evaluate_model, fastest
from ._events import again, shape_of
from ._methods import Stage, Warned, without_events
from .frameworks import Converted, convert


class HEPModelCompression:
    """`compress_jet_tagger` and `compress_trigger_model`; of the class or of an object alike."""

    @staticmethod
    def compress_jet_tagger(model: Any, train_loader: Any, val_loader: Any, *, rank: int | None = None, bits: int = 8,
                            epochs: int = 20, preserve_rare_classes: bool = True, classes=None, seed: int = 42,
                            input_shape=None) -> tuple[Any, dict[str, Any]]:
        """Low rank, training that keeps rare classes, quantization. Gives (compressed, results).

        results: "original" and "compressed" metrics on val_loader, "compression_ratio", and "b_tag_efficiency" with its
        interval at 1 % mistag of light, "b_tagging" with all working points of both models; both are None, with a warning,
        where the classes are no flavours. rank: none = half of the values of each layer are saved.
        """
        train_loader, val_loader = again(train_loader), again(val_loader)
        source = convert(model, input_shape or shape_of(train_loader))
        low = {"rank": rank, "clip_rank": True} if rank is not None else {"target_sparsity": 0.5}
        stages = [Stage("svd", low), Stage("finetune", {"epochs": epochs, "preserve_rare_classes": preserve_rare_classes}),
                  Stage("quantize", {"bits": bits})]
        small = convert(apply(source, stages, data=train_loader, seed=seed, classes=classes))
        small.order = source.order
        results = {"original": evaluate_model(source, val_loader, classes=classes),
                   "compressed": evaluate_model(small, val_loader, classes=classes),
                   "compression_ratio": source.model.stored_bytes / small.model.stored_bytes,
                   "b_tag_efficiency": None, "b_tagging": None}
        try:
            both = {name: btag(m, val_loader, classes=classes) for name, m in (("original", source), ("compressed", small))}
            results["b_tagging"] = both
            results["b_tag_efficiency"] = both["compressed"]["btag.light.0.01.efficiency"]
        except ConfigError as error:
            warnings.warn(f"there is no b-tag efficiency: {error.message}", Warned, stacklevel=2)
        return source.back(small.model), results

    @staticmethod
    def compress_trigger_model(model: Any, target_latency_ns: float = 100, *, data: Any = None, bits: int = 8,
                               input_shape=None, epochs: int = 5) -> Any:
        """The mildest of a fixed list of compressions whose measured latency is at most the target, in nanoseconds.

        The list: int8, then a quarter, half, three quarters and seven eighths of the channels taken out. The latency is the
        median of single events on the fastest engine, generated C among them (measure_latency(…, engine="generated"); the
        code itself: generate_code). Where none reaches it, AssertionError with what was measured. data: events to calibrate
        and train on.
        """
        if not (isinstance(target_latency_ns, numbers.Real) and target_latency_ns > 0):
            raise ConfigError(f"target_latency_ns = {target_latency_ns!r} is no positive number")
        data = again(data)
        source = convert(model, input_shape or shape_of(data))
        tried = []
        for share in (0.0, 0.25, 0.5, 0.75, 0.875):
            stages = [Stage("structured_prune", {"target_sparsity": share})] if share else []
            if share and data is not None:
                stages.append(Stage("finetune", {"epochs": epochs}))
            stages.append(Stage("quantize", {"bits": bits}))
            if data is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore" if share else "default", Warned)
                    stages = without_events(stages)
            small = apply(source, stages, data=data)
            latency = fastest(Converted(small, source.back), target_latency_ns)
            tried.append(f"{share:.0%} of channels out: {latency!r}")
            if latency <= target_latency_ns:
                return source.back(small)
        raise AssertionError(f"no compression reaches {target_latency_ns} ns on this machine; " + "; ".join(tried))
