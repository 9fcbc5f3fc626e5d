"""Numbers of models on events, and on the clock."""
from __future__ import annotations

import warnings
from typing import Any

from ._call import ConfigError, Options, UnsupportedError, check, ffi, given, lib, run, text, whole
from ._events import Data, again, data_of, named, shape_of
from ._methods import Warned
from ._numbers import Latency, Number
from .frameworks import Converted, convert


class Metrics(dict):
    """{name: Number}; metrics.accuracy and metrics["auc.macro"] alike."""

    def __getattr__(self, name: str) -> Number:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def _repr_html_(self) -> str:
        import html
        rows = "".join(f"<tr><td>{html.escape(k)}</td><td>{html.escape(repr(v))}</td></tr>" for k, v in self.items())
        return f"<table><tr><th>metric</th><th>value</th></tr>{rows}</table>"


def _read(c) -> Metrics:
    out = Metrics()
    for i in range(lib.pquant_metrics_count(c)):
        m = lib.pquant_metrics_get(c, i)
        name = text(m.name)
        out[name] = Number(m.value, m.lo, m.hi, text(m.unit), name)
    return out


def _source(model: Any, events: Any, input_shape=None) -> Converted:
    return model if isinstance(model, Converted) else convert(model, input_shape or shape_of(events))


def _evaluate(data: Data, how, engine, threads, progress, negative_weights) -> Metrics:
    if not data.labelled:
        raise ConfigError("the events have no labels to compare with", hint="give (x, y), or batches of (x, y)")
    options = Options(engine=engine, threads=threads, progress=progress, negative_weights=negative_weights)
    c = ffi.gc(run(options, lambda: given(how(options)), lib.pquant_metrics_free), lib.pquant_metrics_free)
    return _read(c)


def evaluate_model(model: Any, loader: Any, *, engine: str | None = None, threads: int = 0, progress=None,
                   input_shape=None, classes=None, negative_weights: bool = False) -> Metrics:
    """Every metric with its interval: accuracy, AUC, log loss, stored bytes, MACs, …, as `pquant model eval` gives them.

    loader: a loader, (x, y), (x, y, weights), or "file.h5:split". classes: names of the outputs of a model that has none;
    of arrays, what the labels 0, 1, … stand for. negative_weights: take negative weights of events, as generators of
    next-to-leading order give them; else such a weight is an error.
    """
    loader = again(loader)
    source = _source(model, loader, input_shape)
    own = named(source.model, classes, loader)
    data = data_of(loader, own, source.order, name="test", classes=classes)
    return _evaluate(data, lambda o: lib.pquant_evaluate_with(own.c, data.c, o.c), engine, threads, progress,
                     negative_weights)


def evaluate(model: Any, loader: Any, **options: Any) -> Number:
    """Accuracy, 0 .. 1: a float that also carries its one-sigma interval (`.lo`, `.hi`)."""
    metrics = evaluate_model(model, loader, **options)
    if "accuracy" not in metrics:
        raise ConfigError("the model's outputs decide for no class, so there is no accuracy",
                          hint="evaluate_model gives what there is")
    return metrics["accuracy"]


def _flavours(source: Converted, data, classes):
    if classes is not None or isinstance(data, (Data, str)) or hasattr(data, "__fspath__"):
        return classes
    if source.model.classes and source.model.classes != [str(i) for i in range(len(source.model.classes))]:
        return None
    width = source.model.output_shape[-1]
    usual = ["light", "c", "b", "tau"]
    if width not in (3, 4):
        raise ConfigError(f"b-tagging needs the classes light, c, b (and tau), but the model has {width} outputs",
                          hint="give classes=[…] in the order of the outputs")
    return usual[:width]


def btag(source: Converted, loader: Any, *, f_c: float = 0.018, classes=None, engine=None, threads: int = 0,
         negative_weights: bool = False) -> Metrics:
    """b efficiency at mistag rates of 10, 1 and 0.1 % of light and c."""
    names = _flavours(source, loader, classes)
    own = named(source.model, names, loader)
    data = data_of(loader, own, source.order, name="test", classes=names)
    return _evaluate(data, lambda o: lib.pquant_evaluate_btag(own.c, data.c, f_c, o.c), engine, threads, None,
                     negative_weights)


def evaluate_b_tagging(original: Any, compressed: Any, loader: Any, *, f_c: float = 0.018, classes=None,
                       **options: Any) -> dict[str, Any]:
    """b-tagging of two models on the same jets.

    Gives {"original": metrics, "compressed": metrics, "b_tag_efficiency": {"original": …, "compressed": …}, "ratio": …};
    the efficiency is that at 1 % mistag of light. classes: order of the outputs; else the file's or the model's own, else
    light, c, b (, tau). options: engine, threads, negative_weights of evaluate_model.
    """
    out: dict[str, Any] = {}
    loader = again(loader)
    for name, model in (("original", original), ("compressed", compressed)):
        out[name] = btag(_source(model, loader), loader, f_c=f_c, classes=classes, **options)
    at = "btag.light.0.01.efficiency"
    out["b_tag_efficiency"] = {name: out[name][at] for name in ("original", "compressed")}
    before = float(out["original"][at])
    out["ratio"] = float(out["compressed"][at]) / before if before > 0 else float("nan")
    return out


def _latency(source: Converted, batch: int, engine: str | None, threads: int) -> Latency:
    options, out = Options(engine=engine, threads=threads), ffi.new("pquant_timing *")
    batch = whole("batch", batch, 1 << 20, 1)
    run(options, lambda: check(lib.pquant_latency(source.model.c, batch, options.c, out)), lambda made: None)
    return Latency(1e9 * out.p50_s, p90=1e9 * out.p90_s, p99=1e9 * out.p99_s, p999=1e9 * out.p999_s,
                   chain=1e9 * out.chain_s, throughput=1e9 * out.throughput_s, engine=text(out.engine), batch=batch,
                   noisy=bool(out.noisy), why=text(out.why))


def measure_latency(model: Any, batch: int = 1, *, engine: str | None = None, threads: int = 1, input_shape=None) -> Latency:
    """Nanoseconds of one event (or of a batch), on this machine, now.

    engine: None is the faster of "float32" and "int8"; "generated" is C that is written for the model, compiled (a second
    or more) and loaded, the fastest for small networks; "reference", "bf16", "integer". Without a compiler another engine
    is measured in place of "generated", with a warning.
    """
    source = model if isinstance(model, Converted) else convert(model, input_shape)
    latency = _latency(source, batch, engine, threads)
    if engine == "generated" != latency.engine:
        warnings.warn(f"there is no compiler for generated C: engine {latency.engine} was measured", Warned, stacklevel=2)
    return latency


def fastest(source: Converted, target: float) -> Latency:
    """One event on the fastest engine: generated C too, where it can be had and could come below the target."""
    latency = _latency(source, 1, None, 1)
    if latency > 100 * target:
        return latency
    try:
        generated = _latency(source, 1, "generated", 1)
    except UnsupportedError:
        return latency
    return generated if generated.engine == "generated" and generated < latency else latency
