"""The conformance kit: scenarios with known answers, and the protocol that makes them bite.

:class:`Scenario` is a function with closed-form derivatives, :func:`scenarios` the default table,
and :func:`conformance` runs a backend through all of it under pytest, in one line::

    test_backend = diffface.testing.conformance("mybackend")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffface.testing._conformance import conformance
    from diffface.testing._limits import Limit
    from diffface.testing._scenario import Scenario
    from diffface.testing._scenarios import scenarios

__all__ = ["Limit", "Scenario", "conformance", "scenarios"]

_HOMES = {
    "Limit": "_limits",
    "Scenario": "_scenario",
    "conformance": "_conformance",
    "scenarios": "_scenarios",
}


def __getattr__(name: str) -> Any:
    # pytest and the table are loaded by those who use them only.
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
