"""A plan compiled for one signature."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

from diffface.backends.compiled import Arrays, Compiled, Program
from diffface.backends.errors import (
    CannotRecord,
    Disagreement,
    NotDifferentiableError,
    PreparationWarning,
    UnsupportedOperatorError,
)
from diffface.backends.numpy_arrays import PYTHON
from diffface.backends.recording.agreement import perturbed
from diffface.backends.recording.user_frame import users_line, users_stacklevel
from diffface.prep import derivation
from diffface.prep.arguments.out import places
from diffface.prep.arguments.static import Static
from diffface.prep.chunks import build_by_chunks
from diffface.prep.fast_path import emit
from diffface.prep.flat_function import OutputStructure
from diffface.prep.operator import Seeds
from diffface.prep.plan import Plan
from diffface.prep.writer import Entry

Fallback = Literal["eager", "error"]


class Executable:
    """One plan, compiled once and run often; holds none of the arrays it was made with.

    Parameters
    ----------
    plan : Plan
        What to run.
    f : callable
        The user's function.
    primals, constants : sequence of leaves
        Example arguments.
    seeds : tree of arrays or None
        Example tangents or cotangents; None makes some up.
    fallback : {"eager", "error"}
        What to do where the function cannot be recorded.
    defaults : mapping
        Keyword arguments of calls that give none.
    general : Entry
        Takes the calls that ``entry`` does not.
    record : bool
        Whether to compile; if not, calls run eagerly.

    Attributes
    ----------
    disagreed : bool
        Whether it runs eagerly since a record of ``f`` gave other results than ``f``.
    """

    __slots__ = (
        "_f", "_fallback", "_in_chunks", "_shapes", "_structure", "compiled", "disagreed", "entry",
        "plan",
    )  # fmt: skip

    def __init__(
        self, plan: Plan, f: Callable[..., Any], primals: Sequence[Any],
        constants: Sequence[Any], seeds: object, fallback: Fallback,
        defaults: Mapping[str, Any], general: Entry, record: bool = True,
    ) -> None:  # fmt: skip
        self.plan = plan
        self._f = f
        self._fallback = fallback
        self._structure = OutputStructure()
        self.compiled: Compiled | None = None
        self._in_chunks = False
        self._shapes: list[tuple[tuple[int, ...], Any]] = []
        self.entry: Entry | None = None
        self.disagreed = not record
        if not record:
            return
        try:
            with plan.inner.undisturbed(f):
                self.compiled, outputs = self._prepare(primals, constants, seeds)
        except (CannotRecord, NotDifferentiableError) as error:
            numbers = any(leaf.library is PYTHON for leaf in plan.signature.constants)
            if isinstance(error, Disagreement) and numbers:
                raise  # it may be right once these are static
            if not isinstance(error, Disagreement):
                # A function that cannot be differentiated at all says so here.
                with plan.inner.undisturbed(f):
                    self._try_eagerly(primals, constants, seeds)
            self.disagreed = isinstance(error, Disagreement)
            self._fall_back(error, "every")
            return
        self._shapes = [plan.outer.arrays.describe(a)[:2] for a in outputs]
        if self._in_chunks:  # a fast path would gain nothing
            return
        self.entry = emit(
            plan, self.compiled, self._structure, primals, constants, seeds, outputs, defaults,
            general, self._deferred(f),
        )  # fmt: skip

    def _prepare(
        self, primals: Sequence[Any], constants: Sequence[Any], seeds: object
    ) -> tuple[Compiled, Arrays]:
        """The compiled program, and its outputs at the examples."""
        plan = self.plan
        with plan.inner.scope(plan.dtypes):
            x, c = plan.to_backend(primals, constants)
            examples = (*x, *c, *self._example_seeds(x, c, seeds))
            program = derivation.program(plan, self._f, self._structure)
            if plan.signature.result_library()[0] is not plan.outer.arrays:
                program = plan.outer.awaited(program)
            if plan.points is None:
                built = self._by_chunks(x, c) or self._build(program, examples)
                alone = (*x, *c)
            else:
                built = plan.points.build(self._build, program, examples, self._structure)
                alone = plan.points.first(examples)[: len(x) + len(c)]
            if plan.inner is plan.outer:
                plan.inner.check_record(derivation.function(plan, self._f), alone)
            self._check_structure(alone)
            return built

    def _by_chunks(self, x: Arrays, c: Arrays) -> tuple[Compiled, Arrays] | None:
        """What `_build` gives, if the result is asked for, and can be made, by chunks."""
        if self.plan.settings.chunk_size is None:
            return None
        try:
            found = build_by_chunks(self.plan, self._f, x, c, self._structure, self._build)
        except Exception:  # noqa: BLE001 - the whole program says better what is wrong
            return None
        self._in_chunks = found is not None
        return found

    def _check_structure(self, examples: Arrays) -> None:
        """Raise Disagreement if what a record does not follow differs between calls.

        Nothing records the keys of a result; nor, in aux, a text, a counter or the attribute of an
        object, which backends without a record evaluate at every call.
        """
        noted = self._structure
        bare = noted.aux is not None and noted.aux.is_leaf()
        array = bare and not isinstance(noted.aux_leaves[0], Static)
        has_aux = self.plan.settings.has_aux and self.plan.inner.reverse and not array
        if noted.y is None and not has_aux:
            return
        inputs = examples
        for _ in range(2):
            inputs = perturbed(inputs, self.plan.inner.arrays)
            found = OutputStructure()
            try:
                derivation.function(self.plan, self._f, found)(*inputs)
            except Exception:  # noqa: BLE001 - out of the function's domain
                return
            if found.y != noted.y:
                raise Disagreement("its result has another structure at every call; name it alike")
            if not has_aux:
                continue
            if (found.aux, list(found.aux_leaves)) != (noted.aux, list(noted.aux_leaves)):
                raise Disagreement(
                    "aux has something else than arrays that differs from call to call; make it "
                    "an array, or leave it out"
                )

    def _build(self, program: Program, examples: Arrays) -> tuple[Compiled, Arrays]:
        """``program`` compiled, and its outputs at ``examples``."""
        try:
            compiled = self.plan.outer.build(program, examples)
            return compiled, compiled.run(*examples)
        except (CannotRecord, NotDifferentiableError, PreparationWarning):
            raise
        except Exception as error:
            # Where the program fails as well, its own error is the one to see.
            program(*deepcopy(examples))
            raise CannotRecord(f"its record fails with {type(error).__name__}: {error}") from error

    @property
    def strategy(self) -> str:
        """How calls are run."""
        return "eager" if self.compiled is None else self.compiled.strategy

    def run(
        self, primals: Sequence[Any], constants: Sequence[Any], seeds: object, out: object
    ) -> Any:
        """The result as the user sees it."""
        plan = self.plan
        if self.compiled is None:
            return derivation.evaluate(plan, self._f, primals, constants, seeds, out)
        x, c = plan.to_backend(primals, constants)
        try:
            outputs = self._outputs((*x, *c, *plan.seeds(seeds, self._structure)), out)
        except CannotRecord as error:
            # What the user's own primitive returned does not fit the rest of the program.
            self._fall_back(error, "this")
            return derivation.evaluate(plan, self._f, primals, constants, seeds, out)
        if plan.defers and out is None:
            return derivation.deferred_result(
                plan, self._f, outputs, self._structure, primals, constants, seeds
            )
        return plan.result.assemble(outputs, self._structure, out)

    def _deferred(self, f: Callable[..., Any]) -> Callable[..., Arrays]:
        plan, structure = self.plan, self._structure
        return lambda outputs, *given: derivation.deferred_outputs(
            plan, f, outputs, structure, *given
        )

    def _outputs(self, inputs: Arrays, out: object) -> Arrays:
        """Outputs of the program; those that go into ``out`` are written there, if they can be."""
        assert self.compiled is not None
        if out is None or self.compiled.into is None:
            return self.compiled.run(*inputs)
        templates = self.plan.result.slots(self._shapes, self._structure)
        given = places(out, templates, self.plan.outer.arrays, inputs)
        if given is None:
            return self.compiled.run(*inputs)
        return self.compiled.into(tuple(given))(*inputs, *given.values())

    def _example_seeds(self, x: Arrays, c: Arrays, given: object) -> Arrays:
        plan = self.plan
        if plan.operator.seeds is Seeds.TANGENTS and given is None:
            like = x if plan.points is None else plan.points.first((*x, *c))[: len(x)]
            return self._ones(like)
        if plan.operator.seeds is Seeds.COTANGENTS:
            # What cotangents look like is known once f has been evaluated.
            y = derivation.results_at(plan, self._f, x, c, self._structure)
            if given is None:
                return self._ones(y)
        return plan.seeds(given, self._structure)

    def _ones(self, like: Arrays) -> Arrays:
        ones = tuple(map(self.plan.outer.xp.ones_like, like))
        points = self.plan.points
        return ones if points is None else tuple(map(points.repeated, ones))

    def _try_eagerly(self, primals: Sequence[Any], constants: Sequence[Any], seeds: object) -> None:
        if seeds is None and self.plan.operator.seeds is Seeds.TANGENTS:
            seeds = self.plan.example_tangents(primals)
        if seeds is not None or self.plan.operator.seeds is Seeds.NONE:
            derivation.evaluate(self.plan, self._f, primals, constants, seeds)

    def _fall_back(
        self, error: CannotRecord | NotDifferentiableError, which: Literal["every", "this"]
    ) -> None:
        cause = error.__cause__
        if isinstance(error, NotDifferentiableError):
            if not isinstance(cause, Exception):
                raise error
            reason, place = self.plan.inner.explain(cause) or str(cause), users_line(cause)
        else:
            line = f", at {error.line}" if error.line else ""
            reason = error.reason.rstrip(".")
            place = users_line(error) or (users_line(cause) if cause else "") or line
        if self._fallback == "error":
            raise UnsupportedOperatorError(
                f"`f` cannot be recorded{place} ({reason}). Prepare with fallback='eager' to run "
                "it anew at every call."
            ) from error
        warnings.warn(
            f"`f` cannot be recorded{place} ({reason}). It runs eagerly at {which} call: right, "
            "but slower. Move the decision on values into `xp.where`, or pass fallback='error'.",
            PreparationWarning,
            stacklevel=users_stacklevel(),
        )
