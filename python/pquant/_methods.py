"""Names of methods and parameters, and the stages they mean."""
from __future__ import annotations

import difflib
import functools
import json
import math
import re
import warnings
from typing import Any, Iterable

from ._call import ConfigError, given, lib, text
from ._model import _attribute

#: other names of stages, and what they say beside
ALIASES: dict[str, tuple[str, dict[str, Any]]] = {
    "low_rank": ("svd", {}), "quantization": ("quantize", {}), "aggressive_quantization": ("quantize", {"bits": 4}),
    "pruning": ("prune", {}), "structured_pruning": ("structured_prune", {}), "fine_tuning": ("finetune", {}),
    "distillation": ("distill", {}), "tt": ("tensor_train", {}),
}
#: other names of parameters
SYNONYMS = {"sparsity": "target_sparsity", "learning_rate": "lr", "batch_size": "batch", "n_bits": "bits",
            "pruning_sparsity": "target_sparsity"}
#: stages that leave factors of a rank
FACTORS = {"svd", "tensor_train", "cp", "tucker", "lora"}
#: stages that do nothing but train
TRAINING = {"finetune", "distill"}


class Warned(UserWarning):
    """Something that was asked for was not done; the text says what."""


@functools.cache
def methods() -> dict[str, dict]:
    """Stage names with summary and parameters, from the library's own tables."""
    pointer = given(lib.pquant_methods())
    out = json.loads(text(pointer))
    lib.pquant_text_free(pointer)
    return out


def near(word: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(str(word), list(known), 1, 0.5)
    return f"; did you mean '{found[0]}'?" if found else ""


def unknown_key(key: str, known: Iterable[str], where: str, of_training: Iterable[str] = ()) -> ConfigError:
    more = ", and those of finetune" if of_training else ""
    return ConfigError(f"{where} has no key '{key}'{near(key, {*known, *of_training})} (known: {', '.join(sorted(known))}{more})")


def stage_of(name: str) -> tuple[str, dict[str, Any]]:
    """The stage that a name means, and parameters that come with it."""
    if name in methods():
        return name, {}
    if name in ALIASES:
        return ALIASES[name][0], dict(ALIASES[name][1])
    known = sorted({*methods(), *ALIASES})
    raise ConfigError(f"method '{name}' is not known{near(name, known)} (known: {', '.join(known)})")


def parameters_of(stage: str) -> set[str]:
    return {*methods()[stage]["parameters"], "layers"}


def _globs(layers) -> list[str]:
    return [glob for name in names_of(layers, "layers") for glob in re.split("[,|]", name)]


class Stage:
    """One stage with its parameters, as the command line writes it."""

    def __init__(self, stage: str, parameters: dict[str, Any] | None = None):
        self.stage, self.parameters = stage, dict(parameters or {})

    @property
    def trains(self) -> bool:
        """Whether it needs events with labels."""
        return "optimizer" in methods().get(self.stage.split(":")[0], {"parameters": ()})["parameters"]

    def text(self) -> str:
        parts = []
        for key, value in self.parameters.items():
            if value is None:
                continue
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{self.stage}: {key} = {value} is not finite")
            if key == "layers":
                value = "|".join(_globs(value))
            if isinstance(value, dict):  # class_weights={"b": 2, "c": 5}
                value = ",".join(f"{k}={v}" for k, v in value.items())
            value = f"[{value}]" if isinstance(value, str) and "," in value else _attribute(value)
            parts.append(f"{key}={value}")
        return self.stage + (":" + ",".join(parts) if parts else "")


def names_of(names, what: str) -> list[str]:
    """A name, or several."""
    listed = [names] if isinstance(names, str) else list(names) if isinstance(names, Iterable) else [names]
    for name in listed:
        if not isinstance(name, str):
            raise ConfigError(f"{what} {name!r} is no name")
    return listed


def plan(names: str | Iterable[str], rank=None, target_sparsity=None, parameters: dict[str, Any] | None = None,
         own: dict[str, dict[str, Any]] | None = None) -> list[Stage]:
    """Stages of method names. A parameter goes to every stage that knows it, "quantization_bits" to its stage alone;
    `own` holds parameters by method, which come before `rank` and `target_sparsity`."""
    names = names_of(names, "method")
    if not names:
        raise ConfigError("no method was given")
    given_parameters = {SYNONYMS.get(k, k): v for k, v in (parameters or {}).items()}
    stages, used = [], set()
    for name in names:
        if ":" in name:  # as on the command line
            stages.append(Stage(name))
            continue
        stage, fixed = stage_of(name)
        made = Stage(stage, {**fixed, **(own or {}).get(name, {})})
        known = parameters_of(stage)
        for key, value in given_parameters.items():
            short = next((key[len(p) + 1:] for p in (name, stage) if key.startswith(p + "_")), "")
            short = SYNONYMS.get(short, short)
            if key in known or short in known:
                made.parameters[key if key in known else short] = value
                used.add(key)
        stages.append(made)
        _give_rank(made, known, rank)
    stages = _give_sparsity(stages, target_sparsity)
    unused = [k for k in given_parameters if k not in used]
    if unused:
        known = set().union(*(parameters_of(s.stage) for s in stages if ":" not in s.stage))
        raise unknown_key(unused[0], {*known, "rank", "target_sparsity"}, f"method '{names[0]}'"
                          if len(names) == 1 else "none of the methods")
    if rank is not None and not any("rank" in s.parameters for s in stages):
        raise ConfigError(f"rank: {', '.join(names)} has no rank")
    if target_sparsity is not None and not any("target_sparsity" in s.parameters for s in stages):
        raise ConfigError(f"target_sparsity: {', '.join(names)} has no sparsity")
    return stages


def _give_rank(made: Stage, known: set[str], rank) -> None:
    if rank is not None and "rank" in known:
        made.parameters.setdefault("rank", rank)
    if ("rank" in made.parameters or made.stage == "lora") and "clip_rank" in known:
        made.parameters.setdefault("clip_rank", True)


def _give_sparsity(stages: list[Stage], sparsity) -> list[Stage]:
    """Puts a sparsity into the stages that know one. Factors of a given rank are pruned to it: by the next stage that
    prunes, else by one of their own."""
    out: list[Stage] = []
    for i, made in enumerate(stages):
        out.append(made)
        if ":" in made.stage:
            continue
        if made.stage in FACTORS and ("rank" in made.parameters or made.stage == "lora"):
            share = made.parameters.pop("target_sparsity", None if any(_prunes(s) for s in stages[i + 1:]) else sparsity)
            if share is not None:
                globs = _globs(made.parameters.get("layers") or [])
                out.append(Stage("prune", {"target_sparsity": share,
                                           "layers": [g for glob in globs for g in (glob, f"{glob}.*")] or None}))
        elif sparsity is not None and "target_sparsity" in parameters_of(made.stage):
            made.parameters.setdefault("target_sparsity", sparsity)
    return out


def _prunes(stage: Stage) -> bool:
    name = stage.stage.split(":")[0]
    return name not in FACTORS and "target_sparsity" in methods().get(name, {"parameters": ()})["parameters"]


def without_events(stages: list[Stage]) -> list[Stage]:
    """What can be done without events, with a warning for the rest."""
    out = []
    for s in stages:
        if s.stage.split(":")[0] in TRAINING:
            warnings.warn(f"{s.stage} was not done: there are no events to train on", Warned, stacklevel=4)
            continue
        if s.stage == "quantize" and s.parameters.get("activations", True) is True and \
                s.parameters.get("format", "int") in ("int", "fixed"):
            warnings.warn("activations were not quantized, weights alone: there are no events to find their ranges on",
                          Warned, stacklevel=4)
            s = Stage(s.stage, {**s.parameters, "activations": False})
        out.append(s)
    return out
