"""Names of methods and parameters, and the stages they mean."""
from __future__ import annotations

import difflib
import functools
import json
import math
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
FACTORS = {"svd", "tensor_train", "cp", "tucker"}
TRAINS = {"finetune", "distill"}


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


def unknown_key(key: str, known: Iterable[str], where: str) -> ConfigError:
    known = sorted(known)
    return ConfigError(f"{where} has no key '{key}'{near(key, known)} (known: {', '.join(known)})")


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


class Stage:
    """One stage with its parameters, as the command line writes it."""

    def __init__(self, stage: str, parameters: dict[str, Any] | None = None):
        self.stage, self.parameters = stage, dict(parameters or {})

    def text(self) -> str:
        parts = []
        for key, value in self.parameters.items():
            if value is None:
                continue
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"{self.stage}: {key} = {value} is not finite")
            value = _attribute(value)
            parts.append(f"{key}={value.replace(',', '|') if key == 'layers' else value}")
        return self.stage + (":" + ",".join(parts) if parts else "")


def names_of(names, what: str) -> list[str]:
    """A name, or several."""
    listed = [names] if isinstance(names, str) else list(names) if isinstance(names, Iterable) else [names]
    for name in listed:
        if not isinstance(name, str):
            raise ConfigError(f"{what} {name!r} is no name")
    return listed


def plan(names: str | Iterable[str], rank=None, target_sparsity=None, parameters: dict[str, Any] | None = None):
    """Stages of method names. A parameter goes to every stage that knows it; "quantization_bits" to its stage alone."""
    names = names_of(names, "method")
    if not names:
        raise ConfigError("no method was given")
    given_parameters = {SYNONYMS.get(k, k): v for k, v in (parameters or {}).items()}
    stages, used = [], set()
    for name in names:
        if ":" in name:  # as on the command line
            stages.append(Stage(name))
            continue
        stage, own = stage_of(name)
        made = Stage(stage, own)
        known = parameters_of(stage)
        for key, value in given_parameters.items():
            short = next((key[len(p) + 1:] for p in (name, stage) if key.startswith(p + "_")), None)
            short = SYNONYMS.get(short, short)
            if key in known or short in known:
                made.parameters[key if key in known else short] = value
                used.add(key)
        stages.append(made)
        stages += _ranks(made, known, rank, target_sparsity)
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


def _ranks(made: Stage, known: set[str], rank, sparsity) -> list[Stage]:
    """Puts rank and sparsity into a stage; both for factors: these are pruned afterwards."""
    if rank is not None and "rank" in known:
        made.parameters["rank"] = rank
    if ("rank" in made.parameters or made.stage == "lora") and "clip_rank" in known:
        made.parameters.setdefault("clip_rank", True)
    if sparsity is None or "target_sparsity" not in known:
        if sparsity is not None and made.stage == "lora":
            return [Stage("prune", {"target_sparsity": sparsity})]
        return []
    if made.stage in FACTORS and "rank" in made.parameters:
        return [Stage("prune", {"target_sparsity": sparsity})]
    made.parameters["target_sparsity"] = sparsity
    return []


def without_events(stages: list[Stage]) -> list[Stage]:
    """What can be done without events, with a warning for the rest."""
    out = []
    for s in stages:
        if s.stage.split(":")[0] in TRAINS:
            warnings.warn(f"{s.stage} was not done: there are no events to train on", Warned, stacklevel=4)
            continue
        if s.stage == "quantize" and s.parameters.get("activations", True) is True and \
                s.parameters.get("format", "int") in ("int", "fixed"):
            warnings.warn("activations were not quantized, weights alone: there are no events to find their ranges on",
                          Warned, stacklevel=4)
            s = Stage(s.stage, {**s.parameters, "activations": False})
        out.append(s)
    return out
