"""A sparse derivative for one signature: its pattern, its program, and its matrices."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from diffface.backends.errors import MissingRuleError, SparsityError
from diffface.backends.registry import Backend
from diffface.prep.arguments.bind import bind_like, named
from diffface.prep.derivation import evaluate
from diffface.prep.operator import Operator, Recipe, Settings
from diffface.prep.plan import Plan, plan_for
from diffface.prep.prepared import Prepared
from diffface.sparse.agreement import Check, rebuilt
from diffface.sparse.detect import Subject, find
from diffface.sparse.matrices import Matrices
from diffface.sparse.pattern import Sparsity

if TYPE_CHECKING:
    from diffface.sparse.compress import Compression

# Beyond so many, directions are derived one by one rather than as a batch; the second, where a
# batch is a longer program. Short ones share what does not depend on the direction.
BATCH, UNROLLED = 64, 8


class Specialised:
    """A sparse derivative for one signature.

    Parameters
    ----------
    plan : Plan
        How it would be derived densely.
    f : callable
        The user's function.
    backend : Adapter or SecondOrder
        Who derives.
    primals, constants : sequence of leaves
        Example arguments.
    options : mapping
        As the user gave them.
    """

    def __init__(
        self, plan: Plan, f: Callable[..., Any], backend: Backend, primals: Any, constants: Any,
        options: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.plan = plan
        self._f, self._backend, self._options = f, backend, options
        self._primals, self._constants = primals, constants
        given = options["sparsity"]
        self._traced = isinstance(given, str) and given == "trace"
        with plan.inner.scope(plan.dtypes):
            subject = Subject(plan, f, primals, constants)
            self.sparsity: Sparsity = find(options["sparsity"], subject)
            self.outputs = subject.outputs()
            self._inputs = subject.inputs()
            self.y = subject.trace.y
            self._attempts = self._colorings()
            self._color(*self._attempts[0])
        self._entries: Any = None

    def complete(self) -> Specialised:
        """Settle what more than the pattern is needed for."""
        with self.plan.inner.scope(self.plan.dtypes):
            self._matrices = Matrices(
                self.plan, self.sparsity, self._inputs, self.outputs, self.y,
                self._options.get("format"),
            )  # fmt: skip
            self._compress()
        order = self._matrices.order
        rows, cols = self.sparsity.rows[order], self.sparsity.cols[order]
        self._check = Check(self.plan, self._f, rows, cols, self._evaluated, self._traced)
        return self

    # The program.

    def _colorings(self) -> list[tuple[bool, bool]]:
        """Whether columns, and rows, may be derived: what to try, in order."""
        plan = self.plan
        mode, adapter = plan.settings.mode, plan.outer
        complex_results = any(d[1].kind == "c" for d in self.outputs)
        by_rows = adapter.reverse and (plan.settings.holomorphic or not complex_results)
        forward, reverse = mode != "reverse", mode != "forward" and by_rows
        if mode == "reverse" or not (forward and reverse):
            return [(forward, reverse or not forward)]
        # Where the framework lacks a rule for one of the two, the other may do.
        single = [(True, False), (False, True)]
        return single if plan.operator.order == 2 else [(True, True), *single]

    def _color(self, forward: bool, reverse: bool) -> None:
        from diffface.sparse.coloring import color_hessian, color_jacobian

        if self.plan.operator.order == 2:
            self.sparsity.color_by(partial(color_hessian, reverse=not forward))
        else:
            self.sparsity.color_by(partial(color_jacobian, forward=forward, reverse=reverse))

    def _compress(self) -> None:
        from diffface.sparse.compress import Compression, compressed_hessian, compressed_jacobian

        plan = self.plan
        self._compression: Compression = Compression(
            self.sparsity, self._inputs, self.outputs, self._matrices.computed, plan.outer,
            plan.settings.chunk_size,
        )  # fmt: skip
        make = compressed_hessian if plan.operator.order == 2 else compressed_jacobian
        self._operator: Operator = make(plan.operator, self._compression)

    def prepare(self, args: Sequence[Any], options: Mapping[str, Any]) -> None:
        """Build the program, and compare it with the pattern along one direction."""
        if self._entries is not None:
            return

        def build() -> Any:
            entries = self._prepared(args, options)
            self._check_prepared(entries, args, options.get("kwargs"))
            return entries

        self._entries = self._attempt(build)
        self._primals = self._constants = None

    def _attempt(self, run: Callable[[], Any]) -> Any:
        """What ``run`` returns with the first coloring for which the framework has the rules."""
        errors: list[Exception] = []
        for n, attempt in enumerate(self._attempts):
            try:
                if n:
                    with self.plan.inner.scope(self.plan.dtypes):
                        self._color(*attempt)
                        self._compress()
                return run()
            except MissingRuleError as error:
                errors.append(error)
            except SparsityError as error:
                errors.append(error)
                # A pattern of the user's lacks its entry in any coloring; of one that was traced,
                # the framework's two modes may disagree.
                if not self._traced:
                    break
        raise errors[0]

    def _prepared(self, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
        from diffface.sparse.by_color import ByColor

        c, plan = self._compression, self.plan
        size = max(self.sparsity.shape) * c.directions
        most = {"vectorized": BATCH, "unrolled": UNROLLED}.get(plan.outer.batching)
        large = size > 2 * 10**7 or plan.settings.chunk_size == 1
        if c.directions > 1 and most is not None and (large or c.directions > most):
            prepare = lambda operator, wanted: self._alike(operator, wanted, args, options)
            # Of arrays that carry a derivative, so must the entries: by the program of all colors.
            whole = self._alike(self._operator, plan.wanted, (), options)
            return ByColor(plan, c, self.outputs, self.y, prepare, whole)
        return self._alike(self._operator, plan.wanted, args, options)

    def _alike(
        self, operator: Operator, wanted: tuple[int, ...], args: Sequence[Any],
        options: Mapping[str, Any],
    ) -> Prepared:  # fmt: skip
        """An operator on the same function, prepared for this signature."""
        settle = lambda: lambda _: self._backend
        recipe = Recipe(operator, wanted, self._f, self.settings)
        signature = self.plan.signature
        argnums = signature.active[0] if signature.bare else signature.active
        return Prepared(
            recipe, settle, args, argnums, options.get("kwargs"), "exact",
            options.get("fallback", "eager"),
        )  # fmt: skip

    @property
    def settings(self) -> Settings:
        """Those of the dense derivative."""
        return self.plan.settings._replace(chunk_size=None, mode="auto")

    @property
    def strategy(self) -> str:
        """How calls run."""
        return str(self._entries.strategy)

    @property
    def native(self) -> object:
        """The framework's own callable, if there is one."""
        found: object = self._entries.native
        return found

    # The result.

    def evaluate(self) -> Any:
        """The result at the example arguments, eagerly."""

        def run() -> Any:
            raw = self._eager(self._primals, self._constants)
            self._check(self._all(raw), self._primals, self._constants)
            return raw

        return self._assembled(self._attempt(run))

    def _eager(self, primals: Any, constants: Any) -> Any:
        plan = self.plan
        at = Plan(self._operator, plan.wanted, plan.signature, self._backend, self.settings)
        return evaluate(at, self._f, primals, constants)

    def result(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Any:
        """What the user gets."""
        return self._assembled(self._checked(args, kwargs))

    def data(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Any:
        """The values in the order of `structure`."""
        return self._matrices.data(self._part(self._checked(args, kwargs)))

    def structure(self) -> tuple[Any, Any]:
        """Rows and columns, row by row; of a Hessian the lower triangle."""
        return self._matrices.structure()

    def _checked(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Any:
        raw = _called(self._entries, args, kwargs)
        if self._options.get("check") == "always":
            self._check_at(raw, args, kwargs)
        return raw

    def _part(self, raw: Any) -> Any:
        """The entries among the parts of the result."""
        several = len(self.plan.wanted) > 1 or self.plan.settings.has_aux
        return raw[len(self.plan.wanted) - 1] if several else raw

    def _all(self, raw: Any) -> Any:
        """Those of all matrices, one after the other."""
        return self._matrices.all(self._part(raw))

    def _assembled(self, raw: Any) -> Any:
        whole = self._matrices.build(self._part(raw))
        place = len(self.plan.wanted) - 1
        several = place or self.plan.settings.has_aux
        return (*raw[:place], whole, *raw[place + 1 :]) if several else whole

    # The check.

    def _evaluated(self, primals: Any, constants: Any) -> Any:
        """The entries, eagerly."""
        return self._all(self._eager(primals, constants))

    def _check_prepared(
        self, entries: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None
    ) -> None:
        """Check at the examples, and nearby: among zeros, much agrees by chance."""
        self._check(self._all(_called(entries, args, kwargs)), self._primals, self._constants)
        moved = self._check.moved(self._primals)
        try:
            elsewhere = rebuilt(self.plan.signature, args, moved)
            values = self._all(_called(entries, elsewhere, kwargs))
        except Exception:  # noqa: BLE001 - the user's function, out of its domain
            return
        self._check(values, moved, self._constants)

    def _check_at(self, raw: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> None:
        plan = self.plan
        given = self._options.get("kwargs") if kwargs is None else kwargs
        bound = bind_like(plan.signature, args, named(given or {}))
        recipe = Recipe(plan.operator, plan.wanted, self._f, plan.settings)
        _, primals, constants = plan_for(recipe, self._backend, bound)
        self._check(self._all(raw), primals, constants)


def _called(entries: Any, args: Sequence[Any], kwargs: Mapping[str, Any] | None) -> Any:
    return entries(*args) if kwargs is None else entries(*args, kwargs=kwargs)
