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
    from diffface.benchmark.measure import benchmark
    from diffface.benchmark.report import Benchmark
    from diffface.benchmark.row import Measurement
    from diffface.benchmark.timing import Effort
    from diffface.testing.case import Limit
    from diffface.testing.closed_form.scenario import Scenario, scenarios
    from diffface.testing.comparison.check import check
    from diffface.testing.comparison.report import Comparison, Finding, Report
    from diffface.testing.suite import conformance
else:

    def __getattr__(name: str) -> Any:
        # pytest and the table are loaded by those who use them only.
        if name in _HOMES:
            return getattr(importlib.import_module(_HOMES[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Benchmark",
    "Comparison",
    "Effort",
    "Finding",
    "Limit",
    "Measurement",
    "Report",
    "Scenario",
    "benchmark",
    "check",
    "conformance",
    "scenarios",
]

_HOMES = {
    "Benchmark": "diffface.benchmark.report",
    "Effort": "diffface.benchmark.timing",
    "Finding": "diffface.testing.comparison.report",
    "Limit": "diffface.testing.case",
    "Measurement": "diffface.benchmark.row",
    "Report": "diffface.testing.comparison.report",
    "Comparison": "diffface.testing.comparison.report",
    "Scenario": "diffface.testing.closed_form.scenario",
    "benchmark": "diffface.benchmark.measure",
    "check": "diffface.testing.comparison.check",
    "conformance": "diffface.testing.suite",
    "scenarios": "diffface.testing.closed_form.scenario",
}


def __dir__() -> list[str]:
    return sorted(__all__)
