"""The whole suite for backends, as a pytest parametrisation."""

from collections.abc import Callable, Sequence

import pytest

from diffface.backends.arrays import NUMPY, ArrayLibrary
from diffface.backends.registry import Backend, resolve
from diffface.testing.case import Case, Limit, cases, known_limits
from diffface.testing.closed_form.scenario import Scenario
from diffface.testing.closed_form.scenario import scenarios as default_scenarios
from diffface.testing.many import run_many
from diffface.testing.names import operator_of
from diffface.testing.point import shape_class
from diffface.testing.protocol import run


def conformance(
    *backends: str | Backend,
    scenarios: Sequence[Scenario] | None = None,
    operators: Sequence[str] | None = None,
    limits: Sequence[Limit] | None = None,
    strategies: Sequence[str] = (),
) -> Callable[..., None]:
    """A test that runs backends through every scenario, operator and preparation.

    Parameters
    ----------
    *backends : str or backend object
        Who differentiates; a name must be registered before.
    scenarios : sequence of Scenario, optional
        What to run; by default all of :func:`scenarios`.
    operators : sequence of str, optional
        Run only these operators, with their variants that return more.
    limits : sequence of Limit, optional
        What the backends cannot do; these cases must fail, and exactly so. By default those known
        of diffface's own backends.
    strategies : sequence of str, optional
        How prepared calls must run, such as ``["program"]``: an adapter whose ``build`` never works
        gives right answers all the same, eagerly.

    Returns
    -------
    callable
        A parametrised test function. Assign it to a name that pytest collects.

    Examples
    --------
    In a test file of a package that brings a backend::

        import diffface
        from diffface.testing import conformance

        diffface.register_backend("mine", Mine)
        test_mine = conformance("mine")
    """
    chosen = default_scenarios() if scenarios is None else scenarios
    # Variants are derived alike for all functions: core scenarios and one of each shape will do.
    first: dict[tuple[str, str], Scenario] = {}
    for scenario in (*default_scenarios(), *chosen):
        first.setdefault(shape_class(scenario), scenario)
    varied = [*first.values(), *(scenario for scenario in chosen if scenario.core)]
    parameters = [
        pytest.param(backend, case, id=f"{backend}-{case}", marks=_marks(case, table))
        for backend in backends
        for table in [known_limits(backend) if limits is None else limits]
        for scenario in chosen
        for case in cases(scenario, _kinds(backend), scenario in varied)
        if operators is None or operator_of(case.function) in operators
    ]

    @pytest.mark.parametrize(("backend", "case"), parameters)
    def test(backend: str | Backend, case: Case) -> None:
        (run_many if case.many else run)(case, backend, strategies)

    return test


def _kinds(backend: str | Backend) -> tuple[ArrayLibrary, ...]:
    own = resolve(backend).first_order().arrays
    return (NUMPY,) if own is NUMPY else (NUMPY, own)


def _marks(case: Case, table: Sequence[Limit]) -> list[pytest.MarkDecorator]:
    for limit in table:
        if limit.covers(case.scenario.name, operator_of(case.function)):
            return [pytest.mark.xfail(strict=True, raises=limit.raises, reason=limit.reason)]
    return []
