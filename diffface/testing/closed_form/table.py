"""The default table of scenarios."""

from functools import cache
from importlib import import_module

from diffface.testing.closed_form.scenario import Scenario

_TOPICS = ("shapes", "structure", "arguments", "trees", "algebra")


@cache
def scenarios() -> tuple[Scenario, ...]:
    """All scenarios that diffface's own backends are run through.

    Returns
    -------
    tuple of Scenario
        With unique names.
    """
    modules = (import_module(f"diffface.testing.closed_form.{topic}") for topic in _TOPICS)
    table = tuple(scenario for module in modules for scenario in module.SCENARIOS)
    assert len({scenario.name for scenario in table}) == len(table)
    return table
