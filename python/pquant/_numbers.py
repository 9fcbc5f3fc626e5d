"""Numbers that know their uncertainty."""
from __future__ import annotations

import math
from typing import Any


class Number(float):
    """A float with its one-sigma interval `lo`, `hi` (NaN where there is none), its `unit` and `name`."""

    lo: float
    hi: float
    unit: str
    name: str

    def __new__(cls, value: float, lo: float = math.nan, hi: float = math.nan, unit: str = "", name: str = ""):
        self = super().__new__(cls, value)
        self.lo, self.hi, self.unit, self.name = lo, hi, unit, name
        return self

    def __getnewargs__(self):
        return float(self), self.lo, self.hi, self.unit, self.name

    @property
    def interval(self) -> tuple[float, float]:
        return self.lo, self.hi

    def __repr__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if math.isnan(self.lo):
            return f"{float(self):.6g}{unit}"
        return f"{float(self):.6g} ({self.lo:.6g} .. {self.hi:.6g}){unit}"


class Latency(float):
    """Nanoseconds of one call: the median of single calls. As a number it compares and adds.

    `p50`, `p90`, `p99`, `p999`: single calls; `chain`: each call's input depends on the output before; `throughput`: calls
    back to back; all in ns. `engine`: the fastest that computes the model as it is; `batch`; `noisy` and `why`.
    """

    p50: float
    p90: float
    p99: float
    p999: float
    chain: float
    throughput: float
    engine: str
    batch: int
    noisy: bool
    why: str

    def __new__(cls, p50: float, **more: Any) -> Latency:
        self = super().__new__(cls, p50)
        self.p50 = float(p50)
        self.__dict__.update(more)
        return self

    def __reduce__(self):
        more = dict(self.__dict__)
        return _latency, (more.pop("p50"), more)

    def __repr__(self) -> str:
        noisy = f", noisy: {self.why}" if self.noisy else ""
        return f"{self.p50:.0f} ns (p99 {self.p99:.0f}, chain {self.chain:.0f}, engine {self.engine}{noisy})"


def _latency(p50, more):
    return Latency(p50, **more)
