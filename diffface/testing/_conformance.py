"""The whole suite for one backend, as a pytest parametrisation."""

from collections.abc import Callable, Sequence

import pytest

from diffface.backends._kind import NUMPY
from diffface.backends._registry import Backend, resolve
from diffface.testing._case import Case, cases
from diffface.testing._functions import operator_of
from diffface.testing._limits import LIMITS, Limit
from diffface.testing._protocol import run
from diffface.testing._scenario import Scenario
from diffface.testing._scenarios import scenarios as default_scenarios


def conformance(
    backend: str | Backend,
    *,
    scenarios: Sequence[Scenario] | None = None,
    operators: Sequence[str] | None = None,
    limits: Sequence[Limit] | None = None,
) -> Callable[..., None]:
    """A test that runs ``backend`` through every scenario, operator and preparation.

    Parameters
    ----------
    backend : str or backend object
        Who differentiates; a name must be registered before.
    scenarios : sequence of Scenario, optional
        What to run; by default :func:`scenarios`.
    operators : sequence of str, optional
        Run only these operators, with their variants that return more.
    limits : sequence of Limit, optional
        What the backend cannot do; these cases must fail, and exactly so. By default those known of
        diffface's own backends.

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
    adapter = resolve(backend).first_order()
    known = LIMITS.get(backend, ()) if isinstance(backend, str) else ()
    table = known if limits is None else limits
    kinds = (NUMPY,) if adapter.kind is NUMPY else (NUMPY, adapter.kind)
    parameters = [
        pytest.param(case, id=str(case), marks=_marks(case, table))
        for scenario in (default_scenarios() if scenarios is None else scenarios)
        for case in cases(scenario, kinds)
        if operators is None or operator_of(case.function) in operators
    ]

    @pytest.mark.parametrize("case", parameters)
    def test(case: Case) -> None:
        run(case, backend)

    return test


def _marks(case: Case, table: Sequence[Limit]) -> list[pytest.MarkDecorator]:
    for limit in table:
        if limit.covers(case.scenario.name, operator_of(case.function)):
            return [pytest.mark.xfail(strict=True, raises=limit.raises, reason=limit.reason)]
    return []
