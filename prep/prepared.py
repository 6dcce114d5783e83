"""The callable that a preparation returns."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import TYPE_CHECKING, Any, Generic, Literal

from diffface.backends.errors import Disagreement, InvalidArgumentError, PreparationMismatchError
from diffface.backends.registry import Backend
from diffface.prep.arguments.bind import Call, bind, bind_like, named
from diffface.prep.arguments.mismatch import fits, report, resembles
from diffface.prep.arguments.seeds import batch_of
from diffface.prep.arguments.signature import Signature
from diffface.prep.derivation import evaluate
from diffface.prep.executable import Executable, Fallback
from diffface.prep.flat_function import evaluated_by
from diffface.prep.operator import Recipe, Seeds
from diffface.prep.plan import Plan, plan_for
from diffface.prep.portable import Portable, pack, unpack
from diffface.prep.writer import ShownSignature, weakly

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # The type of what a call returns, where it is known.
    Result = TypeVar("Result", default=Any)
else:  # Python 3.13 is the first whose TypeVar has a default
    from typing import TypeVar

    Result = TypeVar("Result")

# Signatures that a lazily prepared callable keeps at the same time.
CAPACITY = 16


class Prepared(Generic[Result]):
    """An operator on a function, made ready to be called often.

    With example arguments it holds for their signature: structure, array kinds, shapes, dtypes,
    devices, static constants, and which arguments are active. Without, it specialises at the first
    call, and again for each new signature, keeping the last 16.

    What changes between calls is an argument. Values that ``f`` captures (closures, globals) are
    frozen when it is prepared, as with ``jax.jit``; pass them as ``Const`` arguments instead::

        g = diffface.prepare_gradient(loss, x, diffface.Const(data), backend="torch")
        g(x, data)
        g(x, other_data)

    It is called as ``g(*args, tangents=None, cotangents=None, out=None, kwargs=None)``; see the
    operator for these. Tangents may also come second, as in SciPy's ``hessp(x, p, *args)``, where
    example arguments have shown how many there are. A signature that differs from the prepared one
    raises PreparationMismatchError.

    It pickles (also by cloudpickle, and for ``copy.deepcopy``) as what it was made of: ``f``,
    options and signature. Where it arrives, it is prepared anew at its first call.

    Attributes
    ----------
    function : callable
        ``f``.
    strategy : str
        How calls run: ``"xla"``, ``"replay"``, ``"inductor"``, ``"program"``, ``"stencil"`` or
        ``"eager"``; ``"lazy"`` before the first call of a lazy preparation.
    native : object
        The framework's own callable, on flat arrays; None when calls run eagerly.
    """

    # `__call__` is a slot that holds the fast path of the most recent signature.
    __slots__ = (
        "__call__", "__weakref__", "_argnums", "_by_value", "_choose", "_disagreed",
        "_exact", "_fallback", "_fixed", "_known", "_kwargs", "_lock", "_recipe", "_record",
        "_settle", "_strict", "_weakly",
    )  # fmt: skip
    __call__: Callable[..., Result]

    def __init__(
        self,
        recipe: Recipe,
        settle: Callable[[], Callable[[Call], Backend]],
        args: Sequence[object],
        argnums: int | Sequence[int] | None,
        kwargs: Mapping[str, Any] | None,
        on_mismatch: Literal["error", "reprepare", "exact"],
        fallback: Fallback,
    ) -> None:
        self._recipe = recipe
        # `settle()` is how the backend of each call is chosen from then on: what is named or in use
        # at the preparation, or at the first call of a lazy one, stays.
        self._settle = settle
        self._choose: Callable[[Call], Backend] | None = None
        self._argnums = argnums
        self._kwargs = named(kwargs or {})
        self._fallback: Fallback = fallback
        self._strict = bool(args) and on_mismatch != "reprepare"
        # Whether another order of keys, or another kind of number, is a mismatch, too: to an
        # operator that was made for one signature.
        self._exact = on_mismatch == "exact"
        self._fixed: Signature | None = None
        # Whether Python numbers among the constants are static.
        self._by_value = False
        # Whether a record gave other results than `f`. Copies then record nothing: where they are
        # called first, a record may be right by chance.
        self._disagreed = False
        self._record = True
        self._know_nothing()
        if args:
            call = bind(args, argnums, kwargs)
            plan, primals, constants = self._plan(call)
            self._fixed = plan.signature
            hash(self._fixed)  # takes down the state of static constants
            # A batch has a size only once it comes.
            traced = plan.is_traced(primals, constants) or plan.outer.is_nested()
            if not recipe.settings.batched and not traced:
                self._specialise(plan, primals, constants, None)

    def _know_nothing(self) -> None:
        self._known: OrderedDict[Any, Executable] = OrderedDict()
        # The function may call this very callable while it is prepared.
        self._lock = RLock()
        self._weakly = weakly(self._call, self._recipe.name)
        self.__call__ = self._weakly

    def _call(
        self, *args: Any, tangents: Any = None, cotangents: Any = None, out: Any = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # fmt: skip
        """A call of any signature."""
        if tangents is None and self._tangents_come_second(args):
            x, tangents, *rest = args
            return self(x, *rest, tangents=tangents, out=out, kwargs=kwargs)
        return self._general(args, self._chosen_seeds(tangents, cotangents), out, kwargs)

    __signature__ = ShownSignature(_call)

    def _tangents_come_second(self, args: tuple[Any, ...]) -> bool:
        if self._fixed is None or self._recipe.operator.seeds is not Seeds.TANGENTS:
            return False
        count = len(self._fixed.arguments) - len(self._fixed.keywords)
        return len(args) == count + 1

    def _general(
        self, args: tuple[Any, ...], seeds: Any, out: Any, kwargs: Mapping[str, Any] | None
    ) -> Any:
        call = self._bind(args, kwargs)
        plan, primals, constants = self._plan(call)
        signature = plan.signature
        traced = plan.is_traced(primals, constants, seeds)
        if self._fixed is not None:
            if fits(signature, self._fixed):
                signature = self._fixed
            elif (traced or _is_inside(plan)) and self._may_be(signature, traced=True):
                traced = True
            elif self._strict and not self._may_be(signature):
                raise PreparationMismatchError(report(self._fixed, signature, self._recipe.f))
        if traced or (plan.defers and plan.outer.is_nested()):
            return evaluate(plan, self._recipe.f, primals, constants, seeds, out)
        if self._by_value:
            plan, constants = plan.by_value(constants)
            signature = plan.signature
        known = self._recall(self._key(signature, plan, seeds))
        if known is None and plan.outer.is_nested():
            # What f captures may carry a derivative that a program would freeze.
            return evaluate(plan, self._recipe.f, primals, constants, seeds, out)
        if known is None:
            known = self._specialise(plan, primals, constants, seeds)
        return known.run(primals, constants, seeds, out)

    def _may_be(self, signature: Signature, traced: bool = False) -> bool:
        assert self._fixed is not None
        if self._exact and not traced:
            return False
        return resembles(signature, self._fixed, traced, in_order=self._exact)

    def _plan(self, call: Call) -> tuple[Plan, Sequence[Any], Sequence[Any]]:
        if self._choose is None:
            self._choose = self._settle()
        return plan_for(self._recipe, self._choose(call), call)

    def _recall(self, key: Any) -> Executable | None:
        known = self._known.get(key)
        if known is not None and len(self._known) > 1:
            with self._lock:
                if key in self._known:
                    self._known.move_to_end(key)
                self._adopt(known)
        return known

    def _adopt(self, known: Executable) -> None:
        # Without examples or argnums, Const marks at each call say what is constant; the straight
        # line does not look for them.
        settled = self._fixed is not None or self._argnums is not None
        signature = known.plan.signature
        if settled or len(signature.active) == len(signature.arguments):
            self.__call__ = known.entry or self._weakly

    @property
    def function(self) -> Callable[..., Any]:
        """The function that it is of."""
        return self._recipe.f

    @property
    def strategy(self) -> str:
        """How calls run."""
        known = next(reversed(self._known.values()), None)
        return "lazy" if known is None else known.strategy

    @property
    def native(self) -> object:
        """The framework's own callable, on flat arrays, if there is one."""
        known = next(reversed(self._known.values()), None)
        return known.compiled.native if known and known.compiled else None

    def __copy__(self) -> "Prepared[Result]":
        # Nothing in it changes but its own memory of signatures.
        return self

    def __getstate__(self) -> tuple[Any, ...]:
        # What it was made of, and what was found out of `f`: neither programs nor examples.
        fixed = None if self._fixed is None else pack(self._fixed)
        operator, wanted, f, settings, in_axes = self._recipe
        known = self._settle, self._choose, self._argnums, self._kwargs, self._fallback
        recipe = operator, wanted, Portable(f), settings, in_axes
        kept = self._strict, self._exact, self._by_value, self._disagreed
        return recipe, known, fixed, kept

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        recipe, known, fixed, kept = state
        self._strict, self._exact, self._by_value, self._disagreed = kept
        self._record = not self._disagreed
        self._recipe = Recipe(*recipe)
        self._settle, self._choose, self._argnums, self._kwargs, self._fallback = known
        self._fixed = None if fixed is None else unpack(*fixed)
        self._know_nothing()

    def __repr__(self) -> str:
        name = getattr(self._recipe.f, "__name__", repr(self._recipe.f))
        known = next(reversed(self._known.values()), None)
        if known is None:
            return f"<prepared {self._recipe.name} of {name}, lazy>"
        return (
            f"<prepared {self._recipe.name} of {name} by {known.plan.outer!r}, "
            f"strategy {self.strategy!r}, for ({known.plan.signature})>"
        )

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> Call:
        keyed = self._kwargs if kwargs is None else named(kwargs)
        if self._fixed is None:
            return bind(args, self._argnums, keyed)
        return bind_like(self._fixed, args, keyed)

    def _chosen_seeds(self, tangents: Any, cotangents: Any) -> Any:
        which = self._recipe.operator.seeds
        given = {Seeds.TANGENTS: tangents, Seeds.COTANGENTS: cotangents}
        for seeds, value in given.items():
            if (value is None) == (seeds is which):
                verb = "needs" if seeds is which else "takes no"
                raise InvalidArgumentError(f"{self._recipe.name} {verb} `{seeds.value}`.")
        return given.get(which)

    def _key(self, signature: Signature, plan: Plan, seeds: Any) -> Any:
        settings = tuple([found for _, found in plan.inner.settings()])
        return signature, plan.inner, batch_of(seeds, plan.lead), plan.axes, settings

    def _specialise(
        self, plan: Plan, primals: Sequence[Any], constants: Sequence[Any], seeds: Any
    ) -> Executable:
        # One thread prepares; others that come meanwhile with the same signature wait for it.
        with self._lock:
            key = self._key(plan.signature, plan, seeds)
            if (known := self._known.get(key)) is not None:
                return known
            try:
                known = self._executable(plan, primals, constants, seeds)
            except Disagreement:
                # To this function a number is something else than an array: its values are static.
                self._by_value = True
                plan, constants = plan.by_value(constants)
                key = self._key(plan.signature, plan, seeds)
                known = self._executable(plan, primals, constants, seeds)
            self._known[key] = known
            self._adopt(known)
            while len(self._known) > CAPACITY:
                self._known.popitem(last=False)
            return known

    def _executable(
        self, plan: Plan, primals: Sequence[Any], constants: Sequence[Any], seeds: Any
    ) -> Executable:
        found = Executable(
            plan, self._recipe.f, primals, constants, seeds, self._fallback, self._kwargs,
            self._weakly, record=self._record,
        )  # fmt: skip
        self._disagreed |= found.disagreed
        return found


def _is_inside(plan: Plan) -> bool:
    """Whether a function that the same backend evaluates is running."""
    return plan.outer.is_nested() or evaluated_by.get() in (plan.outer, plan.inner)
