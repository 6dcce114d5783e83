"""Tests of functions and of backends.

:func:`check` compares the derivatives of one function over all backends, and with differences::

    report = diffface.testing.check(f, x)
    assert report.ok, report

:class:`Scenario` is a function with closed-form derivatives, :func:`scenarios` the default table,
and :func:`conformance` runs a backend through all of it under pytest, in one line::

    test_backend = diffface.testing.conformance("mybackend")

:func:`benchmark` measures derivatives by several backends, beside the same written by hand.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffface.testing._benchmark._benchmark import benchmark
    from diffface.testing._benchmark._report import Benchmark
    from diffface.testing._benchmark._row import Measurement
    from diffface.testing._benchmark._timing import Effort
    from diffface.testing._comparison._check import check
    from diffface.testing._comparison._report import Finding, Report, Row
    from diffface.testing._conformance import conformance
    from diffface.testing._limits import Limit
    from diffface.testing._scenario import Scenario
    from diffface.testing._scenarios import scenarios

__all__ = [
    "Benchmark",
    "Effort",
    "Finding",
    "Limit",
    "Measurement",
    "Report",
    "Row",
    "Scenario",
    "benchmark",
    "check",
    "conformance",
    "scenarios",
]

_HOMES = {
    "Benchmark": "_benchmark._report",
    "Effort": "_benchmark._timing",
    "Finding": "_comparison._report",
    "Limit": "_limits",
    "Measurement": "_benchmark._row",
    "Report": "_comparison._report",
    "Row": "_comparison._report",
    "Scenario": "_scenario",
    "benchmark": "_benchmark._benchmark",
    "check": "_comparison._check",
    "conformance": "_conformance",
    "scenarios": "_scenarios",
}


def __getattr__(name: str) -> Any:
    # pytest and the table are loaded by those who use them only.
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
