"""compress_model, load, save."""
from __future__ import annotations

import os
from typing import Any

from ._call import ConfigError, Options, ffi, given, lib, run
from ._events import data_of, shape_of
from ._methods import Stage, plan, without_events
from ._model import Model
from .frameworks import Converted, convert


def _takes_labels(stage: Stage) -> bool:
    name, *own = stage.stage.split(":")
    of_teacher = stage.parameters.get("alpha") in (1, 1.0) or any("alpha=1" in o.split(",") for o in own)
    return name == "finetune" or (name == "distill" and not of_teacher)


def apply(source: Converted, stages: list[Stage], *, data=None, validation=None, seed: int = 42, threads: int = 0,
          calib_events: int = 0, teacher: Model | None = None, progress=None, changed=None, classes=None) -> Model:
    """Stages on a model of ours; what events it needs are taken from `data`."""
    texts = [s.text() for s in (stages if data is not None else without_events(stages))]
    if not texts:
        return source.model
    events = None
    if data is not None:
        events = data_of(data, source.model, source.order, validation=validation, classes=classes)
        if not events.labelled and any(_takes_labels(s) for s in stages):
            raise ConfigError("training needs labels, and the events have none", hint="give (x, y), or batches of (x, y)")
    options = Options(seed=seed, threads=threads, calib=events, train=events, calib_events=calib_events,
                      teacher=teacher, progress=progress, changed=changed)
    keep = [ffi.new("char[]", t.encode()) for t in texts]
    names = ffi.new("char *[]", keep)
    call = lambda: given(lib.pquant_compress_with(source.model.c, names, len(keep), options.c))
    return Model(run(options, call, lib.pquant_model_free))


def compress_model(model: Any, method: Any, rank: int | None = None, target_sparsity: float | None = None, *,
                   data: Any = None, **parameters: Any) -> Any:
    """Compresses a model; gives a model of the same framework.

    model: torch.nn.Module, Keras 3 model, Flax module, (function, parameters) of JAX, pquant.Model, or a path.
    method: "low_rank" or "svd", "lora", "tensor_train", "cp", "tucker", "quantization", "aggressive_quantization" (4
        bits), "pruning", "structured_pruning", any stage of `pquant methods`, one written as on the command line
        ("svd:rank=8"), or a list of them, applied in order.
    rank: components kept, at least 1; a layer whose full rank is lower keeps that.
    target_sparsity: 0 .. 1. With `rank` too, factors of that rank are pruned to it; alone, ranks are chosen so that this
        share of each layer's values is saved.
    data: events: a loader, (x, y), or "file.h5:split". For calibration and training; without any, what needs some is
        left out with a warning.
    parameters: of the stages (`bits=8`, `epochs=5`, …); `input_shape` of one event, `seed`, `threads`, `progress`.
    Raises pquant.Error (and, by its kind, ValueError, FileNotFoundError, NotImplementedError).
    """
    own = {k: parameters.pop(k) for k in ("seed", "threads", "progress", "changed", "validation", "calib_events",
                                          "classes", "teacher") if k in parameters}
    stages = plan(method, rank, target_sparsity, {k: v for k, v in parameters.items() if k != "input_shape"})
    source = convert(model, parameters.get("input_shape") or shape_of(data))
    if own.get("teacher") is not None:
        own["teacher"] = convert(own["teacher"], shape_of(data)).model
    return source.back(apply(source, stages, data=data, **own))


def load(path, arch=None) -> Model:
    """A model of any file that `pquant formats` lists; arch: architecture beside weights alone."""
    return Model.load(path, arch)


def save(model: Any, path, input_shape=None) -> None:
    """Writes a model of any framework: ours (.h5), or by the ending .onnx, .keras, .safetensors, .npz."""
    own = convert(model, input_shape).model
    path = os.fspath(path)
    if os.path.splitext(path)[1] in ("", ".h5"):
        return own.save(path)
    import tempfile

    from ._results import program
    with tempfile.TemporaryDirectory() as folder:
        held = os.path.join(folder, "model.h5")
        own.save(held)
        program(["model", "convert", held, "-o", path])
    return None
