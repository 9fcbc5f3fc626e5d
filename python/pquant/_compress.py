"""compress_model, load, save."""
from __future__ import annotations

import numbers
import os
from typing import Any

from ._call import ConfigError, Error, Options, ffi, given, lib, run
from ._events import again, data_of, named, shape_of
from ._methods import Stage, plan, without_events
from ._model import Model
from .frameworks import Converted, convert


def _takes_labels(stage: Stage) -> bool:
    name, *own = stage.stage.split(":")
    of_teacher = stage.parameters.get("alpha") in (1, 1.0) or any("alpha=1" in o.split(",") for o in own)
    return stage.trains and not (name == "distill" and of_teacher)


def _refuse_unused(stages: list[Stage], given_keys: dict[str, Any]) -> None:
    """Keys of a call that no stage of it would look at."""
    trains = any(s.trains for s in stages)
    for key in ("validation", "teacher"):
        if given_keys[key] is not None and not trains:
            raise ConfigError(f"{key}: none of the methods trains", hint="add 'finetune' or 'distill' to the methods")
        if given_keys[key] is not None and given_keys["data"] is None:
            raise ConfigError(f"{key}: there are no events to train on", hint="give data=")
    if given_keys["calib_events"] and given_keys["data"] is None:
        raise ConfigError("calib_events: there are no events to calibrate on", hint="give data=")


def apply(source: Converted, stages: list[Stage], *, data=None, validation=None, seed: int = 42, threads: int = 0,
          calib_events: int = 0, teacher: Model | None = None, progress=None, changed=None, classes=None) -> Model:
    """Stages on a model of ours; what events it needs are taken from `data`."""
    _refuse_unused(stages, {"data": data, "validation": validation, "teacher": teacher, "calib_events": calib_events})
    texts = [s.text() for s in (stages if data is not None else without_events(stages))]
    model = named(source.model, classes, data)
    if not texts:
        return model
    events = data_of(data, model, source.order, "train", classes) if data is not None else None
    watched = None
    if validation is not None and events is not None:  # labels of arrays stand for what those of the training stand for
        watched = data_of(validation, model, source.order, "val", classes or (None if model.classes else events.classes))
    if any(e is not None and not e.labelled for e in (events, watched)) and any(_takes_labels(s) for s in stages):
        raise ConfigError("training needs labels, and the events have none", hint="give (x, y), or batches of (x, y)")
    options = Options(seed=seed, threads=threads, calib=events, train=events, validation=watched,
                      calib_events=calib_events, teacher=teacher, progress=progress, changed=changed)
    keep = [ffi.new("char[]", t.encode()) for t in texts]
    names = ffi.new("char *[]", keep)
    call = lambda: given(lib.pquant_compress_with(model.c, names, len(keep), options.c))
    return Model(run(options, call, lib.pquant_model_free))


#: keys of a call, beside those of its stages
_OF_CALLS = ("seed", "threads", "progress", "changed", "validation", "calib_events", "classes", "teacher")


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
    parameters: of the stages (`bits=8`, `epochs=5`, `layers="fc*"`, …), and of the call: `validation`, events that
        training watches (a number is the share of `data` set aside for that); `teacher`, a model to learn from; `classes`,
        names of the outputs; `calib_events`, how many calibrate, at most (1,000); `input_shape` of one event; `seed`;
        `threads`; `progress`; `changed`, called with method, layer and what was done to it.
    Raises pquant.Error (and, by its kind, ValueError, FileNotFoundError, NotImplementedError).
    """
    shape, data = parameters.pop("input_shape", None), again(data)
    own = {k: parameters.pop(k) for k in _OF_CALLS if k in parameters}
    if isinstance(own.get("validation"), numbers.Real):
        parameters["validation"] = own.pop("validation")
    stages = plan(method, rank, target_sparsity, parameters)
    source = convert(model, shape or shape_of(data))
    if own.get("teacher") is not None:
        own["teacher"] = convert(own["teacher"], shape or shape_of(data)).model
    return source.back(apply(source, stages, data=data, **own))


def _of(held: str, arguments: list) -> None:
    """The program on a file that is none of the caller's: what it says does not name it."""
    from ._results import program
    try:
        program(arguments)
    except Error as error:
        raise type(error)(error.message.removeprefix(f"{held}: "), error.code, error.hint) from None


def generate_code(model: Any, folder, name: str = "model", *, isa: str | None = None, input_shape=None) -> list[str]:
    """The model as C source that needs no library (docs/codegen.md); gives the paths of the files.

    folder: is made; name: prefix of files and functions; isa: the highest instruction set with a variant of
    its own, "portable", "avx2", "avxvnni", "avx512" or "amx" (None); the processor's best is chosen when it runs.
    """
    import tempfile
    with tempfile.TemporaryDirectory() as held:
        path = os.path.join(held, "model.h5")
        convert(model, input_shape).model.save(path)
        _of(path, ["codegen", path, "-o", os.fspath(folder), "--name", name, *(["--isa", isa] if isa else [])])
    return sorted(os.path.join(os.fspath(folder), f) for f in os.listdir(folder))


def load(path, arch=None, output=None) -> Model:
    """A model of any file that `pquant formats` lists.

    arch: architecture beside weights alone; output: which of several outputs, by its name or number from 0 on.
    """
    return Model.load(path, arch, output)


def save(model: Any, path, input_shape=None) -> None:
    """Writes a model of any framework: ours (.h5), or by the ending .onnx, .keras, .safetensors, .npz."""
    own = convert(model, input_shape).model
    path = os.fspath(path)
    if os.path.splitext(path)[1] in ("", ".h5"):
        return own.save(path)
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        held = os.path.join(folder, "model.h5")
        own.save(held)
        _of(held, ["model", "convert", held, "-o", path])
    return None
