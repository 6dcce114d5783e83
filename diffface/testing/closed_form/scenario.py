"""Functions whose derivatives are known in closed form, and the table of all of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from diffface.testing.trees import Tree

Answer = Callable[..., Tree]


@dataclass(frozen=True, eq=False)
class Scenario:
    """A function to differentiate, where to do so, and what must come out.

    The answers are functions of the plain arguments (no ``Const``; ``kwargs`` come by keyword), in
    NumPy, so that they hold at ``args`` and at ``other_args``. What follows from others need not be
    given: the first derivative is any one of ``jacobian``, ``gradient`` and ``derivative``, and
    gives the pushforward and the pullback; ``hessian`` gives ``hvp``. An operator without an answer
    is not run.

    Parameters
    ----------
    name : str
        What the scenario is about; unique in a table.
    f : callable
        The function, written once through ``diffface.namespace``.
    args : tuple
        NumPy arrays, Python numbers, trees of them; constants in ``Const``.
    other_args : tuple
        Other values of active and constant arguments, of the same signature.
    value : callable
        ``f``, without aux.
    derivative, second_derivative, gradient, jacobian, hessian : callable, optional
        Trees as the operator returns them.
    hvp, pushforward : callable, optional
        Of ``(tangents, *args)``.
    pullback : callable, optional
        Of ``(cotangents, *args)``.
    tangents, cotangents : tree, optional
        Seeds; by default some without symmetries.
    argnums, kwargs, has_aux, holomorphic
        Options of the calls; holomorphic holds for ``derivative`` and ``jacobian``.
    other_kwargs : mapping, optional
        Keywords at ``other_args``.
    aux : callable, optional
        What ``f`` returns besides its value, with ``has_aux``.
    operators : tuple of str, optional
        Run only these.
    core : bool
        Run every operator in every way and on every kind of array, not a selection.
    """

    name: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    other_args: tuple[Any, ...]
    value: Answer
    derivative: Answer | None = None
    second_derivative: Answer | None = None
    gradient: Answer | None = None
    jacobian: Answer | None = None
    hessian: Answer | None = None
    hvp: Answer | None = None
    pushforward: Answer | None = None
    pullback: Answer | None = None
    tangents: Tree = None
    cotangents: Tree = None
    argnums: int | tuple[int, ...] | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    other_kwargs: Mapping[str, Any] = field(default_factory=dict)
    has_aux: bool = False
    aux: Answer | None = None
    holomorphic: bool = False
    operators: tuple[str, ...] | None = None
    core: bool = False


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
