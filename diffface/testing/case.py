"""One question: a scenario, a function of diffface, how prepared, which arrays; and who cannot."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import diffface
from diffface.backends.arrays import ArrayLibrary
from diffface.backends.errors import NotDifferentiableError, UnsupportedOperatorError
from diffface.backends.registry import Backend, list_backends, resolve
from diffface.prep.arguments.const import plain
from diffface.prep.prepared import Prepared
from diffface.testing.closed_form.scenario import Scenario
from diffface.testing.point import SEEDS, supported

Preparation = Literal["unprepared", "prepared", "lazy"]

# Public functions, with what each returns.
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "derivative": ("derivative",),
    "value_and_derivative": ("value", "derivative"),
    "second_derivative": ("second_derivative",),
    "value_derivative_and_second_derivative": ("value", "derivative", "second_derivative"),
    "gradient": ("gradient",),
    "value_and_gradient": ("value", "gradient"),
    "jacobian": ("jacobian",),
    "value_and_jacobian": ("value", "jacobian"),
    "hessian": ("hessian",),
    "value_gradient_and_hessian": ("value", "gradient", "hessian"),
    "hvp": ("hvp",),
    "gradient_and_hvp": ("gradient", "hvp"),
    "pushforward": ("pushforward",),
    "value_and_pushforward": ("value", "pushforward"),
    "pullback": ("pullback",),
    "value_and_pullback": ("value", "pullback"),
    "linearize": ("value", "pushforward"),
    "vjp": ("value", "pullback"),
}

# Of f at a fixed point: they return a callable, and have no preparation.
FIXED_POINT = ("linearize", "vjp")

# How often f is differentiated for an answer.
ORDER = {
    "value": 0, "derivative": 1, "second_derivative": 2, "gradient": 1, "jacobian": 1, "hessian": 2,
    "hvp": 2, "pushforward": 1, "pullback": 1,
}  # fmt: skip


def operator_of(function: str) -> str:
    """The operator that a function is a variant of."""
    return FUNCTIONS[function][-1]


def named(asked: Sequence[str | Backend] | None) -> dict[str, Backend]:
    """``asked`` by name, objects by what they look like; None stands for all that are installed."""
    if asked is None:
        return {info.name: info.backend for info in list_backends() if info.backend is not None}
    return {b if isinstance(b, str) else repr(b): resolve(b) for b in asked}


@dataclass(frozen=True, eq=False)
class Case:
    """A question to a backend.

    Parameters
    ----------
    scenario : Scenario
        What is differentiated, and where.
    function : str
        A public function of diffface.
    preparation : {"unprepared", "prepared", "lazy"}
        Called directly; prepared with the scenario's arguments; or prepared without arguments.
    kind : ArrayLibrary
        The arrays that go in.
    batched : bool
        Whether the seeds come as a batch.
    many : bool
        Whether it is asked at many points at once.
    """

    scenario: Scenario
    function: str
    preparation: Preparation
    kind: ArrayLibrary
    batched: bool = False
    many: bool = False

    def __str__(self) -> str:
        batched = "-batched" if self.batched else "-many" if self.many else ""
        name = self.scenario.name.replace(" ", "_")
        return f"{name}-{self.function}{batched}-{self.preparation}-{self.kind.name}"

    def options(self) -> dict[str, Any]:
        """Keywords that hold for preparations and for direct calls."""
        scenario, options = self.scenario, {}
        if scenario.argnums is not None:
            options["argnums"] = scenario.argnums
        if scenario.has_aux:
            options["has_aux"] = True
        if scenario.holomorphic and operator_of(self.function) in ("derivative", "jacobian"):
            options["holomorphic"] = True
        if self.batched and self.function not in FIXED_POINT:
            options["batched"] = True
        return options

    def caller(
        self, backend: str | Backend, example: Any, kwargs: Any, in_axes: Any = None
    ) -> tuple[Callable[..., Any], Prepared | None]:
        """``call(args, kwargs, seeds)``, and what it calls if that is prepared at ``example``."""
        options = {**self.options(), "backend": backend}
        if in_axes is not None:
            options["in_axes"] = in_axes
        seeded = SEEDS.get(operator_of(self.function))

        def named(seeds: Any) -> dict[str, Any]:
            return {} if seeded is None else {seeded: seeds}

        if self.preparation == "unprepared":
            function = getattr(diffface, self.function)
            if self.function in FIXED_POINT:
                fixed = lambda args, kw, _: function(self.scenario.f, *args, kwargs=kw, **options)
                return fixed, None
            direct = lambda args, kw, seeds: function(
                self.scenario.f, *args, kwargs=kw, **named(seeds), **options
            )
            return direct, None
        prepare = getattr(diffface, f"prepare_{self.function}")
        if self.preparation == "lazy":
            prepared = prepare(self.scenario.f, **options)
            lazy = lambda args, kw, seeds: prepared(*args, kwargs=kw, **named(seeds))
            return lazy, prepared
        prepared = prepare(self.scenario.f, *example, kwargs=kwargs, **options)
        call = lambda args, kw, seeds: prepared(*plain(args), kwargs=kw, **named(seeds))
        return call, prepared


def cases(
    scenario: Scenario, kinds: tuple[ArrayLibrary, ...], variants: bool = True
) -> Iterator[Case]:
    """The questions to ask about a scenario.

    ``kinds`` are NumPy's arrays and, last, the backend's own. Every operator that has an answer is
    asked for, unprepared and prepared; core scenarios ask in every way. With ``variants``, so are
    the functions that return the value as well, and those of a fixed point.
    """
    answered = supported(scenario)
    for function in FUNCTIONS:
        operator = operator_of(function)
        variant = len(FUNCTIONS[function]) > 1
        if operator not in answered or (variant and not variants):
            continue
        for preparation, kind in _ways(scenario, function, kinds):
            yield Case(scenario, function, preparation, kind)
        if operator in SEEDS and (scenario.core or function == operator):
            yield Case(scenario, function, "unprepared", kinds[-1], batched=True)
            if scenario.core and function not in FIXED_POINT:
                yield Case(scenario, function, "prepared", kinds[0], batched=True)
        if scenario.core and function not in FIXED_POINT:
            yield Case(scenario, function, "prepared", kinds[-1], many=True)
            if function == operator:
                yield Case(scenario, function, "unprepared", kinds[0], many=True)


def _ways(
    scenario: Scenario, function: str, kinds: tuple[ArrayLibrary, ...]
) -> list[tuple[Preparation, ArrayLibrary]]:
    first, last = kinds[0], kinds[-1]
    if function in FIXED_POINT:
        return [("unprepared", kind) for kind in (kinds if scenario.core else (last,))]
    if scenario.core:
        return [(p, kind) for p in _PREPARATIONS for kind in kinds]
    if len(FUNCTIONS[function]) > 1:
        return [("lazy", last)]
    return [("unprepared", last), ("prepared", first)]


_PREPARATIONS: tuple[Preparation, ...] = ("unprepared", "prepared", "lazy")


@dataclass(frozen=True)
class Limit:
    """Cases that must fail, and how.

    Parameters
    ----------
    reason : str
        Why the backend cannot do it.
    raises : type of exception, or tuple of them
        What it must raise, exactly; an AssertionError stands for a result that is too inaccurate.
    scenario, operator : str
        Patterns of names, with ``*`` for anything.
    """

    reason: str
    raises: type[BaseException] | tuple[type[BaseException], ...]
    scenario: str = "*"
    operator: str = "*"

    def covers(self, scenario: str, operator: str) -> bool:
        """Whether a case falls under it."""
        return fnmatchcase(scenario, self.scenario) and fnmatchcase(operator, self.operator)


LIMITS: dict[str, tuple[Limit, ...]] = {
    "complex-step": (
        Limit(
            "the imaginary part of the argument is taken: it carries the step",
            UnsupportedOperatorError,
            scenario="complex argument*",
        ),
        Limit(
            "conj and real are not analytic",
            NotDifferentiableError,
            scenario="not analytic*",
        ),
    ),
}


def known_limits(backend: object) -> tuple[Limit, ...]:
    """The limits of one of diffface's own backends; none of any other."""
    return LIMITS.get(backend, ()) if isinstance(backend, str) else ()
